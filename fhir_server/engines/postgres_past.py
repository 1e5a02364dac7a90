"""How is the history of a type, or of everything, read from PostgreSQL, and up to when is it complete?

`past.py` has the statement. What the caller may see is collected first when the planner's estimate says that it is
little (EXPLAIN, nothing is read); else the indexes by moment are walked.

A version carries the moment at which its commit was prepared, and is committed later, perhaps by another process.
Nobody begins to write what was prepared more than `LATEST_SECONDS` ago (it is prepared again), and the server says
since when the oldest transaction of a writer has been open: what is older than both is there for good.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace

from fhir_server.engines import past
from fhir_server.engines.connections import Connection
from fhir_server.engines.postgres_search import DIALECT, FEW
from fhir_server.engines.searching import Statement
from fhir_server.rows import Memberships, Moved, Write
from fhir_server.timeline import Asked, Found

# What the writers' connections are called in pg_stat_activity.
WRITER = "spico-hub-writer"
LATEST_SECONDS = 4.0
# A little more, for the clocks of several machines.
MARGIN_MICROS = 5_000_000

OLDEST_WRITER = f"""
SELECT (EXTRACT(EPOCH FROM clock_timestamp() - MIN(xact_start)) * 1000000)::bigint FROM pg_stat_activity
WHERE application_name = '{WRITER}' AND datname = current_database()
"""


async def find(connection: Connection, asked: Asked, memberships: Memberships, *, few: int = FEW) -> Found:
    """One page; up to `few` estimated resources that may be seen are collected, more are walked."""
    if len(asked.types) > 1:
        present = {row[0] for row in await connection.fetch(past.TYPES)}
        asked = replace(asked, types=tuple(one for one in asked.types if one in present))
    seen, rows = Statement(DIALECT.mark), ""
    if memberships is not None:
        rows = f"SELECT r.part, r.rid FROM resource r WHERE {DIALECT.readers(memberships, seen, asked.types)}"
        plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {rows}", *seen.args))
        if plan[0]["Plan"]["Plan Rows"] > few:
            rows = ""
    select = past.Select(DIALECT, asked, memberships, rows)
    sql = select.sql(seen.args if rows else ())
    return past.page(asked, await connection.fetch(sql, *select.statement.args))


async def settled(connection: Connection, now: int) -> int:
    """The moment up to which everything has been committed, when it is `now`."""
    return now - (await connection.fetchval(OLDEST_WRITER) or 0) - MARGIN_MICROS


def refuse_late(writes: Iterable[Write]) -> None:
    """Raises Moved, so that the store prepares it again, for a commit that has waited too long to begin."""
    latest = time.monotonic() - LATEST_SECONDS
    for write in writes:
        if write.begun < latest and write.puts:
            raise Moved(write.puts[0].row.ref)
