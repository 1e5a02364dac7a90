"""How do HL7 v2 messages come in and go out over TCP?

MLLP (frames in `frames.py`), with or without TLS. Per connection: answers in the order of the messages, one write
each; reading stops while too much waits, so a fast sender fills its own buffers and not our memory. The door decides
nothing: whole messages, broken and oversized ones each go to a function of the hub.
"""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from common.events import Events, emit
from connectors.hospital import frames, line

OnMessage = Callable[[bytes, str], Awaitable[bytes]]
OnBroken = Callable[[bytes, str, str], Awaitable[None]]
OnOversize = Callable[[bytes, int, str], Awaitable[bytes]]

_ENDLESS = 8  # an oversized frame is read to its end to answer it, but not for ever: this many times the limit
_HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Mllp:
    """Settings of one listening door. `queue`: messages of one connection that may wait before reading stops."""

    host: str = "127.0.0.1"
    port: int = 2575
    tls: ssl.SSLContext | None = None
    max_bytes: int = 25 * 2**20
    idle_seconds: float = 300.0
    queue: int = 16
    connections: int = 256


@dataclass(slots=True)
class Stats:
    """What this door has seen since it opened."""

    connections: int = 0
    frames: int = 0
    garbage_bytes: int = 0
    broken: int = 0
    oversize: int = 0


@dataclass(frozen=True, slots=True)
class _Hub:
    """The functions that the hub handed in."""

    on_message: OnMessage
    on_broken: OnBroken
    on_oversize: OnOversize


class Server:
    """An open door. `port` is the one really taken."""

    def __init__(self, settings: Mllp, hub: _Hub) -> None:
        self.settings = settings
        self.hub = hub
        self.stats = Stats()
        self.port = 0
        self.connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None

    async def listen(self) -> None:
        """Take the port. OSError when it is not free."""
        loop = asyncio.get_running_loop()
        timeout = _HANDSHAKE_SECONDS if self.settings.tls else None
        self._listener = await loop.create_server(
            lambda: _Connection(self),
            self.settings.host,
            self.settings.port,
            ssl=self.settings.tls,
            ssl_handshake_timeout=timeout,
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self, grace: float = 5.0) -> None:
        """Stop listening, answer what was received within `grace` seconds, hang up."""
        if self._listener is None:
            return
        self._listener.close()
        workers = [connection.stop() for connection in list(self.connections)]
        if workers:
            _, late = await asyncio.wait(workers, timeout=grace)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._listener.wait_closed()
        self._listener = None


async def serve(settings: Mllp, on_message: OnMessage, *, on_broken: OnBroken, on_oversize: OnOversize) -> Server:
    """Open the door. OSError when the port is not free.

    `on_message(message, peer)` returns the answer; when it raises, the connection is closed without one, and the
    sender will send again. `on_broken(head, cause, peer)`: a frame that never ended; cause is closed, idle, restarted
    or stopped. `on_oversize(head, size, peer)` returns the answer to a message over the limit.
    """
    server = Server(settings, _Hub(on_message, on_broken, on_oversize))
    await server.listen()
    return server


async def send(
    host: str,
    port: int,
    message: bytes,
    *,
    timeout: float = 30.0,  # noqa: ASYNC109 a default that every caller may change
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """Connect, send one message (its bytes as they are), return the answer. Raises errors.Unavailable."""
    open_line = await line.connect(host, port, timeout=timeout, tls=tls)
    try:
        return await open_line.send(message, timeout=timeout)
    finally:
        await open_line.close()


class _Connection(asyncio.Protocol):
    """One sender. Reads are cut into events; one task takes them in order."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader = frames.Reader(server.settings.max_bytes)
        self._waiting: deque[tuple[frames.Event, str]] = deque()
        self._waiting_bytes = 0
        self._is_busy = self._is_done = self._is_paused = False
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()

    # -- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop has transports of its own class
        self._transport = transport
        name = transport.get_extra_info("peername") or ("?", 0)
        self._peer = f"{name[0]}:{name[1]}"
        self._worker = self._loop.create_task(self._work())
        if len(self._server.connections) >= self._server.settings.connections:
            self._is_done = True
            self._wake.set()
            return
        self._server.connections.add(self)
        self._server.stats.connections += 1
        self._watch = self._loop.call_later(self._server.settings.idle_seconds, self._look)

    def data_received(self, data: bytes) -> None:
        if self._is_done:
            return
        self._heard = self._loop.time()
        before = self._reader.garbage
        for event in self._reader.feed(data):
            self._put(event, "restarted")
        self._server.stats.garbage_bytes += self._reader.garbage - before
        if self._reader.size > _ENDLESS * self._server.settings.max_bytes:
            size = self._reader.size
            if broken := self._reader.give_up():
                self._put(frames.Oversize(broken.head, size), "")
            self._end()

    def eof_received(self) -> bool:
        """A sender that closes its half after the message still wants its answer."""
        self._cut("closed")
        self._end()
        return self._server.settings.tls is None  # TLS has no half-closed connections

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._cut("closed")
        self._end()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- reading side

    def stop(self) -> asyncio.Task[None]:
        """Take no more; the task ends once what was received is answered."""
        self._cut("stopped")
        self._end()
        return self._worker

    def _put(self, event: frames.Event, cause: str) -> None:
        self._waiting.append((event, cause))
        self._waiting_bytes += _weight(event)
        settings = self._server.settings
        if len(self._waiting) > settings.queue or self._waiting_bytes > settings.max_bytes:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake.set()

    def _cut(self, cause: str) -> None:
        if broken := self._reader.give_up():
            self._put(broken, cause)

    def _end(self) -> None:
        self._is_done = True
        self._wake.set()

    def _look(self) -> None:
        """Hang up on a connection that is silent, or does not take its answers, for too long."""
        limit = self._server.settings.idle_seconds
        quiet = self._loop.time() - self._heard
        is_waiting_for_us = (self._is_busy or self._waiting) and self._writable.is_set()
        if quiet >= limit and not is_waiting_for_us:
            self._cut("idle")
            self._end()
            if not self._writable.is_set():
                self._transport.abort()
            return
        self._watch = self._loop.call_later(max(limit - quiet, limit / 4), self._look)

    # -- answering side

    async def _work(self) -> None:
        try:
            while await self._next():
                event, cause = self._waiting.popleft()
                self._waiting_bytes -= _weight(event)
                self._is_busy = True
                await self._handle(event, cause)
                self._is_busy = False
                self._heard = self._loop.time()
                self._resume()
        except Exception as error:  # noqa: BLE001 a door survives whatever the hub's function raises; only this sender pays
            # The text of the exception may quote the message: only its kind and place are logged.
            *_, last = traceback.extract_tb(error.__traceback__)
            emit(Events.HUB_003, error=type(error).__name__, at=f"{last.filename}:{last.lineno}", peer=self._peer)
        finally:
            self._is_done = True
            self._server.connections.discard(self)
            if hasattr(self, "_watch"):
                self._watch.cancel()
            self._transport.close()

    async def _next(self) -> bool:
        """Wait until something waits; False when nothing will come any more."""
        while not self._waiting:
            if self._is_done:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    async def _handle(self, event: frames.Event, cause: str) -> None:
        hub, stats = self._server.hub, self._server.stats
        if isinstance(event, frames.Frame):
            stats.frames += 1
            await self._answer(await hub.on_message(event.data, self._peer))
        elif isinstance(event, frames.Oversize):
            stats.oversize += 1
            await self._answer(await hub.on_oversize(event.head, event.size, self._peer))
        else:
            stats.broken += 1
            await hub.on_broken(event.head, cause, self._peer)

    async def _answer(self, answer: bytes) -> None:
        if answer and not self._transport.is_closing():
            self._transport.write(frames.wrap(answer))
            await self._writable.wait()

    def _resume(self) -> None:
        settings = self._server.settings
        if self._is_paused and len(self._waiting) <= settings.queue // 2 and not self._waiting_bytes:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()


def _weight(event: frames.Event) -> int:
    return len(event.data if isinstance(event, frames.Frame) else event.head)
