"""Which conversation does an answer join, whatever program wrote it? (MSS-02, MSS-03, MSS-04, MSS-09)"""

from __future__ import annotations

import email
import re
from dataclasses import replace
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from hub import conversations, reply_tokens
from hub.flows import mail_in
from hub.room import Room
from mapping import systems
from tests.hub import mailing
from tests.hub.mailing import DOCTOR
from tests.mss import mails

Resource = dict[str, Any]
CLIENTS = sorted(one.stem for one in mails.CLIENTS.glob("*.eml"))
TAG = re.compile(r"\[#[0-9A-Z]+\]")


def answered(name: str, task: Resource, header: Resource, *, to: str, keep: tuple[str, ...]) -> bytes:
    """The answer that this program writes to a mail of ours; `keep`: which traces of the thread it leaves."""
    mail = email.message_from_bytes((mails.CLIENTS / f"{name}.eml").read_bytes(), policy=SMTP)
    had_ids = "In-Reply-To" in mail or "References" in mail
    for field in ("To", "Reply-To", "In-Reply-To", "References", "Cc"):
        del mail[field]
    mail["To"] = to
    if had_ids and "headers" in keep:
        mail["In-Reply-To"] = f"<{mailing.message_id(task)}>"
    subject = TAG.sub("", str(mail["Subject"])).strip()
    del mail["Subject"]
    mail["Subject"] = f"{subject} [#{conversations.number(header)}]" if "tag" in keep else subject or "Bonjour"
    return mail.as_bytes()


def said(name: str) -> str:
    return (mails.CLIENTS / f"{name}.reply.txt").read_text("utf-8").rstrip("\n")


async def question(hub: Room) -> tuple[str, Resource, Resource]:
    header, task = await mailing.asked(hub)
    return header, task, await hub.read(header)


@pytest.mark.parametrize("name", CLIENTS)
async def test_by_the_reply_address_though_every_header_is_lost(hub: Room, name: str) -> None:
    header, task, held = await question(hub)
    to = await mailing.reply_address(hub, header)
    raw = answered(name, task, held, to=to, keep=())
    assert (await mailing.come(hub, raw, to=to, mail_from=DOCTOR)).startswith("250")
    assert (await mailing.texts(hub, header))[-1] == said(name)


@pytest.mark.parametrize("name", [one for one in CLIENTS if one != "sans-en-tetes"])
async def test_by_the_ids_where_the_reply_address_is_the_plain_mailbox(hub: Room, name: str) -> None:
    plain = replace(hub, settings=replace(hub.settings, mail_sub_addresses=False))
    header, task, held = await question(plain)
    other, *_ = await question(plain)
    raw = answered(name, task, held, to=mailing.MAILBOX, keep=("headers",))
    assert mailing.message_id(task).encode() in raw
    assert (await mailing.come(plain, raw, to=mailing.MAILBOX, mail_from=DOCTOR)).startswith("250")
    assert (await mailing.texts(hub, header))[-1] == said(name)
    assert len(await mailing.texts(hub, other)) == 1


@pytest.mark.parametrize("name", CLIENTS)
async def test_by_the_tag_in_the_subject_when_nothing_else_is_left(hub: Room, name: str) -> None:
    header, task, held = await question(hub)
    raw = answered(name, task, held, to=mailing.MAILBOX, keep=("tag",))
    assert (await mailing.come(hub, raw, to=mailing.MAILBOX, mail_from=DOCTOR)).startswith("250")
    assert (await mailing.texts(hub, header))[-1] == said(name)


@pytest.mark.parametrize("name", CLIENTS)
async def test_what_says_nothing_waits_for_a_person_and_nobody_sees_it(hub: Room, name: str) -> None:
    header, task, held = await question(hub)
    raw = answered(name, task, held, to=mailing.MAILBOX, keep=())
    assert (await mailing.come(hub, raw, to=mailing.MAILBOX, mail_from=DOCTOR)).startswith("250")
    assert len(await mailing.texts(hub, header)) == 1
    (entry,) = await hub.store.journal_list(10, mail_in.HELD)
    assert entry.cause.startswith("à rattacher : aucune conversation")
    await mail_in.attach(entry.id, f"#{conversations.number(held)}", hub)
    assert (await mailing.texts(hub, header))[-1] == said(name)
    assert await hub.store.journal_list(10, mail_in.HELD) == []


def an_answer(text: str, *, sender: str = DOCTOR, number: int = 1) -> bytes:
    return (
        f"From: {sender}\r\nSubject: Re\r\nMessage-ID: <{number}.{abs(hash(text))}@demo.mssante.fr>\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    ).encode()


async def test_two_answers_to_the_same_address_both_land(hub: Room) -> None:
    header, *_ = await question(hub)
    to = await mailing.reply_address(hub, header)
    for text in ("Oui.", "Et la température ?"):
        assert (await mailing.come(hub, an_answer(text), to=to, mail_from=DOCTOR)).startswith("250")
    assert (await mailing.texts(hub, header))[1:] == ["Oui.", "Et la température ?"]


async def test_a_revoked_address_is_refused_with_the_reason_and_the_next_mail_has_another(hub: Room) -> None:
    header, _, held = await question(hub)
    old = await mailing.reply_address(hub, header)
    fresh = await reply_tokens.revoke(held, "PractitionerRole/lefebvre", hub)
    refused = await mailing.come(hub, an_answer("Oui."), to=old, mail_from=DOCTOR)
    assert refused.startswith("550 5.7.1 adresse de réponse révoquée")
    await mailing.say(hub, header, "Alors ?")
    server = await mailing.sent(hub)
    assert f"conv+{fresh}@hub.demo.mssante.fr".encode() in server.mails[-1]
    new = f"conv+{fresh}@hub.demo.mssante.fr"
    assert (await mailing.come(hub, an_answer("Oui."), to=new, mail_from=DOCTOR)).startswith("250")
    assert (await mailing.texts(hub, header))[-1] == "Oui."


async def test_a_mailbox_of_the_directory_that_is_no_member_waits_and_a_stranger_is_refused(hub: Room) -> None:
    header, _, held = await question(hub)
    to = await mailing.reply_address(hub, header)
    colleague = "cabinet.demonstration@demo.mssante.fr"
    answer = await mailing.come(hub, an_answer("Bonjour", sender=colleague), to=to, mail_from=colleague)
    assert answer.startswith("250")
    (entry,) = await hub.store.journal_list(10, mail_in.HELD)
    with pytest.raises(mail_in.errors.Forbidden, match="n'est pas membre"):
        await mail_in.attach(entry.id, conversations.number(held), hub)
    await mail_in.drop(entry.id, "envoyé par erreur", hub)
    stranger = "inconnu@demo.mssante.fr"
    answer = await mailing.come(hub, an_answer("Bonjour", sender=stranger), to=to, mail_from=stranger)
    assert answer.startswith("550 5.7.1")
    assert len(await mailing.texts(hub, header)) == 1


async def test_two_machines_that_answer_each_other_stop(hub: Room) -> None:
    """Both say that they are machines: nothing is posted, so nothing is sent on."""
    header = await mailing.conversation(hub, "lefebvre", "lgc")
    await mailing.say(hub, header, "Bonjour")
    await mailing.sent(hub)
    for sender in (DOCTOR, "cabinet.demonstration@demo.mssante.fr"):
        owner = "lefebvre" if sender == DOCTOR else "lgc"
        raw = b"Auto-Submitted: auto-replied\r\n" + an_answer("Je suis absent.", sender=sender)
        to = await mailing.reply_address(hub, header, owner)
        assert (await mailing.come(hub, raw, to=to, mail_from=sender)).startswith("250")
    assert await mailing.texts(hub, header) == ["Bonjour"]
    assert await hub.find("Task", based_on=header, code=f"{systems.TASK}|deliver", status="requested") == []


async def test_a_machine_that_does_not_say_so_is_stopped_at_its_third_time(hub: Room) -> None:
    header, *_ = await question(hub)
    to = await mailing.reply_address(hub, header)
    said = [await mailing.come(hub, an_answer("Absent, merci.", number=n), to=to, mail_from=DOCTOR) for n in range(4)]
    assert [one[:3] for one in said] == ["250", "250", "550", "550"]
    assert (await mailing.come(hub, an_answer("Je suis de retour."), to=to, mail_from=DOCTOR)).startswith("250")


async def test_more_mails_than_a_person_types_wait_at_their_server(hub: Room) -> None:
    hub = replace(hub, settings=replace(hub.settings, mail_pace=2))
    header, *_ = await question(hub)
    to = await mailing.reply_address(hub, header)
    said = [await mailing.come(hub, an_answer(f"Mesure {n}"), to=to, mail_from=DOCTOR) for n in range(3)]
    assert [one[:3] for one in said] == ["250", "250", "451"]


def test_there_are_twelve_clients_here() -> None:
    assert len(CLIENTS) == 12
    assert Path(mails.CLIENTS).is_dir()
