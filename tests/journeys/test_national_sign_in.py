"""A professional signs in with Pro Santé Connect, simulated in a process of its own; its lies are not believed."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from joserfc import jwk, jwt

from tests import running
from tests.web import chromium

DISCOVERY = "/auth/realms/esante-wallet/.well-known/wallet-openid-configuration"


@dataclass
class Place:
    """A hub, the provider beside it, and what a browser does."""

    hub: running.Hub
    provider: running.Process
    origin: str
    control_at: str

    def control(self, **how: Any) -> None:
        httpx.post(f"{self.control_at}/control", json=how).raise_for_status()

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.origin, timeout=30.0)

    def answer(self, browser: httpx.Client, persona: str = "nadia", suite: str = "/") -> str:
        """Where the provider sends the person back to, after one tap on a tile."""
        away = browser.get("/connexion/psc", params={"suite": suite})
        assert away.status_code == 303, away.text
        back = httpx.get(f"{away.headers['location']}&persona={persona}")
        assert back.status_code == 303, back.text
        return str(back.headers["location"])

    def sign_in(self, browser: httpx.Client, persona: str = "nadia", suite: str = "/") -> httpx.Response:
        return browser.get(self.answer(browser, persona, suite))


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("psc")
    secret = folder / "secret"
    secret.write_text("un secret d'essai")
    port = running.free_port()
    hub = running.Hub(
        folder / "hub",
        psc_discovery=f"http://127.0.0.1:{port}{DISCOVERY}",
        psc_client_id="hub",
        psc_client_secret_file=str(secret),
    )
    origin = f"http://127.0.0.1:{hub.ports['http']}"
    for name in ("nadia", "lgc", "lefebvre", "karim"):
        hub.run("token", "--persona", name)  # who has accepted the terms of use
    ports = folder / "psc.json"
    command = [sys.executable, "-m", "conformance.simulators.psc", "--port", str(port), "--ports-file", str(ports)]
    command += ["--client-secret-file", str(secret), "--redirect", f"{origin}/connexion/psc/retour"]
    command += ["--logout-url", f"{origin}/oauth/backchannel-logout"]
    provider = running.Process(command, ports, {})
    yield Place(hub, provider, origin, f"http://127.0.0.1:{port}")
    provider.stop()
    assert hub.stop() == 0


@pytest.fixture
def place(started: Place) -> Place:
    started.control()
    return started


def test_one_tap_there_and_the_inbox_is_open_here(place: Place) -> None:
    with place.browser() as browser:
        assert "Pro Santé Connect" in browser.get("/connexion").text
        came = place.sign_in(browser, suite="/docs?x=1")
        assert (came.status_code, came.headers["location"]) == (303, "/docs?x=1")
        assert "Nadia" in browser.get("/").text
        assert "hub_psc" not in browser.cookies


def test_claims_may_come_signed(place: Place) -> None:
    place.control(userinfo="jwt")
    with place.browser() as browser:
        assert place.sign_in(browser).status_code == 303


def test_any_of_the_numbers_of_an_account_may_be_the_known_one(place: Place) -> None:
    known = [{"identifiant": "899700000018", "origine": "RPPS", "qualite": 1}]
    place.control(number="00000000-0000-4000-8000-000000000001", otherIds=known)
    with place.browser() as browser:
        assert place.sign_in(browser).status_code == 303


LIES = ["signature", "key", "nonce", "issuer", "audience", "expired", "early", "subject"]


@pytest.mark.parametrize("how", [*({"lie": one} for one in LIES), {"acr": "eidas0"}, {"acr": None}, {"refuse": True}])
def test_what_is_not_to_be_believed_opens_nothing(place: Place, how: dict[str, Any]) -> None:
    with place.browser() as browser:
        place.control(**how)
        came = place.sign_in(browser)
        assert came.status_code == 401, came.text
        assert 'role="alert"' in came.text
        assert browser.get("/").status_code == 303  # to the sign-in page
        place.control()
        assert place.sign_in(browser).status_code == 303


def test_a_number_that_a_letter_gave_is_nobody_s_account(place: Place) -> None:
    place.control(number="899700007777")
    number = {"use": "temp", "system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899700007777"}
    with place.hub.client("--system") as system, place.browser() as browser:
        someone = {"resourceType": "Practitioner", "active": True, "identifier": [number], "name": [{"family": "X"}]}
        id = system.post("/Practitioner", json=someone).json()["id"]
        role = {"resourceType": "PractitionerRole", "practitioner": {"reference": f"Practitioner/{id}"}}
        assert system.post("/PractitionerRole", json=role).status_code == 201
        assert place.sign_in(browser).status_code == 303
        identifier = "urn:oid:1.2.250.1.71.4.2.1|899700007777"
        found = running.resources(system.get(f"/Practitioner?identifier={identifier}").json(), "Practitioner")
        assert len(found) == 2  # an account of their own


@pytest.mark.parametrize("number", ["", "x,899700000018", "*", "12345"])
def test_whom_no_register_knows_is_told_what_to_do(place: Place, number: str) -> None:
    place.control(number=number)
    with place.browser() as browser:
        came = place.sign_in(browser)
        assert (came.status_code, "demandez un compte" in came.text) == (403, True)


def test_an_answer_is_good_for_the_browser_that_asked_and_once(place: Place) -> None:
    with place.browser() as mine, place.browser() as other:
        answer = place.answer(mine)
        assert other.get(answer).status_code == 401  # somebody was made to follow a link
        place.answer(other)
        assert other.get(answer).status_code == 401
        assert mine.get(answer).status_code == 303
        mine.cookies.clear()
        assert mine.get(answer).status_code == 401
        mine.cookies.set("hub_psc", "invented")
        assert mine.get("/connexion/psc/retour").status_code == 401


def test_a_provider_that_is_down_is_said_so(place: Place) -> None:
    with place.browser() as browser:
        answer = place.answer(browser)
        place.control(down=True)
        came = browser.get(answer)
        assert (came.status_code, "ne répond pas" in came.text) == (503, True)


def test_whoever_works_in_two_places_chooses_one(place: Place) -> None:
    role = {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": {"reference": "Practitioner/lgc"},
        "organization": {"reference": "Organization/dac-12"},
        "code": [{"text": "médecin coordonnateur"}],
    }
    with place.hub.client("--system") as system, place.browser() as browser:
        second = system.post("/PractitionerRole", json=role).json()["id"]
        came = place.sign_in(browser, "lgc", suite="/docs")
        assert came.status_code == 200
        assert "médecin coordonnateur, DAC 12 de démonstration" in came.text
        assert "hub_session" not in browser.cookies
        csrf = re.findall(r'name="csrf" value="([^"]+)"', came.text)[0]
        headers = {"Origin": place.origin}
        forged = {"csrf": csrf, "suite": "/docs", "profil": "PractitionerRole/nadia"}
        assert browser.post("/connexion/profil", data=forged, headers=headers).status_code == 403
        chosen = {**forged, "profil": f"PractitionerRole/{second}"}
        assert browser.post("/connexion/profil", data={**chosen, "csrf": "x"}, headers=headers).status_code == 403
        kept = {name: browser.cookies[name] for name in ("hub_psc", "hub_visitor")}
        done = browser.post("/connexion/profil", data=chosen, headers=headers)
        assert (done.status_code, done.headers["location"]) == (303, "/docs")
        assert browser.get("/").status_code == 200
        browser.cookies.set("hub_psc", kept["hub_psc"])
        assert browser.post("/connexion/profil", data=chosen, headers=headers).status_code == 403  # no form of ours
        browser.cookies.set("hub_visitor", kept["hub_visitor"])
        assert browser.post("/connexion/profil", data=chosen, headers=headers).status_code == 401  # once
        browser.cookies.clear()
        late = place.sign_in(browser, "lgc")
        csrf = re.findall(r'name="csrf" value="([^"]+)"', late.text)[0]
        assert httpx.post(f"{place.control_at}/control/end", json={"persona": "lgc"}).json()["status"] == 200
        after = browser.post("/connexion/profil", data={**chosen, "csrf": csrf}, headers=headers)
        assert (after.status_code, "terminée" in after.text) == (401, True)  # it ended while they chose
        gone = {**role, "id": second, "organization": {"reference": "Organization/none"}}
        system.put(f"/PractitionerRole/{second}", json=gone)
        assert "médecin coordonnateur" in place.sign_in(browser, "lgc").text  # no lock-out by a structure that is gone
        over = {**role, "id": second, "period": {"end": "2001"}}
        system.put(f"/PractitionerRole/{second}", json=over)
        assert place.sign_in(browser, "lgc").status_code == 303
        system.put(f"/PractitionerRole/{second}", json={**role, "id": second, "active": False})
        assert place.sign_in(browser, "lgc").status_code == 303  # one hat is left


def test_a_session_that_ends_there_ends_here_within_seconds(place: Place) -> None:
    end = f"{place.control_at}/control/end"
    with place.browser() as browser:
        assert place.sign_in(browser).status_code == 303
        assert browser.get("/").status_code == 200
        for lie in ("signature", "other_session", "expired"):
            place.control(lie=lie)
            told = httpx.post(end, json={"persona": "nadia"}).json()["status"]
            assert told == (200 if lie == "other_session" else 400)
            assert browser.get("/").status_code == 200
        place.control()
        assert httpx.post(end, json={"persona": "nadia"}).json()["status"] == 200
        assert browser.get("/").status_code == 303
    with place.browser() as one, place.browser() as other:
        assert place.sign_in(one).status_code == place.sign_in(other).status_code == 303
        place.control(lie="no_subject")
        assert httpx.post(end, json={"persona": "nadia"}).json()["status"] == 200
        assert (one.get("/").status_code, other.get("/").status_code) == (200, 303)  # the newest session
        place.control()
        assert place.sign_in(other).status_code == 303
        place.control(lie="no_session")
        assert httpx.post(end, json={"persona": "nadia"}).json()["status"] == 200
        assert one.get("/").status_code == other.get("/").status_code == 303
    refused = httpx.post(f"{place.origin}/oauth/backchannel-logout", data={"logout_token": "x"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


def test_an_end_is_said_once(place: Place) -> None:
    end = f"{place.control_at}/control/end"
    with place.browser() as browser:
        running.wait_for(lambda: place.sign_in(browser).status_code == 303, what="the second after another end")
        place.control(lie="no_jti")
        assert httpx.post(end, json={"persona": "nadia"}).json()["status"] == 400
        assert browser.get("/").status_code == 200
        place.control(lie="no_session")  # everywhere
        assert httpx.post(end, json={"persona": "nadia"}).json()["status"] == 200
        assert browser.get("/").status_code == 303
        place.control()
        running.wait_for(lambda: place.sign_in(browser).status_code == 303, what="the second after the end")
        place.control(lie="replay")
        assert httpx.post(end, json={"persona": "nadia"}).json()["status"] == 400
        assert browser.get("/").status_code == 200  # whoever caught what was said ends nothing with it


EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@dataclass
class Software:
    """A doctor's software that signs in with its key and acts for a person."""

    place: Place
    id: str
    key: jwk.ECKey

    def exchange(self, persona: str = "nadia", **more: str) -> httpx.Response:
        shown = httpx.post(f"{self.place.control_at}/control/access", json={"persona": persona}).json()["access_token"]
        address = f"{self.place.origin}/oauth/token"
        claims = {"iss": self.id, "sub": self.id, "aud": address, "exp": int(time.time()) + 200, "jti": shown}
        form = {
            "grant_type": EXCHANGE,
            "subject_token": shown,
            "subject_token_type": ACCESS,
            "scope": "user/*.rs",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode({"alg": "ES384", "kid": "lgc"}, claims, self.key, ["ES384"]),
        }
        return httpx.post(address, data=form | more, timeout=30.0)

    def fhir(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=f"{self.place.origin}/fhir", headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def software(started: Place) -> Software:
    key = jwk.ECKey.generate_key("P-384", {"kid": "lgc"})
    file = started.hub.folder / "lgc.json"
    file.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    words = ("--scope", "user/*.rs user/Communication.c open-context", "--jwks", str(file), "--psc-client", "lgc")
    id = started.hub.run("client", "add", "Mon LGC", *words)
    return Software(started, id, key)


def test_a_software_acts_for_the_person_whose_token_it_shows(place: Place, software: Software) -> None:
    answer = software.exchange(scope="user/*.cruds system/*.rs")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["scope"] == "user/*.rs user/Communication.c"
    assert (told["issued_token_type"], told["expires_in"]) == (ACCESS, 900)
    with software.fhir(told["access_token"]) as fhir, place.hub.client("--persona", "nadia") as nadia:
        mine = fhir.get("/Task", params={"code": "inbox"}).json()
        ids = [one["resource"]["id"] for one in mine["entry"]]
        assert ids and ids == [one["resource"]["id"] for one in nadia.get("/Task?code=inbox").json()["entry"]]
        task = mine["entry"][0]["resource"]
        assert fhir.put(f"/Task/{task['id']}", json=task).status_code == 403  # no scope for it
        with place.hub.client("--persona", "karim") as karim:
            for one in karim.get("/Task?code=inbox").json().get("entry", ()):
                assert fhir.get(f"/Task/{one['resource']['id']}").status_code == 404
        assert httpx.post(f"{place.control_at}/control/end", json={"persona": "nadia"}).json()["status"] == 200
        running.wait_for(lambda: fhir.get("/Task").status_code == 401, seconds=8, what="the end of the session")


def test_what_a_software_opens_for_a_person_ends_with_their_session_there(place: Place, software: Software) -> None:
    token = software.exchange(scope="user/*.rs open-context").json()["access_token"]
    with place.browser() as browser:
        bearer = {"Authorization": f"Bearer {token}"}
        number = {"patient": "urn:oid:1.2.250.1.213.1.4.10|235021220200375"}
        told = browser.post("/oauth/launch", data=number, headers=bearer).json()
        page = browser.get(told["url"]).text
        form = {name: re.search(rf'name="{name}" value="([^"]*)"', page) for name in ("csrf", "iss", "launch")}
        sent = {name: found[1] for name, found in form.items() if found}
        opened = browser.post("/connexion/contexte", data=sent, headers={"origin": place.origin})
        assert (opened.status_code, opened.headers["location"]) == (303, "/patients/vidal-rose")
        assert "Mon LGC" in page and browser.get("/").status_code == 200
        later = browser.post("/oauth/launch", data=number, headers=bearer).json()["url"]
        assert httpx.post(f"{place.control_at}/control/end", json={"persona": "nadia"}).json()["status"] == 200
        running.wait_for(lambda: browser.get("/").status_code == 303, seconds=8, what="the end of the session")
        assert browser.get(later).status_code == 403


@pytest.mark.parametrize(
    ("how", "form", "error"),
    [
        ({}, {"subject_token": "unknown"}, "invalid_grant"),
        ({"lie": "issuer"}, {}, "invalid_grant"),
        ({"lie": "subject"}, {}, "invalid_grant"),
        ({"lie": "other_client"}, {}, "invalid_grant"),
        ({"acr": "eidas0"}, {}, "invalid_grant"),
        ({"acr": None}, {}, "invalid_grant"),
        ({"number": "899700009999"}, {}, "access_denied"),
        ({}, {"practitioner_role": "PractitionerRole/karim"}, "access_denied"),
        ({}, {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({}, {"actor_token": "x"}, "invalid_request"),
        ({}, {"scope": "system/*.rs"}, "invalid_scope"),
        ({}, {"client_assertion": "x"}, "invalid_client"),
        ({"down": True}, {}, "temporarily_unavailable"),
    ],
)
def test_a_software_acts_for_nobody_without_proof(
    place: Place, software: Software, how: dict[str, Any], form: dict[str, str], error: str
) -> None:
    place.control(**how)
    answer = software.exchange(**form)
    assert answer.status_code in (400, 401, 503), answer.text
    assert answer.json()["error"] == error


def test_a_software_says_for_which_hat_it_acts(place: Place, software: Software) -> None:
    role = {"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/lefebvre"}}
    with place.hub.client("--system") as system:
        second = system.post("/PractitionerRole", json=role).json()["id"]
        answer = software.exchange("lefebvre").json()
        assert answer["error"] == "invalid_target"
        assert f"PractitionerRole/{second}" in answer["error_description"]
        assert software.exchange("lefebvre", practitioner_role=f"PractitionerRole/{second}").status_code == 200
        assert system.delete(f"/PractitionerRole/{second}").status_code == 204


@pytest.mark.servers
def test_a_person_does_it_in_a_browser(place: Place) -> None:
    with chromium.phone(f"{place.origin}/connexion") as page:
        page.get_by_role("link", name="Se connecter avec Pro Santé Connect").click()
        page.get_by_role("link", name=re.compile("Nadia Roux")).click()
        page.wait_for_url(f"{place.origin}/")
        assert "Nadia" in page.inner_text("body")
