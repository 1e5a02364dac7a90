"""Who reads the lines of an import while the hub answers others?

A process beside ours with the same definitions: checking and indexing is half of the work of an import, and there it
holds neither our event loop nor our interpreter's lock. Lines are read here as long as it is not ready, and when it is
lost. Its input ends with its parent, however that one died, and it ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from collections.abc import Sequence
from functools import partial
from typing import BinaryIO, Self

import msgspec

from fhir_server import commit, index
from fhir_server.jobs.lines import Line, Reader
from fhir_server.r4 import load, validate
from fhir_server.store import Store

_BUFFER = 1024 * 1024
_TURN = 50  # lines that are read here before others have their turn
_ANSWER_SECONDS = 120.0
_LOWER = 5  # who serves comes first
_SIZE = struct.Struct(">Q")
# What becomes of a pipe whose other end has died, stands still (TimeoutError is an OSError) or talks nonsense; uvloop's
# transports raise RuntimeError.
_LOST = (OSError, RuntimeError, asyncio.IncompleteReadError, msgspec.MsgspecError, struct.error)

_encode = msgspec.msgpack.Encoder().encode
_answer = msgspec.msgpack.Decoder(list[Line])


class _Start(msgspec.Struct, array_like=True):
    """The first thing that the other process is told; it answers with its `index.GENERATION`."""

    base: str
    definitions: load.Packed


class _Ask(msgspec.Struct, array_like=True):
    lines: Sequence[bytes]
    type: str | None


class Aside:
    """Reads lines for one import. Use it as a context manager; without `start` everything is read here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._here = Reader(store.definitions.types, store.make)
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._is_ready = False
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._starting:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # it keeps nothing
            with contextlib.suppress(*_LOST):
                # What it had written and nobody read holds its pipe open, and with it the end of the process.
                await self._process.communicate()

    def start(self) -> None:
        """Begin to have a process, if what the store makes can be made elsewhere."""
        if self._store.base_elsewhere is not None and not self._starting:
            self._starting = asyncio.create_task(self._begin(self._store.base_elsewhere))

    async def read(self, lines: Sequence[bytes], type: str | None) -> list[Line]:
        """One answer for each line (`lines.Reader.read`). Answers come in the order of the calls."""
        if self._is_ready:
            with contextlib.suppress(*_LOST):
                self._send(_Ask(lines, type))
                async with self._turn, asyncio.timeout(_ANSWER_SECONDS):
                    return _answer.decode(await self._receive())
            self._is_ready = False
        found: list[Line] = []
        for first in range(0, len(lines), _TURN):
            found += self._here.read(lines[first : first + _TURN], type)
            await asyncio.sleep(0)
        return found

    async def _begin(self, base: str) -> None:
        with contextlib.suppress(*_LOST):
            command = (sys.executable, "-m", __name__)
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=_BUFFER)
            self._send(_Start(base, self._store.definitions.packed()))
            # Another one was installed while we run: what it makes is not what we would.
            self._is_ready = msgspec.msgpack.decode(await self._receive()) == index.GENERATION

    def _send(self, message: object) -> None:
        """What is under way is bounded by whoever asks, so nobody waits for the pipe."""
        assert self._process and self._process.stdin
        data = _encode(message)
        self._process.stdin.write(_SIZE.pack(len(data)) + data)

    async def _receive(self) -> bytes:
        assert self._process and self._process.stdout
        (size,) = _SIZE.unpack(await self._process.stdout.readexactly(_SIZE.size))
        return await self._process.stdout.readexactly(size)


# ---- in the other process ------------------------------------------------------------------------------------------


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there is nothing more to read."""
    start = msgspec.msgpack.decode(_next(asked), type=_Start)
    definitions = start.definitions.definitions()
    indexer, validator = index.Indexer(definitions, base=start.base), validate.Validator(definitions)
    reader = Reader(definitions.types, partial(commit.make, indexer=indexer, validator=validator))
    _write(answers, index.GENERATION)
    ask = msgspec.msgpack.Decoder(_Ask)
    while data := _next(asked):
        one = ask.decode(data)
        _write(answers, reader.read(one.lines, one.type))


def _next(asked: BinaryIO) -> bytes:
    """The next message, empty at the end of the input."""
    head = asked.read(_SIZE.size)
    return asked.read(*_SIZE.unpack(head)) if len(head) == _SIZE.size else b""


def _write(answers: BinaryIO, message: object) -> None:
    data = _encode(message)
    answers.write(_SIZE.pack(len(data)) + data)
    answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent too, which will end us
    os.nice(_LOWER)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
