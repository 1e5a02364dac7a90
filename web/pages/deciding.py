"""Which requests wait for an agent, for how long, and what becomes of them? (ACC-02)

The queue is a FHIR search with the agent's rights, the decision an operation of the record: a software can do both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from fhir_server import access
from hub.joining import checks
from hub.joining import request as account
from web import layout, names, people, session, words
from web.fhir import Resource
from web.requests import CHECKS, RESULTS
from web.room import Room

_CODE = ("code", f"{names.TASK}|{account.CODE}")
_DECIDED = ",".join(f"{names.ACCOUNT_STATUS}|{one}" for one in (account.APPROVED, account.REFUSED))


@dataclass(frozen=True, slots=True)
class Line:
    """A request as the agent sees it; `checks` are (code, name, check, words of the result, when)."""

    id: str
    name: str
    profession: str
    mail: str
    number: str
    age: str
    overdue: bool
    checks: list[tuple[str, str, checks.Check, str, str]]
    missing: tuple[str, ...]


def is_agent(person: session.SignedIn) -> bool:
    """Does this person decide on requests?"""
    return access.key(f"office:{account.AGENT}") in (person.caller.memberships or ())


async def queue(request: Request, room: Room) -> Response:
    """What waits, the oldest first."""
    return await _shown(request, room)


async def decide(request: Request, room: Room) -> Response:
    """An agent decided."""
    person = await session.signed_in(request, room)
    form = await request.form()
    session.check_form(str(form.get("csrf", "")), person.token)
    said = [("decision", str(form.get("decision", ""))), ("explanation", str(form.get("explanation", "")))]
    said += [("verified", str(one)) for one in form.getlist("verified")]
    id = request.path_params["id"]
    try:
        await person.api.operate(f"Task/{id}/$decide-account", said)
    except (errors.Invalid, errors.Conflict, errors.Unreadable) as problem:
        return await _shown(request, room, problem=problem, about=id, kept=str(form.get("explanation", "")))
    return RedirectResponse("/comptes/demandes", 303)


async def unused(request: Request, room: Room) -> Response:
    """The list of accounts that nobody uses, to download. (ACC-11)"""
    _agents(await session.signed_in(request, room))
    if room.requests is None:
        raise errors.NotFound("il n'y a pas de comptes ici")
    headers = {"Content-Disposition": 'attachment; filename="comptes-inactifs.csv"'}
    return Response(await room.requests.unused(), media_type="text/csv; charset=utf-8", headers=headers)


async def to_correct(request: Request, room: Room) -> Response:
    """What is out of date about the person who is signed in. (ACC-15)"""
    person = await session.signed_in(request, room)
    page = await person.api.search("Task", [_CODE, ("status", "completed")])
    mine = [one for task in page.matches if _is_theirs(task, person) for one in checks.of_task(task)]
    lines = [(CHECKS[one.code], one) for one in mine if one.result == checks.TO_CORRECT]
    return layout.page(room, "to_correct.html", person=person, lines=lines)


async def _shown(
    request: Request, room: Room, *, problem: errors.HubError | None = None, about: str = "", kept: str = ""
) -> Response:
    person = await session.signed_in(request, room)
    _agents(person)
    waiting = await person.api.search("Task", [_CODE, ("status", "received"), ("_sort", "authored-on")])
    unconfirmed = await person.api.count("Task", [_CODE, ("status", "requested")])
    decided = await person.api.search(
        "Task", [_CODE, ("business-status", _DECIDED), ("_sort", "-modified"), ("_count", "100")]
    )
    known = await people.known(person.api, [one["for"] for one in waiting.matches if "contained" not in one])
    return layout.page(
        room,
        "queue.html",
        person=person,
        status=problem.status if problem else 200,
        lines=[_line(one, known, room) for one in waiting.matches],
        more=bool(waiting.after),
        unconfirmed=unconfirmed,
        median=_median(decided.matches),
        decided=len(decided.matches),
        problem=f"{problem.message[:1].upper()}{problem.message[1:]}." if problem else "",
        about=about,
        kept=kept,
    )


def _agents(person: session.SignedIn) -> None:
    if not is_agent(person):
        raise errors.Forbidden("cette page est réservée aux agents qui instruisent les demandes de compte")


def _line(task: Resource, known: dict[str, people.Person], room: Room) -> Line:
    found = checks.of_task(task)
    drafted, work = account.drafted(task, account.PERSON), account.drafted(task, account.WORK)
    due = words.parsed(task.get("restriction", {}).get("period", {}).get("end", ""))
    asked = words.parsed(task["authoredOn"]) or room.now()
    person = known.get(names.reference(task["for"]))
    name = words.human_name(drafted["name"]) if drafted else person.name if person else "Personne inconnue"
    profession = work["code"][0]["text"] if work else person.profession if person else ""
    place = work["organization"]["display"] if work else ""
    return Line(
        task["id"],
        name,
        ", ".join(part for part in (profession, place) if part),
        account.typed(task, "mail"),
        account.typed(task, "number"),
        duration(room.now() - asked),
        due is not None and due < room.now(),
        [(one.code, CHECKS[one.code], one, RESULTS[one.result], _at(one, room)) for one in found],
        tuple(one for one in checks.missing(found) if one != "mail"),
    )


def _at(check: checks.Check, room: Room) -> str:
    return words.moment(check.at, room.now(), room.zone)


def _median(decided: list[Resource]) -> str:
    """From the request to the decision, the median of the last hundred; empty without any."""
    took = [
        (end - start).total_seconds()
        for one in decided
        if (start := words.parsed(one["authoredOn"])) and (end := words.parsed(one["executionPeriod"]["end"]))
    ]
    return duration(timedelta(seconds=median(took))) if took else ""


def duration(took: timedelta) -> str:
    """How long: "moins d'une minute", "12 min", "3 h 05", "2 jours"."""
    minutes = int(took.total_seconds() // 60)
    if minutes < 1:
        return "moins d'une minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02}"
    return f"{minutes // (24 * 60)} jours"


def _is_theirs(task: Resource, person: session.SignedIn) -> bool:
    """An agent reads everybody's."""
    return access.key(names.reference(task["for"])) in person.caller.circles
