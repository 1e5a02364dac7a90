"""Where are traces kept on SQLite? (`audit.log.Kept`)"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

from common import errors
from fhir_server.audit.log import MODULUS, Emergency, Kept, Seal
from fhir_server.audit.trace import Ref, Row
from fhir_server.engines import sqlite_rows
from fhir_server.engines.sqlite_seen import packed, unpacked
from fhir_server.rights import standing

if TYPE_CHECKING:
    from fhir_server.engines.sqlite_writer import Writer

_PATIENT = "SELECT type, fid, patient FROM resource WHERE type = ? AND fid IN (SELECT value FROM json_each(?))"
_EMERGENCIES = (
    "SELECT patient, who, lo, hi FROM standing WHERE who IN (SELECT value FROM json_each(?)) AND bit = ? AND hi >= ?"
)
_FORGET = "DELETE FROM trace WHERE part = ? AND n = ?"
_FORGET_KEY = "DELETE FROM trace_of WHERE key = ? AND at = ? AND part = ? AND n = ?"
_FORGET_SEALS = "DELETE FROM seal WHERE part = ? AND k <= ?"
_SEALS = "SELECT part, k, at, numbers, mac FROM seal WHERE part = ? ORDER BY k"
_CHAINS = "SELECT part FROM trace UNION SELECT part FROM seal ORDER BY part"
_ROWS = "SELECT part, n, at, body, mac, keys FROM trace WHERE part = ? AND n > ? ORDER BY n LIMIT ?"
_SOME = (
    "SELECT part, n, at, body, mac, keys FROM trace WHERE part = ? AND n IN (SELECT value FROM json_each(?)) ORDER BY n"
)
# Of what leads to a row: one that points elsewhere hides it.
_FOUND_BY = (
    f"SELECT COUNT(*), COALESCE(SUM(o.key % {MODULUS}), 0), COALESCE(SUM(o.at % {MODULUS}), 0) "
    "FROM trace_of o CROSS JOIN trace t ON t.part = o.part AND t.n = o.n AND t.at = o.at"
)
_OF_KEY = (
    "SELECT o.at, o.part, o.n, t.body FROM trace_of o CROSS JOIN trace t ON t.part = o.part AND t.n = o.n "
    "WHERE o.key = ? AND o.at >= ? AND o.at <= ? AND (o.at, o.part, o.n) < (?, ?, ?) "
    "ORDER BY o.at DESC, o.part DESC, o.n DESC LIMIT ?"
)
_OF_ALL = (
    "SELECT at, part, n, body FROM trace WHERE at >= ? AND at <= ? AND (at, part, n) < (?, ?, ?) "
    "ORDER BY at DESC, part DESC, n DESC LIMIT ?"
)
LAST = (2**62, 2**62, 2**62)  # after every row

Fetch = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]


def insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Traces with the keys by which they are found."""
    sqlite_rows.insert(connection, "trace", [(*row[:5], packed(row.of)) for row in rows])
    keys = sorted((key, row.at, row.chain, row.n) for row in rows for key in row.of)
    sqlite_rows.insert(connection, "trace_of", keys)


class SqliteTraces:
    """`fetch` reads all rows of a statement, `connect` opens one more connection."""

    def __init__(self, fetch: Fetch, writer: Writer, connect: Callable[[], sqlite3.Connection]) -> None:
        self._fetch = fetch
        self._writer = writer
        self._connect = connect

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Kept]:
        """In one transaction that only reads."""
        try:
            connection = self._connect()
        except sqlite3.Error as problem:
            raise _unavailable() from problem

        def fetch(sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
            try:
                return connection.execute(sql, values).fetchall()
            except sqlite3.Error as problem:
                raise _unavailable() from problem

        with closing(connection):
            fetch("BEGIN", ())
            yield SqliteTraces(fetch, self._writer, self._connect)

    async def keep(self, rows: list[Row], seal: Seal) -> None:
        """Durable together when it returns."""

        def run(connection: sqlite3.Connection) -> None:
            insert(connection, rows)
            sqlite_rows.insert(connection, "seal", [seal])

        await self._writer.do(run)

    async def patients(self, refs: list[Ref]) -> dict[Ref, int]:
        """Whose these are."""
        by_type: dict[str, list[str]] = {}
        for type, id in refs:
            by_type.setdefault(type, []).append(id)
        found = [row for type, some in by_type.items() for row in self._fetch(_PATIENT, (type, json.dumps(some)))]
        return {(type, id): patient for type, id, patient in found if patient}

    async def emergencies(self, who: list[int], since: int) -> list[Emergency]:
        """Along the index by person."""
        return [Emergency(*row) for row in self._fetch(_EMERGENCIES, (json.dumps(who), standing.EMERGENCY, since))]

    async def forget(self, rows: list[Row], anchor: Seal | None) -> None:
        """In one job of the writing thread."""

        def run(connection: sqlite3.Connection) -> None:
            connection.executemany(_FORGET_KEY, [(key, row.at, row.chain, row.n) for row in rows for key in row.of])
            connection.executemany(_FORGET, [(row.chain, row.n) for row in rows])
            if anchor is not None:
                connection.execute(_FORGET_SEALS, (anchor.chain, anchor.k))
                sqlite_rows.insert(connection, "seal", [anchor])

        await self._writer.do(run)

    async def seals(self, chain: int) -> list[Seal]:
        """In order."""
        return [Seal(*row) for row in self._fetch(_SEALS, (chain,))]

    async def chains(self) -> list[int]:
        """Oldest first."""
        return [row[0] for row in self._fetch(_CHAINS, ())]

    async def rows(self, chain: int, numbers: list[int]) -> list[Row]:
        """In order."""
        return [_row(one) for one in self._fetch(_SOME, (chain, json.dumps(numbers)))]

    async def following(self, chain: int, after: int, count: int) -> list[Row]:
        """In order."""
        return [_row(one) for one in self._fetch(_ROWS, (chain, after, count))]

    async def found_by(self) -> tuple[int, int, int]:
        """In one pass."""
        count, keys, times = self._fetch(_FOUND_BY, ())[0]
        return count, keys, times

    async def found(
        self, key: int | None, span: tuple[int, int], *, before: tuple[int, int, int] | None, count: int
    ) -> list[tuple[int, int, int, bytes]]:
        """Newest first."""
        place = (*span, *(before or LAST), count)
        rows = self._fetch(_OF_ALL, place) if key is None else self._fetch(_OF_KEY, (key, *place))
        return [(at, chain, n, body) for at, chain, n, body in rows]


def _row(found: tuple[Any, ...]) -> Row:
    return Row(found[0], found[1], found[2], found[3], found[4], unpacked(found[5]))


def _unavailable() -> errors.Unavailable:
    return errors.Unavailable("la base ne répond pas ; réessayez")
