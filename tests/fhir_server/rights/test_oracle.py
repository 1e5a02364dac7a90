"""Every door shows everybody exactly what the facts of their region say, whatever happened in it.

HUB_TEST_REGIONS asks for more regions than the few of every run; the heavy suite judges at least 200,000 times.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from common import errors
from fhir_server import access, app, store
from fhir_server.engines import sqlite_search
from fhir_server.jobs import job, runner
from fhir_server.limits import Limits
from hub.operations import dossier
from tests.fhir_server import worlds
from tests.fhir_server.http.samples import BASE
from tests.fhir_server.rights import doors, oracle
from tests.fhir_server.rights.facts import Region, Thing
from tests.fhir_server.rights.region import RULES, Maker, caller

REGIONS = int(os.environ.get("HUB_TEST_REGIONS", "1"))
EVENTS, FEWER = 110, 55
AT_LEAST = 5_000  # decisions in a run of one region on one engine
MANY = 200_000  # decisions of the heavy suite, both engines together
LARGE_REGIONS, LARGE_EVENTS = 7, 220


class Served:
    """A region on a record, behind the whole surface; a token is the number of a person."""

    def __init__(self, record: store.Store, hands: worlds.Hands, folder: Path) -> None:
        self.record, self.hands = record, hands
        self.people: list[access.Caller] = []
        self.jobs = runner.Runner(record, job.Limits(folder, settle_seconds=0.0, of_one=100))
        served = app.build_app(
            record, authenticate=self._who, operations=(dossier.operation,), jobs=self.jobs, now=hands
        )
        self.transport = httpx.ASGITransport(served, raise_app_exceptions=True)

    async def _who(self, token: str) -> access.Caller:
        if not token.isdigit():
            raise errors.Unauthenticated("inconnu")
        return self.people[int(token)]

    async def judge(
        self,
        region: Region,
        through: Callable[[access.Caller], access.Caller] = lambda one: one,
        covers: Callable[[Thing], bool] = lambda _: True,
    ) -> Counter[str]:
        """How often each door was judged, for people `through` a software that `covers` some things alone.

        Fails at the first answer that the facts do not give.
        """
        self.people = [through(caller(one)) for one in region.people]
        counted: Counter[str] = Counter()
        for number, person in enumerate(region.people):
            headers = {"Authorization": f"Bearer {number}"}
            async with httpx.AsyncClient(transport=self.transport, base_url=BASE, headers=headers) as client:
                async for door, could, showed in doors.judged(client, region, self.people[number], self.record):
                    things = [region.things[one] for one in could]
                    theirs = [one for one in things if covers(one)]
                    right = {one.ref for one in theirs if oracle.sees(region, person, one)}
                    assert showed == right, _why(region, number, door, showed ^ right)
                    counted[door] += len(could)
        return counted


def _why(region: Region, number: int, door: str, wrong: set[str] | frozenset[str]) -> str:
    things = [region.things[one] for one in sorted(wrong) if one in region.things][:3]
    patients = {one.patient: region.patients.get(one.patient or "") for one in things}
    return f"{door}, {region.people[number]} at {region.now}: {sorted(wrong)}\n{things}\n{patients}"


@pytest.fixture
async def served(
    opened: Callable[..., Awaitable[store.Store]], hands: worlds.Hands, tmp_path: Path
) -> AsyncIterator[Any]:
    made = Served(await opened(rules=RULES), hands, tmp_path / "jobs")
    made.jobs.start()
    yield made
    await made.jobs.stop()


async def _agree(served: Served, seed: int, events: int) -> Counter[str]:
    region = await Maker(served.record, served.hands, random.Random(seed)).happen(events)
    return await served.judge(region)


@pytest.mark.parametrize("seed", range(REGIONS))
async def test_every_door_agrees_with_the_facts(served: Served, seed: int) -> None:
    counted = await _agree(served, seed, EVENTS)
    assert sum(counted.values()) >= AT_LEAST
    assert counted["read"] and counted["search"] and counted["live"] and counted["export"]


async def test_every_door_shows_an_app_one_patient_and_nothing_else(served: Served) -> None:
    region = await Maker(served.record, served.hands, random.Random(5)).happen(FEWER)
    patient = next(iter(region.patients))

    def through(person: access.Caller) -> access.Caller:
        return replace(person, client="app", scopes=("patient/*.rs",), patient=patient)

    counted = await served.judge(region, through, lambda thing: thing.patient == patient)
    assert counted["read"] and counted["search"] and counted["live"] and counted["export"]


async def test_every_door_shows_an_app_what_the_query_of_its_scope_finds(served: Served) -> None:
    region = await Maker(served.record, served.hands, random.Random(6)).happen(FEWER)
    others = tuple(f"user/{type}.cruds" for type in sorted(served.record.definitions.types) if type != "Observation")
    scopes = ("user/Observation.rs?category=laboratory", *others)
    limits = Limits(served.record.definitions.search).of(scopes)

    def through(person: access.Caller) -> access.Caller:
        return replace(person, client="app", scopes=scopes, limits=limits)

    counted = await served.judge(
        region, through, lambda thing: not thing.ref.startswith("Observation/") or thing.kind == "biologie"
    )
    assert counted["read"] and counted["search"] and counted["live"] and counted["export"]


async def test_searches_that_begin_with_what_is_theirs_agree_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_search, "search", partial(sqlite_search.search, is_long=True))
    await _agree(served, 77, EVENTS)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(1000, 1000 + LARGE_REGIONS))
async def test_every_door_agrees_with_the_facts_of_large_regions(served: Served, seed: int) -> None:
    counted = await _agree(served, seed, LARGE_EVENTS)
    assert sum(counted.values()) >= MANY / LARGE_REGIONS / 2  # two engines
