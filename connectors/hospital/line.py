"""How do we send HL7 v2 messages to a hospital's receiver? One connection, one message at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from common import errors
from connectors.hospital import frames

_ANSWER_BYTES = 2**20


class Line:
    """A connection to send on, one message at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = frames.Reader(_ANSWER_BYTES)
        self._answers: deque[bytes] = deque()

    async def send(self, message: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109 each message has its own
        """The answer to a message. Raises errors.Unavailable when none comes within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(frames.wrap(message))
                await self._writer.drain()
                return await self._receive()
        except TimeoutError:
            raise errors.Unavailable(f"pas de réponse en {timeout:g} s") from None
        except OSError as error:
            raise errors.Unavailable(f"connexion perdue : {error.strerror or error}") from None

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # the other side hung up first

    async def _receive(self) -> bytes:
        while not self._answers:
            data = await self._reader.read(64 * 1024)
            if not data:
                raise errors.Unavailable("connexion fermée sans réponse")
            events = self._frames.feed(data)
            self._answers += [event.data for event in events if isinstance(event, frames.Frame)]
        return self._answers.popleft()


async def connect(
    host: str,
    port: int,
    *,
    timeout: float = 30.0,  # noqa: ASYNC109 a default that every caller may change
    tls: ssl.SSLContext | None = None,
) -> Line:
    """A line to a receiver; the caller closes it. Raises errors.Unavailable."""
    try:
        async with asyncio.timeout(timeout):
            return Line(*await asyncio.open_connection(host, port, ssl=tls))
    except TimeoutError:
        raise errors.Unavailable(f"{host}:{port} ne répond pas en {timeout:g} s") from None
    except OSError as error:
        raise errors.Unavailable(f"{host}:{port} injoignable : {error.strerror or error}") from None
