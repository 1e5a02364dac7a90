"""Who prepares and sends in whose name? (ACC-14)

A professional chooses somebody of their own structure. When that person signs in, the professional's profile is among
theirs, marked as such; under it they see what the professional sees, as far as their own profession may.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta

from common import clock, errors
from hub import people
from hub.room import Resource, Room
from identity import delegations, tokens

LASTS = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody under one of their hats: `actor` is the PractitionerRole, `label` says who and as what."""

    actor: str
    label: str


@dataclass(frozen=True, slots=True)
class Given:
    """A delegation as its giver sees it; `until` is an instant."""

    id: str
    delegate: str
    until: str


@dataclass(frozen=True, slots=True)
class Offices:
    """What a person gave, and to whom they may give."""

    given: tuple[Given, ...]
    colleagues: tuple[Person, ...]


class Delegating:
    """Delegations of the person whose bearer token every function is given. All raise Unavailable."""

    def __init__(self, room: Room, kept: tokens.Tokens) -> None:
        self._room = room
        self._tokens = kept
        self._delegations = delegations.Delegations(kept.engine, room.now)

    async def offices(self, token: str) -> Offices:
        """Theirs, under the hat that they wear. Empty for a delegate and for a software."""
        giver = await self._giver(token)
        if not giver:
            return Offices((), ())
        held = await asyncio.to_thread(self._delegations.given, giver)
        given = [Given(one.id, await self._label(one.delegate), _text(one.expires)) for one in held]
        taken = {one.delegate for one in held}
        colleagues = [one for one in await self._colleagues(giver) if one.actor not in taken]
        return Offices(tuple(given), tuple(colleagues))

    async def give(self, token: str, delegate: str) -> None:
        """Let a colleague act for them. Raises Forbidden for a delegate, Invalid for who is no colleague."""
        giver = await self._giver(token)
        if not giver:
            raise errors.Forbidden("une délégation se donne soi-même, connecté à l'application")
        if all(one.actor != delegate for one in await self._colleagues(giver)):
            raise errors.Invalid("déléguez à une personne de votre structure")
        await asyncio.to_thread(self._delegations.give, giver, delegate, LASTS)

    async def end(self, token: str, id: str) -> None:
        """One of theirs ends now, in other processes within seconds. Raises NotFound."""
        giver = await self._giver(token)
        await asyncio.to_thread(self._delegations.end, giver, id)
        self._tokens.forget_of(giver)

    async def _giver(self, token: str) -> str:
        told = await asyncio.to_thread(self._tokens.told, token)
        by_themselves = (
            told and told.identity.kind == "person" and not told.identity.delegate and not told.identity.scopes
        )
        return told.identity.actor if told and by_themselves else ""

    async def _colleagues(self, giver: str) -> list[Person]:
        role = await self._room.read(giver) if giver.startswith("PractitionerRole/") else {}
        structure = role.get("organization", {}).get("reference", "")
        me = role.get("practitioner", {}).get("reference", "")
        roles = await self._room.find("PractitionerRole", organization=structure) if structure else []
        others = [one for one in roles if one.get("active", True) and _of(one) not in ("", me)]
        found = [
            Person(f"PractitionerRole/{one['id']}", await self._label(f"PractitionerRole/{one['id']}"))
            for one in others
        ]
        return sorted(found, key=lambda one: one.label)

    async def _label(self, actor: str) -> str:
        with contextlib.suppress(errors.NotFound, errors.Gone):
            name, profession = await people.name(actor, self._room)
            return ", ".join(part for part in (name, profession) if part)
        return actor


def _of(role: Resource) -> str:
    return str(role.get("practitioner", {}).get("reference", ""))


def _text(micros: int) -> str:
    return clock.instant(clock.from_micros(micros))
