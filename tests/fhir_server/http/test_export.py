"""Bulk export: FHIR Bulk Data Access 2.0, through HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhir_server import access, store
from fhir_server.changes import Create, Delete, Update
from fhir_server.jobs import exporting
from tests.fhir_server.http.bulk import ASYNC, exported, finished, lines, refs, serving
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import a_patient, an_observation, issue

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

As = Callable[[str], httpx.AsyncClient]


@pytest_asyncio.fixture
async def as_(record: store.Store, tmp_path: Path) -> AsyncIterator[As]:
    async with serving(record, tmp_path / "jobs") as clients:
        yield clients


async def filled(fhir: httpx.AsyncClient) -> None:
    """Two patients with an observation each, one observation of nobody, an organization, a group with the first."""
    for id in ("one", "two"):
        await fhir.put(f"Patient/{id}", json=a_patient(id=id))
        await fhir.put(f"Observation/of-{id}", json=an_observation(f"Patient/{id}", id=f"of-{id}"))
    await fhir.put("Observation/alone", json=an_observation(id="alone"))
    await fhir.put("Organization/org", json={"resourceType": "Organization", "id": "org", "name": "Hôpital"})
    member = [{"entity": {"reference": "Patient/one"}}, {"entity": {"reference": "Patient/two"}, "inactive": True}]
    group = {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": member}
    answer = await fhir.put("Group/g", json=group)
    assert answer.status_code == 201, answer.text


async def test_everything_leaves_as_it_is_stored_one_file_for_each_type(as_: As) -> None:
    fhir = as_("system")
    await filled(fhir)
    told = await exported(fhir)
    assert told["request"] == f"{fhir.base_url}$export"
    assert told["requiresAccessToken"] is True
    assert told["error"] == []
    assert "deleted" not in told
    assert [one["type"] for one in told["output"]] == ["Group", "Observation", "Organization", "Patient"]
    found = await lines(fhir, told["output"])
    assert len(found) == 7
    for one in found:
        assert one == (await fhir.get(f"{one['resourceType']}/{one['id']}")).json()


async def test_patients_are_exported_with_what_is_in_their_compartment(as_: As) -> None:
    fhir = as_("system")
    await filled(fhir)
    told = await exported(fhir, "Patient/$export")
    found = refs(await lines(fhir, told["output"]))
    assert found == ["Group/g", "Observation/of-one", "Observation/of-two", "Patient/one", "Patient/two"]


async def test_a_group_is_exported_with_its_members_and_nobody_else(as_: As) -> None:
    fhir = as_("system")
    await filled(fhir)
    told = await exported(fhir, "Group/g/$export", _type="Patient,Observation")
    assert refs(await lines(fhir, told["output"])) == ["Observation/of-one", "Patient/one"]
    assert (await fhir.get("Group/other/$export", headers=ASYNC)).status_code == 404


async def test_patients_that_are_named_are_exported_alone(as_: As) -> None:
    fhir = as_("system")
    await filled(fhir)
    named = [{"name": "patient", "valueReference": {"reference": "Patient/two"}}]
    sent = {"resourceType": "Parameters", "parameter": named}
    answer = await finished(fhir, await fhir.post("Patient/$export", json=sent, headers=ASYNC))
    assert refs(await lines(fhir, answer.json()["output"])) == ["Group/g", "Observation/of-two", "Patient/two"]
    named[0]["valueReference"] = {"reference": "Patient/three"}
    assert (await fhir.post("Patient/$export", json=sent, headers=ASYNC)).status_code == 404


async def test_a_caller_exports_what_they_may_see(as_: As) -> None:
    nadia, paul = as_("nadia"), as_("paul")
    mine = (await nadia.post("Patient", json=a_patient())).json()
    theirs = (await paul.post("Patient", json=a_patient())).json()
    await as_("system").put("Organization/org", json={"resourceType": "Organization", "id": "org", "name": "Hôpital"})
    found = refs(await lines(nadia, (await exported(nadia))["output"]))
    assert found == sorted([f"Patient/{mine['id']}", "Organization/org"])
    told = await exported(paul)
    assert refs(await lines(paul, told["output"])) == sorted([f"Patient/{theirs['id']}", "Organization/org"])
    for one in told["output"]:
        assert (await nadia.get(one["url"])).status_code == 404


async def test_scopes_and_missing_persons_limit_the_types(as_: As) -> None:
    await filled(as_("system"))
    software = as_("software")
    assert refs(await lines(software, (await exported(software))["output"])) == ["Organization/org"]
    assert (await software.get("$export?_type=Patient", headers=ASYNC)).status_code == 403
    assert (await as_("launched").get("$export", headers=ASYNC)).status_code == 403
    reader = as_("reader")
    assert len(await lines(reader, (await exported(reader))["output"])) == 7


async def test_since_gives_what_changed_later_and_what_was_deleted(as_: As) -> None:
    fhir = as_("system")
    await filled(fhir)
    first = await exported(fhir)
    await asyncio.sleep(0.01)
    assert (await exported(fhir, _since=first["transactionTime"]))["output"] == []
    await fhir.put("Patient/one", json=a_patient(id="one", active=False))
    await fhir.delete("Observation/of-two")
    await fhir.delete("Observation/alone")
    told = await exported(fhir, _since=first["transactionTime"])
    assert refs(await lines(fhir, told["output"])) == ["Patient/one"]
    (gone,) = await lines(fhir, told["deleted"])
    assert (gone["resourceType"], gone["type"]) == ("Bundle", "transaction")
    assert [one["request"] for one in gone["entry"]] == [
        {"method": "DELETE", "url": "Observation/of-two"},
        {"method": "DELETE", "url": "Observation/alone"},
    ]
    told = await exported(fhir, "Patient/$export", _since=first["transactionTime"])
    (gone,) = await lines(fhir, told["deleted"])
    assert [one["request"]["url"] for one in gone["entry"]] == ["Observation/of-two"]
    told = await exported(as_("nadia"), _since=first["transactionTime"])
    assert "deleted" not in told
    told = await exported(fhir, _until=first["transactionTime"])
    assert "Patient/one" not in refs(await lines(fhir, told["output"]))


async def test_type_filters_are_joined_by_or_and_give_each_resource_once(as_: As) -> None:
    fhir = as_("system")
    await filled(fhir)
    wanted = "Observation?_id=of-one,Observation?status=final&subject=Patient/one,Observation?_id=alone"
    told = await exported(fhir, _type="Observation,Organization", _typeFilter=wanted)
    assert refs(await lines(fhir, told["output"])) == ["Observation/alone", "Observation/of-one", "Organization/org"]


async def test_a_type_filter_may_name_a_value_set(as_: As) -> None:
    fhir = as_("system")
    await filled(fhir)
    female = {"system": "http://hl7.org/fhir/administrative-gender", "concept": [{"code": "female"}]}
    women = {"resourceType": "ValueSet", "url": "http://x.test/women", "status": "active"}
    assert (await fhir.post("ValueSet", json={**women, "compose": {"include": [female]}})).status_code == 201
    await fhir.put("Patient/anne", json={"resourceType": "Patient", "id": "anne", "gender": "female"})
    for wanted in ("Patient?gender:in=http://x.test/women", "Patient?_filter=gender in http://x.test/women"):
        told = await exported(fhir, _type="Patient", _typeFilter=wanted)
        assert refs(await lines(fhir, told["output"])) == ["Patient/anne"]
    answer = await fhir.get("$export?_typeFilter=Patient?gender:in=http://x.test/none", headers=ASYNC)
    assert (answer.status_code, issue(answer)["expression"]) == (400, ["http._typeFilter"])


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ("_outputFormat=text/csv", "http._outputFormat"),
        ("_since=yesterday", "http._since"),
        ("_until=2026-13", "http._until"),
        ("_type=Patient,Fridge", "http._type"),
        ("_typeFilter=Patient", "http._typeFilter"),
        ("_typeFilter=Patient?colour=red", "http._typeFilter"),
        ("_typeFilter=Patient?_count=3", "http._typeFilter"),
        ("_type=Patient&_typeFilter=Observation?status=final", "http._typeFilter"),
        ("_elements=id", "http._elements"),
        ("includeAssociatedData=RelevantProvenanceResources", "http.includeAssociatedData"),
        ("patient=Patient/one", "http.patient"),
        ("colour=red", "http.colour"),
        ("_since=2026&_since=2027", "http._since"),
    ],
)
async def test_what_cannot_be_followed_is_refused_before_anything_begins(as_: As, params: str, named: str) -> None:
    answer = await as_("system").get(f"$export?{params}", headers=ASYNC)
    assert answer.status_code == 400, answer.text
    assert issue(answer)["expression"] == [named]


async def test_every_wrong_parameter_is_told_at_once(as_: As) -> None:
    answer = await as_("system").get("$export?_since=x&_elements=id&_type=Fridge", headers=ASYNC)
    assert len(answer.json()["issue"]) == 3


async def test_an_export_asks_for_respond_async(as_: As) -> None:
    answer = await as_("system").get("$export")
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["http.Prefer"]


@pytest.mark.parametrize(
    "format", ["ndjson", "application/ndjson", "application/fhir+ndjson", "application/fhir%2Bndjson"]
)
async def test_every_name_of_the_format_is_taken(as_: As, format: str) -> None:
    assert (await as_("system").get(f"$export?_outputFormat={format}", headers=ASYNC)).status_code == 202


async def test_files_end_at_a_size_and_hold_everything_once(record: store.Store, tmp_path: Path) -> None:
    await record.commit([Create("Patient", f"p{n}", a_patient()) for n in range(1200)], caller=access.SYSTEM)
    async with serving(record, tmp_path / "jobs", file_bytes=100_000) as clients:
        fhir = clients("system")
        told = await exported(fhir)
        assert len(told["output"]) > 1
        assert len({one["url"] for one in told["output"]}) == len(told["output"])
        assert refs(await lines(fhir, told["output"])) == sorted(f"Patient/p{n}" for n in range(1200))


async def test_an_export_that_is_stopped_goes_on_with_the_file_it_was_in(
    record: store.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record.commit([Create("Patient", f"p{n}", a_patient()) for n in range(600)], caller=access.SYSTEM)
    monkeypatch.setattr(exporting, "_MOST_ROWS", 50)
    searched = type(record).search
    pages = 0

    async def slow(self: store.Store, *given: Any, **more: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 8:
            await asyncio.sleep(3600)
        return await searched(self, *given, **more)

    monkeypatch.setattr(type(record), "search", slow)
    async with serving(record, tmp_path / "jobs", file_bytes=10_000) as clients:
        started = await clients("system").get("$export?_type=Patient", headers=ASYNC)
        for _ in range(500):
            if pages == 8:
                break
            await asyncio.sleep(0.02)
        said = (await clients("system").get(started.headers["content-location"])).headers["x-progress"]
        assert said.endswith("resources exported")
        monkeypatch.setattr("fhir_server.jobs.runner._STOP_SECONDS", 0.1)
    paths = sorted((tmp_path / "jobs").rglob("Patient.?.ndjson"))
    assert len(paths) >= 3
    written = {path: path.stat().st_mtime_ns for path in paths[:-1]}  # the last one was not at its end
    async with serving(record, tmp_path / "jobs", file_bytes=10_000) as clients:
        fhir = clients("system")
        told = (await finished(fhir, started)).json()
        assert refs(await lines(fhir, told["output"])) == sorted(f"Patient/p{n}" for n in range(600))
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())


async def test_what_changes_during_an_export_is_given_as_it_was_when_it_was_asked_for(
    record: store.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(record, tmp_path / "jobs", settle_seconds=0.6) as clients:
        fhir = clients("system")
        for id in ("kept", "changed", "deleted", "twice"):
            await fhir.put(f"Patient/{id}", json=a_patient(id=id))
        await asyncio.sleep(0.01)
        started = await fhir.get("$export?_type=Patient", headers=ASYNC)
        await asyncio.sleep(0.01)
        await fhir.put("Patient/changed", json=a_patient(id="changed", active=False))
        await fhir.delete("Patient/deleted")
        await fhir.delete("Patient/twice")
        await fhir.put("Patient/twice", json=a_patient(id="twice", active=False))
        await fhir.put("Patient/new", json=a_patient(id="new"))
        told = (await finished(fhir, started)).json()
        found = await lines(fhir, told["output"])
        assert refs(found) == ["Patient/changed", "Patient/deleted", "Patient/kept", "Patient/twice"]
        assert all(one["active"] and one["meta"]["versionId"] == "1" for one in found)
        told = await exported(fhir, _type="Patient", _since=told["transactionTime"])
        assert refs(await lines(fhir, told["output"])) == ["Patient/changed", "Patient/new", "Patient/twice"]
        assert [one["entry"][0]["request"]["url"] for one in await lines(fhir, told["deleted"])] == ["Patient/deleted"]


async def test_what_changes_after_it_was_exported_is_not_exported_again(
    record: store.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record.commit([Create("Patient", f"p{n}", a_patient()) for n in range(100)], caller=access.SYSTEM)
    monkeypatch.setattr(exporting, "_MOST_ROWS", 20)
    searched, pages = type(record).search, 0

    async def changing(self: store.Store, *given: Any, **more: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages == 3:  # the first forty are in the file
            bodies = [a_patient(active=False) for _ in range(2)]
            changed = [Update("Patient", id, body) for id, body in zip(("p1", "p99"), bodies, strict=True)]
            await record.commit([*changed, Delete("Patient", "p2"), Delete("Patient", "p98")], caller=access.SYSTEM)
        return await searched(self, *given, **more)

    monkeypatch.setattr(type(record), "search", changing)
    async with serving(record, tmp_path / "jobs") as clients:
        found = await lines(clients("system"), (await exported(clients("system"), _type="Patient"))["output"])
    assert refs(found) == sorted(f"Patient/p{n}" for n in range(100))
    assert all(one["active"] for one in found)
