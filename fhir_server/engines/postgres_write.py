"""How do commits become rows on PostgreSQL?

A create is one statement whose every row has the same `part`, its trace too; commits that create one resource and do
nothing else go in together as one atomic `executemany`, without BEGIN and COMMIT. Everything else is one transaction,
its statements grouped over the commits of a batch. When a batch fails its commits are tried one by one, so that each
gets its own answer.

Every UPDATE and DELETE names `part`, or `lane` for the outbox, by equality: a spread-out database refuses it otherwise.
Rows are locked in one order (by part and number), so that two batches do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import asyncpg

from common import errors
from fhir_server import ids, index
from fhir_server.conditions import Rows
from fhir_server.engines import postgres_claims, postgres_notices, postgres_past, postgres_traces, words
from fhir_server.engines.connections import Connection
from fhir_server.engines.sqlite_seen import packed
from fhir_server.rights import facts
from fhir_server.rows import JournalRow, Moved, Put, Write

_CREATE = """
WITH r AS (
    INSERT INTO resource (part, rid, type, fid, version, updated, deleted, sort_date, method, generation, readers, eq,
        words, body, address, patient, sharing)
    VALUES ($1::bigint, $2::bigint, $3::text, $4::text, $5::int, $6::bigint, $7::smallint, $8::bigint, $9::text,
        $10::int, $11::bigint[], $12::bigint[], $32::text::tsvector, $13::bytea, $25::bigint, $33::bigint,
        $34::smallint)
), h AS (
    INSERT INTO hot (part, hash, sort_date, rid)
    SELECT $1::bigint, u.hash, $8::bigint, $2::bigint FROM unnest($14::bigint[]) u (hash)
), s AS (
    INSERT INTO str (part, rid, param, n, folded, raw)
    SELECT $1::bigint, $2::bigint, u.param, u.n, u.folded, u.raw
    FROM unnest($15::int[], $16::text[], $17::text[]) WITH ORDINALITY u (param, folded, raw, n)
), d AS (
    INSERT INTO dat (part, rid, param, lo, hi)
    SELECT $1::bigint, $2::bigint, u.param, u.lo, u.hi FROM unnest($18::int[], $19::bigint[], $20::bigint[])
        u (param, lo, hi)
    ON CONFLICT DO NOTHING
), q AS (
    INSERT INTO num (part, rid, param, unit, lo, hi)
    SELECT $1::bigint, $2::bigint, u.param, u.unit, u.lo, u.hi
    FROM unnest($28::int[], $29::bigint[], $30::text[], $31::text[]) u (param, unit, lo, hi)
    ON CONFLICT DO NOTHING
), l AS (
    INSERT INTO link (part, rid, param, address)
    SELECT $1::bigint, $2::bigint, u.param, u.address FROM unnest($26::int[], $27::bigint[]) u (param, address)
    ON CONFLICT DO NOTHING
){traced}
INSERT INTO event (part, lane, seq, type, fid, version, method, updated, actor, cause, tx)
VALUES ($1::bigint, $21::smallint, $22::bigint, $3::text, $4::text, $5::int, $9::text, $6::bigint, $23::text,
    $24::text, pg_current_xact_id()::text::bigint)
"""

CREATE = _CREATE.format(traced="")
# With its trace, which lives in the part of the resource, so that all rows of the statement have the same.
CREATE_TRACED = _CREATE.format(
    traced=""", t AS (
    INSERT INTO trace (part, chain, n, at, body, mac, keys)
    VALUES ($1::bigint, $35::bigint, $36::bigint, $37::bigint, $38::bytea, $39::bytea, $40::bytea)
), o AS (
    INSERT INTO trace_of (part, key, at, chain, n)
    SELECT $1::bigint, u.key, $37::bigint, $35::bigint, $36::bigint FROM unnest($41::bigint[]) u (key)
)"""
)

# Nothing happens, not even a version row, when the row is no longer what was read: then no event comes back.
UPDATE = """
WITH r AS (
    UPDATE resource SET version = $5::int, updated = $6::bigint, deleted = $7::smallint, sort_date = $8::bigint,
        method = $9::text, generation = $10::int, readers = $11::bigint[], eq = $12::bigint[], body = $13::bytea,
        words = $23::text::tsvector, patient = $24::bigint, sharing = $25::smallint
    WHERE part = $1::bigint AND rid = $2::bigint AND version = $14::int AND readers = $15::bigint[]
        AND patient = $26::bigint AND sharing = $27::smallint
    RETURNING rid
), v AS (
    INSERT INTO version (part, rid, version, type, fid, updated, method, body)
    SELECT o.part, o.rid, o.version, o.type, o.fid, o.updated, o.method, o.body
    FROM resource o JOIN r ON r.rid = o.rid WHERE o.part = $1::bigint AND o.version = $14::int
), c AS (
    DELETE FROM hot USING r WHERE hot.part = $1::bigint AND hot.rid = r.rid AND hot.sort_date = $16::bigint
    AND hot.hash = ANY($17::bigint[])
), h AS (
    INSERT INTO hot (part, hash, sort_date, rid)
    SELECT $1::bigint, u.hash, $8::bigint, r.rid FROM r, unnest($18::bigint[]) u (hash)
    ON CONFLICT DO NOTHING
)
INSERT INTO event (part, lane, seq, type, fid, version, method, updated, actor, cause, tx)
SELECT $1::bigint, $19::smallint, $20::bigint, $3::text, $4::text, $5::int, $9::text, $6::bigint, $21::text, $22::text,
    pg_current_xact_id()::text::bigint FROM r
RETURNING seq
"""

CLEAR_STRINGS = "DELETE FROM str WHERE part = $1 AND rid = $2"
CLEAR_DATES = "DELETE FROM dat WHERE part = $1 AND rid = $2"
CLEAR_AMOUNTS = "DELETE FROM num WHERE part = $1 AND rid = $2"
CLEAR_LINKS = "DELETE FROM link WHERE part = $1 AND rid = $2"
FILL_RANGES = """
WITH s AS (
    INSERT INTO str (part, rid, param, n, folded, raw)
    SELECT $1::bigint, $2::bigint, u.param, u.n, u.folded, u.raw
    FROM unnest($3::int[], $4::text[], $5::text[]) WITH ORDINALITY u (param, folded, raw, n)
), q AS (
    INSERT INTO num (part, rid, param, unit, lo, hi)
    SELECT $1::bigint, $2::bigint, u.param, u.unit, u.lo, u.hi
    FROM unnest($11::int[], $12::bigint[], $13::text[], $14::text[]) u (param, unit, lo, hi)
    ON CONFLICT DO NOTHING
), l AS (
    INSERT INTO link (part, rid, param, address)
    SELECT $1::bigint, $2::bigint, u.param, u.address FROM unnest($9::int[], $10::bigint[]) u (param, address)
    ON CONFLICT DO NOTHING
)
INSERT INTO dat (part, rid, param, lo, hi)
SELECT $1::bigint, $2::bigint, u.param, u.lo, u.hi FROM unnest($6::int[], $7::bigint[], $8::bigint[]) u (param, lo, hi)
ON CONFLICT DO NOTHING
"""
# How each of these tables is cleared, and where its values are: in the order of FILL_RANGES.
CLEARS: dict[str, Callable[[Rows], tuple[tuple[Any, ...], ...]]] = {
    CLEAR_STRINGS: attrgetter("strings"),
    CLEAR_DATES: attrgetter("dates"),
    CLEAR_LINKS: attrgetter("links"),
    CLEAR_AMOUNTS: attrgetter("amounts"),
}
_WIDTHS = (3, 3, 2, 4)
SHARE = """
UPDATE resource SET readers = $3, patient = $6, sharing = $7
WHERE part = $1 AND rid = $2 AND version = $4 AND readers = $5 AND patient = $8 AND sharing = $9 RETURNING rid
"""
LEAVE_STANDING = "DELETE FROM standing WHERE source = $1"
STAND = """
INSERT INTO standing (patient, who, bit, source, lo, hi) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
# A resource moves to another patient: its rows leave the old part, and its old versions come along.
LEAVE = """
DELETE FROM resource WHERE part = $1 AND rid = $2 AND version = $3 AND readers = $4
RETURNING version, type, fid, updated, method, body
"""
LEAVE_VERSIONS = """
DELETE FROM version WHERE part = $1 AND rid = $2 RETURNING version, type, fid, updated, method, body
"""
LEAVE_KEYS = "DELETE FROM hot WHERE part = $1 AND rid = $2 AND sort_date = $3 AND hash = ANY($4)"
ARRIVE = """
INSERT INTO version (part, rid, version, type, fid, updated, method, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
ENQUEUE = """
INSERT INTO outbox (part, lane, seq, consumer, type, fid, due, attempts, leased_until, state, error)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 'waiting', '')
"""
FINISH = "DELETE FROM outbox WHERE part = $1 AND lane = $2 AND seq = $3"
KEEP = """
INSERT INTO journal (part, seq, door, key, at, state, settled, cause, meta, answer, raw)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
SETTLE = """
UPDATE journal SET state = $3, answer = $4, cause = $5, settled = $6 WHERE part = $1 AND seq = $2 RETURNING seq
"""
NOTIFY = "SELECT pg_notify('hub', $1)"
EVENTS = ":"  # the message that says that there are events; any other is the name of a consumer


async def together(connection: Connection, writes: Sequence[Write | JournalRow]) -> None:
    """All of these commits in one transaction. Raises what any of them raises; then none of them happened."""
    entries = [_kept(one) for one in writes if isinstance(one, JournalRow)]
    commits = [one for one in writes if isinstance(one, Write)]
    postgres_past.refuse_late(commits)
    if not commits:
        await connection.executemany(KEEP, entries)
    elif not entries and all(map(_is_one_statement, commits)):
        await _create(connection, CREATE_TRACED, [_traced(one) for one in commits])
    else:
        async with connection.transaction():
            await connection.executemany(KEEP, entries)
            await _transaction(connection, commits)


def _is_one_statement(write: Write) -> bool:
    """One new resource with its trace, and nothing that lives elsewhere?"""
    rest: object = write.shared or write.claims or write.outbox or write.finished or write.settled or write.announced
    if rest or write.subscribers or len(write.puts) != 1 or len(write.traces) != 1:
        return False
    put = write.puts[0]
    return put.old is None and not put.index.standing and not postgres_claims.needs_locator(put)


async def _transaction(connection: Connection, writes: Sequence[Write]) -> None:
    puts = [put for write in writes for put in write.puts]
    await postgres_claims.claim(connection, [claim for write in writes for claim in write.claims])
    await _update(connection, writes)
    for write in writes:
        for put in write.puts:
            if put.old and put.old.part != put.row.part:
                await _move(connection, write, put)
    await postgres_claims.locate(connection, [put for put in puts if put.old is None])
    await _create(connection, CREATE, [_created(one, put) for one in writes for put in one.puts if put.old is None])
    await stand(connection, puts)
    await _share(connection, writes)
    await postgres_traces.insert(connection, [row for write in writes for row in write.traces])
    await _queues(connection, writes)


async def _create(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    try:
        if rows:
            await connection.executemany(statement, rows)
    except asyncpg.UniqueViolationError as problem:
        raise errors.Conflict(f"{rows[0][2]}/{rows[0][3]} existe déjà" if len(rows) == 1 else "id pris") from problem


async def _update(connection: Connection, writes: Sequence[Write]) -> None:
    puts = [(write, put) for write in writes for put in write.puts if put.old and put.old.part == put.row.part]
    if not puts:
        return
    puts.sort(key=lambda one: (one[1].row.part, one[1].row.rid))
    done = {found["seq"] for found in await connection.fetchmany(UPDATE, [_updated(*one) for one in puts])}
    for _, put in puts:
        if put.seq not in done:
            raise Moved(put.row.ref)
    await refill(connection, [(put, clears) for _, put in puts if (clears := _other_ranges(put))])


async def refill(connection: Connection, puts: Sequence[tuple[Put, Sequence[str]]]) -> None:
    """The range rows of resources that stay in their part, in place of those that the `CLEAR`s named take away."""
    if not puts:
        return
    for clear in CLEARS:
        await connection.executemany(clear, [(put.row.part, put.row.rid) for put, clears in puts if clear in clears])
    filled = []
    for put, clears in puts:
        values = [[*get(put.index)] if clear in clears else [] for clear, get in CLEARS.items()]
        filled.append((put.row.part, put.row.rid, *_columns(values)))
    await connection.executemany(FILL_RANGES, filled)


async def _move(connection: Connection, write: Write, put: Put) -> None:
    old, new = put.old, put.row
    assert old is not None
    left = await connection.fetch(LEAVE, old.part, old.rid, old.version, sorted(old.readers))
    if not left:
        raise Moved(new.ref)
    versions = await connection.fetch(LEAVE_VERSIONS, old.part, old.rid)
    await connection.execute(LEAVE_KEYS, old.part, old.rid, old.sort_date, list(old.eq))
    for clear in CLEARS:
        await connection.execute(clear, old.part, old.rid)
    await connection.executemany(ARRIVE, [(new.part, new.rid, *row) for row in [*versions, *left]])
    await postgres_claims.relocate(connection, new)
    await connection.executemany(CREATE, [_created(write, put)])


async def _share(connection: Connection, writes: Sequence[Write]) -> None:
    shared = sorted((one for write in writes for one in write.shared), key=lambda one: (one.row.part, one.row.rid))
    rows = [
        (
            *(one.row.part, one.row.rid, sorted(one.readers), one.row.version, sorted(one.row.readers)),
            *(one.patient, one.sharing, one.row.patient, one.row.sharing),
        )
        for one in shared
    ]
    done = {found["rid"] for found in await connection.fetchmany(SHARE, rows)} if rows else set()
    for one in shared:
        if one.row.rid not in done:
            raise Moved(one.row.ref)


async def stand(connection: Connection, puts: Sequence[Put]) -> None:
    """How people stand towards patients because of these versions, in place of those that they replace."""
    telling = [put for put in puts if put.row.type in facts.TYPES]
    if gone := sorted(put.row.rid for put in telling if put.old is not None):
        await connection.executemany(LEAVE_STANDING, [(one,) for one in gone])
    if rows := [(*one[:3], put.row.rid, *one[3:]) for put in telling for one in put.index.standing]:
        await connection.executemany(STAND, rows)


async def _queues(connection: Connection, writes: Sequence[Write]) -> None:
    work = [one for write in writes for one in write.outbox]
    if work:
        rows = [(one.part, one.lane, one.seq, one.consumer, one.type, one.fid, one.due) for one in work]
        await connection.executemany(ENQUEUE, rows)
    finished = sorted((done.part, done.lane, done.seq) for write in writes for done in write.finished)
    if finished:
        await connection.executemany(FINISH, finished)
    await postgres_notices.subscribe(connection, [one for write in writes for one in write.subscribers])
    ends = sorted((end for write in writes for end in write.settled), key=lambda end: (end.part, end.seq))
    if ends:
        settled = [(end.part, end.seq, end.state, end.answer, end.cause, end.at) for end in ends]
        if len(await connection.fetchmany(SETTLE, settled)) < len(settled):
            raise errors.NotFound("entrée de journal inconnue")
    messages = {one.consumer for one in work} | {EVENTS for write in writes if write.announced}
    if messages:
        await connection.executemany(NOTIFY, [(message,) for message in messages])


def _created(write: Write, put: Put) -> tuple[Any, ...]:
    row = put.row
    head = (row.part, row.rid, row.type, row.fid, row.version, row.updated, int(row.deleted), row.sort_date)
    keys = (row.method, row.generation, sorted(row.readers), list(row.eq), row.body, list(put.index.ordered))
    place = (ids.lane(row.part), put.seq, write.actor, write.cause, index.address(row.ref))
    columns = _columns(get(put.index) for get in CLEARS.values())
    return (*head, *keys, *columns[:6], *place, *columns[6:], words.tsvector(put.index.texts), row.patient, row.sharing)


def _traced(write: Write) -> tuple[Any, ...]:
    (put,), (trace,) = write.puts, write.traces
    return (*_created(write, put), *trace[:5], packed(trace.of), trace.of)


def _updated(write: Write, put: Put) -> tuple[Any, ...]:
    row, old = put.row, put.old
    assert old is not None
    head = (row.part, row.rid, row.type, row.fid, row.version, row.updated, int(row.deleted), row.sort_date)
    keys = (row.method, row.generation, sorted(row.readers), list(row.eq), row.body, old.version, sorted(old.readers))
    # All old keys that are not to stay: more than the ordered table holds, which does no harm.
    stays = set(put.index.ordered) if row.sort_date == old.sort_date else set[int]()
    known = put.before() if stays else None
    before = set(known.ordered) if known else set[int]()
    gone, new = set(old.eq) - stays, set(put.index.ordered) - before
    tail = (ids.lane(row.part), put.seq, write.actor, write.cause, words.tsvector(put.index.texts))
    under = (row.patient, row.sharing, old.patient, old.sharing)
    return (*head, *keys, old.sort_date, list(gone), list(new), *tail, *under)


def _columns(values: Iterable[Sequence[tuple[Any, ...]]]) -> list[list[Any]]:
    """The values of each table of ranges, column by column."""
    pairs = zip(values, _WIDTHS, strict=True)
    return [[row[n] for row in rows] for rows, width in pairs for n in range(width)]


def _other_ranges(put: Put) -> tuple[str, ...]:
    """How the tables are cleared in which it has other rows than before."""
    before = put.before()
    return tuple(clear for clear, get in CLEARS.items() if before is None or set(get(before)) != set(get(put.index)))


def _kept(row: JournalRow) -> tuple[Any, ...]:
    head = (row.part, row.seq, row.door, row.key, row.at, row.state)
    return (*head, row.settled, row.cause, row.meta, row.answer, row.raw)
