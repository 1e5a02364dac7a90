"""Who is to hear of what was committed? On both engines."""

from __future__ import annotations

import pytest

from common import clock, errors
from fhir_server import access, store
from fhir_server.changes import Create, Delete, Subscribe, Update
from fhir_server.r4 import load
from fhir_server.subscriptions import notification, owner, reading, writing
from fhir_server.subscriptions.kept import Notice
from fhir_server.subscriptions.matching import Live, Matcher
from fhir_server.subscriptions.topics import Topic
from tests.fhir_server import worlds
from tests.fhir_server.conftest import Opened
from tests.fhir_server.worlds import NADIA, PAUL, a_patient, a_task, an_observation, body, create, update

TOPICS = {
    "urn:any": Topic("urn:any", "any", None),
    "urn:born": Topic("urn:born", "created", "Task", on=frozenset({"create"})),
    "urn:begun": Topic("urn:begun", "begun", "Task", became=("status", "in-progress")),
}
FILTER = f"{reading.BACKPORT}backport-filter-criteria"
CONTENT = {"extension": [{"url": f"{reading.BACKPORT}backport-payload-content", "valueCode": "id-only"}]}


class World:
    """A record with the rule of Subscriptions, and a follower of its log."""

    def __init__(self, record: store.Store, setting: reading.Setting, name: str = "one") -> None:
        self.record, self.setting, self.name = record, setting, name
        self.matcher = Matcher(record, setting, name)

    async def begin(self) -> None:
        now = clock.micros(self.record.now())
        assert await self.record.notices.hold(self.name, now=now, until=now + 1_000_000)
        await self.matcher.begin()

    async def subscribe(self, criteria: str, *filters: str, caller: access.Caller = NADIA) -> str:
        """An active Subscription of this caller."""
        resource = {"resourceType": "Subscription", "status": "requested", "reason": "r", "criteria": criteria}
        resource |= {"channel": {"type": "rest-hook", "endpoint": "https://example.org/"}}
        if criteria in TOPICS:
            resource["channel"] |= {"payload": "application/fhir+json", "_payload": CONTENT}
        if filters:
            resource["_criteria"] = {"extension": [{"url": FILTER, "valueString": one} for one in filters]}
        stored = await create(self.record, resource, caller=caller)
        await self.step()
        active = Update("Subscription", stored.id, {**body(stored), "status": "active"})
        at = clock.micros(self.record.now())
        await self.record.commit([active, Subscribe(stored.id, "active", at)], caller=writing.SERVER)
        await self.step()
        return stored.id

    async def step(self) -> None:
        while (await self.matcher.step())[1]:
            pass

    async def notices(self, id: str) -> list[Notice]:
        await self.step()
        return await self.record.notices.between(id, 0, 10_000, 10_000)

    async def heard(self, id: str) -> list[str]:
        """`Type/id` of what was written down, whose numbers have no gap."""
        found = await self.notices(id)
        assert [one.number for one in found] == list(range(1, len(found) + 1))
        return [f"{one.type}/{one.id}" for one in found]


@pytest.fixture
async def world(opened: Opened, definitions: load.Definitions, hands: worlds.Hands) -> World:
    setting = reading.Setting(definitions, TOPICS, lambda _: "", hands)
    made = World(await opened(rules=(writing.rule(setting),)), setting)
    await made.begin()
    return made


async def test_criteria_are_a_search_on_what_changed(world: World) -> None:
    id = await world.subscribe("Observation?code=http://loinc.org|weight")
    wanted = await create(world.record, an_observation("p"), caller=NADIA)
    await create(world.record, an_observation("p", code="height"), caller=NADIA)
    await create(world.record, a_patient(), caller=NADIA)
    await update(world.record, wanted, caller=NADIA, status="amended")
    assert await world.heard(id) == [wanted.ref, wanted.ref]


async def test_only_what_the_owner_may_see_is_written_down(world: World) -> None:
    mine = await world.subscribe("Task?status=requested")
    all_of_it = await world.subscribe("Task?status=requested", caller=worlds.SYSTEM)
    hidden = await create(world.record, a_task(), caller=PAUL)
    shared = await create(world.record, a_task(), "PractitionerRole/nadia", caller=PAUL)
    assert await world.heard(mine) == [shared.ref]
    assert await world.heard(all_of_it) == [hidden.ref, shared.ref]


async def test_nobody_has_more_subscriptions_than_the_others_can_bear(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_OF_ONE", 2)
    ids = [await world.subscribe("Task?status=requested") for _ in range(2)]
    with pytest.raises(errors.TooMany):
        await world.subscribe("Task?status=requested")
    await world.subscribe("Task?status=requested", caller=PAUL)
    await world.record.commit([Delete("Subscription", ids[0])], caller=NADIA)
    await world.subscribe("Task?status=requested")


async def test_scopes_bound_what_is_heard(world: World) -> None:
    scoped = access.person("PractitionerRole/nadia", scopes=("user/Subscription.cruds", "user/Patient.rs"))
    id = await world.subscribe("Task?status=requested", caller=scoped)
    await create(world.record, a_task(), caller=NADIA)
    assert await world.heard(id) == []


async def test_rights_that_went_away_hide_what_was_written_down(world: World) -> None:
    id = await world.subscribe("Task?status=requested")
    await create(world.record, a_task(), caller=NADIA)
    (notice,) = await world.notices(id)
    live: Live = world.matcher.live[id]
    assert len(await notification.seen(world.record, [notice], live.caller)) == 1
    nobody = access.Caller("PractitionerRole/nobody", memberships=(access.EVERYONE,))
    now = clock.micros(world.record.now())
    await world.record.commit([Subscribe(id, "active", now, owner=owner.text(nobody))], caller=writing.SERVER)
    await world.matcher.refresh(id)
    assert await notification.seen(world.record, [notice], world.matcher.live[id].caller) == []


async def test_a_narrow_software_that_takes_a_subscription_over_makes_its_rights_narrow(world: World) -> None:
    id = await world.subscribe("Task?status=requested")
    narrow = access.person("PractitionerRole/nadia", scopes=("user/Subscription.cruds",))
    found = await world.record.read("Subscription", id, caller=NADIA)
    moved = {**body(found), "status": "requested", "reason": "mine now"}
    await world.record.commit([Update("Subscription", id, moved)], caller=narrow)
    await create(world.record, a_task(), caller=NADIA)
    assert await world.heard(id) == []


async def test_an_operator_who_writes_a_subscription_gives_it_no_more_rights(world: World) -> None:
    id = await world.subscribe("Task?status=requested")
    found = await world.record.read("Subscription", id, caller=NADIA)
    again = {**body(found), "status": "requested"}
    await world.record.commit([Update("Subscription", id, again)], caller=worlds.SYSTEM)
    await create(world.record, a_task(), caller=PAUL)
    assert await world.heard(id) == []


async def test_filters_of_a_topic_hold_together_for_each_type(world: World) -> None:
    filters = ("Task?status=requested", "Task?intent=order", "Patient?family=Test")
    id = await world.subscribe("urn:any", *filters)
    task = await create(world.record, a_task(), caller=NADIA)
    await create(world.record, a_task(intent="plan"), caller=NADIA)
    patient = await create(world.record, a_patient("Test"), caller=NADIA)
    await create(world.record, an_observation(), caller=NADIA)
    assert await world.heard(id) == [task.ref, patient.ref]


async def test_a_topic_counts_its_interactions_alone(world: World) -> None:
    id = await world.subscribe("urn:born")
    task = await create(world.record, a_task(), caller=NADIA)
    await update(world.record, task, caller=NADIA, priority="urgent")
    await world.record.commit([Delete("Task", task.id)], caller=NADIA)
    other = await create(world.record, a_task(), caller=NADIA)
    assert (await world.heard(id))[-1] == other.ref
    assert {one.method for one in await world.notices(id)} == {"POST"}


async def test_a_topic_about_becoming_hears_of_the_moment(world: World) -> None:
    id = await world.subscribe("urn:begun")
    task = await create(world.record, a_task(), caller=NADIA)
    begun = await update(world.record, task, caller=NADIA, status="in-progress")
    await world.step()
    await update(world.record, begun, caller=NADIA, priority="urgent")
    assert [one.version for one in await world.notices(id)] == [2]


async def test_each_version_is_judged_by_itself_however_late_it_is_looked_at(world: World) -> None:
    id = await world.subscribe("Task?status=requested&priority:not=stat&_lastUpdated=gt2000")
    task = await create(world.record, a_task(status="draft"), caller=NADIA)
    task = await update(world.record, task, caller=NADIA, status="requested")
    task = await update(world.record, task, caller=NADIA, priority="stat")
    task = await update(world.record, task, caller=NADIA, priority="urgent")
    await update(world.record, task, caller=NADIA, status="completed")
    gone = await create(world.record, a_task(), caller=NADIA)
    await world.record.commit([Delete("Task", gone.id)], caller=NADIA)
    found = [(one.id, one.version) for one in await world.notices(id)]
    assert found == [(task.id, 2), (task.id, 4), (gone.id, 1)]


CRITERIA = [
    ("Patient?family=tes", True), ("Patient?family:exact=Test", True), ("Patient?family:contains=ES", True),
    ("Patient?family:exact=test", False), ("Patient?birthdate=1980", True), ("Patient?birthdate=gt1980-06", False),
    ("Patient?birthdate:missing=false&family:missing=false", True), ("Patient?gender:missing=false", False),
    ("Patient?identifier=urn:s|1", True), ("Patient?identifier=urn:s|2", False), ("Patient?_lastUpdated=lt2000", False),
]  # fmt: skip


@pytest.mark.parametrize(("criteria", "is_met"), CRITERIA)
async def test_an_old_version_is_judged_as_a_current_one(world: World, criteria: str, is_met: bool) -> None:
    current, old = [await world.subscribe(criteria) for _ in range(2)]
    person = a_patient("Test", identifier=[{"system": "urn:s", "value": "1"}])
    first = await create(world.record, person, caller=NADIA)
    assert bool(await world.heard(current)) is is_met
    second = await create(world.record, {**person, "active": True}, caller=NADIA)
    await world.record.commit([Delete("Patient", second.id)], caller=NADIA)
    assert await world.heard(old) == ([first.ref, second.ref] if is_met else [])


async def test_one_commit_is_told_in_its_order(world: World) -> None:
    id = await world.subscribe("urn:any", "Task?status=requested", "Patient?family=Test")
    some = [a_patient("Test"), a_task(), a_patient("Test"), a_task()]
    changes = [Create(one["resourceType"], world.record.new_id(one["resourceType"], one), one) for one in some]
    stored = await world.record.commit(changes, caller=NADIA)
    assert await world.heard(id) == [one.ref for one in stored]


async def test_a_follower_that_starts_again_loses_nothing_and_counts_nothing_twice(
    world: World, opened: Opened, hands: worlds.Hands
) -> None:
    id = await world.subscribe("Task?status=requested")
    before = await create(world.record, a_task(), caller=NADIA)
    assert await world.heard(id) == [before.ref]
    missed = [(await create(world.record, a_task(), caller=NADIA)).ref for _ in range(3)]
    hands.forward(seconds=60)
    other = World(await opened(worker=1), world.setting, "two")
    await other.begin()
    assert await other.heard(id) == [before.ref, *missed]
    assert (await world.record.notices.subscriber(id)).last == 4  # type: ignore[union-attr]


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.servers)], indirect=True)
async def test_one_process_at_a_time_follows_the_log(world: World, opened: Opened, hands: worlds.Hands) -> None:
    id = await world.subscribe("Task?status=requested")
    other = World(await opened(worker=1), world.setting, "two")
    now = clock.micros(hands())
    assert not await other.record.notices.hold("two", now=now, until=now + 1)
    hands.forward(seconds=60)
    await other.begin()
    task = await create(world.record, a_task(), caller=NADIA)
    with pytest.raises(store.errors.Conflict):
        await world.step()
    assert await other.heard(id) == [task.ref]


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.servers)], indirect=True)
async def test_a_commit_that_is_late_to_end_is_not_passed_over(world: World, url: str) -> None:
    import asyncpg

    id = await world.subscribe("Task?status=requested")
    slow = await asyncpg.connect(url)
    try:
        async with slow.transaction():
            await slow.execute("SELECT pg_current_xact_id()")
            task = await create(world.record, a_task(), caller=NADIA)
            assert await world.heard(id) == []  # what is above an open transaction waits
        assert await world.heard(id) == [task.ref]
    finally:
        await slow.close()


async def test_what_is_too_old_is_dropped_and_the_count_goes_on(world: World, hands: worlds.Hands) -> None:
    id = await world.subscribe("Task?status=requested")
    await create(world.record, a_task(), caller=NADIA)
    assert len(await world.notices(id)) == 1
    hands.forward(days=20)
    await world.record.notices.forget(id, clock.micros(hands()))
    await create(world.record, a_task(), caller=NADIA)
    assert [one.number for one in await world.notices(id)] == [2]


async def test_a_deleted_subscription_leaves_nothing(world: World) -> None:
    id = await world.subscribe("Task?status=requested")
    await create(world.record, a_task(), caller=NADIA)
    assert await world.heard(id)
    await world.record.commit([Delete("Subscription", id)], caller=NADIA)
    await create(world.record, a_task(), caller=NADIA)
    assert await world.heard(id) == []
    assert await world.record.notices.subscriber(id) is None
    assert id not in world.matcher.live
