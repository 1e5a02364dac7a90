"""Work that commits leave behind: handed out once, in order, given back, given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from common import errors
from fhir_server import store
from fhir_server.changes import Create, Enqueue, Finish, Update
from tests.fhir_server import worlds
from tests.fhir_server.worlds import SYSTEM, a_task, create

Opened = Callable[..., Awaitable[store.Store]]


async def enqueue(record: store.Store, *ids: str, consumer: str = "mail") -> None:
    for id in ids:
        await record.commit([Enqueue(consumer, "Task", id)], caller=SYSTEM)


async def finish(record: store.Store, work: store.Work) -> None:
    await record.commit([Finish(work.part, work.lane, work.seq)], caller=SYSTEM)


async def test_work_is_handed_out_once_and_gone_when_finished(record: store.Store) -> None:
    await enqueue(record, "a", "b")
    first, second = await record.lease("mail", 10, 60)
    assert [(one.consumer, one.type, one.id, one.attempts) for one in (first, second)] == [
        ("mail", "Task", "a", 1),
        ("mail", "Task", "b", 1),
    ]
    assert await record.lease("mail", 10, 60) == []
    assert await record.lease("dmp", 10, 60) == []
    body = a_task()
    await record.commit([Create("Task", "done", body), Finish(first.part, first.lane, first.seq)], caller=SYSTEM)
    await finish(record, second)
    assert await record.lease("mail", 10, 60) == []


async def test_a_commit_that_fails_leaves_no_work_and_finishes_none(record: store.Store) -> None:
    await enqueue(record, "a")
    (work,) = await record.lease("mail", 10, 60)
    finished = Finish(work.part, work.lane, work.seq)
    with pytest.raises(errors.NotFound):
        await record.commit(
            [Enqueue("mail", "Task", "b"), finished, Update("Task", "missing", a_task())], caller=SYSTEM
        )
    await create(record, a_task(), id="taken")
    with pytest.raises(errors.Conflict):
        await record.commit([Enqueue("mail", "Task", "b"), Create("Task", "taken", a_task())], caller=SYSTEM)
    await record.postpone(work, record.now(), "again")
    assert [one.id for one in await record.lease("mail", 10, 60)] == ["a"]


async def test_a_lease_that_runs_out_gives_the_work_to_another(record: store.Store, hands: worlds.Hands) -> None:
    await enqueue(record, "a")
    (lost,) = await record.lease("mail", 1, 30)
    hands.forward(seconds=31)
    (again,) = await record.lease("mail", 1, 30)
    assert (again.seq, again.attempts) == (lost.seq, 2)
    await record.postpone(lost, record.now(), "too late")  # it is another's now
    await record.park(lost, "too late")
    assert await record.lease("mail", 1, 30) == []
    assert await record.parked() == []


async def test_a_lease_is_held_for_as_long_as_it_is_renewed(record: store.Store, hands: worlds.Hands) -> None:
    await enqueue(record, "a", "b")
    held, given_back = await record.lease("mail", 2, 30)
    await record.postpone(given_back, record.now(), "not now")
    assert {(one.work.seq, one.error) for one in await record.waiting()} >= {(given_back.seq, "not now")}
    for _ in range(3):
        hands.forward(seconds=20)
        await record.extend([held, given_back], 30)
    (taken,) = await record.lease("mail", 5, 30)
    assert taken.id == "b"  # what was given back is not held again
    hands.forward(seconds=31)
    assert {one.id for one in await record.lease("mail", 5, 30)} == {"a", "b"}
    await record.extend([held], 60)  # another's now
    hands.forward(seconds=31)
    assert "a" in {one.id for one in await record.lease("mail", 5, 30)}


async def test_work_on_one_resource_is_done_in_order_and_one_at_a_time(
    record: store.Store, hands: worlds.Hands
) -> None:
    await enqueue(record, "a", "a", "b", "a")
    first, other = await record.lease("mail", 10, 60)
    assert [first.id, other.id] == ["a", "b"]
    await record.postpone(first, record.now() + timedelta(minutes=5), "busy")
    assert await record.lease("mail", 10, 60) == []  # the later ones wait for the first
    await finish(record, other)
    hands.forward(minutes=5)
    (again,) = await record.lease("mail", 10, 60)
    assert again.seq == first.seq
    await finish(record, again)
    (second,) = await record.lease("mail", 10, 60)
    assert (second.id, second.seq > first.seq) == ("a", True)


async def test_work_that_is_not_due_waits(record: store.Store, hands: worlds.Hands) -> None:
    due = record.now() + timedelta(hours=1)
    await record.commit([Enqueue("mail", "Task", "later", due)], caller=SYSTEM)
    assert await record.lease("mail", 10, 60) == []
    hands.forward(hours=1)
    assert [one.id for one in await record.lease("mail", 10, 60)] == ["later"]


async def test_dead_letters_are_kept_with_cause_and_age_and_let_others_pass(
    record: store.Store, hands: worlds.Hands
) -> None:
    await enqueue(record, "a", "a")
    (work,) = await record.lease("mail", 10, 60)
    hands.forward(days=2)
    await record.park(work, "adresse inconnue")
    (dead,) = await record.parked()
    assert (dead.work, dead.error, dead.since) == (work, "adresse inconnue", worlds.START)
    (following,) = await record.lease("mail", 10, 60)
    assert following.seq != work.seq
    await finish(record, following)
    await record.postpone(dead.work, record.now(), "once more")
    assert await record.parked() == []
    (back,) = await record.lease("mail", 10, 60)
    assert (back.seq, back.attempts) == (work.seq, 2)


async def test_each_commit_wakes_its_consumers(record: store.Store) -> None:
    mail, dmp = record.wake("mail"), record.wake("dmp")
    await enqueue(record, "a")
    async with asyncio.timeout(5):
        await mail.wait()
    assert not dmp.is_set()


async def test_many_workers_share_the_work_without_doing_any_twice(record: store.Store) -> None:
    changes = [Enqueue("mail", "Task", f"t{n}") for n in range(100)]
    await record.commit(changes, caller=SYSTEM)
    done: list[str] = []

    async def worker() -> None:
        while work := await record.lease("mail", 7, 60):
            done.extend(one.id for one in work)
            await record.commit([Finish(one.part, one.lane, one.seq) for one in work], caller=SYSTEM)

    await asyncio.gather(*[worker() for _ in range(5)])
    assert sorted(done) == sorted(one.id for one in changes)


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.servers)], indirect=True)
async def test_two_processes_share_the_work_and_wake_each_other(opened: Opened) -> None:
    here, there = await opened(), await opened(worker=1)
    woken = there.wake("mail")
    await asyncio.sleep(0.2)  # until it listens
    await here.commit([Enqueue("mail", "Task", f"t{n}") for n in range(60)], caller=SYSTEM)
    async with asyncio.timeout(5):
        await woken.wait()
    taken = await asyncio.gather(*[one.lease("mail", 60, 60) for one in (here, there) * 2])
    ids = [work.id for some in taken for work in some]
    assert sorted(ids) == sorted(f"t{n}" for n in range(60))
