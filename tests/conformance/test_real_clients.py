"""Can the FHIR libraries that people really use work with the hub, unchanged: fhirpy, fhirclient, fhir-kit-client?"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fhirpy
import pytest
from fhirclient import client as fhirclient
from fhirclient import server as fhirclient_server
from fhirclient.models import bundle, humanname, observation, patient
from fhirpy.base import exceptions

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

SYSTEM = "https://client.example/ids"
HERE = Path(__file__).parent


def an_observation(subject: Any, value: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": subject,
        "effectiveDateTime": f"2026-01-{value:02d}",
        "valueQuantity": {"value": value, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    }


# ---- fhirpy ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def by_fhirpy(base: str, token: str) -> fhirpy.SyncFHIRClient:
    lenient = {"Prefer": "handling=lenient"}
    return fhirpy.SyncFHIRClient(base, authorization=f"Bearer {token}", extra_headers=lenient)


def test_fhirpy_writes_searches_and_deletes(by_fhirpy: fhirpy.SyncFHIRClient) -> None:
    made = by_fhirpy.resource("Patient", name=[{"family": "Fhirpy", "given": ["Zoé"]}], gender="female")
    made.save()
    assert made.id and made["meta"]["versionId"] == "1"

    made["birthDate"] = "1980-05-11"
    made.save()
    assert made["meta"]["versionId"] == "2"
    made["active"] = False  # not `made.patch`: it sends a form of patch that FHIR does not have
    made.update()
    again = by_fhirpy.reference("Patient", made.id).to_resource()
    assert (again["active"], again["birthDate"]) == (False, "1980-05-11")

    for value in range(1, 8):
        by_fhirpy.resource("Observation", **an_observation(made.to_reference(), value)).create()
    weights = by_fhirpy.resources("Observation").search(patient__Patient__family="fhirpy").sort("date").limit(2)
    assert [one["valueQuantity"]["value"] for one in weights.fetch_all()] == list(range(1, 8))
    assert weights.count() == 7  # with a parameter that FHIR does not have, hence the lenient handling

    heavy = by_fhirpy.resources("Observation").search(patient=made.id, value_quantity__gt="5||kg")
    found = heavy.include("Observation", "subject").fetch_raw()
    modes = [entry["search"]["mode"] for entry in found["entry"]]
    assert (modes.count("match"), modes.count("include")) == (2, 1)

    for one in by_fhirpy.resources("Observation").search(subject=made.id).fetch_all():
        one.delete()
    made.delete()
    with pytest.raises(exceptions.ResourceNotFound):
        made.refresh()


def test_fhirpy_is_told_what_is_wrong(by_fhirpy: fhirpy.SyncFHIRClient) -> None:
    with pytest.raises(exceptions.OperationOutcome) as refused:
        by_fhirpy.resource("Patient", gender="robot").create()
    assert refused.value.resource["issue"][0]["expression"] == ["Patient.gender"]


def test_fhirpy_updates_what_a_search_finds(by_fhirpy: fhirpy.SyncFHIRClient) -> None:
    """Not `get_or_create`: it asks for what FHIR says with a header by a query, as one server has it."""
    body = {"identifier": [{"system": SYSTEM, "value": "once"}], "name": "Une fois"}
    ways = by_fhirpy.resources("Organization").search(identifier=f"{SYSTEM}|once")
    first, was_made = ways.update(by_fhirpy.resource("Organization", **body))
    second, was_made_again = ways.update(by_fhirpy.resource("Organization", **body | {"name": "Deux fois"}))
    assert (first.id, was_made, was_made_again) == (second.id, True, False)
    assert ways.get()["name"] == "Deux fois"


async def test_fhirpy_sends_a_transaction_and_asks_what_the_server_can(base: str, token: str) -> None:
    by = fhirpy.AsyncFHIRClient(base, authorization=f"Bearer {token}")
    person = {
        "fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
        "request": {"method": "POST", "url": "Patient"},
    }
    person["resource"] = {"resourceType": "Patient", "name": [{"family": "Transaction"}]}
    weight = {"resource": an_observation({"reference": person["fullUrl"]}, 3)}
    weight["request"] = {"method": "POST", "url": "Observation"}
    sent = by.resource("Bundle", type="transaction", entry=[person, weight])
    await sent.save()
    found = await by.resources("Observation").search(subject__Patient__name="transaction").fetch()
    assert len(found) == 1
    assert (await found[0]["subject"].to_resource())["name"][0]["family"] == "Transaction"
    statement = await by.execute("metadata", method="get")
    assert statement["fhirVersion"] == "4.0.1"
    history = await by.execute(f"Observation/{found[0].id}/_history", method="get")
    assert history["type"] == "history"


def test_fhirpy_sees_with_the_rights_of_its_token(base: str, nadias: str) -> None:
    by = fhirpy.SyncFHIRClient(base, authorization=f"Bearer {nadias}")
    assert by.resources("Task").search(code="inbox").limit(3).fetch_all()
    with pytest.raises(exceptions.ResourceNotFound):
        by.reference("Patient", "nobody-of-that-name").to_resource()


# ---- fhirclient (SMART on FHIR) --------------------------------------------------------------------------------------


@pytest.fixture
def smart(base: str, token: str) -> fhirclient_server.FHIRServer:
    """A server as fhirclient knows it, the token in every request of its session."""
    made = fhirclient.FHIRClient(settings={"app_id": "test", "api_base": base})
    made.server.session.headers["Authorization"] = f"Bearer {token}"
    return made.server


def test_fhirclient_writes_searches_and_deletes(smart: Any) -> None:
    one = patient.Patient({"name": [{"family": "Fhirclient", "given": ["Paul"]}], "birthDate": "1970-01-02"})
    answer = one.create(smart)
    read = patient.Patient.read(answer["id"], smart)
    assert read.birthDate.isostring == "1970-01-02"

    read.name.append(humanname.HumanName({"family": "Autre", "use": "old"}))
    read.update(smart)
    assert len(patient.Patient.read(read.id, smart).name) == 2

    for value in range(1, 6):
        weight = an_observation({"reference": f"Patient/{read.id}"}, value)
        observation.Observation({name: one for name, one in weight.items() if name != "resourceType"}).create(smart)
    asked = observation.Observation.where({"subject.family": "fhirclient", "_count": "2", "_sort": "-date"})
    values = [one.valueQuantity.value for one in asked.perform_resources_iter(smart)]
    assert values == [5, 4, 3, 2, 1]

    included = observation.Observation.where({"subject": read.id}).include("subject", observation.Observation)
    types = {entry.resource.resource_type for page in included.perform_iter(smart) for entry in page.entry}
    assert types == {"Observation", "Patient"}

    mine = observation.Observation.where({"subject": read.id}).perform_resources_iter(smart)
    deletes = [{"request": {"method": "DELETE", "url": f"Observation/{one.id}"}} for one in mine]
    sent = bundle.Bundle({"type": "transaction", "entry": deletes})
    assert len(smart.post_json("", sent.as_json()).json()["entry"]) == 5
    read.delete(smart)
    with pytest.raises(fhirclient_server.FHIRNotFoundException):
        patient.Patient.read("never-there", smart)


def test_fhirclient_reads_what_the_server_can(smart: Any) -> None:
    smart.get_capability()
    assert smart.capabilityStatement.fhirVersion == "4.0.1"
    assert {one.type for one in smart.capabilityStatement.rest[0].resource} >= {"Patient", "Observation"}


# ---- fhir-kit-client (npm) -------------------------------------------------------------------------------------------


def test_fhir_kit_client_does_all_it_can(base: str, token: str, tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        pytest.skip("npm and node are not on this machine")
    install = [npm, "install", "--no-audit", "--no-fund", "--silent", "fhir-kit-client@2.0.3"]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"the npm registry does not answer: {done.stderr[-200:]}")
    script = shutil.copy(HERE / "clients" / "fhir_kit_client.mjs", tmp_path / "run.mjs")
    ran = subprocess.run([node, str(script), base, token], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout) == {
        "fhirVersion": "4.0.1",
        "created": "1",
        "updated": "2",
        "patched": [False, "3"],
        "versions": ["3", "2", "1"],
        "second": "1990-01-01",
        "pages": [3, 3, 1],
        "chained": 7,
        "included": ["Observation", "Patient"],
        "transaction": ["201 Created", "201 Created"],
        "batch": "200 OK",
        "refused": 422,
        "gone": 410,
    }
