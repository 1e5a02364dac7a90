"""A person opens an app of somebody else: it gets what they allow, for as long as they allow it, and nothing else."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwk, jwt

from tests import running
from tests.journeys import opening
from tests.journeys.opening import BACK, App

JEANNE, ROSE = "delmas-jeanne", "vidal-rose"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Hub]:
    started = running.Hub(tmp_path_factory.mktemp("apps"))
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="module")
def app_id(hub: running.Hub) -> str:
    scope = "patient/*.cruds user/*.rs"
    return hub.run("client", "add", "Carnet de suivi", "--scope", scope, "--redirect-uri", BACK)


@pytest.fixture
def nadia(hub: running.Hub) -> Iterator[httpx.Client]:
    with opening.browser(hub, "nadia") as made:
        yield made


def test_the_hub_says_what_it_can_do_and_no_more(hub: running.Hub) -> None:
    told = httpx.get(f"{opening.base(hub)}/.well-known/smart-configuration").json()
    assert told["authorization_endpoint"].endswith("/oauth/authorize")
    assert "authorization_code" in told["grant_types_supported"]
    assert {"launch-standalone", "launch-ehr", "client-public", "permission-patient"} <= {*told["capabilities"]}
    assert not {"sso-openid-connect", "permission-offline", "authorize-post"} & {*told["capabilities"]}
    assert "refresh_token" not in told["grant_types_supported"]
    assert not {"openid", "fhirUser", "offline_access", "open-context"} & {*told["scopes_supported"]}
    assert told["issuer"] == opening.base(hub)
    security = httpx.get(f"{opening.base(hub)}/metadata").json()["rest"][0]["security"]
    uris = {one["url"]: one["valueUri"] for one in security["extension"][0]["extension"]}
    assert uris["authorize"] == told["authorization_endpoint"]


def test_the_person_allows_it_and_it_acts_for_them(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "user/*.rs")
    page = nadia.get("/oauth/authorize", params=app.asks())
    assert "Carnet de suivi" in page.text and "Nadia" in page.text and "tous les patients" in page.text
    policy = page.headers["content-security-policy"]
    assert "form-action 'self' http://127.0.0.1:9;" in policy and "script-src" not in policy
    came = app.allowed(nadia)
    assert (came["state"], came["iss"]) == (app.state, opening.base(hub))
    told = app.redeem(came["code"])
    assert told.status_code == 200, told.text
    assert told.headers["cache-control"] == "no-store"
    answer = told.json()
    assert (answer["scope"], answer["expires_in"], "patient" in answer) == ("user/*.rs", 3600, False)
    with app.fhir(answer["access_token"]) as fhir:
        assert fhir.get(f"/Patient/{JEANNE}").status_code == 200
        assert fhir.post("/Observation", json={"resourceType": "Observation"}).status_code == 403
    assert "Logiciel Carnet de suivi" in nadia.get("/sessions").text


def test_who_is_not_signed_in_comes_back_to_the_question_afterwards(hub: running.Hub, app_id: str) -> None:
    app = App(hub, app_id, "user/*.rs")
    with opening.browser(hub) as nobody:
        away = nobody.get("/oauth/authorize", params=app.asks())
        assert away.status_code == 303 and away.headers["location"] == "/connexion?suite=/oauth/authorize"
        page = nobody.get(away.headers["location"])
        back = opening.field_of(page, "suite")
        form = {"csrf": opening.field_of(page, "csrf"), "persona": "nadia", "suite": back}
        came = nobody.post("/connexion", data=form)
        assert "Autoriser" in nobody.get(came.headers["location"]).text


def test_one_patient_is_picked_and_the_others_do_not_exist(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "launch/patient patient/*.cruds user/*.rs user/Practitioner.rs")
    page = nadia.get("/oauth/authorize", params={**app.asks(), "nom": "delmas"})
    assert JEANNE in page.text and ROSE not in page.text
    told = app.redeem(app.allowed(nadia, patient=JEANNE)["code"]).json()
    assert told["patient"] == JEANNE
    # Next to a scope of one patient, those of the person stay for the directory alone, and it is said so.
    assert told["scope"].split() == ["patient/*.cruds", "user/Practitioner.rs", "launch/patient"]
    with opening_rows(hub) as system, app.fhir(told["access_token"]) as fhir:
        assert system.get(f"/Patient/{ROSE}").status_code == 200
        assert fhir.get(f"/Patient/{JEANNE}").status_code == 200
        assert fhir.get(f"/Patient/{ROSE}").status_code == 404
        assert fhir.get("/Patient?_summary=count").json()["total"] == 1
        assert {one["id"] for one in running.resources(fhir.get("/Patient").json(), "Patient")} == {JEANNE}
        assert fhir.get("/PractitionerRole").json()["entry"]
        assert fhir.put(f"/Patient/{ROSE}", json={"resourceType": "Patient", "id": ROSE}).status_code in (403, 404)


@pytest.mark.parametrize("subject", [f"Patient/{ROSE}", None])
def test_nothing_is_written_of_others(hub: running.Hub, app_id: str, nadia: httpx.Client, subject: str | None) -> None:
    app = App(hub, app_id, "launch/patient patient/*.cruds")
    token = app.redeem(app.allowed(nadia, patient=JEANNE)["code"]).json()["access_token"]
    measured: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "poids"}}
    mine = {**measured, "subject": {"reference": f"Patient/{JEANNE}"}}
    with app.fhir(token) as fhir:
        kept = fhir.post("/Observation", json=mine)
        assert kept.status_code == 201, kept.text
        other = {**measured, **({"subject": {"reference": subject}} if subject else {})}
        refused = fhir.post("/Observation", json=other)
        assert refused.status_code == 403, refused.text
        moved = fhir.put(f"/Observation/{kept.json()['id']}", json={**other, "id": kept.json()["id"]})
        assert moved.status_code in (403, 422), moved.text
        assert fhir.get(f"/Observation/{kept.json()['id']}").json()["subject"]["reference"] == f"Patient/{JEANNE}"
        assert fhir.delete("/Organization/dac-12").status_code == 403
        assert fhir.post(f"/Patient/{ROSE}/$emergency-access", json={}).status_code in (400, 403, 404)
        assert fhir.get(f"/AuditEvent?date=ge2020-01-01&patient={ROSE}").json().get("entry", []) == []
        traces = fhir.get("/AuditEvent?date=ge2020-01-01")
        assert traces.status_code == 200 and ROSE not in traces.text


def test_a_patient_whom_the_person_may_not_see_cannot_be_picked(hub: running.Hub, app_id: str) -> None:
    app = App(hub, app_id, "launch/patient patient/*.rs")
    with opening_rows(hub) as system, opening.browser(hub, "nadia") as nadia:
        hidden = system.post("/Patient", json={"resourceType": "Patient", "name": [{"family": "CACHÉ"}]}).json()["id"]
        for id in (hidden, "personne", "", "x/../y"):
            page = nadia.get("/oauth/authorize", params=app.asks())
            form = {name: opening.field_of(page, name) for name in ("csrf", "asked")}
            assert nadia.post("/oauth/authorize", data={**form, "choix": "oui", "patient": id}).status_code == 404
        assert "CACH" not in nadia.get("/oauth/authorize", params={**app.asks(), "nom": "cach"}).text.replace(
            "caché", ""
        )


def test_without_a_patient_such_scopes_give_nothing(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "patient/*.rs")
    assert opening.answer(nadia.get("/oauth/authorize", params=app.asks()))["error"] == "invalid_scope"
    app.scope = "patient/*.rs user/Practitioner.rs"
    assert app.redeem(app.allowed(nadia)["code"]).json()["scope"] == "user/Practitioner.rs"
    with hub.client("--client", "x", "--scope", "patient/*.rs", "--persona", "nadia") as fhir:
        assert fhir.get(f"/Patient/{JEANNE}").status_code == 403
        assert fhir.get("/Patient").status_code == 403


WRONG = {
    "state": ("", "invalid_request"),
    "aud": ("https://elsewhere.example/fhir", "invalid_request"),
    "code_challenge": ("short", "invalid_request"),
    "code_challenge_method": ("plain", "invalid_request"),
    "response_type": ("token", "unsupported_response_type"),
    "scope": ("system/*.rs", "invalid_scope"),
    "request": ("a.b.c", "request_not_supported"),
    "response_mode": ("fragment", "invalid_request"),
    "launch": ("x", "invalid_request"),
}


@pytest.mark.parametrize("name", [*WRONG, "no PKCE", "no aud", "twice"])
def test_what_is_wrong_goes_back_to_the_app(hub: running.Hub, app_id: str, nadia: httpx.Client, name: str) -> None:
    app = App(hub, app_id, "user/*.rs")
    value, error = WRONG.get(name, ("", "invalid_request"))
    asked = [*app.asks(**({name: value} if name in WRONG else {})).items()]
    left = {"no PKCE": ("code_challenge", "code_challenge_method"), "no aud": ("aud",)}.get(name, ())
    asked = [pair for pair in asked if pair[0] not in left] + ([("scope", "x")] if name == "twice" else [])
    came = opening.answer(nadia.get("/oauth/authorize", params=asked))
    assert (came["error"], came["iss"]) == (error, opening.base(hub))
    assert came.get("state") == (app.state if name != "state" else None)


@pytest.mark.parametrize(
    "how",
    [
        {"redirect_uri": f"{BACK}/x"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": ""},
        {"client_id": "x"},
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_registered(
    hub: running.Hub, app_id: str, nadia: httpx.Client, how: dict[str, str]
) -> None:
    page = nadia.get("/oauth/authorize", params=App(hub, app_id, "user/*.rs").asks(**how))
    assert page.status_code == 400 and "location" not in page.headers
    two = [*App(hub, app_id, "user/*.rs").asks().items(), ("redirect_uri", "https://evil.example/")]
    assert nadia.get("/oauth/authorize", params=two).status_code == 400


def test_whoever_refuses_gives_nothing(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "user/*.rs")
    came = app.allowed(nadia, choice="non")
    assert (came["error"], came["state"], "code" in came) == ("access_denied", app.state, False)


def test_another_site_allows_nothing(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "user/*.rs")
    page = nadia.get("/oauth/authorize", params=app.asks())
    form = {"asked": opening.field_of(page, "asked"), "choix": "oui", "csrf": opening.field_of(page, "csrf")}
    evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert nadia.post("/oauth/authorize", data=form, headers=evil).status_code == 403
    assert nadia.post("/oauth/authorize", data={**form, "csrf": "0" * 32}).status_code == 403


def test_an_app_does_not_allow_itself_more(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "user/Practitioner.rs")
    token = app.redeem(app.allowed(nadia)["code"]).json()["access_token"]
    with opening.browser(hub) as made:
        made.cookies.set("hub_session", token, domain="127.0.0.1")
        assert made.get("/oauth/authorize", params=App(hub, app_id, "user/*.rs").asks()).status_code == 403


def test_a_code_is_for_one_app_and_whoever_began(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "user/*.rs")
    code = app.allowed(nadia)["code"]
    other = hub.run("client", "add", "Autre", "--scope", "user/*.rs", "--redirect-uri", BACK)
    for wrong in ({"client_id": other}, {"redirect_uri": f"{BACK}/"}, {"code_verifier": "x" * 43}, {"code": "x"}):
        assert app.redeem(**{"code": code, **wrong}).json()["error"] == "invalid_grant", wrong
    assert app.redeem(code).status_code == 200


def test_a_code_that_is_used_twice_takes_the_token_back(hub: running.Hub, app_id: str, nadia: httpx.Client) -> None:
    app = App(hub, app_id, "user/*.rs")
    code = app.allowed(nadia)["code"]
    token = app.redeem(code).json()["access_token"]
    assert app.redeem(code).json()["error"] == "invalid_grant"
    with app.fhir(token) as fhir:
        running.wait_for(lambda: fhir.get("/Patient").status_code == 401, seconds=8, what="the end of the token")


def test_a_code_stops_with_the_session_that_gave_it(hub: running.Hub, app_id: str) -> None:
    app = App(hub, app_id, "user/*.rs")
    with opening.browser(hub, "nadia") as nadia:
        code = app.allowed(nadia)["code"]
        page = nadia.get("/")
        assert nadia.post("/deconnexion", data={"csrf": opening.field_of(page, "csrf")}).status_code == 303
    assert app.redeem(code).json()["error"] == "invalid_grant"


def test_an_app_with_a_key_has_to_show_it(hub: running.Hub, nadia: httpx.Client, tmp_path: Path) -> None:
    key = jwk.ECKey.generate_key("P-384", {"kid": "k"})
    jwks = tmp_path / "jwks.json"
    jwks.write_text(jwk.KeySet([key]).as_dict(private=False).__repr__().replace("'", '"'))
    words = ("client", "add", "Serveur", "--scope", "user/*.rs", "--jwks", str(jwks), "--redirect-uri", BACK)
    app = App(hub, hub.run(*words), "user/*.rs")
    code = app.allowed(nadia)["code"]
    assert app.redeem(code).json()["error"] == "invalid_client"
    at = f"{opening.base(hub).removesuffix('/fhir')}/oauth/token"
    claims = {"iss": app.id, "sub": app.id, "aud": at, "exp": int(time.time()) + 200, "jti": secrets.token_hex(8)}
    signed = jwt.encode({"alg": "ES384", "kid": "k"}, claims, key, ["ES384"])
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    told = app.redeem(code, client_assertion=signed, client_assertion_type=kind)
    assert told.status_code == 200, told.text


def opening_rows(hub: running.Hub) -> httpx.Client:
    """A client that sees everything."""
    return hub.client("--system")
