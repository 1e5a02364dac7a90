"""How does one process hear what the others committed?

NOTIFY wakes, the event table tells. A number in the log may be committed after a higher one, so the log is read by
transaction: what was written by transactions at or above the oldest one that was still open at the last look, less what
was delivered already. Nothing is missed, nothing comes twice, and a long transaction delays nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from common import errors
from fhir_server import ids
from fhir_server.engines.connections import Connection, Connections, translated
from fhir_server.engines.postgres_number import Number
from fhir_server.engines.postgres_write import EVENTS
from fhir_server.rows import Event

HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
NEWS = """
SELECT e.seq, e.type, e.fid, e.version, e.method, COALESCE(r.readers, '{}') AS readers,
    COALESCE(r.patient, 0) AS patient, COALESCE(r.sharing, 0)::int AS sharing,
    COALESCE(CASE WHEN r.version = e.version THEN r.body ELSE v.body END, ''::bytea) AS body,
    e.tx, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon
FROM event e
LEFT JOIN resource r ON r.part = e.part AND r.type = e.type AND r.fid = e.fid
LEFT JOIN version v ON v.part = r.part AND v.rid = r.rid AND v.version = e.version
WHERE e.tx >= $1 AND e.type = ANY($2) ORDER BY e.tx, e.seq
"""
_AGAIN_SECONDS = 2.0


class Follower:
    """Listens on a connection of its own while it runs; comes back by itself when that is lost."""

    def __init__(self, connections: Connections, number: Number) -> None:
        self._connections = connections
        self._number = number
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._horizon = 0
        self._delivered: set[int] = set()

    def start(
        self, woken: Callable[[str], None], events: Callable[[list[Event]], None], types: tuple[str, ...]
    ) -> None:
        """`woken(consumer)` and `events(list)` are called in the event loop from now on."""
        self._woken, self._events, self._types = woken, events, types
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except errors.Unavailable:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen(self) -> None:
        connection = await self._connections.connect()
        try:
            with translated():
                connection.add_termination_listener(lambda _: self._news.set())
                await connection.add_listener("hub", self._hear)
                if not self._horizon:
                    self._horizon = await connection.fetchval(HORIZON)
                while not connection.is_closed():
                    await self._tell(connection)
                    await self._news.wait()
                    self._news.clear()
        finally:
            connection.terminate()

    def _hear(self, _connection: Connection, _process: int, _channel: str, message: str) -> None:
        if message == EVENTS:
            self._news.set()
        else:
            self._woken(message)

    async def _tell(self, connection: Connection) -> None:
        rows = await connection.fetch(NEWS, self._horizon, self._types)
        if not rows:
            return
        horizon = rows[0]["horizon"]
        fresh = [
            _event(row)
            for row in rows
            if row["seq"] not in self._delivered and ids.worker(row["seq"]) != self._number.value
        ]
        self._delivered = {row["seq"] for row in rows if row["tx"] >= horizon}
        self._horizon = horizon
        if fresh:
            self._events(fresh)


def _event(row: Any) -> Event:
    seq, type, id, version, method, readers, patient, sharing, body, *_ = row
    return Event(seq, type, id, version, method, frozenset(readers), patient, sharing, body)
