"""Asynchronous requests: R4 async.html, through HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fhir_server import access, store
from fhir_server.jobs import job
from tests.fhir_server.http import bulk
from tests.fhir_server.http.bulk import ASYNC, finished, serving
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import a_patient, bundle, entry, issue

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


async def test_a_search_is_accepted_and_its_answer_is_the_entry_of_a_batch_response(
    record: store.Store, tmp_path: Path
) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        fhir = as_("system")
        await fhir.post("Patient", json=a_patient())
        started = await fhir.get("Patient?family=Pat", headers=ASYNC)
        assert started.status_code == 202
        assert started.headers["content-location"].startswith(f"{fhir.base_url}$job/")
        answer = await finished(fhir, started)
        assert answer.status_code == 200
        assert "expires" in answer.headers
        told = answer.json()
        assert (told["resourceType"], told["type"]) == ("Bundle", "batch-response")
        (only,) = told["entry"]
        assert only["response"]["status"] == "200 OK"
        assert only["resource"]["total"] == 1


async def test_a_transaction_is_done_later_with_the_rights_of_its_sender(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        nadia = as_("nadia")
        sent = bundle("transaction", entry("POST", "Patient", a_patient()))
        answer = await finished(nadia, await nadia.post("", json=sent, headers=ASYNC))
        (only,) = answer.json()["entry"]
        assert only["resource"]["type"] == "transaction-response"
        place = only["resource"]["entry"][0]["response"]["location"]
        assert (await nadia.get(place)).status_code == 200
        assert (await as_("paul").get(place)).status_code == 404


async def test_a_refusal_is_the_answer_of_the_entry(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        fhir = as_("system")
        answer = await finished(fhir, await fhir.get("Patient?colour=red", headers=ASYNC))
        assert answer.status_code == 200
        (only,) = answer.json()["entry"]
        assert only["response"]["status"].startswith("400")
        assert only["response"]["outcome"]["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("other", ["paul", "software", "reader", "patients"])
async def test_a_job_of_somebody_else_does_not_exist(record: store.Store, tmp_path: Path, other: str) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        started = await as_("nadia").get("Patient", headers=ASYNC)
        place = started.headers["content-location"]
        await finished(as_("nadia"), started)
        assert (await as_(other).get(place)).status_code == 404
        assert (await as_(other).delete(place)).status_code == 404
        assert (await as_("nadia").get(place)).status_code == 200


async def test_nobody_fills_the_queue_for_all_others(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs", of_one=2) as as_:
        nadia = as_("nadia")
        places = [(await nadia.get("Patient", headers=ASYNC)).headers["content-location"] for _ in range(2)]
        refused = await nadia.get("Patient", headers=ASYNC)
        assert (refused.status_code, issue(refused)["code"]) == (429, "throttled")
        assert refused.headers["retry-after"]
        assert (await as_("paul").get("Patient", headers=ASYNC)).status_code == 202
        await nadia.delete(places[0])
        assert (await nadia.get("Patient", headers=ASYNC)).status_code == 202


async def test_no_other_user_of_the_machine_reads_the_files(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs"):
        assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0


async def test_a_condition_of_the_request_holds_later_too(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        nadia = as_("nadia")
        id = (await nadia.post("Patient", json=a_patient())).json()["id"]
        meta = {"name": "meta", "valueMeta": {"tag": [{"code": "new"}]}}
        sent = {"resourceType": "Parameters", "parameter": [meta]}
        headers = {**ASYNC, "If-Match": 'W/"7"'}
        answer = await finished(nadia, await nadia.post(f"Patient/{id}/$meta-add", json=sent, headers=headers))
        assert answer.json()["entry"][0]["response"]["status"].startswith("412")
        assert (await nadia.get(f"Patient/{id}")).headers["etag"] == 'W/"1"'


async def test_a_job_that_is_cancelled_is_gone_with_its_files(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        fhir = as_("system")
        started = await fhir.get("Patient", headers=ASYNC)
        place = started.headers["content-location"]
        await finished(fhir, started)
        assert (await fhir.delete(place)).status_code == 202
        assert (await fhir.get(place)).status_code == 404
        assert (await fhir.delete(place)).status_code == 404
        assert list((tmp_path / "jobs").iterdir()) == []


async def test_a_job_expires_with_its_files(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs", keep_seconds=0) as as_:
        fhir = as_("system")
        answer = await finished(fhir, await fhir.get("Patient", headers=ASYNC))
        assert answer.status_code == 404
        for _ in range(200):
            if not list((tmp_path / "jobs").iterdir()):
                break
            await asyncio.sleep(0.05)
        assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.parametrize("path", ["$job/x", "$job/" + "0" * 32, "$job/" + "0" * 32 + "/..%2fx", "$job/a/b"])
async def test_a_job_that_never_was_is_not_found(record: store.Store, tmp_path: Path, path: str) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        answer = await as_("system").get(path)
        assert answer.status_code == 404
        assert issue(answer)["code"] == "not-found"


async def test_a_read_of_one_resource_is_answered_at_once(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        fhir = as_("system")
        made = (await fhir.post("Patient", json=a_patient(), headers=ASYNC)).json()
        assert (await fhir.get(f"Patient/{made['id']}", headers=ASYNC)).status_code == 200


async def test_an_answer_that_no_bundle_can_hold_is_given_at_once(record: store.Store, tmp_path: Path) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        answer = await as_("system").get("$graphql?query={PatientList{id}}", headers=ASYNC)
        assert (answer.status_code, answer.json()) == (200, {"data": {"PatientList": []}})


async def test_searches_of_everything_and_of_a_compartment_are_done_later_too(
    record: store.Store, tmp_path: Path
) -> None:
    async with serving(record, tmp_path / "jobs") as as_:
        fhir = as_("system")
        patient = (await fhir.post("Patient", json=a_patient())).json()["id"]
        for asked in (
            fhir.get("?_type=Patient&_elements=name", headers=ASYNC),
            fhir.post("_search", data={"_type": "Patient"}, headers=ASYNC),
            fhir.get(f"Patient/{patient}/*", headers=ASYNC),
            fhir.post(f"Patient/{patient}/Observation/_search", data={"status": "final"}, headers=ASYNC),
        ):
            started = await asked
            assert started.status_code == 202, started.text
            (only,) = (await finished(fhir, started)).json()["entry"]
            assert only["resource"]["type"] == "searchset"


async def test_what_only_reads_is_done_again_after_a_kill_and_what_writes_is_not(
    record: store.Store, tmp_path: Path
) -> None:
    search: dict[str, Any] = {
        "method": "GET",
        "segments": ["Patient"],
        "params": [],
        "shown": [],
        "headers": {},
        "base": "http://hub.test",
        "id": "x",
        "returns": "",
        "lenient": False,
        "url": "http://hub.test/Patient",
        "repeats": True,
    }
    sent = b'{"resourceType":"Bundle","type":"batch","entry":[]}'
    batch = {**search, "method": "POST", "segments": [], "repeats": False}
    batch["headers"] = {"content-type": "application/fhir+json"}
    places = []
    for asked, begun in ((search, {}), (batch, {"begun": True}), (batch, {})):
        row = job.new("request", access.SYSTEM, asked, now=1)
        # As a killed process left it: taken by nobody that lives.
        killed = {name: getattr(row, name) for name in row.__slots__} | {"state": "running", "attempts": 1}
        killed["progress"] = '{"begun": true}' if begun else "{}"
        await record.bulk.add(type(row)(**killed))
        (tmp_path / "jobs" / row.id).mkdir(parents=True)
        (tmp_path / "jobs" / row.id / job.BODY).write_bytes(sent if asked is batch else b"")
        places.append(f"$job/{row.id}")
    async with serving(record, tmp_path / "jobs") as as_:
        fhir = as_("system")
        answers = []
        for place in places:
            for _ in range(500):
                if (answer := await fhir.get(place)).status_code != 202:
                    break
                await asyncio.sleep(0.02)
            answers.append(answer)
        assert [one.status_code for one in answers] == [200, 409, 200]
        assert "Interrompu" in issue(answers[1])["details"]["text"]


async def test_without_jobs_the_preference_is_not_followed(fhir: bulk.httpx.AsyncClient) -> None:
    assert (await fhir.get("Patient", headers=ASYNC)).status_code == 200
    assert issue(await fhir.get("$export", headers=ASYNC))["code"] == "not-supported"
