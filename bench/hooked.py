"""Who receives what the hub tells, when that is measured?

The least HTTP server that takes calls over kept connections and counts them, and notes when each resource arrived. Runs
as a process of its own, `python -m bench.hooked PORTS_FILE`; `GET /arrivals` gives all there is since the last asking,
as JSON: resource ids and times of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

HEALTH = "/health"
_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Hook(asyncio.Protocol):
    """One connection; `arrivals` is shared by all."""

    def __init__(self, arrivals: list[tuple[str, float]]) -> None:
        self._arrivals = arrivals
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._out = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._buffer += data
        while True:
            head, mark, rest = self._buffer.partition(b"\r\n\r\n")
            length = _length(head) if mark else 0
            if not mark or len(rest) < length:
                return
            self._buffer = rest[length:]
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, path: str) -> None:
        if path == "/arrivals":
            body = json.dumps(self._arrivals).encode()
            self._arrivals.clear()
            self._out.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        if path != HEALTH:
            self._arrivals.append((path.rpartition("/")[2], time.monotonic()))
        self._out.write(_TAKEN)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    return 0


def command(ports_file: Path) -> list[str]:
    """How to start it."""
    return [sys.executable, "-m", "bench.hooked", str(ports_file)]


async def _serve(ports_file: Path) -> None:
    arrivals: list[tuple[str, float]] = []
    server = await asyncio.get_running_loop().create_server(lambda: Hook(arrivals), "127.0.0.1", 0)
    draft = ports_file.with_suffix(".draft")
    draft.write_text(json.dumps({"http": server.sockets[0].getsockname()[1]}))
    draft.replace(ports_file)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
