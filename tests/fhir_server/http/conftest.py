"""A FHIR server over a fresh record, and clients that ask as different callers."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import psycopg
import pytest
import pytest_asyncio

from fhir_server import app, store, tables
from fhir_server.r4 import load
from hub.migrations import run as migrations
from tests.fhir_server.http.callers import OPERATIONS, authenticate
from tests.fhir_server.http.samples import BASE

Client = httpx.AsyncClient


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "record.sqlite"
    migrations.upgrade(path)
    return path


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path, empty_record: Path) -> str:
    """An empty record: SQLite, or PostgreSQL where a test is parametrized with `callers.ENGINES`."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return str(shutil.copy(empty_record, tmp_path / "record.sqlite"))
    address: str = request.getfixturevalue("postgres_database")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(tables.schema('postgresql').tables)}")
    return address


@pytest_asyncio.fixture
async def record(database: str, definitions: load.Definitions) -> AsyncIterator[store.Store]:
    opened = await store.Store.open(database, definitions, base=BASE)
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
