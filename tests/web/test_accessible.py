"""WCAG 2.1 AA on every page, light and dark, phone, desk and 200 % zoom; targets a thumb can hit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from tests.web import chromium, fake_record
from tests.web.conftest import Story

pytestmark = pytest.mark.servers
SIZES = {"phone": chromium.PHONE, "desk": chromium.DESK, "zoom": {"width": 640, "height": 400}}
# Targets below 44 px, links within a sentence and what only screen readers meet left out.
SMALL = """() => [...document.querySelectorAll("button, a, summary, label.round, input, textarea")]
    .filter((one) => one.checkVisibility() && one.type !== "hidden")
    .filter((one) => !one.matches(".skip, .hidden, .brand, p a, .text a"))
    .map((one) => [one.outerHTML.slice(0, 90), one.getBoundingClientRect()])
    .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
    .map(([html]) => html)"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@pytest.fixture
def rich(story: Story) -> Story:
    """Every kind of mark, message and receipt on the screen."""
    record = story.record
    record.message(story.header, story.claire, "erreur", status="entered-in-error", ago=timedelta(hours=1))
    part = fake_record.document(record, "Ordonnance.pdf", b"%PDF-")
    missing = {"contentReference": {"reference": "DocumentReference/x", "display": "Compte rendu"}}
    payload = [{"contentString": "Voir https://www.has-sante.fr"}, part, missing]
    record.message(story.header, story.paul, payload=payload, priority="urgent")
    failed = record.message(story.header, story.nadia, "Merci")
    record.put(fake_record.delivery(failed, story.paul, "failed", "echec", "550 boîte inconnue"))
    record.task(story.header, story.nadia)["status"] = "in-progress"
    urgent = record.conversation("Chute", story.nadia, story.claire, priority="urgent")
    record.message(urgent, story.claire, "Au sol")
    done = record.conversation("Ancien", story.nadia)
    record.message(done, story.nadia, "Fini")
    record.held[done]["status"] = "completed"
    record.task(done, story.nadia)["status"] = "completed"
    return story


@pytest.fixture
async def screens(rich: Story) -> AsyncIterator[chromium.Screens]:
    async with chromium.opened(rich.app) as screens:
        yield screens


async def _states(screens: chromium.Screens, story: Story, *, size: dict[str, int], dark: bool) -> AsyncIterator[Page]:
    """Each page, and the conversation in the states it can be in."""
    yield await screens.open("/connexion", "", size=size, dark=dark)
    context = await screens.context("nadia", size=size, dark=dark)
    for path in ("/", "/?vue=a-traiter", "/nulle-part"):
        yield await screens.tab(context, path)
    page = await screens.tab(context, f"/conversations/{story.id}")
    yield page
    if await page.locator("#membres").is_visible():
        await page.locator("#membres summary").click()
    await page.set_input_files("#fichiers", {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-"})
    await page.fill("#texte", "Un brouillon")
    story.record.failing = [403]
    await page.click("#envoyer")
    await page.get_by_role("button", name="Réessayer").wait_for()
    yield page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_no_page_breaks_the_rules(screens: chromium.Screens, rich: Story, size: str, dark: bool) -> None:
    found = []
    async for page in _states(screens, rich, size=SIZES[size], dark=dark):
        results = await Axe().run(page, options=RULES)
        found += [
            (page.url, one["id"], one["impact"], [node["html"][:160] for node in one["nodes"]])
            for one in results.response["violations"]
        ]
    assert found == []


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_is_wider_than_the_screen_and_targets_are_large(
    screens: chromium.Screens, rich: Story, size: str
) -> None:
    async for page in _states(screens, rich, size=SIZES[size], dark=False):
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
        small = await page.evaluate(SMALL)
        assert small == [], page.url
