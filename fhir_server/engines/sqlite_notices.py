"""How does SQLite keep what belongs to Subscriptions?

`subscriptions/kept.py` says what it means. One process writes to the file, so it always holds the log.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fhir_server import ids
from fhir_server.changes import Subscribe
from fhir_server.subscriptions.kept import FOLLOWER, Logged, News, Notice, Position, Subscriber

if TYPE_CHECKING:  # it imports what writes, which imports this
    from fhir_server.engines.sqlite_writer import Writer

_SUBSCRIBE = """
INSERT INTO subscriber (part, fid, owner, secrets, state, since, last, sent, due, attempts, failing, error)
VALUES (?1, ?2, COALESCE(?3, ''), COALESCE(?4, ''), ?5, CASE ?5 WHEN 'active' THEN ?6 ELSE 0 END, 0, 0, 0, 0, 0, ?7)
ON CONFLICT (part, fid) DO UPDATE SET owner = COALESCE(?3, owner), secrets = COALESCE(?4, secrets), state = ?5,
    since = CASE WHEN ?5 = 'off' THEN 0 WHEN ?5 = 'active' AND since = 0 THEN ?6 ELSE since END,
    sent = CASE ?5 WHEN 'off' THEN last ELSE sent END, due = 0, attempts = 0, failing = 0, error = ?7
"""
_SUBSCRIBER = "fid, owner, secrets, state, since, last, sent, due, attempts, failing, error"
_NOTICE = "fid, number, seq, focus_type, focus_id, version, method, at"
_NEWS = """
SELECT e.seq, e.type, e.fid, e.version, e.method, e.updated,
    COALESCE((SELECT r.version FROM resource r WHERE r.type = e.type AND r.fid = e.fid), 0)
FROM event e WHERE e.seq > ? AND e.seq <= ? AND e.type IN (SELECT value FROM json_each(?)) ORDER BY e.seq LIMIT ?
"""
_RECORD = (
    "INSERT INTO notice (part, fid, number, seq, focus_type, focus_id, version, method, at) VALUES (?,?,?,?,?,?,?,?,?)"
)
_MOVE = "INSERT OR REPLACE INTO follower (part, name, tx, seq, holder, held_until) VALUES (?, ?, 0, ?, '', 0)"

Rows = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]


def part_of(id: str) -> int:
    """Where a Subscription's state lives."""
    return ids.hash64(f"Subscription/{id}")


def subscribe(connection: sqlite3.Connection, changes: Iterable[Subscribe]) -> None:
    """Keep what a commit says about its Subscriptions."""
    for one in changes:
        values = (part_of(one.id), one.id, one.owner, one.secrets, one.state, one.at, one.error)
        connection.execute(_SUBSCRIBE, values)


class SqliteNotices:
    """`kept.Notices` on one file."""

    def __init__(self, rows: Rows, writer: Writer) -> None:
        self._rows = rows
        self._writer = writer

    async def subscriber(self, id: str) -> Subscriber | None:
        """The state of one Subscription."""
        found = self._rows(f"SELECT {_SUBSCRIBER} FROM subscriber WHERE part = ? AND fid = ?", (part_of(id), id))
        return Subscriber(*found[0]) if found else None

    async def subscribers(self) -> list[Subscriber]:
        """All of them."""
        return [Subscriber(*row) for row in self._rows(f"SELECT {_SUBSCRIBER} FROM subscriber", ())]

    async def hold(self, holder: str, *, now: int, until: int) -> bool:
        """Nobody else writes to the file."""
        return True

    async def begin(self) -> Position:
        """Where the follower stands."""
        found = self._rows("SELECT seq FROM follower WHERE part = ? AND name = ?", (ids.hash64(FOLLOWER), FOLLOWER))
        if found:
            return Position(0, found[0][0])
        end = self._end()
        await self._writer.do(lambda connection: _move(connection, end))
        return end

    def _end(self) -> Position:
        return Position(0, self._rows("SELECT COALESCE(MAX(seq), 0) FROM event", ())[0][0])

    async def news(self, after: Position, types: Sequence[str], count: int) -> News:
        """The writer commits in the order of the numbers."""
        end = self._end()
        rows = self._rows(_NEWS, (after.seq, end.seq, json.dumps(types), count)) if end.seq > after.seq else []
        events = [Logged(Position(0, row[0]), *row[1:]) for row in rows]
        return News(events, events[-1].at if len(events) == count else end)

    async def record(self, holder: str, until: Position, notices: Sequence[Notice]) -> bool:
        """In one transaction."""
        await self._writer.do(lambda connection: _record(connection, until, notices))
        return True

    async def between(self, id: str, after: int, up_to: int, count: int) -> list[Notice]:
        """In order."""
        where = "part = ? AND fid = ? AND number > ? AND number <= ? ORDER BY number LIMIT ?"
        rows = self._rows(f"SELECT {_NOTICE} FROM notice WHERE {where}", (part_of(id), id, after, up_to, count))
        return [Notice(*row) for row in rows]

    async def told(self, id: str, number: int) -> None:
        """Never backwards."""
        sql = "UPDATE subscriber SET sent = MAX(sent, ?), attempts = 0, failing = 0, due = 0, error = '' "
        await self._change(sql + "WHERE part = ? AND fid = ?", (number, part_of(id), id))

    async def failed(self, one: Subscriber) -> None:
        """Keep how it fails."""
        sql = "UPDATE subscriber SET due = ?, attempts = ?, failing = ?, error = ? WHERE part = ? AND fid = ?"
        await self._change(sql, (one.due, one.attempts, one.failing, one.error, part_of(one.id), one.id))

    async def forget(self, id: str, before: int | None = None) -> None:
        """Old notices, or everything."""
        where = "WHERE part = ? AND fid = ?"
        if before is not None:
            await self._change(f"DELETE FROM notice {where} AND at < ?", (part_of(id), id, before))
            return
        for table in ("notice", "subscriber"):
            await self._change(f"DELETE FROM {table} {where}", (part_of(id), id))

    async def _change(self, sql: str, values: tuple[Any, ...]) -> None:
        await self._writer.do(lambda connection: connection.execute(sql, values))


def _move(connection: sqlite3.Connection, until: Position) -> None:
    connection.execute(_MOVE, (ids.hash64(FOLLOWER), FOLLOWER, until.seq))


def _record(connection: sqlite3.Connection, until: Position, notices: Sequence[Notice]) -> None:
    _move(connection, until)
    values = [(part_of(one.subscription), *row(one)) for one in notices]
    connection.executemany(_RECORD, values)
    lasts = {one.subscription: one.number for one in notices}
    numbers = [(number, part_of(id), id) for id, number in lasts.items()]
    connection.executemany("UPDATE subscriber SET last = ? WHERE part = ? AND fid = ?", numbers)


def row(one: Notice) -> tuple[Any, ...]:
    """A notice as the columns of its table, after the part."""
    return (one.subscription, one.number, one.seq, one.type, one.id, one.version, one.method, one.at)
