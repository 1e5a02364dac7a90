"""No door tells of what its caller may not see: every answer is that of a record which never held it.

HUB_TEST_WORLDS asks for more random worlds than the few of every run.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server import access
from fhir_server.r4 import load
from tests.fhir_server import worlds
from tests.fhir_server.http import bulk, twins
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.questions import Ask, Asker

WORLDS = int(os.environ.get("HUB_TEST_WORLDS", "3"))
PEOPLE, LIMITED = ("nadia", "paul", "karim", "viewer"), ("patients", "mixed", "hears", "reader", "launched", "software")
QUESTIONS, WRITES, MOST_PAGES = 30, 24, 4

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


class Pair:
    """The whole world and the twin of one caller, asked side by side."""

    def __init__(self, whole: twins.Served, twin: twins.Served, told: twins.World, name: str) -> None:
        self._told, self._name = told, name
        self.clients = whole.client(name), twin.client(name)
        self._plain = twins.Told(), twins.Told()

    async def ask(self, ask: Ask) -> None:
        """Both answer the same, page by page, and nothing foreign."""
        urls = [ask.url, ask.url]
        for _ in range(MOST_PAGES):
            answers = [await _sent(client, ask, url) for client, url in zip(self.clients, urls, strict=True)]
            self.compare(answers, ask)
            following = [_next(one) for one in answers]
            if not following[0] or ask.method != "GET":
                return
            urls = [str(one) for one in following]

    def compare(self, answers: list[httpx.Response], ask: Ask) -> None:
        whole, twin = (plain(one) for plain, one in zip(self._plain, answers, strict=True))
        assert whole == twin, (self._name, ask)
        text = f"{answers[0].headers} {answers[0].text}"
        assert not twins.foreign(text, self._told, twins.CALLERS[self._name], ask.said), (self._name, ask)

    async def export(self, url: str) -> None:
        """The same files, by the same job."""
        found = []
        for client in self.clients:
            answer = await client.get(url, headers=bulk.ASYNC)
            files: list[Any] = []
            if answer.status_code == 202:
                answer = await bulk.finished(client, answer)
                manifest = answer.json()
                for one in [*manifest.get("output", ()), *manifest.get("deleted", ())]:
                    files.append(sorted((await client.get(one["url"])).text.splitlines()))
            found.append((answer, files))
        self.compare([answer for answer, _ in found], Ask("GET", url))
        assert found[0][1] == found[1][1], (self._name, url)


async def _sent(client: httpx.AsyncClient, ask: Ask, url: str) -> httpx.Response:
    answer = await client.request(ask.method, url, json=ask.body, headers=ask.headers)
    return (
        await bulk.finished(client, answer)
        if "respond-async" in ask.headers.get("Prefer", "") and (answer.status_code == 202)
        else answer
    )


def _next(answer: httpx.Response) -> str | None:
    if not answer.headers.get("content-type", "").startswith("application/fhir+json") or not answer.content:
        return None
    links = answer.json().get("link", ())
    return next((one["url"] for one in links if one["relation"] == "next"), None)


class Worlds:
    """Opens records for one test."""

    def __init__(self, definitions: load.Definitions, folder: Path, empty: Path, stack: AsyncExitStack) -> None:
        self._definitions, self._folder, self._empty, self._stack = definitions, folder, empty, stack
        self._hands = worlds.Hands()
        self._count = 0

    async def made(self, told: twins.World, caller: access.Caller, database: str = "") -> twins.Served:
        """The world as far as the caller may see it, in a new file unless a database is named."""
        self._count += 1
        folder = self._folder / f"w{self._count}"
        folder.mkdir()
        place = database or str(shutil.copy(self._empty, folder / "record.sqlite"))
        found = await twins.served(place, self._definitions, folder / "jobs", self._hands)
        self._stack.push_async_callback(found.close)
        await twins.fill(found, told, self._hands, caller)
        return found


@pytest.fixture
async def made(definitions: load.Definitions, tmp_path: Path, empty_record: Path) -> AsyncIterator[Worlds]:
    async with AsyncExitStack() as stack:
        yield Worlds(definitions, tmp_path, empty_record, stack)


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_every_answer_is_that_of_a_record_without_what_is_unseen(made: Worlds, database: str, seed: int) -> None:
    chance = random.Random(seed)
    told = twins.world(chance)
    whole = await made.made(told, access.SYSTEM, database)
    names = [*chance.sample(PEOPLE, 2), *chance.sample(LIMITED, 3)]
    for name in [*names, chance.choice(("nadia", "paul", "karim", "patients"))]:  # the last one also writes
        pair = Pair(whole, await made.made(told, twins.CALLERS[name]), told, name)
        asker = Asker(told, chance, twins.CALLERS[name])
        for ask in asker.reads(QUESTIONS):
            await pair.ask(ask)
        for url in asker.exports():
            await pair.export(url)
        if name in twins.LISTENERS:
            for tail in ("$events", "$events?content=id-only", "$status"):
                await pair.ask(Ask("GET", f"/Subscription/sub-{name}/{tail}"))
    for ask in asker.writes(WRITES):
        await pair.ask(ask)
        await pair.ask(asker.search())


async def test_an_answer_that_tells_more_is_noticed(made: Worlds, database: str) -> None:
    told = twins.world(random.Random(1))
    whole = await made.made(told, access.SYSTEM, database)
    pair = Pair(whole, await made.made(told, twins.CALLERS["nadia"]), told, "nadia")
    pair.clients = whole.client("system"), pair.clients[1]
    for url in ("/Patient", "/Patient?_summary=count", "/_history", "/Observation?patient.family=Pat"):
        with pytest.raises(AssertionError):
            await pair.ask(Ask("GET", url))
