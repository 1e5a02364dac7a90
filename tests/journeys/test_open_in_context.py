"""A doctor's software opens the hub on the patient that is on its screen: that one, for that person, once (LGC-08)."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright import sync_api

from tests import running
from tests.journeys import opening
from tests.journeys.opening import BACK, App
from tests.web import chromium

JEANNE, ROSE, MARCEL = "delmas-jeanne", "vidal-rose", "costes-marcel"
INS = "urn:oid:1.2.250.1.213.1.4.10"  # the test OID
INS_OF = {JEANNE: "248051220200170", ROSE: "235021220200375", MARCEL: "140111220200423"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Hub]:
    started = running.Hub(tmp_path_factory.mktemp("context"))
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="module")
def lgc(hub: running.Hub) -> str:
    """The token that a software got to act for Nadia."""
    return hub.run("token", "--client", "Mon LGC", "--persona", "nadia", "--scope", "user/*.rs open-context")


def post(hub: running.Hub, token: str, patient: str) -> httpx.Response:
    at = f"{opening.base(hub).removesuffix('/fhir')}/oauth/launch"
    return httpx.post(at, data={"patient": patient}, headers={"Authorization": f"Bearer {token}"} if token else {})


def launched(hub: running.Hub, token: str, id: str = ROSE) -> str:
    """The address that the software opens."""
    told = post(hub, token, f"{INS}|{INS_OF[id]}")
    assert told.status_code == 200, told.text
    assert told.json()["expires_in"] == 300 and told.json()["launch"] in told.json()["url"]
    return str(told.json()["url"])


def press(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    form = {name: opening.field_of(page, name) for name in ("csrf", "iss", "launch")}
    return browser.post("/connexion/contexte", data=form)


def test_the_patient_is_opened_without_a_second_sign_in_and_without_a_search(hub: running.Hub, lgc: str) -> None:
    with opening.browser(hub) as browser:
        url = launched(hub, lgc)
        page = browser.get(url)
        assert page.status_code == 200, page.text
        assert "VIDAL Rose" in page.text and "Nadia" in page.text and "hub_session" not in browser.cookies
        came = press(browser, page)
        assert came.headers["location"] == f"/patients/{ROSE}"
        shown = browser.get(came.headers["location"])
        assert "VIDAL Rose" in shown.text and "Plaie au talon" in shown.text and "DELMAS" not in shown.text
        assert "Mon LGC" in browser.get("/sessions").text
        assert browser.get(f"/patients/{MARCEL}").status_code == 404
        for again in (browser.get(url), press(browser, page)):  # once
            assert again.status_code == 403, again.text
    with opening.browser(hub) as other:
        assert other.get(url).status_code == 403


@pytest.mark.parametrize("number", [INS_OF[MARCEL], "199999999999999"])
def test_whom_they_may_not_see_is_whom_nobody_knows(hub: running.Hub, lgc: str, number: str) -> None:
    refused = post(hub, lgc, f"{INS}|{number}")
    assert refused.status_code == 404
    words = "no patient that this person may see has this number"
    assert refused.json() == {"error": "unknown_patient", "error_description": words}


@pytest.mark.parametrize("patient", ["", "248051220200170", f"{INS}|", f"{INS}|1,{INS}|2", f"Patient/{ROSE}"])
def test_a_patient_is_named_by_system_and_number(hub: running.Hub, lgc: str, patient: str) -> None:
    assert post(hub, lgc, patient).json()["error"] == "invalid_request"


def test_it_takes_a_software_that_may_and_a_person(hub: running.Hub) -> None:
    number = f"{INS}|{INS_OF[ROSE]}"
    without = hub.run("token", "--client", "Mon LGC", "--persona", "nadia", "--scope", "user/*.rs launch")
    assert post(hub, without, number).status_code == 403
    alone = hub.run("token", "--client", "Mon LGC", "--scope", "system/*.rs open-context")
    for token in (alone, "inconnu", ""):
        refused = post(hub, token, number)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
    # What opens the whole hub is never given to an app, however it is registered.
    id = hub.run("client", "add", "Trop", "--scope", "user/*.rs", "--redirect-uri", BACK)
    with opening.browser(hub, "nadia") as nadia:
        app = App(hub, id, "user/*.rs open-context")
        assert app.redeem(app.allowed(nadia)["code"]).json()["scope"] == "user/*.rs"


def test_nobody_is_taken_out_of_their_session_by_a_link(hub: running.Hub, lgc: str) -> None:
    with opening.browser(hub, "karim") as browser:
        before = browser.cookies["hub_session"]
        page = browser.get(launched(hub, lgc))
        assert "Karim" in page.text and "Nadia" in page.text and browser.cookies["hub_session"] == before
        evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        form = {name: opening.field_of(page, name) for name in ("csrf", "iss", "launch")}
        assert browser.post("/connexion/contexte", data=form, headers=evil).status_code == 403
        assert browser.post("/connexion/contexte", data={**form, "csrf": "0" * 32}).status_code == 403
        assert browser.cookies["hub_session"] == before
        assert press(browser, page).status_code == 303
        assert "Nadia" in browser.get("/").text and browser.cookies["hub_session"] != before
        browser.cookies.set("hub_session", before, domain="127.0.0.1")
        running.wait_for(lambda: browser.get("/sessions").status_code == 303, seconds=8, what="the end of that session")


def test_whoever_is_there_already_goes_on_at_once(hub: running.Hub, lgc: str) -> None:
    with opening.browser(hub, "nadia") as browser:
        url = launched(hub, lgc)
        before = browser.cookies["hub_session"]
        came = browser.get(url)
        assert (came.status_code, came.headers["location"]) == (303, f"/patients/{ROSE}")
        assert browser.cookies["hub_session"] == before
        assert browser.get(url).status_code == 403


def test_a_link_is_for_this_server_and_ends_with_the_token_that_asked(hub: running.Hub) -> None:
    token = hub.run("token", "--client", "Mon LGC", "--persona", "nadia", "--scope", "user/*.rs open-context")
    url = launched(hub, token)
    with opening.browser(hub) as browser:
        assert browser.get(url.replace("%2Ffhir", "%2Felsewhere")).status_code == 403
        page = browser.get(url)
        me = httpx.Client(base_url=str(browser.base_url), headers=browser.headers)
        with me:
            me.cookies.set("hub_session", token, domain="127.0.0.1")
            home = me.get("/sessions")
            assert me.post("/deconnexion", data={"csrf": opening.field_of(home, "csrf")}).status_code == 303
        assert press(browser, page).status_code == 403


def test_an_app_is_opened_in_the_same_context(hub: running.Hub, lgc: str) -> None:
    words = ("--scope", "patient/*.rs user/*.rs", "--redirect-uri", BACK)
    app = App(hub, hub.run("client", "add", "Carnet", *words), "launch patient/*.rs")
    launch = parse_qs(urlsplit(launched(hub, lgc)).query)["launch"][0]
    with opening.browser(hub, "karim") as karim:
        came = opening.answer(karim.get("/oauth/authorize", params=app.asks(launch=launch)))
        assert came["error"] == "invalid_request"
    with opening.browser(hub, "nadia") as nadia:
        assert "VIDAL Rose" in nadia.get("/oauth/authorize", params=app.asks(launch=launch)).text
        told = app.redeem(app.allowed(nadia, launch=launch)["code"]).json()
        assert (told["patient"], told["need_patient_banner"]) == (ROSE, True)
        assert told["scope"] == "patient/*.rs launch"
        with app.fhir(told["access_token"]) as fhir:
            assert fhir.get(f"/Patient/{ROSE}").status_code == 200
            assert fhir.get(f"/Patient/{JEANNE}").status_code == 404
        came = opening.answer(nadia.get("/oauth/authorize", params=app.asks(launch=launch)))
        assert came["error"] == "invalid_request"  # once


class Page(http.server.BaseHTTPRequestHandler):
    """The patient's sheet of a small doctor's software, and where an app is gone back to."""

    html = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.html)))
        self.end_headers()
        self.wfile.write(self.html)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.servers
@pytest.mark.skipif(not chromium.PROGRAM.exists(), reason="no Chromium on this machine")
def test_two_clicks_in_a_browser_open_the_right_patient(hub: running.Hub, lgc: str, site: str) -> None:
    Page.html = f'<meta charset="utf-8"><h1>Rose VIDAL</h1><a href="{launched(hub, lgc)}">Ouvrir Spico</a>'.encode()
    app = App(hub, hub.run("client", "add", "Carnet", "--scope", "patient/*.rs", "--redirect-uri", site), "")
    app.scope = "launch/patient patient/*.rs"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium.PROGRAM), args=chromium.ARGUMENTS.split())
        page = browser.new_page(locale="fr-FR")
        page.goto(site)
        page.get_by_role("link", name="Ouvrir Spico").click()
        page.get_by_role("button", name="Ouvrir ce patient").click()
        page.wait_for_url(f"**/patients/{ROSE}")
        assert "VIDAL Rose" in page.inner_text("h1") and "Plaie au talon" in page.inner_text("main")
        # The same session allows an app: the answer to the form may leave for the app's address, and no other.
        asked = httpx.QueryParams(app.asks(redirect_uri=site))
        page.goto(f"{opening.base(hub).removesuffix('/fhir')}/oauth/authorize?{asked}")
        page.get_by_label("Nom du patient").fill("vidal")
        page.get_by_role("button", name="Chercher").click()
        page.get_by_role("radio", name="VIDAL Rose").check()
        page.get_by_role("button", name="Autoriser").click()
        page.wait_for_url(f"{site}/?code=*")
        browser.close()
