"""Batches over HTTP: each entry alone. R4 http.html#transaction."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from fhir_server.bundle import SEARCHES_AT_ONCE
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, an_observation, bundle, entry, identified

Client = httpx.AsyncClient
SEARCH = "Patient?identifier=http://x.test/ipp|1"

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


async def test_one_bad_entry_does_not_stop_the_others(fhir: Client) -> None:
    answer = await fhir.post(
        "",
        json=bundle(
            "batch",
            entry("POST", "Patient", a_patient()),
            entry("POST", "Patient", a_patient(gender="robot")),
            entry("GET", "Patient/nobody"),
            {"request": {"method": "JUMP", "url": "x"}},
            entry("POST", "", bundle("batch")),
            entry("POST", "Nothing", {"resourceType": "Nothing"}),
            entry("PUT", "Patient/b", a_patient(id="b")),
        ),
    )
    body = answer.json()
    statuses = [one["response"]["status"][:3] for one in body["entry"]]
    assert (answer.status_code, body["type"]) == (200, "batch-response")
    assert statuses == ["201", "422", "404", "400", "400", "404", "201"]
    outcomes = [one["response"].get("outcome", {}).get("resourceType") for one in body["entry"]]
    assert outcomes == [None, *["OperationOutcome"] * 5, None]
    assert body["entry"][6]["response"]["location"] == f"{BASE}/Patient/b/_history/1"


async def test_reads_and_searches_see_what_the_same_batch_wrote(fhir: Client) -> None:
    answer = await fhir.post(
        "",
        json=bundle(
            "batch",
            entry("GET", "Patient/b"),
            entry("GET", "Patient?identifier=http://x.test/ipp|1"),
            entry("GET", f"{BASE}/Patient/b/_history"),
            entry("HEAD", "Patient/b"),
            entry("GET", "metadata"),
            entry("PUT", "Patient/b", a_patient(id="b", identifier=identified("1"))),
            entry("GET", "Patient/b", ifNoneMatch='W/"1"'),
        ),
    )
    found = answer.json()["entry"]
    assert [one["response"]["status"][:3] for one in found] == ["200", "200", "200", "200", "200", "201", "304"]
    assert [one.get("resource", {}).get("type") for one in found[1:3]] == ["searchset", "history"]
    assert found[0]["response"]["etag"] == 'W/"1"'
    assert "resource" not in found[3]
    assert found[4]["resource"]["resourceType"] == "CapabilityStatement"


async def test_every_interaction_works_in_a_batch(fhir: Client) -> None:
    await fhir.put("/Patient/b", json=a_patient(id="b"))
    answer = await fhir.post(
        "",
        json=bundle(
            "batch",
            entry("PUT", "Patient/b", a_patient(id="b", active=False), ifMatch='W/"7"'),
            entry("POST", "Patient", a_patient(), ifNoneExist="_id=b"),
            entry("DELETE", "Patient/gone"),
            entry("GET", "Patient/b/_history/1"),
            entry("GET", "Patient/b/$double?a=1"),
            entry("PATCH", "Patient/b", a_patient()),
        ),
    )
    statuses = [one["response"]["status"][:3] for one in answer.json()["entry"]]
    assert statuses == ["412", "200", "204", "200", "200", "400"]


async def test_a_bug_in_one_entry_is_that_entrys_500_without_its_secret(fhir: Client) -> None:
    answer = await fhir.post("", json=bundle("batch", entry("GET", "$explode"), entry("POST", "Patient", a_patient())))
    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["500", "201"]
    assert "secret" not in answer.text


async def test_a_binary_in_a_batch_comes_as_a_resource(fhir: Client) -> None:
    binary = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "YQ=="}
    answer = await fhir.post("", json=bundle("batch", entry("PUT", "Binary/b", binary), entry("GET", "Binary/b")))
    assert answer.json()["entry"][1]["resource"]["data"] == "YQ=="


async def test_the_rights_of_the_caller_count_for_each_entry(as_: Callable[..., Client]) -> None:
    some = bundle("batch", entry("POST", "Patient", a_patient()), entry("POST", "Observation", an_observation()))
    answer = await as_("patients").post("", json=some)
    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["201", "403"]


async def test_criteria_with_accents_are_read(fhir: Client) -> None:
    await fhir.put("/Patient/m", json={"resourceType": "Patient", "id": "m", "name": [{"family": "Müller"}]})
    answer = await fhir.post(
        "", json=bundle("batch", entry("POST", "Patient", a_patient(), ifNoneExist="family=Müller"))
    )
    assert answer.json()["entry"][0]["response"]["location"] == f"{BASE}/Patient/m/_history/1"


async def test_a_batch_answers_what_there_is_room_for_and_says_what_was_not_done(
    fhir: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fhir.put("/Patient/b", json=a_patient(id="b", identifier=identified("1")))
    size = len((await fhir.get(f"/{SEARCH}")).content)
    monkeypatch.setattr("fhir_server.page.MOST_BYTES", 5 * size)
    searches = [entry("GET", SEARCH) for _ in range(30)]
    answer = await fhir.post("", json=bundle("batch", *searches, entry("POST", "Patient", a_patient())))
    found = answer.json()["entry"]
    statuses = [one["response"]["status"][:3] for one in found]
    # Writes come first; a few searches were under way when the last one filled the answer.
    assert statuses[-1] == "201"
    assert 5 <= statuses.count("200") <= 5 + SEARCHES_AT_ONCE + 1
    assert set(statuses[:-1]) == {"200", "413"}
    issues = [one["response"]["outcome"]["issue"][0] for one in found if one["response"]["status"].startswith("413")]
    assert {issue["code"] for issue in issues} == {"too-costly"}
    assert issues[-1]["expression"] == ["Bundle.entry[29]"]
    assert len(answer.content) < 5 * size + (SEARCHES_AT_ONCE + 1) * 2 * size + 30 * 600


async def test_a_transaction_that_reads_too_much_is_refused_whole(
    fhir: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fhir.put("/Patient/b", json=a_patient(id="b", identifier=identified("1")))
    size = len((await fhir.get(f"/{SEARCH}")).content)
    monkeypatch.setattr("fhir_server.page.MOST_BYTES", 3 * size)
    searches = [entry("GET", SEARCH) for _ in range(10)]
    for more in ([], [entry("PUT", "Patient/c", a_patient(id="c"))]):
        answer = await fhir.post("", json=bundle("transaction", *searches, *more))
        assert answer.status_code == 413, answer.text
        (issue,) = answer.json()["issue"]
        assert issue["code"] == "too-costly"
        assert issue["expression"][0].startswith("Bundle.entry[")
    assert (await fhir.get("/Patient/c")).status_code == 404
