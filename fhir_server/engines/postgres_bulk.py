"""What do asynchronous jobs ask of PostgreSQL?

A job lives in the part of its id. Taking one is an update that names what was read, so that of several processes one
wins and no row is locked while it is looked at.
"""

from __future__ import annotations

from typing import Any

from fhir_server import ids
from fhir_server.engines import postgres_statistics
from fhir_server.engines.connections import Connections, translated
from fhir_server.engines.postgres_seen import visible
from fhir_server.engines.searching import Statement
from fhir_server.rows import Gone, JobRow, Memberships

_COLUMNS = "part, id, kind, owner, caller, request, state, progress, created, expires, leased_until, holder, attempts"
ADD = f"""
INSERT INTO job ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
FIND = f"SELECT {_COLUMNS} FROM job WHERE part = $1 AND id = $2"
KEPT = "SELECT COUNT(*) FROM job WHERE owner = $1"
DUE = f"""
SELECT {_COLUMNS} FROM job WHERE state IN ('waiting', 'running') AND leased_until <= $1 ORDER BY created LIMIT $2
"""
EXPIRED = f"SELECT {_COLUMNS} FROM job WHERE expires <= $1 LIMIT $2"
HELD = "SELECT part, id FROM job WHERE state = 'running' AND holder = $1"
TAKE = """
UPDATE job SET state = 'running', leased_until = $3, holder = $4, attempts = attempts + 1
WHERE part = $1 AND id = $2 AND attempts = $5 AND leased_until = $6 RETURNING id
"""
SAVE = """
UPDATE job SET state = $3, progress = $4, expires = $5, leased_until = $6
WHERE part = $1 AND id = $2 AND attempts = $7 RETURNING id
"""
LET_GO = "UPDATE job SET leased_until = 0 WHERE part = $1 AND id = $2 AND holder = $3 AND state = 'running'"
REMOVE = "DELETE FROM job WHERE part = $1 AND id = $2"
GONE = """
SELECT r.part, r.rid, r.type, r.fid, r.updated FROM resource r
WHERE r.deleted = 1 AND r.type = $1 AND r.updated > $2 AND r.updated <= $3 AND (r.updated, r.rid) > ($4, $5)
AND {seen} ORDER BY r.updated, r.rid LIMIT $6
"""


class Bulk:
    """`engine.Bulk` on one database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def add(self, row: JobRow) -> None:
        """Durable when it returns."""
        head = (row.part, row.id, row.kind, row.owner, row.caller, row.request, row.state, row.progress)
        await self._fetch(ADD, *head, row.created, row.expires, row.leased_until, row.holder, row.attempts)

    async def find(self, id: str) -> JobRow | None:
        """One job."""
        found = await self._fetch(FIND, ids.hash64(id), id)
        return JobRow(*found[0]) if found else None

    async def kept(self, owner: str) -> int:
        """All states count: the files of what is done are still there."""
        return int((await self._fetch(KEPT, owner))[0][0])

    async def due(self, now: int, count: int) -> list[JobRow]:
        """Oldest first."""
        return [JobRow(*one) for one in await self._fetch(DUE, now, count)]

    async def expired(self, now: int, count: int) -> list[JobRow]:
        """In no order."""
        return [JobRow(*one) for one in await self._fetch(EXPIRED, now, count)]

    async def take(self, row: JobRow, *, until: int, holder: int) -> bool:
        """True when it is ours."""
        return bool(await self._fetch(TAKE, row.part, row.id, until, holder, row.attempts, row.leased_until))

    async def save(self, row: JobRow) -> bool:
        """True when it was still ours."""
        values = (row.state, row.progress, row.expires, row.leased_until, row.attempts)
        return bool(await self._fetch(SAVE, row.part, row.id, *values))

    async def release(self, holder: int) -> None:
        """Whatever a worker of this number held."""
        for part, id in await self._fetch(HELD, holder):
            await self._fetch(LET_GO, part, id, holder)

    async def remove(self, id: str) -> None:
        """Forget a job."""
        await self._fetch(REMOVE, ids.hash64(id), id)

    async def gone(
        self, type: str, memberships: Memberships, span: tuple[int, int], *, after: tuple[int, int], count: int
    ) -> list[Gone]:
        """Along the index of tombstones."""
        statement = Statement("$")
        for one in (type, *span, *after, count):
            statement.arg(one)
        seen = "TRUE" if memberships is None else visible(memberships, statement, (type,))
        return [Gone(*one) for one in await self._fetch(GONE.format(seen=seen), *statement.args)]

    async def analyze(self) -> None:
        """At once: its own daemon looks once a minute."""
        await self._fetch(postgres_statistics.ANALYZE)

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        with translated():
            async with self._connections.one() as connection:
                return list(await connection.fetch(sql, *values))
