"""What does a hub put right by itself?

After it was replaced by a newer version, the index rows that the older one made: searches may miss such resources until
it is done, everything else works, and a hub that is stopped in between goes on at its next start. Every day, the traces
that were kept as long as is wanted.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from common import clock, errors
from common.events import Events, emit
from fhir_server import store
from fhir_server.audit import purge
from hub.room import Room

AGAIN_SECONDS = 30.0
DAY_SECONDS = 24 * 3600.0
_YEAR = timedelta(days=365.25)


async def run(record: store.Store) -> None:
    """Index again what is outdated, once; waits for a database that does not answer."""
    while True:
        try:
            if await record.is_outdated():
                emit(Events.HUB_020)
                made = await record.reindex(restful=True)
                emit(Events.HUB_022 if made.failed else Events.HUB_021, done=made.done, failed=made.failed)
            return
        except errors.Unavailable:
            await asyncio.sleep(AGAIN_SECONDS)


async def forget(room: Room) -> int:
    """Take away the traces that are older than `traces_years` (0: none are); how many. Raises Unavailable."""
    years, log = room.settings.traces_years, room.store.traces
    if years <= 0:
        return 0
    gone = await purge.run(log.kept, log.secret, clock.micros(room.now() - years * _YEAR))
    if gone:
        emit(Events.HUB_023, rows=gone)
    return gone


async def forget_daily(room: Room) -> None:
    """The same each day, for as long as the hub runs."""
    while True:
        try:
            await forget(room)
            await asyncio.sleep(DAY_SECONDS)
        except errors.Unavailable:
            await asyncio.sleep(AGAIN_SECONDS)
