"""Create, update and delete over HTTP: R4 http.html#create, #update, #delete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir_server import access, store
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, an_observation, issue

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


async def test_a_create_answers_201_with_location_etag_and_last_modified(fhir: Client) -> None:
    answer = await fhir.post("/Patient", json=a_patient(id="mine", meta={"versionId": "77"}))
    created = answer.json()
    assert answer.status_code == 201
    assert created["id"] != "mine"
    assert created["meta"]["versionId"] == "1"
    assert answer.headers["location"] == f"{BASE}/Patient/{created['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert (await fhir.get("/Patient/mine")).status_code == 404


@pytest.mark.parametrize(
    ("prefer", "expected"), [("minimal", None), ("representation", "Patient"), ("OperationOutcome", "OperationOutcome")]
)
async def test_the_client_chooses_what_a_write_returns(fhir: Client, prefer: str, expected: str | None) -> None:
    answer = await fhir.post("/Patient", json=a_patient(), headers={"Prefer": f"return={prefer}"})
    assert answer.status_code == 201
    assert answer.headers["etag"] == 'W/"1"'
    assert (answer.json()["resourceType"] if answer.content else None) == expected
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_decimals_keep_their_digits_on_the_way(fhir: Client) -> None:
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}'
    created = await fhir.post("/Observation", content=body, headers={"Content-Type": "application/fhir+json"})
    assert b'"value":1.50' in created.content
    read = await fhir.get(f"/Observation/{created.json()['id']}")
    assert read.content == created.content


async def test_an_update_makes_a_new_version_and_the_same_content_does_not(fhir: Client) -> None:
    created = (await fhir.post("/Patient", json=a_patient())).json()
    url = f"/Patient/{created['id']}"
    changed = await fhir.put(url, json={**created, "active": False})
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    same = await fhir.put(url, json={**created, "active": False})
    assert (same.status_code, same.headers["etag"]) == (200, 'W/"2"')


async def test_an_update_of_what_is_not_there_creates_it_under_the_clients_id(fhir: Client) -> None:
    answer = await fhir.put("/Patient/chosen-1", json=a_patient(id="chosen-1"))
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE}/Patient/chosen-1/_history/1"
    assert (await fhir.get("/Patient/chosen-1")).status_code == 200


@pytest.mark.parametrize("id", [None, "other", 5])
async def test_an_update_with_a_missing_or_different_id_is_refused(fhir: Client, id: Any) -> None:
    body = a_patient() if id is None else a_patient(id=id)
    answer = await fhir.put("/Patient/chosen", json=body)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Patient.id"]


@pytest.mark.parametrize("id", ["a_b", "a" * 65, "é", "a%20b"])
async def test_an_id_that_is_no_fhir_id_is_refused_on_write_and_unknown_on_read(fhir: Client, id: str) -> None:
    assert (await fhir.put(f"/Patient/{id}", json=a_patient(id=id))).status_code == 400
    assert (await fhir.get(f"/Patient/{id}")).status_code == 404


async def test_a_stale_if_match_is_refused_and_the_right_one_is_not(fhir: Client) -> None:
    created = (await fhir.post("/Patient", json=a_patient())).json()
    url, changed = f"/Patient/{created['id']}", {**created, "active": False}
    stale = await fhir.put(url, json=changed, headers={"If-Match": 'W/"7"'})
    assert (stale.status_code, issue(stale)["code"]) == (412, "conflict")
    assert (await fhir.put(url, json=changed, headers={"If-Match": 'W/"1"'})).status_code == 200
    assert (await fhir.put(url, json=changed, headers={"If-Match": "*"})).status_code == 200
    assert (await fhir.put(url, json=changed, headers={"If-Match": "seven"})).status_code == 400
    assert (await fhir.delete(url, headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await fhir.delete(url, headers={"If-Match": 'W/"2"'})).status_code == 204


@pytest.mark.parametrize("etag", ['W/"1"', "*"])
async def test_if_match_on_what_is_not_there_is_refused(fhir: Client, etag: str) -> None:
    answer = await fhir.put("/Patient/nobody", json=a_patient(id="nobody"), headers={"If-Match": etag})
    assert answer.status_code == 412
    assert (await fhir.get("/Patient/nobody")).status_code == 404


async def test_if_none_match_star_only_creates(fhir: Client) -> None:
    headers = {"If-None-Match": "*"}
    assert (await fhir.put("/Patient/once", json=a_patient(id="once"), headers=headers)).status_code == 201
    again = await fhir.put("/Patient/once", json=a_patient(id="once", active=False), headers=headers)
    assert again.status_code == 412


async def test_a_delete_is_204_each_time_and_the_resource_is_gone(fhir: Client) -> None:
    created = (await fhir.post("/Patient", json=a_patient())).json()
    url = f"/Patient/{created['id']}"
    deleted = await fhir.delete(url)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await fhir.delete(url)).status_code == 204
    assert (await fhir.delete("/Patient/never")).status_code == 204
    gone = await fhir.get(url)
    assert (gone.status_code, issue(gone)["code"]) == (410, "deleted")
    assert (await fhir.get(f"{url}/_history/1")).status_code == 200
    assert (await fhir.get(f"{url}/_history/2")).status_code == 410


async def test_a_delete_tells_what_it_did_when_asked(fhir: Client) -> None:
    await fhir.put("/Patient/a", json=a_patient(id="a"))
    for url in ("/Patient/a", "/Patient/a", "/Patient/never"):
        answer = await fhir.delete(url, headers={"Prefer": "return=OperationOutcome"})
        assert (answer.status_code, issue(answer)["severity"]) == (200, "information")


async def test_of_many_who_put_the_same_new_id_at_once_one_creates(fhir: Client) -> None:
    answers = await asyncio.gather(*(fhir.put("/Patient/same", json=a_patient(id="same")) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [200] * 9 + [201]
    assert (await fhir.get("/Patient/same")).headers["etag"] == 'W/"1"'


async def test_an_update_brings_back_what_was_deleted(fhir: Client) -> None:
    await fhir.put("/Patient/back", json=a_patient(id="back"))
    await fhir.delete("/Patient/back")
    answer = await fhir.put("/Patient/back", json=a_patient(id="back"))
    assert (answer.status_code, answer.headers["etag"]) == (201, 'W/"3"')
    assert (await fhir.get("/Patient/back")).status_code == 200


@pytest.mark.parametrize("sent", [{"resourceType": "Observation"}, {}, {"resourceType": 5}])
async def test_a_resource_of_another_type_is_refused(fhir: Client, sent: dict[str, Any]) -> None:
    answer = await fhir.post("/Patient", json=sent)
    assert answer.status_code == 400
    assert issue(answer)["expression"] == ["Patient.resourceType"]


async def test_every_problem_of_an_invalid_resource_is_told_with_its_place(fhir: Client) -> None:
    answer = await fhir.post("/Patient", json=a_patient(gender="robot", birthDate="1980-02-30", nothing=1))
    told = answer.json()["issue"]
    assert answer.status_code == 422
    places = " ".join(one["expression"][0] for one in told)
    assert "Patient.gender" in places
    assert "Patient.birthDate" in places
    assert len(told) >= 3
    assert all(one["severity"] == "error" and one["details"]["text"] for one in told)


async def test_a_write_that_is_refused_leaves_nothing(fhir: Client) -> None:
    assert (await fhir.put("/Patient/bad", json=a_patient(id="bad", gender="robot"))).status_code == 422
    assert (await fhir.get("/Patient/bad")).status_code == 404


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/fhir+json", 201),
        ("application/json", 201),
        ("text/json", 201),
        ("application/fhir+json; charset=utf-8; fhirVersion=4.0", 201),
        ("application/fhir+json; fhirVersion=3.0", 415),
        ("application/fhir+json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_only_fhir_content_types_are_read(fhir: Client, content_type: str, status: int) -> None:
    body = b'{"resourceType":"Patient"}'
    answer = await fhir.post("/Patient", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status


async def test_a_compressed_body_is_refused(fhir: Client) -> None:
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}
    assert (await fhir.post("/Patient", content=b"\x1f\x8b", headers=headers)).status_code == 415


async def test_the_interactions_that_do_not_exist_yet_say_so(fhir: Client) -> None:
    for method, url in [
        ("GET", "/Patient/_search"),
        ("PUT", ""),
        ("BREW", "/Patient/1"),
    ]:
        answer = await fhir.request(method, url, json=a_patient())
        assert (answer.status_code, issue(answer)["code"]) == (405, "not-supported"), (method, url)
        assert method not in answer.headers["allow"].split(", ")
    assert (await fhir.request("BREW", "/Patient/1")).headers["allow"] == "HEAD, GET, PUT, PATCH, DELETE"


async def test_a_person_without_rights_on_a_resource_cannot_write_it(
    fhir: Client, as_: Callable[..., Client], record: store.Store
) -> None:
    created = (await fhir.post("/Patient", json=a_patient())).json()
    url, nadia = f"/Patient/{created['id']}", as_("nadia")
    assert (await nadia.get(url)).status_code == 404
    assert (await nadia.put(url, json={**created, "active": False})).status_code == 404
    assert (await nadia.delete(url)).status_code == (await nadia.delete("/Patient/never")).status_code == 204
    assert (await record.read("Patient", created["id"], caller=access.SYSTEM)).version == 1


async def test_who_creates_may_read_and_others_may_not(as_: Callable[..., Client]) -> None:
    created = (await as_("nadia").post("/Observation", json=an_observation())).json()
    url = f"/Observation/{created['id']}"
    assert (await as_("nadia").get(url)).status_code == 200
    assert (await as_("paul").get(url)).status_code == 404
    assert (await as_("paul").get(f"{url}/_history")).status_code == 404
    assert (await as_("paul").get(f"{url}/_history/1")).status_code == 404
    assert "entry" not in (await as_("paul").get("/Observation")).json()
