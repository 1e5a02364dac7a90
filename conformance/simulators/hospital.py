"""What does a hospital do that sends documents? A sender of HL7 v2 files over MLLP, on good days and bad ones.

    python -m conformance.simulators.hospital lettre.hl7 --port 2575
    python -m conformance.simulators.hospital lettre.hl7 --pieces 100 --pause 0.01    slow, in small packets
    python -m conformance.simulators.hospital lettre.hl7 --cut 0.5                    hangs up in the middle
    python -m conformance.simulators.hospital lettre.hl7 --repeat 50 --renumber       a busy one

Prints each acknowledgement. Exit code: 0 when all say AA, 1 when one does not, 2 when nobody answers.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

from common import errors
from connectors.hospital import frames
from mapping import er7


@dataclass(frozen=True, slots=True)
class Sender:
    """Where to send and how badly: `pieces` bytes at a time with `pause` seconds between, hanging up after the part
    `cut` (0 to 1) of a message; `timeout` seconds for each answer."""

    host: str = "127.0.0.1"
    port: int = 2575
    pieces: int = 0
    pause: float = 0.0
    cut: float = 0.0
    timeout: float = 30.0
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An acknowledgement: MSA-1 (AA, AE, AR; "" when there was none), its text for a person, its bytes."""

    code: str
    text: str
    raw: bytes


def message(raw: bytes) -> bytes:
    """A file as it goes on the wire: CR after each segment, whatever the editor or version control made of it."""
    return b"".join(line + b"\r" for line in raw.splitlines() if line.strip())


def renumber(raw: bytes, number: int) -> bytes:
    """The same message as a new one: `-number` after its control id (MSH-10)."""
    header, separator, rest = raw.partition(b"\r")
    fields = header.split(header[3:4])
    fields[9] += f"-{number}".encode()
    return header[3:4].join(fields) + separator + rest


async def send(raw: bytes, sender: Sender) -> Answer:
    """Send one message on its own connection. Raises errors.Unavailable when nobody listens or answers."""
    try:
        async with asyncio.timeout(sender.timeout):
            reader, writer = await asyncio.open_connection(sender.host, sender.port, ssl=sender.tls)
            try:
                return await _exchange(raw, sender, reader, writer)
            finally:
                writer.close()
    except TimeoutError:
        raise errors.Unavailable(f"pas de réponse en {sender.timeout:g} s") from None
    except OSError as error:
        raise errors.Unavailable(f"{sender.host}:{sender.port} : {error.strerror or error}") from None


async def _exchange(raw: bytes, sender: Sender, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    frame = frames.wrap(raw)
    if sender.cut:
        frame = frame[: int(len(frame) * sender.cut)]
    step = sender.pieces or len(frame) or 1
    for start in range(0, len(frame), step):
        writer.write(frame[start : start + step])
        await writer.drain()
        if sender.pause:
            await asyncio.sleep(sender.pause)
    if sender.cut:
        return Answer("", "raccroché avant la fin du message", b"")
    answers = frames.Reader(2**20)
    while data := await reader.read(64 * 1024):
        for event in answers.feed(data):
            if isinstance(event, frames.Frame):
                return _answer(event.data)
    raise errors.Unavailable("connexion fermée sans réponse")


def _answer(raw: bytes) -> Answer:
    read = er7.read(raw)
    reasons = [
        f"{part.raw(2).decode('ascii', 'replace')} {part.text(3, 2)} : {part.text(8)}".strip()
        for part in read.segments("ERR")
    ]
    return Answer(read.text("MSA-1"), "\n".join(reasons), raw)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="hospital", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an HL7 v2 message, one per file")
    for name, default in (("host", "127.0.0.1"), ("port", 2575), ("timeout", 30.0)):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--pieces", type=int, default=0, help="bytes in each packet")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between packets")
    parser.add_argument("--cut", type=float, default=0.0, help="hang up after this part of the message, 0 to 1")
    parser.add_argument("--repeat", type=int, default=1, help="send each file so many times")
    parser.add_argument("--renumber", action="store_true", help="a new control id each time")
    options = vars(parser.parse_args(arguments))
    files, repeat, is_new = options.pop("files"), options.pop("repeat"), options.pop("renumber")
    raws = [message(file.read_bytes()) for file in files for _ in range(repeat)]
    if is_new:
        raws = [renumber(raw, number) for number, raw in enumerate(raws, 1)]
    return asyncio.run(_all(raws, Sender(**options)))


async def _all(raws: list[bytes], sender: Sender) -> int:
    worst = 0
    for raw in raws:
        try:
            answer = await send(raw, sender)
        except errors.HubError as error:
            print(error.message, file=sys.stderr)
            return 2
        print(answer.raw.replace(b"\r", b"\n").decode("utf-8", "replace").strip() or answer.text)
        worst = max(worst, 0 if answer.code == "AA" else 1)
    return worst


if __name__ == "__main__":
    sys.exit(main())
