"""Histories of a type and of everything, and `_at`: R4 http.html#history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, an_observation, issue, link

Client = httpx.AsyncClient
Json = dict[str, Any]

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


async def created(fhir: Client, resource: Json) -> Json:
    answer = await fhir.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def lines(bundle: Json) -> list[tuple[str, str]]:
    """Each entry as its request and the version it made."""
    return [
        (f"{one['request']['method']} {one['request']['url']}", one["response"]["etag"])
        for one in bundle.get("entry", ())
    ]


async def walked(fhir: Client, place: str | None) -> list[tuple[str, str]]:
    seen = []
    while place:
        page = (await fhir.get(place)).json()
        seen += lines(page)
        place = link(page, "next")
    return seen


@pytest.fixture
async def told(fhir: Client) -> list[tuple[str, str]]:
    """Two patients and an observation with a past; what the history of everything must say, newest first."""
    one, other = await created(fhir, a_patient()), await created(fhir, a_patient(active=False))
    first, second = f"Patient/{one['id']}", f"Patient/{other['id']}"
    observed = await created(fhir, an_observation(first))
    observation = f"Observation/{observed['id']}"
    await fhir.put(f"/{first}", json={**one, "gender": "female"})
    await fhir.delete(f"/{second}")
    await fhir.put(f"/{observation}", json={**observed, "status": "amended"})
    return [
        (f"PUT {observation}", 'W/"2"'),
        (f"DELETE {second}", 'W/"2"'),
        (f"PUT {first}", 'W/"2"'),
        ("POST Observation", 'W/"1"'),
        ("POST Patient", 'W/"1"'),
        ("POST Patient", 'W/"1"'),
    ]


async def test_the_history_of_everything_is_newest_first(fhir: Client, told: list[tuple[str, str]]) -> None:
    bundle = (await fhir.get("/_history")).json()
    assert (bundle["type"], lines(bundle), link(bundle, "next")) == ("history", told, None)
    assert ["resource" in one for one in bundle["entry"]] == [True, False, True, True, True, True]
    assert all(one["fullUrl"].startswith(BASE) and one["response"]["lastModified"] for one in bundle["entry"])
    assert [one["response"]["status"][:3] for one in bundle["entry"]] == ["200", "204", "200", "201", "201", "201"]


async def test_the_history_of_a_type_holds_only_that_type(fhir: Client, told: list[tuple[str, str]]) -> None:
    for type in ("Patient", "Observation", "Encounter"):
        bundle = (await fhir.get(f"/{type}/_history")).json()
        assert lines(bundle) == [one for one in told if f"{type}" in one[0]]
    assert (await fhir.get("/Nothing/_history")).status_code == 404


@pytest.mark.parametrize("count", [1, 2, 5, 6])
async def test_every_version_comes_once_over_pages_of_any_size(
    fhir: Client, told: list[tuple[str, str]], count: int
) -> None:
    assert await walked(fhir, f"/_history?_count={count}") == told
    assert await walked(fhir, f"/Patient/_history?_count={count}") == [one for one in told if "Patient" in one[0]]


async def test_what_is_written_meanwhile_shifts_no_page(fhir: Client, told: list[tuple[str, str]]) -> None:
    seen, place = [], f"{BASE}/_history?_count=2"
    while place:
        page = (await fhir.get(place)).json()
        seen += lines(page)
        place = link(page, "next") or ""
        await created(fhir, a_patient())
        changed = told[2][0].partition(" ")[2]
        await fhir.put(f"/{changed}", json=a_patient(id=changed[8:], birthDate=f"19{len(seen) + 10}-01-01"))
    assert seen == told


async def test_a_caller_sees_the_versions_and_deletions_of_what_they_may_see(
    as_: Callable[..., Client], told: list[tuple[str, str]]
) -> None:
    nadia, paul = as_("nadia"), as_("paul")
    mine = await created(nadia, a_patient())
    await nadia.delete(f"/Patient/{mine['id']}")
    expected = [(f"DELETE Patient/{mine['id']}", 'W/"2"'), ("POST Patient", 'W/"1"')]
    for place in ("/_history", "/Patient/_history", "/_history?_count=1"):
        assert await walked(nadia, place) == expected
        assert await walked(paul, place) == []
    open_to_all = await created(as_("system"), {"resourceType": "Organization", "name": "Centre"})
    assert await walked(paul, "/_history") == [("POST Organization", 'W/"1"')]
    assert await walked(as_("software"), "/_history") == [("POST Organization", 'W/"1"')]
    assert open_to_all["id"]
    assert await walked(as_("patients"), "/_history") == expected
    assert (await as_("software").get("/Patient/_history")).status_code == 403
    assert (await as_("launched").get("/_history")).status_code == 403


async def test_since_and_at_narrow_a_history(fhir: Client, told: list[tuple[str, str]]) -> None:
    everything = (await fhir.get("/_history")).json()["entry"]
    moments = [one["response"]["lastModified"] for one in everything]
    assert await walked(fhir, f"/_history?_since={moments[2]}") == told[:3]
    assert await walked(fhir, "/_history?_since=2100-01-01T00:00:00Z") == []
    # At the moment of the deletion: the deletion itself, and what was current.
    assert await walked(fhir, f"/_history?_at={moments[1]}") == [told[1], told[2], told[3]]
    # Just before the first update: everything as it was created.
    assert set(await walked(fhir, f"/_history?_at={moments[3]}")) == {told[3], told[4]}
    # Now: the second patient is gone and does not come.
    assert await walked(fhir, "/_history?_at=2100") == [told[0], told[2]]
    assert await walked(fhir, "/Patient/_history?_at=2100&_count=1") == [told[2]]
    assert await walked(fhir, "/_history?_at=1999") == []


async def test_at_of_one_resource_gives_what_was_current_then(fhir: Client) -> None:
    one = await created(fhir, a_patient())
    url = f"/Patient/{one['id']}"
    await fhir.put(url, json={**one, "gender": "female"})
    await fhir.delete(url)
    moments = [each["response"]["lastModified"] for each in (await fhir.get(f"{url}/_history")).json()["entry"]]
    tags = [[etag for _, etag in await walked(fhir, f"{url}/_history?_at={moment}")] for moment in moments]
    assert tags == [['W/"3"'], ['W/"2"'], ['W/"1"']]
    assert await walked(fhir, f"{url}/_history?_at=2100") == []


@pytest.mark.parametrize(
    "query",
    ["_since=soon", "_at=then", "_after=x", "_after=WzEsMl0", "_count=many", "_count=1&_count=2", "_list=42", "x=y"],
)
@pytest.mark.parametrize("place", ["/_history", "/Patient/_history"])
async def test_what_is_not_understood_is_refused(fhir: Client, place: str, query: str) -> None:
    answer = await fhir.get(f"{place}?{query}")
    assert (answer.status_code, issue(answer)["severity"]) == (400, "error")


@pytest.mark.parametrize("name", ["_since", "_at"])
async def test_a_zone_whose_plus_was_not_escaped_is_understood(fhir: Client, name: str) -> None:
    for written in ("2020-01-01T00:00:00+01:00", "2020-01-01T00:00:00%2B01:00"):
        assert (await fhir.get(f"/Patient/_history?{name}={written}")).status_code == 200
    assert (await fhir.get(f"/Patient/_history?{name}=2020-01-01 00:00:00Z")).status_code == 400


async def test_every_wrong_parameter_is_told_at_once(fhir: Client) -> None:
    answer = await fhir.get("/Patient/_history?x=y&_since=soon&_at=then&_count=many")
    places = [one["expression"][0] for one in answer.json()["issue"]]
    assert places == ["http.x", "http._count", "http._since", "http._at"]


async def test_the_links_say_what_was_asked(fhir: Client, told: list[tuple[str, str]]) -> None:
    page = (await fhir.get("/Patient/_history?_count=1&_since=2020-01-01T00:00:00Z")).json()
    assert link(page, "self") == f"{BASE}/Patient/_history?_count=1&_since=2020-01-01T00:00:00Z"
    assert (link(page, "next") or "").startswith(f"{link(page, 'self')}&_after=")
    as_xml = await fhir.get("/_history?_format=xml")
    assert as_xml.text.count("<entry>") == len(told)


async def test_only_the_first_page_says_up_to_when_it_is_complete(fhir: Client, told: list[tuple[str, str]]) -> None:
    first = (await fhir.get("/_history?_count=4")).json()
    second = (await fhir.get(link(first, "next") or "")).json()
    assert ("lastUpdated" in first["meta"], "meta" in second, len(second["entry"])) == (True, False, len(told) - 4)


async def test_asking_again_from_where_the_history_was_complete_misses_nothing(fhir: Client) -> None:
    seen: set[str] = set()
    moment = "2020-01-01T00:00:00Z"
    for _ in range(4):
        made = await created(fhir, a_patient())
        page = (await fhir.get("/_history", params={"_since": moment})).json()
        seen |= {one["resource"]["id"] for one in page["entry"]}
        assert made["id"] in seen
        moment = page["meta"]["lastUpdated"]
