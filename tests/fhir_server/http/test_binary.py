"""Raw content in and out: R4 binary.html."""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx
import pytest

from tests.fhir_server.http.samples import a_patient, issue

Client = httpx.AsyncClient

PDF = b"%PDF-1.7 \x00\xff"
FHIR = {"Accept": "application/fhir+json"}


async def posted(fhir: Client, content: bytes = PDF, content_type: str = "application/pdf", context: str = "") -> str:
    headers = {"Content-Type": content_type} | ({"X-Security-Context": context} if context else {})
    answer = await fhir.post("/Binary", content=content, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"/Binary/{answer.json()['id']}"


async def test_raw_content_goes_in_and_comes_out_and_never_runs_in_the_origin(fhir: Client) -> None:
    url = await posted(fhir)
    answer = await fhir.get(url)
    assert (answer.status_code, answer.content) == (200, PDF)
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["etag"] == 'W/"1"'


@pytest.mark.parametrize("accept", ["*/*", "application/pdf", "image/png", "application/json", ""])
async def test_whoever_asks_for_no_fhir_type_receives_the_content(fhir: Client, accept: str) -> None:
    answer = await fhir.get(await posted(fhir), headers={"Accept": accept})
    assert answer.content == PDF


async def test_whoever_asks_for_fhir_receives_the_resource(fhir: Client) -> None:
    url = await posted(fhir)
    for answer in (await fhir.get(url, headers=FHIR), await fhir.get(f"{url}?_format=json")):
        assert answer.headers["content-type"].startswith("application/fhir+json")
        assert base64.b64decode(answer.json()["data"]) == PDF
        assert answer.json()["contentType"] == "application/pdf"


async def test_a_version_and_a_head_of_a_binary_follow_the_same_rule(fhir: Client) -> None:
    url = await posted(fhir)
    assert (await fhir.get(f"{url}/_history/1")).content == PDF
    head = await fhir.head(url)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(PDF)))
    assert (await fhir.get(url, headers={"If-None-Match": 'W/"1"'})).status_code == 304


async def test_a_binary_sent_as_a_resource_is_one(fhir: Client) -> None:
    resource = {"resourceType": "Binary", "contentType": "text/plain", "data": "YWJj"}
    for content_type in ("application/fhir+json", "application/json"):
        answer = await fhir.post("/Binary", json=resource, headers={"Content-Type": content_type})
        assert (await fhir.get(f"/Binary/{answer.json()['id']}")).content == b"abc"


@pytest.mark.parametrize("content", [b'{"a":1}', b"not json", b"[]"])
async def test_json_that_is_no_binary_resource_is_content(fhir: Client, content: bytes) -> None:
    answer = await fhir.get(await posted(fhir, content, "application/json"))
    assert (answer.content, answer.headers["content-type"]) == (content, "application/json")


async def test_raw_content_replaces_raw_content(fhir: Client) -> None:
    url = await posted(fhir)
    put = await fhir.put(url, content=b"new", headers={"Content-Type": "text/plain"})
    assert (put.status_code, put.headers["etag"]) == (200, 'W/"2"')
    assert (await fhir.get(url)).content == b"new"


async def test_fhir_json_that_is_no_binary_is_refused(fhir: Client) -> None:
    answer = await fhir.post("/Binary", json=a_patient(), headers={"Content-Type": "application/fhir+json"})
    assert answer.status_code == 400


@pytest.mark.parametrize("content_type", ["", "pdf", "text/html é", "a/b; x=<script>"])
async def test_content_of_no_readable_type_is_refused(fhir: Client, content_type: str) -> None:
    headers = {b"Content-Type": content_type.encode()}
    assert (await fhir.post("/Binary", content=PDF, headers=headers)).status_code == 415


async def test_a_content_type_that_could_split_a_header_leaves_as_plain_octets(fhir: Client) -> None:
    resource = {"resourceType": "Binary", "contentType": "text/html evil", "data": "YWJj"}
    answer = await fhir.post("/Binary", json=resource, headers={"Content-Type": "application/fhir+json"})
    if answer.status_code == 201:
        read = await fhir.get(f"/Binary/{answer.json()['id']}")
        assert read.headers["content-type"] == "application/octet-stream"


async def test_a_binary_without_data_is_empty(fhir: Client) -> None:
    answer = await fhir.get(await posted(fhir, b"", "text/plain"))
    assert (answer.status_code, answer.content) == (200, b"")


async def test_the_security_context_travels_in_its_header(fhir: Client) -> None:
    await fhir.put("/Patient/p1", json=a_patient(id="p1"))
    url = await posted(fhir, context="Patient/p1")
    assert (await fhir.get(url, headers=FHIR)).json()["securityContext"] == {"reference": "Patient/p1"}
    headers = {"Content-Type": "text/plain", "X-Security-Context": "not a reference"}
    wrong = await fhir.post("/Binary", content=b"x", headers=headers)
    assert (wrong.status_code, issue(wrong)["expression"]) == (400, ["http.X-Security-Context"])


async def test_raw_content_obeys_the_readers_rights(as_: Callable[..., Client]) -> None:
    url = await posted(as_("nadia"))
    assert (await as_("nadia").get(url)).content == PDF
    hidden = await as_("paul").get(url, headers={"Accept": "application/pdf"})
    assert (hidden.status_code, issue(hidden)["code"]) == (404, "not-found")
