"""How does a visitor ask for an account, confirm their address, follow their request? (ACC-01, ACC-05)

Two short steps: a national number, then what the directory could not fill in. Works without a script.
"""

from __future__ import annotations

import secrets
from collections import defaultdict

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from hub import professions
from hub.joining import request as account
from web import layout, session, words
from web.requests import CHECKS, RESULTS, STAGES, Facts, Requests
from web.room import Room

OTHER = "autre"
# The professions without a card that the hub knows; the others are in the national register.
_MORE = {"41": "assistant social, assistante sociale", "330": "coordinateur, coordinatrice de parcours"}
_TYPED = ("number", "mail", "terms", "family", "given", "structure")


async def page(request: Request, room: Room) -> Response:
    """The first step, or the second for whoever has no number."""
    _requests(room)
    step = "details" if "sans-numero" in request.query_params else "number"
    return _shown(request, room, step=step)


async def send(request: Request, room: Room) -> Response:
    """A number was typed: what is known of it. Or the whole request was."""
    form = await request.form()
    session.check_form(_field(form, "csrf"), session.kept(request, session.VISITOR))
    requests, typed = _requests(room), {name: _field(form, name) for name in _TYPED}
    facts: Facts | None = None
    shown = {**typed, "other": _field(form, "other")}
    try:
        if typed["number"]:
            facts = await requests.look_up(typed["number"])
        if _field(form, "step") == "number":
            if not typed["number"]:
                raise _empty()
            return _shown(request, room, step="details", typed=shown, facts=facts)
        secret = await requests.ask(_typed(form, typed), _field(form, "once"))
    except errors.Invalid as problem:
        found = {issue.expression: issue.text for issue in problem.issues}
        step = "number" if "number" in found else "details"
        chosen = _field(form, "profession")
        return _shown(request, room, step=step, typed=shown, facts=facts, profession=chosen, problems=found)
    return RedirectResponse(f"/compte/suivi/{secret}", 303)


async def follow(request: Request, room: Room) -> Response:
    """How a request stands."""
    requests, secret = _requests(room), request.path_params["secret"]
    found = await requests.follow(secret)
    visitor = session.visitor(request)
    lines = [
        {
            "code": one.code,
            "name": CHECKS[one.code],
            "result": one.result,
            "words": RESULTS[one.result],
            "source": one.source,
            "at": words.moment(one.at, room.now(), room.zone) if one.result != "todo" else "",
            "link": one.link,
        }
        for one in found.checks
    ]
    response = layout.page(
        room,
        "follow.html",
        csrf=session.derived(visitor),
        secret=secret,
        found=found,
        stage=STAGES[found.stage],
        checks=lines,
        asked=words.moment(found.asked, room.now(), room.zone),
        due=words.moment(found.due, room.now(), room.zone),
        contact=requests.contact,
        sent="envoye" in request.query_params,
    )
    session.remember_visitor(response, visitor, request)
    return response


async def again(request: Request, room: Room) -> Response:
    """The mail that asks to confirm, once more."""
    await _checked(request)
    secret = request.path_params["secret"]
    await _requests(room).again(secret)
    return RedirectResponse(f"/compte/suivi/{secret}?envoye", 303)


async def confirming(request: Request, room: Room) -> Response:
    """The link of the mail: a button, since mail programs open links by themselves."""
    visitor, secret = session.visitor(request), request.path_params["secret"]
    waits = await _requests(room).awaits(secret)
    response = layout.page(room, "confirm.html", csrf=session.derived(visitor), secret=secret, waits=waits)
    session.remember_visitor(response, visitor, request)
    return response


async def confirm(request: Request, room: Room) -> Response:
    """The button was pressed."""
    await _checked(request)
    return RedirectResponse(f"/compte/suivi/{await _requests(room).confirm(request.path_params['secret'])}", 303)


def _requests(room: Room) -> Requests:
    if room.requests is None:
        raise errors.NotFound("les demandes de compte ne se font pas ici")
    return room.requests


async def _checked(request: Request) -> None:
    form = await request.form()
    session.check_form(_field(form, "csrf"), session.kept(request, session.VISITOR))


def _typed(form: FormData, typed: dict[str, str]) -> account.Typed:
    chosen = _field(form, "profession")
    code = "" if chosen == OTHER else chosen
    named = dict(_professions()).get(code, "") if code else _field(form, "other")
    return account.Typed(**typed, profession=named, profession_code=code if named else "")


def _professions() -> list[tuple[str, str]]:
    """Code and name of each, by name."""
    found = {code: names.both for code, names in professions.all().items()} | _MORE
    return sorted(found.items(), key=lambda one: one[1])


def _shown(
    request: Request,
    room: Room,
    *,
    step: str,
    typed: dict[str, str] | None = None,
    facts: Facts | None = None,
    profession: str = "",
    problems: dict[str, str] | None = None,
) -> Response:
    visitor = session.visitor(request)
    response = layout.page(
        room,
        "ask.html",
        status=422 if problems else 200,
        csrf=session.derived(visitor),
        step=step,
        typed=defaultdict(str, typed or {}),
        facts=facts,
        problems=defaultdict(str, problems or {}),
        professions=_professions(),
        profession=profession,
        other=OTHER,
        once=secrets.token_urlsafe(12),
        requests=_requests(room),
        national=room.sign_in.ways.national is not None,
    )
    session.remember_visitor(response, visitor, request)
    return response


def _empty() -> errors.Invalid:
    text = "Indiquez un numéro, ou continuez sans numéro."
    return errors.Invalid(text, at="number", issues=(errors.Issue(text, "number", "required"),))


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return " ".join(value.split()) if isinstance(value, str) else ""
