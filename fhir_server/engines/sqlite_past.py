"""How is the history of a type, or of everything, read from SQLite?

`past.py` has the statement; here it is decided whether what the caller may see is collected first (`hot` has a key for
each reader of each type, tombstones included) or the indexes by moment are walked.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from fhir_server import access
from fhir_server.engines import past
from fhir_server.engines.searching import Statement
from fhir_server.engines.sqlite_search import DIALECT, FEW
from fhir_server.engines.sqlite_seen import reader_key
from fhir_server.rows import Memberships
from fhir_server.timeline import Asked, Found

_MOST_KEYS = 2000  # placeholders; beyond, a walk


def find(connection: sqlite3.Connection, asked: Asked, memberships: Memberships, *, few: int = FEW) -> Found:
    """One page; up to `few` resources that may be seen are collected, more are walked."""
    if len(asked.types) > 1:
        present = {row[0] for row in connection.execute(past.TYPES)}
        asked = replace(asked, types=tuple(one for one in asked.types if one in present))
    seen = Statement(DIALECT.mark)
    rows = ""
    by_reader = memberships is not None and access.reach(asked.types) != "shared"
    if memberships is not None and by_reader and len(asked.types) * len(memberships.keys) < _MOST_KEYS:
        keys = [reader_key(type, one) for type in asked.types for one in memberships.keys]
        rows = f"SELECT DISTINCT rid FROM hot WHERE hash IN ({', '.join(map(seen.arg, keys)) or 'NULL'})"
        counted = f"SELECT COUNT(*) FROM (SELECT 1 FROM ({rows} LIMIT {few}))"
        if connection.execute(counted, seen.args).fetchone()[0] == few:
            rows = ""
    select = past.Select(DIALECT, asked, memberships, rows)
    sql = select.sql(seen.args if rows else ())
    return past.page(asked, connection.execute(sql, select.statement.args).fetchall())
