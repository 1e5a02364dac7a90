"""The baseline of writes: exactly the rows that the hub wrote, written again by the driver alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

from bench import raw_rows, workload
from fhir_server import access, changes, store
from fhir_server.r4 import load
from hub.migrations import run as migrations

COUNT = 5


async def _written(url: str) -> None:
    """A record with one patient and COUNT observations, written by the store."""
    record = await store.Store.open(url, load.definitions())
    patient = changes.Create("Patient", "p", workload.patient(1))
    chance = random.Random(1)
    made = [workload.observation(chance, "Patient/p") for _ in range(COUNT)]
    await record.commit([patient], caller=access.SYSTEM)
    for body in made:
        wanted = changes.Create("Observation", record.new_id("Observation", body), body)
        await record.commit([wanted], caller=access.SYSTEM)
    await record.close()


async def test_the_rows_taken_are_written_again_unchanged(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / name}" for name in ("hub.sqlite", "raw.sqlite")]
    for url in urls:
        migrations.upgrade(url)
    await _written(urls[0])
    source, target = map(raw_rows.connect, urls)
    taken = raw_rows.take(source, 100)
    assert len(taken.resources) == COUNT
    assert all({"resource", "hot", "dat", "event"} <= one.keys() for one in taken.resources)
    assert target.write(raw_rows.inserts(target, taken, COUNT, 2)) > 0
    assert sorted(raw_rows.take(target, 100).resources, key=repr) == sorted(taken.resources, key=repr)
    assert target.write(raw_rows.updates(target, taken, COUNT, 2)) > 0
    assert list(map(tuple, target.fetch("select distinct version from resource"))) == [(2,)]
    assert list(map(tuple, target.fetch("select count(*) from version"))) == [(COUNT,)]
    raw_rows.empty(target, taken)
    assert list(map(tuple, target.fetch("select count(*) from event"))) == [(0,)]
    source.close()
    target.close()


async def test_no_more_is_written_than_was_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hub.sqlite'}"
    migrations.upgrade(url)
    await _written(url)
    source = raw_rows.connect(url)
    taken = raw_rows.take(source, 3)
    made = raw_rows.inserts(source, taken, 100, 2)
    source.close()
    assert [sum(len(rows) for statement, rows in one if " resource " in statement) for one in made] == [2, 1]
    assert json.loads(taken.resources[0]["resource"][0][taken.columns["resource"].index("body")])["status"] == "final"
