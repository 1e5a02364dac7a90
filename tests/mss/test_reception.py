"""The doors for mail, through real sockets: 250 means kept, every refusal says why, nothing is lost in between."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiosmtplib
import pytest

from common import errors
from mss import reception
from tests.mss.conftest import Authority

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


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
async def server(hub: Hub) -> AsyncIterator[reception.Server]:
    opened = await reception.serve(SETTINGS, hub.on_mail, hub.on_refused)
    yield opened
    await opened.close()


async def talk(port: int | None, *lines: str | bytes) -> list[str]:
    """Send lines, one after the answer to the other; give all answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = [await _answer(reader)]
    for line in lines:
        writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
        answers.append(await _answer(reader))
    writer.close()
    await writer.wait_closed()
    return answers


async def _answer(reader: asyncio.StreamReader) -> str:
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


async def test_a_mail_is_given_to_the_hub_and_then_acknowledged(server: reception.Server, hub: Hub) -> None:
    assert await submit(server.smtp_port, MAIL, "conv+abc@hub.example") == (250, "2.0.0 Recu")
    envelope = reception.Envelope("paul@demo.mssante.fr", ("conv+abc@hub.example",), "127.0.0.1", "smtp")
    assert hub.mails == [(MAIL, envelope)]


async def test_the_acknowledgement_waits_for_the_hub(server: reception.Server, hub: Hub) -> None:
    kept = asyncio.Event()
    hub.before = kept.wait
    sending = asyncio.create_task(submit(server.smtp_port))
    await asyncio.sleep(0.2)
    assert not sending.done()
    kept.set()
    assert (await sending)[0] == 250


async def test_the_extensions_are_announced(server: reception.Server) -> None:
    lines = (await talk(server.smtp_port, "EHLO x"))[1].split("\r\n")
    assert {line[4:] for line in lines[1:]} == {
        "SIZE 200000", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"
    }  # fmt: skip
    assert "PIPELINING" in (await talk(server.lmtp_port, "LHLO x"))[1]


async def test_lmtp_answers_each_recipient_in_its_own_words(server: reception.Server, hub: Hub) -> None:
    hub.answer = lambda recipient: "550 5.1.1 Boîte inconnue" if "inconnu" in recipient else "250 2.0.0 Reçu"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.lmtp_port)
    commands = [
        "LHLO x",
        "MAIL FROM:<>",
        "RCPT TO:<a@hub.example>",
        "RCPT TO:<inconnu@hub.example>",
        "RCPT TO:<b@hub.example>",
    ]
    writer.write("\r\n".join([*commands, "DATA", ""]).encode())
    for _ in range(7):
        await _answer(reader)
    writer.write(MAIL + b".\r\n")
    assert [await _answer(reader) for _ in range(3)] == ["250 2.0.0 Recu", "550 5.1.1 Boite inconnue", "250 2.0.0 Recu"]
    assert hub.mails[0][1] == reception.Envelope(
        "", ("a@hub.example", "inconnu@hub.example", "b@hub.example"), "127.0.0.1", "lmtp"
    )
    writer.close()
    await writer.wait_closed()


async def test_lmtp_has_its_own_greeting(server: reception.Server) -> None:
    assert (await talk(server.lmtp_port, "EHLO x"))[1].startswith("500 5.5.1")
    assert (await talk(server.smtp_port, "LHLO x"))[1].startswith("500 5.5.2")


async def test_smtp_prefers_trying_again_to_losing_a_recipient(server: reception.Server, hub: Hub) -> None:
    answers = {
        "a@hub.example": "250 2.0.0 Reçu",
        "b@hub.example": "451 4.3.0 Plus tard",
        "c@hub.example": "550 5.1.1 Non",
    }
    hub.answer = lambda recipient: answers[recipient]
    assert (await submit(server.smtp_port, MAIL, *answers))[0] == 451
    assert hub.refusals == []


async def test_a_refusal_hidden_behind_an_acceptance_is_told_to_the_hub(server: reception.Server, hub: Hub) -> None:
    hub.answer = lambda recipient: "550 5.1.1 Non" if recipient.startswith("c") else "250 2.0.0 Reçu"
    assert (await submit(server.smtp_port, MAIL, "a@hub.example", "c@hub.example"))[0] == 250
    assert [(envelope.recipients, status) for envelope, status, _ in hub.refusals] == [
        (("c@hub.example",), "550 5.1.1 Non")
    ]


async def test_a_refusal_of_ours_reaches_the_sender_in_its_words(server: reception.Server, hub: Hub) -> None:
    async def refuse() -> None:
        raise errors.UnsupportedMedia("Le fichier « macro.docm » n’est pas accepté.\r\n250 OK")

    hub.before = refuse
    code, text = await submit(server.smtp_port)
    assert code == 554
    assert text == '5.6.1 Le fichier "macro.docm" n\'est pas accepte. 250 OK'


async def test_accents_are_kept_for_a_peer_that_asked_for_them(server: reception.Server) -> None:
    answers = await talk(
        server.smtp_port,
        "EHLO x",
        "MAIL FROM:<rené@demo.mssante.fr> SMTPUTF8",
        "RCPT TO:<conv@hub.example>",
        "DATA",
        MAIL + b".",
    )
    assert answers[-1] == "250 2.0.0 Reçu"


async def test_an_unexpected_error_asks_the_sender_to_come_back(server: reception.Server, hub: Hub) -> None:
    async def break_down() -> None:
        raise RuntimeError("a bug with patient data in its text")

    hub.before = break_down
    code, text = await submit(server.smtp_port)
    assert code == 451
    assert "patient" not in text
    hub.before = None
    assert (await submit(server.smtp_port))[0] == 250


@pytest.mark.parametrize("answer", ["", "OK", "250 sans code étendu", "999 9.9.9 non"])
async def test_an_answer_that_is_no_status_is_never_an_acceptance(
    server: reception.Server, hub: Hub, answer: str
) -> None:
    hub.answer = lambda recipient: answer
    assert (await submit(server.smtp_port))[0] == 451


async def test_a_peer_that_hangs_up_does_not_undo_the_work(server: reception.Server, hub: Hub) -> None:
    go = asyncio.Event()
    hub.before = go.wait
    reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    writer.write(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\n" + MAIL + b".\r\n")
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    await asyncio.sleep(0.2)
    assert hub.mails == []
    go.set()
    await asyncio.sleep(0.2)
    assert len(hub.mails) == 1
    assert reader.exception() is not None or True


async def test_a_mail_cut_in_the_middle_is_not_given_to_the_hub(server: reception.Server, hub: Hub) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    writer.write(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\n" + MAIL)
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.2)
    assert hub.mails == []


@pytest.mark.parametrize(
    ("recipient", "status"),
    [
        ("conv@hub.example", "250 2.1.5"),
        ("CONV+Tag@HUB.Example", "250 2.1.5"),
        ("postmaster@hub.example", "250 2.1.5"),
        ("postmaster", "250 2.1.5"),
        ("autre@hub.example", "550 5.1.1"),
        ("conv@ailleurs.example", "550 5.7.1"),
        ("conv@hub.example.ailleurs.example", "550 5.7.1"),
        ("conv%ailleurs.example@hub.example", "550 5.1.1"),
        ("@ailleurs.example:conv@hub.example", "250 2.1.5"),
        ("<script>", "553 5.1.3"),
        ("a b@hub.example", "55"),
        ("", "501 5.5.4"),
    ],
)
async def test_only_our_own_mailboxes_are_taken(hub: Hub, recipient: str, status: str) -> None:
    settings = replace(SETTINGS, mailboxes=("conv@hub.example",), lmtp_port=None)
    server = await reception.serve(settings, hub.on_mail, hub.on_refused)
    assert server.lmtp_port is None
    answers = await talk(server.smtp_port, "EHLO x", "MAIL FROM:<a@b.fr>", f"RCPT TO:<{recipient}>")
    await server.close()
    assert answers[-1].startswith(status) or (status == "501 5.5.4" and answers[-1].startswith(("501", "553")))


async def test_thirty_megabytes_are_refused_when_announced(hub: Hub) -> None:
    server = await reception.serve(replace(SETTINGS, max_bytes=25 * 2**20), hub.on_mail, hub.on_refused)
    assert (await submit(server.smtp_port))[0] == 250
    answers = await talk(
        server.smtp_port,
        "EHLO x",
        f"MAIL FROM:<a@b.fr> SIZE={30 * 2**20} BODY=8BITMIME",
        "RCPT TO:<conv+abc@hub.example>",
    )
    assert answers[-1] == "552 5.3.4 Courriel trop volumineux : 25 Mo au plus"
    envelope, status, head = hub.refusals[0]
    assert (envelope.recipients, status[:9], head) == (("conv+abc@hub.example",), "552 5.3.4", b"")
    await server.close()


async def test_thirty_megabytes_are_refused_when_they_come_unannounced(hub: Hub) -> None:
    server = await reception.serve(replace(SETTINGS, max_bytes=25 * 2**20), hub.on_mail, hub.on_refused)
    body = MAIL + (b"x" * 76 + b"\r\n") * (30 * 2**20 // 78)

    def old_client() -> tuple[int, bytes]:
        assert server.smtp_port is not None
        with smtplib.SMTP("127.0.0.1", server.smtp_port) as client:
            client.helo("x")
            client.mail("a@b.fr")
            client.rcpt("conv+abc@hub.example")
            return client.data(body)

    assert await asyncio.to_thread(old_client) == (552, b"5.3.4 Courriel trop volumineux : 25 Mo au plus")
    envelope, status, head = hub.refusals[0]
    assert (envelope.recipients, status[:9]) == (("conv+abc@hub.example",), "552 5.3.4")
    assert len(head) == 64 * 2**10
    assert head.startswith(MAIL)
    assert hub.mails == []
    await server.close()


async def test_a_line_without_end_is_refused_and_the_next_mail_is_taken(server: reception.Server, hub: Hub) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    start = b"MAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\n"
    writer.write(b"EHLO x\r\n" + start + b"x" * 100_000 + b"\r\n.\r\n" + start + MAIL + b".\r\n")
    answers = [await _answer(reader) for _ in range(10)]
    assert answers[5].startswith("554 5.6.0 Ligne")
    assert answers[9] == "250 2.0.0 Recu"
    assert (len(hub.mails), len(hub.refusals)) == (1, 1)
    writer.close()
    await writer.wait_closed()


async def test_long_lines_that_real_programs_send_are_taken(server: reception.Server, hub: Hub) -> None:
    assert (await submit(server.smtp_port, MAIL + b"y" * 5000 + b"\r\n"))[0] == 250
    assert b"y" * 5000 in hub.mails[0][0]


async def test_no_second_mail_can_be_smuggled_in_a_first_one(server: reception.Server, hub: Hub) -> None:
    evil = b"MAIL FROM:<chef@hub.example>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\nfaux\r\n"
    for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
        writer.write(
            b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\nA: b" + end + evil + b".\r\n"
        )
        for _ in range(6):
            await _answer(reader)
        writer.close()
        await writer.wait_closed()
    assert len(hub.mails) == 5
    assert {envelope.mail_from for _, envelope in hub.mails} == {"a@b.fr"}


async def test_leading_dots_come_back_as_they_were(server: reception.Server, hub: Hub) -> None:
    body = MAIL + b".\r\n..\r\n.a\r\n"
    assert (await submit(server.smtp_port, body))[0] == 250
    assert hub.mails[0][0] == body


async def test_a_mail_that_turns_in_circles_is_stopped(server: reception.Server, hub: Hub) -> None:
    assert await submit(server.smtp_port, b"Received: from x\r\n" * 101 + MAIL) == (
        554,
        "5.4.6 Ce courriel tourne en rond",
    )
    assert len(hub.refusals) == 1
    assert (await submit(server.smtp_port, b"Received: from x\r\n" * 20 + MAIL))[0] == 250


async def test_an_eight_bit_mail_is_kept_byte_for_byte(server: reception.Server, hub: Hub) -> None:
    body = MAIL + "été".encode() + b"\xe9\xff\x00\r\n"
    assert (await submit(server.smtp_port, body))[0] == 250
    assert hub.mails[0][0] == body


async def test_too_many_recipients_are_told_to_come_back(hub: Hub) -> None:
    server = await reception.serve(replace(SETTINGS, max_recipients=2), hub.on_mail, hub.on_refused)
    rcpts = [f"RCPT TO:<conv+{n}@hub.example>" for n in range(3)]
    assert (await talk(server.smtp_port, "EHLO x", "MAIL FROM:<a@b.fr>", *rcpts))[-1].startswith("452 4.5.3")
    await server.close()


async def test_too_many_connections_are_turned_away_and_room_is_made_again(hub: Hub) -> None:
    server = await reception.serve(replace(SETTINGS, max_connections=2), hub.on_mail, hub.on_refused)
    pairs = [await asyncio.open_connection("127.0.0.1", server.smtp_port) for _ in range(3)]
    greetings = [await _answer(reader) for reader, _ in pairs]
    assert [greeting[:3] for greeting in greetings] == ["220", "220", "421"]
    for _, writer in pairs:
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.1)
    assert (await submit(server.smtp_port))[0] == 250
    await server.close()


async def test_a_silent_peer_is_sent_away(hub: Hub) -> None:
    server = await reception.serve(replace(SETTINGS, timeout=0.3), hub.on_mail, hub.on_refused)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    await _answer(reader)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_a_mail_that_never_ends_is_given_up(hub: Hub) -> None:
    server = await reception.serve(replace(SETTINGS, data_timeout=0.3), hub.on_mail, hub.on_refused)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    writer.write(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\nSubject: x\r\n")
    answers = [await _answer(reader) for _ in range(6)]
    assert answers[-1].startswith("421 4.4.2")
    assert hub.mails == []
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_work_longer_than_the_time_out_is_still_acknowledged(hub: Hub) -> None:
    server = await reception.serve(replace(SETTINGS, timeout=0.3), hub.on_mail, hub.on_refused)
    hub.before = lambda: asyncio.sleep(0.8)
    assert (await submit(server.smtp_port))[0] == 250
    await server.close()


async def test_closing_lets_a_mail_in_progress_have_its_answer(hub: Hub) -> None:
    server = await reception.serve(SETTINGS, hub.on_mail, hub.on_refused)
    hub.before = lambda: asyncio.sleep(0.5)
    sending = asyncio.create_task(submit(server.smtp_port))
    await asyncio.sleep(0.2)
    await server.close()
    assert (await sending)[0] == 250
    assert len(hub.mails) == 1


async def test_nobody_signs_in_and_nobody_is_looked_up(server: reception.Server) -> None:
    answers = await talk(
        server.smtp_port, "EHLO x", "AUTH PLAIN AGEAYg==", "EXPN tous", "NOOP", "BLABLA", "RSET", "QUIT"
    )
    assert [answer[:3] for answer in answers[2:]] == ["500", "502", "250", "500", "250", "221"]
    assert all(answer[4:6] in ("2.", "4.", "5.") for answer in answers[2:])


async def test_noise_does_not_stop_the_door(server: reception.Server) -> None:
    for noise in (
        b"\xff\xfe\x00",
        b"MAIL FROM:<",
        b"RCPT TO:",
        b"EHLO",
        b"x" * 5000,
        b"MAIL FROM:<a@b> SIZE=abc",
        b"DATA x",
    ):
        assert (await talk(server.smtp_port, noise))[1][:1] in ("5", "4")
    assert (await submit(server.smtp_port))[0] == 250


async def test_tls_is_offered_and_nothing_said_before_it_counts(hub: Hub, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("reception"))
    server = await reception.serve(replace(SETTINGS, tls=context, require_tls=True), hub.on_mail, hub.on_refused)
    assert (await talk(server.smtp_port, "EHLO x", "MAIL FROM:<a@b.fr>"))[-1].startswith("530 5.7.0")
    trusted = ssl.create_default_context(cafile=str(authority.certificate))
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.smtp_port, start_tls=True, tls_context=trusted)
    async with client:
        _, text = await client.sendmail("a@b.fr", ["conv@hub.example"], MAIL)
    assert text == "2.0.0 Recu"
    assert len(hub.mails) == 1
    await server.close()


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
async def test_a_real_mail_tool_can_write_to_us(server: reception.Server, hub: Hub) -> None:
    command = ["swaks", "--server", f"127.0.0.1:{server.smtp_port}", "--to", "conv+abc@hub.example"]
    command += [
        "--from",
        "paul@demo.mssante.fr",
        "--body",
        "Bonjour",
        "--h-Subject",
        "Essai",
        "--helo",
        "client.example",
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out.decode()
    assert b"Subject: Essai" in hub.mails[0][0]


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
async def test_a_real_lmtp_tool_can_write_to_us(server: reception.Server, hub: Hub) -> None:
    command = ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(server.lmtp_port)]
    command += ["--to", "conv@hub.example", "--from", "paul@demo.mssante.fr", "--helo", "client.example"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out.decode()
    assert hub.mails[0][1].protocol == "lmtp"


def test_everything_works_on_the_loop_of_the_production_server(authority: Authority) -> None:
    uvloop = pytest.importorskip("uvloop")
    hub = Hub()

    async def journey() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("uvloop"))
        server = await reception.serve(replace(SETTINGS, tls=context, max_connections=1), hub.on_mail, hub.on_refused)
        trusted = ssl.create_default_context(cafile=str(authority.certificate))
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.smtp_port, start_tls=True, tls_context=trusted)
        async with client:
            await client.sendmail("a@b.fr", ["conv@hub.example"], MAIL)
            assert (await talk(server.smtp_port))[0].startswith("421")
        await asyncio.sleep(0.1)
        assert (await submit(server.smtp_port))[0] == 250
        await server.close()

    uvloop.run(journey())
    assert len(hub.mails) == 2
