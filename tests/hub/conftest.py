"""A room on a fresh SQLite record with the small region in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from common import clock
from hub import database, room, serve, settings
from hub.seed import small


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[room.Room]:
    config = settings.Settings(data=tmp_path, demo=True)
    database.prepare(config)
    async with serve.opened(config) as opened:
        await small.fill(opened.store, clock.system())
        yield opened
