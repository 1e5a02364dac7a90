"""Where are traces kept on PostgreSQL? (`audit.log.Kept`)"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fhir_server import index
from fhir_server.audit.log import MODULUS, Emergency, Kept, Seal
from fhir_server.audit.trace import Ref, Row
from fhir_server.engines.connections import Connection, Connections, translated
from fhir_server.engines.sqlite_seen import packed, unpacked
from fhir_server.rights import standing

# All of one chain, in one statement; `part` is the chain's number.
KEEP = """
WITH t AS (
    INSERT INTO trace (part, chain, n, at, body, mac, keys)
    SELECT $1::bigint, $1::bigint, u.n, u.at, u.body, u.mac, u.keys
    FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[]) u (n, at, body, mac, keys)
)
INSERT INTO trace_of (part, key, at, chain, n)
SELECT $1::bigint, u.key, u.at, $1::bigint, u.n FROM unnest($7::bigint[], $8::bigint[], $9::bigint[]) u (key, at, n)
"""
SEAL = "INSERT INTO seal (part, k, at, numbers, mac) VALUES ($1, $2, $3, $4, $5)"
PATIENTS = "SELECT type, fid, patient FROM resource WHERE address = ANY($1::bigint[]) AND patient <> 0"
EMERGENCIES = "SELECT patient, who, lo, hi FROM standing WHERE who = ANY($1::bigint[]) AND bit = $2 AND hi >= $3"
PARTS = "SELECT part, n FROM trace WHERE chain = $1 AND n = ANY($2::bigint[])"
FORGET = "DELETE FROM trace WHERE part = $1 AND chain = $2 AND n = $3"
FORGET_KEY = "DELETE FROM trace_of WHERE part = $1 AND key = $2 AND at = $3 AND chain = $4 AND n = $5"
FORGET_SEALS = "DELETE FROM seal WHERE part = $1 AND k <= $2"
SEALS = "SELECT part, k, at, numbers, mac FROM seal WHERE part = $1 ORDER BY k"
CHAINS = "SELECT chain FROM trace UNION SELECT part FROM seal ORDER BY 1"
ROWS = "SELECT chain, n, at, body, mac, keys FROM trace WHERE chain = $1 AND n > $2 ORDER BY n LIMIT $3"
SOME = "SELECT chain, n, at, body, mac, keys FROM trace WHERE chain = $1 AND n = ANY($2::bigint[]) ORDER BY n"
# Of what leads to a row: one that points elsewhere hides it.
FOUND_BY = f"""
SELECT COUNT(*), COALESCE(SUM(o.key % {MODULUS}), 0)::bigint, COALESCE(SUM(o.at % {MODULUS}), 0)::bigint
FROM trace_of o JOIN trace t ON t.part = o.part AND t.chain = o.chain AND t.n = o.n AND t.at = o.at
"""
OF_KEY = """
SELECT o.at, o.chain, o.n, t.body FROM trace_of o JOIN trace t ON t.part = o.part AND t.chain = o.chain AND t.n = o.n
WHERE o.key = $1 AND o.at >= $2 AND o.at <= $3 AND (o.at, o.chain, o.n) < ($4, $5, $6)
ORDER BY o.at DESC, o.chain DESC, o.n DESC LIMIT $7
"""
OF_ALL = """
SELECT at, chain, n, body FROM trace WHERE at >= $1 AND at <= $2 AND (at, chain, n) < ($3, $4, $5)
ORDER BY at DESC, chain DESC, n DESC LIMIT $6
"""
LAST = (2**62, 2**62, 2**62)  # after every row


async def insert(connection: Connection, rows: Sequence[Row]) -> None:
    """Traces with the keys by which they are found."""
    for chain in {row.chain for row in rows}:
        some = [row for row in rows if row.chain == chain]
        kept = [(row.n, row.at, row.body, row.mac, packed(row.of)) for row in some]
        found_by = [(key, row.at, row.n) for row in some for key in row.of]
        await connection.execute(
            KEEP, chain, *map(list, zip(*kept, strict=True)), *map(list, zip(*found_by, strict=True))
        )


class PostgresTraces:
    """On connections for look-ups, or on `one` alone."""

    def __init__(self, connections: Connections, one: Connection | None = None) -> None:
        self._connections = connections
        self._one = one

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Kept]:
        """In one transaction that only reads."""
        async with self._connections.one() as connection:
            with translated():
                transaction = connection.transaction(isolation="repeatable_read", readonly=True)
                await transaction.start()
            try:
                yield PostgresTraces(self._connections, connection)
            finally:
                with translated():
                    await transaction.rollback()

    async def keep(self, rows: list[Row], seal: Seal) -> None:
        """Durable together when it returns."""
        with translated():
            async with self._connections.one() as connection, connection.transaction():
                await insert(connection, rows)
                await connection.execute(SEAL, *seal)

    async def patients(self, refs: list[Ref]) -> dict[Ref, int]:
        """Whose these are."""
        wanted = set(refs)
        found = await self._fetch(PATIENTS, [index.address(f"{type}/{id}") for type, id in refs])
        return {(row[0], row[1]): row[2] for row in found if (row[0], row[1]) in wanted}

    async def emergencies(self, who: list[int], since: int) -> list[Emergency]:
        """Along the index by person."""
        return [Emergency(*row) for row in await self._fetch(EMERGENCIES, who, standing.EMERGENCY, since)]

    async def forget(self, rows: list[Row], anchor: Seal | None) -> None:
        """Each row where it lives."""
        with translated():
            async with self._connections.one() as connection, connection.transaction():
                for chain in {row.chain for row in rows}:
                    numbers = [row.n for row in rows if row.chain == chain]
                    part = {found[1]: found[0] for found in await connection.fetch(PARTS, chain, numbers)}
                    of = [(part[row.n], key, row.at, chain, row.n) for row in rows if row.n in part for key in row.of]
                    await connection.executemany(FORGET_KEY, of)
                    await connection.executemany(FORGET, [(home, chain, n) for n, home in part.items()])
                if anchor is not None:
                    await connection.execute(FORGET_SEALS, anchor.chain, anchor.k)
                    await connection.execute(SEAL, *anchor)

    async def seals(self, chain: int) -> list[Seal]:
        """In order."""
        return [Seal(*row) for row in await self._fetch(SEALS, chain)]

    async def chains(self) -> list[int]:
        """Oldest first."""
        return [row[0] for row in await self._fetch(CHAINS)]

    async def rows(self, chain: int, numbers: list[int]) -> list[Row]:
        """In order."""
        return [_row(one) for one in await self._fetch(SOME, chain, numbers)]

    async def following(self, chain: int, after: int, count: int) -> list[Row]:
        """In order."""
        return [_row(one) for one in await self._fetch(ROWS, chain, after, count)]

    async def found_by(self) -> tuple[int, int, int]:
        """In one pass."""
        (row,) = await self._fetch(FOUND_BY)
        return row[0], row[1], row[2]

    async def found(
        self, key: int | None, span: tuple[int, int], *, before: tuple[int, int, int] | None, count: int
    ) -> list[tuple[int, int, int, bytes]]:
        """Newest first."""
        place = (*span, *(before or LAST), count)
        rows = await (self._fetch(OF_ALL, *place) if key is None else self._fetch(OF_KEY, key, *place))
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        with translated():
            if self._one is not None:
                return list(await self._one.fetch(sql, *values))
            async with self._connections.one() as connection:
                return list(await connection.fetch(sql, *values))


def _row(found: Any) -> Row:
    return Row(found[0], found[1], found[2], found[3], found[4], unpacked(found[5]))
