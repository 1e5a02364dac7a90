"""What the operator says becomes one outcome, whatever it says and however it stops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from common import errors
from mss import send
from tests.mss.conftest import Authority

MAIL = b"From: conv@hub.example\r\nSubject: x\r\n\r\nBonjour\r\n.\r\n"


class Server:
    """A scripted SMTP server: replies by command, everything heard is kept."""

    def __init__(self, **replies: str) -> None:
        self.replies = replies
        self.heard: list[str] = []
        self.mail = b""
        self.mails: list[bytes] = []
        self.tls: ssl.SSLContext | None = None
        self.client: dict[str, object] | None = None

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._say(writer, "CONNECT", "220 essai"):
            return
        while line := await reader.readline():
            command = line.decode().strip()
            verb = command.split(" ")[0].split(":")[0].upper()
            self.heard.append(command)
            if not await self._say(writer, verb, "354 vas-y" if verb == "DATA" else "250 OK"):
                return
            if verb == "STARTTLS" and self.tls:
                await writer.start_tls(self.tls)
                self.client = writer.get_extra_info("peercert")
            if verb == "DATA" and self.replies.get("DATA", "354").startswith("354"):
                self.mail = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(self.mail)
                if not await self._say(writer, "END", "250 2.0.0 pris"):
                    return
            if verb == "QUIT":
                return

    async def _say(self, writer: asyncio.StreamWriter, what: str, usual: str) -> bool:
        reply = self.replies.get(what, usual)
        if reply == "hang up":
            return False
        if reply == "silence":
            await asyncio.sleep(30)
        writer.write(reply.replace("\n", "\r\n").encode() + b"\r\n")
        await writer.drain()
        return True


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[send.Smtp]:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await server.talk(reader, writer)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield send.Smtp(port=listener.sockets[0].getsockname()[1], timeout=5, data_timeout=5)
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def outcome(server: Server, mail: bytes = MAIL, recipient: str = "paul@demo.mssante.fr") -> send.Outcome:
    async with listening(server) as smtp:
        return await send.send(smtp, mail, sender="conv@hub.example", recipient=recipient, envid="livraison+1")


async def test_an_accepted_mail_is_accepted() -> None:
    server = Server(EHLO="250-x\n250 SIZE 1000000")
    assert await outcome(server) == send.Outcome(True, False, 250, "2.0.0 pris")
    assert f"MAIL FROM:<conv@hub.example> SIZE={len(MAIL)}" in server.heard
    assert "RCPT TO:<paul@demo.mssante.fr>" in server.heard
    assert server.mail == MAIL.removesuffix(b".\r\n") + b"..\r\n.\r\n"


async def test_the_first_recipient_is_named_where_the_operator_wants_it_and_a_notice_asks_for_nothing() -> None:
    server = Server(EHLO="250-x\n250 DSN")
    async with listening(server) as smtp:
        wanted = replace(smtp, original_recipient=True)
        assert (await send.send(wanted, MAIL, sender="c@hub.example", recipient="p+1@demo.mssante.fr", envid="1")).dsn
        assert not (await send.send(wanted, MAIL, sender="", recipient="paul@demo.mssante.fr", envid="1")).dsn
    ends = [line.partition("> ")[2] for line in server.heard if line.startswith("RCPT")]
    assert ends == ["NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;p+2B1@demo.mssante.fr", ""]


async def test_a_delivery_report_is_asked_for_only_where_it_is_offered() -> None:
    server = Server(EHLO="250-x\n250 DSN")
    assert (await outcome(server)).dsn
    assert "MAIL FROM:<conv@hub.example> RET=HDRS ENVID=livraison+2B1" in server.heard
    assert "RCPT TO:<paul@demo.mssante.fr> NOTIFY=SUCCESS,FAILURE,DELAY" in server.heard
    silent = Server()
    assert not (await outcome(silent)).dsn
    assert not any("NOTIFY" in line or "ENVID" in line for line in silent.heard)


@pytest.mark.parametrize(
    ("replies", "permanent", "code"),
    [
        ({"CONNECT": "421 plus tard"}, False, 421),
        ({"CONNECT": "554 non"}, True, 554),
        ({"MAIL": "451 plus tard"}, False, 451),
        ({"MAIL": "550 5.7.1 non"}, True, 550),
        ({"RCPT": "450 4.2.1 occupée"}, False, 450),
        ({"RCPT": "550 5.1.1 inconnue"}, True, 550),
        ({"RCPT": "530 5.7.0 authentification"}, False, 530),
        ({"DATA": "452 plein"}, False, 452),
        ({"END": "451 4.3.0 plus tard"}, False, 451),
        ({"END": "552 5.2.2 boîte pleine"}, True, 552),
        ({"END": "xyz"}, False, 0),
    ],
)
async def test_each_answer_of_the_server_is_an_outcome(replies: dict[str, str], permanent: bool, code: int) -> None:
    found = await outcome(Server(**replies))
    assert (found.accepted, found.permanent, found.code, found.uncertain) == (False, permanent, code, False)
    assert found.text


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "RCPT"])
async def test_a_connection_that_breaks_before_the_mail_is_temporary_and_certain(step: str) -> None:
    found = await outcome(Server(**{step: "hang up"}, **({"HELO": "hang up"} if step == "EHLO" else {})))
    assert (found.accepted, found.permanent, found.code, found.uncertain) == (False, False, 0, False)


async def test_a_connection_that_breaks_after_the_last_byte_leaves_a_doubt() -> None:
    found = await outcome(Server(END="hang up"))
    assert (found.accepted, found.permanent, found.uncertain) == (False, False, True)


async def test_a_server_that_falls_silent_is_a_temporary_outcome() -> None:
    async with listening(Server(RCPT="silence")) as smtp:
        found = await send.send(
            replace(smtp, timeout=0.2), MAIL, sender="conv@hub.example", recipient="paul@demo.mssante.fr", envid="1"
        )
    assert (found.permanent, found.code, found.text) == (False, 0, "Le serveur de messagerie n'a pas répondu à temps.")


async def test_a_closed_port_is_a_temporary_outcome() -> None:
    async with listening(Server()) as smtp:
        pass
    found = await send.send(smtp, MAIL, sender="conv@hub.example", recipient="paul@demo.mssante.fr", envid="1")
    assert (found.permanent, found.code, found.text) == (False, 0, "Le serveur de messagerie est injoignable.")


async def test_a_quit_that_fails_does_not_undo_an_accepted_mail() -> None:
    assert (await outcome(Server(QUIT="hang up"))).accepted
    assert (await outcome(Server(QUIT="500 quoi"))).accepted


async def test_a_mail_over_the_announced_size_is_refused_before_it_leaves() -> None:
    server = Server(EHLO="250-x\n250 SIZE 40")
    found = await outcome(server)
    assert (found.permanent, found.code) == (True, 552)
    assert not any(line.startswith("MAIL") for line in server.heard)


async def test_an_accented_mailbox_needs_a_server_that_takes_it() -> None:
    refused = await outcome(Server(), recipient="rené@demo.mssante.fr")
    assert (refused.permanent, refused.code) == (True, 553)
    server = Server(EHLO="250-x\n250 SMTPUTF8")
    assert (await outcome(server, recipient="rené@demo.mssante.fr")).accepted
    assert "RCPT TO:<rené@demo.mssante.fr>" in server.heard


async def test_a_notice_has_the_empty_sender() -> None:
    server = Server()
    async with listening(server) as smtp:
        assert (await send.send(smtp, MAIL, sender="", recipient="paul@demo.mssante.fr", envid="1")).accepted
    assert "MAIL FROM:<>" in server.heard


async def test_an_impossible_recipient_is_our_mistake() -> None:
    with pytest.raises(errors.Invalid):
        await outcome(Server(), recipient="paul@x.fr>\r\nDATA")


async def test_the_remote_text_is_shortened_to_one_line() -> None:
    found = await outcome(Server(END="554-un\n554 " + "x" * 1000))
    assert "\n" not in found.text
    assert len(found.text) <= 300


def tls_server(authority: Authority, **replies: str) -> Server:
    server = Server(EHLO="250-x\n250 STARTTLS", STARTTLS="220 vas-y", **replies)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(*authority.issue("serveur"))
    server.tls.load_verify_locations(authority.certificate)
    server.tls.verify_mode = ssl.CERT_REQUIRED
    return server


async def test_a_mail_leaves_over_tls_with_our_certificate(authority: Authority) -> None:
    server = tls_server(authority)
    certificate, key = authority.issue("hub")
    async with listening(server) as smtp:
        secure = replace(
            smtp, starttls=True, ca_file=authority.certificate, client_certificate=certificate, client_key=key
        )
        found = await send.send(secure, MAIL, sender="conv@hub.example", recipient="paul@demo.mssante.fr", envid="1")
    assert found.accepted
    assert server.client is not None
    assert "hub" in str(server.client["subject"])


async def test_nothing_leaves_in_clear_when_tls_is_required(authority: Authority) -> None:
    server = Server()
    async with listening(server) as smtp:
        found = await send.send(
            replace(smtp, starttls=True), MAIL, sender="conv@hub.example", recipient="paul@demo.mssante.fr", envid="1"
        )
    assert (found.permanent, found.code) == (False, 0)
    assert "STARTTLS" in found.text
    assert not any(line.startswith("MAIL") for line in server.heard)


async def test_a_certificate_from_nowhere_is_a_temporary_outcome(authority: Authority) -> None:
    server = tls_server(authority)
    async with listening(server) as smtp:
        found = await send.send(
            replace(smtp, starttls=True), MAIL, sender="conv@hub.example", recipient="paul@demo.mssante.fr", envid="1"
        )
    assert (found.accepted, found.permanent) == (False, False)
    assert "certificat" in found.text
    assert not any(line.startswith("MAIL") for line in server.heard)


async def test_a_missing_key_file_is_not_taken_for_an_outage(tmp_path: Path) -> None:
    smtp = send.Smtp(starttls=True, client_certificate=tmp_path / "absent.pem")
    with pytest.raises(OSError, match="No such file"):
        await send.send(smtp, MAIL, sender="conv@hub.example", recipient="paul@demo.mssante.fr", envid="1")


async def test_the_password_is_read_from_its_file(tmp_path: Path, authority: Authority) -> None:
    user, word = tmp_path / "user", tmp_path / "word"
    user.write_text("hub\n")
    word.write_text("secret\n")
    server = tls_server(authority, AUTH="235 bienvenue")
    server.replies["EHLO"] = "250-x\n250-STARTTLS\n250 AUTH PLAIN"
    assert server.tls is not None
    server.tls.verify_mode = ssl.CERT_NONE
    async with listening(server) as smtp:
        secure = replace(smtp, starttls=True, ca_file=authority.certificate, username_file=user, password_file=word)
        found = await send.send(secure, MAIL, sender="conv@hub.example", recipient="paul@demo.mssante.fr", envid="1")
    assert found.accepted
    assert any(line.startswith("AUTH PLAIN") for line in server.heard)


def test_a_silent_server_does_not_hold_a_worker_for_long() -> None:
    assert send.Smtp().data_timeout == 60
