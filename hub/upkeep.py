"""What does a hub put right by itself after it was replaced by a newer version?

Index rows that the older one made. Searches may miss such resources until it is done, everything else works; a hub
that is stopped in between goes on at its next start.
"""

from __future__ import annotations

import asyncio

from common import errors
from common.events import Events, emit
from fhir_server import store

AGAIN_SECONDS = 30.0


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
