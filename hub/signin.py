"""Who is the person or software behind a bearer token, as the record sees them?

The seam between `identity` (whose token is it) and `fhir_server.access` (what may they see): another source of
identities replaces `identity`, never the places where rights are checked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from common import clock, errors
from fhir_server import access
from hub.national import National
from hub.rights import worn
from hub.seed import small
from identity import tokens

PERSON_LIFETIME = timedelta(hours=12)
CLIENT_LIFETIME = timedelta(hours=12)
SYSTEM_LIFETIME = timedelta(hours=1)


def persona(name: str, *, client: str = "", scopes: tuple[str, ...] = ()) -> tokens.Identity:
    """The identity of a persona of the demo region, alone or through a software. Raises NotFound for other names."""
    found = small.PERSONAS.get(name)
    if found is None:
        raise errors.NotFound(f"persona inconnu : {name} ; choix : {', '.join(small.PERSONAS)}")
    also = (found.practitioner,) if found.practitioner else ()
    return tokens.Identity("person", found.actor, also, client, scopes, found.display)


@dataclass(frozen=True, slots=True)
class Session:
    """A session as pages show it; `since` and `until` are instants."""

    id: str
    client: str
    name: str
    since: str
    until: str
    is_this: bool


class SignIn:
    """What the doors and the pages use: `check` a token; in the demo, make one for a `persona`.

    `national` is the sign-in through Pro Santé Connect, None where it is not set up.
    """

    def __init__(self, kept: tokens.Tokens, hats: worn.Hats, *, demo: bool, national: National | None = None) -> None:
        self._tokens = kept
        self._hats = hats
        self._demo = demo
        self.national = national

    async def check(self, token: str) -> access.Caller:
        """The caller behind a token. Raises Unauthenticated."""
        return await self._hats.caller(await self._tokens.check(token))

    async def forget(self, token: str) -> None:
        """Signed out: the token opens nothing any more."""
        await asyncio.to_thread(self._tokens.revoke, token)

    async def sessions(self, token: str) -> list[Session]:
        """Where the person of this token is signed in."""
        found = await asyncio.to_thread(self._tokens.sessions, token)
        return [
            Session(one.id, one.client, one.name, _text(one.created), _text(one.expires), one.is_this) for one in found
        ]

    async def end_session(self, token: str, id: str) -> None:
        """One of theirs ends."""
        await asyncio.to_thread(self._tokens.end_session, token, id)

    async def persona(self, name: str) -> str:
        """A token for the one-tap tiles. Raises Forbidden outside the demo, NotFound for an unknown persona."""
        if not self._demo:
            raise errors.Forbidden("les connexions en un geste n'existent que dans la démonstration")
        return await asyncio.to_thread(self._tokens.mint, persona(name, client="web"), PERSON_LIFETIME)


def _text(micros: int) -> str:
    return clock.instant(clock.from_micros(micros))
