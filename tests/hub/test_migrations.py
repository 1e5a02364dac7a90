"""Does a database get exactly the tables that the rooms describe, once, and also when many start at the same time?"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import inspect

from fhir_server import tables
from hub.migrations import run as migrations


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "record.sqlite"


def test_an_empty_sqlite_file_gets_exactly_what_is_described(path: Path) -> None:
    migrations.upgrade(path)
    migrations.check(path)
    with migrations.connected(path) as connection:
        assert set(tables.schema("sqlite").tables) <= set(inspect(connection).get_table_names())


def test_upgrading_again_keeps_what_is_stored(path: Path) -> None:
    migrations.upgrade(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO unique_key VALUES (1, 'k', 'Patient', 'p')")
    connection.commit()
    migrations.upgrade(path)
    assert connection.execute("SELECT fid FROM unique_key").fetchall() == [("p",)]
    connection.close()


def test_many_may_upgrade_at_once(path: Path) -> None:
    problems: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrations.upgrade(path)
        except BaseException as problem:  # noqa: BLE001 - handed to the test
            problems.append(problem)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert problems == []
    migrations.check(path)
