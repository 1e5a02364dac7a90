"""A FHIR server over a fresh SQLite record, and clients that ask as different callers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from fhir_server import app, store
from fhir_server.r4 import load
from hub.migrations import run as migrations
from tests.fhir_server.http.callers import OPERATIONS, authenticate
from tests.fhir_server.http.samples import BASE

Client = httpx.AsyncClient


@pytest.fixture(scope="session")
def definitions() -> load.Definitions:
    return load.definitions()


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "record.sqlite"
    migrations.upgrade(path)
    return path


@pytest_asyncio.fixture
async def record(tmp_path: Path, empty_record: Path, definitions: load.Definitions) -> AsyncIterator[store.Store]:
    path = tmp_path / "record.sqlite"
    await asyncio.to_thread(shutil.copy, empty_record, path)
    opened = await store.Store.open(path, definitions, base=BASE)
    yield opened
    await opened.close()


@pytest.fixture
def fhir_app(record: store.Store) -> app.App:
    return app.build_app(record, authenticate=authenticate, operations=OPERATIONS, max_body=1024 * 1024)


@pytest_asyncio.fixture
async def as_(fhir_app: app.App) -> AsyncIterator[Callable[..., Client]]:
    """A client for a caller: `as_("nadia")`."""
    transport = httpx.ASGITransport(fhir_app, raise_app_exceptions=True)
    opened: list[Client] = []

    def client(name: str) -> Client:
        headers = {"Authorization": f"Bearer {name}"}
        # Without a slash at the end, httpx puts one there and joins paths below it.
        one = Client(transport=transport, base_url=BASE, headers=headers)
        opened.append(one)
        return one

    yield client
    for one in opened:
        await one.aclose()


@pytest.fixture
def fhir(as_: Callable[..., Client]) -> Client:
    """A client that may do everything."""
    return as_("system")
