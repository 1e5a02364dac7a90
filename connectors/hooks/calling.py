"""How is one call made, and how did it end?

HTTP/1.1 over a connection of our own: the address that was looked up is the one that is checked and connected to. No
redirect is followed, no proxy used, no more of an answer read than is needed to know how it ended, and everything
together has a time limit. Connections stay open for the next call to the same place.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import SplitResult

import h11

from common import errors
from connectors.hooks import addresses

MOST_ANSWER = 64 * 1024
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 20.0
MOST_IDLE = 4
_READ = 16 * 1024

Headers = Sequence[tuple[str, str]]
Place = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """`ok` for a 2xx answer; else `text` says what happened, without anything that the receiver wrote."""

    ok: bool
    text: str


@dataclass(slots=True)
class _Line:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection
    since: float = 0.0

    def close(self) -> None:
        self.writer.transport.abort()


@dataclass(slots=True)
class Caller:
    """Makes calls. `trust` replaces the system's certificate authorities."""

    policy: addresses.Policy
    product: str = "Spico-Hub"
    trust: ssl.SSLContext | None = None
    _idle: dict[Place, list[_Line]] = field(default_factory=dict)

    async def call(self, method: str, url: str, *, headers: Headers = (), body: bytes = b"", seconds: float) -> Ended:
        """Send one request. Never raises for what the other side does."""
        try:
            parts = addresses.split(url)
            async with asyncio.timeout(seconds):
                return await self._call(method, parts, headers, body)
        except errors.HubError as problem:
            return Ended(False, problem.message)
        except TimeoutError:
            return Ended(False, f"pas de réponse en {seconds:g} s")
        except ssl.SSLError:
            return Ended(False, "certificat ou chiffrement refusé")
        except (OSError, h11.ProtocolError) as problem:
            return Ended(False, f"connexion impossible ou interrompue ({type(problem).__name__})")

    def close(self) -> None:
        """Let go of the connections that are kept."""
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()

    async def _call(self, method: str, parts: SplitResult, headers: Headers, body: bytes) -> Ended:
        place = (parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        request = self._request(method, parts, headers, body)
        line = self._kept(place)
        if line is not None:
            with contextlib.suppress(OSError, h11.ProtocolError):
                return await self._through(line, place, request, body)
            # The other side had closed it meanwhile: once more on a new one. A receiver knows a number twice.
        line = await self._open(place)
        return await self._through(line, place, request, body)

    def _request(self, method: str, parts: SplitResult, headers: Headers, body: bytes) -> h11.Request:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        own = [("Host", parts.netloc), ("User-Agent", self.product), ("Content-Length", str(len(body)))]
        return h11.Request(method=method, target=target, headers=[*own, *headers])

    async def _through(self, line: _Line, place: Place, request: h11.Request, body: bytes) -> Ended:
        done = False
        try:
            parts = [line.http.send(request), line.http.send(h11.Data(data=body)) if body else b""]
            parts.append(line.http.send(h11.EndOfMessage()))
            line.writer.write(b"".join(part for part in parts if part))
            await line.writer.drain()
            status = await _answer(line)
            done = self._keep(line, place)
        finally:
            if not done:
                line.close()
        if 200 <= status < 300:
            return Ended(True, f"HTTP {status}")
        return Ended(False, f"HTTP {status}" + (" (redirection non suivie)" if 300 <= status < 400 else ""))

    def _kept(self, place: Place) -> _Line | None:
        now = asyncio.get_running_loop().time()
        lines = self._idle.get(place, [])
        while lines:
            line = lines.pop()
            if now - line.since < IDLE_SECONDS and not line.reader.at_eof():
                return line
            line.close()
        return None

    def _keep(self, line: _Line, place: Place) -> bool:
        if line.http.our_state is not h11.DONE or line.http.their_state is not h11.DONE:
            return False
        line.http.start_next_cycle()
        line.since = asyncio.get_running_loop().time()
        lines = self._idle.setdefault(place, [])
        lines.append(line)
        while len(lines) > MOST_IDLE:
            lines.pop(0).close()
        return True

    async def _open(self, place: Place) -> _Line:
        """Connect to an address that may be called. Raises Forbidden when the name has none, OSError."""
        scheme, host, port = place
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        known = addresses.parsed([str(one[4][0]) for one in found])
        allowed = [one for one in known if self.policy.permits(one, is_secure=scheme == "https")]
        if not allowed:
            raise errors.Forbidden("adresse interne : appel refusé")
        secured = (self.trust or _public_trust()) if scheme == "https" else None
        problem: OSError | None = None
        for one in dict.fromkeys(allowed):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    reader, writer = await asyncio.open_connection(
                        str(one), port, ssl=secured, server_hostname=host if secured else None, limit=MOST_ANSWER
                    )
                return _Line(reader, writer, h11.Connection(h11.CLIENT, max_incomplete_event_size=_READ))
            except ssl.SSLError:
                raise
            except OSError as failed:
                problem = failed
        raise problem or OSError("no address")


@lru_cache(maxsize=1)
def _public_trust() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _answer(line: _Line) -> int:
    """The status of the answer; the rest is read so far that the connection can be used again, and dropped."""
    status, size = 0, 0
    while True:
        event = line.http.next_event()
        if event is h11.NEED_DATA:
            data = await line.reader.read(_READ)
            size += len(data)
            line.http.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.EndOfMessage):
            return status
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError
        if size > MOST_ANSWER:
            if status:
                return status
            raise ConnectionResetError
