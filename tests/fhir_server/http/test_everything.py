"""`$everything` of a patient and of an encounter: R4 patient-operation-everything.html."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, an_observation, entries, issue, link

Client = httpx.AsyncClient
Json = dict[str, Any]
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


async def made(fhir: Client, resource: Json) -> str:
    answer = await fhir.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    return f"{resource['resourceType']}/{answer.json()['id']}"


def refs(bundle: Json, mode: str = "match") -> list[str]:
    return [f"{one['resourceType']}/{one['id']}" for one in entries(bundle, mode)]


def an_encounter(patient: str, start: str, end: str | None = None, **more: Any) -> Json:
    period = {"start": start} if end is None else {"start": start, "end": end}
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": patient},
        "period": period,
        **more,
    }


class World:
    """One patient with a stay, two observations and an allergy, the people around, and another patient."""

    def __init__(self, fhir: Client) -> None:
        self.fhir = fhir

    async def fill(self) -> World:
        fhir = self.fhir
        self.hospital = await made(fhir, {"resourceType": "Organization", "name": "Hôpital"})
        self.doctor = await made(fhir, {"resourceType": "Practitioner", "name": [{"family": "Medecin"}]})
        role = {"practitioner": {"reference": self.doctor}, "organization": {"reference": self.hospital}}
        self.role = await made(fhir, {"resourceType": "PractitionerRole", **role})
        self.patient = await made(fhir, a_patient(generalPractitioner=[{"reference": self.role}]))
        self.other = await made(fhir, a_patient())
        stay = an_encounter(self.patient, "2020-01-10", "2020-02-10", serviceProvider={"reference": self.hospital})
        self.stay = await made(fhir, stay)
        by = [{"reference": self.doctor}]
        in_stay = {"encounter": {"reference": self.stay}, "performer": by, "effectiveDateTime": "2020-01-15"}
        self.early = await made(fhir, an_observation(self.patient, **in_stay))
        self.late = await made(fhir, an_observation(self.patient, performer=by, effectiveDateTime="2024-06-01"))
        status = {"coding": [{"system": f"{TERMINOLOGY}/allergyintolerance-clinical", "code": "active"}]}
        known = {"clinicalStatus": status, "patient": {"reference": self.patient}}
        self.allergy = await made(fhir, {"resourceType": "AllergyIntolerance", **known})
        self.foreign = await made(fhir, an_observation(self.other))
        self.content = await made(fhir, {"resourceType": "Binary", "contentType": "text/plain", "data": "QUFB"})
        attachment = {"attachment": {"contentType": "text/plain", "url": self.content}}
        document = {"status": "current", "subject": {"reference": self.patient}, "content": [attachment]}
        context = {"context": {"related": [{"reference": self.foreign}]}}
        self.document = await made(fhir, {"resourceType": "DocumentReference", **document, **context})
        self.matches = [self.patient, self.stay, self.early, self.late, self.allergy, self.document]
        self.people = {self.role, self.doctor, self.hospital, self.content}
        return self


@pytest.fixture
async def world(fhir: Client) -> World:
    return await World(fhir).fill()


async def test_the_patient_comes_first_then_the_compartment_then_what_it_refers_to(world: World) -> None:
    bundle = (await world.fhir.get(f"/{world.patient}/$everything")).json()
    assert (bundle["type"], bundle["total"], refs(bundle)) == ("searchset", 6, world.matches)
    assert sorted(refs(bundle, "include")) == sorted(world.people)
    assert link(bundle, "next") is None
    posted = await world.fhir.post(f"/{world.patient}/$everything", json={"resourceType": "Parameters"})
    assert posted.json()["entry"] == bundle["entry"]


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_over_pages_every_resource_comes_once(world: World, count: int) -> None:
    place: str | None = f"{BASE}/{world.patient}/$everything?_count={count}"
    seen, along = [], []
    while place:
        page = (await world.fhir.get(place)).json()
        seen += refs(page)
        along += refs(page, "include")
        place = link(page, "next")
        await made(world.fhir, an_observation(world.patient)) if not along[4:] and len(seen) < 3 else None
    assert seen[: len(world.matches)] == world.matches
    assert len(seen) == len(set(seen))
    assert sorted(along) == sorted(world.people)


async def test_dates_of_care_types_and_changes_narrow_it(world: World) -> None:
    url = f"/{world.patient}/$everything"

    async def shown(query: str) -> set[str]:
        return set(refs((await world.fhir.get(f"{url}?{query}")).json())) - {world.patient, world.document}

    # What has no date of care is always there; a stay counts while it lasted.
    assert await shown("start=2020-02-01&end=2020-03-01") == {world.stay, world.allergy}
    assert await shown("start=2020-02-11") == {world.late, world.allergy}
    assert await shown("end=2020-01") == {world.stay, world.early, world.allergy}
    assert await shown("_type=Observation") == {world.early, world.late}
    assert await shown("_since=2100-01-01T00:00:00Z") == set()
    only = (await world.fhir.get(f"{url}?_type=Patient,Practitioner&_type=Observation")).json()
    assert set(refs(only, "include")) == {world.doctor}
    posted = {"resourceType": "Parameters", "parameter": [{"name": "start", "valueDate": "2020-02-11"}]}
    assert world.late in refs((await world.fhir.post(url, json=posted)).json())


async def test_parts_of_resources_may_be_asked_for(world: World) -> None:
    place: str | None = f"{BASE}/{world.patient}/$everything?_elements=code&_count=3"
    shown: list[Json] = []
    while place:
        page = (await world.fhir.get(place)).json()
        shown += entries(page) + entries(page, "include")
        place = link(page, "next")
    assert {f"{one['resourceType']}/{one['id']}" for one in shown} == {*world.matches, *world.people}
    assert all(one["meta"]["tag"][-1]["code"] == "SUBSETTED" for one in shown)
    assert [set(one) for one in shown if one["resourceType"] == "Patient"] == [{"resourceType", "id", "meta", "active"}]
    posted = {"resourceType": "Parameters", "parameter": [{"name": "_summary", "valueCode": "true"}]}
    bundle = (await world.fhir.post(f"/{world.stay}/$everything", json=posted)).json()
    assert all("SUBSETTED" in str(one["meta"]) for one in entries(bundle))


async def test_an_encounter_brings_its_patient_and_what_was_done(world: World) -> None:
    bundle = (await world.fhir.get(f"/{world.stay}/$everything")).json()
    assert refs(bundle) == [world.stay, world.early]
    assert set(refs(bundle, "include")) == {world.patient, world.doctor, world.hospital, world.role}


async def test_a_caller_receives_what_they_may_see_and_nothing_else(as_: Callable[..., Client], world: World) -> None:
    nadia = as_("nadia")
    assert (await nadia.get(f"/{world.patient}/$everything")).status_code == 404
    mine = await made(nadia, a_patient(generalPractitioner=[{"reference": world.role}]))
    own = await made(nadia, an_observation(mine))
    await made(world.fhir, an_observation(mine))  # somebody else's note on the same patient
    bundle = (await nadia.get(f"/{mine}/$everything")).json()
    assert (refs(bundle), bundle["total"]) == ([mine, own], 2)
    assert set(refs(bundle, "include")) == {world.role, world.doctor, world.hospital}
    only_patients = (await as_("patients").get(f"/{mine}/$everything")).json()
    assert (refs(only_patients), refs(only_patients, "include")) == ([mine], [])
    assert (await as_("software").get(f"/{mine}/$everything")).status_code == 403


@pytest.mark.parametrize(
    "query", ["start=hier", "_type=Nothing", "_count=0", "_after=x", "x=y", "start=2020&start=2021"]
)
async def test_what_is_not_understood_is_refused(world: World, query: str) -> None:
    answer = await world.fhir.get(f"/{world.patient}/$everything?{query}")
    assert (answer.status_code, issue(answer)["severity"]) == (400, "error")


async def test_every_wrong_parameter_is_told_at_once(world: World) -> None:
    query = "_type=Fridge&start=soon&_since=then&_count=many&_elements=colour"
    answer = await world.fhir.get(f"/{world.patient}/$everything?{query}")
    assert [one["expression"] for one in answer.json()["issue"]] == [
        [f"http.{name}"] for name in ("_type", "start", "_since", "_count", "_elements")
    ]
    answer = await world.fhir.get(f"/{world.patient}/$everything?x=1&y=2")
    assert [one["expression"] for one in answer.json()["issue"]] == [["http.x"], ["http.y"]]


async def test_all_patients_at_once_are_not_to_be_had(world: World) -> None:
    assert (await world.fhir.get("/Patient/$everything")).status_code == 404
    await world.fhir.delete(f"/{world.other}")
    assert (await world.fhir.get(f"/{world.other}/$everything")).status_code == 410
