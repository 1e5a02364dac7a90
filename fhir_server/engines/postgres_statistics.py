"""Does PostgreSQL know how many rows there are and how rare each key is?

Its own daemon looks once a minute. Between an empty table and that look, a bulk load would leave the planner with plans
for a few rows; so whoever has written as many rows as were there before asks for statistics at once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from common import errors
from fhir_server.engines.connections import Connections, translated

KNOWN = "SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = 'resource'::regclass"
ANALYZE = "ANALYZE resource, hot, str, dat, num"
_FIRST = 500


class Statistics:
    """Counts what this process creates."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._known = 0
        self._new = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self, known: int) -> None:
        """So many rows are in the statistics."""
        self._known = known

    def wrote(self, rows: int) -> None:
        """So many rows were created."""
        self._new += rows
        if self._new >= max(_FIRST, self._known) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._analyze())

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._task:
            await self._task

    async def _analyze(self) -> None:
        counted, self._new = self._new, 0
        with suppress(errors.Unavailable), translated():  # the next rows will ask again
            async with self._connections.one() as connection:
                await connection.execute(ANALYZE)
                self._known += counted
