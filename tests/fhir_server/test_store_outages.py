"""What does the store say while its database is away, and does it come back?"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from common import errors
from fhir_server import store
from fhir_server.engines import sqlite_write
from fhir_server.r4 import load
from hub.migrations import run as migrations
from tests.fhir_server import worlds
from tests.fhir_server.worlds import SYSTEM, a_patient, a_task, create

Opened = Callable[..., Awaitable[store.Store]]
_T = TypeVar("_T")
ON_POSTGRES = pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.servers)], indirect=True)
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def soon(ask: Callable[[], Awaitable[_T]]) -> _T:
    """The answer, though the first attempts may be told to come back."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await ask()
            except errors.Unavailable:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("url", ["postgresql://nobody@/none?host=/nowhere", "/nowhere/record.sqlite"])
async def test_a_database_that_is_not_there_is_unavailable(url: str, definitions: load.Definitions) -> None:
    with pytest.raises(errors.Unavailable) as refused:
        await store.Store.open(url, definitions)
    assert "nowhere" not in refused.value.message


@ON_POSTGRES
async def test_a_store_whose_connections_were_cut_comes_back(record: store.Store, url: str) -> None:
    made = await create(record, a_patient())
    query = worlds.ask("Patient?family=test", record.definitions)
    await record.search(query, caller=SYSTEM)
    for _ in range(2):
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(CUT)
        assert await soon(lambda: record.read("Patient", made.id, caller=SYSTEM)) == made
        assert (await soon(lambda: record.search(query, caller=SYSTEM))).rows[-1] == made
        written = await soon(lambda: create(record, a_patient("Autre")))
        assert await record.read("Patient", written.id, caller=SYSTEM) == written


@ON_POSTGRES
async def test_what_was_written_while_nobody_listened_is_still_heard(opened: Opened, url: str) -> None:
    here, there = await opened(), await opened(worker=1)
    heard: list[store.Event] = []
    there.listen(heard.extend)
    await asyncio.sleep(0.2)  # until it listens
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(CUT)
    made = await soon(lambda: create(here, a_task()))
    async with asyncio.timeout(20):
        while not heard:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    assert [one.id for one in heard] == [made.id]


async def test_a_file_that_another_process_holds_is_waited_for(tmp_path: Path, definitions: load.Definitions) -> None:
    path = tmp_path / "record.sqlite"
    migrations.upgrade(path)
    record = await store.Store.open(path, definitions)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(create(record, a_patient()))
    await asyncio.sleep(0.2)
    assert not writing.done()
    other.execute("ROLLBACK")
    made = await writing
    assert await record.read("Patient", made.id, caller=SYSTEM) == made
    other.close()
    await record.close()


async def test_a_file_that_cannot_be_written_refuses_without_a_word_of_sql(
    tmp_path: Path, definitions: load.Definitions
) -> None:
    path = tmp_path / "record.sqlite"
    migrations.upgrade(path)
    record = await store.Store.open(path, definitions)
    damage = sqlite3.connect(path)
    damage.execute("DROP TABLE event")
    damage.commit()
    damage.close()
    answers = await asyncio.gather(*[create(record, a_patient()) for _ in range(3)], return_exceptions=True)
    assert all(isinstance(one, errors.Unavailable) and "event" not in one.message for one in answers)
    query = worlds.ask("Patient?_total=accurate", definitions)
    assert (await record.search(query, caller=SYSTEM)).total == 0
    await record.close()


async def test_a_bug_in_writing_together_costs_nobody_their_commit(
    tmp_path: Path, definitions: load.Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hub.sqlite"
    migrations.upgrade(path)
    record = await store.Store.open(path, definitions)

    def broken(connection: object, writes: object) -> None:
        raise OverflowError("int too big to convert")

    monkeypatch.setattr(sqlite_write, "put", broken)
    async with asyncio.timeout(10):
        made = await asyncio.gather(*(create(record, a_patient(f"Nom{n}")) for n in range(5)))
        assert [await record.read("Patient", one.id, caller=SYSTEM) for one in made] == made
    await record.close()
