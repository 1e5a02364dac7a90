"""One conversation: header, messages, documents, receipts, and the marks a person sets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.web import fake_record
from tests.web.conftest import Browser, Story
from web import names


async def test_the_header_keeps_patient_and_members_in_view(nadia: Browser, story: Story) -> None:
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert '<strong>VIDAL Rose</strong>, née le 03/02/1935<span class="age"> (91 ans)</span>' in page
    assert "<strong>Dr Paul Lefebvre</strong><br>médecin généraliste" in page
    assert "reçoit les messages par MSSanté" in page
    assert "Nadia Roux (vous)" in page
    assert "Urgence vitale&nbsp;: appelez le" in page


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("", "requested", "en cours d&#39;envoi à Dr Paul Lefebvre par MSSanté"),
        ("envoye", "completed", "envoyé à Dr Paul Lefebvre par MSSanté, lecture inconnue"),
        ("remis", "completed", "remis à Dr Paul Lefebvre par MSSanté, lecture inconnue"),
        ("retarde", "completed", "pas encore remis à Dr Paul Lefebvre par MSSanté"),
        ("absent", "completed", "qui a répondu par un message d&#39;absence"),
        ("affiche", "completed", "affiché chez Dr Paul Lefebvre"),
        ("traite", "completed", "traité par Dr Paul Lefebvre"),
        ("acquitte", "completed", "acquitté par Dr Paul Lefebvre"),
        ("echec", "failed", "échec de l&#39;envoi à Dr Paul Lefebvre\u00a0: 550 boîte inconnue"),
    ],
)
async def test_a_receipt_says_what_is_known_and_no_more(
    nadia: Browser, story: Story, code: str, status: str, words: str
) -> None:
    message = story.record.message(story.header, story.nadia, "Suite")
    proof = "550 boîte inconnue" if code == "echec" else "250 ok"
    story.record.put(fake_record.delivery(message, story.paul, status, code, proof))
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert words in page
    assert "non lu par" not in page
    assert "250 ok" not in page


@pytest.mark.parametrize(("medium", "words"), [("mssante", "par MSSanté"), ("hospital", "de l&#39;hôpital")])
async def test_a_message_says_by_which_door_it_came(nadia: Browser, story: Story, medium: str, words: str) -> None:
    by = [names.concept(names.MEDIUM, medium)]
    story.record.message(story.header, story.paul, "Bonjour", medium=by)
    assert f"<span>{words}</span>" in (await nadia.get(f"/conversations/{story.id}")).text


async def test_a_withdrawn_message_stays_as_such_without_its_content(nadia: Browser, story: Story) -> None:
    part = fake_record.document(story.record, "Erreur.pdf", b"%PDF-")
    payload = [{"contentString": "erreur de patient"}, part]
    story.record.message(story.header, story.paul, payload=payload, status="entered-in-error")
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert "Message retiré" in page
    assert "erreur de patient" not in page
    assert "Erreur.pdf" not in page


async def test_text_with_markup_is_shown_as_written(nadia: Browser, story: Story) -> None:
    story.record.message(story.header, story.paul, '<script>alert(1)</script>\nhttps://x.example/"onload=alert(1)')
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\n" in page
    assert page.count("<script") == 1  # our own module
    assert 'href="https://x.example/"' in page


async def test_a_document_opens_with_the_rights_of_the_person(nadia: Browser, story: Story) -> None:
    part = fake_record.document(story.record, "Ordonnance du 3 mars.pdf", b"%PDF-1.4 essai")
    story.record.message(story.header, story.paul, payload=[part])
    page = (await nadia.get(f"/conversations/{story.id}")).text
    href = page.partition('class="paper" href="')[2].partition('"')[0]
    assert href.endswith("/ordonnance-du-3-mars.pdf")
    answer = await nadia.get(href)
    assert answer.content == b"%PDF-1.4 essai"
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("kind", "shown"), [("image/png", "inline"), ("text/html", "attachment"), ("image/svg+xml", "attachment")]
)
async def test_uploaded_content_never_runs_on_our_origin(nadia: Browser, story: Story, kind: str, shown: str) -> None:
    content = b"<script>alert(1)</script>"
    part = fake_record.document(story.record, "page", content, kind)
    url = story.record.held[part["contentReference"]["reference"]]["content"][0]["attachment"]["url"]
    answer = await nadia.get(f"/documents/{url.partition('/')[2]}")
    assert answer.headers["content-disposition"] == shown
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == (kind if shown == "inline" else "application/octet-stream")


async def test_a_document_that_may_not_be_read_is_named_but_not_linked(nadia: Browser, story: Story) -> None:
    part = {"contentReference": {"reference": "DocumentReference/ailleurs", "display": "Compte rendu"}}
    story.record.message(story.header, story.paul, payload=[part])
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert "Compte rendu" in page
    assert "/documents/" not in page


async def test_only_the_newest_page_is_shown_first_and_older_ones_follow(nadia: Browser, story: Story) -> None:
    for number in range(70):
        story.record.message(story.header, story.paul, f"numéro {number:02}.", ago=timedelta(minutes=70 - number))
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert "numéro 69." in page
    assert "numéro 19." not in page
    older = page.partition('id="plus-tot"><a class="button" href="')[2].partition('"')[0].replace("&amp;", "&")
    before = (await nadia.get(older)).text
    assert "numéro 19." in before
    assert before.index("numéro 00.") < before.index("numéro 19.")


async def test_reading_marks_ones_own_entry_read_and_no_other(nadia: Browser, story: Story) -> None:
    message = story.record.message(story.header, story.paul, "Bonjour")
    before = dict(story.record.task(story.header, story.claire))
    answer = await nadia.post(f"/conversations/{story.id}/etat", {"etat": "lu", "vu": message["id"]})
    assert answer.status_code == 303
    assert _business(story, story.nadia) == "read"
    assert story.record.task(story.header, story.claire) == before


async def test_a_message_that_came_after_the_last_one_on_screen_stays_unread(nadia: Browser, story: Story) -> None:
    seen = story.record.message(story.header, story.paul, "Vu", ago=timedelta(minutes=1))
    story.record.message(story.header, story.paul, "Pas encore vu")
    await nadia.post(f"/conversations/{story.id}/etat", {"etat": "lu", "vu": seen["id"]})
    assert _business(story, story.nadia) == "unread"


async def test_a_mark_survives_somebody_elses_write(nadia: Browser, story: Story) -> None:
    story.record.message(story.header, story.paul, "Bonjour")
    _stale_once(story)
    await nadia.post(f"/conversations/{story.id}/etat", {"etat": "a-traiter"})
    assert story.record.task(story.header, story.nadia)["status"] == "in-progress"
    assert [method for method, _ in story.record.asked].count("PUT") == 2


async def test_to_handle_handled_and_unread_are_set_and_seen(nadia: Browser, story: Story) -> None:
    async def marked(state: str) -> str:
        await nadia.post(f"/conversations/{story.id}/etat", {"etat": state})
        return str(story.record.task(story.header, story.nadia)["status"])

    assert await marked("a-traiter") == "in-progress"
    assert "Marquer traité" in (await nadia.get(f"/conversations/{story.id}")).text
    assert await marked("traite") == "completed"
    assert (await nadia.post(f"/conversations/{story.id}/etat", {"etat": "non-lu"})).headers["location"] == "/"
    assert _business(story, story.nadia) == "unread"


async def test_an_unknown_mark_and_a_strangers_conversation_are_refused(nadia: Browser, story: Story) -> None:
    other = story.record.conversation("Pas pour Nadia", story.claire)
    assert (await nadia.post(f"/conversations/{story.id}/etat", {"etat": "x"})).status_code == 400
    assert (await nadia.get(f"/conversations/{other.partition('/')[2]}")).status_code == 404


async def test_a_message_is_not_opened_as_a_conversation(nadia: Browser, story: Story) -> None:
    message = story.record.message(story.header, story.paul, "Bonjour")
    assert (await nadia.get(f"/conversations/{message['id']}")).status_code == 404


async def test_a_closed_conversation_is_read_but_not_written(nadia: Browser, story: Story) -> None:
    story.record.held[story.header]["status"] = "completed"
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert "Cette conversation est close" in page
    assert "<textarea" not in page


def _business(story: Story, member: str) -> str:
    return names.code(story.record.task(story.header, member)["businessStatus"], names.INBOX_STATUS)


def _stale_once(story: Story) -> None:
    """The next update finds that the entry has moved on."""
    real, record = story.record._update, story.record

    def moved(ref: str, body: names.Resource, match: str) -> object:
        record._update = real  # type: ignore[method-assign]
        record.put(dict(record.held[ref]))
        return real(ref, body, match)

    record._update = moved  # type: ignore[method-assign,assignment]
