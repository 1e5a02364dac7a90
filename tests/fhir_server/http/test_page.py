"""How many bytes may one answer have? No `_count` makes it larger than `page.MOST_BYTES` and what is around it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server import access, conditions, page, store
from fhir_server.changes import Change, Create, Update
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import a_patient, an_observation, entries, link

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

MEBIBYTE = 1024 * 1024
COUNT = page.MOST_BYTES // MEBIBYTE + 3


def large(number: int) -> dict[str, Any]:
    """An observation of one mebibyte."""
    return an_observation("Patient/p", note=[{"text": f"{number} " + "x" * (MEBIBYTE - 1000)}])


@pytest.fixture
async def heavy(record: store.Store) -> None:
    """More large observations of one patient, Binaries, and versions of one observation, than a page carries."""
    await record.commit(
        [Create("Patient", "p", a_patient()), Create("Observation", "o", large(0))], caller=access.SYSTEM
    )
    for number in range(1, COUNT):
        binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "YWFh" * ((MEBIBYTE - 1000) // 4)}
        some: list[Change] = [
            Create("Observation", f"o{number}", large(number)),
            Create("Binary", f"b{number}", binary),
            Update("Observation", "o", large(number)),
        ]
        await record.commit(some, caller=access.SYSTEM)


async def _pages(fhir: Client, url: str) -> list[list[str]]:
    """The fullUrl and version of all entries, page by page."""
    found = []
    while url:
        answer = await fhir.get(url)
        assert answer.status_code == 200
        assert len(answer.content) < page.MOST_BYTES + MEBIBYTE
        bundle = answer.json()
        found.append([f"{one['fullUrl']} {one['resource']['meta']['versionId']}" for one in bundle["entry"]])
        url = link(bundle, "next") or ""
    return found


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("/Observation?_count=1000", COUNT),
        ("/Observation?_count=1000&_sort=_id", COUNT),
        ("/Binary?_count=1000", COUNT - 1),
        ("/Observation/o/_history?_count=1000", COUNT),
    ],
)
async def test_a_page_ends_before_it_is_too_large_and_the_next_one_goes_on(fhir: Client, url: str, count: int) -> None:
    pages = await _pages(fhir, url)
    seen = [one for some in pages for one in some]
    assert len(pages) == 2
    assert len(seen) == len(set(seen)) == count


@pytest.mark.usefixtures("heavy")
async def test_includes_have_a_limit_of_bytes_and_say_so(fhir: Client) -> None:
    answer = await fhir.get("/Patient?_revinclude=Observation:subject")
    bundle = answer.json()
    assert len(answer.content) < page.MOST_BYTES + MEBIBYTE
    assert 0 < len(entries(bundle, "include")) < COUNT
    [remark] = entries(bundle, "outcome")
    assert "32 Mio" in remark["issue"][0]["details"]["text"]


@pytest.mark.parametrize("room", [1, 700, 1500, 100_000])
async def test_pages_of_any_size_follow_each_other(record: store.Store, room: int) -> None:
    bodies = [an_observation(note=[{"text": "x" * (1 + 37 * n % 900)}]) for n in range(230)]
    some: list[Change] = [Create("Observation", f"o{n}", body) for n, body in enumerate(bodies)]
    await record.commit(some, caller=access.SYSTEM)
    query = conditions.Query("Observation", count=210, total=True)
    first = await page.search(record, query, caller=access.SYSTEM, room=room)
    assert first.total == 230
    seen, after = list(first.rows), first.after
    while after is not None:
        asked = conditions.Query("Observation", count=210, after=after)
        more = await page.search(record, asked, caller=access.SYSTEM, room=room)
        assert len(more.rows) == 1 or sum(len(one.body) for one in more.rows) <= room
        seen, after = seen + more.rows, more.after
    assert len(seen) == len({one.id for one in seen}) == 230
