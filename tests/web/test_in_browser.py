"""The pages in a real browser: live, once and in order, by keyboard, for screen readers, on a phone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.web import chromium
from tests.web.conftest import Story

pytestmark = pytest.mark.servers
TEXTS = "#messages > li .text"


@pytest.fixture
async def screens(story: Story) -> AsyncIterator[chromium.Screens]:
    async with chromium.opened(story.app) as screens:
        yield screens


@pytest.fixture
async def page(screens: chromium.Screens, story: Story) -> Page:
    """Nadia on her phone, in the conversation."""
    opened = await screens.open(f"/conversations/{story.id}")
    await connected(story)
    return opened


async def connected(story: Story, count: int = 1) -> None:
    """Until that many streams listen."""
    async with asyncio.timeout(10):
        while len(story.record.listeners) < count:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # the look at everything that follows `ready`


def stored(story: Story, text: str) -> int:
    return sum(one.get("payload") == [{"contentString": text}] for one in story.record.held.values())


async def test_a_message_shows_at_once_is_confirmed_and_the_focus_stays(page: Page, story: Story) -> None:
    held = asyncio.Event()

    async def slow(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/messages", slow)
    await page.fill("#texte", "Je passe demain")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".pending .text")).to_have_text("Je passe demain")
    assert stored(story, "Je passe demain") == 0
    held.set()
    await expect(page.locator(".pending")).to_have_count(0)
    await expect(page.locator(TEXTS).last).to_have_text("Je passe demain")
    assert await page.locator(TEXTS).get_by_text("Je passe demain").count() == 1
    await expect(page.locator("#texte")).to_be_focused()
    await expect(page.locator("#texte")).to_have_value("")


async def test_an_answer_that_was_lost_doubles_nothing(page: Page, story: Story) -> None:
    lost = 0

    async def lose(route: Route) -> None:
        nonlocal lost
        lost += 1
        if lost > 1:
            return await route.continue_()
        await route.fetch()  # the server did its work
        await route.abort()

    await page.route("**/messages", lose)
    await page.fill("#texte", "Une seule fois")
    await page.click("#envoyer")
    await expect(page.locator(".pending")).to_have_count(0)
    await asyncio.sleep(1.5)
    assert stored(story, "Une seule fois") == 1
    assert await page.locator(TEXTS).get_by_text("Une seule fois").count() == 1


async def test_messages_written_while_the_hub_is_down_go_out_once_and_in_order(
    page: Page, screens: chromium.Screens, story: Story
) -> None:
    await screens.site.stop()
    for number in range(3):
        await page.fill("#texte", f"hors ligne {number}")
        await page.click("#envoyer")
    await expect(page.locator(".pending")).to_have_count(3)
    await screens.site.start()
    await expect(page.locator(".pending")).to_have_count(0, timeout=20_000)
    assert [stored(story, f"hors ligne {number}") for number in range(3)] == [1, 1, 1]
    shown = await page.locator(TEXTS).all_inner_texts()
    assert shown[-3:] == ["hors ligne 0", "hors ligne 1", "hors ligne 2"]


async def test_a_refused_message_says_why_and_gives_the_text_back(page: Page, story: Story) -> None:
    story.record.failing = [403]
    await page.fill("#texte", "Refusé puis repris")
    await page.click("#envoyer")
    await expect(page.locator("#probleme")).to_contain_text("Rien n'est perdu")
    await page.get_by_role("button", name="Reprendre le texte").click()
    await expect(page.locator("#texte")).to_have_value("Refusé puis repris")
    await expect(page.locator(".pending")).to_have_count(0)


async def test_a_refused_message_can_be_tried_again(page: Page, story: Story) -> None:
    story.record.failing = [403]
    await page.fill("#texte", "Encore")
    await page.click("#envoyer")
    await page.get_by_role("button", name="Réessayer").click()
    await expect(page.locator(".pending")).to_have_count(0)
    assert stored(story, "Encore") == 1


async def test_nothing_is_lost_and_nothing_doubled_when_the_connection_is_cut_during_twenty_posts(
    page: Page, screens: chromium.Screens, story: Story
) -> None:
    for number in range(20):
        story.record.message(story.header, story.paul, f"message {number}")
        if number == 7:
            await screens.site.stop()
        if number == 14:
            await screens.site.start()
        await asyncio.sleep(0.02)
    await expect(page.locator(TEXTS).last).to_have_text("message 19")
    shown = [text for text in await page.locator(TEXTS).all_inner_texts() if text.startswith("message ")]
    assert shown == [f"message {number}" for number in range(20)]


async def test_more_messages_than_a_page_came_while_we_were_away(
    page: Page, screens: chromium.Screens, story: Story
) -> None:
    await screens.site.stop()
    for number in range(70):
        story.record.message(story.header, story.paul, f"message {number}")
    await screens.site.start()
    await expect(page.locator(TEXTS).last).to_have_text("message 69")
    await page.get_by_role("link", name="Messages précédents").click()
    await expect(page.locator(TEXTS)).to_have_count(71)
    shown = await page.locator(TEXTS).all_inner_texts()
    assert shown[1:] == [f"message {number}" for number in range(70)]


async def test_only_new_messages_are_spoken_and_the_focus_stays(page: Page, story: Story) -> None:
    await page.focus("#texte")
    await expect(page.locator("#annonce")).to_be_empty()
    story.record.message(story.header, story.paul, "Passez à l'alginate")
    await expect(page.locator("#annonce")).to_have_text("Dr Paul Lefebvre, 14:05 : Passez à l'alginate")
    await expect(page.locator("#texte")).to_be_focused()
    assert await page.locator("[aria-live]").count() == 1
    assert await page.locator("#messages [tabindex], #messages button").count() == 0
    tree = await page.locator("#fil").aria_snapshot()
    assert tree.startswith('- region "Messages de la conversation":\n  - list:\n    - listitem:')


async def test_scrolled_up_a_button_tells_of_new_messages_and_they_stay_unread(page: Page, story: Story) -> None:
    for number in range(20):
        story.record.message(story.header, story.nadia, f"ancien {number}", ago=timedelta(minutes=30))
    await expect(page.locator(TEXTS).last).to_have_text("ancien 19")
    await page.evaluate("document.getElementById('fil').scrollTop = 0")
    story.record.message(story.header, story.paul, "Tout en bas")
    await expect(page.locator("#arrives")).to_be_visible()
    assert await page.evaluate("document.getElementById('fil').scrollTop") == 0
    assert _status(story) == "unread"
    await page.click("#arrives")
    await expect(page.locator("#arrives")).to_be_hidden()
    await expect(page.locator(TEXTS).last).to_be_in_viewport()
    await _until(lambda: _status(story) == "read")


async def test_counters_agree_in_two_tabs_of_one_person_over_one_stream(
    screens: chromium.Screens, story: Story
) -> None:
    context = await screens.context("nadia", size=chromium.DESK)
    first, second = await screens.tab(context, "/"), await screens.tab(context, "/")
    await connected(story)
    story.record.message(story.header, story.paul, "Nouveau")
    for tab in (first, second):
        await expect(tab).to_have_title("(1) Messages · Spico")
        await expect(tab.locator(".count")).to_have_text("1")
    assert len(story.record.listeners) == 1
    await first.close()
    await connected(story)
    story.record.message(story.header, story.claire, "Encore")
    await expect(second.locator(".line-excerpt").first).to_contain_text("Encore")


async def test_opening_a_conversation_reads_it_and_marking_unread_leaves_it(
    screens: chromium.Screens, story: Story
) -> None:
    story.record.message(story.header, story.paul, "À lire")
    page = await screens.open("/", size=chromium.DESK)
    await expect(page).to_have_title("(1) Messages · Spico")
    await page.get_by_role("link", name="Plaie au talon").click()
    await _until(lambda: _status(story) == "read")
    await expect(page).to_have_title("Plaie au talon · Spico")
    await page.get_by_role("button", name="À traiter").click()
    await expect(page.get_by_role("button", name="Marquer traité")).to_be_visible()
    await page.get_by_role("button", name="Marquer non lu").click()
    await expect(page).to_have_title("(1) Messages · Spico")
    assert _status(story) == "unread"


async def test_a_draft_survives_a_reload_and_a_sign_out(page: Page, story: Story) -> None:
    await page.fill("#texte", "Pas encore fini")
    await page.reload()
    await expect(page.locator("#texte")).to_have_value("Pas encore fini")
    await page.goto("/")
    await page.get_by_role("button", name="Se déconnecter").click()
    await page.get_by_role("button", name="Claire Fabre").click()
    await page.goto(f"/conversations/{story.id}")
    await expect(page.locator("#texte")).to_have_value("")  # another person's text is not hers
    await page.goto("/")
    await page.get_by_role("button", name="Se déconnecter").click()
    await page.get_by_role("button", name="Nadia Roux").click()
    await page.goto(f"/conversations/{story.id}")
    await expect(page.locator("#texte")).to_have_value("Pas encore fini")


async def test_a_message_that_was_leaving_when_the_page_was_closed_is_sent(page: Page, story: Story) -> None:
    await page.route("**/messages", lambda route: route.abort())
    await page.fill("#texte", "Parti plus tard")
    await page.click("#envoyer")
    await expect(page.locator(".pending")).to_have_count(1)
    await page.unroute("**/messages")
    await page.reload()
    await expect(page.locator(TEXTS).last).to_have_text("Parti plus tard")
    await expect(page.locator(".pending")).to_have_count(0)
    assert stored(story, "Parti plus tard") == 1


async def test_an_ended_session_keeps_the_text_and_says_what_to_do(page: Page, story: Story) -> None:
    await page.fill("#texte", "Toujours là")
    story.record.tokens.clear()
    await page.click("#envoyer")
    await expect(page.locator("#avis")).to_contain_text("Votre session est terminée")
    await expect(page.locator(".pending .text")).to_have_text("Toujours là")
    link = page.get_by_role("link", name="Reconnectez-vous")
    assert await link.get_attribute("href") == f"/connexion?suite=%2Fconversations%2F{story.id}"


async def test_a_document_is_chosen_sent_and_opened(page: Page, story: Story) -> None:
    pdf: Any = {"name": "Ordonnance.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4\n%%EOF"}
    await page.set_input_files("#fichiers", [pdf, {**pdf, "name": "retirer.pdf"}])
    await page.get_by_role("button", name="Retirer retirer.pdf").click()
    await page.set_input_files("#fichiers", {"name": "a.exe", "mimeType": "application/x-exe", "buffer": b"MZ"})
    await expect(page.locator("#probleme")).to_contain_text("choisissez un PDF")
    await page.click("#envoyer")
    link = page.get_by_role("link", name="Ordonnance.pdf")
    await expect(link).to_be_visible()
    answer = await page.request.get(await link.get_attribute("href") or "")
    assert await answer.body() == b"%PDF-1.4\n%%EOF"


async def test_hostile_text_runs_nothing(page: Page, story: Story) -> None:
    hostile = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
    story.record.message(story.header, story.paul, hostile)
    await expect(page.locator(TEXTS).last).to_have_text(hostile)
    await page.fill("#texte", hostile)
    await page.click("#envoyer")
    await expect(page.locator(".pending")).to_have_count(0)
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("#messages img, #messages script").count() == 0


async def test_the_keyboard_alone_opens_a_conversation_and_answers(screens: chromium.Screens, story: Story) -> None:
    page = await screens.open("/", size=chromium.DESK)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Aller au contenu")).to_be_focused()
    await page.locator(".line").first.focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/conversations/*")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    for _ in range(12):
        if await page.evaluate("document.activeElement.id") == "texte":
            break
        await page.keyboard.press("Tab")
    await page.keyboard.type("Au clavier")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(TEXTS).last).to_have_text("Au clavier")


def _status(story: Story) -> str:
    coding = story.record.task(story.header, story.nadia)["businessStatus"]["coding"]
    return str(coding[0]["code"])


async def _until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.02)
