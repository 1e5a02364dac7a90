"""Which number do the ids of this process carry, when others work on the same database?

A number belongs to whoever holds its lock on the server, for as long as the connection that took it lives: a process
that is killed gives it back by itself. Commands, several machines and several hubs need not know of each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from common import errors
from fhir_server import ids
from fhir_server.engines.connections import Connection, Connections, translated

LOCKS = 1_213_547_087  # ours among the locks of a database
TAKE = "SELECT pg_try_advisory_lock($1, $2)"
HELD = """
SELECT COUNT(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.classid = $1 AND d.datname = current_database()
"""
_AGAIN_SECONDS, _CLOSE_SECONDS = 1.0, 2.0


class Number:
    """One number from 0 to 255, ours alone on this database until `close`."""

    def __init__(self, connections: Connections, preferred: int) -> None:
        self.value = preferred
        self.changed: Callable[[int], None] = lambda _: None
        self._connections = connections
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def claim(self) -> None:
        """Take the number that is preferred, or the next that is free. Raises Unavailable."""
        await self._take()
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Give it back."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None and not self._connection.is_closed():
            with suppress(TimeoutError):
                await self._connection.close(timeout=_CLOSE_SECONDS)

    async def _take(self) -> None:
        connection = await self._connections.connect()
        try:
            with translated():
                self.value = await _free(connection, self.value)
        except BaseException:
            connection.terminate()
            raise
        self._lost.clear()
        self._connection = connection
        connection.add_termination_listener(lambda _: self._lost.set())
        if connection.is_closed():
            self._lost.set()

    async def _keep(self) -> None:
        """The server may have been away: take the number again, or another one when somebody was quicker."""
        while True:
            await self._lost.wait()
            before = self.value
            try:
                await self._take()
            except errors.Unavailable:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if self.value != before:
                self.changed(self.value)


async def _free(connection: Connection, preferred: int) -> int:
    number: int
    for number in (*range(preferred, ids.WORKERS), *range(preferred)):
        if await connection.fetchval(TAKE, LOCKS, number):
            return number
    raise errors.Unavailable(f"plus de {ids.WORKERS} processus sur cette base ; arrêtez-en")
