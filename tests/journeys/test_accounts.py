"""A professional without a card: an invitation, a password with codes or a passkey, the terms, a delegation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pyotp
import pytest
from playwright import sync_api

from tests import running
from tests.web import chromium
from web import session

PASSWORD = "quatre chevaux boivent du lait"


@dataclass
class Place:
    """A hub, and what a browser does. Each test is about somebody else of the region."""

    hub: running.Hub
    origin: str

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.origin, timeout=30.0)

    def post(self, browser: httpx.Client, path: str, page: str, **form: str) -> httpx.Response:
        """As the form of that page, whose hidden fields come along."""
        hidden = dict(re.findall(r'type="hidden" name="(\w+)"[^>]*? value="([^"]*)"', browser.get(page).text))
        return browser.post(path, data=hidden | form, headers={"Origin": self.origin})

    def invite(self, name: str) -> str:
        return self.hub.run("account", "invite", "--practitioner", name, f"{name}@exemple.fr")

    def opened(self, link: str) -> tuple[pyotp.TOTP, list[str]]:
        """An account with a password: its authenticator app, and its codes on paper."""
        with self.browser() as browser:
            page = browser.get(link).text
            app = pyotp.TOTP(re.findall(r"<code>([A-Z2-7 ]+)</code>", page)[0].replace(" ", ""))
            hidden = dict(re.findall(r'type="hidden" name="(\w+)"[^>]*? value="([^"]*)"', page))
            form = {**hidden, "mot_de_passe": PASSWORD, "encore": PASSWORD, "code": app.now()}
            answer = browser.post(link, data=form, headers={"Origin": self.origin})
            assert answer.status_code == 200, answer.text
            return app, re.findall(r"<code>([a-z0-9]{5}-[a-z0-9]{5})</code>", answer.text)

    def password(self, browser: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
        form = {"adresse": f"{name}@exemple.fr", "mot_de_passe": password}
        return self.post(browser, "/connexion/motdepasse", "/connexion", **form)

    def code(self, browser: httpx.Client, code: str) -> httpx.Response:
        return self.post(browser, "/connexion/code", "/connexion/code", code=code)

    def fhir(self, browser: httpx.Client) -> httpx.Client:
        """The API with the token of this browser's session."""
        headers = {"Authorization": f"Bearer {browser.cookies['hub_session']}"}
        return httpx.Client(base_url=f"{self.origin}/fhir", headers=headers, timeout=30.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    hub = running.Hub(tmp_path_factory.mktemp("accounts") / "hub", sign_in_rate="0")
    yield Place(hub, f"http://127.0.0.1:{hub.ports['http']}")
    assert hub.stop() == 0


def later(app: pyotp.TOTP) -> str:
    """The code after the present one, which a clock that is a little fast shows."""
    return app.at(datetime.now(UTC), counter_offset=1)


def test_a_password_and_a_code_open_an_account_once_the_terms_are_accepted(place: Place) -> None:
    older, link = place.invite("operateur"), place.invite("operateur")
    with place.browser() as browser:
        assert browser.get(older).status_code == 404  # a new one replaces it
        assert "Olivier Garnier" in browser.get(link).text
        for poor in ("court", "olivier garnier operateur", "azertyuiop12345"):
            refused = place.post(browser, link, link, mot_de_passe=poor, encore=poor, code="000000")
            assert (refused.status_code, 'role="alert"' in refused.text) == (422, True), poor
        wrong = place.post(browser, link, link, mot_de_passe=PASSWORD, encore=PASSWORD, code="000000")
        assert "n&#39;est pas celui que montre l&#39;application" in wrong.text
    app, papers = place.opened(link)
    assert len(papers) == 10
    with place.browser() as browser:
        assert browser.get(link).status_code == 404  # good once
        assert place.password(browser, "operateur", "pas celui-là du tout").status_code == 401
        assert place.password(browser, "inconnu").status_code == 401
        assert place.password(browser, "operateur").headers["location"] == "/connexion/code"
        assert place.code(browser, "000000").status_code == 401
        assert place.code(browser, app.now()).status_code == 401  # it opened the account, it is used
        assert place.code(browser, later(app)).headers["location"] == "/"
        assert browser.get("/").headers["location"] == "/cgu?suite=/"
        with place.fhir(browser) as fhir:
            refused = fhir.get("/Task?code=inbox")
            assert refused.status_code == 403
            assert "conditions générales d'utilisation" in refused.json()["issue"][0]["details"]["text"]
            running.accept_terms(browser)
            assert "Olivier" in browser.get("/").text
            assert fhir.get("/Task?code=inbox").status_code == 200
        assert "Aucune encore" not in browser.get("/compte").text


def test_a_code_on_paper_is_good_once_and_a_code_never_twice(place: Place) -> None:
    app, papers = place.opened(place.invite("nadia"))
    for code, status in ((papers[0], 303), (papers[0].upper(), 401), (later(app), 303), (later(app), 401)):
        with place.browser() as browser:
            place.password(browser, "nadia")
            assert place.code(browser, code).status_code == status, code
    with place.browser() as browser:
        browser.cookies.set("hub_psc", "x" * 80)
        assert place.code(browser, papers[1]).status_code == 401  # a forged ticket passes no password by


def test_who_guesses_is_slowed_down_and_the_owner_is_not(place: Place) -> None:
    app, papers = place.opened(place.invite("claire"))
    with place.browser() as owner, place.browser() as stranger, place.browser() as new:
        place.password(owner, "claire")
        assert place.code(owner, later(app)).status_code == 303
        statuses = [place.password(stranger, "claire", f"essai numéro {n} de plus").status_code for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert place.password(new, "claire").status_code == 429  # right, but from where nobody signed in before
        assert place.password(owner, "claire").status_code == 303
        assert place.code(owner, papers[0]).status_code == 303
        place.password(owner, "claire")
        assert [place.code(owner, "000000").status_code for _ in range(6)] == [401] * 5 + [429]


def test_an_account_is_changed_by_its_owner_and_ended_by_the_operator(place: Place) -> None:
    app, _ = place.opened(place.invite("lgc"))
    with place.browser() as browser, place.browser() as other:
        place.password(browser, "lgc")
        place.code(browser, later(app))
        running.accept_terms(browser)
        page = place.post(browser, "/compte/codes", "/compte").text
        new = re.findall(r"<code>([a-z0-9]{5}-[a-z0-9]{5})</code>", page)
        place.password(other, "lgc")
        assert place.code(other, new[0]).status_code == 303
        assert other.get("/").status_code == 200
        form = {"mot_de_passe": "cinq mulets portent du sel", "encore": "cinq mulets portent du sel"}
        assert place.post(browser, "/compte/motdepasse", "/compte", avant="non", **form).status_code == 422
        changed = place.post(browser, "/compte/motdepasse", "/compte", avant=PASSWORD, **form)
        assert "Mot de passe changé" in changed.text
        assert (browser.get("/").status_code, other.get("/").status_code) == (200, 303)
        assert place.password(other, "lgc").status_code == 401
        assert place.password(other, "lgc", form["encore"]).status_code == 303
        place.hub.run("account", "close", "--practitioner", "lgc")
        running.wait_for(lambda: browser.get("/").status_code == 303, seconds=8, what="the end of the session")
        assert place.password(other, "lgc", form["encore"]).status_code == 401
    # whoever comes with a card, or by a token, has nothing to change here
    with place.browser() as browser:
        browser.cookies.set("hub_session", place.hub.run("token", "--persona", "nadia"))
        assert "Moyens de connexion" not in browser.get("/compte").text
        assert place.post(browser, "/compte/codes", "/compte").status_code == 403


def test_a_delegate_writes_for_another_and_both_names_are_read(place: Place) -> None:
    app, papers = place.opened(place.invite("karim"))
    with place.browser() as claire, place.browser() as karim:
        claire.cookies.set("hub_session", place.hub.run("token", "--persona", "claire"))
        assert "Karim Benali, assistant social" in claire.get("/compte").text
        assert place.post(claire, "/compte/delegations", "/compte", delegue="PractitionerRole/nadia").status_code == 422
        given = place.post(claire, "/compte/delegations", "/compte", delegue="PractitionerRole/karim")
        assert given.status_code == 303
        place.password(karim, "karim")
        choice = place.code(karim, later(app)).text
        assert "Pour Claire Fabre, coordinatrice" in choice
        csrf = re.findall(r'name="csrf" value="([^"]+)"', choice)[0]
        worn = {"profil": "PractitionerRole/claire", "csrf": csrf, "suite": "/"}
        assert karim.post("/connexion/profil", data=worn, headers={"Origin": place.origin}).status_code == 303
        running.accept_terms(karim)
        with place.fhir(karim) as acting, place.fhir(claire) as herself:
            header = herself.get("/Task?code=inbox").json()["entry"][0]["resource"]["focus"]["reference"]
            said = {
                "resourceType": "Communication",
                "status": "completed",
                "partOf": [{"reference": header}],
                "payload": [{"contentString": "Rendez-vous pris pour lundi."}],
            }
            sent = acting.post("/Communication", json=said, headers={"Prefer": "return=representation"})
            assert sent.status_code == 201, sent.text
            message = sent.json()
            assert message["sender"]["reference"] == "PractitionerRole/claire"
            assert message["extension"][0]["valueReference"]["reference"] == "PractitionerRole/karim"
            page = claire.get(f"/conversations/{header.partition('/')[2]}").text
            assert "Karim Benali pour Claire Fabre" in page
            (provenance,) = running.resources(
                herself.get(f"/Provenance?target=Communication/{message['id']}").json(), "Provenance"
            )
            agent = provenance["agent"][0]
            assert agent["who"]["reference"] == "PractitionerRole/karim"
            assert agent["onBehalfOf"]["reference"] == "PractitionerRole/claire"
            forged = herself.post(
                "/Communication",
                json={**said, "extension": message["extension"]},
                headers={"Prefer": "return=representation"},
            ).json()
            assert "extension" not in forged
            reason = {
                "resourceType": "Parameters",
                "parameter": [{"name": "reason", "valueString": "malaise au domicile"}],
            }
            assert acting.post("/Patient/vidal-rose/$emergency-access", json=reason).status_code in (403, 404)
            ended = re.findall(r"/compte/delegations/([\w-]+)/fin", claire.get("/compte").text)
            end = f"/compte/delegations/{ended[0]}/fin"
            form = {"csrf": session.derived(karim.cookies["hub_session"])}
            assert karim.post(end, data=form, headers={"Origin": place.origin}).status_code == 404
            assert place.post(claire, end, "/compte").status_code == 303
            assert acting.get("/Task?code=inbox").status_code == 401
        place.password(karim, "karim")
        assert "Pour Claire" not in place.code(karim, papers[1]).text


@pytest.mark.servers
@pytest.mark.skipif(not chromium.PROGRAM.exists(), reason="no Chromium on this machine")
def test_a_passkey_is_made_and_used_in_a_browser(place: Place) -> None:
    link, local = place.invite("lefebvre"), place.origin.replace("127.0.0.1", "localhost")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium.PROGRAM), args=chromium.ARGUMENTS.split())
        page = browser.new_page(locale="fr-FR")
        protocol = page.context.new_cdp_session(page)
        protocol.send("WebAuthn.enable")
        device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        able = {**device, "isUserVerified": True, "automaticPresenceSimulation": True}
        protocol.send("WebAuthn.addVirtualAuthenticator", {"options": able})
        page.goto(f"{local}{link}")
        page.get_by_role("button", name="Créer ma clé d'accès").click()
        page.wait_for_url(f"{local}/cgu?suite=/")
        page.get_by_role("button", name="J'ai lu et j'accepte").click()
        page.wait_for_url(f"{local}/")
        page.get_by_role("button", name="Se déconnecter").click()
        page.wait_for_url(f"{local}/connexion")
        page.get_by_role("button", name="Se connecter avec une clé d'accès").click()
        page.wait_for_url(f"{local}/")
        assert "Paul" in page.inner_text("body")
        page.goto(f"{local}/compte")
        assert "Première clé d'accès" in page.inner_text("main")
        page.get_by_role("button", name="Retirer cette clé d'accès").click()
        assert "seul moyen de connexion" in page.inner_text("main")
        assert page.goto(f"{place.origin}/connexion")
        assert not page.get_by_role(
            "button", name="Se connecter avec une clé d'accès"
        ).is_visible()  # not at an address
        browser.close()
