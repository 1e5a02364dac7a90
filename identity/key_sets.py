"""Which public keys does a software sign with now?

Keys at an address are kept for five minutes. A signature by a key that is not among them makes us look again, so that
whoever changes keys is not refused meanwhile; but not more often than every ten seconds, whoever asks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from joserfc import errors as jose
from joserfc import jwk

from common import errors

KEPT_SECONDS = 300.0
AGAIN_SECONDS = 10.0
MOST_BYTES = 64 * 1024
MOST_KEYS = 50
_SECONDS = 5.0
_LEAST_RSA_BITS = 2048

Key = jwk.RSAKey | jwk.ECKey
Keys = dict[str, Key]
Fetch = Callable[[str], Awaitable[bytes]]


def read(data: bytes) -> Keys:
    """The keys of a JWK set (RFC 7517) that may verify, by `kid`.

    Raises Unreadable when it is none, when it shows a private or symmetric key, or when no key of it can be used.
    """
    try:
        given = json.loads(data)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        given = None
    if not isinstance(given, list) or len(given) > MOST_KEYS:
        raise errors.Unreadable("jeu de clés illisible : JSON avec une liste « keys » attendu", at="jwks")
    if any(isinstance(one, dict) and ("d" in one or "k" in one) for one in given):
        raise errors.Unreadable(
            "ce jeu de clés montre une clé privée : remplacez-la et ne publiez que l'autre", at="jwks"
        )
    found = {key.kid: key for key in map(_key, given) if key is not None and key.kid}
    if not found:
        text = "aucune clé utilisable : RSA de 2048 bits ou plus, ou EC P-384, avec « kid », pour signer"
        raise errors.Unreadable(text, at="jwks")
    return found


def _key(given: Any) -> Key | None:
    if not isinstance(given, dict) or given.get("use", "sig") != "sig" or given.get("kty") not in ("RSA", "EC"):
        return None
    try:
        key = jwk.import_key(given)
    except (jose.JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, jwk.RSAKey):
        return key if key.raw_value.key_size >= _LEAST_RSA_BITS else None
    return key if isinstance(key, jwk.ECKey) and key.curve_name == "P-384" else None


class KeySets:
    """The sets of all softwares of one process. `fetch` gets the bytes at an address or raises Unavailable."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch or over_http
        self._known: dict[str, tuple[float, Keys]] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def at(self, url: str, kid: str) -> Key | None:
        """The key of that name at this address. Raises Unavailable when nothing is known and nobody answers."""
        if not self._is_known(url, kid):
            async with self._asking[url]:  # many may wait for one answer
                if not self._is_known(url, kid):
                    try:
                        self._known[url] = time.monotonic(), read(await self._fetch(url))
                    except errors.Unreadable as problem:
                        raise errors.Unavailable(problem.message, at="jwks_url") from problem
        return self._known[url][1].get(kid)

    def _is_known(self, url: str, kid: str) -> bool:
        """Is this key there, or surely not?"""
        since, keys = self._known.get(url, (-KEPT_SECONDS, {}))
        age = time.monotonic() - since
        return age < (KEPT_SECONDS if kid in keys else AGAIN_SECONDS)


async def over_http(url: str) -> bytes:
    """What is at an address that an operator registered; no redirect is followed. Raises Unavailable."""
    found = b""
    try:
        async with (
            httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            async for some in answer.aiter_bytes():
                found += some
                if len(found) > MOST_BYTES:
                    raise errors.Unavailable("le jeu de clés est trop long", at="jwks_url")
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise errors.Unavailable("l'adresse des clés ne répond pas", at="jwks_url") from problem
    if answer.status_code != 200:
        raise errors.Unavailable(f"l'adresse des clés répond {answer.status_code}", at="jwks_url")
    return found
