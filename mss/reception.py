"""Who may hand us a mail, and when is it ours?

SMTP on one port (an operator relays to us) and LMTP on another (our own Postfix does). The answer 250 is given after
the hub's function returned, and that function returns after commit: an acknowledgement means durable. What the hub
never saw whole (too large, say) is told to a second function, so that no refusal is silent.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from common import errors
from common.events import Events, emit
from mss import address, smtp_protocol
from mss.smtp_protocol import Content, Session

CLOSING_SECONDS = 30.0
LOOP_HOPS = 100  # Received lines (RFC 5321 6.3)


@dataclass(frozen=True, slots=True)
class Reception:
    """Where we listen and what we take. A port: 0 picks a free one, None keeps the door shut.

    `domains`: the only ones we are the destination of. `mailboxes`: the only local parts (with any sub-address);
    empty takes every local part. Sizes in bytes, times in seconds.
    """

    host: str = "127.0.0.1"
    smtp_port: int | None = 2525
    lmtp_port: int | None = 2524
    domains: tuple[str, ...] = ("hub.example",)
    mailboxes: tuple[str, ...] = ()
    hostname: str = "hub.example"
    max_bytes: int = 25 * 2**20
    max_line: int = 64 * 2**10
    max_connections: int = 200
    max_recipients: int = 100
    timeout: float = 300.0
    data_timeout: float = 1800.0
    tls: ssl.SSLContext | None = None
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """The transport's view of a mail. `mail_from` is "" for a notice; recipients keep their sub-address."""

    mail_from: str
    recipients: tuple[str, ...]
    peer: str
    protocol: str


OnMail = Callable[[bytes, Envelope], Awaitable[list[str]]]
OnRefused = Callable[[Envelope, str, bytes], Awaitable[None]]


async def serve(settings: Reception, on_mail: OnMail, on_refused: OnRefused) -> Server:
    """Open the doors. `on_mail` gives one SMTP status for each recipient, in order.

    An errors.HubError raised by `on_mail` is every recipient's status; any other exception is 451 for all, so that the
    sender keeps the mail and comes back. Over SMTP, which has one answer for all recipients, a temporary status wins
    (a repeat is recognised by its Message-ID), then acceptance, and then `on_refused` is called for each recipient
    that was refused behind it. Raises OSError when a port is taken.
    """
    # At its information level the library logs addresses, and a citizen's address holds a national identifier.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    server = Server(settings, on_mail, on_refused)
    await server.open()
    return server


def status(error: errors.HubError) -> str:
    """How a refusal looks in SMTP: "554 5.6.0 Ce courriel ..."."""
    return f"{error.smtp} {error.message}"


class Server:
    """The two listening sockets and the mails being decided. Made by `serve`."""

    def __init__(self, settings: Reception, on_mail: OnMail, on_refused: OnRefused) -> None:
        self.settings, self.on_mail, self.on_refused = settings, on_mail, on_refused
        self.smtp_port: int | None = None
        self.lmtp_port: int | None = None
        self._domains = {address.domain(f"x@{name}") for name in settings.domains}
        self._listeners: list[asyncio.Server] = []
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[list[str]]] = set()

    async def open(self) -> None:
        self.smtp_port = await self._listen(Session, self.settings.smtp_port)
        self.lmtp_port = await self._listen(smtp_protocol.LmtpSession, self.settings.lmtp_port)

    async def close(self) -> None:
        """Stop listening, let the mails being decided get their answer (for 30 seconds at most), hang up."""
        for listener in self._listeners:
            listener.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING_SECONDS)
            await asyncio.sleep(0.05)  # the answers leave
        for session in tuple(self._sessions):
            session.say_goodbye()
        closing = [asyncio.create_task(listener.wait_closed()) for listener in self._listeners]
        if closing:
            await asyncio.wait(closing, timeout=5)

    async def _listen(self, kind: type[Session], port: int | None) -> int | None:
        if port is None:
            return None
        loop = asyncio.get_running_loop()
        given = self.settings
        bounds = smtp_protocol.Bounds(given.max_bytes, given.max_line, given.timeout, given.data_timeout)

        def session() -> Session:
            return kind(
                self,
                bounds,
                hostname=given.hostname,
                ident="Spico Hub",
                tls_context=given.tls,
                require_starttls=given.require_tls,
                loop=loop,
            )

        listener = await loop.create_server(session, given.host, port)
        self._listeners.append(listener)
        found: int = listener.sockets[0].getsockname()[1]
        return found

    # What smtp_protocol asks.

    def opened(self, session: Session) -> bool:
        """May one more connection stay?"""
        if len(self._sessions) >= self.settings.max_connections:
            return False
        self._sessions.add(session)
        return True

    def closed(self, session: Session) -> None:
        self._sessions.discard(session)

    def recipient(self, given: str, known: Sequence[str]) -> str:
        """The answer to RCPT."""
        if len(known) >= self.settings.max_recipients:
            return "452 4.5.3 Trop de destinataires"
        try:
            local, _, domain = address.normalise(given).rpartition("@")
        except errors.Invalid:
            # RFC 5321 4.5.1: postmaster alone, without a domain, is an address too.
            return "250 2.1.5 OK" if given.lower() == "postmaster" else "553 5.1.3 Adresse mal formee"
        if domain not in self._domains:
            return "550 5.7.1 Ce service ne relaie pas vers ce domaine"
        named = self.settings.mailboxes
        if not named or local == "postmaster" or any(address.is_of(given, mailbox) for mailbox in named):
            return "250 2.1.5 OK"
        return "550 5.1.1 Cette boite n'existe pas"

    async def too_large(self, session: Session, recipient: str) -> str:
        """A mail whose announced size is over the limit, for one recipient."""
        answer = f"552 5.3.4 {smtp_protocol.TOO_LARGE.format(self.settings.max_bytes // 2**20)}"
        await self._tell_refused(_envelope(session, (recipient,)), answer, b"")
        return answer

    async def received(self, session: Session, content: Content) -> list[str]:
        """The status lines for a whole mail: one (SMTP) or one for each recipient (LMTP).

        Runs apart from the connection: a peer that hangs up in the middle does not undo half of a journey.
        """
        assert session.envelope is not None
        envelope = _envelope(session, tuple(session.envelope.rcpt_tos))
        task = asyncio.create_task(self._decide(envelope, content))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _decide(self, envelope: Envelope, content: Content) -> list[str]:
        refusal = content.refusal
        if not refusal and _hops(content.raw) > LOOP_HOPS:
            refusal = "554 5.4.6 Ce courriel tourne en rond"
        if refusal:
            await self._tell_refused(envelope, refusal, content.raw[: smtp_protocol.HEAD])
            statuses = [refusal] * len(envelope.recipients)
        else:
            statuses = await self._ask(envelope, content.raw)
        # One line each, whatever a refusal's text holds: a line break would be an answer of its own.
        statuses = [_CONTROL.sub(" ", line) for line in statuses]
        return statuses if envelope.protocol == "lmtp" else [await self._one(envelope, statuses, content.raw)]

    async def _ask(self, envelope: Envelope, raw: bytes) -> list[str]:
        count = len(envelope.recipients)
        try:
            statuses = await self.on_mail(raw, envelope)
        except errors.HubError as error:
            return [status(error)] * count
        except Exception as error:  # noqa: BLE001 - a door: the sender keeps the mail and tries again
            emit(Events.HUB_003, door="mail in", error=type(error).__name__)
            return [_LATER] * count
        if len(statuses) != count or not all(_STATUS.match(line) for line in statuses):
            emit(Events.HUB_003, door="mail in", error="answers that are not one SMTP status for each recipient")
            return [_LATER] * count
        return statuses

    async def _one(self, envelope: Envelope, statuses: list[str], raw: bytes) -> str:
        """The single answer of SMTP for several recipients."""
        for first in ("4", "2"):
            chosen = next((line for line in statuses if line.startswith(first)), None)
            if chosen is None:
                continue
            if first == "2":
                for recipient, line in zip(envelope.recipients, statuses, strict=True):
                    if line.startswith("5"):
                        alone = Envelope(envelope.mail_from, (recipient,), envelope.peer, envelope.protocol)
                        await self._tell_refused(alone, line, raw[: smtp_protocol.HEAD])
            return chosen
        return statuses[0]

    async def _tell_refused(self, envelope: Envelope, answer: str, head: bytes) -> None:
        try:
            await self.on_refused(envelope, answer, head)
        except Exception as error:  # noqa: BLE001 - the refusal itself must still reach the sender
            emit(Events.HUB_003, door="mail in", error=type(error).__name__)


_LATER = "451 4.3.0 Erreur interne, recommencez plus tard"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_STATUS = re.compile(r"[245]\d\d [245]\.\d{1,3}\.\d{1,3} ")


def _envelope(session: Session, recipients: tuple[str, ...]) -> Envelope:
    assert session.envelope is not None
    sender = session.envelope.mail_from or ""
    peer = session.session.peer if session.session else None
    return Envelope(
        mail_from="" if sender == "<>" else sender,
        recipients=recipients,
        peer=str(peer[0]) if isinstance(peer, tuple) else "",
        protocol=session.protocol_name,
    )


def _hops(raw: bytes) -> int:
    head = re.split(rb"\r?\n\r?\n", raw[: 4 * smtp_protocol.HEAD], maxsplit=1)[0]
    return len(re.findall(rb"(?im)^received\s*:", head))
