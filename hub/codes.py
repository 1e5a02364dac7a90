"""What does an app get for the code that a person's browser brought it?

RFC 6749 section 4.1.3 with PKCE (RFC 7636): a token of an hour at most, for what the person allowed. The code is good
once, for a minute, for the app that it was made for and whoever knows the verifier; it stops with the session in which
the person allowed it. There is no refresh token: the person opens the app again.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any

from common import clock
from common.events import Events, emit
from hub.oauth_forms import Refused, needed
from identity import clients, errands, tokens

LIFETIME = timedelta(hours=1)
METHOD = "S256"
_KIND = "code"
_OF_CODE = timedelta(minutes=1)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a person allowed an app: `identity` as the token will carry it, in which `session` (a bearer token).

    `is_launched`: the app was opened in context.
    """

    identity: tokens.Identity
    session: str
    redirect_uri: str
    challenge: str
    is_launched: bool


class Codes:
    """Codes in the hub's database, for any process that the app asks."""

    def __init__(self, kept: tokens.Tokens, now: clock.Clock) -> None:
        self._tokens = kept
        self._errands = errands.Errands(kept.engine, now)
        self._clients = clients.Clients(kept.engine, now)

    async def make(self, allowed: Allowed) -> str:
        """A code for what was allowed. Raises Unavailable."""
        content = {
            "identity": asdict(allowed.identity),
            "session": errands.digest(allowed.session).hex(),
            "redirect_uri": allowed.redirect_uri,
            "challenge": allowed.challenge,
            "is_launched": allowed.is_launched,
        }
        return await asyncio.to_thread(self._errands.keep, _KIND, content, _OF_CODE)

    async def public(self, form: Mapping[str, str]) -> clients.Client | None:
        """The app that says who it is and has nothing to prove it with, if that is one: PKCE proves the rest."""
        client = await asyncio.to_thread(self._clients.find, form.get("client_id", ""))
        return client if client and client.is_public and not {"client_secret", "client_assertion"} & {*form} else None

    async def redeem(self, form: Mapping[str, str], client: clients.Client, *, certificate: str) -> dict[str, Any]:
        """The token answer; the token goes with the certificate of that thumbprint, if any.

        Raises Refused, and takes back what an earlier use of the code gave.
        """
        code = needed(form, "code")
        content = await asyncio.to_thread(self._errands.look, _KIND, code)
        if content is None:
            return await self._again(code)
        identity = replace(tokens.again(content["identity"]), certificate=certificate)
        if (identity.client, content["redirect_uri"]) != (client.id, needed(form, "redirect_uri")):
            raise Refused("invalid_grant", "this code was made for another client_id or redirect_uri")
        if not _fits(needed(form, "code_verifier"), content["challenge"]):
            raise Refused("invalid_grant", "code_verifier does not fit code_challenge")
        if not await asyncio.to_thread(self._errands.take, _KIND, code):
            return await self._again(code)
        text, seconds = await self._minted(code, identity, content)
        emit(Events.IDN_010, client=identity.client, scopes=len(identity.scopes), person=True)
        answer: dict[str, Any] = {"access_token": text, "token_type": "bearer", "expires_in": seconds}
        answer["scope"] = " ".join(identity.scopes)
        if identity.patient:
            answer["patient"] = identity.patient.partition("/")[2]
        return answer | ({"need_patient_banner": True} if content["is_launched"] else {})

    async def _minted(self, code: str, identity: tokens.Identity, content: Mapping[str, Any]) -> tuple[str, int]:
        now = await asyncio.to_thread(self._tokens.remaining, bytes.fromhex(content["session"]))
        lifetime = min(LIFETIME, now)
        text = ""
        if lifetime > timedelta():
            text = await asyncio.to_thread(partial(self._tokens.mint, identity, lifetime, registered=True))
        # Whoever signs out, or uses the code again, does so before or after the token is there: both are seen.
        is_first = await asyncio.to_thread(self._errands.gave, code, text)
        if not await asyncio.to_thread(self._tokens.remaining, bytes.fromhex(content["session"])) or not is_first:
            await asyncio.to_thread(self._tokens.revoke, text)
            raise Refused("invalid_grant", "the person has signed out, or the code was used twice")
        return text, int(lifetime.total_seconds())

    async def _again(self, code: str) -> dict[str, Any]:
        await asyncio.to_thread(self._errands.repeated, _KIND, code)
        raise Refused("invalid_grant", "this code is unknown, has expired or was used before")


def is_challenge(text: str) -> bool:
    """Could it be a `code_challenge` of S256?"""
    return _CHALLENGE.fullmatch(text) is not None


def _fits(verifier: str, challenge: str) -> bool:
    made = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=")
    return _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(made, challenge.encode())
