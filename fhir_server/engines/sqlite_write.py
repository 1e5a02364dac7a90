"""How does one commit become rows on SQLite?

Runs in the writer thread, inside a savepoint. Each step of a statement gives the interpreter's lock away and has to win
it back, so the rows of one table, of all resources of a commit, go in together (`sqlite_rows.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter

from common import errors
from fhir_server import ids, index
from fhir_server.changes import Claim
from fhir_server.conditions import Rows
from fhir_server.engines import sqlite_notices, sqlite_rows, sqlite_traces
from fhir_server.engines.sqlite_seen import packed, reader_key
from fhir_server.rights import facts
from fhir_server.rows import JournalRow, Moved, Put, Row, Shared, Taken, Work, Write

# The readers too: somebody may have shared the resource meanwhile, which makes no new version.
_REPLACE = (
    "UPDATE resource SET part = ?, version = ?, updated = ?, deleted = ?, sort_date = ?, method = ?, generation = ?, "
    "readers = ?, patient = ?, sharing = ?, eq = ?, body = ? "
    "WHERE rid = ? AND version = ? AND readers = ? AND patient = ? AND sharing = ?"
)
_AGAIN = (
    "UPDATE resource SET sort_date = ?, generation = ?, patient = ?, sharing = ?, eq = ? "
    "WHERE rid = ? AND version = ? AND generation = ? AND deleted = 0 AND readers = ?"
)
_SHARE = (
    "UPDATE resource SET readers = ?, patient = ?, sharing = ? "
    "WHERE rid = ? AND version = ? AND readers = ? AND patient = ? AND sharing = ?"
)
_COLD = "DELETE FROM hot WHERE hash IN (SELECT value FROM json_each(?)) AND sort_date = ? AND rid = ?"
# The tables of ranges and references, and where their values are.
_RANGES: dict[str, Callable[[Rows], tuple[tuple[object, ...], ...]]] = {
    "str": attrgetter("strings"),
    "dat": attrgetter("dates"),
    "num": attrgetter("amounts"),
    "link": attrgetter("links"),
}
_THERE = {
    table: f"SELECT {columns} FROM {table} WHERE rid IN (SELECT value FROM json_each(?))"
    for table, columns in {
        "str": "rid, param, folded, raw",
        "dat": "rid, param, lo, hi",
        "num": "rid, param, unit, lo, hi",
        "link": "rid, param, address",
    }.items()
}
_TAKE_IN = (
    "DELETE FROM fulltext WHERE rowid IN (SELECT rid FROM words_waiting WHERE again = 1)",
    "INSERT INTO fulltext (rowid, narrative, displays, content) SELECT rid, narrative, displays, content "
    "FROM words_waiting WHERE narrative <> '' OR displays <> '' OR content <> ''",
    "DELETE FROM words_waiting",
)
_OUTBOX = (
    "INSERT INTO outbox (part, lane, seq, consumer, type, fid, due, attempts, leased_until, state, error) "
    "VALUES (?,?,?,?,?,?,?,0,0,'waiting','')"
)
_JOURNAL = (
    "INSERT INTO journal (part, seq, door, key, at, state, settled, cause, meta, answer, raw) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?)"
)
_CLAIM = "INSERT OR IGNORE INTO unique_key (part, key, type, fid) VALUES (?,?,?,?)"
_LEASE = """
    UPDATE outbox SET leased_until = ?3, attempts = attempts + 1 WHERE seq IN (
        SELECT o.seq FROM outbox o
        WHERE o.consumer = ?1 AND o.state = 'waiting' AND o.due <= ?2 AND o.leased_until <= ?2 AND NOT EXISTS (
            SELECT 1 FROM outbox e WHERE e.consumer = o.consumer AND e.lane = o.lane AND e.type = o.type
            AND e.fid = o.fid AND e.state = 'waiting' AND e.seq < o.seq)
        ORDER BY o.seq LIMIT ?4)
    RETURNING part, lane, seq, consumer, type, fid, attempts
"""


def write(connection: sqlite3.Connection, write: Write) -> None:
    """All rows of a commit. Raises Conflict, Taken, Moved, NotFound (a journal entry that is not there)."""
    for claim in write.claims:
        _claim(connection, claim)
    _puts(connection, [write])
    for shared in write.shared:
        _share(connection, shared)
    for one in write.outbox:
        values = (one.part, one.lane, one.seq, one.consumer, one.type, one.fid, one.due)
        connection.execute(_OUTBOX, values)
    for done in write.finished:
        connection.execute(
            "DELETE FROM outbox WHERE seq = ? AND lane = ? AND part = ?", (done.seq, done.lane, done.part)
        )
    sqlite_notices.subscribe(connection, write.subscribers)
    for end in write.settled:
        found = connection.execute(
            "UPDATE journal SET state = ?, answer = ?, cause = ?, settled = ? WHERE seq = ? AND part = ?",
            (end.state, end.answer, end.cause, end.at, end.seq, end.part),
        )
        if not found.rowcount:
            raise errors.NotFound("entrée de journal inconnue")


def again(connection: sqlite3.Connection, puts: Sequence[Put]) -> int:
    """The index rows of a newer program for versions that stay; one that changed meanwhile is left as it is."""
    made = []
    for put in puts:
        row, old = put.row, put.old
        if old is None:
            continue
        now = (row.sort_date, row.generation, row.patient, row.sharing, packed(row.eq))
        values = (*now, old.rid, old.version, old.generation)
        if connection.execute(_AGAIN, (*values, _packed(old.readers))).rowcount:
            _rekey(connection, row, old)
            made.append(put)
    _stand(connection, made)
    whole = [(put, tuple(_RANGES)) for put in made]
    _clear(connection, whole)
    _fill(connection, whole)
    sqlite_rows.insert(connection, "words_waiting", [(put.row.rid, 1, *put.index.texts) for put in made])
    return len(made)


def take_in(connection: sqlite3.Connection) -> None:
    """Put the words that wait into the index of full text."""
    for statement in _TAKE_IN:
        connection.execute(statement)


def keep(connection: sqlite3.Connection, row: JournalRow) -> None:
    """A new journal entry."""
    values = (row.part, row.seq, row.door, row.key, row.at, row.state, row.settled, row.cause, row.meta)
    connection.execute(_JOURNAL, (*values, row.answer, row.raw))


def lease(connection: sqlite3.Connection, consumer: str, count: int, *, now: int, until: int) -> list[Work]:
    """Take rows that are due, oldest first, one per resource."""
    found = connection.execute(_LEASE, (consumer, now, until, count)).fetchall()
    return sorted((Work(*row) for row in found), key=lambda work: work.seq)


def extend(connection: sqlite3.Connection, works: Sequence[Work], until: int) -> None:
    """Hold rows for longer, those whose lease has not passed to somebody else."""
    connection.executemany(
        "UPDATE outbox SET leased_until = ? WHERE seq = ? AND attempts = ? AND state = 'waiting' AND leased_until > 0",
        [(until, work.seq, work.attempts) for work in works],
    )


def release(connection: sqlite3.Connection, work: Work, due: int, error: str) -> None:
    """Give a row back, unless its lease has passed to somebody else."""
    connection.execute(
        "UPDATE outbox SET state = 'waiting', due = ?, error = ?, leased_until = 0 WHERE seq = ? AND attempts = ?",
        (due, error, work.seq, work.attempts),
    )


def park(connection: sqlite3.Connection, work: Work, error: str) -> None:
    """Make a row a dead letter, unless its lease has passed to somebody else."""
    connection.execute(
        "UPDATE outbox SET state = 'parked', error = ?, leased_until = 0 WHERE seq = ? AND attempts = ?",
        (error, work.seq, work.attempts),
    )


def only_puts(write: Write) -> bool:
    """Is it resource versions and nothing else, so that it may go in together with others (`put`)?"""
    return not (write.shared or write.claims or write.outbox or write.finished or write.settled or write.subscribers)


def put(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    """All rows of commits that are `only_puts`. Raises Conflict or Moved when one of them has to fail."""
    _puts(connection, writes)


def _puts(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    """The new versions with their index rows and events, table by table."""
    puts = [put for write in writes for put in write.puts]
    created = [put for put in puts if put.old is None]
    replaced = [(put, put.old) for put in puts if put.old is not None]
    _create(connection, [put.row for put in created])
    _replace(connection, replaced)
    keys = [(put.row, _keys(put.row)) for put in created]
    keys += [(put.row, _cool(connection, put.row, old)) for put, old in replaced]
    # Hashes are everywhere: in order, each page of the table is visited once.
    sqlite_rows.insert(connection, "hot", sorted((key, row.sort_date, row.rid) for row, some in keys for key in some))
    _stand(connection, puts)
    changed = _changed(connection, [put for put, _ in replaced])
    _clear(connection, changed)
    _fill(connection, [*((put, tuple(_RANGES)) for put in created), *changed])
    events: list[Sequence[object]] = []
    for write in writes:
        for put in write.puts:
            row = put.row
            event = (row.part, ids.lane(row.part), put.seq, row.type, row.fid, row.version, row.method, row.updated)
            events.append((*event, write.actor, write.cause))
    sqlite_rows.insert(connection, "event", events)
    sqlite_traces.insert(connection, [row for write in writes for row in write.traces])
    words = [(put.row.rid, 0, *put.index.texts) for put in created if any(put.index.texts)]
    words += [(put.row.rid, 1, *put.index.texts) for put, _ in replaced]  # nearly each change is one of some word
    sqlite_rows.insert(connection, "words_waiting", words)


def _stand(connection: sqlite3.Connection, puts: Iterable[Put]) -> None:
    """How people stand towards patients because of these versions, in place of those that they replace."""
    telling = [put for put in puts if put.row.type in facts.TYPES]
    if rids := [put.row.rid for put in telling if put.old is not None]:
        connection.execute("DELETE FROM standing WHERE source IN (SELECT value FROM json_each(?))", (_list(rids),))
    rows = [(*one[:3], put.row.rid, *one[3:]) for put in telling for one in put.index.standing]
    sqlite_rows.insert(connection, "standing", rows)


def _fill(connection: sqlite3.Connection, puts: Iterable[tuple[Put, Iterable[str]]]) -> None:
    """The rows of these resources in these tables, where they have none."""
    rows: dict[str, list[Sequence[object]]] = {table: [] for table in _RANGES}
    for put, tables in puts:
        for table in tables:
            values = _RANGES[table](put.index)
            if table == "str":
                values = tuple((param, n, folded, raw) for n, (param, folded, raw) in enumerate(put.index.strings))
            rows[table] += [(put.row.rid, *one) for one in values]
    for table, some in rows.items():
        sqlite_rows.insert(connection, table, some)


def _create(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    values = [
        (
            *(row.part, row.rid, row.type, row.fid, index.address(row.ref), row.version, row.updated, int(row.deleted)),
            *(row.sort_date, row.method, row.generation, _packed(row.readers), row.patient, row.sharing),
            *(packed(row.eq), row.body),
        )
        for row in rows
    ]
    try:
        sqlite_rows.insert(connection, "resource", values)
    except sqlite3.IntegrityError as problem:
        known = "SELECT 1 FROM resource WHERE type = ? AND fid = ? AND rid <> ?"
        taken = (row.ref for row in rows if connection.execute(known, (row.type, row.fid, row.rid)).fetchone())
        raise errors.Conflict(f"{next(taken, rows[0].ref)} existe déjà") from problem


def _replace(connection: sqlite3.Connection, puts: Sequence[tuple[Put, Row]]) -> None:
    """The new rows in place of the old ones, which become versions. Raises Moved."""
    for put, old in puts:
        row = put.row
        values = (row.part, row.version, row.updated, int(row.deleted), row.sort_date, row.method, row.generation)
        keys = (_packed(row.readers), row.patient, row.sharing, packed(row.eq), row.body)
        before = (old.rid, old.version, _packed(old.readers), old.patient, old.sharing)
        found = connection.execute(_REPLACE, (*values, *keys, *before))
        if not found.rowcount:
            raise Moved(row.ref)
    olds = [(old.rid, old.version, old.type, old.fid, old.updated, old.method, old.body) for _, old in puts]
    sqlite_rows.insert(connection, "version", olds)


def _changed(connection: sqlite3.Connection, puts: Sequence[Put]) -> list[tuple[Put, list[str]]]:
    """The tables of ranges and references in which these have other rows now than are there."""
    found: list[tuple[Put, list[str]]] = [(put, []) for put in puts]
    rids = _list(put.row.rid for put in puts)
    for table, values in _RANGES.items() if puts else ():
        there: dict[int, set[tuple[object, ...]]] = {}
        for rid, *row in connection.execute(_THERE[table], (rids,)):
            there.setdefault(rid, set()).add(tuple(row))
        for put, tables in found:
            if there.get(put.row.rid, set()) != set(values(put.index)):
                tables.append(table)
    return found


def _clear(connection: sqlite3.Connection, puts: Iterable[tuple[Put, Iterable[str]]]) -> None:
    """Take these resources out of these tables."""
    gone: dict[str, list[int]] = {table: [] for table in _RANGES}
    for put, tables in puts:
        for table in tables:
            gone[table].append(put.row.rid)
    for table, rids in gone.items():
        if rids:
            connection.execute(f"DELETE FROM {table} WHERE rid IN (SELECT value FROM json_each(?))", (_list(rids),))


def _rekey(connection: sqlite3.Connection, row: Row, old: Row) -> None:
    new = _cool(connection, row, old)
    sqlite_rows.insert(connection, "hot", sorted((key, row.sort_date, row.rid) for key in new))


def _cool(connection: sqlite3.Connection, row: Row, old: Row) -> set[int]:
    """Take the keys out of the ordered table that the row has no longer; those that it lacks there."""
    gone, new = _keys(old), _keys(row)
    if row.generation != old.generation:  # an older program may have kept any of its keys here, or none
        gone |= set(old.eq)
        gone -= new if row.sort_date == old.sort_date else set()
    elif row.sort_date == old.sort_date:
        gone, new = gone - new, new - gone
    if gone:
        connection.execute(_COLD, (_list(gone), old.sort_date, old.rid))
    return new


def _keys(row: Row) -> set[int]:
    """What the row is found by: its even equality keys (`keys.told`), and its readers' keys of its type.

    A tombstone keeps the latter: histories show it to whoever saw the resource (searches look for `deleted` besides).
    """
    return {*(one for one in row.eq if not one & 1), *(reader_key(row.type, one) for one in row.readers)}


def _list(keys: Iterable[int]) -> str:
    return f"[{','.join(map(str, keys))}]"


def _share(connection: sqlite3.Connection, shared: Shared) -> None:
    found = connection.execute(
        _SHARE,
        (
            *(_packed(shared.readers), shared.patient, shared.sharing, shared.row.rid, shared.row.version),
            *(_packed(shared.row.readers), shared.row.patient, shared.row.sharing),
        ),
    )
    if not found.rowcount:
        raise Moved(shared.row.ref)
    _rekey(connection, replace(shared.row, readers=shared.readers), shared.row)


def _packed(keys: Iterable[int]) -> bytes:
    return packed(sorted(keys))


def _claim(connection: sqlite3.Connection, claim: Claim) -> None:
    part = ids.hash64(claim.key)
    values = (part, claim.key, claim.type, claim.id)
    if connection.execute(_CLAIM, values).rowcount:
        return
    type, id = owner = _owner(connection, part, claim.key)
    if owner == (claim.type, claim.id):
        return
    deleted = connection.execute("SELECT 1 FROM resource WHERE type = ? AND fid = ? AND deleted = 1", owner).fetchone()
    if not deleted:
        raise Taken(claim.key, f"{type}/{id}")
    # Whoever held it was deleted: the key is free again.
    connection.execute("UPDATE unique_key SET type = ?, fid = ? WHERE part = ? AND key = ?", (*values[2:], *values[:2]))


def _owner(connection: sqlite3.Connection, part: int, key: str) -> tuple[str, str]:
    found: Sequence[str] = connection.execute(
        "SELECT type, fid FROM unique_key WHERE part = ? AND key = ?", (part, key)
    ).fetchone()
    return found[0], found[1]
