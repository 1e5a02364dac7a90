"""The pages of account requests in a real browser: WCAG 2.1 AA, a phone, a keyboard, no script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright import sync_api

from tests import running
from tests.journeys.test_account_requests import decide, letters, link, place, task_of
from tests.web import chromium
from tests.web.test_accessible import RULES, SIZES, SMALL

__all__ = ["place"]
pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not chromium.PROGRAM.exists(), reason="no Chromium on this machine"),
]
USUAL = {("phone", False), ("desk", True)}  # in every run; the others in the heavy suite
LOOKS = [
    pytest.param(size, dark, marks=() if (size, dark) in USUAL else pytest.mark.heavy)
    for size in SIZES
    for dark in (False, True)
]
SHOTS = os.environ.get("HUB_TEST_SHOTS", "")  # a folder for screenshots, to look at them


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium.PROGRAM), args=chromium.ARGUMENTS.split())
        yield started
        started.close()


def context(
    browser: Any, place: running.Region, size: str = "phone", *, dark: bool = False, scripts: bool = True
) -> Any:
    return browser.new_context(
        viewport=SIZES[size],
        color_scheme="dark" if dark else "light",
        locale="fr-FR",
        base_url=f"http://127.0.0.1:{place.hub.ports['http']}",
        java_script_enabled=scripts,
    )


def ask(page: Any, number: str, mail: str) -> str:
    """A request as a person makes it; the path of its tracking page."""
    page.goto("/connexion")
    page.get_by_role("link", name="Pas encore de compte").click()
    page.get_by_label("Votre numéro RPPS").fill(number)
    page.keyboard.press("Enter")
    page.get_by_label("Votre adresse de courriel").fill(mail)
    page.get_by_label("J'accepte les").check()
    page.get_by_role("button", name="Envoyer ma demande").click()
    page.wait_for_url("**/compte/suivi/*")
    return "/" + "/".join(page.url.split("/")[3:])


def test_a_person_asks_on_a_phone_without_scripts(browser: Any, place: running.Region) -> None:
    page = context(browser, place, scripts=False).new_page()
    mail = "helene.moreau@free.example"
    ask(page, "99700000034", mail)
    assert page.inner_text("#etape") == "Adresse à confirmer"
    page.goto(link(letters(place, mail)[0], "confirmer"))
    page.get_by_role("button", name="Confirmer mon adresse").click()
    page.wait_for_url("**/compte/suivi/*")
    assert page.inner_text("#etape") == "En cours de vérification"


def _states(browser: Any, place: running.Region, size: str, *, dark: bool) -> Iterator[tuple[str, Any]]:
    """Each page in its states."""
    page = context(browser, place, size, dark=dark).new_page()
    for name, path in (("numero", "/compte/demande"), ("sans-numero", "/compte/demande?sans-numero")):
        page.goto(path)
        yield name, page
    page.get_by_role("button", name="Envoyer ma demande").click()
    yield "erreurs", page
    mail = f"paul.{size}.{'sombre' if dark else 'clair'}@free.example"
    tracking = ask(page, "99700000026", mail)
    yield "suivi", page
    page.goto(link(letters(place, mail)[0], "confirmer"))
    yield "confirmer", page
    page.get_by_role("button", name="Confirmer mon adresse").click()
    page.wait_for_url("**/compte/suivi/*")
    yield "suivi-verification", page
    agent = context(browser, place, size, dark=dark).new_page()
    agent.goto("/connexion?suite=/comptes/demandes")
    agent.get_by_role("button", name="Claire Fabre").click()
    agent.wait_for_url("**/comptes/demandes")
    yield "file", agent
    line = agent.locator(".queue > li").filter(has_text=mail)
    line.get_by_text("Décider").click()
    line.get_by_role("button", name="Refuser").click()
    yield "file-erreur", agent
    decide(place, task_of(place, mail)["id"], decision="refuse", explanation="Cette adresse n'est pas la vôtre.")
    page.goto(tracking)
    yield "suivi-refus", page
    agent.goto("/compte/a-corriger")
    yield "a-corriger", agent


@pytest.mark.parametrize(("size", "dark"), LOOKS)
def test_no_page_breaks_the_rules(browser: Any, place: running.Region, size: str, dark: bool) -> None:
    found = []
    for name, page in _states(browser, place, size, dark=dark):
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS) / f"{name}-{size}-{'dark' if dark else 'light'}.png"), full_page=True)
        violations = Axe().run(page, options=RULES).response["violations"]
        found += [(name, one["id"], [node["html"][:160] for node in one["nodes"]]) for one in violations]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert [one for one in page.evaluate(SMALL) if 'type="checkbox"' not in one] == [], name
    assert found == []
