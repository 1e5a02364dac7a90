"""What is whole is told to be whole while the hub goes on writing; what is not is found on both engines (MODEL-08)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from fhir_server.audit import verify
from hub import cli, database, keys, serve
from hub import settings as configuration
from hub.room import Room
from hub.seed import small
from tests.hub import doors
from tests.hub.doors import Api, a_note, post, status

CLAIRE, NADIA = "PractitionerRole/claire", "PractitionerRole/nadia"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> configuration.Settings:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    made = configuration.Settings(data=tmp_path, demo=True).with_options(database=url)
    database.prepare(made)
    return made


@pytest.fixture
async def hub(config: configuration.Settings) -> AsyncIterator[Room]:
    async with serve.opened(config) as room:
        await small.fill(room.store, room.now())
        yield room


async def checked(config: configuration.Settings) -> verify.Report:
    async with serve.opened(config) as room:
        sealing = keys.derived(room.secret, b"traces")
        return await verify.verify(room.store.traces.kept, sealing, keys.heads(config.data))


async def test_a_hub_that_goes_on_writing_is_not_taken_for_an_altered_one(hub: Room) -> None:
    api, is_over = Api(hub), asyncio.Event()
    patient = await doors.dossier(api, CLAIRE, NADIA)

    async def work() -> None:
        while not is_over.is_set():
            await post(api, "nadia", a_note(patient))
            await status(api, "claire", f"/{patient}")
            await hub.store.traces.settle()

    working = [asyncio.create_task(work()) for _ in range(3)]
    reports = [await checked(hub.settings) for _ in range(8)]
    is_over.set()
    await asyncio.gather(*working)
    assert [one.broken for one in reports] == [[]] * 8
    assert reports[-1].rows > reports[0].rows


async def test_a_write_whose_caller_went_away_is_sealed_too(hub: Room) -> None:
    api = Api(hub)
    patient = await doors.dossier(api, CLAIRE, NADIA)
    for _ in range(5):
        writing = asyncio.create_task(post(api, "nadia", a_note(patient)))
        await asyncio.sleep(0.002)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await asyncio.sleep(0.2)
    await hub.store.traces.settle()
    report = await checked(hub.settings)
    assert (report.broken, report.unsealed) == ([], 0)


@pytest.mark.servers
@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE trace SET at = at + 1 WHERE {one}",
        "UPDATE trace SET body = body || ' '::bytea WHERE {one}",
        "UPDATE trace SET keys = substr(keys, 9) WHERE {one}",
        "DELETE FROM trace WHERE {one}",
        "INSERT INTO trace (part, chain, n, at, body, mac, keys) "
        "SELECT part, chain, n + 1000, at, body, mac, keys FROM trace WHERE {one}",
        "INSERT INTO trace SELECT * FROM trace WHERE {one}",
        "UPDATE trace SET chain = chain + 1 WHERE {one}",
        "UPDATE trace SET part = part + 1 WHERE {one}",
        "UPDATE trace_of SET part = part + 1 WHERE ({key}) IN (SELECT {key} FROM trace_of LIMIT 1)",
        "UPDATE trace_of SET n = n + 1 WHERE ({key}) IN (SELECT {key} FROM trace_of LIMIT 1)",
        "DELETE FROM trace_of WHERE ({key}) IN (SELECT {key} FROM trace_of LIMIT 1)",
        "DELETE FROM seal WHERE (part, k) IN (SELECT part, max(k) FROM seal GROUP BY part LIMIT 1)",
        "DELETE FROM seal WHERE (part, k) IN (SELECT part, min(k) FROM seal GROUP BY part HAVING count(*) > 1 LIMIT 1)",
        "TRUNCATE trace, trace_of, seal",
    ],
)
def test_what_is_altered_on_postgresql_is_found(postgres_url: str, tmp_path: Path, harm: str) -> None:
    config = configuration.Settings(data=tmp_path, demo=True).with_options(database=postgres_url)
    database.prepare(config)

    async def live() -> None:
        async with serve.opened(config) as room:
            await small.fill(room.store, room.now())
            await room.store.traces.settle()
            await status(Api(room), "nadia", "/Communication")

    asyncio.run(live())
    assert asyncio.run(checked(config)).broken == []
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        one = "(chain, n) IN (SELECT chain, n FROM trace ORDER BY n LIMIT 1)"
        assert connection.execute(harm.format(one=one, key="chain, key, at, n")).rowcount  # type: ignore[arg-type]
    assert asyncio.run(checked(config)).broken != []


def test_the_command_says_whole_or_names_the_line(tmp_path: Path) -> None:
    config = configuration.Settings(data=tmp_path, demo=True)
    database.prepare(config)

    async def live() -> None:
        async with serve.opened(config) as room:
            await small.fill(room.store, room.now())

    asyncio.run(live())
    words = ["audit", "verify", "--data", str(tmp_path)]
    whole = CliRunner().invoke(cli.app, words)
    assert (whole.exit_code, "lignes" in whole.output) == (0, True)
    (head, *_) = sorted((tmp_path / "traces").glob("*.head"))
    said = head.read_text()
    head.write_text("")
    broken = CliRunner().invoke(cli.app, words)
    assert (broken.exit_code, head.stem in broken.output) == (1, True)
    head.write_text(said)
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    head.unlink()
    assert "autre machine" in CliRunner().invoke(cli.app, words).output
