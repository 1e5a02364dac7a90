"""Who is the person or software behind a bearer token, as the record sees them?

The seam between `identity` (whose token is it) and `fhir_server.access` (what may they see): another source of
identities replaces `identity`, never the places where rights are checked.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from common import errors
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

    async def persona(self, name: str) -> str:
        """A token for the one-tap tiles. Raises Forbidden outside the demo, NotFound for an unknown persona."""
        if not self._demo:
            raise errors.Forbidden("les connexions en un geste n'existent que dans la démonstration")
        return await asyncio.to_thread(self._tokens.mint, persona(name, client="web"), PERSON_LIFETIME)
