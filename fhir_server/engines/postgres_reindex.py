"""How do stored resources get the index rows of a newer program on PostgreSQL?

What is there is told by the row alone (its keys, its date), never computed from the body: an older program computed
otherwise. The row is written only while it is the version that was read.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.engines import postgres_write, words
from fhir_server.engines.connections import Connection
from fhir_server.rows import Outdated, Put

OUTDATED = """
SELECT r.generation, r.rid, r.type, r.fid, octet_length(r.body) FROM resource r
WHERE r.deleted = 0 AND r.generation < $1 AND (r.generation, r.rid) > ($2, $3) ORDER BY r.generation, r.rid LIMIT $4
"""
AGAIN = """
UPDATE resource SET sort_date = $3, generation = $4, eq = $5, words = $8::text::tsvector, patient = $9, sharing = $10
WHERE part = $1 AND rid = $2 AND version = $6 AND generation = $7 AND deleted = 0 RETURNING rid
"""
WARM = """
INSERT INTO hot (part, hash, sort_date, rid)
SELECT $1::bigint, u.hash, $3::bigint, $2::bigint FROM unnest($4::bigint[]) u (hash) ON CONFLICT DO NOTHING
"""


async def outdated(connection: Connection, generation: int, *, after: tuple[int, int], count: int) -> list[Outdated]:
    """In the order of their generation and number."""
    return [Outdated(*row) for row in await connection.fetch(OUTDATED, generation, *after, count)]


async def again(connection: Connection, puts: Sequence[Put]) -> int:
    """All of them, but those that changed meanwhile, in one transaction."""
    pairs = [(put, put.row, put.old) for put in puts if put.old]
    pairs.sort(key=lambda one: (one[1].part, one[1].rid))
    async with connection.transaction():
        values = [
            (
                *(new.part, new.rid, new.sort_date, new.generation, list(new.eq), old.version, old.generation),
                *(words.tsvector(put.index.texts), new.patient, new.sharing),
            )
            for put, new, old in pairs
        ]
        done = {row["rid"] for row in await connection.fetchmany(AGAIN, values)}
        made = [one for one in pairs if one[1].rid in done]
        await postgres_write.stand(connection, [put for put, _, _ in made])
        cold = [(old.part, old.rid, old.sort_date, list(old.eq)) for _, _, old in made]
        await connection.executemany(postgres_write.LEAVE_KEYS, cold)
        warm = [(new.part, new.rid, new.sort_date, list(put.index.ordered)) for put, new, _ in made]
        await connection.executemany(WARM, warm)
        await postgres_write.refill(connection, [(put, tuple(postgres_write.CLEARS)) for put, _, _ in made])
    return len(made)
