"""Do our searches find what R4 says, whatever is stored and asked?

Made-up resources are created through the FHIR API; made-up searches are asked of it, page by page, and of the naive
reading of the same resources (`naive/search.py`), which shares nothing with the server but FHIRPath.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server import app, store, tables
from fhir_server.changes import Change, Create, Delete, Update
from fhir_server.r4 import load
from hub.migrations import run as migrations
from tests.fhir_server import worlds
from tests.fhir_server.http import callers
from tests.fhir_server.made_up import Loop
from tests.fhir_server.naive import asked, includes, made
from tests.fhir_server.naive.search import Naive

WORLDS = 5
SEARCHES = 50  # in each world, on each engine
HEAVY_WORLDS = int(os.environ.get("HUB_TEST_WORLDS", "100"))
HEAVY_SEARCHES = 100
LONG = HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large
Params = list[tuple[str, str]]


class Hub:
    """A FHIR server with a made-up world in it."""

    def __init__(self, url: str, definitions: load.Definitions, seed: int) -> None:
        self._loop, self._hands = Loop(), worlds.Hands()
        self._store = self._loop.run(store.Store.open(url, definitions, base=made.BASE, clock=self._hands))
        self._definitions, self._seed = definitions, seed

    def fill(self) -> None:
        """Make the world, store it, read it back."""
        names = made.Maker(self._seed).world(), made.Maker(self._seed + 1).world()
        now, before = ({f"{one['resourceType']}/{one['id']}": one for one in some} for some in names)
        self._order = {name: number for number, name in enumerate(now)}
        self._loop.run(self._fill(now, before))
        self._hands.forward(days=3)
        built = app.build_app(
            self._store, authenticate=callers.authenticate, now=self._hands, public_url=made.BASE.removesuffix("/fhir")
        )
        transport = httpx.ASGITransport(built, raise_app_exceptions=True)
        self._client = httpx.AsyncClient(transport=transport, headers={"Authorization": "Bearer system"})
        self.resources = self._loop.run(self._everything())
        self.naive = Naive(self.resources, self._definitions, base=made.BASE)

    async def _fill(self, now: dict[str, Any], before: dict[str, Any]) -> None:
        """In order, some in the same instant; every fifth was something else before, every seventh had a twin."""
        for first in range(0, len(now), 3):
            names = list(now)[first : first + 3]
            old = [name for name in names if self._order[name] % 5 == 0]
            twins = [before[name] | {"id": f"gone-{name[-4:]}"} for name in names if self._order[name] % 7 == 0]
            bodies = [(before if name in old else now)[name] for name in names] + twins
            await self._write([Create(one["resourceType"], one["id"], one) for one in bodies])
            await self._write([Update(one["resourceType"], one["id"], one) for one in map(now.get, old) if one])
            await self._write([Delete(one["resourceType"], one["id"]) for one in twins])
            self._hands.forward(milliseconds=700)

    async def _write(self, changes: Sequence[Change]) -> None:
        if changes:
            await self._store.commit(changes, caller=worlds.SYSTEM)

    async def _everything(self) -> list[dict[str, Any]]:
        found = []
        for type in made.TYPES:
            answer = await self._client.get(f"{made.BASE}/{type}?_count=500")
            found += [entry["resource"] for entry in _json(answer)["entry"]]
        return sorted(found, key=lambda one: self._order[f"{one['resourceType']}/{one['id']}"])

    def search(self, path: str, params: Params) -> tuple[list[str], int]:
        """The ids of all pages, and the total that the first one tells."""
        pages = self._loop.run(self._pages(path, params))
        wanted = includes.wishes(params)
        for page in pages:
            self._check_includes(page, wanted)
        return [one["id"] for page in pages for one in of_mode(page, "match")], pages[0]["total"]

    def _check_includes(self, page: Any, wanted: list[includes.Wish]) -> None:
        """What comes along with the matches of a page; a limit that was met is told in an outcome."""
        brought = sorted(f"{one['resourceType']}/{one['id']}" for one in of_mode(page, "include"))
        expected = includes.included(self.naive, wanted, of_mode(page, "match"))
        assert brought == sorted(expected) or (of_mode(page, "outcome") and expected > set(brought)), (
            f"{page['link'][0]['url']}: too many {set(brought) - expected}, missing {expected - set(brought)}"
        )

    async def _pages(self, path: str, params: Params) -> list[Any]:
        """The first page by GET, or by POST of a form; the rest by its links."""
        url = f"{made.BASE}/{path}".rstrip("/")
        if len(params) % 2:
            answer = await self._client.post(f"{url}/_search", data=_form(params))
        else:
            answer = await self._client.get(f"{url}?{urlencode(params)}")
        pages = []
        while True:
            page = _json(answer)
            assert answer.status_code == 200, page
            pages.append(page)
            following = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
            if following is None:
                return pages
            answer = await self._client.get(following)

    def expected(self, path: str, params: Params) -> list[str]:
        return self.naive.search(path, params, self._hands())

    def close(self) -> None:
        self._loop.run(self._store.close())
        self._loop.close()


def of_mode(page: Any, mode: str) -> list[dict[str, Any]]:
    """The resources of a page that are matches, included, or outcomes."""
    return [entry["resource"] for entry in page.get("entry", ()) if entry["search"]["mode"] == mode]


def _form(params: Params) -> dict[str, list[str]]:
    """As httpx takes a form; what is asked does not depend on the order of different names."""
    names = dict.fromkeys(name for name, _ in params)
    return {name: [value for one, value in params if one == name] for name in names}


def _json(answer: httpx.Response) -> Any:
    return json.loads(answer.text, parse_float=Decimal)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "record.sqlite"
    migrations.upgrade(path)
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def filled(
    request: pytest.FixtureRequest, tmp_path: Path, empty: Path, definitions: load.Definitions
) -> Iterator[Callable[[int], Hub]]:
    """A server for a world, by its seed; an empty record each time."""
    opened: list[Hub] = []

    def fill(seed: int) -> Hub:
        while opened:
            opened.pop().close()
        if request.param == "sqlite":
            url = str(shutil.copy(empty, tmp_path / f"record-{seed}.sqlite"))
        else:
            url = request.getfixturevalue("postgres_database")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"TRUNCATE {', '.join(tables.schema('postgresql').tables)}")
        opened.append(Hub(url, definitions, seed))
        opened[-1].fill()
        return opened[-1]

    yield fill
    while opened:
        opened.pop().close()


def compare(hub: Hub, type: str, params: Params, count: int) -> None:
    """The server and the naive reading agree on this search."""
    expected = hub.expected(type, params)
    found, total = hub.search(type, [*params, ("_count", str(count)), ("_total", "accurate")])
    if not any(name == "_sort" for name, _ in params):
        found, expected = sorted(found), sorted(expected)  # without _sort R4 knows no order
    assert (found, total) == (expected, len(expected)), story(hub, type, params, found, expected)


def story(hub: Hub, type: str, params: Params, found: list[str], expected: list[str]) -> str:
    """What is wrong, with one resource that shows it."""
    extra, lost = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    one = next(iter(extra + lost), None)
    shown = [
        json.dumps(r, default=str, ensure_ascii=False)
        for r in hub.resources
        if (r["resourceType"], r["id"]) == (type, one)
    ]
    return f"{type}?{params}: too many {extra}, missing {lost}; for instance {shown}; {found} for {expected}"


def check(hub: Hub, definitions: load.Definitions, searches: int) -> None:
    @settings(max_examples=searches, deadline=None, suppress_health_check=LONG, database=None)
    @given(asked.Asking(definitions).searches(), st.integers(1, 7))
    def agree(search: tuple[str, Params], count: int) -> None:
        compare(hub, *search, count)

    agree()


def test_a_search_finds_what_r4_says(filled: Callable[[int], Hub], definitions: load.Definitions) -> None:
    for seed in range(WORLDS):
        check(filled(seed), definitions, SEARCHES)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("quarter", range(4))
def test_twenty_thousand_searches_find_what_r4_says(
    filled: Callable[[int], Hub], definitions: load.Definitions, quarter: int
) -> None:
    for seed in range(1000 + quarter, 1000 + HEAVY_WORLDS, 4):
        check(filled(seed), definitions, HEAVY_SEARCHES)
