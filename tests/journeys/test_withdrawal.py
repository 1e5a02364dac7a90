"""Who may not see any more what is open in front of them sees it closed within five seconds (CONS-02, CONS-03)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect
from websockets.sync.client import connect

from tests.hub.doors import a_consent
from tests.journeys.subscribing import active, plain
from tests.running import Region
from tests.web import chromium

ROSE = "Patient/vidal-rose"
SECONDS = 5.0


@pytest.fixture(scope="module")
def nadia(region: Region) -> Iterator[httpx.Client]:
    with region.hub.client("--persona", "nadia") as client:
        yield client


def recorded(client: httpx.Client, consent: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/Consent", json=consent)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(client: httpx.Client, consent: dict[str, Any]) -> None:
    answer = client.put(f"/Consent/{consent['id']}", json={**consent, "status": "inactive"})
    assert answer.status_code == 200, answer.text


@pytest.fixture
def page(region: Region) -> Iterator[Page]:
    with chromium.phone(f"http://127.0.0.1:{region.hub.ports['http']}/") as opened:
        opened.get_by_role("button", name="Claire Fabre").click()
        yield opened


def shown(page: Page) -> Locator:
    """The message, in the open conversation."""
    return page.get_by_role("region", name="Messages de la conversation").get_by_text("la plaie du talon gauche")


def closes(page: Page) -> float:
    """Seconds until nothing of the conversation is on the screen."""
    begun = time.monotonic()
    expect(shown(page)).to_have_count(0, timeout=SECONDS * 1000)
    page.wait_for_url("**/", timeout=SECONDS * 1000)
    return time.monotonic() - begun


@pytest.mark.servers
def test_an_open_tab_closes_when_consent_is_withdrawn_and_when_somebody_is_excluded(
    region: Region, page: Page, nadia: httpx.Client
) -> None:
    def open_it() -> None:
        page.get_by_text("Plaie au talon").first.click()
        expect(shown(page)).to_be_visible()

    open_it()
    consent = nadia.get(f"/Consent?patient={ROSE}&status=active").json()["entry"][0]["resource"]
    ended(nadia, consent)
    assert closes(page) < SECONDS
    assert page.get_by_text("Plaie au talon").count() == 0  # nor in the list
    recorded(nadia, a_consent(ROSE))
    page.reload()
    open_it()
    exclusion = recorded(nadia, a_consent(ROSE, "exclusion-professionnel", actors=("Practitioner/claire",)))
    assert closes(page) < SECONDS
    ended(nadia, exclusion)
    page.reload()
    open_it()


def a_plan() -> dict[str, Any]:
    return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": ROSE}}


def test_an_open_stream_tells_nothing_more_of_a_patient_who_refused_its_owner(
    region: Region, nadia: httpx.Client
) -> None:
    with region.hub.client("--persona", "claire") as claire:
        id = active(claire, plain("CarePlan?status=active"))
        headers = {"Authorization": claire.headers["Authorization"]}
        with connect(f"ws://127.0.0.1:{region.hub.ports['http']}/fhir/ws", additional_headers=headers) as line:
            line.send(f"bind {id}")
            assert line.recv(timeout=10) == f"bound {id}"
            assert nadia.post("/CarePlan", json=a_plan()).status_code == 201
            assert line.recv(timeout=10) == f"ping {id}"
            exclusion = recorded(nadia, a_consent(ROSE, "exclusion-professionnel", actors=("PractitionerRole/claire",)))
            assert nadia.post("/CarePlan", json=a_plan()).status_code == 201
            with pytest.raises(TimeoutError):
                line.recv(timeout=3)
            ended(nadia, exclusion)
            assert nadia.post("/CarePlan", json=a_plan()).status_code == 201
            assert line.recv(timeout=10) == f"ping {id}"
