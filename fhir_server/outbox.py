"""Who does the work that a commit left behind, and what becomes of work that fails?

A commit enqueues rows for consumers (`mail`, …) in its own transaction. A consumer leases rows for a while, does the
work, and says in its next commit that the row is done (`changes.Finish`); a consumer that dies gives its rows back by
doing nothing. Work about one resource is handed out in order and one at a time. What cannot be done is postponed, and
in the end parked with its cause: a dead letter, which somebody looks at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from common import clock
from fhir_server import ids
from fhir_server.engine import Engine
from fhir_server.rows import Parked, Work


class Outbox:
    """The outbox part of a store."""

    def __init__(self, engine: Engine, now: clock.Clock) -> None:
        self._engine = engine
        self._now = now
        self._events: dict[str, asyncio.Event] = {}

    async def lease(self, consumer: str, count: int, seconds: float) -> list[Work]:
        """At most `count` rows that are due, for `seconds`; oldest first, of each resource only the oldest."""
        now = self._now()
        until = clock.micros(now + timedelta(seconds=seconds))
        return await self._engine.lease(consumer, count, now=clock.micros(now), until=until)

    async def extend(self, works: Sequence[Work], seconds: float) -> None:
        """Hold these rows for another `seconds` from now; a lease that has passed to another stays there."""
        if works:
            await self._engine.extend(works, clock.micros(self._now() + timedelta(seconds=seconds)))

    async def postpone(self, work: Work, due: datetime, error: str) -> None:
        """Try again at `due`; also takes a dead letter back. Nothing happens when the lease has passed to another."""
        await self._engine.release(work, clock.micros(due), error)

    async def park(self, work: Work, error: str) -> None:
        """Give up, and keep the row with its cause. Nothing happens when the lease has passed to another."""
        await self._engine.park(work, error)

    async def parked(self, limit: int = 100) -> list[Parked]:
        """Dead letters, oldest first."""
        return await self._queued(limit, "parked")

    async def waiting(self, limit: int = 100) -> list[Parked]:
        """What is to be done, or tried again, with the last error; oldest first."""
        return await self._queued(limit, "waiting")

    async def _queued(self, limit: int, state: str) -> list[Parked]:
        found = await self._engine.queued(limit, state)
        return [Parked(work, error, clock.from_micros(ids.milliseconds(work.seq) * 1000)) for work, error in found]

    def wake(self, consumer: str) -> asyncio.Event:
        """Set after each commit that enqueued for this consumer; clear it before you lease."""
        return self._events.setdefault(consumer, asyncio.Event())

    def woken(self, consumer: str) -> None:
        """Somebody enqueued for this consumer."""
        if event := self._events.get(consumer):
            event.set()
