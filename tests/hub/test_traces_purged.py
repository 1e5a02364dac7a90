"""Traces that were kept as long as is wanted go; what stays is as verifiable as before (MODEL-08)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common import clock
from fhir_server.audit import purge, verify
from hub import cli, database, keys, serve, upkeep
from hub import settings as configuration
from hub.room import Room
from hub.seed import small
from tests.hub import doors
from tests.hub.doors import Api, a_note, post, status
from tests.hub.test_traces import traces

CLAIRE, NADIA = "PractitionerRole/claire", "PractitionerRole/nadia"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Room]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    config = configuration.Settings(data=tmp_path, demo=True).with_options(database=url)
    database.prepare(config)
    async with serve.opened(config) as room:
        await small.fill(room.store, room.now())
        yield room


async def checked(room: Room) -> verify.Report:
    await room.store.traces.settle()
    return await verify.verify(room.store.traces.kept, room.store.traces.secret, keys.heads(room.settings.data))


async def test_what_is_old_goes_and_the_rest_is_whole(hub: Room) -> None:
    api = Api(hub)
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", a_note(patient))).json()
    await hub.store.traces.settle()
    old = await checked(hub)
    cut = clock.micros(hub.now())
    for _ in range(3):
        assert await status(api, "claire", f"/Condition/{note['id']}") == 200
        await hub.store.traces.settle()
    log = hub.store.traces
    assert await purge.run(log.kept, log.secret, cut) == old.rows
    report = await checked(hub)
    assert (report.broken, report.rows) == ([], 3)
    found = await traces(hub, api, patient=patient)
    assert [one["subtype"][0]["code"] for one in found] == ["read"] * 3
    assert await purge.run(log.kept, log.secret, cut) == 0
    # What comes later goes later, from where it was left.
    assert await purge.run(log.kept, log.secret, clock.micros(hub.now())) >= 3
    assert (await checked(hub)).broken == []


async def test_what_was_altered_stays_as_evidence(hub: Room) -> None:
    await hub.store.traces.settle()
    log = hub.store.traces
    first, *_ = await log.kept.following(log.chain, -1, 1)
    await log.kept.forget([first], None)
    before = (await checked(hub)).broken
    assert before
    assert await purge.run(log.kept, log.secret, clock.micros(hub.now())) == 0
    assert (await checked(hub)).broken == before


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM trace WHERE n = (SELECT max(n) FROM trace)",
        "DELETE FROM seal WHERE numbers = x''",
        "UPDATE seal SET at = at + 1 WHERE numbers = x''",
        "UPDATE seal SET mac = zeroblob(64) WHERE numbers = x''",
        # Somebody without the key purges on.
        "DELETE FROM trace_of WHERE n = (SELECT min(n) FROM trace);"
        "DELETE FROM trace WHERE n = (SELECT min(n) FROM trace);"
        "DELETE FROM seal WHERE numbers = x''; UPDATE seal SET numbers = x'' WHERE k = (SELECT min(k) FROM seal)",
    ],
)
def test_a_line_that_the_hub_did_not_purge_is_missed(tmp_path: Path, harm: str) -> None:
    config = configuration.Settings(data=tmp_path, demo=True)
    database.prepare(config)

    async def live() -> None:
        async with serve.opened(config) as room:
            await small.fill(room.store, room.now())
            await room.store.traces.settle()
            cut = clock.micros(room.now())
            for _ in range(2):
                await status(Api(room), "nadia", "/Communication")
                await room.store.traces.settle()
            assert await purge.run(room.store.traces.kept, room.store.traces.secret, cut)

    asyncio.run(live())
    words = ["audit", "verify", "--data", str(tmp_path)]
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "hub.sqlite")) as connection:
        connection.executescript(harm)
    assert CliRunner().invoke(cli.app, words).exit_code == 1


async def test_the_setting_says_for_how_long(tmp_path: Path) -> None:
    for years, later, goes in ((0.0, 100, False), (10.0, 9, False), (10.0, 11, True)):
        config = configuration.Settings(data=tmp_path / f"{years}-{later}", demo=True, traces_years=years)
        config.data.mkdir()
        database.prepare(config)
        async with serve.opened(config) as room:
            await small.fill(room.store, room.now())
            await room.store.traces.settle()
            future = room.now() + timedelta(days=365.25 * later)
            assert bool(await upkeep.forget(replace(room, now=lambda moment=future: moment))) is goes


def test_the_command_says_how_many(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["audit", "purge", "--data", str(tmp_path)])
    assert (done.exit_code, done.output) == (0, "0 lignes enlevées\n")
