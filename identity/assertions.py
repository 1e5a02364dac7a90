"""Which software is this? It signs a short statement with its own key, once for each token that it asks for.

RFC 7523 as SMART App Launch 2 narrows it (client-confidential-asymmetric): RS384 or ES384, `iss` and `sub` are the
client's id, `aud` is the address it was sent to, it ends within five minutes and is used once. What is wrong is told to
the developer at the other end in English and ASCII, as RFC 6749 section 5.2 wants it.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import sqlalchemy as sql
from joserfc import errors as jose
from joserfc import jwk, jws

from common import clock, errors
from identity import key_sets
from identity.clients import Client, Clients
from identity.used import Used

ALGORITHMS = ("RS384", "ES384")
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_SECONDS = 300
SKEW_SECONDS = 10  # between the two clocks
_MOST_TEXT = 16 * 1024
_MOST_JTI = 512
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Assertions:
    """Checks assertions. `engine` is a synchronous SQLAlchemy engine: what was used once is remembered there."""

    def __init__(self, engine: sql.Engine, now: clock.Clock, keys: key_sets.KeySets | None = None) -> None:
        self._now = now
        self._used = Used(engine, now)
        self._keys = keys or key_sets.KeySets()
        self.clients = Clients(engine, now)

    async def check(self, assertion: str, audience: str) -> Client:
        """The software that signed it for `audience`, our own address.

        Raises Unauthenticated with what is wrong, Unavailable when the database does not answer.
        """
        signed = _parts(assertion)
        header, claims = signed.headers(), _claims(signed.payload)
        id = claims.get("iss")
        if not isinstance(id, str) or id != claims.get("sub"):
            raise errors.Unauthenticated("iss and sub must both be the client_id")
        client = await asyncio.to_thread(self.clients.find, id) if _ID.fullmatch(id) else None
        if client is None:
            raise errors.Unauthenticated("unknown client")
        if client.is_public:
            raise errors.Unauthenticated("this client is registered without keys")
        key = await self._key(client, header)
        try:
            is_theirs = jws.validate_compact(signed, key, ALGORITHMS)
        except (jose.JoseError, ValueError):
            is_theirs = False
        if not is_theirs:
            raise errors.Unauthenticated("the signature is not by this key")
        expires = self._until(claims, audience)
        if not await asyncio.to_thread(self._used.once, f"{client.id}\0{claims['jti']}", expires):
            raise errors.Unauthenticated("this jti was used before")
        return client

    async def _key(self, client: Client, header: dict[str, Any]) -> jwk.RSAKey | jwk.ECKey:
        if header.get("alg") not in ALGORITHMS:
            raise errors.Unauthenticated("alg must be RS384 or ES384")
        if not (client.jwks_url or client.jwks):
            raise errors.Unauthenticated("no key is registered for this software: it signs in with its certificate")
        if header.get("jku") not in (None, client.jwks_url):
            raise errors.Unauthenticated("jku is not the registered JWKS address")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise errors.Unauthenticated("kid is missing")
        try:
            found = await self._keys.at(client.jwks_url, kid) if client.jwks_url else _held(client).get(kid)
        except errors.Unavailable as problem:
            raise errors.Unauthenticated("the registered JWKS address gives no usable keys") from problem
        if found is None:
            raise errors.Unauthenticated("no registered key has this kid")
        if (header["alg"] == "RS384") is not isinstance(found, jwk.RSAKey):
            raise errors.Unauthenticated("alg does not fit the key")
        return found

    def _until(self, claims: dict[str, Any], audience: str) -> int:
        """When it ends, in seconds since 1970."""
        if claims.get("aud") not in (audience, [audience]):  # nobody else's besides: they could use it here
            raise errors.Unauthenticated(f"aud must be {audience} and nothing else")
        now = int(self._now().timestamp())
        exp, nbf, iat = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
        if exp is None or exp + SKEW_SECONDS <= now:
            raise errors.Unauthenticated("exp is missing or has passed")
        if exp > now + LONGEST_SECONDS + SKEW_SECONDS:
            raise errors.Unauthenticated("exp must be at most 5 minutes from now")
        if any(one is not None and one > now + SKEW_SECONDS for one in (nbf, iat)):
            raise errors.Unauthenticated("nbf or iat lies in the future: check the clock")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= _MOST_JTI:
            raise errors.Unauthenticated("jti is missing or too long")
        return exp


def _parts(assertion: str) -> jws.CompactSignature:
    if len(assertion) > _MOST_TEXT:
        raise errors.Unauthenticated("client_assertion is too long")
    try:
        return jws.extract_compact(assertion.encode())
    except (jose.JoseError, ValueError, TypeError, RecursionError):
        raise errors.Unauthenticated("client_assertion is not a signed JWT") from None


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise errors.Unauthenticated("the claims of client_assertion are no JSON object")
    return claims


def _seconds(claims: dict[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**40:
        raise errors.Unauthenticated(f"{name} is no number of seconds since 1970")
    return int(value)


def _held(client: Client) -> key_sets.Keys:
    return key_sets.read(client.jwks.encode())
