"""What do asynchronous jobs ask of SQLite?

Reads inline on the engine's own connection, writes through its writing thread, as everything else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from fhir_server.engines.searching import Statement
from fhir_server.engines.sqlite_seen import visible
from fhir_server.engines.sqlite_writer import Writer
from fhir_server.rows import Gone, JobRow, Memberships

_COLUMNS = "part, id, kind, owner, caller, request, state, progress, created, expires, leased_until, holder, attempts"
_ADD = f"INSERT INTO job ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
_FIND = f"SELECT {_COLUMNS} FROM job WHERE id = ?"
_KEPT = "SELECT COUNT(*) FROM job WHERE owner = ?"
_DUE = (
    f"SELECT {_COLUMNS} FROM job WHERE state IN ('waiting', 'running') AND leased_until <= ? ORDER BY created LIMIT ?"
)
_EXPIRED = f"SELECT {_COLUMNS} FROM job WHERE expires <= ? LIMIT ?"
_TAKE = (
    "UPDATE job SET state = 'running', leased_until = ?, holder = ?, attempts = attempts + 1 "
    "WHERE id = ? AND attempts = ? AND leased_until = ?"
)
_SAVE = "UPDATE job SET state = ?, progress = ?, expires = ?, leased_until = ? WHERE id = ? AND attempts = ?"
_RELEASE = "UPDATE job SET leased_until = 0 WHERE holder = ? AND state = 'running'"
_REMOVE = "DELETE FROM job WHERE id = ?"

Fetch = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]


class Bulk:
    """`engine.Bulk` on one file. `fetch` reads all rows of a statement."""

    def __init__(self, fetch: Fetch, writer: Writer) -> None:
        self._fetch = fetch
        self._writer = writer

    async def add(self, row: JobRow) -> None:
        """Durable when it returns."""
        await self._run(_ADD, _values(row))

    async def find(self, id: str) -> JobRow | None:
        """One job."""
        found = self._fetch(_FIND, (id,))
        return JobRow(*found[0]) if found else None

    async def kept(self, owner: str) -> int:
        """All states count: the files of what is done are still there."""
        return int(self._fetch(_KEPT, (owner,))[0][0])

    async def due(self, now: int, count: int) -> list[JobRow]:
        """Oldest first."""
        return [JobRow(*one) for one in self._fetch(_DUE, (now, count))]

    async def expired(self, now: int, count: int) -> list[JobRow]:
        """In no order."""
        return [JobRow(*one) for one in self._fetch(_EXPIRED, (now, count))]

    async def take(self, row: JobRow, *, until: int, holder: int) -> bool:
        """True when it is ours."""
        return bool(await self._run(_TAKE, (until, holder, row.id, row.attempts, row.leased_until)))

    async def save(self, row: JobRow) -> bool:
        """True when it was still ours."""
        values = (row.state, row.progress, row.expires, row.leased_until, row.id, row.attempts)
        return bool(await self._run(_SAVE, values))

    async def release(self, holder: int) -> None:
        """Whatever a worker of this number held."""
        await self._run(_RELEASE, (holder,))

    async def remove(self, id: str) -> None:
        """Forget a job."""
        await self._run(_REMOVE, (id,))

    async def gone(
        self, type: str, memberships: Memberships, span: tuple[int, int], *, after: tuple[int, int], count: int
    ) -> list[Gone]:
        """Along the index of tombstones."""
        statement = Statement("?")
        low, high, kind = (statement.arg(one) for one in (*span, type))
        updated, rid, limit = (statement.arg(one) for one in (*after, count))
        seen = "" if memberships is None else f" AND {visible(memberships, statement, (type,))}"
        sql = (
            "SELECT r.part, r.rid, r.type, r.fid, r.updated FROM resource r INDEXED BY resource_gone "
            f"WHERE r.deleted = 1 AND r.type = {kind} AND r.updated > {low} AND r.updated <= {high} "
            f"AND (r.updated, r.rid) > ({updated}, {rid}){seen} ORDER BY r.updated, r.rid LIMIT {limit}"
        )
        return [Gone(*one) for one in self._fetch(sql, tuple(statement.args))]

    async def analyze(self) -> None:
        """SQLite's driver is chosen by counting (`sqlite_search`), not by statistics: nothing to learn."""

    async def _run(self, sql: str, values: tuple[Any, ...]) -> int:
        def run(connection: sqlite3.Connection) -> int:
            return connection.execute(sql, values).rowcount

        return await self._writer.do(run)


def _values(row: JobRow) -> tuple[Any, ...]:
    head = (row.part, row.id, row.kind, row.owner, row.caller, row.request, row.state, row.progress)
    return (*head, row.created, row.expires, row.leased_until, row.holder, row.attempts)
