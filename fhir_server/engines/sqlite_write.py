"""How does one commit become rows on SQLite?

Runs in the writer thread, inside a savepoint. Each statement is one step of the library: a step gives the interpreter's
lock away and has to win it back, so the rows of one table go in together (`json_each`), not one by one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from common import errors
from fhir_server import ids
from fhir_server.changes import Claim
from fhir_server.conditions import Rows
from fhir_server.engines.sqlite_search import packed, reader_key
from fhir_server.rows import JournalRow, Moved, Put, Row, Shared, Taken, Work, Write

_RESOURCE = (
    "INSERT INTO resource (part, rid, type, fid, version, updated, deleted, sort_date, method, generation, readers, "
    "eq, body) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
# The readers too: somebody may have shared the resource meanwhile, which makes no new version.
_REPLACE = (
    "UPDATE resource SET part = ?, version = ?, updated = ?, deleted = ?, sort_date = ?, method = ?, generation = ?, "
    "readers = ?, eq = ?, body = ? WHERE rid = ? AND version = ? AND readers = ?"
)
_VERSION = "INSERT INTO version (rid, version, type, fid, updated, method, body) VALUES (?,?,?,?,?,?,?)"
_HOT = "INSERT OR IGNORE INTO hot (hash, sort_date, rid) SELECT value, ?, ? FROM json_each(?)"
_COLD = "DELETE FROM hot WHERE hash IN (SELECT value FROM json_each(?)) AND sort_date = ? AND rid = ?"
_STR = (
    "INSERT INTO str (rid, param, n, folded, raw) "
    "SELECT ?, value ->> 0, key, value ->> 1, value ->> 2 FROM json_each(?)"
)
_DAT = (
    "INSERT OR IGNORE INTO dat (rid, param, lo, hi) SELECT ?, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)"
)
_WORDS = "INSERT OR REPLACE INTO words_waiting (rid, again, narrative, displays, content) VALUES (?,?,?,?,?)"
_TAKE_IN = (
    "DELETE FROM fulltext WHERE rowid IN (SELECT rid FROM words_waiting WHERE again = 1)",
    "INSERT INTO fulltext (rowid, narrative, displays, content) SELECT rid, narrative, displays, content "
    "FROM words_waiting WHERE narrative <> '' OR displays <> '' OR content <> ''",
    "DELETE FROM words_waiting",
)
_EVENT = (
    "INSERT INTO event (part, lane, seq, type, fid, version, method, updated, actor, cause) "
    "VALUES (?,?,?,?,?,?,?,?,?,?)"
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
    for put in write.puts:
        if put.old is None:
            _create(connection, put)
        else:
            _replace(connection, put, put.old)
        row = put.row
        event = (row.part, ids.lane(row.part), put.seq, row.type, row.fid, row.version, row.method, row.updated)
        connection.execute(_EVENT, (*event, write.actor, write.cause))
    for shared in write.shared:
        _share(connection, shared)
    for one in write.outbox:
        values = (one.part, one.lane, one.seq, one.consumer, one.type, one.fid, one.due)
        connection.execute(_OUTBOX, values)
    for done in write.finished:
        connection.execute(
            "DELETE FROM outbox WHERE seq = ? AND lane = ? AND part = ?", (done.seq, done.lane, done.part)
        )
    for end in write.settled:
        found = connection.execute(
            "UPDATE journal SET state = ?, answer = ?, cause = ?, settled = ? WHERE seq = ? AND part = ?",
            (end.state, end.answer, end.cause, end.at, end.seq, end.part),
        )
        if not found.rowcount:
            raise errors.NotFound("entrée de journal inconnue")


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


def _create(connection: sqlite3.Connection, put: Put) -> None:
    row = put.row
    values = (
        row.part,
        row.rid,
        row.type,
        row.fid,
        row.version,
        row.updated,
        int(row.deleted),
        row.sort_date,
        row.method,
    )
    try:
        connection.execute(_RESOURCE, (*values, row.generation, _packed(row.readers), packed(row.eq), row.body))
    except sqlite3.IntegrityError as problem:
        raise errors.Conflict(f"{row.ref} existe déjà") from problem
    _add_keys(connection, row, _keys(row))
    _add_ranges(connection, row, put.index)
    if any(put.index.texts):
        connection.execute(_WORDS, (row.rid, 0, *put.index.texts))


def _replace(connection: sqlite3.Connection, put: Put, old: Row) -> None:
    row = put.row
    values = (row.part, row.version, row.updated, int(row.deleted), row.sort_date, row.method, row.generation)
    keys = (_packed(row.readers), packed(row.eq))
    found = connection.execute(_REPLACE, (*values, *keys, row.body, old.rid, old.version, _packed(old.readers)))
    if not found.rowcount:
        raise Moved(row.ref)
    before = (old.rid, old.version, old.type, old.fid, old.updated, old.method, old.body)
    connection.execute(_VERSION, before)
    _rekey(connection, row, old)
    if put.old_index is None or _ranges(put.old_index) != _ranges(put.index):
        connection.execute("DELETE FROM str WHERE rid = ?", (row.rid,))
        connection.execute("DELETE FROM dat WHERE rid = ?", (row.rid,))
        _add_ranges(connection, row, put.index)
    if put.old_index is None or put.old_index.texts != put.index.texts:
        connection.execute(_WORDS, (row.rid, 1, *put.index.texts))


def _rekey(connection: sqlite3.Connection, row: Row, old: Row) -> None:
    gone, new = _keys(old), _keys(row)
    if row.sort_date == old.sort_date:
        gone, new = gone - new, new - gone
    if gone:
        connection.execute(_COLD, (_list(gone), old.sort_date, old.rid))
    if new:
        _add_keys(connection, row, new)


def _keys(row: Row) -> set[int]:
    """What the row is found by: its equality keys, and its readers' keys of its type."""
    return set() if row.deleted else {*row.eq, *(reader_key(row.type, one) for one in row.readers)}


def _add_keys(connection: sqlite3.Connection, row: Row, keys: Iterable[int]) -> None:
    connection.execute(_HOT, (row.sort_date, row.rid, _list(keys)))


def _add_ranges(connection: sqlite3.Connection, row: Row, index: Rows) -> None:
    if index.strings:
        connection.execute(_STR, (row.rid, json.dumps(index.strings)))
    if index.dates:
        connection.execute(_DAT, (row.rid, json.dumps(index.dates)))


def _ranges(index: Rows) -> tuple[set[tuple[int, str, str]], set[tuple[int, int, int]]]:
    return set(index.strings), set(index.dates)


def _list(keys: Iterable[int]) -> str:
    return f"[{','.join(map(str, keys))}]"


def _share(connection: sqlite3.Connection, shared: Shared) -> None:
    found = connection.execute(
        "UPDATE resource SET readers = ? WHERE rid = ? AND version = ? AND readers = ?",
        (_packed(shared.readers), shared.row.rid, shared.row.version, _packed(shared.row.readers)),
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
