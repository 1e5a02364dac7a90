"""Whoever has a card and may practise gets an account at once, once, and hears what is out of date."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest

from tests import running
from tests.journeys.test_national_sign_in import Place, place, started

__all__ = ["place", "started"]

FINESS = "https://finess.esante.gouv.fr"


def entries(place: Place, url: str) -> list[dict[str, Any]]:
    with place.hub.client("--system") as system:
        return [one["resource"] for one in system.get(url).json().get("entry", ())]


def requests(place: Place, practitioner: str) -> list[dict[str, Any]]:
    found = entries(place, "/Task?code=account-request")
    return [one for one in found if one["for"]["reference"] == practitioner]


def wear(place: Place, browser: Any, page: str) -> str:
    """Choose the first hat, and where that leads."""
    form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
    hats = re.findall(r'name="profil" value="([^"]+)"', page)
    chosen = browser.post("/connexion/profil", data={**form, "profil": hats[0]}, headers={"Origin": place.origin})
    assert chosen.status_code == 303, chosen.text
    return str(chosen.headers["location"])


def test_somebody_unknown_with_a_card_is_in_within_two_minutes(place: Place) -> None:
    began = time.monotonic()
    with place.browser() as browser:
        came = place.sign_in(browser, "sofia")
        assert came.status_code == 200, came.text
        assert "Maison de santé de démonstration" in came.text
        assert "Cabinet Lacombe" in came.text
        assert wear(place, browser, came.text) == "/"
        assert browser.get("/").headers["location"] == "/cgu?suite=/"  # nothing more before that
        running.accept_terms(browser)
        assert browser.get("/").status_code == 200
    took = time.monotonic() - began
    assert took < 120
    [sofia] = entries(place, "/Practitioner?identifier=urn:oid:1.2.250.1.71.4.2.1|899700000067")
    assert sofia["name"] == [{"family": "LACOMBE", "given": ["Sofia"]}]
    ref = f"Practitioner/{sofia['id']}"
    roles = entries(place, f"/PractitionerRole?practitioner={ref}")
    assert len(roles) == 2  # each place once, although it is claimed twice
    assert {one["code"][0]["coding"][0]["code"] for one in roles} == {"50"}
    places = {one["organization"].get("display", "") for one in roles}
    assert places == {"", "Cabinet Lacombe"}  # one has a national number, and an Organization
    assert len(entries(place, f"/Organization?identifier={FINESS}|129900057")) == 1
    [task] = requests(place, ref)
    assert task["businessStatus"]["coding"][0]["code"] == "open"
    said = {one["type"]["coding"][0]["code"]: one for one in task["output"]}
    assert said.keys() == {"identity", "profession", "registration", "structure"}
    for one in said.values():
        assert one["valueCodeableConcept"]["coding"][0]["code"] == "passed"
        assert {"valueString": "Pro Santé Connect"}.items() <= {
            name: value for part in one["extension"] for name, value in part.items() if name != "url"
        }.items()


def test_many_first_sign_ins_at_once_make_one_account(place: Place) -> None:
    place.control(number="899700000075", otherIds=[], places=[["129900065", "Centre de démonstration"]])
    answers: list[int] = []

    def come() -> None:
        with place.browser() as browser:
            answers.append(place.sign_in(browser, "sofia").status_code)

    together = [threading.Thread(target=come) for _ in range(8)]
    for one in together:
        one.start()
    for one in together:
        one.join()
    assert answers == [303] * 8
    [person] = entries(place, "/Practitioner?identifier=urn:oid:1.2.250.1.71.4.2.1|899700000075")
    ref = f"Practitioner/{person['id']}"
    assert len(entries(place, f"/PractitionerRole?practitioner={ref}")) == 1
    assert len(entries(place, f"/Organization?identifier={FINESS}|129900065")) == 1
    assert len(requests(place, ref)) == 1


def test_what_the_directory_says_otherwise_is_to_be_corrected_and_stops_nobody(place: Place) -> None:
    place.control(profession="21", places=[["129900024", "Cabinet de démonstration"]])
    with place.browser() as browser:
        came = place.sign_in(browser, "nadia")
        assert (came.status_code, came.headers["location"]) == (303, "/compte/a-corriger")
        page = browser.get("/compte/a-corriger").text
        assert "infirmière libérale" in page
        assert "Cabinet de démonstration" in page
        assert 'href="https://annuaire.sante.fr/"' in page
        assert browser.get("/").status_code == 200
    [task] = requests(place, "Practitioner/nadia")
    found = {
        one["type"]["coding"][0]["code"]: one["valueCodeableConcept"]["coding"][0]["code"] for one in task["output"]
    }
    assert found == {
        "identity": "passed",
        "profession": "to-correct",
        "registration": "passed",
        "structure": "to-correct",
    }
    with place.hub.client("--persona", "nadia") as nadia, place.hub.client("--persona", "karim") as karim:
        assert nadia.get(f"/Task/{task['id']}").status_code == 200
        assert karim.get(f"/Task/{task['id']}").status_code == 404
        body = {"resourceType": "Parameters", "parameter": [{"name": "decision", "valueString": "approve"}]}
        assert nadia.post(f"/Task/{task['id']}/$decide-account", json=body).status_code == 403
    with place.browser() as browser:
        assert place.sign_in(browser, "nadia").headers["location"] == "/"  # said once


def test_whose_place_of_work_has_ended_goes_on_with_that_of_the_card(place: Place) -> None:
    number = {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899700000083"}
    with place.hub.client("--system") as system:
        person = {"resourceType": "Practitioner", "active": True, "identifier": [number], "name": [{"family": "Y"}]}
        id = system.post("/Practitioner", json=person).json()["id"]
        role = {"resourceType": "PractitionerRole", "practitioner": {"reference": f"Practitioner/{id}"}}
        assert system.post("/PractitionerRole", json={**role, "period": {"end": "2020-01-01"}}).status_code == 201
    place.control(number="899700000083", otherIds=[])
    with place.browser() as browser:
        came = place.sign_in(browser, "nadia")
        assert (came.status_code, came.headers["location"]) == (303, "/compte/a-corriger")
    assert len(entries(place, f"/PractitionerRole?practitioner=Practitioner/{id}")) == 2


@pytest.mark.parametrize(
    "how",
    [
        {"number": "300000000000001/x"},  # given by a structure
        {"exercices": []},
        {"category": "E"},  # a student
        {"profession": ""},
        {"exercices": "x"},
    ],
)
def test_a_card_without_an_active_registration_opens_nothing(place: Place, how: dict[str, Any]) -> None:
    place.control(**{"number": "899700000091", "otherIds": [], **how})
    with place.browser() as browser:
        came = place.sign_in(browser, "sofia")
        assert came.status_code == 403
        assert "demandez un compte" in came.text
    assert entries(place, "/Practitioner?identifier=urn:oid:1.2.250.1.71.4.2.1|899700000091") == []


def test_a_closed_entry_stays_closed(place: Place) -> None:
    number = {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "899700000109"}
    with place.hub.client("--system") as system:
        person = {"resourceType": "Practitioner", "active": False, "identifier": [number], "name": [{"family": "Z"}]}
        assert system.post("/Practitioner", json=person).status_code == 201
    place.control(number="899700000109", otherIds=[])
    with place.browser() as browser:
        came = place.sign_in(browser, "sofia")
        assert (came.status_code, "votre compte est fermé" in came.text.lower()) == (403, True)
