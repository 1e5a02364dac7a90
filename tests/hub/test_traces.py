"""Every access leaves its trace, whichever door it came by, and nobody takes one out unnoticed (MODEL-08, CONS-07)."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.audit import verify
from fhir_server.r4 import validate
from hub import database, keys, serve
from hub import settings as configuration
from hub.room import Room
from hub.seed import small
from tests.hub import doors
from tests.hub.doors import Api, a_note, labelled, post, said, status

CLAIRE, NADIA, KARIM, LGC = (f"PractitionerRole/{name}" for name in ("claire", "nadia", "karim", "lgc"))


@pytest.fixture
def api(hub: Room) -> Api:
    return Api(hub)


async def traces(hub: Room, api: Api, who: str = "system", **params: str) -> list[dict[str, Any]]:
    """The AuditEvents that a search finds, newest first."""
    await hub.store.traces.settle()
    query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in {"date": "ge2020-01-01", **params}.items())
    async with api(who) as client:
        answer = await client.get(f"/AuditEvent?{query}")
    assert answer.status_code == 200, said(answer)
    return [one["resource"] for one in answer.json().get("entry", ())]


def told(event: dict[str, Any]) -> tuple[str, str, str]:
    """Who, what, how it ended."""
    who = event["agent"][0]["who"]
    return who.get("reference", who.get("display", "")), event["subtype"][0]["code"], event["outcome"]


async def test_each_interaction_leaves_one_row_with_whose_data_it_was(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", a_note(patient))).json()
    ref = f"/Condition/{note['id']}"
    async with api("nadia") as client:
        for url in (
            ref,
            f"{ref}/_history/1",
            f"{ref}/_history",
            f"/Condition?patient={patient}",
            f"/{patient}/$everything",
        ):
            assert (await client.get(url)).status_code == 200
        changed = {**note, "code": {"text": "mieux"}}
        assert (await client.put(ref, json=changed)).status_code == 200
        assert (await client.delete(ref)).status_code == 204
    assert await status(api, "lgc", f"/{patient}") == 404
    found = await traces(hub, api, patient=patient)
    assert [told(one)[1] for one in reversed(found)] == [
        "transaction", "create", "read", "vread", "history-instance", "search-type", "operation", "update", "delete"
    ]  # fmt: skip
    assert {told(one)[0] for one in found[:-1]} == {NADIA}
    refused = await traces(hub, api, agent="PractitionerRole/lgc")
    assert told(refused[0]) == ("PractitionerRole/lgc", "read", "4")


async def test_the_traces_of_one_resource_are_found_among_those_of_its_patient(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", a_note(patient))).json()
    assert await status(api, "nadia", f"/Condition/{note['id']}") == 200
    assert await status(api, "nadia", f"/{patient}") == 200
    found = await traces(hub, api, "nadia", entity=f"Condition/{note['id']}")
    assert [told(one)[1] for one in found] == ["read", "create"]


async def test_a_trace_is_the_national_audit_event(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE)
    async with api("claire") as client:
        await client.get(f"/Condition?patient={patient}&code=x")
    (event, *_) = await traces(hub, api, agent=CLAIRE)
    assert validate.Validator(hub.definitions).check(event) == []
    assert 1 <= len(event["agent"]) <= 2
    assert len(event["subtype"]) == 1
    assert event["period"]["start"] and event["source"]["observer"]
    async with api("system") as client:
        again = await client.get(f"/AuditEvent/{event['id']}")
        assert again.json() == event
        for method in ("PUT", "DELETE"):
            assert (await client.request(method, f"/AuditEvent/{event['id']}", json=event)).status_code == 405


async def test_a_search_without_a_date_is_refused(api: Api) -> None:
    async with api("system") as client:
        answer = await client.get("/AuditEvent?type=rest")
    assert said(answer).startswith("400 http.date")


async def test_people_find_the_traces_of_their_patients_and_their_own(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    assert await status(api, "nadia", f"/{patient}") == 200
    assert NADIA in {told(one)[0] for one in await traces(hub, api, "claire", patient=patient)}
    assert await traces(hub, api, "karim", patient=patient) == []
    assert {told(one)[0] for one in await traces(hub, api, "karim")} <= {KARIM}
    async with api("karim") as client:
        assert (await client.get(f"/AuditEvent?date=ge2020-01-01&agent={NADIA}")).status_code == 403


async def test_what_others_send_is_found_beside_and_stays(hub: Room, api: Api) -> None:
    event = {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2026-02-03T10:00:00Z",
        "agent": [{"who": {"display": "LGC"}, "requestor": True}],
        "source": {"observer": {"display": "LGC"}},
    }
    async with api("system") as client:
        made = await client.post("/AuditEvent", json=event)
        assert made.status_code == 201, said(made)
        found = await client.get("/AuditEvent?date=ge2026-02-03&date=le2026-02-03")
        assert [one["resource"]["id"] for one in found.json()["entry"]] == [made.json()["id"]]
        assert (await client.delete(f"/AuditEvent/{made.json()['id']}")).status_code == 405


async def test_pages_of_traces_follow_each_other(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE)
    for _ in range(7):
        await status(api, "claire", f"/{patient}")
    await hub.store.traces.settle()
    seen: list[str] = []
    async with api("claire") as client:
        url = f"/AuditEvent?date=ge2020-01-01&patient={patient}&_count=3"
        while url:
            page = (await client.get(url)).json()
            seen += [one["resource"]["id"] for one in page.get("entry", ())]
            url = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")
    assert len(seen) == len(set(seen)) >= 8


async def test_who_looked_is_said_in_words_ten_reads_ten_lines(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    for _ in range(10):
        assert await status(api, "nadia", f"/{patient}") == 200
    await hub.store.traces.settle()
    async with api("claire") as client:
        answer = await client.get(f"/{patient}/$who-looked")
    lines = [
        next(part["valueString"] for part in one["part"] if part["name"] == "text")
        for one in answer.json()["parameter"]
    ]
    assert lines.count("Nadia Roux a lu l'identité dans l'application") == 10
    assert await status(api, "lgc", f"/{patient}/$who-looked") == 404


async def test_each_write_has_its_provenance_for_those_who_see_it(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", labelled(a_note(patient), "partage"))).json()
    async with api("nadia") as client:
        await client.put(f"/Condition/{note['id']}", json={**note, "code": {"text": "mieux"}})
    async with api("claire") as client:
        found = (await client.get(f"/Provenance?target=Condition/{note['id']}")).json()["entry"]
    written = [one["resource"] for one in found]
    assert [one["activity"]["coding"][0]["code"] for one in written] == ["UPDATE", "CREATE"]
    assert {one["agent"][0]["who"]["reference"] for one in written} == {NADIA}
    assert all(validate.Validator(hub.definitions).check(one) == [] for one in written)
    async with api("lgc") as client:
        assert (await client.get(f"/Provenance?target=Condition/{note['id']}")).json().get("entry", []) == []


async def test_who_wrote_is_included_with_what_was_found(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", labelled(a_note(patient), "partage"))).json()
    hidden = (await post(api, "nadia", labelled(a_note(patient), "prive"))).json()
    for asked in ("Provenance:target", "Provenance:target:Condition"):
        async with api("claire") as client:
            answer = await client.get(f"/Condition?patient={patient}&_revinclude={asked}")
        assert answer.status_code == 200, said(answer)
        entries = answer.json()["entry"]
        seen = {f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in entries}
        targets = [
            one["resource"]["target"][0]["reference"].partition("/_history")[0]
            for one in entries
            if one["resource"]["resourceType"] == "Provenance" and one["search"]["mode"] == "include"
        ]
        assert f"Condition/{note['id']}" in targets
        assert set(targets) <= seen
        assert f"Condition/{hidden['id']}" not in targets


async def test_who_wrote_about_a_patient_is_found_and_without_a_target_it_is_said(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    async with api("claire") as client:
        found = (await client.get(f"/Provenance?patient={patient}")).json()["entry"]
        assert {one["resource"]["target"][0]["reference"] for one in found} == {f"{patient}/_history/1"}
        (remark,) = (await client.get(f"/Provenance?agent={NADIA}")).json()["entry"]
    assert "target" in remark["resource"]["issue"][0]["details"]["text"]


@pytest.mark.parametrize(
    "url",
    [
        "AuditEvent?date=ge2020-01-01&_include=AuditEvent:patient",
        "AuditEvent?date=ge2020-01-01&_revinclude=Provenance:target",
        "Condition?_revinclude=AuditEvent:entity",
        "Patient?_revinclude:iterate=AuditEvent:patient",
    ],
)
async def test_traces_are_not_included_and_it_is_said(api: Api, url: str) -> None:
    async with api("system") as client:
        assert "les traces ne s'incluent pas" in said(await client.get(f"/{url}"))


async def test_a_search_that_leaves_the_rows_out_says_so(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE)
    assert await status(api, "claire", f"/{patient}") == 200
    (event, *_) = await traces(hub, api, agent=CLAIRE)
    async with api("system") as client:
        for params, is_found in ((f"_id={event['id']}", True), ("site=app", True), ("site=hospital", False)):
            answer = (await client.get(f"/AuditEvent?date=ge2020-01-01&agent={CLAIRE}&{params}")).json()
            assert (event["id"] in {one["resource"]["id"] for one in answer.get("entry", ())}) is is_found, params
        (remark,) = (await client.get("/AuditEvent?date=ge2020-01-01&agent:missing=false")).json()["entry"]
        assert "agent:missing" in remark["resource"]["issue"][0]["details"]["text"]
        assert "entry" not in (await client.get("/AuditEvent?date=ge2020-01-01&altid=x")).json()


async def test_what_an_emergency_opened_says_so(hub: Room, api: Api) -> None:
    patient, other = await doors.dossier(api, CLAIRE, NADIA), await doors.dossier(api, CLAIRE, LGC)
    note = (await post(api, "nadia", a_note(patient))).json()
    reason = {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": "Malaise au cabinet"}]}
    async with api("lgc") as client:
        assert (await client.get(f"/Condition/{note['id']}")).status_code == 404
        assert (await client.post(f"/{patient}/$emergency-access", json=reason)).status_code == 200
        assert (await client.get(f"/Condition/{note['id']}")).status_code == 200
        assert (await client.get(f"/Condition?patient={patient}")).status_code == 200
        assert (await client.get(f"/{other}")).status_code == 200
    assert await status(api, "claire", f"/{patient}") == 200
    assert (await post(api, "lgc", a_note(patient))).status_code == 201
    found = [one for one in await traces(hub, api, patient=patient) if told(one)[0] == LGC]
    urgent = {told(one)[1]: one.get("purposeOfEvent", [{}])[0] for one in found}
    system = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    for code in ("read", "search-type", "create"):
        assert urgent[code] == {"coding": [{"system": system, "code": "ETREAT"}]}
    assert validate.Validator(hub.definitions).check(found[0]) == []
    others = [one for one in await traces(hub, api, patient=patient) if told(one)[0] == CLAIRE]
    others += [one for one in await traces(hub, api, patient=other) if told(one)[0] == LGC]
    assert others and not any("purposeOfEvent" in one for one in others)
    async with api("claire") as client:
        lines = (await client.get(f"/{patient}/$who-looked")).json()["parameter"]
    texts = [part["valueString"] for one in lines for part in one["part"] if part["name"] == "text"]
    assert any(one.endswith(", en urgence") for one in texts)


# ---- whole


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with some traces, in two chains."""
    folder = tmp_path_factory.mktemp("traced")
    config = configuration.Settings(data=folder)
    database.prepare(config)

    async def live() -> None:
        for _ in range(2):
            async with serve.opened(config) as room:
                await small.fill(room.store, room.now())
                api = Api(room)
                for who in ("nadia", "claire", "nadia"):
                    await status(api, who, "/Communication")
                    await room.store.traces.settle()

    asyncio.run(live())
    return folder


async def checked(folder: Path) -> verify.Report:
    async with serve.opened(configuration.Settings(data=folder)) as room:
        sealing = keys.derived(room.secret, b"traces")
        return await verify.verify(room.store.traces.kept, sealing, keys.heads(folder))


async def test_what_was_written_is_whole(written: Path) -> None:
    report = await checked(written)
    assert report.broken == []
    assert report.rows >= 8
    assert report.chains >= 2
    assert report.unsealed == 0


TABLES = ("trace", "trace_of", "seal")
ONE_SEAL = "(SELECT part, k FROM seal ORDER BY at LIMIT 1 OFFSET {row} % (SELECT COUNT(*) FROM seal))"
CHAIN = "(SELECT part FROM trace WHERE rowid = {row})"
HARMS = (
    "UPDATE trace SET body = CAST(replace(CAST(body AS TEXT), 'nadia', 'karim') AS BLOB) WHERE rowid = {row}",
    "UPDATE trace_of SET at = at + 1 WHERE n = (SELECT n FROM trace WHERE rowid = {row})",
    "DELETE FROM trace_of WHERE n = (SELECT n FROM trace WHERE rowid = {row})",
    "UPDATE trace SET at = at + 1, body = CAST(body || ' ' AS BLOB) WHERE rowid = {row}",
    "DELETE FROM trace WHERE rowid = {row}",
    "INSERT INTO trace SELECT part, n + 1000, at, body, mac, keys FROM trace WHERE rowid = {row}",
    f"DELETE FROM seal WHERE (part, k) = {ONE_SEAL}",
    f"UPDATE seal SET mac = x'00' WHERE (part, k) = {ONE_SEAL}",
    # A chain as a whole, with its seals.
    f"DELETE FROM seal WHERE part = {CHAIN}; DELETE FROM trace WHERE part NOT IN (SELECT part FROM seal)",
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(harm=st.sampled_from(HARMS), row=st.integers(1, 8))
def test_whatever_is_altered_taken_out_or_added_is_found(written: Path, harm: str, row: int) -> None:
    with sqlite3.connect(written / "hub.sqlite") as connection:
        before = [connection.execute(f"SELECT * FROM {one}").fetchall() for one in TABLES]
        connection.executescript(harm.format(row=row))
        changed = before != [connection.execute(f"SELECT * FROM {one}").fetchall() for one in TABLES]
    connection.close()
    try:
        report = asyncio.run(checked(written))
        assert bool(report.broken) == changed, harm
    finally:
        with sqlite3.connect(written / "hub.sqlite") as connection:
            for table, rows in zip(TABLES, before, strict=True):
                connection.execute(f"DELETE FROM {table}")
                marks = ",".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        connection.close()
