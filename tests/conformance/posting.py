"""An operator that runs, and what the hub would make of its mails: for the tests of the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from conformance.simulators.mail_operator import app
from mss import compose, letter, reception, send

DOCTOR = "paul.lefebvre@demo.mssante.fr"
REPLY_TO = "conv+abcdefgh23456722@hub.example"
PDF = compose.file("Compte rendu d'été.pdf", "application/pdf", b"%PDF-1.4 essai")
OUTGOING = compose.Outgoing(
    delivery="0jx4zsw3v2k8c",
    mailbox="conv@hub.example",
    author="Nadia Roux, infirmière",
    recipient=DOCTOR,
    subject="Plaie du talon",
    tag="K7F2Q",
    text="Bonjour docteur,\n\nTempérature ?\nTension ?",
    date=datetime(2026, 11, 23, 8, 12, tzinfo=UTC),
    reply_to=REPLY_TO,
    attachments=(PDF,),
)


@dataclass
class Hub:
    """What arrives at the hub's door, and what it answers."""

    port: int = 0
    mails: list[letter.Letter] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answer: str = "250 2.0.0 Reçu"
    server: reception.Server | None = None

    async def open(self) -> None:
        settings = reception.Reception(smtp_port=self.port, lmtp_port=None)
        self.server = await reception.serve(settings, self._on_mail, self._on_refused)
        assert self.server.smtp_port is not None
        self.port = self.server.smtp_port

    async def close(self) -> None:
        if self.server is not None:
            await self.server.close()
            self.server = None

    async def _on_mail(self, raw: bytes, envelope: reception.Envelope) -> list[str]:
        if self.answer.startswith("2"):
            self.mails.append(letter.read(raw))
            self.recipients += envelope.recipients
        return [self.answer] * len(envelope.recipients)

    async def _on_refused(self, envelope: reception.Envelope, status: str, head: bytes) -> None:
        raise AssertionError(status)


@dataclass
class Post:
    """The operator and a browser-less reader of its mailboxes."""

    running: app.Running
    http: httpx.AsyncClient

    async def give(self, outgoing: compose.Outgoing = OUTGOING) -> send.Outcome:
        smtp = send.Smtp(port=self.running.smtp_port, timeout=10)
        mail = compose.mail(outgoing)
        return await send.send(smtp, mail, sender="conv@hub.example", recipient=outgoing.recipient, envid="envoi-1")

    async def mails(self, address: str = DOCTOR, folder: str = "inbox") -> list[dict[str, Any]]:
        found = await self.http.get(f"/api/mailboxes/{address}/messages", params={"folder": folder})
        return list(found.raise_for_status().json())

    async def read(self, id: int, address: str = DOCTOR) -> dict[str, Any]:
        found = await self.http.get(f"/api/mailboxes/{address}/messages/{id}")
        return dict(found.raise_for_status().json())

    async def reply(self, text: str, **more: Any) -> int:
        id = (await self.mails())[0]["id"]
        answer = await self.http.post(f"/api/mailboxes/{DOCTOR}/reply", json={"id": id, "text": text, **more})
        return int(answer.raise_for_status().json()["id"])

    async def switch(self, mode: str, seconds: float = 0.5) -> None:
        (await self.http.post("/api/switches", json={"mode": mode, "seconds": seconds})).raise_for_status()


async def eventually(check: Callable[[], Awaitable[Any] | Any], seconds: float = 10.0) -> Any:
    """The first true answer of `check`."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        found = check()
        found = await found if isinstance(found, Awaitable) else found
        if found:
            return found
        assert asyncio.get_running_loop().time() < until, "not in time"
        await asyncio.sleep(0.05)


async def started(settings: app.Settings) -> Post:
    running = await app.start(settings)
    return Post(running, httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.http_port}", timeout=30))


async def stopped(post: Post) -> None:
    await post.http.aclose()
    await post.running.close()
