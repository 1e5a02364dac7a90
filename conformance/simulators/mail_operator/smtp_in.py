"""Mail that arrives for the operator's mailboxes: kept, then acknowledged.

RFC 5321; delivery reports (RFC 3461, 3464) when the operator is started with them.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiosmtpd import smtp

from conformance.simulators.mail_operator import reading, reports, store, switches
from conformance.simulators.mail_operator.switches import Switches

MAX_BYTES = 25 * 2**20
_DSN = re.compile(r"\s(RET|ENVID|NOTIFY|ORCPT)=(\S+)", re.IGNORECASE)


class Door:
    """The SMTP port. `domain` is ours; a mailbox that does not exist is opened, unless `strict`.

    `outside`: mailboxes of other domains too, as if this were the ordinary mail server of whoever writes to them.
    """

    def __init__(
        self, kept: store.Store, faults: Switches, *, domain: str, strict: bool, dsn: bool, outside: bool = False
    ) -> None:
        self.outside = outside
        self.kept, self.switches = kept, faults
        self.domain, self.strict, self.dsn = domain.lower(), strict, dsn
        self._tried: set[tuple[str, ...]] = set()

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Open the port (0: a free one)."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Session(self, loop=loop), host, port)

    def recipient(self, address: str) -> str:
        """The answer to RCPT."""
        local, _, domain = address.lower().rpartition("@")
        if self.outside and local and not domain.endswith(".mssante.fr"):
            return "250 2.1.5 OK"
        if domain != self.domain or not local:
            return "550 5.7.1 Ce service ne relaie pas vers ce domaine"
        if self.switches.mode == "refuse" or (self.strict and self.kept.name_of(address.lower()) is None):
            return "550 5.1.1 Boite inconnue"
        return "250 2.1.5 OK"

    async def received(self, raw: bytes, envelope: smtp.Envelope, wishes: dict[str, str]) -> str:
        """Keep the mail in each mailbox; 250 only afterwards."""
        if self.switches.mode == "slow":
            await asyncio.sleep(self.switches.seconds)
        if self.switches.mode == "tempfail":
            return "451 4.3.0 Service momentanement indisponible"
        sender = envelope.mail_from or ""
        if self.switches.mode == "greylist" and (tried := (sender, *envelope.rcpt_tos)) not in self._tried:
            self._tried.add(tried)
            return "451 4.7.1 Liste grise : recommencez plus tard"
        for recipient in envelope.rcpt_tos:
            if bounce := switches.BOUNCES.get(self.switches.mode):
                if sender not in ("", "<>"):
                    envid = wishes.get("ENVID", "")
                    report = reports.undelivered(recipient, sender, raw, bounce, envid=envid)
                    self.kept.enqueue(None, "", sender, report)
                continue
            self.deliver(recipient.lower(), raw)
            if wishes.get("SUCCESS") and envelope.mail_from not in (None, "", "<>"):
                report = reports.delivered(recipient, envelope.mail_from or "", raw, wishes)
                self.kept.enqueue(None, "", envelope.mail_from or "", report)
        return "250 2.0.0 Courriel remis"

    def deliver(self, mailbox: str, raw: bytes) -> None:
        """Put a mail in a mailbox, once for each Message-ID."""
        self.kept.open_mailbox(mailbox)
        summary = reading.summary(raw, sent=False)
        self.kept.keep(mailbox, "inbox", raw, summary)
        if self.switches.mode in switches.TWICE:
            self.kept.keep(mailbox, "inbox", raw, summary, twice=True)


class _Hooks:
    """What the library asks at the end of a mail; without this method it would answer 250 and keep nothing."""

    async def handle_DATA(self, server: _Session, session: smtp.Session, envelope: smtp.Envelope) -> str:  # noqa: N802
        return await server.door.received(envelope.original_content or b"", envelope, server.wishes)


class _Session(smtp.SMTP):
    """One connection: the library, plus the DSN parameters and the switch "down"."""

    command_size_limit = 2048

    def __init__(self, door: Door, *, loop: asyncio.AbstractEventLoop) -> None:
        self.door = door
        self.wishes: dict[str, str] = {}
        super().__init__(
            _Hooks(), data_size_limit=MAX_BYTES, enable_SMTPUTF8=True, hostname=door.domain, ident="MSSante", loop=loop
        )

    async def _handle_client(self) -> None:
        if self.door.switches.mode == "down":
            await self.push("421 4.3.2 Service indisponible")
            assert self.transport is not None
            self.transport.close()
            return
        await super()._handle_client()

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - the library finds commands by these names
        if hostname and self.session is not None and self.door.dsn:
            self._set_rset_state()  # type: ignore[no-untyped-call]
            self.session.extended_smtp, self.session.host_name = True, hostname
            await self.push(f"250-{self.hostname}\r\n250-SIZE {MAX_BYTES}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN")
            return
        await super().smtp_EHLO(hostname)
        if hostname and self.session is not None:
            self.session.host_name = hostname

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        await super().smtp_MAIL(self._take(arg))

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        await super().smtp_RCPT(self._take(arg))

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        if command != "RCPT":
            return await super()._call_handler_hook(command, *args)
        assert self.envelope is not None
        status = self.door.recipient(args[0])
        if status.startswith("2"):
            self.envelope.rcpt_tos.append(args[0])
        return status

    def _take(self, arg: str | None) -> str | None:
        """Keep the DSN parameters of a command and give the rest to the library, which knows none of them."""
        if arg is None or not self.door.dsn:
            return arg
        for name, value in _DSN.findall(arg):
            self.wishes[name.upper()] = value
            self.wishes["SUCCESS"] = "yes" if "SUCCESS" in self.wishes.get("NOTIFY", "").upper() else ""
        return _DSN.sub("", arg)
