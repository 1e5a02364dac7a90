"""Who is at the other end of a connection: which address, and which certificate?

Whoever connects, unless that is a proxy that the operator named (`trusted_proxies`): then what it says of whoever
connected to it, `X-Forwarded-For` and `Client-Cert` (RFC 9440). From anybody else these headers mean nothing, and from
such a proxy nothing else does: a certificate of its own is not that of its clients.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import ssl
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from common import errors
from fhir_server.app import ASGI, Receive, Scope, Send
from identity import certificates

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LEAF, _CHAIN = b"client-cert", b"client-cert-chain"


class Peers:
    """Around everything. `trust` looks at certificates, None where none is asked for."""

    def __init__(self, inside: ASGI, proxies: Iterable[Network], trust: certificates.Trust | None) -> None:
        self._proxies = tuple(proxies)
        self._trust = trust
        trusted = [str(one) for one in self._proxies]
        self._inside: Any = ProxyHeadersMiddleware(inside, trusted) if trusted else inside  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] in ("http", "websocket"):
            address = _plain(scope["client"][0]) if scope.get("client") else ""
            if address:
                scope["client"] = (address, scope["client"][1])
            certificates.presented.set(self._certificate(scope, self._is_proxy(address)) if self._trust else None)
        await self._inside(scope, receive, send)

    def _is_proxy(self, address: str) -> bool:
        return bool(self._proxies) and _is_in(address, self._proxies)

    def _certificate(self, scope: Scope, is_proxy: bool) -> certificates.Certificate | None:
        assert self._trust
        if not is_proxy:
            shown = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain")
            return self._trust.look(_der(shown[0]), is_verified=True) if shown else None
        values = [value for name, value in scope["headers"] if name == _LEAF]
        if not values or values == [b""]:
            return None
        try:
            (one,) = values
            between = b",".join(value for name, value in scope["headers"] if name == _CHAIN)
            chain = [_bytes(text) for part in between.decode("ascii").split(",") if (text := part.strip())]
            return self._trust.look(_bytes(one.decode("ascii").strip()), chain, is_verified=False)
        except ValueError:
            return certificates.Certificate("", wrong="the proxy's Client-Cert header cannot be read")


def proxies(text: str) -> tuple[Network, ...]:
    """From a list of networks: `127.0.0.1, 10.0.0.0/8`. Raises Unreadable naming the one that is none."""
    found = []
    for one in text.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_network(one, strict=False))
        except ValueError:
            raise errors.Unreadable(f"trusted_proxies : {one} n'est pas un réseau", at="trusted_proxies") from None
    return tuple(found)


def _plain(address: str) -> str:
    """An IPv4 address that arrived on an IPv6 socket is itself."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


@lru_cache(maxsize=4096)
def _is_in(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(known in one for one in networks)


def _bytes(text: str) -> bytes:
    """A byte sequence of RFC 8941 between colons, or PEM with percent signs, as nginx writes it. Raises ValueError."""
    if text.startswith("-----"):
        return _der(unquote(text))
    if len(text) < 2 or text[0] != ":" or text[-1] != ":":
        raise ValueError("no byte sequence")
    try:
        return base64.b64decode(text[1:-1], validate=True)
    except binascii.Error as problem:
        raise ValueError("no base64") from problem


@lru_cache(maxsize=2048)
def _der(pem: str) -> bytes:
    """Raises ValueError."""
    return ssl.PEM_cert_to_DER_cert(pem)
