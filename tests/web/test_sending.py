"""Sending: once and only once, with documents or without, and with words that help when it fails."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.web.conftest import Browser, Story

KEY = "0b6f2c9e-8a51-4d0e-9a63-3c9f5d1e77aa"
SCRIPT = {"Hub-Script": "1", "Origin": "http://hub.test"}
PDF = ("fichiers", ("Ordonnance.pdf", b"%PDF-1.7 essai", "application/pdf"))


async def send(browser: Browser, story: Story, text: str, *, key: str = KEY, files: object = None) -> httpx.Response:
    """As the page's own script sends."""
    from web import session

    csrf = session.derived(browser.http.cookies.get(session.COOKIE) or "")
    path = f"/conversations/{story.id}/messages"
    form = {"csrf": csrf, "cle": key, "texte": text}
    return await browser.http.post(path, data=form, files=files, headers=SCRIPT)  # type: ignore[arg-type]


def messages(story: Story) -> list[dict[str, object]]:
    every = [one for one in story.record.held.values() if one["resourceType"] == "Communication" and "partOf" in one]
    return every[1:]  # the first is the story's own


async def test_a_message_is_a_communication_of_the_conversation(nadia: Browser, story: Story) -> None:
    answer = await send(nadia, story, "  Bonjour,\r\nà demain  ")
    assert answer.status_code == 201
    assert 'data-key="0b6f2c9e-8a51-4d0e-9a63-3c9f5d1e77aa"' in answer.text
    (stored,) = messages(story)
    assert stored["payload"] == [{"contentString": "Bonjour,\nà demain"}]
    assert stored["sender"] == {"reference": story.nadia}
    assert stored["partOf"] == [{"reference": story.header}]
    assert stored["subject"] == {"reference": "Patient/rose"}
    assert stored["status"] == "completed"


async def test_a_repeated_send_makes_nothing_new(nadia: Browser, story: Story) -> None:
    first = await send(nadia, story, "Bonjour")
    again = await send(nadia, story, "Bonjour")
    assert again.text == first.text
    assert len(messages(story)) == 1


async def test_a_repeated_send_with_a_document_stores_it_once(nadia: Browser, story: Story) -> None:
    for _ in range(2):
        assert (await send(nadia, story, "Voici", files=[PDF])).status_code == 201
    kinds = [one["resourceType"] for one in story.record.held.values()]
    assert (kinds.count("Binary"), kinds.count("DocumentReference"), len(messages(story))) == (1, 1, 1)


async def test_a_document_goes_with_its_message_in_one_commit(nadia: Browser, story: Story) -> None:
    answer = await send(nadia, story, "", files=[PDF])
    assert "Ordonnance.pdf" in answer.text
    held = story.record.held
    document = next(one for one in held.values() if one["resourceType"] == "DocumentReference")
    attachment = document["content"][0]["attachment"]
    binary = held[attachment["url"]]
    assert base64.b64decode(binary["data"]) == b"%PDF-1.7 essai"
    assert binary["securityContext"] == document["subject"] == {"reference": "Patient/rose"}
    assert document["context"]["related"] == [{"reference": story.header}]
    assert (attachment["size"], attachment["contentType"]) == (14, "application/pdf")
    (stored,) = messages(story)
    assert stored["payload"] == [
        {"contentReference": {"reference": f"DocumentReference/{document['id']}", "display": "Ordonnance.pdf"}}
    ]
    assert [path for method, path in story.record.asked if method == "POST"] == [""]


async def test_several_documents_keep_their_order(nadia: Browser, story: Story) -> None:
    files = [
        ("fichiers", (f"{name}.pdf", b"%PDF-" + name.encode(), "application/pdf")) for name in ("un", "deux", "trois")
    ]
    text = (await send(nadia, story, "Trois documents", files=files)).text
    assert text.index("un.pdf") < text.index("deux.pdf") < text.index("trois.pdf")


async def test_a_page_without_script_gets_the_conversation_again(nadia: Browser, story: Story) -> None:
    answer = await nadia.post(f"/conversations/{story.id}/messages", {"cle": KEY, "texte": "Bonjour"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/conversations/{story.id}#fin")


@pytest.mark.parametrize(
    ("text", "files", "status", "words"),
    [
        ("   ", None, 422, "Écrivez un message ou joignez un document"),
        ("a", [("fichiers", ("a.pdf", b"<html>", "application/pdf"))], 415, "choisissez un PDF"),
        ("a", [("fichiers", ("a.jpg", b"\xff\xd8\xff\xe0", "image/jpeg"))], 415, "abîmé"),
        ("a", [("fichiers", ("a.pdf", b"%PDF-" + b"x" * 15_800_000, "application/pdf"))], 413, "15 Mo"),
        ("a", [("fichiers", ("a.pdf", b"%PDF-" + b"x" * 17_000_000, "application/pdf"))], 413, "15 Mo"),
    ],
)
async def test_a_refusal_says_what_to_do(
    nadia: Browser, story: Story, text: str, files: object, status: int, words: str
) -> None:
    answer = await send(nadia, story, text, files=files)
    assert answer.status_code == status
    assert words in answer.json()["texte"]
    assert answer.json()["code"]
    assert messages(story) == []


async def test_an_incomplete_form_is_refused(nadia: Browser, story: Story) -> None:
    assert (await send(nadia, story, "Bonjour", key="pas-une-cle")).status_code == 400


async def test_characters_that_fhir_forbids_are_left_out(nadia: Browser, story: Story) -> None:
    await send(nadia, story, "a\x00b\x07c\td")
    assert messages(story)[0]["payload"] == [{"contentString": "abc\td"}]


async def test_a_record_that_is_down_says_that_nothing_is_lost(nadia: Browser, story: Story) -> None:
    story.record.failing = [503]
    answer = await send(nadia, story, "Bonjour")
    assert answer.status_code == 503
    assert "rien n'a été perdu" in answer.json()["texte"]


async def test_a_strangers_conversation_takes_no_message(browser: Browser, story: Story) -> None:
    story.record.person("karim", "Karim", "Benali", "assistant social")
    browser.sign_in("karim")
    assert (await send(browser, story, "Bonjour")).status_code == 404
    assert messages(story) == []
