"""A hub that was replaced by a newer version puts right what the older one stored, by itself or on command."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from common import errors
from fhir_server import index, store
from hub import upkeep
from hub.room import Room

TOLD = list[tuple[str, dict[str, object]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> TOLD:
    lines: TOLD = []
    monkeypatch.setattr(upkeep, "emit", lambda event, **facts: lines.append((event.name, facts)))
    return lines


async def newer(hub: Room) -> store.Store:
    """The record as a newer version opens it."""
    return await store.Store.open(hub.settings.database_url, hub.definitions, generation=index.GENERATION + 1)


async def test_what_an_older_version_stored_is_indexed_again_at_the_next_start(hub: Room, told: TOLD) -> None:
    record = await newer(hub)
    await upkeep.run(record)
    assert not await record.is_outdated()
    (began, _), (ended, facts) = told
    assert (began, ended, facts["failed"]) == ("HUB_020", "HUB_021", 0)
    await record.close()


async def test_nothing_is_said_when_there_is_nothing_to_do(hub: Room, told: TOLD) -> None:
    await upkeep.run(hub.store)
    assert not told


async def test_a_database_that_does_not_answer_is_waited_for(
    hub: Room, told: TOLD, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "AGAIN_SECONDS", 0.0)
    record = await newer(hub)
    tries = 0

    async def away() -> bool:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise errors.Unavailable("la base ne répond pas ; réessayez")
        return False

    monkeypatch.setattr(record, "is_outdated", away)
    await upkeep.run(record)
    assert tries == 3
    await record.close()


def test_the_command_indexes_again_and_says_how_many(seeded: Path, tmp_path: Path) -> None:
    file = tmp_path / "hub.sqlite"
    with closing(sqlite3.connect(seeded / "hub.sqlite")) as old, closing(sqlite3.connect(file)) as new:
        old.backup(new)
        count = new.execute("UPDATE resource SET generation = 0, eq = x'' WHERE deleted = 0").rowcount
        new.commit()
    assert reindex(tmp_path) == f"{count} indexed again, 0 could not be read"
    assert reindex(tmp_path) == "0 indexed again, 0 could not be read"
    with closing(sqlite3.connect(file)) as new:
        assert new.execute("SELECT COUNT(*) FROM resource WHERE deleted = 0 AND eq <> x''").fetchone() == (count,)


def reindex(folder: Path) -> str:
    command = [sys.executable, "-m", "hub.cli", "reindex"]
    environment = {**os.environ, "HUB_DATA": str(folder), "HUB_DATABASE": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stderr.strip()
