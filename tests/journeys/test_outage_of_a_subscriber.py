"""Does everything arrive, once and in order, however long the receiver was away and whatever became of the hub?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys import subscribing
from tests.journeys.subscribing import a_task, active, backport, created, plain
from tests.receiver import Receiver, events
from tests.running import Hub, wait_for


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hub]:
    database = "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    one = subscribing.started(tmp_path / "hub", database=database)
    yield one
    one.stop()


def test_a_receiver_that_comes_back_gets_all_events_once_and_in_order(hub: Hub, receiver: Receiver) -> None:
    other = Receiver()
    with hub.client("--system") as client:
        active(client, backport("task-event", receiver.url, backport_max_count=7))
        active(client, plain("Task?status=requested", other.url, payload="application/fhir+json"))
        receiver.stop()
        made = [created(client, a_task(n))["id"] for n in range(20)]
        wait_for(lambda: len(other.calls) == 20, what="the other subscriber is not held up")
    hub.kill()
    hub.start()
    with hub.client("--system") as client:
        made += [created(client, a_task(n))["id"] for n in range(20, 30)]
    receiver.start()
    wait_for(lambda: len(receiver.numbers()) >= 30, seconds=40, what="the queue is drained")
    assert receiver.numbers() == list(range(1, 31))
    focused = [one["focus"]["reference"] for bundle in receiver.bundles() for one in events(bundle)]
    assert focused == [f"Task/{id}" for id in made]
    # What was told in the moment before the hub was killed may come again, at its place.
    paths = [f"/hook/Task/{id}" for id in made]
    wait_for(lambda: list(dict.fromkeys(one.path for one in other.calls)) == paths, what="the plain one too")
    other.stop()
