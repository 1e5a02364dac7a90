"""A software whose registration has ended opens nothing, also with what it was just being given."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from common import errors
from hub import database, settings
from identity import tables, tokens
from tests.hub.test_oauth import EC, Place, jwks


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    config = settings.Settings(data=tmp_path)
    database.prepare(config)
    engine = database.engine(config)
    yield Place(engine)
    engine.dispose()


async def test_a_software_that_is_removed_while_it_asks_gets_nothing(place: Place) -> None:
    mint = place.tokens.mint

    def late(*given: Any, **more: Any) -> str:
        place.clients.remove(place.software.id)  # after the statement was believed
        return mint(*given, **more)

    place.tokens.mint = late  # type: ignore[method-assign]
    answer = await place.ask(place.signed())
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    with place.engine.connect() as connection:
        assert connection.execute(sql.select(sql.func.count()).select_from(tables.token)).scalar() == 0


def race(place: Place) -> None:
    """Tokens are asked for while the software is removed: afterwards there is none."""
    for _ in range(5):
        id = place.clients.register("Mon LGC", ("system/*.rs",), jwks=jwks(EC)).id
        identity = tokens.Identity("client", client=id)
        with futures.ThreadPoolExecutor(5) as threads:
            hour = timedelta(hours=1)
            asking = [threads.submit(place.tokens.mint, identity, hour, registered=True) for _ in range(30)]
            threads.submit(place.clients.remove, id).result()
        given = [one.result() for one in asking if one.exception() is None]
        assert {type(one.exception()) for one in asking} <= {type(None), errors.Unauthenticated}
        assert [one for one in given if place.tokens.told(one)] == []


def test_no_token_outlives_its_software(place: Place) -> None:
    race(place)


@pytest.mark.servers
def test_nor_does_it_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    config = settings.Settings(data=tmp_path, database=postgres_url)
    database.prepare(config)
    place = Place(database.engine(config))
    race(place)
    place.engine.dispose()
