"""Whom does the directory know under a national number, and what may a public page say of them?

Of people their name, profession and place of work, as the national public directory does: never an address or a
telephone number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common import errors
from hub import people
from hub.joining import checks, numbers
from hub.room import Resource, Room
from mapping import systems


@dataclass(frozen=True, slots=True)
class Facts:
    """What a page shows of a number: a person's works are `profession, place` lines; a structure has a name alone."""

    name: str = ""
    works: tuple[str, ...] = ()
    structure: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A person of the directory with what they do now (PractitionerRoles)."""

    practitioner: Resource
    roles: tuple[Resource, ...]

    @property
    def ref(self) -> str:
        """`Practitioner/x`."""
        return f"Practitioner/{self.practitioner['id']}"


async def person(numbers: Sequence[str], room: Room) -> Entry | None:
    """Who holds one of these numbers (`system|value`), None when nobody or several do, or their entry is closed."""
    found = await room.find("Practitioner", identifier=",".join(numbers)) if numbers else []
    held = [one for one in found if one.get("active", True) and holds(one, numbers, room)]
    if len(held) != 1:
        return None
    return Entry(held[0], tuple(await works(f"Practitioner/{held[0]['id']}", room)))


async def works(practitioner: str, room: Room) -> list[Resource]:
    """What `Practitioner/x` does now: their active PractitionerRoles, always in the same order."""
    roles = await room.find("PractitionerRole", practitioner=practitioner)
    now = [one for one in roles if one.get("active", True) and is_current(one.get("period"), room)]
    return sorted(now, key=_id)


async def structure(numbers: Sequence[str], room: Room) -> Resource | None:
    """The active Organization that holds one of these numbers."""
    found = await room.find("Organization", identifier=",".join(numbers)) if numbers else []
    held = [one for one in found if one.get("active", True)]
    return held[0] if len(held) == 1 else None


def holds(practitioner: Resource, numbers: Sequence[str], room: Room) -> bool:
    """Is one of these numbers theirs now? One that somebody said of them (`use` temp) is not."""
    held = (one for one in practitioner.get("identifier", ()) if one.get("use") not in ("temp", "old"))
    return any(
        f"{one.get('system')}|{one.get('value')}" in numbers and is_current(one.get("period"), room) for one in held
    )


def is_current(period: Resource | None, room: Room) -> bool:
    """Is today in this Period?"""
    today = f"{room.now():%Y-%m-%d}"
    begin, end = ((period or {}).get(name, "")[:10] for name in ("start", "end"))
    return (not begin or begin <= today) and (not end or end >= today[: len(end)])


async def facts(text: str, room: Room) -> Facts | None:
    """What a public page may say of the number that was typed; None when the directory does not know it."""
    number = numbers.read(text)
    if number is None:
        return None
    if entry := await person(number.person, room):
        name, _ = await people.name(entry.ref, room)
        works = [", ".join(part for part in await _work(role, room) if part) for role in entry.roles]
        return Facts(name, tuple(dict.fromkeys(one for one in works if one)))
    if place := await structure(number.structure, room):
        return Facts(structure=str(place.get("name", "")))
    return None


async def known(entry: Entry, room: Room) -> checks.Known:
    """The same for the checks: an active role is an active registration."""
    works = [await _work(role, room) for role in entry.roles]
    professions = tuple(dict.fromkeys(profession for profession, _ in works if profession))
    return checks.Known(bool(entry.roles), professions, tuple(dict.fromkeys(place for _, place in works if place)))


def professions(roles: Sequence[Resource]) -> frozenset[str]:
    """TRE-G15 codes of PractitionerRoles."""
    codings = (coding for role in roles for one in role.get("code", ()) for coding in one.get("coding", ()))
    return frozenset(str(one["code"]) for one in codings if one.get("system") == systems.PROFESSION)


async def _work(role: Resource, room: Room) -> tuple[str, str]:
    profession = next((str(one["text"]) for one in role.get("code", ()) if "text" in one), "")
    where = role.get("organization", {})
    try:
        place = (await people.name(where["reference"], room))[0] if "reference" in where else ""
    except (errors.NotFound, errors.Gone):
        place = ""
    return profession, place or str(where.get("display", ""))


def _id(resource: Resource) -> str:
    return str(resource["id"])
