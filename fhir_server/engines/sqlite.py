"""How does the record live in one SQLite file?

Reads run inline in the event loop, on a connection of their own: an index look-up costs less than handing it to a
thread. A search that turns out to be long is broken off and done again in a thread. Writes go to one thread
(`sqlite_writer.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from common import errors
from fhir_server import around, cursors, ids, timeline
from fhir_server.audit.log import Kept
from fhir_server.changes import Stored
from fhir_server.conditions import Query
from fhir_server.engine import Bulk
from fhir_server.engines import (
    compartment,
    sqlite_bulk,
    sqlite_notices,
    sqlite_past,
    sqlite_search,
    sqlite_seen,
    sqlite_traces,
    sqlite_write,
    sqlite_writer,
)
from fhir_server.engines.sqlite_number import Number
from fhir_server.rows import Event, JournalRow, Memberships, Outdated, Page, Put, Row, Work, Write
from fhir_server.subscriptions.kept import Notices

_Answer = TypeVar("_Answer")
_TICK = 20_000  # steps of the virtual machine, about 1 ms; counted over all runs of a statement, so one is not yet long
_INLINE_TICKS = 4  # what a search may take before it moves to a thread
_ENDLESS = 2**62
_CHECK_STEPS = 1_000_000
_LONGEST_SEARCH_SECONDS = 30.0
_MOST_WAITING = 512  # resources whose words wait to be indexed together
_STORED = "r.type, r.fid, r.version, r.updated, r.body, r.method"
_ROW = (
    "r.part, r.rid, r.type, r.fid, r.version, r.updated, r.deleted, r.sort_date, r.method, r.generation, r.readers, "
    "r.patient, r.sharing, r.eq, r.body"
)
_ANY = f"SELECT {_STORED} FROM resource r WHERE r.type = ? AND r.fid = ?"
_ANY_OF = f"SELECT {_STORED} FROM resource r WHERE r.type = ? AND r.fid IN (SELECT value FROM json_each(?))"
_BITS = (
    "SELECT COALESCE(SUM(DISTINCT bit), 0) FROM standing WHERE patient = ?1 "
    "AND who IN (SELECT value FROM json_each(?2)) AND lo <= ?3 AND hi >= ?3"
)
_FEW = 20
_JOURNAL = "part, seq, door, key, at, state, settled, cause, meta, answer, raw"
_OUTDATED = (
    "SELECT generation, rid, type, fid, length(body) FROM resource WHERE deleted = 0 AND generation < ? "
    "AND (generation, rid) > (?, ?) ORDER BY generation, rid LIMIT ?"
)
_BY_KEY = "door = ? AND key = ? ORDER BY (state = 'accepted') DESC, seq DESC"


class Sqlite:
    """One file. Every method belongs to the event loop that opened it."""

    def __init__(self, path: Path, worker: int) -> None:
        self._path = path
        self._reader = sqlite_writer.connect(path)
        self._reader.execute("PRAGMA query_only = ON")
        self._ticks = _ENDLESS
        self._waiting = 0
        self._reader.set_progress_handler(self._tick, _TICK)
        self._threads = ThreadPoolExecutor(2, "hub-search")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._loop = asyncio.get_running_loop()
        numbers = "SELECT MAX(rid) n FROM resource UNION ALL SELECT MAX(seq) FROM event"
        numbers += " UNION ALL SELECT MAX(seq) FROM journal UNION ALL SELECT MAX(seq) FROM outbox"
        self.last_seq: int = self._reader.execute(f"SELECT COALESCE(MAX(n), 0) FROM ({numbers})").fetchone()[0]
        self.number = Number(path, worker)
        self._writer = sqlite_writer.Writer(path)
        self.bulk: Bulk = sqlite_bulk.Bulk(self._all, self._writer)
        self.notices: Notices = sqlite_notices.SqliteNotices(self._all, self._writer)
        self.traces: Kept = sqlite_traces.SqliteTraces(self._all, self._writer, lambda: sqlite_writer.connect(path))

    @classmethod
    def open(cls, path: Path, worker: int) -> Sqlite:
        """Raises Unavailable when the file is not there or holds no record."""
        try:
            if not path.exists():
                raise sqlite3.OperationalError("no such file")
            return cls(path, worker)
        except (sqlite3.Error, OSError) as problem:
            raise errors.Unavailable("la base n'est pas installée ou illisible ; lancez `hub migrate`") from problem

    async def close(self) -> None:
        """Everything queued is committed first."""
        await self._writer.close()
        self._threads.shutdown(wait=True)
        for connection in [self._reader, *self._opened]:
            connection.close()
        self.number.close()

    async def secret(self) -> bytes:
        """Made when it is not there."""
        find = "SELECT value FROM secret WHERE name = 'cursors'"
        found = self._one(find, ())
        if found is None:
            made = os.urandom(cursors.SECRET_BYTES)
            keep = "INSERT OR IGNORE INTO secret (part, name, value) VALUES (0, 'cursors', ?)"
            await self._writer.do(lambda connection: connection.execute(keep, (made,)).rowcount)
            found = self._one(find, ())
        assert found is not None
        return bytes(found[0])

    # --- reads

    async def read(self, type: str, id: str, memberships: Memberships) -> Stored | None:
        """The current version, if it may be seen."""
        if memberships is None:
            found = self._one(_ANY, (type, id))
        else:
            how = sqlite_seen.of(memberships, (type,))
            found = self._one(_seen_read(how.shape), (*how.args, type, id))
        return Stored(*found) if found else None

    async def stored(self, refs: Sequence[tuple[str, str]], memberships: Memberships) -> list[Stored]:
        """The current versions that may be seen."""
        if memberships is None and len(refs) > _FEW:
            return self._of_many(refs)
        found = [await self.read(*ref, memberships) for ref in refs]
        return [one for one in found if one]

    def _of_many(self, refs: Sequence[tuple[str, str]]) -> list[Stored]:
        """In one step for each type: a step gives the interpreter's lock away, and gets it back when others let go."""
        by_type: dict[str, list[str]] = {}
        for type, id in refs:
            by_type.setdefault(type, []).append(id)
        found = (self._all(_ANY_OF, (type, json.dumps(some))) for type, some in by_type.items())
        return [Stored(*one) for rows in found for one in rows]

    async def get(self, refs: Sequence[tuple[str, str]], memberships: Memberships) -> list[Row]:
        """The rows that may be seen."""
        found = []
        for ref in refs:
            seen, keys = _seen(memberships, ref[0])
            sql = f"SELECT {_ROW} FROM resource r WHERE r.type = ?{len(keys) + 1} AND r.fid = ?{len(keys) + 2}{seen}"
            found.append(self._one(sql, (*keys, *ref)))
        return [_row(one) for one in found if one]

    async def bits(self, patient: int, who: Sequence[int], now: int) -> int:
        """How any of these stands towards a patient, together."""
        found = self._one(_BITS, (patient, json.dumps([*who]), now))
        return int(found[0]) if found else 0

    async def owner(self, key: str) -> tuple[str, str] | None:
        """Who claimed a key."""
        found = self._one("SELECT type, fid FROM unique_key WHERE part = ? AND key = ?", (ids.hash64(key), key))
        return (found[0], found[1]) if found else None

    async def versions(
        self, type: str, id: str, memberships: Memberships, *, before: int | None, only: int | None, count: int
    ) -> list[Stored]:
        """Newest first; the readers are those of the current row."""
        seen, keys = _seen(memberships, type)
        mine = f"r.type = ?{len(keys) + 1} AND r.fid = ?{len(keys) + 2}{seen}"
        bounds = f" AND ?{len(keys) + 3} IN (v.version, 0) AND v.version < ?{len(keys) + 4}"
        sql = (
            f"SELECT {_STORED} FROM resource r WHERE {mine}{bounds.replace('v.', 'r.')} UNION ALL "
            "SELECT v.type, v.fid, v.version, v.updated, v.body, v.method FROM resource r "
            f"JOIN version v ON v.rid = r.rid WHERE {mine}{bounds} ORDER BY 3 DESC LIMIT ?{len(keys) + 5}"
        )
        limits = (only or 0, 2**62 if before is None else before, count)
        return [Stored(*row) for row in self._all(sql, (*keys, type, id, *limits))]

    async def search(self, query: Query, memberships: Memberships) -> Page:
        """Inline while it is short."""
        if sqlite_search.asks_for_words(query.where) and self._one("SELECT 1 FROM words_waiting LIMIT 1", ()):
            await self._writer.do(sqlite_write.take_in)
        return await self._measured(
            lambda connection: sqlite_search.search(connection, query, memberships),
            lambda connection: sqlite_search.search(connection, query, memberships, is_long=True),
        )

    async def past(self, asked: timeline.Asked, memberships: Memberships) -> timeline.Found:
        """Inline while it is short."""
        return await self._measured(lambda connection: sqlite_past.find(connection, asked, memberships))

    async def compartment(self, asked: around.Asked, memberships: Memberships) -> around.Found:
        """Inline while it is short."""
        sql, args = compartment.select(sqlite_search.DIALECT, asked, memberships)
        return await self._measured(
            lambda connection: compartment.page(asked, connection.execute(sql, args).fetchall())
        )

    async def settled(self, now: int) -> int:
        """One process alone writes, and the store knows what it has under way."""
        return now

    async def _measured(
        self, run: Callable[[sqlite3.Connection], _Answer], long: Callable[[sqlite3.Connection], _Answer] | None = None
    ) -> _Answer:
        """What `run` gives: inline while it is short, else again (`long`, when it is another way) in a thread."""
        self._ticks = _INLINE_TICKS
        try:
            return run(self._reader)
        except sqlite3.OperationalError as problem:
            if "stack overflow" in str(problem):  # subqueries in subqueries, before SQLite 3.46: ten or so
                text = "chaînage trop profond pour cette base ; moins d'étapes, ou un critère de plus"
                raise errors.Unreadable(text, issues=(errors.Issue(text, "", "too-costly"),)) from None
            if str(problem) != "interrupted":
                raise errors.Unavailable("la base ne répond pas ; réessayez") from problem
        finally:
            self._ticks = _ENDLESS
        return await self._loop.run_in_executor(self._threads, self._long, long or run)

    def _tick(self) -> bool:
        self._ticks -= 1
        return self._ticks < 0

    def _long(self, run: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite_writer.connect(self._path)
            self._opened.append(connection)
        end = time.monotonic() + _LONGEST_SEARCH_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > end, _CHECK_STEPS)
        try:
            return run(connection)
        except sqlite3.OperationalError as problem:
            raise errors.Unavailable("recherche trop longue ; ajoutez un critère") from problem

    async def journal_rows(
        self, *, key: tuple[str, str] | None = None, id: tuple[int, int] | None = None, state: str | None, count: int
    ) -> list[JournalRow]:
        """By key, by number, or all of a state."""
        if key:
            where, values = _BY_KEY, tuple[Any, ...](key)
        elif id:
            where, values = "part = ? AND seq = ?", id
        elif state:
            where, values = "state = ? ORDER BY at DESC, seq DESC", (state,)
        else:
            where, values = "1 ORDER BY at DESC, seq DESC", ()
        return [
            JournalRow(*row) for row in self._all(f"SELECT {_JOURNAL} FROM journal WHERE {where} LIMIT {count}", values)
        ]

    async def queued(self, count: int, state: str) -> list[tuple[Work, str]]:
        """Waiting rows or dead letters, oldest first."""
        columns = "part, lane, seq, consumer, type, fid, attempts, error"
        found = self._all(f"SELECT {columns} FROM outbox WHERE state = ? ORDER BY seq LIMIT {count}", (state,))
        return [(Work(*row[:7]), row[7]) for row in found]

    def _one(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        try:
            found: tuple[Any, ...] | None = self._reader.execute(sql, values).fetchone()
        except sqlite3.Error as problem:
            raise errors.Unavailable("la base ne répond pas ; réessayez") from problem
        return found

    def _all(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as problem:
            raise errors.Unavailable("la base ne répond pas ; réessayez") from problem

    # --- writes

    async def write(self, write: Write) -> None:
        """Durable when it returns."""
        puts = write if sqlite_write.only_puts(write) else None
        await self._writer.do(lambda connection: sqlite_write.write(connection, write), puts=puts)
        await self._words_wait(len(write.puts))

    async def _words_wait(self, more: int) -> None:
        self._waiting += more
        if self._waiting >= _MOST_WAITING:
            self._waiting = 0
            with suppress(errors.HubError):  # what was written is durable; the words go on waiting
                await self._writer.do(sqlite_write.take_in)

    async def keep(self, row: JournalRow) -> None:
        """Durable when it returns."""
        await self._writer.do(lambda connection: sqlite_write.keep(connection, row))

    async def outdated(self, generation: int, *, after: tuple[int, int], count: int) -> list[Outdated]:
        """In the order of their generation and number."""
        return [Outdated(*row) for row in self._all(_OUTDATED, (generation, *after, count))]

    async def reindex(self, puts: Sequence[Put]) -> int:
        """All of them in one transaction."""
        done = await self._writer.do(lambda connection: sqlite_write.again(connection, puts))
        await self._words_wait(done)
        return done

    async def lease(self, consumer: str, count: int, *, now: int, until: int) -> list[Work]:
        """Asks before it writes: an idle consumer costs no commit."""
        waiting = "consumer = ? AND state = 'waiting' AND due <= ? AND leased_until <= ?"
        if not self._one(f"SELECT 1 FROM outbox WHERE {waiting}", (consumer, now, now)):
            return []
        return await self._writer.do(
            lambda connection: sqlite_write.lease(connection, consumer, count, now=now, until=until)
        )

    async def extend(self, works: Sequence[Work], until: int) -> None:
        """Hold rows for longer."""
        await self._writer.do(lambda connection: sqlite_write.extend(connection, works, until))

    async def release(self, work: Work, due: int, error: str) -> None:
        """Give a row back."""
        await self._writer.do(lambda connection: sqlite_write.release(connection, work, due, error))

    async def park(self, work: Work, error: str) -> None:
        """Make a row a dead letter."""
        await self._writer.do(lambda connection: sqlite_write.park(connection, work, error))

    def follow(self, woken: Callable[[str], None], events: Callable[[list[Event]], None], types: Iterable[str]) -> None:
        """Nobody else writes to the file."""


def _seen(memberships: Memberships, type: str) -> tuple[str, tuple[object, ...]]:
    """The predicate of rights with its arguments, which come first."""
    if memberships is None:
        return "", ()
    how = sqlite_seen.of(memberships, (type,))
    return f" AND {sqlite_seen.sql(how.shape)}", how.args


@lru_cache(maxsize=256)
def _seen_read(shape: sqlite_seen.Shape) -> str:
    seen, count = sqlite_seen.sql(shape), shape.size
    return f"SELECT {_STORED} FROM resource r WHERE r.type = ?{count + 1} AND r.fid = ?{count + 2} AND {seen}"


def _row(found: tuple[Any, ...]) -> Row:
    *head, readers, patient, sharing, eq, body = found
    part, rid, type, fid, version, updated, deleted, sort_date, method, generation = head
    return Row(
        part, rid, type, fid, version, updated, bool(deleted), sort_date, method, generation,
        frozenset(sqlite_seen.unpacked(readers)), patient, sharing, sqlite_seen.unpacked(eq), body,
    )  # fmt: skip
