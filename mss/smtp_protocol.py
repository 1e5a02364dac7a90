"""How does one mail come through a socket?

aiosmtpd speaks SMTP (RFC 5321) and LMTP (RFC 2033); this file bends what it does otherwise than a final destination
must: a mail is read once with bounds and its beginning kept when it is refused, LMTP answers each recipient, replies
carry enhanced codes (RFC 2034, 3463), a peer that hangs up does not cancel the work, connections are counted.
"""

from __future__ import annotations

import asyncio
import collections
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from aiosmtpd import lmtp, smtp

HEAD = 64 * 2**10  # bytes kept of a mail that is refused for its size


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds. `timeout`: silence of a peer; `data_timeout`: one whole mail."""

    max_bytes: int
    max_line: int
    timeout: float
    data_timeout: float


@dataclass(frozen=True, slots=True)
class Content:
    """What came after DATA: the whole mail, or its beginning and the status that refuses it."""

    raw: bytes
    refusal: str = ""


class Policy(Protocol):
    """What the room decides; see reception.py."""

    def opened(self, session: Any) -> bool: ...

    def closed(self, session: Any) -> None: ...

    def recipient(self, address: str, known: Sequence[str]) -> str: ...

    async def too_large(self, session: Any, recipient: str) -> str: ...

    async def received(self, session: Any, content: Content) -> list[str]: ...


class Session(smtp.SMTP):
    """One SMTP connection."""

    command_size_limit = 2048  # long sender addresses and parameters; the library keeps one limit for all connections
    protocol_name = "smtp"
    announced_too_large = False
    _turned_away = False
    _counted = False
    _in_greeting = True

    def __init__(self, policy: Policy, bounds: Bounds, **options: Any) -> None:
        self.policy, self.bounds = policy, bounds
        self.line_length_limit = bounds.max_line
        super().__init__(
            None, data_size_limit=bounds.max_bytes, enable_SMTPUTF8=True, timeout=bounds.timeout, **options
        )
        self._smtp_methods.pop("AUTH", None)  # nobody signs in here
        self.command_size_limits = collections.defaultdict(lambda: Session.command_size_limit)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._counted:  # a second call comes after STARTTLS
            self._counted = True
            if not self.policy.opened(self):
                self._turned_away = True
                writer = cast(asyncio.WriteTransport, transport)  # uvloop has transports of its own class
                writer.write(b"421 4.3.2 Trop de connexions, recommencez plus tard\r\n")
                writer.close()
                return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._turned_away:
            self.policy.closed(self)
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        return None if self._turned_away else super().eof_received()

    def say_goodbye(self) -> None:
        """Close an idle connection when the server stops."""
        if self.transport is not None and not self.transport.is_closing():
            writer = cast(asyncio.WriteTransport, self.transport)
            writer.write(b"421 4.3.2 Le service s'arrete, recommencez plus tard\r\n")
            writer.close()

    async def push(self, status: Any) -> None:
        lines = (status if isinstance(status, str) else status.decode("utf-8", "replace")).split("\r\n")
        utf8 = self.envelope is not None and self.envelope.smtp_utf8
        sent = [line if self._in_greeting else _enhanced(line) for line in lines]
        await super().push(b"\r\n".join(_wire(line, utf8=utf8) for line in sent))
        if lines[-1].startswith("220 ") and self._in_greeting:
            self._in_greeting = False

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - the library finds commands by these names
        if not hostname:
            await self.push("501 5.5.4 Syntax: EHLO hostname")
            return
        self._set_rset_state()  # type: ignore[no-untyped-call]
        assert self.session is not None
        self.session.extended_smtp, self.session.host_name = True, hostname
        words = [f"SIZE {self.bounds.max_bytes}", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"]
        words += ["STARTTLS"] if self.tls_context and not self._tls_protocol else []
        lines = [self.hostname, *words]
        # RFC 2034 4: the answers to the greeting have no enhanced code.
        self._in_greeting = True
        await self.push("\r\n".join(f"250{'-' if line is not lines[-1] else ' '}{line}" for line in lines))
        self._in_greeting = False

    async def smtp_HELO(self, hostname: str) -> None:  # noqa: N802
        self._in_greeting = True
        await super().smtp_HELO(hostname)
        self._in_greeting = False

    async def handle_exception(self, error: Exception) -> str:
        return "451 4.3.0 Erreur interne, recommencez plus tard"

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        """Where the library asks its handler: we have one question only."""
        return await self._recipient(args[0]) if command == "RCPT" else smtp.MISSING

    async def _recipient(self, address: str) -> str:
        assert self.envelope is not None
        status = self.policy.recipient(address, self.envelope.rcpt_tos)
        if status.startswith("2") and self.announced_too_large:
            return await self.policy.too_large(self, address)
        if status.startswith("2"):
            self.envelope.rcpt_tos.append(address)
        return status

    def _set_post_data_state(self) -> None:
        self.announced_too_large = False
        super()._set_post_data_state()  # type: ignore[no-untyped-call]

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        # A mail announced too large is refused at RCPT (RFC 1870 6.2 allows it): then we know for whom it was.
        announced = re.search(r"\sSIZE=(\d{1,20})(?=\s|$)", arg or "", re.IGNORECASE)
        if arg and announced and int(announced[1]) > self.bounds.max_bytes:
            arg = arg[: announced.start()] + arg[announced.end() :]
            await super().smtp_MAIL(arg)
            self.announced_too_large = True
        else:
            await super().smtp_MAIL(arg)

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        if await self.check_helo_needed():
            return
        if self.envelope is None or not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Pas de destinataire accepte")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            async with asyncio.timeout(self.bounds.data_timeout):
                content = await self._content()
        except TimeoutError:
            await self.push("421 4.4.2 Courriel trop lent")
            if self.transport is not None:
                self.transport.close()
            return
        await self._decide(content)

    async def _decide(self, content: Content) -> None:
        """Nothing times out while the hub works; the peer's clock is the limit."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        statuses = await self.policy.received(self, content)
        self._reset_timeout()
        await self.push("\r\n".join(statuses))
        self._set_post_data_state()

    async def _content(self) -> Content:
        """Read up to the lone dot (RFC 5321 4.5.2); only CRLF ends a line, so nothing can be smuggled in."""
        lines: list[bytes] = []
        size, fresh, refusal = 0, True, ""
        while True:
            try:
                line = await self._reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError as error:
                line = await self._reader.read(error.consumed)
                refusal = refusal or f"554 5.6.0 Ligne de plus de {self.bounds.max_line} octets"
            if fresh and line == b".\r\n":
                break
            if fresh and line.startswith(b"."):
                line = line[1:]
            fresh = line.endswith(b"\r\n")
            if size // 2**20 != (size + len(line)) // 2**20:
                self._reset_timeout()
            size += len(line)
            if size > self.bounds.max_bytes:
                refusal = f"552 5.3.4 {TOO_LARGE.format(self.bounds.max_bytes // 2**20)}"
            if not refusal or size <= HEAD:
                lines.append(line)
            elif len(lines) > 1:
                lines = [b"".join(lines)[:HEAD]]
        return Content(b"".join(lines), refusal)

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        try:
            return super()._getaddr(arg)
        except Exception:  # noqa: BLE001 - the parser of the standard library fails in many ways on noise
            return None, None


class LmtpSession(Session, lmtp.LMTP):
    """One LMTP connection: LHLO, and one answer for each recipient."""

    protocol_name = "lmtp"

    async def smtp_LHLO(self, arg: str) -> None:  # noqa: N802
        await Session.smtp_EHLO(self, arg)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        await self.push('500 5.5.1 command "EHLO" not recognized')

    async def smtp_HELO(self, hostname: str) -> None:  # noqa: N802
        await self.push('500 5.5.1 command "HELO" not recognized')


TOO_LARGE = "Courriel trop volumineux : {} Mo au plus"

_PLAIN = re.compile(r"([245]\d\d) (?![245]\.\d)(.*)", re.DOTALL)
# RFC 3463: what the library says without an enhanced code.
_ENHANCED = {
    "221": "2.0.0", "250": "2.0.0", "252": "2.5.0", "421": "4.3.0", "450": "4.2.0", "451": "4.3.0", "452": "4.3.1",
    "500": "5.5.2", "501": "5.5.4", "502": "5.5.1", "503": "5.5.1", "504": "5.5.4", "530": "5.7.0", "552": "5.3.4",
    "553": "5.1.3", "554": "5.0.0", "555": "5.5.4",
}  # fmt: skip


def _enhanced(line: str) -> str:
    match = _PLAIN.match(line)
    code = _ENHANCED.get(match[1]) if match else None
    return f"{match[1]} {code} {match[2]}" if match and code else line


def _wire(line: str, *, utf8: bool) -> bytes:
    """One reply line within 512 octets (RFC 5321 4.5.3.1.5), in ASCII unless the peer asked for UTF-8 (RFC 6531)."""
    line = re.sub(r"[\x00-\x1f\x7f]+", " ", line)
    if not utf8:
        line = re.sub(r"«\s*|\s*»", '"', line).translate(_TYPOGRAPHY)
        line = unicodedata.normalize("NFKD", line).encode("ascii", "ignore").decode("ascii")
    return line.encode("utf-8", "replace")[:508].decode("utf-8", "ignore").encode()


_TYPOGRAPHY = str.maketrans({"’": "'", "–": "-", "—": "-", "œ": "oe", "\xa0": " ", "\u202f": " "})
