"""A developer who knows nothing yet finds out what the API can do."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests import running


@pytest.fixture
def site(region: running.Region) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{region.hub.ports['http']}", timeout=30.0) as client:
        yield client


def test_the_page_lists_types_and_search_parameters_without_sign_in(site: httpx.Client) -> None:
    page = site.get("/docs").raise_for_status()
    assert page.headers["content-type"].startswith("text/html")
    for word in ("API FHIR R4", "<strong>Communication</strong>", "<code>part-of</code>", "/docs/openapi.json"):
        assert word in page.text


def test_the_openapi_document_covers_fhir_and_the_rest(site: httpx.Client) -> None:
    document = site.get("/docs/openapi.json").raise_for_status().json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert {"/fhir/metadata", "/fhir/{type}/{id}", "/fhir/Patient", "/health/ready", "/metrics"} <= paths.keys()
    assert {one["name"] for one in paths["/fhir/Observation"]["get"]["parameters"]} >= {"code", "patient", "_sort"}
    assert paths["/fhir/metadata"]["get"]["security"] == []
    assert "/fhir/Patient/{id}/$dossier" in paths


def test_every_search_of_the_document_is_answered(site: httpx.Client, region: running.Region) -> None:
    paths = site.get("/docs/openapi.json").json()["paths"]
    types = [path.removeprefix("/fhir/") for path, calls in paths.items() if {"get", "post"} == calls.keys()]
    types = [one for one in types if one.isalpha()]
    assert len(types) == 146
    with region.hub.client("--system") as client:
        # A search for traces says from when on (ITI-81).
        dated = {"AuditEvent": {"date": "ge2020-01-01"}}
        asked = {one: {"_count": "1", **dated.get(one, {})} for one in types}
        found = {one: client.get(one, params=params).status_code for one, params in asked.items()}
        assert found == dict.fromkeys(types, 200)
