"""What would it cost to keep the same rows with nothing in front?

Takes the rows that the hub wrote for some Observations and writes them again, into empty tables of the same schema on
the same engine, with the driver alone on one connection: no HTTP, no JSON, no checks, the rows already at hand. As many
resources share a transaction as calls were under way at once, which is the best that any grouping of commits can do.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import asyncpg

from fhir_server import tables

Row = tuple[Any, ...]
# Statements with their rows, in one transaction.
Transaction = list[tuple[str, list[Row]]]

_CHOSEN = "from resource where type = 'Observation' and version = 1 order by rid"
# Filled by the server itself: the number of the transaction.
_MADE_BY_SERVER = {"tx": "pg_current_xact_id()::text::bigint"}


class Database(Protocol):
    """One connection to one engine."""

    dialect: str

    def mark(self, place: int) -> str:
        """The placeholder of the parameter at `place`, from 1."""

    def fetch(self, statement: str) -> Sequence[Sequence[Any]]:
        """All rows of a query."""

    def write(self, transactions: Sequence[Transaction]) -> float:
        """Run transactions one after the other; returns the seconds that they took."""

    def close(self) -> None:
        """End the connection."""


class Sqlite:
    """The standard module with the hub's own promises: write-ahead log, every commit on disk."""

    dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")

    def mark(self, place: int) -> str:
        return "?"

    def fetch(self, statement: str) -> Sequence[Sequence[Any]]:
        return self._connection.execute(statement).fetchall()

    def write(self, transactions: Sequence[Transaction]) -> float:
        run = self._connection
        started = time.perf_counter()
        for transaction in transactions:
            run.execute("begin immediate")
            for statement, rows in transaction:
                run.executemany(statement, rows)
            run.execute("commit")
        return time.perf_counter() - started

    def close(self) -> None:
        self._connection.close()


class Postgres:
    """asyncpg, one prepared statement per table and transaction."""

    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url))

    def mark(self, place: int) -> str:
        return f"${place}"

    def fetch(self, statement: str) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = self._runner.run(self._connection.fetch(statement))
        return found

    def write(self, transactions: Sequence[Transaction]) -> float:
        return self._runner.run(self._write(transactions))

    async def _write(self, transactions: Sequence[Transaction]) -> float:
        started = time.perf_counter()
        for transaction in transactions:
            async with self._connection.transaction():
                for statement, rows in transaction:
                    await self._connection.executemany(statement, rows)
        return time.perf_counter() - started

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


def connect(url: str) -> Database:
    """A connection to `sqlite:///PATH` or `postgresql://…`."""
    return Sqlite(urlsplit(url).path) if url.startswith("sqlite") else Postgres(url)


@dataclass(frozen=True, slots=True)
class Taken:
    """The rows of resources: for each resource its rows by table; `columns` names them. Keyed rows have (part, rid)."""

    dialect: str
    columns: dict[str, tuple[str, ...]]
    resources: list[dict[str, list[Row]]]


def take(source: Database, count: int) -> Taken:
    """The rows of the first `count` Observations that were never updated."""
    metadata = tables.schema(source.dialect)
    columns = {
        name: tuple(column.name for column in table.columns if column.name not in _MADE_BY_SERVER)
        for name, table in metadata.tables.items()
        if "rid" in table.columns or name == "event"
    }
    by_resource: dict[Any, dict[str, list[Row]]] = defaultdict(dict)
    rid_of = {fid: rid for rid, fid in source.fetch(f"select rid, fid {_CHOSEN} limit {count}")}
    for name, its in columns.items():
        key = "fid" if name == "event" else "rid"
        chosen = f"select {', '.join(its)} from {name} where {key} in (select {key} {_CHOSEN} limit {count})"
        for row in source.fetch(chosen + (" and type = 'Observation'" if name == "event" else "")):
            owner = row[its.index(key)]
            rows = by_resource[rid_of[owner] if key == "fid" else owner]
            rows.setdefault(name, []).append(tuple(row))
    return Taken(source.dialect, columns, list(by_resource.values()))


def empty(target: Database, taken: Taken) -> None:
    """Empty the tables that will be written."""
    target.write([[(f"delete from {name}", [()])] for name in taken.columns])


def inserts(target: Database, taken: Taken, count: int, group: int) -> list[Transaction]:
    """Transactions that write `count` resources again, `group` in each."""
    statements = {name: _insert(target, name, its) for name, its in taken.columns.items()}
    return [
        [
            (statements[name], rows)
            for name in statements
            if (rows := [row for one in taken.resources[start : start + group] for row in one.get(name, ())])
        ]
        for start in range(0, min(count, len(taken.resources)), group)
    ]


def updates(target: Database, taken: Taken, count: int, group: int) -> list[Transaction]:
    """Transactions that give `count` resources their second version: the old one kept, the row changed, an event."""
    columns = taken.columns
    old = ("part", "rid", "version", "type", "fid", "updated", "method", "body")
    kept = tuple(name for name in old if name in columns["version"])
    mark = target.mark
    change = f"update resource set version = 2, body = {mark(1)} where part = {mark(2)} and rid = {mark(3)}"
    statements = (_insert(target, "version", kept), change, _insert(target, "event", columns["event"]))
    made = []
    for start in range(0, min(count, len(taken.resources)), group):
        rows: tuple[list[Row], list[Row], list[Row]] = ([], [], [])
        for one in taken.resources[start : start + group]:
            now = dict(zip(columns["resource"], one["resource"][0], strict=True))
            event = dict(zip(columns["event"], one["event"][0], strict=True))
            rows[0].append(tuple(now[name] for name in kept))
            rows[1].append((now["body"], now["part"], now["rid"]))
            # A sequence number of its own, above all others.
            rows[2].append(tuple({**event, "seq": event["seq"] + (1 << 62), "version": 2}.values()))
        made.append(list(zip(statements, rows, strict=True)))
    return made


def _insert(target: Database, table: str, columns: tuple[str, ...]) -> str:
    made = tables.schema(target.dialect).tables[table].columns
    extra = {name: value for name, value in _MADE_BY_SERVER.items() if name in made}
    marks = [target.mark(place) for place in range(1, len(columns) + 1)]
    return f"insert into {table} ({', '.join([*columns, *extra])}) values ({', '.join([*marks, *extra.values()])})"
