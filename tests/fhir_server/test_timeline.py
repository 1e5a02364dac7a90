"""The history of a type or of everything, straight from the store: whose versions, in which order, and how complete."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from functools import partial

import psycopg
import pytest

from common import clock
from fhir_server import access, ids, store, timeline
from fhir_server.changes import Delete
from fhir_server.engines import past, postgres_past, sqlite_past
from fhir_server.rows import Moved, Put, Row, Write
from tests.fhir_server import worlds
from tests.fhir_server.worlds import NADIA, SYSTEM, a_patient, a_role, a_task, an_observation, create, update

Opened = Callable[..., Awaitable[store.Store]]
TYPES = ("Observation", "Patient", "PractitionerRole", "Task")
Line = tuple[str, int]


def asking(**more: object) -> timeline.Asked:
    return timeline.Asked(**{"types": TYPES, "count": 1000, "room": 2**30, **more})  # type: ignore[arg-type]


async def lines(record: store.Store, caller: access.Caller = SYSTEM, **more: object) -> list[Line]:
    """All versions that a caller sees, page by page."""
    seen: list[Line] = []
    asked = asking(**more)
    while True:
        found = await record.past(asked, caller=caller)
        assert len(found.rows) <= asked.count
        seen += [(row.ref, row.version) for row in found.rows]
        if found.after is None:
            return seen
        asked = asking(**{**more, "after": found.after})


async def fill(record: store.Store, hands: worlds.Hands) -> list[Line]:
    """Thirty resources with a past, half of them Nadia's; what Nadia must see, newest first."""
    hers = []
    for n in range(30):
        hands.forward(seconds=n % 3)  # some at the same moment
        made = [a_patient(), an_observation("p"), a_task("p"), a_role()][n % 4]
        reader = ["PractitionerRole/nadia"] if n % 2 else []
        one = await create(record, made, *reader)
        is_hers = bool(reader) or one.type == "PractitionerRole"
        versions = [one]
        if n % 3 == 0:
            versions.append(await update(record, one, language="fr"))
        if n % 5 == 0:
            versions += await record.commit([Delete(one.type, one.id)], caller=SYSTEM)
        hers += versions if is_hers else []
    hers.sort(key=lambda one: one.updated, reverse=True)
    return [(one.ref, one.version) for one in hers]


@pytest.mark.parametrize("few", [1, 2000])
async def test_walking_and_collecting_give_the_same_and_only_what_may_be_seen(
    record: store.Store, hands: worlds.Hands, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    for module in (sqlite_past, postgres_past):
        monkeypatch.setattr(module, "find", partial(module.find, few=few))
    expected = await fill(record, hands)
    everything = await lines(record)
    for count in (1, 4, 1000):
        assert await lines(record, count=count) == everything
        mine = await lines(record, NADIA, count=count)
        assert sorted(mine) == sorted(expected)
        assert mine == [one for one in everything if one in set(expected)]
    assert await lines(record, access.person("PractitionerRole/none"), types=("Patient",)) == []
    assert len(everything) == len(set(everything)) > len(expected)


async def test_a_page_ends_before_it_is_too_large_but_never_empty(record: store.Store, hands: worlds.Hands) -> None:
    await fill(record, hands)
    everything = await lines(record)
    assert await lines(record, room=900) == everything
    assert await lines(record, room=0) == everything
    found = await record.past(asking(room=900), caller=SYSTEM)
    assert 1 < len(found.rows) < 10
    assert sum(len(row.body) for row in found.rows) <= 900


async def test_a_type_that_may_not_be_read_is_refused(record: store.Store) -> None:
    with pytest.raises(access.errors.Forbidden):
        await record.past(asking(), caller=access.Caller(actor=None, client="lgc"))


async def test_nothing_older_than_the_complete_moment_is_committed_afterwards(opened: Opened, url: str) -> None:
    """Many writers, on PostgreSQL in two stores, and a reader that notes what it was promised."""
    one = await opened(clock=clock.system)
    other = await opened(clock=clock.system, worker=1) if url.startswith("postgresql") else one
    promised: list[tuple[int, set[Line]]] = []
    made = [await create(one, an_observation(f"p{n}")) for n in range(5)]

    async def write(n: int) -> None:
        record = (one, other)[n % 2]
        for turn in range(10):
            await create(record, an_observation(f"p{n}"))
            await update(record, made[n % 5], language=f"x-{n}-{turn}")

    writing = [asyncio.create_task(write(n)) for n in range(8)]
    while not all(task.done() for task in writing):
        found = await one.past(asking(), caller=SYSTEM)
        assert found.complete is not None
        seen = {(row.ref, row.version) for row in found.rows if row.updated < found.complete}
        promised.append((found.complete, seen))
        await asyncio.sleep(0.005)
    await asyncio.gather(*writing)
    last = (await one.past(asking(), caller=SYSTEM)).rows
    for complete, seen in promised:
        assert {(row.ref, row.version) for row in last if row.updated < complete} == seen
    assert len(promised) > 3


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.servers
async def test_whoever_asks_again_finds_what_another_process_committed_late(
    opened: Opened, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than what it waits for: the open transaction itself has to hold the moment back.
    monkeypatch.setattr(postgres_past, "MARGIN_MICROS", 100_000)
    slow, quick = await opened(clock=clock.system), await opened(clock=clock.system, worker=1)
    made = await create(slow, a_patient())
    with psycopg.connect(url) as lock:
        lock.execute("SELECT 1 FROM resource WHERE fid = %s FOR UPDATE", [made.id])
        late = asyncio.create_task(update(slow, made, language="fr"))
        await asyncio.sleep(0.3)
        newer = await create(quick, a_patient("Autre"))
        found = await quick.past(asking(), caller=SYSTEM)
        assert [(row.ref, row.version) for row in found.rows] == [(newer.ref, 1), (made.ref, 1)]
    done = await late
    assert done.updated < newer.updated
    assert found.complete is not None
    assert found.complete <= done.updated
    again = await quick.past(asking(since=found.complete), caller=SYSTEM)
    assert (done.ref, done.version) in [(row.ref, row.version) for row in again.rows]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("asked", [asking(), asking(types=("Patient",), since=1, after=(5, 5, 5))])
async def test_a_history_reads_a_range_of_an_index_of_each_type(
    record: store.Store, hands: worlds.Hands, url: str, asked: timeline.Asked
) -> None:
    await fill(record, hands)
    select = past.Select(sqlite_past.DIALECT, asked, None)
    with sqlite3.connect(url) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {select.sql()}", select.statement.args)]
    read = [line for line in plan if line.startswith(("SEARCH", "SCAN")) and line.split()[1] in ("r", "v")]
    assert [line for line in read if line.startswith("SCAN")] == []
    assert sum("resource_by_update (type=?" in line for line in read) == len(asked.types)
    assert sum("version_by_update (type=?" in line for line in read) == len(asked.types)


def test_a_commit_that_waited_too_long_is_prepared_again() -> None:
    row = Row(1, 1, "Patient", "x", 1, 0, False, 0, "POST", 1, frozenset(), 0, 0, (), b"")
    write = Write(puts=[Put(row, None, 1, None, None)])  # type: ignore[arg-type]
    postgres_past.refuse_late([write])
    write.begun = time.monotonic() - postgres_past.LATEST_SECONDS - 1
    with pytest.raises(Moved):
        postgres_past.refuse_late([write])


def test_only_keys_of_ours_are_read() -> None:
    key = (1_795_420_800_000_000, ids.Maker(0, lambda: 1_800_000_000_000).next(), 3)
    assert timeline.decode(timeline.encode(key)) == key
    for foreign in ("", "x", "é", "W10", "WzEsMiwiMyJd", "WzEsMiwzLDRd", "WzEsMiw5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OV0"):
        with pytest.raises(access.errors.Unreadable):
            timeline.decode(foreign)
