"""`$meta`, `$meta-add`, `$meta-delete` (R4 resource-operation-meta.html) and `$diff`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir_server.standard import meta
from tests.fhir_server.http.samples import a_patient, an_observation, issue

Client = httpx.AsyncClient
Json = dict[str, Any]
TAG = {"system": "http://x.test/tags", "code": "a", "display": "A"}
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def given(**meta: Any) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def told(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    (parameter,) = answer.json()["parameter"]
    assert parameter["name"] == "return"
    found: Json = parameter["valueMeta"]
    return found


@pytest.fixture
async def url(fhir: Client) -> str:
    return f"/Patient/{(await fhir.post('/Patient', json=a_patient(meta={'tag': [TAG]}))).json()['id']}"


async def test_the_meta_of_a_resource_is_read(fhir: Client, url: str) -> None:
    found = told(await fhir.get(f"{url}/$meta"))
    assert (found["versionId"], found["tag"]) == ("1", [TAG])
    assert (await fhir.get("/Patient/nobody/$meta")).status_code == 404


async def test_adding_makes_a_version_and_adds_nothing_twice(fhir: Client, url: str) -> None:
    more = given(tag=[{**TAG, "display": "again"}], security=[LABEL])
    found = told(await fhir.post(f"{url}/$meta-add", json=more))
    assert (found["versionId"], found["tag"], found["security"]) == ("2", [TAG], [LABEL])
    assert told(await fhir.post(f"{url}/$meta-add", json=more))["versionId"] == "2"
    resource = (await fhir.get(url)).json()
    assert (resource["meta"], resource["name"]) == (found, a_patient()["name"])
    stale = await fhir.post(f"{url}/$meta-add", json=given(tag=[{"code": "b"}]), headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412


async def test_taking_away_what_is_there_and_what_is_not(fhir: Client, url: str) -> None:
    await fhir.post(f"{url}/$meta-add", json=given(security=[LABEL]))
    gone = given(tag=[{"system": TAG["system"], "code": "a"}, {"code": "never"}])
    found = told(await fhir.post(f"{url}/$meta-delete", json=gone))
    assert ("tag" in found, found["security"]) == (False, [LABEL])


async def test_what_is_in_use_is_what_the_caller_may_see(as_: Callable[..., Client], fhir: Client, url: str) -> None:
    nadia = as_("nadia")
    other = {"system": "http://x.test/tags", "code": "mine"}
    created = await nadia.post("/Observation", json=an_observation(meta={"tag": [other]}))
    assert created.status_code == 201, created.text
    assert told(await fhir.get("/$meta"))["tag"] == [other, TAG]
    assert told(await fhir.get("/Patient/$meta"))["tag"] == [TAG]
    assert told(await nadia.get("/$meta"))["tag"] == [other]
    assert told(await nadia.get("/Patient/$meta")) == {}
    assert (await nadia.get(f"{url}/$meta")).status_code == 404
    assert (await nadia.post(f"{url}/$meta-add", json=given(tag=[TAG]))).status_code == 404
    assert (await as_("reader").post(f"{url}/$meta-add", json=given(tag=[TAG]))).status_code == 403


async def test_too_much_to_read_is_refused(fhir: Client, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta, "MOST_READ", 0)
    answer = await fhir.get("/Patient/$meta")
    assert (answer.status_code, issue(answer)["code"]) == (400, "too-costly")


@pytest.mark.parametrize("body", [{"resourceType": "Parameters"}, {"resourceType": "Patient"}, given(tag=[TAG]) | {}])
async def test_a_get_or_a_wrong_body_does_not_change_anything(fhir: Client, url: str, body: Json) -> None:
    assert (await fhir.get(f"{url}/$meta-add")).status_code == 405
    answer = await fhir.post(f"{url}/$meta-add", json=body)
    assert answer.status_code == (200 if body.get("parameter") else 400)
    assert told(await fhir.get(f"{url}/$meta"))["versionId"] == "1"


def operations(answer: httpx.Response) -> list[list[Any]]:
    assert answer.status_code == 200, answer.text
    told = answer.json().get("parameter", [])
    return [[next(iter(list(part.values())[1:])) for part in one["part"]] for one in told]


async def test_the_difference_of_two_versions_is_a_patch(fhir: Client, url: str) -> None:
    first = (await fhir.get(url)).json()
    await fhir.put(url, json={**first, "gender": "female"})
    await fhir.put(url, json={**first, "gender": "male", "name": [*first["name"], {"text": "Dom"}]})
    last = [
        ["add", "Patient", "name", {"text": "Dom"}],
        ["replace", "Patient.gender", "male"],
    ]
    assert operations(await fhir.get(f"{url}/$diff")) == last
    assert operations(await fhir.get(f"{url}/$diff?fromVersion=2&toVersion=3")) == last
    assert operations(await fhir.get(f"{url}/$diff?fromVersion=2&toVersion=1")) == [["delete", "Patient.gender"]]
    assert operations(await fhir.get(f"/$diff?from={url[1:]}/_history/2&to={url[1:]}")) == last
    assert operations(await fhir.get(f"{url}/$diff?fromVersion=3")) == []
    assert "valueCode" in (await fhir.get(f"{url}/$diff", params={"_format": "xml"})).text


async def test_a_difference_shows_nothing_that_could_not_be_read(as_: Callable[..., Client], url: str) -> None:
    nadia = as_("nadia")
    mine = (await nadia.post("/Patient", json=a_patient())).json()["id"]
    assert (await nadia.get(f"{url}/$diff")).status_code == 404
    assert (await nadia.get(f"/$diff?from=Patient/{mine}&to={url[1:]}")).status_code == 404
    assert (await nadia.get(f"/Patient/{mine}/$diff?fromVersion=7")).status_code == 404
    for wrong in (f"/Patient/{mine}/$diff?fromVersion=x", "/$diff", f"/$diff?from=Patient/{mine}&to=Group/1"):
        assert (await nadia.get(wrong)).status_code in (400, 404)
