"""How does the record live in PostgreSQL?

Reads and writes are batched naturally (`connections.Batches`), searches have connections of their own with settings
that suit them. A read goes to the part that the id tells, and asks the `locator` only when nothing was there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from common import errors
from fhir_server import around, cursors, ids, timeline
from fhir_server.audit.log import Kept
from fhir_server.changes import Stored
from fhir_server.conditions import Ids, Query
from fhir_server.engine import Bulk
from fhir_server.engines import (
    compartment,
    postgres_bulk,
    postgres_claims,
    postgres_notices,
    postgres_outbox,
    postgres_past,
    postgres_reindex,
    postgres_search,
    postgres_seen,
    postgres_statistics,
    postgres_traces,
    postgres_write,
)
from fhir_server.engines.connections import Batches, Connection, Connections, Job, translated
from fhir_server.engines.postgres_follow import Follower
from fhir_server.engines.postgres_number import Number
from fhir_server.engines.postgres_statistics import Statistics
from fhir_server.rows import Event, JournalRow, Memberships, Outdated, Page, Put, Row, Work, Write
from fhir_server.subscriptions.kept import Notices

_READERS, _WRITERS, _SEARCHERS, _OTHERS, _FOLLOWERS = 2, 3, 4, 2, 2
_BATCH = 100
_TRIES = 3
# All look-ups by key: no plan may ever read a whole table, however small it was when the plan was made.
_LOOKUPS = {"jit": "off", "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
_STORED = "r.type, r.fid, r.version, r.updated, r.body, r.method"
_ROW = (
    "r.part, r.rid, r.type, r.fid, r.version, r.updated, r.deleted, r.sort_date, r.method, r.generation, r.readers, "
    "r.patient, r.sharing, r.eq, r.body"
)
_ONE = "SELECT {} FROM resource r WHERE r.part = $1 AND r.type = $2 AND r.fid = $3"
_SEEN_ONE = f"{_ONE} AND " + postgres_seen.anyhow(
    postgres_seen.Marks(*(f"${n + 4}::{kind}" for n, kind in enumerate(postgres_seen.KINDS)))
)
# Arrays do not hold arrays of other lengths: keys come as text.
_MANY = """
SELECT u.n, {} FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
    $8::int[], $9::int[], $10::bigint[], $11::bigint[],
    $12::text[])
    WITH ORDINALITY u (part, type, fid, named, who, author, structure, kinds, corps, now, patient, limits, n)
JOIN resource r ON r.part = u.part AND r.type = u.type AND r.fid = u.fid WHERE u.named IS NULL OR """
_MANY += postgres_seen.anyhow(
    postgres_seen.Marks(
        "u.named::bigint[]",
        "u.who::bigint[]",
        "u.author",
        "u.structure",
        "u.kinds",
        "u.corps",
        "u.now",
        "u.patient",
        "u.limits::jsonb",
    )
)
_HOMES = """
SELECT l.type, l.fid, l.home FROM unnest($1::bigint[], $2::text[], $3::text[]) u (part, type, fid)
JOIN locator l ON l.part = u.part AND l.type = u.type AND l.fid = u.fid
"""
_BITS = """
SELECT COALESCE(bit_or(s.bit), 0)::int FROM standing s
WHERE s.patient = $1 AND s.who = ANY($2::bigint[]) AND s.lo <= $3 AND s.hi >= $3
"""
_KEEP_MADE = "INSERT INTO secret (part, name, value) VALUES ($1, 'cursors', $2) ON CONFLICT DO NOTHING"
_MADE = "SELECT value FROM secret WHERE part = 0 AND name = 'cursors'"
_VERSIONS = """
SELECT type, fid, version, updated, body, method FROM version
WHERE part = $1 AND rid = $2 AND version < $3 AND $4 IN (version, 0) ORDER BY version DESC LIMIT $5
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Resources to look up, as these memberships see them."""

    refs: Sequence[tuple[str, str]]
    memberships: Memberships


class Postgres:
    """One database, on this side of it one process. Every method belongs to the event loop that opened it."""

    def __init__(self, dsn: str, worker: int) -> None:
        self._lookups = Connections(dsn, _READERS + _OTHERS, _LOOKUPS)
        self._writers = Connections(dsn, _WRITERS, {"jit": "off", "application_name": postgres_past.WRITER})
        self._searchers = Connections(dsn, _SEARCHERS, postgres_search.SETTINGS)
        self._followers = Connections(dsn, _FOLLOWERS, _LOOKUPS)
        self._reads = Batches[_Asked, list[Any]](self._lookups, _READERS, _BATCH, partial(_look_up, _STORED))
        self._gets = Batches[_Asked, list[Any]](self._lookups, 1, _BATCH, partial(_look_up, _ROW))
        self._writes = Batches[Write | JournalRow, None](self._writers, _WRITERS, _BATCH, _write)
        self.number = Number(self._lookups, worker)
        self._follower = Follower(self._lookups, self.number)
        self._statistics = Statistics(self._lookups)
        self.notices: Notices = postgres_notices.PostgresNotices(self._followers)
        self.last_seq = 0
        self.bulk: Bulk = postgres_bulk.Bulk(self._lookups)
        self.traces: Kept = postgres_traces.PostgresTraces(self._lookups)

    @classmethod
    async def open(cls, dsn: str, worker: int) -> Postgres:
        """Raises Unavailable when there is no server or no record in it."""
        engine = cls(dsn, worker)
        try:
            await engine.number.claim()
            async with engine._lookups.one() as connection:
                engine.last_seq = await connection.fetchval(postgres_outbox.LAST) or 0
                engine._statistics.begin(await connection.fetchval(postgres_statistics.KNOWN))
        except asyncpg.UndefinedTableError as problem:
            await engine.close()
            raise errors.Unavailable("la base n'est pas installée ; lancez `hub migrate`") from problem
        except errors.Unavailable:
            await engine.close()
            raise
        return engine

    async def close(self) -> None:
        """Everything queued is committed first."""
        await self._follower.close()
        for batches in (self._writes, self._reads, self._gets):
            await batches.close()
        await self._statistics.close()
        await self.number.close()
        for connections in (self._writers, self._lookups, self._searchers, self._followers):
            await connections.close()

    async def secret(self) -> bytes:
        """Made when it is not there."""
        with translated():
            async with self._lookups.one() as connection:
                await connection.execute(_KEEP_MADE, 0, os.urandom(cursors.SECRET_BYTES))
                return bytes(await connection.fetchval(_MADE))

    # --- reads

    async def read(self, type: str, id: str, memberships: Memberships) -> Stored | None:
        """The current version, if it may be seen."""
        found = await self._reads.do(_Asked(((type, id),), memberships))
        return Stored(*found[0]) if found else None

    async def stored(self, refs: Sequence[tuple[str, str]], memberships: Memberships) -> list[Stored]:
        """The current versions that may be seen."""
        return [Stored(*row) for row in await self._reads.do(_Asked(refs, memberships))]

    async def get(self, refs: Sequence[tuple[str, str]], memberships: Memberships) -> list[Row]:
        """The rows that may be seen."""
        return [_row(row) for row in await self._gets.do(_Asked(refs, memberships))]

    async def bits(self, patient: int, who: Sequence[int], now: int) -> int:
        """How any of these stands towards a patient, together."""
        with translated():
            async with self._lookups.one() as connection:
                return int(await connection.fetchval(_BITS, patient, list(who), now))

    async def owner(self, key: str) -> tuple[str, str] | None:
        """Who claimed a key."""
        with translated():
            async with self._lookups.one() as connection:
                found = await connection.fetchrow(postgres_claims.OWNER, ids.hash64(key), key)
        return (found[0], found[1]) if found else None

    async def versions(
        self, type: str, id: str, memberships: Memberships, *, before: int | None, only: int | None, count: int
    ) -> list[Stored]:
        """Newest first; the readers are those of the current row."""
        found = await self.get([(type, id)], memberships)
        if not found:
            return []
        row = found[0]
        newest = [row.stored()] if only in (None, row.version) and (before is None or row.version < before) else []
        if only == row.version or count <= len(newest):
            return newest[:count]
        limits = (row.version if before is None else min(before, row.version), only or 0, count - len(newest))
        with translated():
            async with self._lookups.one() as connection:
                older = await connection.fetch(_VERSIONS, row.part, row.rid, *limits)
        return newest + [Stored(*one) for one in older]

    async def search(self, query: Query, memberships: Memberships) -> Page:
        """One page."""
        parts: list[int] = []
        for condition in query.where:
            if isinstance(condition, Ids):
                parts += await self._parts(query.type, condition.ids)
        with translated():
            async with self._searchers.one() as connection:
                return await postgres_search.search(connection, query, memberships, parts=parts)

    async def past(self, asked: timeline.Asked, memberships: Memberships) -> timeline.Found:
        """One page of versions."""
        with translated():
            async with self._searchers.one() as connection:
                return await postgres_past.find(connection, asked, memberships)

    async def compartment(self, asked: around.Asked, memberships: Memberships) -> around.Found:
        """One page of a compartment."""
        sql, args = compartment.select(postgres_search.DIALECT, asked, memberships)
        with translated():
            async with self._searchers.one() as connection:
                return compartment.page(asked, await connection.fetch(sql, *args))

    async def settled(self, now: int) -> int:
        """Others write too, on connections that the server knows by their name."""
        with translated():
            async with self._lookups.one() as connection:
                return await postgres_past.settled(connection, now)

    async def _parts(self, type: str, some: Sequence[str]) -> list[int]:
        refs = [(type, id) for id in some]
        with translated():
            async with self._lookups.one() as connection:
                homes = await _homes(connection, refs)
        return list({*homes.values(), *(ids.guess_part(*ref) for ref in refs)})

    # --- writes

    async def write(self, write: Write) -> None:
        """Durable when it returns."""
        await self._writes.do(write)
        self._statistics.wrote(len(write.puts))

    async def keep(self, row: JournalRow) -> None:
        """Durable when it returns."""
        await self._writes.do(row)

    async def outdated(self, generation: int, *, after: tuple[int, int], count: int) -> list[Outdated]:
        """In the order of their generation and number."""
        with translated():
            async with self._lookups.one() as connection:
                return await postgres_reindex.outdated(connection, generation, after=after, count=count)

    async def reindex(self, puts: Sequence[Put]) -> int:
        """All of them in one transaction."""
        with translated():
            async with self._writers.one() as connection:
                done = await postgres_reindex.again(connection, puts)
        self._statistics.wrote(done)
        return done

    # --- journal and outbox

    async def journal_rows(
        self, *, key: tuple[str, str] | None = None, id: tuple[int, int] | None = None, state: str | None, count: int
    ) -> list[JournalRow]:
        """By key, by number, or all of a state."""
        with translated():
            async with self._lookups.one() as connection:
                return await postgres_outbox.journal_rows(connection, key=key, id=id, state=state, count=count)

    async def lease(self, consumer: str, count: int, *, now: int, until: int) -> list[Work]:
        """Lane by lane."""
        with translated():
            async with self._lookups.one() as connection:
                return await postgres_outbox.lease(connection, consumer, count, now=now, until=until)

    async def extend(self, works: Sequence[Work], until: int) -> None:
        """Row by row: each names its part and lane."""
        with translated():
            async with self._lookups.one() as connection:
                rows = [(*postgres_outbox.place(work), until) for work in works]
                await connection.executemany(postgres_outbox.EXTEND, rows)

    async def release(self, work: Work, due: int, error: str) -> None:
        """Give a row back."""
        with translated():
            async with self._lookups.one() as connection:
                await connection.execute(postgres_outbox.RELEASE, *postgres_outbox.place(work), due, error)

    async def park(self, work: Work, error: str) -> None:
        """Make a row a dead letter."""
        with translated():
            async with self._lookups.one() as connection:
                await connection.execute(postgres_outbox.PARK, *postgres_outbox.place(work), error)

    async def queued(self, count: int, state: str) -> list[tuple[Work, str]]:
        """Waiting rows or dead letters, oldest first."""
        with translated():
            async with self._lookups.one() as connection:
                rows = await connection.fetch(postgres_outbox.QUEUED, state, count)
                return [(Work(*row[:7]), row[7]) for row in rows]

    def follow(self, woken: Callable[[str], None], events: Callable[[list[Event]], None], types: Iterable[str]) -> None:
        """Hear of the commits of other processes."""
        self._follower.start(woken, events, tuple(types))


async def _look_up(columns: str, connection: Connection, jobs: list[Job[_Asked, list[Any]]]) -> None:
    """Answer each job with the rows of its refs; one round trip for all, a second and third for ids without part."""
    asked = [(n, ref, job.asked.memberships) for n, job in enumerate(jobs) for ref in job.asked.refs]
    answers: list[list[Any]] = [[] for _ in jobs]
    with translated():
        found = await _fetch(columns, connection, asked, [ids.guess_part(*ref) for _, ref, _ in asked])
        missed = [one for k, one in enumerate(asked) if k not in found]
        homes = await _homes(connection, [ref for _, ref, _ in missed]) if missed else {}
        for k, row in found.items():
            answers[asked[k][0]].append(row)
        elsewhere = [one for one in missed if homes.get(one[1], ids.guess_part(*one[1])) != ids.guess_part(*one[1])]
        if elsewhere:
            found = await _fetch(columns, connection, elsewhere, [homes[ref] for _, ref, _ in elsewhere])
            for k, row in found.items():
                answers[elsewhere[k][0]].append(row)
    for job, answer in zip(jobs, answers, strict=True):
        job.answer(answer)


async def _fetch(
    columns: str, connection: Connection, asked: Sequence[tuple[int, tuple[str, str], Memberships]], parts: list[int]
) -> dict[int, tuple[Any, ...]]:
    """The rows found, by their place in `asked`."""
    if len(asked) == 1:
        _, (type, id), memberships = asked[0]
        sql = _ONE if memberships is None else _SEEN_ONE
        seen = () if memberships is None else postgres_seen.args(memberships)
        row = await connection.fetchrow(sql.format(columns), parts[0], type, id, *seen)
        return {0: tuple(row)} if row else {}
    types, some = [ref[0] for _, ref, _ in asked], [ref[1] for _, ref, _ in asked]
    keys = [_NOBODY if sight is None else _as_text(postgres_seen.args(sight)) for _, _, sight in asked]
    rows = await connection.fetch(_MANY.format(columns), parts, types, some, *map(list, zip(*keys, strict=True)))
    return {row[0] - 1: tuple(row)[1:] for row in rows}


_NOBODY = (None,) * len(postgres_seen.KINDS)


def _as_text(args: postgres_seen.Args) -> tuple[Any, ...]:
    return (*(f"{{{','.join(map(str, keys))}}}" for keys in args[:2]), *args[2:])


async def _homes(connection: Connection, refs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    keys = [ids.hash64(f"{type}/{id}") for type, id in refs]
    rows = await connection.fetch(_HOMES, keys, [type for type, _ in refs], [id for _, id in refs])
    return {(row[0], row[1]): row[2] for row in rows}


async def _write(connection: Connection, jobs: list[Job[Write | JournalRow, None]]) -> None:
    """All together, or when that fails each by itself."""
    if len(jobs) > 1:
        try:
            await postgres_write.together(connection, [job.asked for job in jobs])
        except Exception:  # noqa: BLE001 - whose it is will show
            if connection.is_closed():  # perhaps it was committed: nobody may try again but the caller
                raise errors.Unavailable("la base ne répond pas ; réessayez") from None
        else:
            for job in jobs:
                job.answer(None)
            return
    for job in jobs:
        try:
            with translated():
                await _alone(connection, job.asked)
        except Exception as problem:  # noqa: BLE001 - raised where it was asked
            job.fail(problem)
        else:
            job.answer(None)


async def _alone(connection: Connection, write: Write | JournalRow) -> None:
    for _ in range(_TRIES - 1):
        try:
            return await postgres_write.together(connection, [write])
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            await asyncio.sleep(0.005)
    await postgres_write.together(connection, [write])


def _row(found: Sequence[Any]) -> Row:
    *head, readers, patient, sharing, eq, body = found
    part, rid, type, fid, version, updated, deleted, sort_date, method, generation = head
    return Row(
        part, rid, type, fid, version, updated, bool(deleted), sort_date, method, generation,
        frozenset(readers), patient, sharing, tuple(eq), body,
    )  # fmt: skip
