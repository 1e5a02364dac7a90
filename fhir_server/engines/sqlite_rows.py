"""How do many rows go into one SQLite table in few steps?

A step of the library gives the interpreter's lock away and has to win it back, which waits while another thread
computes: one step for each row made a bulk load wait more than it wrote. So a statement carries as many rows as there
are, up to a bound; statements of the same size are prepared once (the connection's cache).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

# Each exact number of rows up to _FEW has a statement of its own; more are cut into pieces of _MANY.
_FEW, _MANY = 48, 480

# table -> its columns; those with a verb of their own may be given the same row, or key, twice.
_COLUMNS = {
    "resource": (
        "part, rid, type, fid, address, version, updated, deleted, sort_date, method, generation, readers, "
        "patient, sharing, eq, body"
    ),
    "version": "rid, version, type, fid, updated, method, body",
    "hot": "hash, sort_date, rid",
    "str": "rid, param, n, folded, raw",
    "dat": "rid, param, lo, hi",
    "num": "rid, param, unit, lo, hi",
    "link": "rid, param, address",
    "trace": "part, n, at, body, mac, keys",
    "trace_of": "key, at, part, n",
    "seal": "part, k, at, numbers, mac",
    "standing": "patient, who, bit, source, lo, hi",
    "words_waiting": "rid, again, narrative, displays, content",
    "event": "part, lane, seq, type, fid, version, method, updated, actor, cause",
}
_VERBS = dict.fromkeys(("hot", "dat", "num", "link", "standing"), "INSERT OR IGNORE") | {
    "words_waiting": "INSERT OR REPLACE"
}


def insert(connection: sqlite3.Connection, table: str, rows: Sequence[Sequence[object]]) -> None:
    """All of these rows. Raises sqlite3.IntegrityError; then some of them may be there."""
    begin, count = 0, len(rows)
    while begin < count:
        left = count - begin
        size = left if left <= _FEW else _MANY if left >= _MANY else _FEW
        values = [value for row in rows[begin : begin + size] for value in row]
        connection.execute(_statement(table, size), values)
        begin += size


@lru_cache(maxsize=1024)
def _statement(table: str, count: int) -> str:
    columns = _COLUMNS[table]
    row = f"({','.join('?' * (columns.count(',') + 1))})"
    return f"{_VERBS.get(table, 'INSERT')} INTO {table} ({columns}) VALUES {','.join([row] * count)}"
