"""Who is the person or software behind a bearer token, as the record sees them?

The seam between `identity` (whose token is it) and `fhir_server.access` (what may they see): another source of
identities replaces `identity`, never the places where rights are checked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from common import clock, errors
from fhir_server import access
from hub import authorize, launch, national, settings, terms
from hub.accounts import delegating, enter, means, own, setup
from hub.national import National
from hub.personas import PERSON_LIFETIME, persona
from hub.profiles import Arrived, Profiles
from hub.rights import worn
from hub.room import Room
from identity import acceptances, tokens


@dataclass(frozen=True, slots=True)
class Session:
    """A session as pages show it; `since` and `until` are instants."""

    id: str
    client: str
    name: str
    since: str
    until: str
    is_this: bool


@dataclass(frozen=True, slots=True)
class Ways:
    """Every way to come in: with a card (None where it is not set up), or with the means of an account.

    Then what everybody meets inside: `profiles` to choose from, `terms` to accept, and `delegating`; what softwares
    open for people (`launches`), and the `apps` that people open.
    """

    national: National | None
    enter: enter.Enter
    setup: setup.Setup
    own: own.Own
    profiles: Profiles
    terms: terms.Terms
    delegating: delegating.Delegating
    launches: launch.Launches
    apps: authorize.Apps


class SignIn:
    """What the doors and the pages use: `check` a token; in the demo, make one for a `persona`."""

    def __init__(self, kept: tokens.Tokens, hats: worn.Hats, ways: Ways, *, demo: bool) -> None:
        self._tokens = kept
        self._hats = hats
        self._demo = demo
        self.ways = ways

    async def check(self, token: str) -> access.Caller:
        """The caller behind a token. Raises Unauthenticated, TermsPending."""
        identity = await self._tokens.check(token)
        await self.ways.terms.check(identity)
        return await self._hats.caller(identity)

    async def accept(self, token: str) -> None:
        """The person of this token accepts the terms of use. Raises Unauthenticated."""
        await self.ways.terms.accept(await self._tokens.check(token))

    async def accepted(self, token: str) -> list[tuple[str, str]]:
        """What they accepted: versions and instants, the latest first. Raises Unauthenticated."""
        found = await self.ways.terms.accepted(await self._tokens.check(token))
        return [(one.version, _text(one.at)) for one in found]

    async def forget(self, token: str) -> None:
        """Signed out: the token opens nothing any more."""
        await asyncio.to_thread(self._tokens.revoke, token)

    async def waiting(self, ticket: str) -> Arrived:
        """Somebody who came in and has not chosen a hat yet. Raises Unauthenticated, Forbidden."""
        return await self.ways.profiles.waiting(ticket)

    async def wear(self, ticket: str, actor: str) -> str:
        """A token for one of the hats of who came in, once. Raises Unauthenticated, Forbidden for another hat."""
        return await self.ways.profiles.wear(ticket, actor)

    async def sessions(self, token: str) -> list[Session]:
        """Where the person of this token is signed in."""
        found = await asyncio.to_thread(self._tokens.sessions, token)
        called = {client: await self.ways.apps.called(client) for client in {one.client for one in found}}
        return [
            Session(one.id, called[one.client], one.name, _text(one.created), _text(one.expires), one.is_this)
            for one in found
        ]

    async def end_session(self, token: str, id: str) -> None:
        """One of theirs ends."""
        await asyncio.to_thread(self._tokens.end_session, token, id)

    async def persona(self, name: str) -> str:
        """A token for the one-tap tiles, whose people accept the terms by the tap.

        Raises Forbidden outside the demo, NotFound for an unknown persona.
        """
        if not self._demo:
            raise errors.Forbidden("les connexions en un geste n'existent que dans la démonstration")
        identity = persona(name, client="web")
        await self.ways.terms.accept(identity)
        return await asyncio.to_thread(self._tokens.mint, identity, PERSON_LIFETIME)


def build(config: settings.Settings, room: Room, kept: tokens.Tokens, hats: worn.Hats, *, origin: str) -> SignIn:
    """As set. Raises Unreadable for settings that are not complete, or not safe."""
    profiles, held = Profiles(room, kept), means.build(room, kept, origin=origin)
    launches = launch.Launches(room, kept, hats, base=f"{origin}/fhir")
    ways = Ways(
        national.build(config, room, kept, profiles, origin=origin),
        enter.Enter(held, profiles),
        setup.Setup(held, profiles, room),
        own.Own(held, kept, profiles, room),
        profiles,
        terms.Terms(terms.text(config), acceptances.Acceptances(kept.engine, room.now), origin=origin),
        delegating.Delegating(room, kept),
        launches,
        authorize.Apps(room, kept, launches, hats, base=f"{origin}/fhir"),
    )
    return SignIn(kept, hats, ways, demo=config.demo)


def _text(micros: int) -> str:
    return clock.instant(clock.from_micros(micros))
