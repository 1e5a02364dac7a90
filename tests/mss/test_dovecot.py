"""A private Dovecot with TLS: what our mailbox client makes of a real IMAP server."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from common import errors
from mss import inbox, reception
from tests import certificates
from tests.mss import mails
from tests.running import free_port

DOVECOT = shutil.which("dovecot") or "/usr/sbin/dovecot"
MAILBOX = "conv@hub.example"
TAGGED = "conv+k7f2@hub.example"

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not Path(DOVECOT).exists(), reason="Dovecot is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot starts as root"),
]

CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = yes
auth_mechanisms = plain external
auth_ssl_username_from_cert = yes
ssl_ca = <{folder}/ca.pem
ssl_verify_client_cert = yes
ssl_require_crl = no
mail_location = maildir:{folder}/mail
first_valid_uid = 1
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
passdb {{
  mechanisms = plain
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/home
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


@dataclass
class Dovecot:
    """The server, and a person's hands in the same mailbox."""

    folder: Path
    port: int
    ca: Path
    authority: certificates.Authority
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen([DOVECOT, "-F", "-c", str(self.folder / "conf")])
        for _ in range(100):
            with contextlib.suppress(OSError):
                imaplib.IMAP4("127.0.0.1", self.port, timeout=2).shutdown()
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.running:
            self.running.terminate()
            self.running.wait(10)
            self.running = None

    def opened(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("localhost", self.port, timeout=10)
        client.starttls(ssl.create_default_context(cafile=self.ca))
        client.login(MAILBOX, "secret")
        client.select("INBOX")
        return client

    def comes(self, raw: bytes) -> None:
        client = self.opened()
        assert client.append("INBOX", "", "", raw)[0] == "OK"
        client.logout()

    def unseen(self) -> int:
        client = self.opened()
        found = client.uid("SEARCH", "UNSEEN")[1][0].split()
        client.logout()
        return len(found)

    def made_anew(self) -> None:
        """Another UIDVALIDITY, the mails still there."""
        self.stop()
        for name in ("dovecot-uidlist", "dovecot-uidvalidity"):
            (self.folder / "mail" / name).unlink(missing_ok=True)
        for one in (self.folder / "mail").glob("dovecot*"):
            one.unlink()
        time.sleep(1.1)  # it is made of the clock's seconds
        self.start()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where Dovecot's processes get to as users of their own, which the runner's folders do not allow."""
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def dovecot(folder: Path) -> Iterator[Dovecot]:
    authority = certificates.Authority()
    made = authority.gives("CN=localhost", dns=("localhost",), usage=ExtendedKeyUsageOID.SERVER_AUTH)
    certificate, key = made.write(folder, "imap")
    ca = folder / "ca.pem"
    ca.write_bytes(authority.made.pem)
    port = free_port()
    (folder / "users").write_text(f"{MAILBOX}:secret\n")
    for name in ("mail", "home"):
        (folder / name).mkdir()
        shutil.chown(folder / name, "mail", "mail")
    (folder / "conf").write_text(CONFIGURATION.format(folder=folder, certificate=certificate, key=key, port=port))
    server = Dovecot(folder, port, ca, authority)
    server.start()
    yield server
    server.stop()


class Hub:
    """Keeps what it takes; `later` counts how often it says 451."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, reception.Envelope]] = []
        self.refused: list[str] = []
        self.later = 0
        self.asked = 0

    async def on_mail(self, raw: bytes, envelope: reception.Envelope) -> list[str]:
        self.asked += 1
        if b"fail" in raw and self.later:
            self.later -= 1
            raise errors.Unavailable("la base est absente")
        if b"refuse" in raw:
            return ["554 5.6.0 non"]
        self.taken.append((raw, envelope))
        return ["250 2.0.0 ok"]

    async def on_refused(self, envelope: reception.Envelope, status: str, head: bytes) -> None:
        if self.later:
            self.later -= 1
            raise errors.Unavailable("la base est absente")
        self.refused.append(status)


@contextlib.asynccontextmanager
async def fetching(server: Dovecot, hub: Hub, **more: object) -> AsyncIterator[None]:
    secret = server.folder / "secret"
    secret.write_text("secret\n")
    given = inbox.Inbox(
        "localhost",
        MAILBOX,
        server.folder / "place.json",
        port=server.port,
        secret_file=secret,
        ca_file=server.ca,
        poll=0.5,
    )
    task = asyncio.create_task(inbox.run(replace(given, **more), hub.on_mail, hub.on_refused))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: object, seconds: float = 15) -> None:
    assert callable(condition)
    for _ in range(int(seconds * 20)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came")


def a_mail(text: str, to: str = TAGGED) -> bytes:
    return mails.a_mail(text, headers=f"Delivered-To: {to}\nReturn-Path: <paul@demo.mssante.fr>")


async def test_a_mail_is_taken_with_its_envelope_and_marked_seen_after(dovecot: Dovecot) -> None:
    hub, raw = Hub(), a_mail("Bonjour")
    async with fetching(dovecot, hub):
        await asyncio.to_thread(dovecot.comes, raw)
        await until(lambda: hub.taken)
        await until(lambda: dovecot.unseen() == 0)
    assert hub.taken == [(raw, reception.Envelope("paul@demo.mssante.fr", (TAGGED,), "imap", "imap"))]


async def test_an_application_mailbox_signs_in_with_its_certificate(dovecot: Dovecot) -> None:
    hub = Hub()
    given = dovecot.authority.gives(f"CN={MAILBOX},O=Hub")
    certificate, key = given.write(dovecot.folder, "application")
    dovecot.comes(a_mail("Bonjour"))
    own = {"certificate": Path(certificate), "key": Path(key)}
    async with fetching(dovecot, hub, login="external", secret_file=None, **own):
        await until(lambda: hub.taken)
    assert "method=EXTERNAL" in (dovecot.folder / "log").read_text()


async def test_it_goes_on_where_it_was_whatever_people_marked(dovecot: Dovecot) -> None:
    hub = Hub()
    dovecot.comes(a_mail("un"))
    async with fetching(dovecot, hub):
        await until(lambda: len(hub.taken) == 1)
    dovecot.comes(a_mail("deux"))
    client = dovecot.opened()
    client.uid("STORE", "1:*", "FLAGS", r"(\Seen)")
    client.uid("STORE", "1", "-FLAGS", r"(\Seen)")
    client.logout()
    async with fetching(dovecot, hub):
        await until(lambda: len(hub.taken) == 2)
        await asyncio.sleep(1.5)
    assert [raw.rsplit(b"\n")[-1] for raw, _ in hub.taken] == [b"un", b"deux"]


async def test_what_cannot_be_taken_now_stays_unseen_and_does_not_stop_the_others(dovecot: Dovecot) -> None:
    hub = Hub()
    hub.later = 2
    dovecot.comes(a_mail("fail"))
    dovecot.comes(a_mail("bon"))
    async with fetching(dovecot, hub):
        await until(lambda: len(hub.taken) == 2)
        await until(lambda: dovecot.unseen() == 0)
    assert b"bon" in hub.taken[0][0]
    assert b"fail" in hub.taken[1][0]


async def test_refused_and_too_large_are_told_once_and_marked(dovecot: Dovecot) -> None:
    hub = Hub()
    hub.later = 1
    dovecot.comes(a_mail("refuse"))
    dovecot.comes(a_mail("long " * 2000))
    async with fetching(dovecot, hub, max_bytes=5000):
        await until(lambda: hub.refused)
        await until(lambda: dovecot.unseen() == 0)
        await asyncio.sleep(1.2)
    assert (hub.asked, len(hub.refused)) == (1, 1)
    assert hub.refused[0].startswith("552")


async def test_a_mailbox_made_anew_is_taken_from_its_start(dovecot: Dovecot) -> None:
    hub = Hub()
    dovecot.comes(a_mail("un"))
    async with fetching(dovecot, hub):
        await until(lambda: len(hub.taken) == 1)
    before = json.loads((dovecot.folder / "place.json").read_text())["validity"]
    dovecot.made_anew()
    async with fetching(dovecot, hub):
        await until(lambda: len(hub.taken) == 2)
    assert json.loads((dovecot.folder / "place.json").read_text())["validity"] != before
    assert hub.taken[0] == hub.taken[1], "the hub's journal knows the same bytes"


async def test_a_server_that_goes_away_and_comes_back(dovecot: Dovecot) -> None:
    hub = Hub()
    async with fetching(dovecot, hub):
        await asyncio.to_thread(dovecot.comes, a_mail("avant"))
        await until(lambda: len(hub.taken) == 1)
        await asyncio.to_thread(dovecot.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(dovecot.start)
        await asyncio.to_thread(dovecot.comes, a_mail("apres"))
        await until(lambda: len(hub.taken) == 2, 30)


async def test_a_server_of_another_authority_gets_no_password(dovecot: Dovecot) -> None:
    hub, other = Hub(), dovecot.folder / "other.pem"
    other.write_bytes(certificates.Authority().made.pem)
    async with fetching(dovecot, hub, ca_file=other):
        await asyncio.sleep(1.5)
    log = (dovecot.folder / "log").read_text()
    assert "SSL alert" in log, "the client hung up in the handshake"
    assert "Login:" not in log


@pytest.mark.parametrize(
    ("headers", "sender", "recipient"),
    [
        ("To: conv@hub.example\nReturn-Path: <>", "", MAILBOX),
        (f"To: Autre <x@y.example>, Suivi <{TAGGED}>", "paul@demo.mssante.fr", TAGGED),
        (f"Delivered-To: {MAILBOX}\nTo: {TAGGED}", "paul@demo.mssante.fr", TAGGED),
        ("To: x@y.example", "paul@demo.mssante.fr", MAILBOX),
    ],
)
def test_the_envelope_is_read_from_the_trace_fields(headers: str, sender: str, recipient: str) -> None:
    raw = f"From: Paul <paul@demo.mssante.fr>\r\n{headers}\r\n\r\nBonjour".encode()
    assert inbox.envelope(raw, MAILBOX) == reception.Envelope(sender, (recipient,), "imap", "imap")
