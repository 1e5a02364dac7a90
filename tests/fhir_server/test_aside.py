"""The process that reads lines may die at any time, and nobody ever waits for it in vain, on either event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from fhir_server import commit, index, store
from fhir_server.jobs import aside
from fhir_server.jobs.lines import Ready
from fhir_server.r4 import validate
from fhir_server.r4.load import Definitions

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
LINE = b'{"resourceType":"Patient","id":"p","name":[{"family":"Lot"}]}'
LONG = b'{"resourceType":"Patient","id":"p","name":[{"family":"%s"}]}' % (b"x" * 100_000)


@pytest.fixture
def record(definitions: Definitions) -> store.Store:
    """All that `Aside` asks of a store."""
    make = partial(commit.make, indexer=index.Indexer(definitions), validator=validate.Validator(definitions))
    return cast(store.Store, SimpleNamespace(definitions=definitions, make=make, base_elsewhere=""))


def run(loop: str, work: Callable[[], Any]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(bounded())


async def started(record: store.Store) -> aside.Aside:
    made = aside.Aside(record)
    made.start()
    assert made._starting
    await made._starting
    assert made._is_ready
    return made


@pytest.mark.parametrize("loop", LOOPS)
def test_lines_are_read_here_once_the_process_is_gone(record: store.Store, loop: str) -> None:
    async def work() -> None:
        async with await started(record) as reader:
            there = await reader.read([LINE], None)
            assert reader._process
            reader._process.kill()
            await asyncio.sleep(0.3)  # nothing is under way: nobody has noticed yet
            for _ in range(3):
                assert await reader.read([LINE], None) == there
            assert isinstance(there[0], Ready)
            assert not reader._is_ready

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
def test_nobody_waits_for_answers_that_are_not_read(record: store.Store, loop: str) -> None:
    async def work() -> None:
        reader = await started(record)
        async with reader:
            asked = [asyncio.ensure_future(reader.read([LONG] * 100, None)) for _ in range(3)]
            await asyncio.sleep(1.0)
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await asyncio.sleep(0.5)
        assert reader._process and reader._process.returncode is not None

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_is_none_is_not_waited_for_or_believed(
    record: store.Store, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    monkeypatch.setattr(aside, "_ANSWER_SECONDS", 0.3)

    async def work() -> None:
        for said in (b"", aside._SIZE.pack(3) + b"abc"):
            async with await started(record) as reader:
                monkeypatch.setattr(reader, "_send", lambda _: None)
                assert reader._process and reader._process.stdout
                reader._process.stdout.feed_data(said)
                assert isinstance((await reader.read([LINE], None))[0], Ready)
                assert not reader._is_ready

    run(loop, work)
