"""The simulated operator behaves as a real one: mail is kept before it is acknowledged, and leaves exactly once."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.simulators.mail_operator import app
from mss import compose, letter, send
from tests.conformance.posting import DOCTOR, OUTGOING, PDF, REPLY_TO, Hub, Post, eventually, started, stopped
from tests.running import Operator, free_port


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    opened = Hub()
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> app.Settings:
    return app.Settings(
        data=tmp_path,
        smtp_port=0,
        http_port=0,
        deliver_to=("127.0.0.1", hub.port),
        mailboxes={DOCTOR: "Dr Paul Lefebvre"},
    )


@pytest.fixture
async def post(settings: app.Settings) -> AsyncIterator[Post]:
    opened = await started(settings)
    yield opened
    await stopped(opened)


async def test_a_mail_of_the_hub_is_in_the_doctors_mailbox_as_it_was_sent(post: Post) -> None:
    assert (await post.give()).accepted
    (mail,) = await post.mails()
    assert (mail["subject"], mail["seen"], mail["attachment_count"]) == ("Plaie du talon [#K7F2Q]", False, 1)
    read = await post.read(mail["id"])
    assert read["reply_to"] == f"Spico Hub <{REPLY_TO}>"
    assert "Température ?" in read["text"]
    assert base64.b64decode(read["attachments"][0]["base64"]) == PDF.data
    assert read["attachments"][0]["filename"] == PDF.filename
    raw = await post.http.get(f"/api/mailboxes/{DOCTOR}/messages/{mail['id']}/raw")
    assert raw.content == compose.mail(OUTGOING)
    assert (await post.mails())[0]["seen"]


async def test_the_same_mail_twice_is_there_once(post: Post) -> None:
    await post.give()
    await post.give()
    assert len(await post.mails()) == 1
    await post.give(replace(OUTGOING, delivery="autre"))
    assert len(await post.mails()) == 2


async def test_a_greylist_takes_the_second_try(post: Post) -> None:
    await post.switch("greylist")
    first, second = await post.give(), await post.give()
    assert (first.code, first.permanent) == (451, False)
    assert second.accepted
    assert len(await post.mails()) == 1


@pytest.mark.parametrize(("mode", "status"), [("bounce", b"Status: 5.1.1"), ("full", b"Status: 5.2.2")])
async def test_a_bounce_comes_after_the_mail_was_taken(post: Post, hub: Hub, mode: str, status: bytes) -> None:
    await post.switch(mode)
    assert (await post.give()).accepted
    assert await post.mails() == []
    await eventually(lambda: hub.mails)
    (report,) = [one for one in post.running.operator.kept.queue() if one.recipient == "conv@hub.example"]
    assert report.sender == "", "a report has no sender (RFC 3464 2)"
    assert status in report.raw
    assert f"Final-Recipient: rfc822; {DOCTOR}".encode() in report.raw


async def test_answers_may_come_twice(post: Post, hub: Hub) -> None:
    await post.give()
    await post.switch("duplicate")
    await post.reply("Oui")
    await eventually(lambda: len(hub.mails) == 2)
    assert hub.mails[0].message_id == hub.mails[1].message_id
    assert hub.mails[0].in_reply_to, "nothing else is spoilt"


async def test_answers_may_come_the_last_first(post: Post, hub: Hub) -> None:
    await post.give()
    await post.switch("reorder", 1.0)
    await post.reply("un")
    await post.reply("deux")
    await eventually(lambda: len(hub.mails) == 2)
    assert [one.reply for one in hub.mails] == ["deux", "un"]


@pytest.mark.parametrize(
    ("mode", "code", "permanent"), [("down", 421, False), ("refuse", 550, True), ("tempfail", 451, False)]
)
async def test_each_fault_is_an_outcome_of_the_hub(post: Post, mode: str, code: int, permanent: bool) -> None:
    await post.switch(mode)
    outcome = await post.give()
    assert (outcome.accepted, outcome.code, outcome.permanent) == (False, code, permanent)
    assert await post.mails() == []
    await post.switch("normal")
    assert (await post.give()).accepted


async def test_a_slow_operator_answers_late(post: Post) -> None:
    await post.switch("slow", 0.4)
    begin = asyncio.get_running_loop().time()
    assert (await post.give()).accepted
    assert asyncio.get_running_loop().time() - begin >= 0.4


async def test_a_mailbox_elsewhere_is_not_served(post: Post) -> None:
    outcome = await post.give(replace(OUTGOING, recipient="x@ailleurs.example"))
    assert (outcome.permanent, outcome.code) == (True, 550)


@pytest.mark.parametrize("style", ["outlook", "thunderbird", "bare"])
async def test_a_reply_in_each_style_reaches_the_hub_as_its_author_wrote_it(post: Post, hub: Hub, style: str) -> None:
    await post.give()
    text = (
        "38,4 ce matin : je passe demain, après les visites du secteur nord, vers 18 h si la route est dégagée.\nMerci."
    )
    piece = {"filename": "Ordonnance n° 3.pdf", "media_type": "application/pdf"}
    piece["base64"] = base64.b64encode(b"%PDF-1.4 ordonnance").decode()
    await post.reply(text, style=style, attachments=[piece])
    (mail,) = await eventually(lambda: hub.mails)
    assert mail.reply == text
    assert hub.recipients == [REPLY_TO]
    assert mail.in_reply_to == ("0jx4zsw3v2k8c@hub.example",)
    assert mail.tag == "K7F2Q"
    assert [(one.filename, one.data) for one in mail.attachments] == [("Ordonnance n° 3.pdf", b"%PDF-1.4 ordonnance")]
    assert ("Répondez au-dessus" in mail.text) == (style != "bare")


async def test_a_signature_is_kept_apart_as_thunderbird_marks_it(post: Post, hub: Hub) -> None:
    await post.give()
    await post.reply("Vu.", style="thunderbird", signature="Dr Paul Lefebvre\nCabinet des Tilleuls")
    (mail,) = await eventually(lambda: hub.mails)
    assert (mail.reply, mail.cut.signature) == ("Vu.", "-- \nDr Paul Lefebvre\nCabinet des Tilleuls")


async def test_a_reply_waits_while_the_hub_is_closed_and_arrives_once(post: Post, hub: Hub) -> None:
    await post.give()
    await hub.close()
    sent = await post.reply("Je rappelle demain.", style="bare")
    await eventually(lambda: _attempts(post))
    assert [one["state"] for one in (await post.read(sent))["sending"]] == ["waiting"]
    await hub.open()
    await eventually(lambda: hub.mails)
    await asyncio.sleep(0.5)
    assert [mail.reply for mail in hub.mails] == ["Je rappelle demain."]
    assert [one["state"] for one in (await post.read(sent))["sending"]] == ["delivered"]


async def _attempts(post: Post) -> bool:
    return bool((await post.http.get("/api/queue")).json()[0]["attempts"])


async def test_a_temporary_refusal_is_tried_again(post: Post, hub: Hub) -> None:
    await post.give()
    hub.answer = "451 4.3.0 Plus tard"
    await post.reply("Bonjour", style="bare")
    await eventually(lambda: _attempts(post))
    hub.answer = "250 2.0.0 Reçu"
    await eventually(lambda: hub.mails)


async def test_a_final_refusal_comes_back_to_the_doctor_in_the_hubs_words(post: Post, hub: Hub) -> None:
    await post.give()
    hub.answer = "554 5.6.1 Le fichier « macro.docm » n’est pas accepté (document avec macros)"
    await post.reply("Voici.", style="bare")

    async def notice() -> dict[str, Any] | None:
        return next((mail for mail in await post.mails() if mail["subject"] == "Courriel non remis"), None)

    read = await post.read((await eventually(notice))["id"])
    assert "document avec macros" in read["text"]
    raw = await post.http.get(f"/api/mailboxes/{DOCTOR}/messages/{read['id']}/raw")
    assert letter.read(raw.content).report == "delivery"


async def test_a_broken_operator_delivers_twice_and_loses_the_thread(post: Post, hub: Hub) -> None:
    await post.switch("wrong")
    await post.give()
    assert len(await post.mails()) == 2
    await post.reply("Bonjour, RAS.", style="bare")
    await eventually(lambda: len(hub.mails) == 2)
    first, second = hub.mails
    assert first.message_id == second.message_id
    assert (first.in_reply_to, first.references, first.tag) == ((), (), None)


async def test_two_mailboxes_of_the_operator_write_to_each_other(post: Post) -> None:
    body = {"to": "Anne <anne@demo.mssante.fr>", "subject": "Avis", "text": "Bonjour Anne"}
    answer = await post.http.post(f"/api/mailboxes/{DOCTOR}/messages", json=body)
    assert answer.status_code == 201
    (mail,) = await eventually(lambda: post.mails("anne@demo.mssante.fr"))
    assert (await post.read(mail["id"], "anne@demo.mssante.fr"))["text"].strip() == "Bonjour Anne"


async def test_an_operator_that_promises_delivery_reports_sends_them(settings: app.Settings, hub: Hub) -> None:
    post = await started(replace(settings, dsn=True))
    assert (await post.give()).dsn
    (report,) = await eventually(lambda: hub.mails)
    assert report.report == "delivery"
    status = next(one for one in report.attachments if one.media_type == "message/delivery-status")
    assert b"Action: delivered" in status.data
    assert b"Original-Envelope-Id: envoi-1" in status.data
    await stopped(post)


async def test_a_strict_operator_knows_only_its_mailboxes(settings: app.Settings) -> None:
    post = await started(replace(settings, strict=True))
    assert (await post.give(replace(OUTGOING, recipient="inconnu@demo.mssante.fr"))).code == 550
    assert (await post.give()).accepted
    await stopped(post)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/api/switches", {"mode": "inconnu"}, 400),
        ("/api/mailboxes/nul@demo.mssante.fr/messages", {"to": "a@b.fr"}, 404),
        (f"/api/mailboxes/{DOCTOR}/reply", {"id": 99, "text": "x"}, 404),
        (f"/api/mailboxes/{DOCTOR}/messages", ["pas un objet"], 400),
        (f"/api/mailboxes/{DOCTOR}/messages", {"to": "a@b.fr", "style": "lotus"}, 400),
        (f"/api/mailboxes/{DOCTOR}/messages", {"to": "a@b.fr", "attachments": [{"filename": "x", "base64": "?"}]}, 400),
    ],
)
async def test_wrong_requests_are_refused(post: Post, path: str, body: object, code: int) -> None:
    assert (await post.http.post(path, json=body)).status_code == code


async def test_a_person_reads_and_answers_on_the_web_pages(post: Post, hub: Hub) -> None:
    await post.give(replace(OUTGOING, subject="<script>alert(1)</script>"))
    pages = post.http
    home = (await pages.get("/")).text
    assert "Données fictives" in home
    assert "1 non lu" in home
    box = (await pages.get(f"/boites/{DOCTOR}")).text
    assert "Nadia Roux, infirmière" in box
    assert "<script>alert" not in box
    id = (await post.mails())[0]["id"]
    mail = await pages.get(f"/boites/{DOCTOR}/{id}")
    assert "Température ?" in mail.text
    assert "default-src 'self'" in mail.headers["content-security-policy"]
    piece = await pages.get(f"/boites/{DOCTOR}/{id}/piece/0")
    assert (piece.content, piece.headers["content-type"]) == (PDF.data, "application/pdf")
    assert piece.headers["content-disposition"].startswith("attachment")
    html = await pages.get(f"/boites/{DOCTOR}/{id}/html")
    assert html.headers["content-security-policy"].startswith("sandbox;")
    form = await pages.get(f"/boites/{DOCTOR}/{id}/repondre")
    assert REPLY_TO in form.text
    words = {
        "to": REPLY_TO,
        "subject": "RE: x",
        "text": "Vu,\r\nmerci.",
        "signature": "Dr Lefebvre",
        "style": "thunderbird",
    }
    sent = await pages.post(
        f"/boites/{DOCTOR}/{id}/repondre", data=words, files=[("pieces", ("photo.jpg", b"\xff\xd8x", "image/jpeg"))]
    )
    assert sent.status_code == 303
    (received,) = await eventually(lambda: hub.mails)
    assert received.reply == "Vu,\nmerci."
    assert [one.filename for one in received.attachments] == ["photo.jpg"]
    await eventually(lambda: _shows(pages, f"/boites/{DOCTOR}?dossier=envoyes", "remis"))
    assert "File d’envoi" in (await pages.get("/service")).text
    assert (await pages.post("/service", data={"mode": "down", "seconds": "2"})).status_code == 303
    assert "Service dégradé" in (await pages.get("/")).text


async def _shows(http: httpx.AsyncClient, path: str, words: str) -> bool:
    return words in (await http.get(path)).text


@pytest.mark.parametrize(
    "path", ["/boites/nul@demo.mssante.fr", f"/boites/{DOCTOR}/77", f"/boites/{DOCTOR}/77/piece/0"]
)
async def test_pages_that_do_not_exist_say_so(post: Post, path: str) -> None:
    assert (await post.http.get(path)).status_code == 404


async def test_mails_and_the_queue_survive_a_power_cut(tmp_path: Path) -> None:
    hub = Hub(port=free_port())
    process = Operator(tmp_path, smtp_port=0, hub_smtp=hub.port)
    outcome = await send.send(
        send.Smtp(port=process.ports["smtp"]),
        compose.mail(OUTGOING),
        sender="conv@hub.example",
        recipient=DOCTOR,
        envid="1",
    )
    assert outcome.accepted
    id = process.mails(DOCTOR)[0]["id"]
    process.reply(DOCTOR, id, "Écrit avant la coupure.", style="bare")
    process.kill()
    process.start()
    process.http.base_url = httpx.URL(f"http://127.0.0.1:{process.ports['http']}")
    assert len(process.mails(DOCTOR)) == 1
    await hub.open()
    (mail,) = await eventually(lambda: hub.mails, seconds=20)
    assert mail.reply == "Écrit avant la coupure."
    await hub.close()
    assert process.stop() == 0
