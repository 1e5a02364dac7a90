"""Create, read, update, delete, history: what a resource goes through, on both engines."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec
import pytest

from common import clock, errors
from fhir_server import access, store
from fhir_server.changes import Create, Delete, Share, Update
from tests.fhir_server import worlds
from tests.fhir_server.worlds import NADIA, PAUL, SYSTEM, a_patient, a_role, a_task, an_observation, create, update

Opened = Callable[..., Awaitable[store.Store]]


async def test_a_created_resource_is_read_back_with_its_id_and_meta(record: store.Store) -> None:
    made = await create(record, a_patient())
    found = await record.read("Patient", made.id, caller=SYSTEM)
    assert found == made
    assert (found.version, found.method) == (1, "POST")
    meta = {"versionId": "1", "lastUpdated": "2026-11-23T08:00:00.000Z"}
    assert worlds.body(found) == a_patient() | {"id": made.id, "meta": meta}
    assert found.updated == clock.micros(worlds.START)


async def test_bytes_keep_decimals_and_the_order_of_keys(record: store.Store) -> None:
    quantity = {"value": Decimal("1.500"), "unit": "kg"}
    made = await create(record, an_observation(valueQuantity=quantity, meta={"tag": [{"code": "x"}], "versionId": "9"}))
    assert b'"value":1.500' in made.body
    keys = list(worlds.body(made))
    assert keys == ["resourceType", "id", "meta", "status", "code", "valueQuantity"]
    assert list(worlds.body(made)["meta"]) == ["versionId", "lastUpdated", "tag"]


async def test_the_bodies_given_are_left_as_they_were(record: store.Store) -> None:
    given = a_patient(meta={"tag": [{"code": "x"}]})
    copy = msgspec.json.decode(msgspec.json.encode(given))
    await create(record, given)
    assert given == copy


async def test_what_was_acknowledged_is_there_after_closing_and_opening(opened: Opened) -> None:
    first = await opened()
    made = [await create(first, a_patient(f"Nom{n}")) for n in range(5)]
    await first.close()
    again = await opened()
    assert [await again.read("Patient", one.id, caller=SYSTEM) for one in made] == made
    after = await create(again, a_patient())  # the clock stands still: numbers must not come twice
    assert after.id not in {one.id for one in made}


@pytest.mark.parametrize(
    ("type", "id"), [("Patient", "no-one"), ("Patient", "a\0b"), ("Patient", "x" * 65), ("a/b", "x"), ("No", "")]
)
async def test_what_does_not_exist_is_not_found(record: store.Store, type: str, id: str) -> None:
    with pytest.raises(errors.NotFound):
        await record.read(type, id, caller=SYSTEM)
    with pytest.raises(errors.NotFound):
        await record.history(type, id, caller=SYSTEM)


async def test_an_update_makes_a_new_version_and_keeps_the_old_one(record: store.Store, hands: worlds.Hands) -> None:
    made = await create(record, a_patient("Avant"))
    hands.forward(seconds=5)
    new = await update(record, made, name=[{"family": "Après"}])
    assert (new.version, new.method) == (2, "PUT")
    assert await record.read("Patient", made.id, caller=SYSTEM) == new
    assert await record.vread("Patient", made.id, 1, caller=SYSTEM) == made
    assert await record.vread("Patient", made.id, 2, caller=SYSTEM) == new
    assert await record.history("Patient", made.id, caller=SYSTEM) == [new, made]
    for version in (0, 3, -1, 2**40):
        with pytest.raises(errors.NotFound):
            await record.vread("Patient", made.id, version, caller=SYSTEM)


async def test_last_updated_rises_though_the_clock_stands_still_or_goes_back(
    record: store.Store, hands: worlds.Hands
) -> None:
    stored = await create(record, a_patient())
    times = [stored.updated]
    for n in range(3):
        hands.forward(seconds=-n)
        stored = await update(record, stored, active=bool(n % 2))
        assert worlds.body(stored)["meta"]["lastUpdated"] == clock.instant(clock.from_micros(stored.updated))
        times.append(stored.updated)
    assert times == sorted(set(times))


async def test_an_update_that_changes_nothing_makes_no_version(record: store.Store, hands: worlds.Hands) -> None:
    made = await create(record, an_observation(valueQuantity={"value": Decimal("1.50"), "unit": "kg"}))
    hands.forward(seconds=5)
    same = dict(reversed(an_observation(valueQuantity={"unit": "kg", "value": Decimal("1.50")}).items()))
    assert await record.commit([Update("Observation", made.id, same)], caller=SYSTEM) == [made]
    finer = an_observation(valueQuantity={"value": Decimal("1.5"), "unit": "kg"})
    (new,) = await record.commit([Update("Observation", made.id, finer)], caller=SYSTEM)
    assert new.version == 2


async def test_a_stale_version_is_refused_and_nothing_changes(record: store.Store) -> None:
    made = await create(record, a_patient())
    new = await update(record, made, version=1, active=True)
    with pytest.raises(errors.Stale):
        await update(record, made, version=1, active=False)
    with pytest.raises(errors.Stale):
        await record.commit([Delete("Patient", made.id, version=1)], caller=SYSTEM)
    assert await record.read("Patient", made.id, caller=SYSTEM) == new


async def test_an_update_of_what_is_not_there_is_not_found(record: store.Store) -> None:
    with pytest.raises(errors.NotFound):
        await record.commit([Update("Patient", "nobody", a_patient())], caller=SYSTEM)


async def test_a_deleted_resource_is_gone_and_keeps_its_history(record: store.Store, hands: worlds.Hands) -> None:
    made = await create(record, a_patient())
    (gone,) = await record.commit([Delete("Patient", made.id)], caller=SYSTEM)
    assert (gone.version, gone.method, gone.body) == (2, "DELETE", b"")
    with pytest.raises(errors.Gone):
        await record.read("Patient", made.id, caller=SYSTEM)
    with pytest.raises(errors.Gone):
        await record.vread("Patient", made.id, 2, caller=SYSTEM)
    assert await record.history("Patient", made.id, caller=SYSTEM) == [gone, made]
    assert await record.many([made.ref], caller=SYSTEM) == {}
    assert (await record.search(worlds.ask("Patient?_total=accurate", record.definitions), caller=SYSTEM)).total == 0


async def test_deleting_again_or_something_unknown_does_nothing(record: store.Store) -> None:
    made = await create(record, a_patient())
    (gone,) = await record.commit([Delete("Patient", made.id)], caller=SYSTEM)
    again, unknown = await record.commit([Delete("Patient", made.id), Delete("Patient", "nobody")], caller=SYSTEM)
    assert again == gone
    assert (unknown.version, unknown.method) == (0, "DELETE")
    assert len(await record.history("Patient", made.id, caller=SYSTEM)) == 2


async def test_an_update_brings_a_deleted_resource_back(record: store.Store) -> None:
    made = await create(record, a_patient("Revenu"))
    await record.commit([Delete("Patient", made.id)], caller=SYSTEM)
    (back,) = await record.commit([Update("Patient", made.id, a_patient("Revenu"))], caller=SYSTEM)
    assert (back.version, back.method) == (3, "PUT")
    page = await record.search(worlds.ask("Patient?family=revenu", record.definitions), caller=SYSTEM)
    assert page.rows == [back]


async def test_an_id_is_created_once(record: store.Store) -> None:
    await create(record, a_patient(), id="nadia")
    for body in (a_patient("Autre"), a_patient()):
        with pytest.raises(errors.Conflict, match="Patient/nadia"):
            await create(record, body, id="nadia")
    await record.commit([Delete("Patient", "nadia")], caller=SYSTEM)
    with pytest.raises(errors.Conflict):
        await create(record, a_patient(), id="nadia")


async def test_one_id_cannot_be_created_under_two_patients(record: store.Store) -> None:
    await create(record, an_observation("one"), id="chosen")
    for patient in ("two", None):
        with pytest.raises(errors.Conflict):
            await create(record, an_observation(patient), id="chosen")


async def test_an_id_of_our_form_chosen_for_another_patient_is_found(record: store.Store) -> None:
    id = record.new_id("Observation", an_observation("one"))
    made = await create(record, an_observation("two"), id=id)
    assert await record.read("Observation", id, caller=SYSTEM) == made
    with pytest.raises(errors.Conflict):
        await create(record, an_observation("one"), id=id)


async def test_a_resource_moves_to_another_patient_with_its_history(record: store.Store) -> None:
    made = await create(record, an_observation("one"), "PractitionerRole/nadia")
    second = await update(record, made, status="amended")
    third = await update(record, second, subject={"reference": "Patient/two"})
    assert await record.read("Observation", made.id, caller=NADIA) == third
    assert await record.history("Observation", made.id, caller=NADIA) == [third, second, made]
    fourth = await update(record, third, status="corrected")
    for patient, found in (("one", []), ("two", [fourth])):
        asked = worlds.ask(f"Observation?patient={patient}", record.definitions)
        assert (await record.search(asked, caller=NADIA)).rows == found


async def test_history_is_paged_by_version(record: store.Store) -> None:
    stored = [await create(record, a_patient())]
    for n in range(4):
        stored.insert(0, await update(record, stored[0], birthDate=f"198{n}"))
    id = stored[0].id
    first = await record.history("Patient", id, caller=SYSTEM, count=2)
    rest = await record.history("Patient", id, caller=SYSTEM, count=9, before=first[-1].version)
    assert first + rest == stored
    assert await record.history("Patient", id, caller=SYSTEM, before=1) == []


async def test_a_commit_happens_whole_or_not_at_all(record: store.Store) -> None:
    made = await create(record, a_patient())
    changes = [
        Create("Patient", "one", a_patient()),
        Update("Patient", made.id, a_patient("Neuf")),
        Update("Patient", "missing", a_patient()),
    ]
    with pytest.raises(errors.NotFound):
        await record.commit(changes, caller=SYSTEM)
    await create(record, a_patient(), id="taken")
    with pytest.raises(errors.Conflict):
        await record.commit([*changes[:2], Create("Patient", "taken", a_patient())], caller=SYSTEM)
    assert await record.read("Patient", made.id, caller=SYSTEM) == made
    with pytest.raises(errors.NotFound):
        await record.read("Patient", "one", caller=SYSTEM)


async def test_every_problem_of_every_body_is_reported(record: store.Store) -> None:
    bad = [a_patient(gender="robot", active="yes"), an_observation(status="nope")]
    changes = [Create(body["resourceType"], f"bad-{n}", body) for n, body in enumerate(bad)]
    with pytest.raises(store.Rejected) as refused:
        await record.commit(changes, caller=SYSTEM)
    assert set(refused.value.by_ref) == {"Patient/bad-0", "Observation/bad-1"}
    assert {issue.expression for issue in refused.value.issues} >= {
        "Patient.gender",
        "Patient.active",
        "Observation.status",
    }
    with pytest.raises(errors.Invalid):
        await record.commit([Create("Observation", "x", a_patient())], caller=SYSTEM)


async def test_two_changes_on_one_resource_make_one_version(record: store.Store) -> None:
    changes = [
        Create("Patient", "folded", a_patient("Un")),
        Update("Patient", "folded", a_patient("Deux")),
        Share("Patient", "folded", frozenset({"PractitionerRole/nadia"})),
    ]
    results = await record.commit(changes, caller=SYSTEM)
    assert [one.version for one in results] == [1, 1]
    assert worlds.body(await record.read("Patient", "folded", caller=NADIA))["name"] == [{"family": "Deux"}]


async def test_sharing_adds_readers_without_a_version(record: store.Store) -> None:
    made = await create(record, a_task())
    with pytest.raises(errors.NotFound):
        await record.read("Task", made.id, caller=NADIA)
    await record.commit([Share("Task", made.id, frozenset({"PractitionerRole/nadia"}))], caller=SYSTEM)
    assert await record.read("Task", made.id, caller=NADIA) == made
    kept = await update(record, made, status="completed")
    assert await record.read("Task", made.id, caller=NADIA) == kept


async def test_the_author_and_the_named_readers_see_it_and_nobody_else(record: store.Store) -> None:
    made = await create(record, a_task(), "PractitionerRole/paul", caller=NADIA)
    for caller in (NADIA, PAUL, SYSTEM):
        assert await record.read("Task", made.id, caller=caller) == made
    with pytest.raises(errors.NotFound):
        await record.read("Task", made.id, caller=access.person("PractitionerRole/other"))
    role = await create(record, a_role())
    assert await record.read("PractitionerRole", role.id, caller=PAUL) == role


async def test_who_may_not_see_it_may_not_change_it_either(record: store.Store) -> None:
    made = await create(record, a_task())
    for change in (Update("Task", made.id, a_task(status="failed")), Share("Task", made.id, frozenset({"x/y"}))):
        with pytest.raises(errors.NotFound):
            await record.commit([change], caller=NADIA)
    (unknown,) = await record.commit([Delete("Task", made.id)], caller=NADIA)
    assert unknown.version == 0
    assert await record.read("Task", made.id, caller=SYSTEM) == made


async def test_scopes_and_software_alone_are_held_back_by_the_store_itself(record: store.Store) -> None:
    made = await create(record, a_task(), "PractitionerRole/nadia")
    narrow = access.person("PractitionerRole/nadia", scopes=("user/Patient.rs",))
    alone = access.Caller(actor=None, client="lgc")
    for caller in (narrow, alone):
        with pytest.raises(errors.Forbidden):
            await record.read("Task", made.id, caller=caller)
        with pytest.raises(errors.Forbidden):
            await record.search(worlds.ask("Task", record.definitions), caller=caller)
        with pytest.raises(errors.Forbidden):
            await record.commit([Create("Task", "t", a_task())], caller=caller)
        assert await record.many([made.ref], caller=caller) == {}


async def test_many_leaves_out_what_is_not_there(record: store.Store) -> None:
    one, two = await create(record, a_patient()), await create(record, an_observation("p"), id="chosen")
    refs = [one.ref, two.ref, one.ref, "Patient/none", "nonsense", "http://x.test/Patient/1", ""]
    assert await record.many(refs, caller=SYSTEM) == {one.ref: one, two.ref: two}


async def test_a_record_that_is_not_installed_says_what_to_do(definitions: object, tmp_path: object) -> None:
    with pytest.raises(errors.Unavailable, match=re.escape("hub migrate")):
        await store.Store.open(f"{tmp_path}/nothing.sqlite", definitions)  # type: ignore[arg-type]
