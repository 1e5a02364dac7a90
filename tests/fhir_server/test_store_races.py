"""What happens when many write at once, and what rules do to a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from common import errors
from fhir_server import access, store
from fhir_server.changes import Change, Claim, Create, Delete, Enqueue, Share, Stored, Subscribe, Update
from tests.fhir_server import worlds
from tests.fhir_server.worlds import NADIA, PAUL, SYSTEM, a_patient, a_task, an_observation, create, update

Opened = Callable[..., Awaitable[store.Store]]


async def test_two_hundred_creates_at_once_are_all_there_once(opened: Opened) -> None:
    record = await opened()
    made = await asyncio.gather(*[create(record, an_observation(f"p{n % 7}")) for n in range(200)])
    assert len({one.id for one in made}) == 200
    await record.close()
    again = await opened()
    query = worlds.ask("Observation?status=final&_count=500&_total=accurate", again.definitions)
    page = await again.search(query, caller=SYSTEM)
    assert page.total == 200
    assert {one.ref: one for one in page.rows} == {one.ref: one for one in made}


async def test_creates_under_one_chosen_id_succeed_once(record: store.Store) -> None:
    attempts = [create(record, an_observation(f"p{n}"), id="chosen") for n in range(20)]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(one, Stored) for one in answers) == 1
    assert all(isinstance(one, (Stored, errors.Conflict)) for one in answers)
    query = worlds.ask("Observation?_total=accurate", record.definitions)
    assert (await record.search(query, caller=SYSTEM)).total == 1


async def test_one_bad_commit_does_not_disturb_those_written_with_it(record: store.Store) -> None:
    await create(record, a_patient(), id="taken")
    good = [create(record, a_patient(f"Bon{n}")) for n in range(20)]
    bad = [create(record, a_patient(), id="taken") for _ in range(5)]
    answers = await asyncio.gather(*good, *bad, return_exceptions=True)
    assert all(isinstance(one, Stored) for one in answers[:20])
    assert all(isinstance(one, errors.Conflict) for one in answers[20:])


async def test_creates_updates_and_deletes_at_once_are_each_found_as_they_are(record: store.Store) -> None:
    there = [await create(record, an_observation(f"p{n}", status="preliminary")) for n in range(12)]
    changed = [
        update(record, one, status="final", effectiveDateTime=f"2031-01-{n + 1:02d}") for n, one in enumerate(there[:6])
    ]
    gone = [record.commit([Delete("Observation", one.id)], caller=SYSTEM) for one in there[6:9]]
    late = [update(record, one, version=7, status="amended") for one in there[9:11]]
    late += [update(record, there[11], status=status) for status in ("corrected", "cancelled")]  # one has to wait
    new = [create(record, an_observation(f"n{n}")) for n in range(6)]
    answers = await asyncio.gather(*changed, *gone, *late, *new, return_exceptions=True)
    assert [isinstance(one, errors.Stale) for one in answers] == [False] * 9 + [True] * 2 + [False] * 8
    assert sorted(one.version for one in answers[11:13] if isinstance(one, Stored)) == [2, 3]

    async def found(search: str) -> list[str]:
        page = await record.search(worlds.ask(search, record.definitions), caller=SYSTEM)
        return [one.ref for one in page.rows]

    updated, made = [one.ref for one in there[:6]], [one.ref for one in answers[-6:] if isinstance(one, Stored)]
    assert sorted(await found("Observation?status=final")) == sorted(updated + made)
    assert await found("Observation?date=ge2031&_sort=-date") == updated[::-1]
    assert sorted(await found("Observation?status=preliminary")) == sorted(one.ref for one in there[9:11])
    assert await found("Observation?status=amended") == []
    assert await found("Observation?patient=p1&date=lt2031") == []


async def test_subscriptions_made_at_once_each_have_their_owner(record: store.Store) -> None:
    ids = [record.new_id("Basic") for _ in range(10)]
    body = {"resourceType": "Basic", "code": {"text": "x"}}
    commits = [[Create("Basic", id, body), Subscribe(id, "requested", at=1, owner=f"owner of {id}")] for id in ids]
    await asyncio.gather(*[record.commit(one, caller=SYSTEM) for one in commits])
    assert [one and one.owner for one in [await record.notices.subscriber(id) for id in ids]] == [
        f"owner of {id}" for id in ids
    ]


async def test_of_many_updates_of_one_version_exactly_one_wins(record: store.Store) -> None:
    made = await create(record, a_patient())
    attempts = [update(record, made, version=1, birthDate=f"19{n:02d}") for n in range(30)]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    (won,) = [one for one in answers if isinstance(one, Stored)]
    assert all(isinstance(one, (Stored, errors.Stale)) for one in answers)
    assert await record.read("Patient", made.id, caller=SYSTEM) == won
    assert won.version == 2


async def test_updates_without_a_version_all_happen_one_after_the_other(record: store.Store) -> None:
    made = await create(record, a_patient())
    await asyncio.gather(*[update(record, made, birthDate=f"19{n:02d}") for n in range(30)])
    history = await record.history("Patient", made.id, caller=SYSTEM)
    assert [one.version for one in history] == list(range(31, 0, -1))
    assert len({worlds.body(one)["birthDate"] for one in history}) == 31
    assert [one.updated for one in history] == sorted({one.updated for one in history}, reverse=True)


async def test_a_share_and_an_update_at_once_lose_nothing(record: store.Store) -> None:
    made = await create(record, a_task())
    readers = [f"PractitionerRole/r{n}" for n in range(10)]
    shares = [record.commit([Share("Task", made.id, frozenset({one}))], caller=SYSTEM) for one in readers]
    updates = [update(record, made, description=f"{n}") for n in range(10)]
    await asyncio.gather(*[one for pair in zip(shares, updates, strict=True) for one in pair])
    for one in readers:
        found = await record.read("Task", made.id, caller=access.person(one))
        assert found.version == 11


async def test_of_many_claims_on_one_key_exactly_one_wins(record: store.Store) -> None:
    async def one() -> Stored:
        body = a_patient()
        id = record.new_id("Patient", body)
        return (await record.commit([Create("Patient", id, body), Claim("ins|1", "Patient", id)], caller=SYSTEM))[0]

    answers = await asyncio.gather(*[one() for _ in range(20)], return_exceptions=True)
    (won,) = [one for one in answers if isinstance(one, Stored)]
    for lost in answers:
        assert lost is won or (isinstance(lost, store.Taken) and (lost.ref, lost.key) == (won.ref, "ins|1"))
    total = worlds.ask("Patient?_total=accurate", record.definitions)
    assert (await record.search(total, caller=SYSTEM)).total == 1


async def test_a_claim_may_be_repeated_and_is_free_again_when_its_owner_is_deleted(record: store.Store) -> None:
    one, two = await create(record, a_patient()), await create(record, a_patient())
    for _ in range(2):
        await record.commit([Claim("key", "Patient", one.id)], caller=SYSTEM)
    with pytest.raises(store.Taken):
        await record.commit([Claim("key", "Patient", two.id)], caller=SYSTEM)
    await record.commit([Delete("Patient", one.id)], caller=SYSTEM)
    await record.commit([Claim("key", "Patient", two.id)], caller=SYSTEM)
    with pytest.raises(store.Taken) as taken:
        await record.commit([Claim("key", "Patient", "three")], caller=SYSTEM)
    assert taken.value.ref == two.ref


def counting(id: str) -> store.Rule:
    """Each new Observation is counted in one Task."""

    async def run(changes: list[Change], caller: access.Caller, view: store.View) -> list[Change]:
        task = await view.read("Task", id)
        body = worlds.body(task)
        body["description"] = str(int(body["description"]) + 1)
        return [*changes, Update("Task", id, body, task.version)]

    return store.Rule(frozenset({"Observation"}), run)


async def test_a_rule_counts_right_however_many_commits_race(opened: Opened) -> None:
    record = await opened(rules=[counting("counter")])
    await create(record, a_task(description="0"), id="counter")
    await asyncio.gather(*[create(record, an_observation(), caller=NADIA) for _ in range(25)])
    assert worlds.body(await record.read("Task", "counter", caller=SYSTEM))["description"] == "25"


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.servers)], indirect=True)
async def test_a_rule_counts_right_over_two_processes(opened: Opened) -> None:
    rules = [counting("counter")]
    one, two = await opened(rules=rules), await opened(rules=rules, worker=1)
    await create(one, a_task(description="0"), id="counter")
    await asyncio.gather(*[create(record, an_observation()) for record in (one, two) for _ in range(8)])
    assert worlds.body(await one.read("Task", "counter", caller=SYSTEM))["description"] == "16"


async def test_rules_run_in_order_each_on_what_the_one_before_gave(opened: Opened) -> None:
    def rule(word: str) -> store.Rule:
        async def run(changes: list[Change], caller: access.Caller, view: store.View) -> list[Change]:
            (change,) = changes
            assert isinstance(change, Create)
            body = change.body | {"description": change.body.get("description", "") + word}
            return [Create(change.type, change.id, body, change.readers | {f"PractitionerRole/{word}"})]

        return store.Rule(frozenset({"Task"}), run)

    record = await opened(rules=[rule("nadia"), rule("paul")])
    made = await create(record, a_task())
    for caller in (NADIA, PAUL):
        found = await record.read("Task", made.id, caller=caller)
        assert worlds.body(found)["description"] == "nadiapaul"
    await create(record, a_patient())  # no rule for it


async def test_a_rule_that_refuses_stops_the_commit(opened: Opened) -> None:
    async def refuse(changes: list[Change], caller: access.Caller, view: store.View) -> list[Change]:
        raise errors.Forbidden("dossier fermé")

    record = await opened(rules=[store.Rule(None, refuse)])
    with pytest.raises(errors.Forbidden, match="dossier fermé"):
        await create(record, a_patient(), id="x")
    with pytest.raises(errors.NotFound):
        await record.read("Patient", "x", caller=SYSTEM)


async def test_what_a_rule_makes_is_validated_and_has_no_author(opened: Opened) -> None:
    async def inbox(changes: list[Change], caller: access.Caller, view: store.View) -> list[Change]:
        (change,) = changes
        assert isinstance(change, Create)
        entry = a_task(status=change.body["status"])
        return [change, Create("Task", "inbox", entry, frozenset({"PractitionerRole/paul"}))]

    record = await opened(rules=[store.Rule(frozenset({"Communication"}), inbox)])
    with pytest.raises(store.Rejected) as refused:
        await create(record, {"resourceType": "Communication", "status": "not-done"}, caller=NADIA)
    assert set(refused.value.by_ref) == {"Task/inbox"}
    await create(record, {"resourceType": "Communication", "status": "completed"}, caller=NADIA)
    assert (await record.read("Task", "inbox", caller=PAUL)).version == 1
    with pytest.raises(errors.NotFound):
        await record.read("Task", "inbox", caller=NADIA)


async def test_a_rule_sees_and_changes_what_was_made_beforehand(opened: Opened) -> None:
    async def named(changes: list[Change], caller: access.Caller, view: store.View) -> list[Change]:
        return [Create("Patient", one.id, one.body | {"active": False}) for one in changes if isinstance(one, Create)]

    record = await opened(rules=[store.Rule(frozenset({"Patient"}), named)])
    made = record.make("Patient", "p", a_patient())
    await record.commit([Create("Patient", "p", {}, made=made)], caller=SYSTEM)
    assert worlds.body(await record.read("Patient", "p", caller=SYSTEM))["active"] is False
    made = record.make("Observation", "o", an_observation())
    await record.commit([Create("Observation", "o", {}, made=made)], caller=SYSTEM)
    assert (await record.read("Observation", "o", caller=SYSTEM)).body.startswith(
        b'{"resourceType":"Observation","id":"o"'
    )


async def test_what_was_made_beforehand_comes_back_to_life_as_a_later_version(record: store.Store) -> None:
    await create(record, a_patient(), id="p")
    made = record.make("Patient", "p", a_patient(active=False))
    deleted_first = [Delete("Patient", "p"), Create("Patient", "p", {}, made=made)]
    (_, new) = await record.commit(deleted_first, caller=SYSTEM)
    assert (new.version, worlds.body(new)["meta"]["versionId"], worlds.body(new)["active"]) == (2, "2", False)


async def test_a_rule_may_change_what_the_caller_does_not_see(opened: Opened) -> None:
    async def mark(changes: list[Change], caller: access.Caller, view: store.View) -> list[Change]:
        task = await view.read("Task", "hidden")
        return [*changes, Update("Task", "hidden", worlds.body(task) | {"status": "completed"}, task.version)]

    record = await opened(rules=[store.Rule(frozenset({"Observation"}), mark)])
    await create(record, a_task(), id="hidden")
    results = await record.commit([Create("Observation", "o", an_observation())], caller=NADIA)
    assert [one.ref for one in results] == ["Observation/o"]
    assert worlds.body(await record.read("Task", "hidden", caller=SYSTEM))["status"] == "completed"
    with pytest.raises(errors.NotFound):
        await record.read("Task", "hidden", caller=NADIA)


async def test_a_version_the_caller_named_stays_binding_after_a_rule(opened: Opened) -> None:
    async def fresh(changes: list[Change], caller: access.Caller, view: store.View) -> list[Change]:
        (change,) = changes
        if isinstance(change, Create):
            return changes
        assert isinstance(change, Update)
        return [Update("Task", change.id, change.body, (await view.read("Task", change.id)).version)]

    record = await opened(rules=[store.Rule(frozenset({"Task"}), fresh)])
    made = await create(record, a_task())
    await update(record, made, version=1, status="in-progress")
    with pytest.raises(errors.Stale):
        await update(record, made, version=1, status="completed")


async def test_listeners_hear_each_commit_once_and_until_they_leave(record: store.Store) -> None:
    heard: list[store.Event] = []
    stop = record.listen(heard.extend)
    made = await create(record, a_task(), "PractitionerRole/nadia")
    new = await update(record, made, status="completed")
    await update(record, new, status="completed")  # changes nothing
    await record.commit([Delete("Task", made.id)], caller=SYSTEM)
    assert [(one.type, one.id, one.version, one.method) for one in heard] == [
        ("Task", made.id, version, method) for version, method in ((1, "POST"), (2, "PUT"), (3, "DELETE"))
    ]
    assert [one.body for one in heard] == [made.body, new.body, b""]
    assert heard[0].readers == {access.key("PractitionerRole/nadia")}
    assert len({one.seq for one in heard}) == 3
    stop()
    await create(record, a_task())
    assert len(heard) == 3


async def test_a_caller_who_goes_away_does_not_silence_the_commit(record: store.Store) -> None:
    heard: list[store.Event] = []
    record.listen(heard.extend)
    task = asyncio.ensure_future(
        record.commit([Create("Task", "t", a_task()), Enqueue("mail", "Task", "t")], caller=SYSTEM)
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        while not heard:
            await asyncio.sleep(0.01)
    assert (await record.read("Task", "t", caller=SYSTEM)).version == 1


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.servers)], indirect=True)
async def test_other_processes_hear_of_messages_and_tasks(opened: Opened) -> None:
    here, there = await opened(), await opened(worker=1)
    heard: list[store.Event] = []
    there.listen(heard.extend)
    await asyncio.sleep(0.2)  # until it listens
    await create(here, a_patient())
    tasks = await asyncio.gather(*[create(here, a_task(), "PractitionerRole/nadia") for _ in range(30)])
    changed = await update(here, tasks[0], status="completed")
    async with asyncio.timeout(10):
        while len(heard) < 31:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    expected: set[Any] = {(one.id, one.version, one.body) for one in [*tasks, changed]}
    assert {(one.id, one.version, one.body) for one in heard} == expected
    assert len(heard) == 31
