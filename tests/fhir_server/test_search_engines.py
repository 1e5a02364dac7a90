"""Does the SQL of both engines find what the plainest reading of a query finds, in its order, page by page?

A world of resources with made-up index rows, small values and many ties, some of them updated or deleted; every query
is answered by the oracle too. Thresholds are drawn as well, so that every way of driving a search is taken. As both
engines must agree with the oracle row by row, they agree with each other.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common import errors
from fhir_server import access, store
from fhir_server.changes import Create
from fhir_server.conditions import Addresses, And, Condition, Ids, Not, Or, Query
from fhir_server.engines import postgres_search, sqlite_search
from fhir_server.r4 import load
from fhir_server.rows import Memberships, Page
from tests.fhir_server import made_up, oracle, worlds
from tests.fhir_server.made_up import GROUPS, SIZE, TYPES, Loop, Told, World, callers, conditions, memberships, queries
from tests.fhir_server.worlds import SYSTEM, a_patient, an_observation, create, update


@pytest.fixture
def world(url: str, definitions: load.Definitions) -> Iterator[World]:
    loop = Loop()
    hands = worlds.Hands()
    record = loop.run(store.Store.open(url, definitions, clock=hands, indexer=Told(), validator=Told()))
    readers = loop.run(made_up.fill(record, hands, random.Random(20261123)))
    resources = loop.run(made_up.indexed(record, readers))
    if "postgresql" in url:
        server = loop.run(asyncpg.connect(url, server_settings=postgres_search.SETTINGS))

        def ask(query: Query, memberships: Memberships, few: int) -> Page:
            return loop.run(postgres_search.search(server, query, memberships, few=few))

        yield World(resources, readers, ask, record, loop)
        loop.run(server.close())
    else:
        connection = sqlite3.connect(url)
        yield World(resources, readers, lambda *a: sqlite_search.search(connection, *a[:2], few=a[2]), record, loop)
        connection.close()
    loop.run(record.close())
    loop.close()


HARD = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def all_pages(world: World, query: Query, seen: Memberships, few: list[int]) -> list[str]:
    """Every row of every page; the way of driving changes from page to page."""
    found: list[str] = []
    for turn in range(SIZE + 2):
        page = world.ask(query, seen, few[turn % len(few)])
        found += [one.id for one in page.rows]
        if page.after is None:
            return found
        assert len(page.rows) == query.count
        query = replace(query, after=page.after)
    raise AssertionError("pages without end")


def test_every_query_finds_what_the_oracle_finds_page_by_page(world: World) -> None:
    @HARD
    @given(queries, callers, st.lists(st.sampled_from((1, 30, 10_000)), min_size=1, max_size=3))
    def check(query: Query, groups: tuple[str, ...] | None, few: list[int]) -> None:
        expected = [one.id for one in oracle.matching(query, world.seen_by(groups))]
        assert all_pages(world, query, memberships(groups), few) == expected
        for count in (0, query.count):
            page = world.ask(replace(query, total=True, count=count), memberships(groups), few[0])
            assert page.total == len(expected)
            assert len(page.rows) == min(count, len(expected))

    check()


@pytest.mark.parametrize("wrap", [And, Or, lambda of: Not(of[0])])
def test_no_address_at_all_leads_nowhere(world: World, wrap: Callable[[tuple[Condition, ...]], Condition]) -> None:
    query = Query("Basic", (wrap((Addresses(()),)),), count=1)
    expected = [one.id for one in oracle.matching(query, world.seen_by(None))]
    for few in (1, 30, 10_000):
        assert all_pages(world, query, None, [few]) == expected


def test_ids_are_found_wherever_they_live(world: World) -> None:
    @settings(HARD, max_examples=60)
    @given(
        st.lists(st.sampled_from(world.resources), max_size=4, unique=True), callers, st.lists(conditions, max_size=1)
    )
    def check(some: list[oracle.Indexed], groups: tuple[str, ...] | None, more: list[Condition]) -> None:
        query = Query("Basic", (Ids((*(one.id for one in some), "unknown")), *more))
        expected = [one.id for one in oracle.matching(query, world.seen_by(groups))]
        caller = SYSTEM if groups is None else access.person("Practitioner/none", *groups)
        page = world.loop.run(world.record.search(query, caller=caller))
        assert [one.id for one in page.rows] == expected

    check()


def test_nothing_leaks_to_whoever_may_not_see_it(world: World) -> None:
    async def everything(caller: access.Caller, refs: list[str]) -> dict[str, set[str]]:
        """What each way of reading shows of these resources."""
        found: dict[str, set[str]] = {"read": set(), "vread": set(), "history": set()}
        for ref in refs:
            type, _, id = ref.partition("/")
            for way, reading in (
                ("read", world.record.read(type, id, caller=caller)),
                ("vread", world.record.vread(type, id, 1, caller=caller)),
                ("history", world.record.history(type, id, caller=caller)),
            ):
                try:
                    await reading
                except errors.NotFound:
                    continue
                found[way].add(ref)
        found["many"] = set(await world.record.many(refs, caller=caller))
        pages = [await world.record.search(Query(type, count=500, total=True), caller=caller) for type in TYPES]
        found["search"] = {one.ref for page in pages for one in page.rows}
        assert sum(page.total or 0 for page in pages) == len(found["search"])
        return found

    @settings(HARD, max_examples=15)
    @given(st.lists(st.sampled_from(GROUPS), max_size=3, unique=True).map(tuple))
    def check(groups: tuple[str, ...]) -> None:
        caller = access.person("Practitioner/none", *groups)
        allowed = {f"{one.type}/{one.id}" for one in world.seen_by(groups)}
        shown = world.loop.run(everything(caller, [f"{one.type}/{one.id}" for one in world.resources]))
        assert shown == dict.fromkeys(shown, allowed)

    check()


@pytest.mark.parametrize("sort", ["-date", "date", "-_lastUpdated", "_id", "", "-status,date"])
async def test_pages_stay_in_place_while_others_write(record: store.Store, hands: worlds.Hands, sort: str) -> None:
    there = [await create(record, an_observation("p", when=f"2026-0{1 + n % 3}-01")) for n in range(20)]
    url = f"Observation?patient=p&_count=6{f'&_sort={sort}' if sort else ''}".replace("-status,", "")
    query = worlds.ask(url, record.definitions)
    seen: list[str] = []
    for n in range(8):
        page = await record.search(query, caller=SYSTEM)
        seen += [one.id for one in page.rows]
        if page.after is None:
            break
        hands.forward(seconds=1)
        await create(record, an_observation("p", when=f"2026-0{1 + n % 3}-01"), id=f"{'0z'[n % 2]}-new-{n}")
        query = replace(query, after=page.after)
    assert len(set(seen)) == len(seen)
    assert set(seen) >= {one.id for one in there}


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "e30",
        "W10",
        "WzEsMl0",
        "W1siYSJdLDFd",
        "W1sxLDJdLDFd",
        "W1sxXSwxLjVd",
        "W1sxXSw5OTk5OTk5OTk5OTk5OTk5OTk5OV0",
    ],
)
async def test_a_cursor_that_is_not_ours_is_refused(record: store.Store, cursor: str) -> None:
    with pytest.raises(errors.Unreadable):
        await record.search(Query("Patient", after=cursor), caller=SYSTEM)


async def test_what_clients_ask_most(record: store.Store) -> None:
    identifier = [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "277076322082910"}]
    one = await create(record, a_patient("Lefèvre", identifier=identifier), id="one")
    two = await create(record, a_patient("Lefort", birth="1990-01-01"))
    weights = [await create(record, an_observation("one", when=f"2026-01-{day:02d}")) for day in (3, 1, 2)]
    await create(record, an_observation("one", code="height", when="2026-01-09"))
    await create(record, an_observation(two.id, when="2026-01-09"))

    async def found(url: str) -> list[str]:
        return [one.id for one in (await record.search(worlds.ask(url, record.definitions), caller=SYSTEM)).rows]

    newest = [weights[0].id, weights[2].id, weights[1].id]
    assert await found("Observation?patient=one&code=http://loinc.org|weight&_sort=-date") == newest
    assert await found("Observation?patient=one&code=weight&_sort=date") == newest[::-1]
    assert await found("Observation?patient=one&code=weight,height&_count=1") != newest[:1]
    assert await found("Patient?identifier=urn:oid:1.2.250.1.213.1.4.10|277076322082910") == ["one"]
    assert await found("Patient?identifier=277076322082910") == ["one"]
    assert await found("Patient?family=lef&_sort=birthdate") == ["one", two.id]
    assert await found("Patient?family:exact=Lefèvre") == ["one"]
    assert await found("Patient?family:exact=lefevre") == []
    assert await found("Patient?birthdate=ge1985") == [two.id]
    assert await found("Patient?_id=one,nobody") == ["one"]
    assert await found("Patient?identifier:missing=true") == [two.id]
    changed = await update(record, one, name=[{"family": "Martin"}])
    assert await found("Patient?family=lef") == [two.id]
    assert await found("Patient?family=martin") == [changed.id]


async def test_a_date_of_another_kind_never_stands_in_for_the_one_that_is_sorted_by(record: store.Store) -> None:
    onset = {"onset": {"onsetDateTime": "2026-01-05"}, "earlier": {"onsetDateTime": "2026-01-01"}}
    for id, more in {**onset, "recorded": {"recordedDate": "2026-01-03"}}.items():
        await create(record, {"resourceType": "Condition", "subject": {"reference": "Patient/p"}, **more}, id=id)
    for sort, expected in (("onset-date", ["earlier", "onset"]), ("-onset-date", ["onset", "earlier"])):
        query = worlds.ask(f"Condition?patient=p&_sort={sort}", record.definitions)
        page = await record.search(query, caller=SYSTEM)
        assert [one.id for one in page.rows] == [*expected, "recorded"]


async def test_a_very_long_search_is_answered_all_the_same(record: store.Store) -> None:
    changes = [
        Create("Patient", f"p{n}", a_patient(f"Nom{n:04d}", address=[{"city": "Brest"}] * 3)) for n in range(1500)
    ]
    await record.commit(changes, caller=SYSTEM)
    query = worlds.ask("Patient?address:contains=est&family:contains=9&_count=1000&_total=accurate", record.definitions)
    page = await record.search(query, caller=SYSTEM)
    assert page.total == sum("9" in f"{n:04d}" for n in range(1500))
    assert len(page.rows) == page.total
