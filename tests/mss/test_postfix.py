"""A private Postfix in front of our LMTP door: what a real mail server makes of our answers."""

from __future__ import annotations

import asyncio
import os
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mss import letter, reception
from tests.running import free_port

POSTFIX = shutil.which("postfix") or "/usr/sbin/postfix"
DAEMONS = Path("/usr/lib/postfix/sbin")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not Path(POSTFIX).exists() or not DAEMONS.exists(), reason="Postfix is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix starts as root"),
]

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {daemons}
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mx.hub.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relay_domains = hub.example
transport_maps = inline:{{ hub.example=lmtp:inet:127.0.0.1:{lmtp} }}
smtpd_relay_restrictions = permit_mynetworks, reject
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
alias_maps =
local_recipient_maps =
"""

MASTER = """
127.0.0.1:{smtp} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
retry unix - - n - - error
error unix - - n - - error
proxymap unix - - n - - proxymap
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Hub:
    """Answers by recipient; `later` counts how often 451 is still given."""

    def __init__(self) -> None:
        self.mails: asyncio.Queue[tuple[bytes, reception.Envelope]] = asyncio.Queue()
        self.later = 0

    async def on_mail(self, raw: bytes, envelope: reception.Envelope) -> list[str]:
        if self.later:
            self.later -= 1
            return ["451 4.3.0 Plus tard"] * len(envelope.recipients)
        await self.mails.put((raw, envelope))
        return [
            "550 5.7.1 Cette boîte n’est pas membre de la conversation" if "inconnu" in recipient else "250 2.0.0 Reçu"
            for recipient in envelope.recipients
        ]

    async def on_refused(self, envelope: reception.Envelope, status: str, head: bytes) -> None:
        raise AssertionError(status)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
async def lmtp(hub: Hub) -> AsyncIterator[int]:
    server = await reception.serve(reception.Reception(smtp_port=None, lmtp_port=0), hub.on_mail, hub.on_refused)
    assert server.lmtp_port is not None
    yield server.lmtp_port
    await server.close()


@pytest.fixture
def postfix(lmtp: int) -> Iterator[int]:
    # Not under pytest's folder: Postfix's own user must be able to go there.
    folder, port = Path(tempfile.mkdtemp(prefix="postfix-")), free_port()
    folder.chmod(0o755)
    for name in ("config", "queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "config/main.cf").write_text(MAIN.format(folder=folder, daemons=DAEMONS, lmtp=lmtp))
    (folder / "config/master.cf").write_text(MASTER.format(smtp=port))
    # The daemons must not inherit pytest's output: it would wait for them.
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([POSTFIX, "-c", folder / "config", "start"], check=True, timeout=60, **quiet)  # type: ignore[call-overload]
    yield port
    subprocess.run([POSTFIX, "-c", folder / "config", "stop"], check=False, timeout=60, **quiet)  # type: ignore[call-overload]
    shutil.rmtree(folder, ignore_errors=True)


def post(port: int, *recipients: str) -> None:
    head = "From: Paul <paul@hub.example>\r\nTo: conv@hub.example\r\nSubject: Essai\r\nMessage-ID: <p1@x.fr>\r\n"
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail("paul@hub.example", recipients, f"{head}\r\n.Bonjour\r\n")


async def test_postfix_bounces_only_the_refused_recipient_and_quotes_our_words(postfix: int, hub: Hub) -> None:
    await asyncio.to_thread(post, postfix, "conv+abc@hub.example", "inconnu@hub.example")
    raw, envelope = await asyncio.wait_for(hub.mails.get(), 30)
    assert set(envelope.recipients) == {"conv+abc@hub.example", "inconnu@hub.example"}
    assert letter.read(raw).text == ".Bonjour"
    notice, envelope = await asyncio.wait_for(hub.mails.get(), 30)
    report = letter.read(notice)
    assert (envelope.mail_from, envelope.recipients) == ("", ("paul@hub.example",))
    assert report.report == "delivery"
    assert "inconnu@hub.example" in report.text
    assert "conv+abc" not in report.text
    assert "n'est pas membre de la conversation" in " ".join(report.text.split())


async def test_postfix_keeps_the_mail_while_we_answer_later(postfix: int, hub: Hub) -> None:
    hub.later = 2
    await asyncio.to_thread(post, postfix, "conv+abc@hub.example")
    raw, _ = await asyncio.wait_for(hub.mails.get(), 40)
    assert letter.read(raw).message_id == "p1@x.fr"
    assert hub.later == 0
    assert hub.mails.empty()
