"""What came into our application mailbox at an operator, when it has not been told to us by SMTP?

IMAP4rev1 (RFC 3501) with STARTTLS, IDLE where it is offered (RFC 2177), else polling; MSSanté client reference 1.0.1,
1.1.1. A mail is marked \\Seen after the hub's function returned, which is after commit, and never deleted. The place is
kept as (UIDVALIDITY, next UID) beside those to be asked again: marks that people set in the same mailbox change
nothing. When the place is lost or void everything is taken again, and the hub recognises what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import json
import re
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import errors
from common.events import Events, emit
from mss import address, headers, reception, smtp_protocol

AGAIN_SECONDS = (1, 2, 5, 15, 60)  # after a lost connection
_UID = re.compile(rb"UID (\d+)")
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_FIELDS = ("delivered-to", "x-original-to", "envelope-to", "to", "cc")


@dataclass(frozen=True, slots=True)
class Inbox:
    """The mailbox. `login`: password, external (client certificate, SASL EXTERNAL), xoauth2 or none.

    `secret_file` holds the password, or the token of the moment. `state` is the file where the place is kept.
    Times in seconds, sizes in bytes.
    """

    host: str
    mailbox: str
    state: Path
    port: int = 143
    starttls: bool = True
    user: str = ""
    login: str = "password"
    secret_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    ca_file: Path | None = None
    folder: str = "INBOX"
    poll: float = 30.0
    timeout: float = 60.0
    max_bytes: int = 25 * 2**20


@dataclass(slots=True)
class Place:
    """How far we are. `later`: mails below `next` that are to be asked again."""

    validity: int = 0
    next: int = 1
    later: tuple[int, ...] = ()


async def run(settings: Inbox, on_mail: reception.OnMail, on_refused: reception.OnRefused) -> None:
    """Take mails for ever; cancelled at shutdown. A server that is away is tried again, and disturbs nothing else."""
    failures = 0
    while True:
        session = _Session(settings)
        try:
            await asyncio.to_thread(session.open)
            emit(Events.MSS_021)
            while True:
                await _taken(session, on_mail, on_refused)
                failures = 0
                await asyncio.to_thread(session.wait)
        except (OSError, imaplib.IMAP4.error, ValueError) as error:
            emit(Events.MSS_022, error=type(error).__name__)
        finally:
            session.close()
        await asyncio.sleep(AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)])
        failures += 1


async def _taken(session: _Session, on_mail: reception.OnMail, on_refused: reception.OnRefused) -> None:
    """Everything that is new, and what was put off; each in its turn, none in the way of another."""
    place = await asyncio.to_thread(session.place)
    for uid, size in await asyncio.to_thread(session.waiting, place):
        try:
            status = await _one(session, uid, size, on_mail, on_refused=on_refused)
        except imaplib.IMAP4.abort:
            raise  # the connection is gone
        except imaplib.IMAP4.error:
            status = "451 4.3.0"  # the server does not give this one now; those behind it come all the same
        later = [one for one in place.later if one != uid]
        if status.startswith("4"):
            later.append(uid)
        else:
            await asyncio.to_thread(session.seen, uid)
        place = Place(place.validity, max(place.next, uid + 1), tuple(later))
        await asyncio.to_thread(session.keep, place)


async def _one(
    session: _Session, uid: int, size: int, on_mail: reception.OnMail, *, on_refused: reception.OnRefused
) -> str:
    """The SMTP status of one mail."""
    given = session.settings
    if size <= given.max_bytes:
        return await _asked(await asyncio.to_thread(session.fetch, uid, None), given, on_mail)
    head = await asyncio.to_thread(session.fetch, uid, smtp_protocol.HEAD)
    status = f"552 5.3.4 Courriel de plus de {given.max_bytes // 2**20} Mo"
    try:
        await on_refused(envelope(head, given.mailbox), status, head)
    except Exception as error:  # noqa: BLE001 - a door: it is told at the next round
        emit(Events.HUB_003, door="mailbox", error=type(error).__name__)
        return "451 4.3.0"
    return status


async def _asked(raw: bytes, settings: Inbox, on_mail: reception.OnMail) -> str:
    try:
        (status,) = await on_mail(raw, envelope(raw, settings.mailbox))
    except errors.HubError as error:
        return reception.status(error)
    except Exception as error:  # noqa: BLE001 - a door: the mail stays where it is and comes again
        emit(Events.HUB_003, door="mailbox", error=type(error).__name__)
        return "451 4.3.0"
    return status


def envelope(raw: bytes, mailbox: str) -> reception.Envelope:
    """What SMTP would have told, from the trace fields that the last server left.

    Of several recipients the one that is ours, best with a sub-address; the plain mailbox when none is named. Without
    a Return-Path the author counts as the sender.
    """
    fields, _ = headers.fields(raw[: smtp_protocol.HEAD])
    values = [value for name in _FIELDS for key, value in fields if key.lower() == name]
    ours = [one for value in values for one in _addresses(value) if address.is_of(one, mailbox)]
    recipient = next((one for one in ours if "+" in one.partition("@")[0]), next(iter(ours), mailbox))
    path = headers.first(fields, "return-path")
    if path is None:
        sender = next(iter(_addresses(headers.first(fields, "from") or "")), "")
    else:
        sender = path.strip("<> ")
    return reception.Envelope(sender, (recipient,), "imap", "imap")


def _addresses(value: str) -> list[str]:
    return [one.address for one in address.parse(value)]


class _Session:
    """One connection; its methods block, and are called one at a time."""

    def __init__(self, settings: Inbox) -> None:
        self.settings = settings
        self._client: imaplib.IMAP4 | None = None
        self._validity = 0
        self._closed = threading.Event()

    def open(self) -> None:
        given = self.settings
        client = self._client = imaplib.IMAP4(given.host, given.port, timeout=given.timeout)
        if given.starttls:
            client.starttls(_tls(given))
        secret = given.secret_file.read_text().strip() if given.secret_file else ""
        if given.login == "password":
            client.login(given.user or given.mailbox, secret)
        elif given.login == "external":
            client.authenticate("EXTERNAL", lambda _: given.user.encode())
        elif given.login == "xoauth2":
            token = f"user={given.user or given.mailbox}\1auth=Bearer {secret}\1\1".encode()
            client.authenticate("XOAUTH2", lambda _: token)
        _ok(client.select(given.folder))
        said = client.response("UIDVALIDITY")[1]
        if not said or said[0] is None:
            raise imaplib.IMAP4.error("no UIDVALIDITY")
        self._validity = int(said[0])

    def place(self) -> Place:
        """Where we were; from the start in a mailbox that was made anew."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(self.settings.state.read_text())
            if kept["validity"] == self._validity:
                return Place(self._validity, int(kept["next"]), tuple(map(int, kept["later"])))
        return Place(self._validity)

    def waiting(self, place: Place) -> list[tuple[int, int]]:
        """(UID, size) of what is to be taken, in the order of arrival."""
        sets = [f"{place.next}:*", *map(str, place.later)]
        found: dict[int, int] = {}
        for line in _ok(self._the.uid("FETCH", ",".join(sets), "(UID RFC822.SIZE)")):
            if isinstance(line, bytes) and (uid := _UID.search(line)) and (size := _SIZE.search(line)):
                found[int(uid[1])] = int(size[1])
        # `n:*` names the last mail also when it is below n.
        return sorted((uid, size) for uid, size in found.items() if uid >= place.next or uid in place.later)

    def fetch(self, uid: int, most: int | None) -> bytes:
        part = "BODY.PEEK[]" if most is None else f"BODY.PEEK[]<0.{most}>"
        for line in _ok(self._the.uid("FETCH", str(uid), f"({part})")):
            if isinstance(line, tuple):
                return bytes(line[1])
        raise imaplib.IMAP4.error("mail without content")

    def seen(self, uid: int) -> None:
        _ok(self._the.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Seen)"))

    def keep(self, place: Place) -> None:
        draft = self.settings.state.with_suffix(".tmp")
        draft.write_text(json.dumps({"validity": place.validity, "next": place.next, "later": place.later}))
        draft.replace(self.settings.state)

    def wait(self) -> None:
        """Until the server has news, or it is time to look."""
        client = self._the
        if "IDLE" not in client.capabilities:
            self._closed.wait(self.settings.poll)
            _ok(client.noop())
            return
        tag = client._new_tag()  # the library has no IDLE before Python 3.14
        client.send(tag + b" IDLE\r\n")
        if not client.readline().startswith(b"+"):
            raise imaplib.IMAP4.error("IDLE refused")
        select.select([client.socket()], [], [], self.settings.poll)
        client.send(b"DONE\r\n")
        while not (line := client.readline()).startswith(tag):
            if not line:
                raise OSError("connection closed")

    def close(self) -> None:
        """Hang up; a method that waits in its thread ends with it."""
        self._closed.set()
        if self._client:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                self._client.socket().shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                self._client.shutdown()

    @property
    def _the(self) -> imaplib.IMAP4:
        assert self._client is not None
        return self._client


def _ok(answer: tuple[str, Sequence[object]]) -> Iterator[object]:
    if answer[0] != "OK":
        raise imaplib.IMAP4.error("command refused")
    return iter(answer[1])


def _tls(given: Inbox) -> ssl.SSLContext:
    """TLS 1.2 at least, the server's name checked (MSSanté client reference 1.1.1, 1.1.3)."""
    context = ssl.create_default_context(cafile=given.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if given.certificate:
        context.load_cert_chain(given.certificate, given.key)
    return context
