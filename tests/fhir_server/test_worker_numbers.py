"""Processes on one database never make the same ids, whoever started them."""

from __future__ import annotations

import asyncio
import sys

import psycopg
import pytest

from common import errors
from fhir_server import ids
from fhir_server.engines import postgres_number
from tests.fhir_server.conftest import Opened
from tests.fhir_server.worlds import a_patient, create
from tests.running import wait_for


def worker(id: str) -> int:
    return ids.worker(ids.decode_number(id[:13]))


async def test_who_finds_a_number_taken_has_another(opened: Opened) -> None:
    stores = [await opened() for _ in range(3)]  # the clock stands still: the same number would give the same ids
    assert [one.worker for one in stores] == [0, 1, 2]
    made = await asyncio.gather(*(create(one, a_patient()) for one in stores for _ in range(20)))
    assert len({one.id for one in made}) == 60
    assert {worker(one.id) for one in made} == {0, 1, 2}


async def test_a_number_is_free_again_when_its_process_ends(opened: Opened) -> None:
    first, second = await opened(worker=7), await opened(worker=7)
    assert (first.worker, second.worker) == (7, 8)
    await first.close()
    assert (await opened(worker=7)).worker == 7


async def test_when_all_numbers_are_taken_nobody_gets_one(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "WORKERS", 2)
    await opened()
    assert (await opened(worker=1)).worker == 1
    with pytest.raises(errors.Unavailable, match="plus de 2 processus"):
        await opened()


KILLED = """
import asyncio, sys
from fhir_server import store
from fhir_server.r4 import load

async def main():
    record = await store.Store.open(sys.argv[1], load.definitions())
    print(record.worker, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_process_gives_its_number_back(opened: Opened, url: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, url, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"0\n"
    assert (await opened()).worker == 1
    process.kill()
    await process.wait()
    until = asyncio.get_running_loop().time() + 10
    record = await opened()
    while record.worker != 0 and asyncio.get_running_loop().time() < until:
        await record.close()
        record = await opened()
    assert record.worker == 0


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.servers)], indirect=True)
async def test_a_number_that_was_lost_with_the_connection_is_taken_again_or_another_one(
    opened: Opened, url: str
) -> None:
    record = await opened()
    other = await opened(worker=5)
    _end_connections(url, 5)
    await _until(lambda: _holders(url) == {0, 5})
    assert other.worker == 5
    with psycopg.connect(url, autocommit=True) as thief:
        _end_connections(url, 5)
        thief.execute("SELECT pg_advisory_lock(%s, 5)", (postgres_number.LOCKS,))
        await _until(lambda: _holders(url) == {0, 5, 6})
        assert (record.worker, other.worker) == (0, 6)
        assert worker((await create(other, a_patient())).id) == 6


def _end_connections(url: str, number: int) -> None:
    """Of whoever holds a number, as a server that restarts does."""
    with psycopg.connect(url, autocommit=True) as server:
        held = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
        server.execute(held, (number,))


def _holders(url: str) -> set[int]:
    with psycopg.connect(url, autocommit=True) as server:
        found = "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
        return {row[0] for row in server.execute(found, (postgres_number.LOCKS,))}


async def _until(check: object) -> None:
    await asyncio.to_thread(wait_for, check)
