"""How are the outbox and the journal read on PostgreSQL?

Queue reads name the lane by equality, so that they also work on a spread-out database, and skip rows that another
process holds. Lanes that have nothing to do are not visited.
"""

from __future__ import annotations

import random

from fhir_server.engines.connections import Connection
from fhir_server.rows import JournalRow, Work

LAST = "SELECT MAX(seq) FROM (SELECT seq FROM event ORDER BY tx DESC LIMIT 1000) newest"
LANES = """
SELECT DISTINCT lane FROM outbox WHERE consumer = $1 AND state = 'waiting' AND due <= $2 AND leased_until <= $2
"""
LEASE = """
WITH picked AS (
    SELECT o.part, o.seq FROM outbox o
    WHERE o.lane = $1 AND o.consumer = $2 AND o.state = 'waiting' AND o.due <= $3 AND o.leased_until <= $3
    AND NOT EXISTS (
        SELECT 1 FROM outbox e WHERE e.lane = $1 AND e.consumer = $2 AND e.type = o.type AND e.fid = o.fid
        AND e.state = 'waiting' AND e.seq < o.seq)
    ORDER BY o.seq LIMIT $5 FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox SET leased_until = $4, attempts = outbox.attempts + 1 FROM picked
WHERE outbox.lane = $1 AND outbox.part = picked.part AND outbox.seq = picked.seq
RETURNING outbox.part, outbox.lane, outbox.seq, outbox.consumer, outbox.type, outbox.fid, outbox.attempts
"""
EXTEND = """
UPDATE outbox SET leased_until = $5
WHERE part = $1 AND lane = $2 AND seq = $3 AND attempts = $4 AND state = 'waiting' AND leased_until > 0
"""
RELEASE = """
UPDATE outbox SET state = 'waiting', due = $5, error = $6, leased_until = 0
WHERE part = $1 AND lane = $2 AND seq = $3 AND attempts = $4
"""
PARK = """
UPDATE outbox SET state = 'parked', error = $5, leased_until = 0
WHERE part = $1 AND lane = $2 AND seq = $3 AND attempts = $4
"""
QUEUED = """
SELECT part, lane, seq, consumer, type, fid, attempts, error FROM outbox WHERE state = $1 ORDER BY seq LIMIT $2
"""
_JOURNAL = "SELECT part, seq, door, key, at, state, settled, cause, meta, answer, raw FROM journal WHERE "
BY_KEY = _JOURNAL + "door = $1 AND key = $2 ORDER BY (state = 'accepted') DESC, seq DESC LIMIT $3"
BY_NUMBER = _JOURNAL + "part = $1 AND seq = $2 LIMIT $3"
BY_STATE = _JOURNAL + "state = $1 ORDER BY at DESC, seq DESC LIMIT $2"
BY_TIME = _JOURNAL + "TRUE ORDER BY at DESC, seq DESC LIMIT $1"


async def lease(connection: Connection, consumer: str, count: int, *, now: int, until: int) -> list[Work]:
    """Take rows that are due, oldest first in each lane, one per resource."""
    lanes = [row["lane"] for row in await connection.fetch(LANES, consumer, now)]
    random.shuffle(lanes)  # several processes start at different ends
    taken: list[Work] = []
    for lane in lanes:
        rows = await connection.fetch(LEASE, lane, consumer, now, until, count - len(taken))
        taken += [Work(*row) for row in rows]
        if len(taken) >= count:
            break
    return sorted(taken, key=lambda work: work.seq)


def place(work: Work) -> tuple[int, int, int, int]:
    """Which row, and that it is still ours."""
    return work.part, work.lane, work.seq, work.attempts


async def journal_rows(
    connection: Connection,
    *,
    key: tuple[str, str] | None,
    id: tuple[int, int] | None,
    state: str | None,
    count: int,
) -> list[JournalRow]:
    """By (door, key): accepted ones first; by (part, seq); else all of a state: each newest first."""
    if key:
        rows = await connection.fetch(BY_KEY, *key, count)
    elif id:
        rows = await connection.fetch(BY_NUMBER, *id, count)
    elif state:
        rows = await connection.fetch(BY_STATE, state, count)
    else:
        rows = await connection.fetch(BY_TIME, count)
    return [JournalRow(*row) for row in rows]
