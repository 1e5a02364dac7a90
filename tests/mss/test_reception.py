"""Who is answered what: 250 means kept, every refusal says why, nothing is lost in between."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from dataclasses import replace

import aiosmtplib
import pytest

from common import errors
from mss import reception
from tests.mss import doors
from tests.mss.conftest import Authority


async def test_a_mail_is_given_to_the_hub_and_then_acknowledged(server: reception.Server, hub: doors.Hub) -> None:
    assert await doors.submit(server.smtp_port, doors.MAIL, "conv+abc@hub.example") == (250, "2.0.0 Recu")
    envelope = reception.Envelope("paul@demo.mssante.fr", ("conv+abc@hub.example",), "127.0.0.1", "smtp")
    assert hub.mails == [(doors.MAIL, envelope)]


async def test_the_acknowledgement_waits_for_the_hub(server: reception.Server, hub: doors.Hub) -> None:
    kept = asyncio.Event()
    hub.before = kept.wait
    sending = asyncio.create_task(doors.submit(server.smtp_port))
    await asyncio.sleep(0.2)
    assert not sending.done()
    kept.set()
    assert (await sending)[0] == 250


async def test_lmtp_answers_each_recipient_in_its_own_words(server: reception.Server, hub: doors.Hub) -> None:
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
        await doors.answer_of(reader)
    writer.write(doors.MAIL + b".\r\n")
    assert [await doors.answer_of(reader) for _ in range(3)] == [
        "250 2.0.0 Recu",
        "550 5.1.1 Boite inconnue",
        "250 2.0.0 Recu",
    ]
    assert hub.mails[0][1] == reception.Envelope(
        "", ("a@hub.example", "inconnu@hub.example", "b@hub.example"), "127.0.0.1", "lmtp"
    )
    writer.close()
    await writer.wait_closed()


async def test_lmtp_has_its_own_greeting(server: reception.Server) -> None:
    assert (await doors.talk(server.lmtp_port, "EHLO x"))[1].startswith("500 5.5.1")
    assert (await doors.talk(server.smtp_port, "LHLO x"))[1].startswith("500 5.5.2")


async def test_smtp_prefers_trying_again_to_losing_a_recipient(server: reception.Server, hub: doors.Hub) -> None:
    answers = {
        "a@hub.example": "250 2.0.0 Reçu",
        "b@hub.example": "451 4.3.0 Plus tard",
        "c@hub.example": "550 5.1.1 Non",
    }
    hub.answer = lambda recipient: answers[recipient]
    assert (await doors.submit(server.smtp_port, doors.MAIL, *answers))[0] == 451
    assert hub.refusals == []


async def test_a_refusal_hidden_behind_an_acceptance_is_told_to_the_hub(
    server: reception.Server, hub: doors.Hub
) -> None:
    hub.answer = lambda recipient: "550 5.1.1 Non" if recipient.startswith("c") else "250 2.0.0 Reçu"
    assert (await doors.submit(server.smtp_port, doors.MAIL, "a@hub.example", "c@hub.example"))[0] == 250
    assert [(envelope.recipients, status) for envelope, status, _ in hub.refusals] == [
        (("c@hub.example",), "550 5.1.1 Non")
    ]


async def test_a_refusal_of_ours_reaches_the_sender_in_its_words(server: reception.Server, hub: doors.Hub) -> None:
    async def refuse() -> None:
        raise errors.UnsupportedMedia("Le fichier « macro.docm » n’est pas accepté.\r\n250 OK")

    hub.before = refuse
    code, text = await doors.submit(server.smtp_port)
    assert code == 554
    assert text == '5.6.1 Le fichier "macro.docm" n\'est pas accepte. 250 OK'


async def test_accents_are_kept_for_a_peer_that_asked_for_them(server: reception.Server) -> None:
    answers = await doors.talk(
        server.smtp_port,
        "EHLO x",
        "MAIL FROM:<rené@demo.mssante.fr> SMTPUTF8",
        "RCPT TO:<conv@hub.example>",
        "DATA",
        doors.MAIL + b".",
    )
    assert answers[-1] == "250 2.0.0 Reçu"


async def test_an_unexpected_error_asks_the_sender_to_come_back(server: reception.Server, hub: doors.Hub) -> None:
    async def break_down() -> None:
        raise RuntimeError("a bug with patient data in its text")

    hub.before = break_down
    code, text = await doors.submit(server.smtp_port)
    assert code == 451
    assert "patient" not in text
    hub.before = None
    assert (await doors.submit(server.smtp_port))[0] == 250


@pytest.mark.parametrize("answer", ["", "OK", "250 sans code étendu", "999 9.9.9 non"])
async def test_an_answer_that_is_no_status_is_never_an_acceptance(
    server: reception.Server, hub: doors.Hub, answer: str
) -> None:
    hub.answer = lambda recipient: answer
    assert (await doors.submit(server.smtp_port))[0] == 451


async def test_a_peer_that_hangs_up_does_not_undo_the_work(server: reception.Server, hub: doors.Hub) -> None:
    go = asyncio.Event()
    hub.before = go.wait
    _, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    writer.write(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\n" + doors.MAIL + b".\r\n")
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    await asyncio.sleep(0.2)
    assert hub.mails == []
    go.set()
    await asyncio.sleep(0.2)
    assert len(hub.mails) == 1


async def test_a_mail_cut_in_the_middle_is_not_given_to_the_hub(server: reception.Server, hub: doors.Hub) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    writer.write(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\n" + doors.MAIL)
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
async def test_only_our_own_mailboxes_are_taken(hub: doors.Hub, recipient: str, status: str) -> None:
    settings = replace(doors.SETTINGS, mailboxes=("conv@hub.example",), lmtp_port=None)
    server = await reception.serve(settings, hub.on_mail, hub.on_refused)
    assert server.lmtp_port is None
    answers = await doors.talk(server.smtp_port, "EHLO x", "MAIL FROM:<a@b.fr>", f"RCPT TO:<{recipient}>")
    await server.close()
    assert answers[-1].startswith(status) or (status == "501 5.5.4" and answers[-1].startswith(("501", "553")))


async def test_closing_lets_a_mail_in_progress_have_its_answer(hub: doors.Hub) -> None:
    server = await reception.serve(doors.SETTINGS, hub.on_mail, hub.on_refused)
    hub.before = lambda: asyncio.sleep(0.5)
    sending = asyncio.create_task(doors.submit(server.smtp_port))
    await asyncio.sleep(0.2)
    await server.close()
    assert (await sending)[0] == 250
    assert len(hub.mails) == 1


async def test_tls_is_offered_and_nothing_said_before_it_counts(hub: doors.Hub, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("reception"))
    server = await reception.serve(replace(doors.SETTINGS, tls=context, require_tls=True), hub.on_mail, hub.on_refused)
    assert (await doors.talk(server.smtp_port, "EHLO x", "MAIL FROM:<a@b.fr>"))[-1].startswith("530 5.7.0")
    trusted = ssl.create_default_context(cafile=str(authority.certificate))
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.smtp_port, start_tls=True, tls_context=trusted)
    async with client:
        _, text = await client.sendmail("a@b.fr", ["conv@hub.example"], doors.MAIL)
    assert text == "2.0.0 Recu"
    assert len(hub.mails) == 1
    await server.close()


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
async def test_a_real_mail_tool_can_write_to_us(server: reception.Server, hub: doors.Hub) -> None:
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
async def test_a_real_lmtp_tool_can_write_to_us(server: reception.Server, hub: doors.Hub) -> None:
    command = ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(server.lmtp_port)]
    command += ["--to", "conv@hub.example", "--from", "paul@demo.mssante.fr", "--helo", "client.example"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out.decode()
    assert hub.mails[0][1].protocol == "lmtp"


def test_everything_works_on_the_loop_of_the_production_server(authority: Authority) -> None:
    uvloop = pytest.importorskip("uvloop")
    hub = doors.Hub()

    async def journey() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("uvloop"))
        server = await reception.serve(
            replace(doors.SETTINGS, tls=context, max_connections=1), hub.on_mail, hub.on_refused
        )
        trusted = ssl.create_default_context(cafile=str(authority.certificate))
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.smtp_port, start_tls=True, tls_context=trusted)
        async with client:
            await client.sendmail("a@b.fr", ["conv@hub.example"], doors.MAIL)
            assert (await doors.talk(server.smtp_port))[0].startswith("421")
        await asyncio.sleep(0.1)
        assert (await doors.submit(server.smtp_port))[0] == 250
        await server.close()

    uvloop.run(journey())
    assert len(hub.mails) == 2
