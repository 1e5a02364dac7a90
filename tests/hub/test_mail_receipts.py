"""A report about one of our mails changes the ledger, and never the conversation (MSS-08, MSS-09)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from hub import ledger
from hub.flows import deliver
from hub.room import Room
from tests.hub import mailing
from tests.hub.mailing import DOCTOR

Resource = dict[str, Any]


def a_dsn(task: Resource, action: str, status: str, *, said: str = "", to: str = DOCTOR, ids: bool = True) -> bytes:
    """A delivery report; without `ids` only its address tells what it is about."""
    named = f"Original-Envelope-Id: {task['id']}\r\n" if ids else ""
    more = f"Diagnostic-Code: smtp; {said}\r\n" if said else ""
    return (
        f"From: <mailer-daemon@demo.mssante.fr>\r\nSubject: Avis\r\nMessage-ID: <{action}{status}@demo.mssante.fr>\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\n\r\nAvis\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; demo.mssante.fr\r\n{named}\r\nFinal-Recipient: rfc822; {to}\r\nAction: {action}\r\n"
        f"Status: {status}\r\n{more}--b--\r\n"
    ).encode()


def an_mdn(task: Resource, disposition: str, *, subject: str = "Lu", more: str = "", to: str = DOCTOR) -> bytes:
    return (
        f"From: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{abs(hash(disposition + more))}@demo.mssante.fr>\r\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n"
        "--b\r\n\r\nLu\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\n"
        f"Final-Recipient: rfc822;{to}\r\nOriginal-Message-ID: <{mailing.message_id(task)}>\r\n"
        f"Disposition: automatic-action/MDN-sent-automatically; {disposition}\r\n{more}--b--\r\n"
    ).encode()


def a_notice(task: Resource) -> bytes:
    return (
        f"From: <{DOCTOR}>\r\nSubject: [KO =?utf-8?q?Int=C3=A9gration?= =?utf-8?q?_syst=C3=A8me?= !][902] Suivi\r\n"
        f"In-Reply-To: <{mailing.message_id(task)}>\r\nMessage-ID: <ko@demo.mssante.fr>\r\n\r\nPatient inconnu\r\n"
    ).encode()


def unfolded(mail: bytes) -> str:
    return re.sub(r"[ ]?\r\n ", " ", mail.decode())


async def state(hub: Room, task: Resource) -> tuple[str, str, str]:
    """Milestone, Task status, reason."""
    held = await hub.read(f"Task/{task['id']}")
    return ledger.code_of(held), held["status"], held.get("statusReason", {}).get("text", "")


async def test_the_mail_asks_for_reports_to_an_address_of_its_own(hub: Room) -> None:
    header = await mailing.conversation(hub, "lefebvre")
    await mailing.say(hub, header, "Bonjour")
    (task,) = await hub.find("Task", based_on=header, code="deliver", owner="PractitionerRole/lefebvre")
    server = await mailing.sent(hub)
    back = mailing.return_address(hub, task)
    assert f"MAIL FROM:<{back}> RET=HDRS ENVID={task['id']}" in server.heard
    assert f"RCPT TO:<{DOCTOR}> NOTIFY=SUCCESS,FAILURE,DELAY" in server.heard
    assert sum(f"Disposition-Notification-To: <{back}>" in unfolded(mail) for mail in server.mails) == 1
    assert len(back.partition("@")[0]) <= 64


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (("dsn", "delivered", "2.0.0"), ("remis", "completed", "")),
        (("dsn", "relayed", "2.0.0"), ("envoye", "completed", "")),
        (("dsn", "delayed", "4.4.1"), ("retarde", "completed", "")),
        (("dsn", "failed", "5.1.1"), ("echec", "failed", "adresse inconnue")),
        (("dsn", "failed", "5.2.2"), ("echec", "failed", "boîte pleine")),
        (("mdn", "displayed", ""), ("affiche", "completed", "")),
        (("mdn", "processed", ""), ("traite", "completed", "")),
        (("mdn", "processed/error", "Error: 902^inconnu"), ("echec", "failed", "refusé : patient inconnu (902)")),
        (("mdn", "processed/Error: 902^inconnu| E^Error", ""), ("echec", "failed", "refusé : patient inconnu (902)")),
        (("notice", "", ""), ("echec", "failed", "refusé : patient inconnu (902)")),
    ],
)
@pytest.mark.parametrize("own", [True, False], ids=["own address", "plain mailbox"])
async def test_each_report_reaches_the_right_line(
    hub: Room, report: tuple[str, str, str], expected: tuple[str, str, str], own: bool
) -> None:
    header, task = await mailing.asked(hub)
    _, other = await mailing.asked(hub)
    kind, word, more = report
    raw = {
        "dsn": lambda: a_dsn(task, word, more),
        "mdn": lambda: an_mdn(task, word, more=f"{more}\r\n" if more else ""),
        "notice": lambda: a_notice(task),
    }[kind]()
    to = mailing.return_address(hub, task) if own else mailing.MAILBOX
    assert await mailing.come(hub, raw, to=to) == "250 2.0.0 accepte"
    assert await state(hub, task) == expected
    assert await state(hub, other) == ("envoye", "completed", "")
    assert await mailing.texts(hub, header) == ["Faut-il changer le pansement ?"]


async def test_the_same_report_twice_changes_nothing(hub: Room) -> None:
    _, task = await mailing.asked(hub)
    raw, to = a_dsn(task, "delivered", "2.0.0"), mailing.return_address(hub, task)
    await mailing.come(hub, raw, to=to)
    before = await hub.read(f"Task/{task['id']}")
    await mailing.come(hub, raw, to=to)
    await mailing.come(hub, b"Received: by another route\r\n" + raw, to=to)
    assert await hub.read(f"Task/{task['id']}") == before
    assert "déjà connu" in (await hub.store.journal_list(1))[0].cause


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("delivered", "2.0.0"), ("delayed", "4.4.1"), "remis"),
        (("delayed", "4.4.1"), ("delivered", "2.0.0"), "remis"),
        (("delivered", "2.0.0"), ("failed", "5.2.2"), "echec"),
        (("failed", "5.2.2"), ("delivered", "2.0.0"), "remis"),
        (("failed", "5.2.2"), ("delayed", "4.4.1"), "echec"),
        (("failed", "5.2.2"), ("relayed", "2.0.0"), "echec"),
    ],
)
async def test_reports_in_any_order(hub: Room, first: tuple[str, str], second: tuple[str, str], expected: str) -> None:
    _, task = await mailing.asked(hub)
    for action, status in (first, second):
        await mailing.come(hub, a_dsn(task, action, status), to=mailing.return_address(hub, task))
    held = await hub.read(f"Task/{task['id']}")
    assert ledger.code_of(held) == expected
    assert held["output"][0]["type"]["text"] == "envoye"
    assert len(held["output"]) == 3  # every proof is kept


async def test_a_reading_corrects_an_earlier_failure_and_no_bounce_takes_it_back(hub: Room) -> None:
    _, task = await mailing.asked(hub)
    to = mailing.return_address(hub, task)
    await mailing.come(hub, a_dsn(task, "failed", "5.4.7"), to=to)
    await mailing.come(hub, an_mdn(task, "displayed"), to=to)
    assert await state(hub, task) == ("affiche", "completed", "")
    for status in ("5.1.1", "5.7.1"):
        await mailing.come(hub, a_dsn(task, "failed", status), to=to)
        assert await state(hub, task) == ("affiche", "completed", "")


async def test_a_refusal_by_the_recipients_software_counts_though_the_mail_was_shown(hub: Room) -> None:
    _, task = await mailing.asked(hub)
    to = mailing.return_address(hub, task)
    await mailing.come(hub, an_mdn(task, "displayed"), to=to)
    await mailing.come(hub, a_notice(task), to=to)
    assert await state(hub, task) == ("echec", "failed", "refusé : patient inconnu (902)")
    await mailing.come(hub, an_mdn(task, "processed"), to=to)
    assert await state(hub, task) == ("traite", "completed", "")


async def test_a_report_that_is_quicker_than_the_worker_is_not_overwritten(hub: Room) -> None:
    header = await mailing.conversation(hub, "lefebvre")
    await mailing.say(hub, header, "Bonjour")
    (task,) = await hub.find("Task", based_on=header, code="deliver", owner="PractitionerRole/lefebvre")
    await mailing.come(hub, a_dsn(task, "delivered", "2.0.0"), to=mailing.return_address(hub, task))
    assert (await state(hub, task))[0] == "remis"


@pytest.mark.parametrize(
    ("to", "reported", "expected"),
    [
        ("own", DOCTOR, "remis"),
        ("own", "integration@hopital.mssante.fr", "remis"),
        ("plain", "integration@hopital.mssante.fr", "envoye"),
        ("forged", DOCTOR, "remis"),
    ],
)
async def test_a_report_is_about_whom_we_wrote_to_unless_its_address_proves_it(
    hub: Room, to: str, reported: str, expected: str
) -> None:
    _, task = await mailing.asked(hub)
    own = mailing.return_address(hub, task)
    where = {"own": own, "plain": mailing.MAILBOX, "forged": own.replace("@", "x@")}[to]
    await mailing.come(hub, a_dsn(task, "delivered", "2.0.0", to=reported), to=where)
    assert (await state(hub, task))[0] == expected


async def test_a_forged_return_address_and_no_ids_lead_nowhere(hub: Room) -> None:
    _, task = await mailing.asked(hub)
    forged = mailing.return_address(hub, task).replace("@", "x@")
    assert (await mailing.come(hub, a_dsn(task, "failed", "5.1.1", ids=False), to=forged)).startswith("250")
    assert (await state(hub, task))[0] == "envoye"
    assert (await hub.store.journal_list(1))[0].cause == "delivery sans effet : aucun envoi de ce hub n'est nommé"


async def test_a_failure_is_shown_to_whoever_wrote(hub: Room) -> None:
    header, task = await mailing.asked(hub)

    async def entry() -> str:
        (found,) = await hub.find("Task", focus=header, owner="PractitionerRole/nadia", code="inbox")
        return str(found["businessStatus"]["coding"][0]["code"])

    assert await entry() == "read"
    await mailing.come(hub, a_dsn(task, "failed", "5.1.1"), to=mailing.return_address(hub, task))
    assert await entry() == "unread"


async def test_an_absence_is_told_and_not_posted(hub: Room) -> None:
    header, task = await mailing.asked(hub)
    raw = (
        f"From: <{DOCTOR}>\r\nSubject: =?utf-8?q?R=C3=A9ponse_automatique?= : Suivi\r\nMessage-ID: <abs@x.fr>\r\n"
        f"In-Reply-To: <{mailing.message_id(task)}>\r\n\r\nAbsent jusqu'au 5.\r\n"
    ).encode()
    assert (await mailing.come(hub, raw, to=await mailing.reply_address(hub, header), mail_from=DOCTOR))[:3] == "250"
    assert (await state(hub, task))[0] == "absent"
    assert len(await mailing.texts(hub, header)) == 1


async def test_messages_of_a_thread_leave_in_order_though_the_first_must_wait(hub: Room) -> None:
    header = await mailing.conversation(hub, "lefebvre")
    for text in ("un", "deux", "trois"):
        await mailing.say(hub, header, text)
        await asyncio.sleep(0.005)
    busy = await mailing.sent(hub, mailing.Server(RCPT="451 4.3.0 plus tard"))
    tried = sum(line.startswith("RCPT") and DOCTOR in line for line in busy.heard)
    assert tried == 2  # the first of these, and the mail of the region's own story
    tasks = await hub.find("Task", based_on=header, code="deliver", owner="PractitionerRole/lefebvre")
    assert {one["status"] for one in tasks} == {"requested"}
    heard: list[str] = []
    for _ in range(100):
        server = await mailing.sent(hub)
        heard += [line.partition("ENVID=")[2] for line in server.heard if "ENVID=" in line]
        if len(heard) >= 4:  # and the mail of the region's own story
            break
        await asyncio.sleep(0.1)
    order = sorted(tasks, key=lambda one: str(one["authoredOn"]))
    assert [id for id in heard if id in {one["id"] for one in tasks}] == [one["id"] for one in order]


async def test_a_burst_in_one_conversation_leaves_in_order_and_at_once(hub: Room) -> None:
    header = await mailing.conversation(hub, "lefebvre")
    for number in range(12):
        await mailing.say(hub, header, f"Mesure-{number}")
        await asyncio.sleep(0.002)
    server = mailing.Server()
    async with mailing.listening(server) as smtp:
        worker = asyncio.create_task(deliver.run(hub, smtp))
        async with asyncio.timeout(10):  # several leave at the same time, but for those of one conversation
            while len(server.mails) < 13:
                await asyncio.sleep(0.02)
        worker.cancel()
    came = [match[0] for mail in server.mails if (match := re.search(r"Mesure-\d+", mail.decode()))]
    assert came == [f"Mesure-{number}" for number in range(12)]


async def test_where_sub_addresses_are_refused_nothing_has_one(hub: Room) -> None:
    plain = replace(hub, settings=replace(hub.settings, mail_sub_addresses=False))
    header = await mailing.conversation(plain, "lefebvre")
    await mailing.say(plain, header, "Bonjour")
    server = await mailing.sent(plain)
    assert not any(b"conv+" in mail for mail in server.mails)
    assert all(f"Disposition-Notification-To: <{mailing.MAILBOX}>" in unfolded(mail) for mail in server.mails)
    assert any(line.startswith(f"MAIL FROM:<{mailing.MAILBOX}>") for line in server.heard)
