"""What is checked before an account opens, and what is known of it? (ACC-02, ACC-15)

Five checks, each with a result, its source and its time. The directory answers some at once, a national sign-in
nearly all; the rest is to do, by the person or by an agent. What is out of date is `to-correct`: it stops nobody. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common import clock
from hub import conversations
from mapping import systems

Resource = dict[str, Any]

CODES = ("identity", "profession", "registration", "structure", "mail")
PASSED, FAILED, TODO, TO_CORRECT = "passed", "failed", "todo", "to-correct"
SETTLED = frozenset({PASSED, TO_CORRECT})  # what lets an account open
DIRECTORY, NATIONAL, LINK, TYPED = "annuaire", "Pro Santé Connect", "lien ouvert depuis l'adresse", "déclaration"
AGENT = "agent"  # who it was is Task.owner
MAILBOX = "boîte MSSanté de l'annuaire"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `code` of CODES, `result`, where that comes from, an instant; `text` explains, `link` helps."""

    code: str
    result: str
    source: str = ""
    at: str = ""
    text: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What a source says of somebody: is the person registered, as what, where."""

    registered: bool = False
    professions: tuple[str, ...] = ()
    structures: tuple[str, ...] = ()


def of_directory(known: Known | None, now: datetime) -> tuple[Check, ...]:
    """What the directory settles for somebody who typed a number: all but that it is theirs, and the address."""
    at = clock.instant(now)
    if known is None:
        return tuple(Check(code, TODO, TYPED, at) for code in CODES)
    return (
        Check("identity", TODO, DIRECTORY, at, "Le numéro existe ; reste à savoir que c'est bien cette personne."),
        _said("profession", known.professions, at),
        Check("registration", PASSED if known.registered else TODO, DIRECTORY, at),
        _said("structure", known.structures, at),
        Check("mail", TODO, "", at),
    )


def of_sign_in(now: datetime) -> tuple[Check, ...]:
    """What signing in by a national card settles by itself: no address is needed, since no mail opens the account."""
    at = clock.instant(now)
    return tuple(Check(code, PASSED, NATIONAL, at) for code in CODES if code != "mail")


def merged(checks: Iterable[Check], newer: Iterable[Check]) -> tuple[Check, ...]:
    """Each check once, the newer result instead of the older."""
    found = {one.code: one for one in (*checks, *newer)}
    return tuple(found[code] for code in CODES if code in found)


def missing(checks: Iterable[Check]) -> tuple[str, ...]:
    """The codes of what does not let the account open yet."""
    settled = {one.code for one in checks if one.result in SETTLED}
    return tuple(code for code in CODES if code not in settled)


def output(check: Check) -> Resource:
    """The check as Task.output."""
    extensions: list[Resource] = [{"url": systems.CHECK_TIME, "valueDateTime": check.at}]
    if check.source:
        extensions.append({"url": systems.CHECK_SOURCE, "valueString": check.source})
    if check.link:
        extensions.append({"url": systems.CHECK_LINK, "valueUrl": check.link})
    result = conversations.concept(systems.CHECK_RESULT, check.result)
    if check.text:
        result["text"] = check.text
    kind = conversations.concept(systems.ACCOUNT_CHECK, check.code)
    return {"extension": extensions, "type": kind, "valueCodeableConcept": result}


def of_task(task: Resource) -> tuple[Check, ...]:
    """The checks of a request, in their order."""
    return merged((), (one for output in task.get("output", ()) if (one := _read(output))))


def _read(output: Resource) -> Check | None:
    code, result = _code(output["type"], systems.ACCOUNT_CHECK), output.get("valueCodeableConcept", {})
    if code not in CODES:
        return None
    said = {
        one["url"]: str(next(value for name, value in one.items() if name != "url"))
        for one in output.get("extension", ())
    }
    sources = (said.get(systems.CHECK_SOURCE, ""), said.get(systems.CHECK_TIME, ""))
    more = (str(result.get("text", "")), said.get(systems.CHECK_LINK, ""))
    return Check(code, _code(result, systems.CHECK_RESULT), *sources, *more)


def _code(concept: Resource, system: str) -> str:
    return next((str(one.get("code", "")) for one in concept.get("coding", ()) if one.get("system") == system), "")


def _said(code: str, values: tuple[str, ...], at: str) -> Check:
    return Check(code, PASSED if values else TODO, DIRECTORY, at, " ; ".join(values))
