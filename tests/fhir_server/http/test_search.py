"""Searches over HTTP: searchset, paging, includes. What parameters mean is tested with query.py and the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, an_observation, entries, identified, issue, link

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


async def put(fhir: Client, resource: dict[str, Any]) -> str:
    ref = f"{resource['resourceType']}/{resource['id']}"
    answer = await fhir.put(f"/{ref}", json=resource)
    assert answer.status_code == 201, answer.text
    return ref


@pytest.fixture
async def ward(fhir: Client) -> None:
    """Two patients of one practitioner, observations of both."""
    await put(fhir, {"resourceType": "Organization", "id": "o1", "name": "Maison de santé"})
    await put(fhir, {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Medecin"}]})
    for id in ("p1", "p2"):
        doctor = [{"reference": "Practitioner/d1"}]
        home = {"reference": "Organization/o1"}
        await put(fhir, a_patient(id=id, generalPractitioner=doctor, managingOrganization=home))
    for number, subject in enumerate(["p1", "p1", "p2"], 1):
        await put(fhir, an_observation(f"Patient/{subject}", id=f"ob{number}"))


def ids(found: list[dict[str, Any]]) -> set[str]:
    return {one["id"] for one in found}


@pytest.mark.usefixtures("ward")
async def test_a_search_answers_with_a_searchset(fhir: Client) -> None:
    answer = await fhir.get("/Observation?subject=Patient/p1")
    bundle = answer.json()
    assert (answer.status_code, bundle["resourceType"], bundle["type"]) == (200, "Bundle", "searchset")
    assert ids(entries(bundle)) == {"ob1", "ob2"}
    assert {one["fullUrl"] for one in bundle["entry"]} == {f"{BASE}/Observation/ob1", f"{BASE}/Observation/ob2"}
    assert link(bundle, "self") == f"{BASE}/Observation?subject=Patient/p1&_count=20"
    assert link(bundle, "next") is None
    assert bundle["total"] == 2


@pytest.mark.usefixtures("ward")
async def test_a_total_is_told_when_it_is_asked_for_or_costs_nothing(fhir: Client) -> None:
    for query, total in [("_count=2", None), ("_count=2&_total=accurate", 3), ("_count=3", 3), ("", 3)]:
        bundle = (await fhir.get(f"/Observation?{query}")).json()
        assert bundle.get("total") == total, query
    second = (await fhir.get(link((await fhir.get("/Observation?_count=2")).json(), "next") or "")).json()
    assert (len(entries(second)), "total" in second) == (1, False)


@pytest.mark.usefixtures("ward")
async def test_nothing_found_is_a_bundle_without_entries(fhir: Client) -> None:
    bundle = (await fhir.get("/Observation?subject=Patient/p9")).json()
    assert "entry" not in bundle


@pytest.mark.usefixtures("ward")
@pytest.mark.parametrize("query", ["_summary=count", "_count=0"])
async def test_a_count_has_a_total_and_no_entries(fhir: Client, query: str) -> None:
    bundle = (await fhir.get(f"/Observation?{query}")).json()
    assert (bundle["total"], "entry" in bundle) == (3, False)


@pytest.mark.usefixtures("ward")
async def test_the_total_counts_matches_only(fhir: Client) -> None:
    bundle = (await fhir.get("/Observation?_total=accurate&_include=Observation:subject&_count=1")).json()
    assert bundle["total"] == 3


@pytest.mark.usefixtures("ward")
async def test_a_posted_search_is_the_same_search_and_takes_both_places(fhir: Client) -> None:
    got = (await fhir.get("/Observation?subject=Patient/p1&status=final")).json()
    posted = (await fhir.post("/Observation/_search?status=final", data={"subject": "Patient/p1"})).json()
    assert ids(entries(posted)) == ids(entries(got)) == {"ob1", "ob2"}
    empty = await fhir.post("/Observation/_search")
    assert len(entries(empty.json())) == 3


async def test_the_form_of_a_posted_search_may_ask_for_a_format(fhir: Client) -> None:
    answer = await fhir.post("/Patient/_search", data={"_format": "xml", "active": "true"})
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    pretty = await fhir.post("/Patient/_search", data={"_pretty": "true"})
    assert "\n" in pretty.text
    assert (await fhir.post("/Patient/_search", data={"_format": "turtle"})).status_code == 406


async def test_a_posted_search_is_a_form(fhir: Client) -> None:
    assert (await fhir.post("/Observation/_search", json={"subject": "x"})).status_code == 415
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await fhir.post("/Observation/_search", content=b"code=%ff", headers=headers)).status_code == 400
    huge = b"code=" + b"x" * 300_000
    assert (await fhir.post("/Observation/_search", content=huge, headers=headers)).status_code == 413


async def test_an_unknown_parameter_is_refused_or_with_lenient_ignored_and_said(fhir: Client) -> None:
    answer = await fhir.get("/Patient?colour=red&active=true")
    assert answer.status_code == 400
    assert "colour" in issue(answer)["details"]["text"]
    lenient = (await fhir.get("/Patient?colour=red&active=true", headers={"Prefer": "handling=lenient"})).json()
    assert link(lenient, "self") == f"{BASE}/Patient?active=true&_count=20"
    [remark] = entries(lenient, "outcome")
    assert "colour" in remark["issue"][0]["details"]["text"]
    strict = await fhir.get("/Patient?colour=red", headers={"Prefer": "handling=strict"})
    assert strict.status_code == 400


async def test_an_unknown_element_is_refused_or_with_lenient_left_out_and_said(fhir: Client) -> None:
    await fhir.post("/Patient", json=a_patient())
    assert issue(await fhir.get("/Patient?_elements=active,colour"))["expression"] == ["http._elements"]
    answer = await fhir.get("/Patient?_elements=active,colour", headers={"Prefer": "handling=lenient"})
    assert link(answer.json(), "self") == f"{BASE}/Patient?_count=20&_elements=active"
    assert [set(one) for one in entries(answer.json())] == [{"resourceType", "id", "meta", "active"}]
    [remark] = entries(answer.json(), "outcome")
    assert "_elements=colour" in remark["issue"][0]["details"]["text"]


async def test_every_wrong_parameter_is_told_at_once(fhir: Client) -> None:
    answer = await fhir.get("/Patient?colour=red&birthdate=soon&active=true&_sort=size&_include=x&_count=-1")
    assert answer.status_code == 400
    places = [one["expression"] for one in answer.json()["issue"]]
    assert places == [["http.colour"], ["http.birthdate"], ["http._sort"], ["http._include"], ["http._count"]]


async def test_an_unknown_modifier_is_refused_even_when_lenient(fhir: Client) -> None:
    answer = await fhir.get("/Patient?family:sounds-like=x", headers={"Prefer": "handling=lenient"})
    assert answer.status_code == 400


async def test_an_unknown_type_is_404(fhir: Client) -> None:
    assert (await fhir.get("/Nothing?x=y")).status_code == 404
    assert (await fhir.post("/Nothing", json={"resourceType": "Nothing"})).status_code == 404
    assert (await fhir.post("/Nothing/_search")).status_code == 404


async def test_pages_are_stable_while_others_write_and_each_resource_comes_once(fhir: Client) -> None:
    for number in range(12):
        await put(fhir, a_patient(id=f"p{number:02}", birthDate=f"19{80 + number // 4}-01-01"))
    for order in ("", "&_sort=birthdate", "&_sort=-birthdate,_id", "&_sort=_id", "&_sort=-_lastUpdated"):
        seen: list[str] = []
        place = f"{BASE}/Patient?active=true&_count=5{order}"
        while place:
            page = (await fhir.get(place)).json()
            seen += [one["id"] for one in entries(page)]
            place = link(page, "next") or ""
            late = {"resourceType": "Patient", "active": True, "birthDate": "1979-01-01"}
            await fhir.post("/Patient", json=late, headers={"Prefer": "return=minimal"})
        assert len(seen) == len(set(seen)), order
        assert {f"p{number:02}" for number in range(12)} <= set(seen), order


async def test_a_page_link_that_was_tampered_with_is_refused(fhir: Client) -> None:
    for cursor in ("x", "'", "AAAA", "%F0%9F%98%80", "9" * 300):
        assert (await fhir.get(f"/Patient?_after={cursor}")).status_code == 400, cursor


@pytest.mark.usefixtures("ward")
async def test_format_and_pretty_stay_in_the_links(fhir: Client) -> None:
    bundle = (await fhir.get("/Observation?_count=2&_format=json&_pretty=true")).json()
    assert link(bundle, "self") == f"{BASE}/Observation?_count=2&_format=json&_pretty=true"
    assert "&_format=json&_pretty=true&_after=" in (link(bundle, "next") or "")


async def test_links_escape_what_the_client_wrote(fhir: Client) -> None:
    answer = await fhir.get("/Patient", params={"family": 'a"b\\c é&<', "identifier": "http://x.test/s|1"})
    assert answer.status_code == 200
    assert httpx.URL(link(answer.json(), "self") or "").params["family"] == 'a"b\\c é&<'


@pytest.mark.usefixtures("ward")
async def test_includes_bring_each_resource_once(fhir: Client) -> None:
    bundle = (await fhir.get("/Observation?_include=Observation:subject")).json()
    assert len(entries(bundle)) == 3
    assert ids(entries(bundle, "include")) == {"p1", "p2"}
    assert len(bundle["entry"]) == 5
    assert [one["search"]["mode"] for one in bundle["entry"]] == ["match"] * 3 + ["include"] * 2


@pytest.mark.usefixtures("ward")
async def test_an_include_with_a_type_follows_only_that_type(fhir: Client) -> None:
    patients = (await fhir.get("/Observation?_include=Observation:subject:Patient")).json()
    groups = (await fhir.get("/Observation?_include=Observation:subject:Group")).json()
    assert ids(entries(patients, "include")) == {"p1", "p2"}
    assert entries(groups, "include") == []


@pytest.mark.usefixtures("ward")
async def test_a_revinclude_brings_what_refers_to_the_matches(fhir: Client) -> None:
    bundle = (await fhir.get("/Patient?_id=p1&_revinclude=Observation:subject")).json()
    assert ids(entries(bundle)) == {"p1"}
    assert ids(entries(bundle, "include")) == {"ob1", "ob2"}


@pytest.mark.usefixtures("ward")
async def test_iterating_includes_go_on_from_what_was_included(fhir: Client) -> None:
    once = (await fhir.get("/Observation?_include=Observation:subject")).json()
    assert "d1" not in ids(entries(once, "include"))
    query = "_include=Observation:subject&_include:iterate=Patient:general-practitioner"
    bundle = (await fhir.get(f"/Observation?{query}&_include:iterate=Patient:organization")).json()
    assert ids(entries(bundle, "include")) == {"p1", "p2", "d1", "o1"}
    query = "_revinclude=Patient:general-practitioner&_revinclude:iterate=Observation:subject:Patient"
    back = (await fhir.get(f"/Practitioner?{query}")).json()
    assert ids(entries(back, "include")) == {"p1", "p2", "ob1", "ob2", "ob3"}


@pytest.mark.usefixtures("ward")
async def test_a_wildcard_include_follows_every_reference(fhir: Client) -> None:
    bundle = (await fhir.get("/Patient?_include=Patient:*")).json()
    assert ids(entries(bundle, "include")) == {"d1", "o1"}


@pytest.mark.usefixtures("ward")
async def test_deleted_resources_are_not_included(fhir: Client) -> None:
    await fhir.delete("/Patient/p2")
    bundle = (await fhir.get("/Observation?_include=Observation:subject")).json()
    assert ids(entries(bundle, "include")) == {"p1"}


@pytest.mark.usefixtures("ward")
async def test_includes_hold_only_what_the_caller_may_see(fhir: Client, as_: Callable[..., Client]) -> None:
    nadia = as_("nadia")
    answer = await nadia.post("/Observation", json=an_observation("Patient/p1"))
    mine = answer.json()["id"]
    bundle = (await nadia.get("/Observation?_include=Observation:subject")).json()
    assert ids(entries(bundle)) == {mine}
    assert entries(bundle, "include") == []
    assert entries((await as_("patients").get("/Patient?_revinclude=Observation:subject")).json(), "include") == []
    assert (await as_("patients").get("/Observation")).status_code == 403


async def test_a_search_that_names_no_allowed_include_is_refused(fhir: Client) -> None:
    for query in ("_include=Observation:nothing", "_include=x", "_revinclude=Patient:nothing", "_include:up=Patient:*"):
        assert (await fhir.get(f"/Patient?{query}")).status_code == 400, query


async def test_identifier_searches_find_exactly(fhir: Client) -> None:
    await put(fhir, a_patient(id="a", identifier=identified("1")))
    await put(fhir, a_patient(id="b", identifier=identified("1", "http://y.test")))
    found = (await fhir.get("/Patient?identifier=http://x.test/ipp|1")).json()
    assert ids(entries(found)) == {"a"}
