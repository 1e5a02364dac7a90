"""Who asks too often, and what does every answer tell a browser?

In front of everything that listens on HTTP. Limits are buckets that fill again by themselves, kept in memory and
bounded: one for each network that tries to sign in, one for each caller of the FHIR API. They slow down whoever they
are about and nobody else: an account cannot be locked out by others. Each process counts for itself.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any

from common import errors
from fhir_server import access
from fhir_server.app import Message, Receive, Scope, Send

ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
Authenticate = Callable[[str], Awaitable[access.Caller]]

_SIGN_IN = ("/oauth/", "/connexion", "/compte/")
_MOST_KEYS = 50_000
_BURST_SECONDS = 10.0  # of FHIR requests at once, after a pause
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_ALWAYS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Limiter:
    """`rate` a second, and `burst` at once after a pause; 0 is no limit."""

    def __init__(self, rate: float, burst: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, burst
        self._now = now
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def wait(self, key: object) -> float:
        """0 when it may go on, which is counted; else the seconds after which it may."""
        if not self.rate:
            return 0.0
        now = self._now()
        left, at = self._left.get(key, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.rate)
        if left < 1:
            return (1 - left) / self.rate
        self._left[key] = left - 1, now
        if len(self._left) > _MOST_KEYS:
            self._left.popitem(last=False)
        return 0.0


class Fence:
    """Around the whole application. `https`: clients reach us by https, whatever arrives here from the proxy."""

    def __init__(self, inside: ASGI, sign_in: Limiter, *, https: bool) -> None:
        self._inside = inside
        self._sign_in = sign_in
        self._https = https
        self._headers = (*_ALWAYS, _HSTS) if https else _ALWAYS

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._inside(scope, receive, send)
            return
        if self._https:
            scope["scheme"] = "https"
        path = scope["path"]
        if path.startswith(_SIGN_IN) and scope["method"] == "POST" and (wait := self._sign_in.wait(_network(scope))):
            await _refuse(send, wait)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in self._headers if one[0] not in there)]
            await send(message)

        await self._inside(scope, receive, told)


def limited(check: Authenticate, rate: float) -> Authenticate:
    """`check`, for at most `rate` requests a second of one caller; who sees everything is not counted."""
    limiter = Limiter(rate, rate * _BURST_SECONDS)

    async def checked(token: str) -> access.Caller:
        caller = await check(token)
        if caller.memberships is not None and (wait := limiter.wait((caller.delegate or caller.actor, caller.client))):
            raise errors.TooMany(f"trop de requêtes à la fois : reprenez dans {wait:.1f} s")
        return caller

    return checked


def _network(scope: MutableMapping[str, Any]) -> str:
    client = scope.get("client")
    return _of(client[0]) if client else ""


@lru_cache(maxsize=4096)
def _of(address: str) -> str:
    """The /24 or /56 that an address is in: one house, one practice."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((known, 24 if known.version == 4 else 56), strict=False))


async def _refuse(send: Send, wait: float) -> None:
    body = b'{"error":"slow_down","error_description":"trop de tentatives depuis ce reseau ; reprenez plus tard"}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % max(1, round(wait))),
        *_ALWAYS,
    ]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})
