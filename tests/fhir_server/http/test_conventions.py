"""The conventions of R4 http.html that hold for everything that is read: HEAD, formats, validators, 404 and 410."""

from __future__ import annotations

import httpx
import pytest

from tests.fhir_server.http.samples import a_patient, an_observation, issue

Client = httpx.AsyncClient

PLACES = (
    "/Patient/{id}",
    "/Patient/{id}?_elements=name",
    "/Patient/{id}/_history",
    "/Patient/{id}/_history/1",
    "/Patient/{id}/$everything",
    "/Patient/{id}/$meta",
    "/Patient/{id}/$diff",
    "/Patient",
    "/Patient?_summary=true",
    "/Patient/_history",
    "/Patient/$meta",
    "/_history",
    "/$meta",
    "/metadata",
)


@pytest.fixture
async def id(fhir: Client) -> str:
    """A patient with two versions and an observation."""
    created = (await fhir.post("/Patient", json=a_patient())).json()
    await fhir.put(f"/Patient/{created['id']}", json={**created, "active": False})
    await fhir.post("/Observation", json=an_observation(f"Patient/{created['id']}"))
    found: str = created["id"]
    return found


@pytest.mark.parametrize("place", PLACES)
async def test_everything_can_be_asked_by_head_as_xml_and_indented(fhir: Client, id: str, place: str) -> None:
    place = place.format(id=id)
    for wish in ({}, {"_format": "xml"}, {"_pretty": "true"}, {"_format": "application/fhir+json"}):
        params = {**httpx.URL(place).params, **wish}
        bare = place.partition("?")[0]
        got, head = await fhir.get(bare, params=params), await fhir.head(bare, params=params)
        assert got.status_code == head.status_code == 200, got.text
        assert head.content == b""
        if "history" not in bare or "/_history/" in bare:  # a history says the moment, whose digits never change
            assert got.headers["content-type"] == head.headers["content-type"]
        assert head.headers["content-length"] == str(len(got.content))
        assert got.headers["content-type"].startswith(
            "application/fhir+xml" if wish.get("_format") == "xml" else "application/fhir+json"
        )
        assert (got.text.count("\n") > 3) == (wish.get("_pretty") == "true")


@pytest.mark.parametrize(
    ("tags", "status"),
    [('W/"1"', 304), ('"9", W/"1"', 304), ('W/"7" , "1"', 304), ("*", 304), ('W/"2"', 200), ('"1x", W/"11"', 200)],
)
async def test_a_version_that_the_client_has_is_304(fhir: Client, id: str, tags: str, status: int) -> None:
    for method in ("GET", "HEAD"):
        answer = await fhir.request(method, f"/Patient/{id}/_history/1", headers={"If-None-Match": tags})
        assert (answer.status_code, answer.headers["etag"]) == (status, 'W/"1"')
        assert answer.content == b"" or (method, status) == ("GET", 200)


async def test_what_was_deleted_is_410_and_its_history_stays(fhir: Client, id: str) -> None:
    await fhir.delete(f"/Patient/{id}")
    for gone in ("", "?_elements=name", "/_history/3", "/$meta", "/$diff", "/$everything"):
        answer = await fhir.get(f"/Patient/{id}{gone}")
        assert (answer.status_code, issue(answer)["code"]) == (410, "deleted"), gone
        assert (await fhir.head(f"/Patient/{id}{gone}")).content == b""
    for kept in ("/_history", "/_history/1", "/_history/2"):
        assert (await fhir.get(f"/Patient/{id}{kept}")).status_code == 200
    assert (await fhir.get("/Patient")).json()["total"] == 0


@pytest.mark.parametrize(
    "place",
    [
        "/Patient/nobody",
        "/Patient/nobody/_history",
        "/Patient/nobody/_history/1",
        "/Patient/nobody/$everything",
        "/Patient/nobody/$meta",
        "/Patient/nobody/$diff",
        "/Patient/{id}/_history/9",
        "/Patient/{id}/$nothing",
        "/Observation/{id}/$everything",
        "/Nothing/_history",
        "/Nothing/1",
    ],
)
async def test_what_never_was_is_404(fhir: Client, id: str, place: str) -> None:
    answer = await fhir.get(place.format(id=id))
    assert (answer.status_code, issue(answer)["code"]) == (404, "not-found")


async def test_a_method_that_an_address_does_not_know_is_405_with_those_it_knows(fhir: Client, id: str) -> None:
    for place in ("/_history", "/Patient/_history", f"/Patient/{id}/_history"):
        answer = await fhir.post(place, json={})
        assert (answer.status_code, answer.headers["allow"]) == (405, "HEAD, GET")
