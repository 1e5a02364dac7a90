"""The wire: sizes, lines, time limits, connections, and bytes that stay as they were."""

from __future__ import annotations

import asyncio
import smtplib
from dataclasses import replace

from mss import reception
from tests.mss import doors


async def test_the_extensions_are_announced(server: reception.Server) -> None:
    lines = (await doors.talk(server.smtp_port, "EHLO x"))[1].split("\r\n")
    assert {line[4:] for line in lines[1:]} == {
        "SIZE 200000", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"
    }  # fmt: skip
    assert "PIPELINING" in (await doors.talk(server.lmtp_port, "LHLO x"))[1]


async def test_thirty_megabytes_are_refused_when_announced(hub: doors.Hub) -> None:
    server = await reception.serve(replace(doors.SETTINGS, max_bytes=25 * 2**20), hub.on_mail, hub.on_refused)
    assert (await doors.submit(server.smtp_port))[0] == 250
    answers = await doors.talk(
        server.smtp_port,
        "EHLO x",
        f"MAIL FROM:<a@b.fr> SIZE={30 * 2**20} BODY=8BITMIME",
        "RCPT TO:<conv+abc@hub.example>",
    )
    assert answers[-1] == "552 5.3.4 Courriel trop volumineux : 25 Mo au plus"
    envelope, status, head = hub.refusals[0]
    assert (envelope.recipients, status[:9], head) == (("conv+abc@hub.example",), "552 5.3.4", b"")
    await server.close()


async def test_thirty_megabytes_are_refused_when_they_come_unannounced(hub: doors.Hub) -> None:
    server = await reception.serve(replace(doors.SETTINGS, max_bytes=25 * 2**20), hub.on_mail, hub.on_refused)
    body = doors.MAIL + (b"x" * 76 + b"\r\n") * (30 * 2**20 // 78)

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
    assert head.startswith(doors.MAIL)
    assert hub.mails == []
    await server.close()


async def test_a_line_without_end_is_refused_and_the_next_mail_is_taken(
    server: reception.Server, hub: doors.Hub
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    start = b"MAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\n"
    writer.write(b"EHLO x\r\n" + start + b"x" * 100_000 + b"\r\n.\r\n" + start + doors.MAIL + b".\r\n")
    answers = [await doors.answer_of(reader) for _ in range(10)]
    assert answers[5].startswith("554 5.6.0 Ligne")
    assert answers[9] == "250 2.0.0 Recu"
    assert (len(hub.mails), len(hub.refusals)) == (1, 1)
    writer.close()
    await writer.wait_closed()


async def test_long_lines_that_real_programs_send_are_taken(server: reception.Server, hub: doors.Hub) -> None:
    assert (await doors.submit(server.smtp_port, doors.MAIL + b"y" * 5000 + b"\r\n"))[0] == 250
    assert b"y" * 5000 in hub.mails[0][0]


async def test_no_second_mail_can_be_smuggled_in_a_first_one(server: reception.Server, hub: doors.Hub) -> None:
    evil = b"MAIL FROM:<chef@hub.example>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\nfaux\r\n"
    for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
        writer.write(
            b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\nA: b" + end + evil + b".\r\n"
        )
        for _ in range(6):
            await doors.answer_of(reader)
        writer.close()
        await writer.wait_closed()
    assert len(hub.mails) == 5
    assert {envelope.mail_from for _, envelope in hub.mails} == {"a@b.fr"}


async def test_leading_dots_come_back_as_they_were(server: reception.Server, hub: doors.Hub) -> None:
    body = doors.MAIL + b".\r\n..\r\n.a\r\n"
    assert (await doors.submit(server.smtp_port, body))[0] == 250
    assert hub.mails[0][0] == body


async def test_a_mail_that_turns_in_circles_is_stopped(server: reception.Server, hub: doors.Hub) -> None:
    assert await doors.submit(server.smtp_port, b"Received: from x\r\n" * 101 + doors.MAIL) == (
        554,
        "5.4.6 Ce courriel tourne en rond",
    )
    assert len(hub.refusals) == 1
    assert (await doors.submit(server.smtp_port, b"Received: from x\r\n" * 20 + doors.MAIL))[0] == 250


async def test_an_eight_bit_mail_is_kept_byte_for_byte(server: reception.Server, hub: doors.Hub) -> None:
    body = doors.MAIL + "été".encode() + b"\xe9\xff\x00\r\n"
    assert (await doors.submit(server.smtp_port, body))[0] == 250
    assert hub.mails[0][0] == body


async def test_too_many_recipients_are_told_to_come_back(hub: doors.Hub) -> None:
    server = await reception.serve(replace(doors.SETTINGS, max_recipients=2), hub.on_mail, hub.on_refused)
    rcpts = [f"RCPT TO:<conv+{n}@hub.example>" for n in range(3)]
    assert (await doors.talk(server.smtp_port, "EHLO x", "MAIL FROM:<a@b.fr>", *rcpts))[-1].startswith("452 4.5.3")
    await server.close()


async def test_too_many_connections_are_turned_away_and_room_is_made_again(hub: doors.Hub) -> None:
    server = await reception.serve(replace(doors.SETTINGS, max_connections=2), hub.on_mail, hub.on_refused)
    pairs = [await asyncio.open_connection("127.0.0.1", server.smtp_port) for _ in range(3)]
    greetings = [await doors.answer_of(reader) for reader, _ in pairs]
    assert [greeting[:3] for greeting in greetings] == ["220", "220", "421"]
    for _, writer in pairs:
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.1)
    assert (await doors.submit(server.smtp_port))[0] == 250
    await server.close()


async def test_a_silent_peer_is_sent_away(hub: doors.Hub) -> None:
    server = await reception.serve(replace(doors.SETTINGS, timeout=0.3), hub.on_mail, hub.on_refused)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    await doors.answer_of(reader)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_a_mail_that_never_ends_is_given_up(hub: doors.Hub) -> None:
    server = await reception.serve(replace(doors.SETTINGS, data_timeout=0.3), hub.on_mail, hub.on_refused)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.smtp_port)
    writer.write(b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<conv@hub.example>\r\nDATA\r\nSubject: x\r\n")
    answers = [await doors.answer_of(reader) for _ in range(6)]
    assert answers[-1].startswith("421 4.4.2")
    assert hub.mails == []
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_work_longer_than_the_time_out_is_still_acknowledged(hub: doors.Hub) -> None:
    server = await reception.serve(replace(doors.SETTINGS, timeout=0.3), hub.on_mail, hub.on_refused)
    hub.before = lambda: asyncio.sleep(0.8)
    assert (await doors.submit(server.smtp_port))[0] == 250
    await server.close()


async def test_nobody_signs_in_and_nobody_is_looked_up(server: reception.Server) -> None:
    answers = await doors.talk(
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
        assert (await doors.talk(server.smtp_port, noise))[1][:1] in ("5", "4")
    assert (await doors.submit(server.smtp_port))[0] == 250
