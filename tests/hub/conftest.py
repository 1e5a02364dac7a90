"""A room on a fresh SQLite record with the small region in it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common import clock
from hub import database, room, serve, settings, signin, terms
from hub.seed import small


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the small region, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("seeded")
    config = settings.Settings(data=folder, demo=True)
    database.prepare(config)

    async def fill() -> None:
        async with serve.opened(config) as opened:
            await small.fill(opened.store, clock.system())

    asyncio.run(fill())
    accepted, version = database.acceptances_of(config), terms.text(config).version
    for name in small.PERSONAS:
        accepted.accept(signin.persona(name).person, version)
    return folder


@pytest.fixture
async def hub(seeded: Path, tmp_path: Path) -> AsyncIterator[room.Room]:
    shutil.copytree(seeded, tmp_path, dirs_exist_ok=True)
    async with serve.opened(settings.Settings(data=tmp_path, demo=True)) as opened:
        yield opened
