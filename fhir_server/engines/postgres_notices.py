"""How does PostgreSQL keep what belongs to Subscriptions?

`subscriptions/kept.py` says what it means. The log is read by transaction, up to the oldest one that is still open: a
number may be committed after a higher one, a transaction below that horizon may not. One process at a time follows it,
as long as its lease lasts; who lost the lease can no longer move on.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server import ids
from fhir_server.changes import Subscribe
from fhir_server.engines.connections import Connection, Connections, translated
from fhir_server.engines.sqlite_notices import part_of, row
from fhir_server.subscriptions.kept import FOLLOWER, Logged, News, Notice, Position, Subscriber

SUBSCRIBE = """
INSERT INTO subscriber (part, fid, owner, secrets, state, since, last, sent, due, attempts, failing, error)
VALUES ($1, $2, COALESCE($3, ''), COALESCE($4, ''), $5::text, CASE $5::text WHEN 'active' THEN $6::bigint ELSE 0 END,
    0, 0, 0, 0, 0, $7)
ON CONFLICT (part, fid) DO UPDATE SET owner = COALESCE($3, subscriber.owner),
    secrets = COALESCE($4, subscriber.secrets), state = $5::text,
    since = CASE WHEN $5::text = 'off' THEN 0 WHEN $5::text = 'active' AND subscriber.since = 0 THEN $6::bigint
        ELSE subscriber.since END,
    sent = CASE $5::text WHEN 'off' THEN subscriber.last ELSE subscriber.sent END,
    due = 0, attempts = 0, failing = 0, error = $7
"""
_SUBSCRIBER = "SELECT fid, owner, secrets, state, since, last, sent, due, attempts, failing, error FROM subscriber"
ONE = _SUBSCRIBER + " WHERE part = $1 AND fid = $2"
ALL = _SUBSCRIBER
HOLD = """
INSERT INTO follower (part, name, tx, seq, holder, held_until) VALUES ($1, $2, -1, 0, $3, $5)
ON CONFLICT (part, name) DO UPDATE SET holder = $3, held_until = $5
WHERE follower.part = $1 AND (follower.holder = $3 OR follower.held_until <= $4) RETURNING holder
"""
PLACE = "SELECT tx, seq FROM follower WHERE part = $1 AND name = $2"
END = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"
ENDS = """
SELECT pg_snapshot_xmin(s)::text::bigint - 1, pg_snapshot_xmin(s) = pg_snapshot_xmax(s) FROM pg_current_snapshot() s
"""
BEGIN = "UPDATE follower SET tx = $3, seq = $4 WHERE part = $1 AND name = $2"
MOVE = "UPDATE follower SET tx = $3, seq = $4 WHERE part = $1 AND name = $2 AND holder = $5 RETURNING seq"
NEWS = """
SELECT e.tx, e.seq, e.type, e.fid, e.version, e.method, e.updated, COALESCE(r.version, 0)
FROM event e LEFT JOIN resource r ON r.part = e.part AND r.type = e.type AND r.fid = e.fid
WHERE e.tx >= $1 AND e.tx <= $2 AND (e.tx > $1 OR e.seq > $3) AND e.type = ANY($4) ORDER BY e.tx, e.seq LIMIT $5
"""
RECORD = """
INSERT INTO notice (part, fid, number, seq, focus_type, focus_id, version, method, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
COUNTED = "UPDATE subscriber SET last = $3 WHERE part = $1 AND fid = $2"
BETWEEN = """
SELECT fid, number, seq, focus_type, focus_id, version, method, at FROM notice
WHERE part = $1 AND fid = $2 AND number > $3 AND number <= $4 ORDER BY number LIMIT $5
"""
TOLD = """
UPDATE subscriber SET sent = GREATEST(sent, $3), attempts = 0, failing = 0, due = 0, error = ''
WHERE part = $1 AND fid = $2
"""
FAILED = "UPDATE subscriber SET due = $3, attempts = $4, failing = $5, error = $6 WHERE part = $1 AND fid = $2"
PRUNE = "DELETE FROM notice WHERE part = $1 AND fid = $2 AND at < $3"
DROP_NOTICES = "DELETE FROM notice WHERE part = $1 AND fid = $2"
WAKE = "SELECT pg_notify('hub', $1)"  # sockets in other processes
DROP = "DELETE FROM subscriber WHERE part = $1 AND fid = $2"
_LAST = 2**62  # above every seq


async def subscribe(connection: Connection, changes: Sequence[Subscribe]) -> None:
    """Keep what a commit says about its Subscriptions."""
    rows = [(part_of(one.id), one.id, one.owner, one.secrets, one.state, one.at, one.error) for one in changes]
    if rows:
        await connection.executemany(SUBSCRIBE, sorted(rows, key=lambda one: one[0]))


class PostgresNotices:
    """`kept.Notices` on a server."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._own = (ids.hash64(FOLLOWER), FOLLOWER)

    async def subscriber(self, id: str) -> Subscriber | None:
        """The state of one Subscription."""
        with translated():
            async with self._connections.one() as connection:
                found = await connection.fetchrow(ONE, part_of(id), id)
        return Subscriber(*found) if found else None

    async def subscribers(self) -> list[Subscriber]:
        """All of them."""
        with translated():
            async with self._connections.one() as connection:
                return [Subscriber(*one) for one in await connection.fetch(ALL)]

    async def hold(self, holder: str, *, now: int, until: int) -> bool:
        """A row says who, and until when."""
        with translated():
            async with self._connections.one() as connection:
                return await connection.fetchrow(HOLD, *self._own, holder, now, until) is not None

    async def begin(self) -> Position:
        """Where the follower stands, which `hold` has made."""
        with translated():
            async with self._connections.one() as connection:
                found = await connection.fetchrow(PLACE, *self._own)
                if found and found["tx"] >= 0:
                    return Position(*found)
                end = Position(await connection.fetchval(END), _LAST)
                await connection.execute(BEGIN, *self._own, end.tx, end.seq)
                return end

    async def news(self, after: Position, types: Sequence[str], count: int) -> News:
        """Below the oldest open transaction."""
        with translated():
            async with self._connections.one() as connection:
                end, is_all = await connection.fetchrow(ENDS)
                if end < after.tx:
                    return News([], after, is_all)
                rows = await connection.fetch(NEWS, after.tx, end, after.seq, list(types), count)
        events = [Logged(Position(*one[:2]), *one[2:]) for one in rows]
        return News(events, events[-1].at if len(events) == count else Position(end, _LAST), is_all)

    async def record(self, holder: str, until: Position, notices: Sequence[Notice]) -> bool:
        """In one transaction, and only while the log is ours."""
        rows = [(part_of(one.subscription), *row(one)) for one in notices]
        lasts = {one.subscription: one.number for one in notices}
        counted = sorted((part_of(id), id, number) for id, number in lasts.items())
        with translated():
            async with self._connections.one() as connection, connection.transaction():
                if await connection.fetchrow(MOVE, *self._own, until.tx, until.seq, holder) is None:
                    return False
                await connection.executemany(RECORD, rows)
                await connection.executemany(COUNTED, counted)
                await connection.execute(WAKE, FOLLOWER)
        return True

    async def between(self, id: str, after: int, up_to: int, count: int) -> list[Notice]:
        """In order."""
        with translated():
            async with self._connections.one() as connection:
                rows = await connection.fetch(BETWEEN, part_of(id), id, after, up_to, count)
        return [Notice(*one) for one in rows]

    async def told(self, id: str, number: int) -> None:
        """Never backwards."""
        await self._change(TOLD, part_of(id), id, number)

    async def failed(self, one: Subscriber) -> None:
        """Keep how it fails."""
        await self._change(FAILED, part_of(one.id), one.id, one.due, one.attempts, one.failing, one.error)

    async def forget(self, id: str, before: int | None = None) -> None:
        """Old notices, or everything."""
        if before is not None:
            await self._change(PRUNE, part_of(id), id, before)
            return
        await self._change(DROP_NOTICES, part_of(id), id)
        await self._change(DROP, part_of(id), id)

    async def _change(self, sql: str, *values: object) -> None:
        with translated():
            async with self._connections.one() as connection:
                await connection.execute(sql, *values)
