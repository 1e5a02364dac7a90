"""What came through a door: kept before all else, settled with what it led to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from common import errors
from fhir_server import store
from fhir_server.changes import Create, Settle
from tests.fhir_server import worlds
from tests.fhir_server.worlds import START, SYSTEM, a_patient, create

Opened = Callable[..., Awaitable[store.Store]]
RAW = bytes(range(256)) * 4


async def keep(record: store.Store, key: str = "MSG1", door: str = "mllp", raw: bytes = RAW) -> store.JournalEntry:
    return await record.journal_keep(door, key, raw, at=record.now(), meta={"peer": "10.0.0.1", "nom": "é"})


async def test_a_message_is_kept_byte_for_byte_and_survives_closing(opened: Opened) -> None:
    first = await opened()
    kept = await keep(first)
    assert (kept.state, kept.raw, kept.at, kept.meta) == ("received", RAW, START, {"peer": "10.0.0.1", "nom": "é"})
    await first.close()
    again = await opened()
    assert await again.journal_read(kept.id) == kept


async def test_its_end_is_written_with_what_it_led_to(record: store.Store, hands: worlds.Hands) -> None:
    kept = await keep(record)
    hands.forward(seconds=2)
    end = Settle(kept.id, "accepted", b"MSA|AA|MSG1", "")
    await record.commit([Create("Patient", "p", a_patient()), end], caller=SYSTEM, cause=kept.id)
    found = await record.journal_read(kept.id)
    assert (found.state, found.answer, found.settled) == ("accepted", b"MSA|AA|MSG1", START + timedelta(seconds=2))


async def test_a_commit_that_fails_leaves_the_entry_open(record: store.Store) -> None:
    kept = await keep(record)
    await create(record, a_patient(), id="taken")
    changes = [Create("Patient", "taken", a_patient()), Settle(kept.id, "accepted", b"AA")]
    with pytest.raises(errors.Conflict):
        await record.commit(changes, caller=SYSTEM)
    assert await record.journal_read(kept.id) == kept


async def test_a_refusal_is_settled_alone(record: store.Store) -> None:
    kept = await keep(record)
    await record.journal_settle(Settle(kept.id, "refused", b"AE", "patient inconnu"))
    found = await record.journal_read(kept.id)
    assert (found.state, found.answer, found.cause) == ("refused", b"AE", "patient inconnu")


@pytest.mark.parametrize("id", ["x", "", "0" * 13, f"{'0' * 13}-{'0' * 13}"])
async def test_an_entry_that_is_not_there_is_not_found(record: store.Store, id: str) -> None:
    with pytest.raises(errors.NotFound):
        await record.journal_read(id)
    with pytest.raises(errors.NotFound):
        await record.journal_settle(Settle(id, "refused"))
    with pytest.raises(errors.NotFound):
        await record.commit([Create("Patient", "p", a_patient()), Settle(id, "accepted")], caller=SYSTEM)
    with pytest.raises(errors.NotFound):
        await record.read("Patient", "p", caller=SYSTEM)


async def test_a_message_sent_again_is_found_by_its_accepted_answer(record: store.Store) -> None:
    assert await record.journal_find("mllp", "MSG1") is None
    entries = [await keep(record) for _ in range(3)]
    found = await record.journal_find("mllp", "MSG1")
    assert found == entries[2]
    await record.journal_settle(Settle(entries[0].id, "accepted", b"AA"))
    await record.journal_settle(Settle(entries[2].id, "refused", b"AE"))
    found = await record.journal_find("mllp", "MSG1")
    assert found is not None
    assert (found.id, found.answer) == (entries[0].id, b"AA")
    assert await record.journal_find("smtp", "MSG1") is None


async def test_any_key_and_any_meta_can_be_kept(record: store.Store) -> None:
    for key in ("", "a\0b", "\udcff", "é" * 300, "' OR 1=1 --"):
        kept = await record.journal_keep("mllp", key, b"", at=record.now(), meta={key: [None, 1.5, "\0"]})
        assert await record.journal_read(kept.id) == kept
        assert await record.journal_find("mllp", key) == kept


async def test_the_latest_entries_come_first(record: store.Store, hands: worlds.Hands) -> None:
    entries = []
    for n in range(5):
        entries.insert(0, await keep(record, f"M{n}"))
        hands.forward(seconds=1)
    await record.journal_settle(Settle(entries[1].id, "accepted"))
    assert await record.journal_list(2) == [entries[0], await record.journal_read(entries[1].id)]
    assert await record.journal_list(10, "received") == [entries[0], *entries[2:]]
    assert [one.id for one in await record.journal_list(10, "accepted")] == [entries[1].id]


async def test_messages_and_commits_written_together_do_not_disturb_each_other(record: store.Store) -> None:
    await create(record, a_patient(), id="taken")
    kept = [keep(record, f"M{n}", raw=b"x" * n) for n in range(20)]
    made = [create(record, a_patient()) for _ in range(20)]
    bad = [create(record, a_patient(), id="taken") for _ in range(5)]
    answers = await asyncio.gather(*kept, *made, *bad, return_exceptions=True)
    assert all(isinstance(one, errors.Conflict) for one in answers[40:])
    assert not any(isinstance(one, Exception) for one in answers[:40])
    assert {len(one.raw) for one in await record.journal_list(50)} == set(range(20))
