"""As what may somebody who was recognised work here? (ACC-13)

However they proved who they are, the directory says what they do: each active PractitionerRole is a hat, and with
several the person chooses one. What the browser carries meanwhile is sealed with the hub's secret and good for minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from common import clock, errors
from fhir_server import cursors
from hub import people
from hub.joining import directory
from hub.room import Resource, Room
from identity import delegations, tokens, used

MARKED_SECONDS = 3600  # an end is remembered for longer than a sign-in or a choice takes
_MOST_HATS = 20  # what a cookie has room for
_TO_CHOOSE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Hat:
    """One way of working: `actor` is the PractitionerRole, `label` says which it is.

    `also` is the Practitioner of `actor`, `name` what is written beside what they do. Under a delegation `delegate` are
    the PractitionerRole and Practitioner of who acts, and `until` is when it ends (microseconds since 1970; 0: never).
    """

    actor: str
    label: str
    also: str
    name: str
    delegate: str = ""
    until: int = 0


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
        self._delegations = delegations.Delegations(kept.engine, room.now)
        self._seal = cursors.Seal(blake2b(key=room.secret, person=b"hub sign-in").digest()[: cursors.SECRET_BYTES])

    async def arrived(self, practitioner: str, proved: Proved, back: str) -> Arrived:
        """What `Practitioner/x` may choose from. Raises Forbidden when they work nowhere."""
        hats = await self._hats(practitioner)
        ticket = {
            "practitioner": practitioner,
            "actors": [one.actor for one in hats],
            "client": proved.client,
            "lifetime": proved.lifetime.total_seconds(),
            "subject": proved.subject,
            "session": proved.session,
            "back": back,
        }
        return Arrived(tuple(hats), self.close("ticket", ticket, _TO_CHOOSE), back)

    async def waiting(self, ticket: str) -> Arrived:
        """Somebody who has not chosen yet. Raises Unauthenticated, Forbidden."""
        kept, _ = self.opened("ticket", ticket)
        return Arrived(tuple(await self._hats(kept["practitioner"])), ticket, kept["back"])

    async def wear(self, ticket: str, actor: str) -> str:
        """A token for one of the hats of a ticket, once. Raises Unauthenticated, Forbidden for another hat."""
        kept, until = self.opened("ticket", ticket)
        if actor not in kept["actors"]:
            raise _not_yours()
        proved = Proved(kept["client"], timedelta(seconds=kept["lifetime"]), kept["subject"], kept["session"])
        hat = await self._hat_of(kept["practitioner"], actor)
        await self.opened_once("ticket", ticket)
        identity = _identity(hat, proved)
        lifetime = proved.lifetime
        if hat.until:
            lifetime = min(lifetime, clock.from_micros(hat.until) - self._room.now())
        token = await asyncio.to_thread(self._tokens.mint, identity, lifetime)
        if await asyncio.to_thread(self._has_ended, identity, until - int(_TO_CHOOSE.total_seconds())):
            await asyncio.to_thread(self._tokens.revoke, token)
            raise errors.Unauthenticated("cette session Pro Santé Connect est terminée : recommencez")
        if identity.delegate and not await asyncio.to_thread(self._still_delegated, identity):
            await asyncio.to_thread(self._tokens.revoke, token)
            raise _not_yours()
        return token

    async def worn(self, practitioner: str, role: str, proved: Proved) -> tokens.Identity:
        """That person under the hat `role` (`PractitionerRole/x`), which must be said when there are several.

        Raises Forbidden, Conflict when it is not said: the message names them.
        """
        if role:
            return _identity(await self._hat_of(practitioner, role), proved)
        hats = await self._hats(practitioner)
        if len(hats) > 1:
            raise errors.Conflict(" ".join(one.actor for one in hats))
        return _identity(hats[0], proved)

    async def roles(self, practitioner: str) -> list[Resource]:
        """The active PractitionerRoles of `Practitioner/x`. Raises Forbidden when there is none."""
        active = await directory.works(practitioner, self._room)
        if not active:
            raise errors.Forbidden("l'annuaire ne vous connaît aucune situation d'exercice active")
        return active[:_MOST_HATS]

    def mark_ended(self, session: str) -> None:
        """A session elsewhere is over (`issuer#sid` or `issuer#sub`): a ticket from before makes no token any more."""
        until = int(self._room.now().timestamp()) + MARKED_SECONDS
        self._used.mark(f"ended\0{session}", until)

    def close(self, kind: str, content: dict[str, Any], lifetime: timedelta) -> str:
        """Content for the browser to carry for so long, which it can neither read nor change."""
        until = int((self._room.now() + lifetime).timestamp())
        return self._seal.close(json.dumps({kind: content, "until": until, "nonce": secrets.token_hex(8)}))

    def opened(self, kind: str, sealed: str) -> tuple[dict[str, Any], int]:
        """What `close` sealed as this kind, and until when (seconds since 1970). Raises Unauthenticated."""
        try:
            content: dict[str, Any] = json.loads(self._seal.open(sealed))
        except errors.Unreadable:
            content = {}
        if kind not in content or content["until"] < self._room.now().timestamp():
            raise errors.Unauthenticated("cette connexion a expiré : recommencez")
        return content[kind], content["until"]

    async def opened_once(self, kind: str, sealed: str) -> dict[str, Any]:
        """The same, the first time alone. Raises Unauthenticated."""
        content, until = self.opened(kind, sealed)
        if not await asyncio.to_thread(self._used.once, f"{kind}\0{sealed}", until):
            raise errors.Unauthenticated("cette connexion a déjà servi : recommencez")
        return content

    async def _hat_of(self, practitioner: str, actor: str) -> Hat:
        for one in await self._hats(practitioner):
            if one.actor == actor:
                return one
        raise _not_yours()

    async def _hats(self, practitioner: str) -> list[Hat]:
        """Their own, then those of the people for whom they act."""
        name, _ = await people.name(practitioner, self._room)
        roles = await self.roles(practitioner)
        found = {one.actor: one for one in [await self._own(role, practitioner, name) for role in roles]}
        for role in [*found]:
            for given in await asyncio.to_thread(self._delegations.received, role):
                with contextlib.suppress(errors.NotFound, errors.Gone, errors.Forbidden):
                    found.setdefault(given.giver, await self._lent(given, f"{role} {practitioner}", name))
        return list(found.values())[:_MOST_HATS]

    async def _own(self, role: Resource, practitioner: str, name: str) -> Hat:
        return Hat(f"PractitionerRole/{role['id']}", await work(role, self._room), practitioner, name)

    async def _lent(self, given: delegations.Delegation, delegate: str, name: str) -> Hat:
        """The hat of who is acted for. Raises NotFound, Gone, Forbidden when they do not work under it any more."""
        role = await self._room.read(given.giver)
        practitioner = str(role.get("practitioner", {}).get("reference", ""))
        if given.giver not in {f"PractitionerRole/{one['id']}" for one in await self.roles(practitioner)}:
            raise _not_yours()
        giver, profession = await people.name(given.giver, self._room)
        label = ", ".join(part for part in (f"Pour {giver}", profession) if part)
        return Hat(given.giver, label, practitioner, f"{name} pour {giver}", delegate, given.expires)

    def _still_delegated(self, identity: tokens.Identity) -> bool:
        received = self._delegations.received(identity.delegate.partition(" ")[0])
        return any(one.giver == identity.actor for one in received)

    def _has_ended(self, identity: tokens.Identity, since: int) -> bool:
        """Was it said that this session is over, or all of the subject's since then (in seconds since 1970)?"""
        if identity.session and self._used.until(f"ended\0{identity.session}"):
            return True
        return self._used.until(f"ended\0{identity.subject}") - MARKED_SECONDS >= since


async def work(role: Resource, room: Room) -> str:
    """As what and where a PractitionerRole says that somebody works."""
    profession = next((str(one.get("text", "")) for one in role.get("code", ())), "")
    place = str(role.get("organization", {}).get("display", ""))
    with contextlib.suppress(errors.NotFound, errors.Gone):  # a structure that is elsewhere, or not there any more
        if structure := role.get("organization", {}).get("reference"):
            place, _ = await people.name(structure, room)
    return ", ".join(part for part in (profession, place) if part) or str(role["id"])


def _identity(hat: Hat, proved: Proved) -> tokens.Identity:
    return tokens.Identity(
        "person",
        hat.actor,
        (hat.also,),
        client=proved.client,
        name=hat.name,
        subject=proved.subject,
        session=proved.session,
        delegate=hat.delegate,
    )


def _not_yours() -> errors.Forbidden:
    return errors.Forbidden("ce profil n'est pas l'un des vôtres")
