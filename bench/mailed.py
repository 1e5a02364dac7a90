"""Who takes mails and does nothing with them, when that is measured?

An aiosmtpd server that appends each mail to a file, waits until it is on disk, and answers 250: what the hub's mail
door would cost with nothing behind, and the operator that the hub's own mails go to. Runs as a process of its own,
`python -m bench.mailed FOLDER`; `GET /arrivals` gives the times of the mails since the last asking, on the machine's
monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import uvloop
from aiosmtpd import smtp

HEALTH = "/health"
PORTS = "mailed.json"
MOST_BYTES = 64 * 2**20


class Keeper:
    """What the SMTP library asks; `arrivals` are told over HTTP."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.arrivals: list[float] = []

    async def handle_DATA(  # noqa: N802 - the library finds hooks by these names
        self, server: smtp.SMTP, session: smtp.Session, envelope: smtp.Envelope
    ) -> str:
        """On disk, then 250."""
        self._file.write(envelope.original_content or b"")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.arrivals.append(time.monotonic())
        return "250 2.0.0 pris"

    async def tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One HTTP request."""
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"{}"
        if head.split(b" ", 2)[1] == b"/arrivals":
            body = json.dumps(self.arrivals).encode()
            self.arrivals.clear()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()


def command(folder: Path) -> list[str]:
    """How to start it."""
    return [sys.executable, "-m", "bench.mailed", str(folder)]


async def _serve(folder: Path) -> None:
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    loop = asyncio.get_running_loop()
    with (folder / "mails").open("ab") as file:
        keeper = Keeper(file)
        mail = await loop.create_server(
            lambda: smtp.SMTP(keeper, data_size_limit=MOST_BYTES, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0
        )
        http = await asyncio.start_server(keeper.tell, "127.0.0.1", 0)
        ports = {"http": http.sockets[0].getsockname()[1], "smtp": mail.sockets[0].getsockname()[1]}
        draft = folder / "mailed.draft"
        draft.write_text(json.dumps(ports))
        draft.replace(folder / PORTS)
        await mail.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
