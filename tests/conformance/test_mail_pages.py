"""The web mailbox in a real Chromium: narrow and wide, light and dark, for everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, async_playwright

from conformance.simulators.mail_operator import app
from tests.conformance.test_mail_operator import DOCTOR, OUTGOING, Post, started, stopped
from tests.web import chromium

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
PATHS = ["/", f"/boites/{DOCTOR}", f"/boites/{DOCTOR}/1", f"/boites/{DOCTOR}/1/repondre", "/service"]

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not chromium.PROGRAM.exists(), reason="no Chromium on this machine"),
]


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    settings = app.Settings(
        data=tmp_path, smtp_port=0, http_port=0, deliver_to=("127.0.0.1", 9), mailboxes={DOCTOR: "Dr Paul Lefebvre"}
    )
    opened = await started(settings)
    await opened.give()
    await opened.reply("Vu.")
    yield opened
    await stopped(opened)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=str(chromium.PROGRAM), args=chromium.ARGUMENTS.split()
        )
        yield launched
        await launched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_pages_fit_the_screen_and_break_no_rule(post: Post, browser: Browser, width: int, scheme: Any) -> None:
    base = f"http://127.0.0.1:{post.running.http_port}"
    context = await browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, base_url=base)
    found = []
    for path in [*PATHS, f"/boites/{DOCTOR}?dossier=envoyes", f"/boites/{DOCTOR}/ecrire"]:
        page = await context.new_page()
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        violations = (await Axe().run(page, options=RULES)).response["violations"]
        found += [(path, one["id"], [node["html"][:120] for node in one["nodes"]]) for one in violations]
        await page.close()
    assert found == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_our_mails_are_readable_on_a_narrow_and_on_a_dark_screen(
    post: Post, browser: Browser, scheme: Any
) -> None:
    page = await browser.new_page(viewport={"width": 320, "height": 700}, color_scheme=scheme)
    html = (await post.read(1))["html"]
    await page.set_content(html)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    violations = (await Axe().run(page, options={"runOnly": ["wcag2aa"]})).response["violations"]
    assert [one["id"] for one in violations] == []
    assert await page.get_by_text("Température ?").is_visible()


async def test_a_doctor_answers_with_the_keyboard(post: Post, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(f"http://127.0.0.1:{post.running.http_port}/boites/{DOCTOR}")
    await page.get_by_role("link", name="Nadia Roux").click()
    await page.get_by_role("link", name="Répondre").press("Enter")
    await page.locator("#text:focus").wait_for()
    await page.keyboard.type("38,4 ce matin.")
    await page.get_by_role("button", name="Envoyer").press("Enter")
    await page.get_by_role("heading", name="Dr Paul Lefebvre").wait_for()
    sent = await post.mails(folder="sent")
    assert len(sent) == 2
    assert (await post.read(sent[0]["id"]))["text"].startswith("38,4 ce matin.")


async def test_an_open_list_says_that_a_mail_has_come(post: Post, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(f"http://127.0.0.1:{post.running.http_port}/boites/{DOCTOR}")
    notice = page.get_by_role("link", name="Nouveau courriel")
    assert not await notice.is_visible()
    await post.give(replace(OUTGOING, delivery="suivante", subject="Deuxième"))
    await notice.wait_for(timeout=15_000)
    await notice.click()
    await page.get_by_text("Deuxième").wait_for()
