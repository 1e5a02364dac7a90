"""What does a request for an account look like? One Task (ACC-01, ACC-05)

`businessStatus` is its stage, `input` what was typed, `output` the checks, `statusReason` why it was refused. The
address is here and nowhere in the directory. Somebody the directory does not know is drafted inside the Task: what an
anonymous visitor types is not for everyone who reads the directory. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from common import clock, errors
from hub import conversations
from hub.joining import checks, numbers, working_days
from mapping import systems

Resource = dict[str, Any]

CODE, NOTICE = "account-request", "account-notice"
AGENT = "account-agent"  # the office, in PractitionerRole.code, of who decides
LINK = systems.ACCOUNT_LINK
MAIL, REVIEW, APPROVED, OPEN, REFUSED = "mail", "review", "approved", "open", "refused"
_STATUS = {MAIL: "requested", REVIEW: "received", APPROVED: "completed", OPEN: "completed", REFUSED: "rejected"}
PERSON, WORK = "demandeur", "exercice"  # ids of what is drafted inside
LONGEST = 120


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed, already checked. With a number that the directory knows the names stay empty."""

    number: str = ""
    mail: str = ""
    terms: str = ""
    family: str = ""
    given: str = ""
    profession: str = ""
    profession_code: str = ""  # TRE-G15
    structure: str = ""
    structure_number: str = ""


def made(typed: Typed, practitioner: str, found: Iterable[checks.Check], now: datetime) -> Resource:
    """A new request. `practitioner` is `Practitioner/x` when the directory knows them, else it is drafted inside."""
    task: Resource = {
        "resourceType": "Task",
        "status": _STATUS[MAIL],
        "intent": "order",
        "code": conversations.concept(systems.TASK, CODE),
        "for": conversations.reference(practitioner or f"#{PERSON}"),
        "authoredOn": clock.instant(now),
        "output": [checks.output(one) for one in found],
    }
    if given := [_input(name, getattr(typed, name)) for name in _INPUTS if getattr(typed, name)]:
        task["input"] = given
    if not practitioner:
        task["contained"] = [_person(typed), _work(typed)]
        task["focus"] = conversations.reference(f"#{WORK}")
    return moved(task, MAIL, now)


def moved(task: Resource, stage: str, now: datetime, *, because: str = "", by: str = "") -> Resource:
    """The request at another stage; `by` is the agent who decided, `because` their words."""
    after: Resource = {
        **task,
        "status": _STATUS[stage],
        "businessStatus": conversations.concept(systems.ACCOUNT_STATUS, stage),
        "lastModified": clock.instant(now),
    }
    if stage == REVIEW:
        after["executionPeriod"] = {"start": clock.instant(now)}
        after["restriction"] = {"period": {"end": clock.instant(working_days.one_later(now))}}
    elif stage != MAIL:
        after["executionPeriod"] = {**task.get("executionPeriod", {}), "end": clock.instant(now)}
    if because:
        after["statusReason"] = {"text": because}
    if by:
        after["owner"] = conversations.reference(by)
    return after


def checked(task: Resource, newer: Iterable[checks.Check]) -> Resource:
    """The request with newer results of checks."""
    return {**task, "output": [checks.output(one) for one in checks.merged(checks.of_task(task), newer)]}


def stage(task: Resource) -> str:
    """Where it stands: MAIL, REVIEW, APPROVED, OPEN or REFUSED."""
    codings = task.get("businessStatus", {}).get("coding", ())
    return next((str(one["code"]) for one in codings if one.get("system") == systems.ACCOUNT_STATUS), "")


def typed(task: Resource, name: str) -> str:
    """One of the things that were typed (a field of Typed), empty when it was not."""
    for one in task.get("input", ()):
        if conversations.has_code(one["type"], systems.ACCOUNT_INPUT, name):
            return str(one.get("valueString", ""))
    return ""


def is_request(task: Resource) -> bool:
    """Is this Task a request for an account?"""
    return task["resourceType"] == "Task" and conversations.has_code(task.get("code"), systems.TASK, CODE)


def drafted(task: Resource, id: str) -> Resource | None:
    """What is drafted inside under this id (PERSON, WORK)."""
    return next((one for one in task.get("contained", ()) if one.get("id") == id), None)


def linked(task: Resource, *secrets: str) -> Resource:
    """The request with the digests of the links that lead to it; the secrets themselves are kept nowhere."""
    return {**task, "identifier": [{"system": LINK, "value": digest(one)} for one in secrets]}


def digest(secret: str) -> str:
    """What is kept of the secret of a link."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def complete(typed: Typed) -> None:
    """Raises Invalid, an issue at the name of each field, when somebody the directory does not know left one empty."""
    wanted = {"family": "votre nom", "given": "votre prénom", "profession": "votre profession"}
    wanted["structure"] = "le lieu où vous exercez"
    issues = [
        errors.Issue(f"Indiquez {words}.", name, "required")
        for name, words in wanted.items()
        if not getattr(typed, name)
    ]
    issues += [
        errors.Issue(f"Pas plus de {LONGEST} caractères.", name, "too-long")
        for name in wanted
        if len(getattr(typed, name)) > LONGEST
    ]
    issues += [
        errors.Issue("Un caractère ne peut pas être enregistré : retapez ce texte.", name)
        for name in wanted
        if not getattr(typed, name).isprintable()
    ]
    if issues:
        raise errors.Invalid(issues[0].text, at=issues[0].expression, issues=tuple(issues))


def _person(typed: Typed) -> Resource:
    person: Resource = {
        "resourceType": "Practitioner",
        "id": PERSON,
        "active": False,
        "name": [{"family": typed.family, "given": [typed.given]}],
    }
    if number := numbers.read(typed.number):
        # What somebody says of themselves: it opens no account by card (`directory.holds`).
        system, _, value = number.person[-1].partition("|")
        person["identifier"] = [{"use": "temp", "system": system, "value": value}]
    return person


def _work(typed: Typed) -> Resource:
    profession: Resource = {"text": typed.profession}
    if typed.profession_code:
        profession["coding"] = [{"system": systems.PROFESSION, "code": typed.profession_code}]
    return {
        "resourceType": "PractitionerRole",
        "id": WORK,
        "active": False,
        "practitioner": conversations.reference(f"#{PERSON}"),
        "organization": {"display": typed.structure},
        "code": [profession],
    }


def _input(name: str, value: str) -> Resource:
    return {"type": conversations.concept(systems.ACCOUNT_INPUT, name), "valueString": value}


_INPUTS = tuple(Typed.__dataclass_fields__)
