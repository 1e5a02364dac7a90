"""Whatever way somebody's data is given out or changed, a row says so: many at once, later, in a stream (MODEL-08)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.jobs import runner
from fhir_server.r4 import validate
from hub import database, serve
from hub import settings as configuration
from hub.room import Room
from hub.seed import small
from tests.hub import doors
from tests.hub.doors import Api, a_note, labelled, post, said, status

CLAIRE, NADIA = "PractitionerRole/claire", "PractitionerRole/nadia"
Event = dict[str, Any]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Room]:
    """The small region on each engine."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    config = configuration.Settings(data=tmp_path, demo=True).with_options(database=url)
    database.prepare(config)
    async with serve.opened(config) as room:
        await small.fill(room.store, room.now())
        yield room


@pytest.fixture
async def api(hub: Room) -> AsyncIterator[Api]:
    jobs = runner.Runner(hub.store, serve.limits(hub.settings), worker=hub.store.worker)
    yield Api(hub, jobs)
    await jobs.stop()


async def of_patient(hub: Room, api: Api, patient: str, **params: str) -> list[Event]:
    """The traces of a patient, oldest first."""
    await hub.store.traces.settle()
    query = "&".join(
        f"{name}={value}" for name, value in {"date": "ge2020-01-01", "patient": patient, **params}.items()
    )
    async with api("system") as client:
        answer = await client.get(f"/AuditEvent?{query}")
    assert answer.status_code == 200, said(answer)
    return [one["resource"] for one in reversed(answer.json().get("entry", ()))]


def codes(events: list[Event]) -> list[str]:
    return [one["subtype"][0]["code"] for one in events]


def batch(*entries: tuple[str, str, Event | None], kind: str = "batch") -> Event:
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [
            {"request": {"method": method, "url": url}, **({"resource": body} if body else {})}
            for method, url, body in entries
        ],
    }


async def finished(client: Any, place: str) -> Event:
    """The answer of a job."""
    for _ in range(200):
        answer = await client.get(place)
        if answer.status_code != 202:
            assert answer.status_code == 200, said(answer)
            found: Event = answer.json()
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("the job has not ended")


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_what_a_bundle_reads_is_traced_beside_what_it_writes(hub: Room, api: Api, kind: str) -> None:
    mine, other = await doors.dossier(api, CLAIRE, NADIA), await doors.dossier(api, CLAIRE, NADIA)
    bundle = batch(("POST", "Condition", a_note(mine)), ("GET", other, None), ("GET", "Patient/none", None), kind=kind)
    if kind == "transaction":
        bundle["entry"].pop()
    before = len(await of_patient(hub, api, other))
    async with api("nadia") as client:
        answer = await client.post("", json=bundle)
    assert answer.status_code == 200, said(answer)
    (read,) = (await of_patient(hub, api, other))[before:]
    assert (codes([read]), read["agent"][0]["who"]["reference"]) == (["read"], NADIA)
    assert codes(await of_patient(hub, api, mine))[-1] in ("create", "transaction")


async def test_what_is_given_later_is_traced_when_it_is_given(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    await post(api, "nadia", labelled(a_note(patient), "partage"))
    before = len(await of_patient(hub, api, patient))
    async with api("claire") as client:
        url = f"/Condition?patient={patient}"
        answer = await client.get(url, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, said(answer)
        found = await finished(client, answer.headers["content-location"])
    assert len(found["entry"][0]["resource"]["entry"]) == 1
    events = (await of_patient(hub, api, patient))[before:]
    assert (codes(events), events[0]["agent"][0]["who"]["reference"]) == (["search-type"], CLAIRE)


async def test_an_export_names_each_patient_whose_data_it_took(hub: Room, api: Api) -> None:
    patients = [await doors.dossier(api, CLAIRE, NADIA) for _ in range(3)]
    for patient in patients:
        await post(api, "nadia", labelled(a_note(patient), "partage"))
    before = [len(await of_patient(hub, api, one)) for one in patients]
    async with api("system") as client:
        answer = await client.get("/$export?_type=Condition", headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, said(answer)
        await finished(client, answer.headers["content-location"])
    for patient, count in zip(patients, before, strict=True):
        events = (await of_patient(hub, api, patient))[count:]
        assert codes(events) == ["operation"], patient
        assert events[0]["entity"][0]["what"]["reference"].startswith("Condition/")


async def test_a_streamed_answer_is_traced(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    notes = [("POST", "Condition", labelled(a_note(patient), "partage")) for _ in range(120)]  # more than one page
    async with api("nadia") as client:
        assert (await client.post("", json=batch(*notes, kind="transaction"))).status_code == 200
    before = len(await of_patient(hub, api, patient))
    view = {
        "resourceType": "https://sql-on-fhir.org/ig/StructureDefinition/ViewDefinition",
        "status": "active",
        "resource": "Condition",
        "select": [{"column": [{"name": "id", "path": "id"}]}],
    }
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "_format", "valueCode": "ndjson"},
            {"name": "viewResource", "resource": {**view, "resourceType": "ViewDefinition"}},
        ],
    }
    async with api("claire") as client:
        answer = await client.post("/ViewDefinition/$viewdefinition-run", json=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.text.splitlines()) == 120
    assert codes((await of_patient(hub, api, patient))[before:]) == ["operation", "operation"]


async def test_what_is_no_interaction_is_a_valid_trace_too(hub: Room, api: Api) -> None:
    for url in ("/Nope", "/Patient/a/b/c/d/e", "/AuditEvent/x"):
        async with api("karim") as client:
            assert (await client.delete(url)).status_code in (404, 405)
    await hub.store.traces.settle()
    async with api("karim") as client:
        found = (await client.get("/AuditEvent?date=ge2020-01-01")).json()["entry"]
    events = [one["resource"] for one in found]
    assert len(events) == 3
    for one in events:
        assert validate.Validator(hub.definitions).check(one) == []
        assert one["outcome"] == "4"


async def test_of_a_patient_the_traces_of_one_person_are_found(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    for who in ("nadia", "claire", "nadia"):
        assert await status(api, who, f"/{patient}") == 200
    found = await of_patient(hub, api, patient, agent=NADIA)
    assert [one["agent"][0]["who"]["reference"] for one in found] == [NADIA, NADIA]
    assert await of_patient(hub, api, patient, agent="PractitionerRole/karim") == []


async def test_whoever_finds_a_trace_of_a_patient_reads_it(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    assert await status(api, "nadia", f"/{patient}") == 200
    event = (await of_patient(hub, api, patient))[-1]
    assert event["agent"][0]["who"]["reference"] == NADIA
    async with api("claire") as client:
        assert (await client.get(f"/AuditEvent/{event['id']}")).json() == event
    assert await status(api, "lgc", f"/AuditEvent/{event['id']}") == 404


async def test_the_provenance_of_a_transaction_says_created_or_updated_and_names_all(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    notes = [("POST", "Condition", labelled(a_note(patient, f"n{n}"), "partage")) for n in range(60)]
    async with api("nadia") as client:
        answer = await client.post("", json=batch(*notes, kind="transaction"))
        assert answer.status_code == 200, said(answer)
        made = [one["response"]["location"].split("/fhir/")[-1].split("/_history")[0] for one in answer.json()["entry"]]
        for ref in (made[0], made[-1]):
            found = (await client.get(f"/Provenance?target={ref}")).json().get("entry", ())
            assert [one["resource"]["activity"]["coding"][0]["code"] for one in found] == ["CREATE"]
        assert (await client.delete(f"/{made[0]}")).status_code == 204
        found = (await client.get(f"/Provenance?target={made[0]}")).json().get("entry", ())
        assert [one["resource"]["activity"]["coding"][0]["code"] for one in found] == ["DELETE", "CREATE"]


async def test_a_trace_of_a_write_names_the_version_and_the_observer_is_a_device(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", a_note(patient))).json()
    event = (await of_patient(hub, api, patient))[-1]
    assert event["entity"][0]["what"]["reference"] == f"Condition/{note['id']}/_history/1"
    assert event["source"]["observer"]["type"] == "Device"


@pytest.mark.parametrize("date", ["ne2026-01-01", "hier", "ge"])
async def test_a_date_that_is_not_understood_is_refused(api: Api, date: str) -> None:
    async with api("system") as client:
        assert said(await client.get(f"/AuditEvent?date={date}")).startswith("400 http.date")


async def test_who_reads_traces_is_traced(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    assert await status(api, "claire", f"/AuditEvent?date=ge2020-01-01&patient={patient}") == 200
    assert await status(api, "claire", f"/{patient}/$who-looked") == 200
    found = await of_patient(hub, api, patient)
    assert codes(found)[-2:] == ["search-type", "operation"]


async def test_of_a_page_over_several_patients_each_circle_sees_its_own_part(hub: Room, api: Api) -> None:
    mine, other = await doors.dossier(api, CLAIRE, NADIA), await doors.dossier(api, NADIA, by="nadia")
    for patient in (mine, other):
        await post(api, "nadia", labelled(a_note(patient), "partage"))
    assert await status(api, "nadia", "/Condition?code:text=RAS") == 200
    await hub.store.traces.settle()
    async with api("claire") as client:
        found = (await client.get(f"/AuditEvent?date=ge2020-01-01&patient={mine}&subtype=search-type")).json()["entry"]
        events = [found[0]["resource"], (await client.get(f"/AuditEvent/{found[0]['resource']['id']}")).json()]
    for event in events:
        names = [one["what"]["reference"] for one in event["entity"] if "what" in one]
        assert names[0] == mine
        assert len(names) == 2
        assert not [one for one in event["entity"] if "query" in one]
    (whole,) = await of_patient(hub, api, mine, subtype="search-type", agent=NADIA)
    assert len([one for one in whole["entity"] if "what" in one]) >= 2
    assert [one for one in whole["entity"] if "query" in one]
