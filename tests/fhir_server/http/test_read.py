"""Read, vread and history over HTTP: R4 http.html#read, #vread, #history."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, issue, link

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


@pytest.fixture
async def url(fhir: Client) -> str:
    """A patient with two versions."""
    created = (await fhir.post("/Patient", json=a_patient())).json()
    await fhir.put(f"/Patient/{created['id']}", json={**created, "active": False})
    return f"/Patient/{created['id']}"


async def test_a_read_carries_the_version_in_its_headers(fhir: Client, url: str) -> None:
    answer = await fhir.get(url)
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["meta"]["versionId"] == "2"


async def test_head_is_get_without_a_body(fhir: Client, url: str) -> None:
    for place in (url, f"{url}/_history/1", f"{url}/_history", "/Patient?active=false", "/metadata"):
        got, head = await fhir.get(place), await fhir.head(place)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(got.content))
        assert head.headers.get("etag") == got.headers.get("etag")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": 'W/"2"'}, 304),
        ({"If-None-Match": '"2"'}, 304),
        ({"If-None-Match": 'W/"1", W/"2"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": 'W/"1"'}, 200),
        ({"If-None-Match": "whatever"}, 200),
        ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-None-Match": 'W/"1"', "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
    ],
)
async def test_a_client_that_has_the_version_receives_304(
    fhir: Client, url: str, headers: dict[str, str], status: int
) -> None:
    answer = await fhir.get(url, headers=headers)
    assert (answer.status_code, answer.headers["etag"]) == (status, 'W/"2"')
    assert bool(answer.content) == (status == 200)


async def test_last_modified_given_back_is_304(fhir: Client, url: str) -> None:
    modified = (await fhir.get(url)).headers["last-modified"]
    assert (await fhir.get(url, headers={"If-Modified-Since": modified})).status_code == 304


async def test_a_version_is_read_as_it_was(fhir: Client, url: str) -> None:
    first = await fhir.get(f"{url}/_history/1")
    assert (first.status_code, first.headers["etag"], first.json()["active"]) == (200, 'W/"1"', True)
    for unknown in ("3", "0", "x", "1.0", "9" * 30):
        assert (await fhir.get(f"{url}/_history/{unknown}")).status_code == 404


async def test_what_is_unknown_is_404(fhir: Client) -> None:
    for place in (
        "/Patient/nobody",
        "/Patient/nobody/_history",
        "/Nothing/1",
        "/patient/1",
        "/Patient/1/x",
        "/a/b/c/d/e",
    ):
        answer = await fhir.get(place)
        assert (answer.status_code, issue(answer)["code"]) == (404, "not-found"), place


async def test_an_unknown_parameter_of_a_read_is_refused_unless_lenient(fhir: Client, url: str) -> None:
    assert (await fhir.get(f"{url}?colour=red")).status_code == 400
    assert (await fhir.get(f"{url}?colour=red", headers={"Prefer": "handling=lenient"})).status_code == 200


async def test_a_trailing_slash_changes_nothing(fhir: Client, url: str) -> None:
    assert (await fhir.get(f"{url}/")).status_code == 200


async def test_a_history_is_newest_first_with_request_and_response(fhir: Client, url: str) -> None:
    await fhir.delete(url)
    bundle = (await fhir.get(f"{url}/_history")).json()
    assert bundle["type"] == "history"
    assert [one["request"]["method"] for one in bundle["entry"]] == ["DELETE", "PUT", "POST"]
    assert [one["request"]["url"] for one in bundle["entry"]] == [url[1:], url[1:], "Patient"]
    assert [one["response"]["status"][:3] for one in bundle["entry"]] == ["204", "200", "201"]
    assert [one["response"]["etag"] for one in bundle["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert ["resource" in one for one in bundle["entry"]] == [False, True, True]
    assert {one["fullUrl"] for one in bundle["entry"]} == {f"{BASE}{url}"}
    assert all(one["response"]["lastModified"] for one in bundle["entry"])


async def test_a_history_is_paged_by_key_and_versions_written_meanwhile_do_not_shift_it(fhir: Client) -> None:
    created = (await fhir.post("/Patient", json=a_patient())).json()
    url = f"/Patient/{created['id']}"
    for year in range(1980, 1986):
        await fhir.put(url, json={**created, "birthDate": str(year)})
    seen, place = [], f"{BASE}{url}/_history?_count=3"
    while place:
        page = (await fhir.get(place)).json()
        assert link(page, "self") == place
        seen += [one["response"]["etag"] for one in page["entry"]]
        place = link(page, "next") or ""
        await fhir.put(url, json={**created, "birthDate": f"199{len(seen) % 10}"})
    assert seen == [f'W/"{version}"' for version in range(7, 0, -1)]


async def test_a_history_can_start_at_a_moment(fhir: Client, url: str) -> None:
    modified = (await fhir.get(url)).json()["meta"]["lastUpdated"]
    since = (await fhir.get(f"{url}/_history", params={"_since": modified})).json()
    assert [one["response"]["etag"] for one in since["entry"]] == ['W/"2"']
    assert "entry" not in (await fhir.get(f"{url}/_history?_since=2100-01-01T00:00:00Z")).json()
    assert (await fhir.get(f"{url}/_history?_since=soon")).status_code == 400
    for wrong in ("_count=many", "_count=-1", "_before=x", "_before=" + "9" * 40):
        assert (await fhir.get(f"{url}/_history?{wrong}")).status_code == 400


async def test_pretty_is_indented_and_keeps_the_content(fhir: Client, url: str) -> None:
    plain, pretty = await fhir.get(url), await fhir.get(f"{url}?_pretty=true")
    assert pretty.text.count("\n") > 5
    assert pretty.json() == plain.json()


async def test_a_token_that_covers_reading_does_not_cover_writing(as_: Callable[..., Client], url: str) -> None:
    assert (await as_("reader").get(url)).status_code == 200
    for method, place in [("POST", "/Patient"), ("PUT", url), ("DELETE", url)]:
        answer = await as_("reader").request(method, place, json=a_patient(id=url.rpartition("/")[2]))
        assert (answer.status_code, issue(answer)["code"]) == (403, "forbidden")


async def test_software_without_a_person_reads_no_patient(as_: Callable[..., Client], url: str) -> None:
    for place in (url, f"{url}/_history", f"{url}/_history/1", "/Patient"):
        assert (await as_("software").get(place)).status_code == 403
    assert (await as_("software").get("/Practitioner")).status_code == 200
