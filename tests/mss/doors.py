"""A hub that writes down what comes through the mail doors, and clients that talk to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiosmtplib

from mss import reception

SETTINGS = reception.Reception(smtp_port=0, lmtp_port=0, max_bytes=200_000, timeout=10)
MAIL = b"From: paul@demo.mssante.fr\r\nSubject: x\r\n\r\nBonjour\r\n"


@dataclass
class Hub:
    """What the hub would do, written down. `answer` may be replaced by a test."""

    mails: list[tuple[bytes, reception.Envelope]] = field(default_factory=list)
    refusals: list[tuple[reception.Envelope, str, bytes]] = field(default_factory=list)
    answer: Callable[[str], str] = lambda recipient: "250 2.0.0 Reçu"
    before: Callable[[], Awaitable[Any]] | None = None

    async def on_mail(self, raw: bytes, envelope: reception.Envelope) -> list[str]:
        if self.before:
            await self.before()
        self.mails.append((raw, envelope))
        return [self.answer(recipient) for recipient in envelope.recipients]

    async def on_refused(self, envelope: reception.Envelope, status: str, head: bytes) -> None:
        self.refusals.append((envelope, status, head))


async def talk(port: int | None, *lines: str | bytes) -> list[str]:
    """Send lines, one after the answer to the other; give all answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = [await answer_of(reader)]
    for line in lines:
        writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
        answers.append(await answer_of(reader))
    writer.close()
    await writer.wait_closed()
    return answers


async def answer_of(reader: asyncio.StreamReader) -> str:
    """One reply, all its lines."""
    text = ""
    while line := (await asyncio.wait_for(reader.readline(), 10)).decode():
        text += line
        if line[3:4] != "-":
            break
    return text.strip()


async def submit(port: int | None, mail: bytes = MAIL, *recipients: str) -> tuple[int, str]:
    """Send with the aiosmtplib client; the code and text of the final answer."""
    try:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
            refused, text = await client.sendmail(
                "paul@demo.mssante.fr", list(recipients or ["conv@hub.example"]), mail
            )
            assert not refused
            return 250, text
    except aiosmtplib.SMTPRecipientsRefused as error:
        return error.recipients[0].code, error.recipients[0].message
    except aiosmtplib.SMTPResponseException as error:
        return error.code, error.message
