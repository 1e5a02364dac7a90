"""As what may somebody who was recognised work here? (ACC-13)

However they proved who they are, the directory says what they do: each active PractitionerRole is a hat, and with
several the person chooses one. What the browser carries meanwhile is sealed with the hub's secret and good for minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from common import errors
from fhir_server import cursors
from hub import people
from hub.room import Resource, Room
from identity import tokens, used

MARKED_SECONDS = 3600  # an end is remembered for longer than a sign-in or a choice takes
_MOST_HATS = 20  # what a cookie has room for
_TO_CHOOSE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Hat:
    """One way of working: `actor` is the PractitionerRole, `label` says which it is."""

    actor: str
    label: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """Somebody who was recognised: their hats, where they wanted to go, and a `ticket` to put one on."""

    hats: tuple[Hat, ...]
    ticket: str
    back: str


@dataclass(frozen=True, slots=True)
class Proved:
    """How somebody proved who they are: `client` names the way, `lifetime` is how long that is good for.

    `subject` and `session` are those of a sign-in elsewhere (`identity.tokens.Identity`).
    """

    client: str
    lifetime: timedelta
    subject: str = ""
    session: str = ""


class Profiles:
    """The hats of people, and the tokens for them."""

    def __init__(self, room: Room, kept: tokens.Tokens) -> None:
        self._room = room
        self._tokens = kept
        self._used = used.Used(kept.engine, room.now)
        self._seal = cursors.Seal(blake2b(key=room.secret, person=b"hub sign-in").digest()[: cursors.SECRET_BYTES])

    async def arrived(self, practitioner: str, proved: Proved, back: str) -> Arrived:
        """What `Practitioner/x` may choose from. Raises Forbidden when they work nowhere."""
        hats = [await self._hat(role) for role in await self.roles(practitioner)]
        name, _ = await people.name(practitioner, self._room)
        ticket = {
            "practitioner": practitioner,
            "actors": [one.actor for one in hats],
            "name": name,
            "client": proved.client,
            "lifetime": proved.lifetime.total_seconds(),
            "subject": proved.subject,
            "session": proved.session,
        }
        return Arrived(tuple(hats), self.close("ticket", ticket, _TO_CHOOSE), back)

    async def wear(self, ticket: str, actor: str) -> str:
        """A token for one of the hats of a ticket, once. Raises Unauthenticated, Forbidden for another hat."""
        kept, until = self.opened("ticket", ticket)
        if actor not in kept["actors"]:
            raise errors.Forbidden("ce profil n'est pas l'un des vôtres")
        if not await asyncio.to_thread(self._used.once, f"ticket\0{ticket}", until):
            raise errors.Unauthenticated("cette connexion a déjà servi : recommencez")
        identity = tokens.Identity(
            "person",
            actor,
            (kept["practitioner"],),
            client=kept["client"],
            name=kept["name"],
            subject=kept["subject"],
            session=kept["session"],
        )
        token = await asyncio.to_thread(self._tokens.mint, identity, timedelta(seconds=kept["lifetime"]))
        if await asyncio.to_thread(self._has_ended, identity, until - int(_TO_CHOOSE.total_seconds())):
            await asyncio.to_thread(self._tokens.revoke, token)
            raise errors.Unauthenticated("cette session Pro Santé Connect est terminée : recommencez")
        return token

    async def worn(self, practitioner: str, role: str, proved: Proved) -> tokens.Identity:
        """That person under the hat `role` (`PractitionerRole/x`), which must be said when there are several.

        Raises Forbidden, Conflict when it is not said: the message names them.
        """
        actors = [f"PractitionerRole/{one['id']}" for one in await self.roles(practitioner)]
        if role and role not in actors:
            raise errors.Forbidden("ce profil n'est pas l'un des vôtres")
        if not role and len(actors) > 1:
            raise errors.Conflict(" ".join(actors))
        name, _ = await people.name(practitioner, self._room)
        actor = role or actors[0]
        identity = tokens.Identity("person", actor, (practitioner,), client=proved.client, name=name)
        return replace(identity, subject=proved.subject, session=proved.session)

    async def roles(self, practitioner: str) -> list[Resource]:
        """The active PractitionerRoles of `Practitioner/x`. Raises Forbidden when there is none."""
        roles = await self._room.find("PractitionerRole", practitioner=practitioner)
        active = [one for one in roles if one.get("active", True) and self.is_current(one.get("period"))]
        if not active:
            raise errors.Forbidden("l'annuaire ne vous connaît aucune situation d'exercice active")
        return sorted(active, key=_id)[:_MOST_HATS]

    def is_current(self, period: Resource | None) -> bool:
        """Is today in this Period?"""
        today = f"{self._room.now():%Y-%m-%d}"
        begin, end = ((period or {}).get(name, "")[:10] for name in ("start", "end"))
        return (not begin or begin <= today) and (not end or end >= today[: len(end)])

    def mark_ended(self, session: str) -> None:
        """A session elsewhere is over (`issuer#sid` or `issuer#sub`): a ticket from before makes no token any more."""
        until = int(self._room.now().timestamp()) + MARKED_SECONDS
        self._used.mark(f"ended\0{session}", until)

    def close(self, kind: str, content: dict[str, Any], lifetime: timedelta) -> str:
        """Content for the browser to carry for so long, which it can neither read nor change."""
        until = int((self._room.now() + lifetime).timestamp())
        return self._seal.close(json.dumps({kind: content, "until": until}))

    def opened(self, kind: str, sealed: str) -> tuple[dict[str, Any], int]:
        """What `close` sealed as this kind, and until when (seconds since 1970). Raises Unauthenticated."""
        try:
            content: dict[str, Any] = json.loads(self._seal.open(sealed))
        except errors.Unreadable:
            content = {}
        if kind not in content or content["until"] < self._room.now().timestamp():
            raise errors.Unauthenticated("cette connexion a expiré : recommencez")
        return content[kind], content["until"]

    async def _hat(self, role: Resource) -> Hat:
        profession = next((str(one.get("text", "")) for one in role.get("code", ())), "")
        place = ""
        with contextlib.suppress(errors.NotFound, errors.Gone):  # a structure that is elsewhere, or not there any more
            if structure := role.get("organization", {}).get("reference"):
                place, _ = await people.name(structure, self._room)
        label = ", ".join(part for part in (profession, place) if part) or str(role["id"])
        return Hat(f"PractitionerRole/{role['id']}", label)

    def _has_ended(self, identity: tokens.Identity, since: int) -> bool:
        """Was it said that this session is over, or all of the subject's since then (in seconds since 1970)?"""
        if identity.session and self._used.until(f"ended\0{identity.session}"):
            return True
        return self._used.until(f"ended\0{identity.subject}") - MARKED_SECONDS >= since


def has_one(practitioner: Resource, numbers: Collection[str], profiles: Profiles) -> bool:
    """Is one of these numbers (`system|value`) theirs now? One that a letter or a mail said of them is not (temp)."""
    held = [one for one in practitioner.get("identifier", ()) if one.get("use") not in ("temp", "old")]
    return any(
        f"{one.get('system')}|{one.get('value')}" in numbers and profiles.is_current(one.get("period")) for one in held
    )


def _id(resource: Resource) -> str:
    return str(resource["id"])
