"""What an older program stored is found by what a newer one looks for, and nothing of the old rows stays behind."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from sqlalchemy import Table

from common import errors
from fhir_server import bodies, conditions, index, store, tables
from fhir_server.changes import Delete, Stored, Update
from fhir_server.keys import key, told
from fhir_server.r4 import load
from tests.fhir_server import worlds
from tests.fhir_server.conftest import Opened
from tests.fhir_server.worlds import NADIA, SYSTEM, a_patient, a_task, an_observation, create, update

OLD, NEW = index.GENERATION, index.GENERATION + 1
STALE = (key("stale"), told("stale"))


class Older:
    """The indexer of a program that knew half of the parameters, and some that have gone since."""

    def __init__(self, definitions: load.Definitions) -> None:
        self._newer = index.Indexer(definitions)
        self.patient, self.patient_masks = self._newer.patient, self._newer.patient_masks

    def rows(self, resource: dict[str, Any]) -> conditions.Rows:
        found = self._newer.rows(resource)
        eq = (*found.eq[::2], *STALE)
        return replace(
            found,
            eq=eq,
            ordered=(*(one for one in found.ordered if one in eq), STALE[0]),
            strings=((1, "stale", "stale"),),
            dates=((1, 0, 1),),
            amounts=((1, 0, "0", "1"),),
            sort_date=1,
            links=((1, STALE[0]),),
            texts=("", "", "stale"),
        )


@pytest.fixture
async def older(opened: Opened, definitions: load.Definitions) -> store.Store:
    return await opened(indexer=Older(definitions), generation=OLD)


def described(url: str) -> Mapping[str, Table]:
    return tables.schema("postgresql" if url.startswith("postgresql") else "sqlite").tables


def dump(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables that belong to a resource: what is stored, and how it is found."""
    found = {}
    with closing(psycopg.connect(url) if url.startswith("postgresql") else sqlite3.connect(url)) as connection:
        for name, table in described(url).items():
            # Words of full text may be waiting as new ones or as others: what is found is the same.
            if "rid" in table.columns and not name.startswith("words"):
                columns = ", ".join(column.name for column in table.columns)
                found[name] = sorted(map(repr, connection.execute(f"SELECT {columns} FROM {name}").fetchall()))
    return found


async def fill(record: store.Store) -> None:
    await create(record, a_patient("Lefèvre", gender="female"), "everybody", id="p")
    await create(record, a_task("p"), "PractitionerRole/nadia", id="t")
    value = {"value": Decimal("72.5"), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}
    await create(record, an_observation("p", when="2026-03-01", valueQuantity=value), id="o")


async def found(record: store.Store, url: str, definitions: load.Definitions) -> list[str]:
    page = await record.search(worlds.ask(url, definitions), caller=SYSTEM)
    return [row.ref for row in page.rows]


SEARCHES = ("Patient?family=lefevre", "Observation?date=2026-03-01", "Observation?patient=p", "Task?patient=p")
SEARCHES = (*SEARCHES, "Patient?gender=female", "Observation?code=weight", "Observation?value-quantity=72.5")
SEARCHES = (*SEARCHES, "Patient?_content=lefevre", "Task?patient.family=lefevre")


async def test_what_an_older_program_stored_is_found_once_it_is_indexed_again(
    older: store.Store, opened: Opened, definitions: load.Definitions
) -> None:
    await fill(older)
    await older.close()
    record = await opened(generation=NEW)
    before = [await found(record, url, definitions) for url in SEARCHES]
    assert [] in before
    assert await record.is_outdated()
    made = await record.reindex()
    assert (made.done, made.failed) == (3, 0)
    assert not await record.is_outdated()
    assert [len(await found(record, url, definitions)) for url in SEARCHES] == [1] * len(SEARCHES)
    assert await found(record, "Patient?_content=stale", definitions) == []
    assert (await record.reindex()).done == 0


async def test_the_rows_are_those_that_a_create_would_write(older: store.Store, opened: Opened, url: str) -> None:
    await fill(older)
    await older.close()
    keep_all_keys_in_order(url)
    record = await opened(generation=NEW)
    await record.reindex(restful=True)
    await record.close()
    again = dump(url)
    run(url, *(f"DELETE FROM {name}" for name in described(url)))
    fresh = await opened(generation=NEW)
    await fill(fresh)
    await fresh.close()
    made = dump(url)
    assert again.keys() == made.keys() >= {"resource", "hot", "str", "dat", "num"}
    for name, rows in made.items():
        assert again[name] == rows, name


def keep_all_keys_in_order(url: str) -> None:
    """An older program put keys into the ordered table that this one does not."""
    part = "part, " if url.startswith("postgresql") else ""
    run(url, f"INSERT INTO hot ({part}hash, sort_date, rid) SELECT {part}{STALE[1]}, sort_date, rid FROM resource")


def run(url: str, *statements: str) -> None:
    with closing(psycopg.connect(url) if url.startswith("postgresql") else sqlite3.connect(url)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def test_versions_events_and_readers_stay(older: store.Store, opened: Opened) -> None:
    made = await create(older, a_patient("Avant"), "PractitionerRole/nadia")
    made = await update(older, made, active=True)
    await older.close()
    told: list[store.Event] = []
    record = await opened(generation=NEW)
    record.listen(told.extend)
    await record.reindex()
    assert await record.read("Patient", made.id, caller=NADIA) == made
    assert [one.version for one in await record.history("Patient", made.id, caller=NADIA)] == [2, 1]
    assert not told


async def changed(record: store.Store, stored: Stored, **elements: Any) -> None:
    body = bodies.decode(stored.body) | elements
    await record.commit([Update(stored.type, stored.id, body)], caller=SYSTEM)


@pytest.mark.parametrize("kind", ["update", "delete", "move", "delete and again"])
async def test_a_write_leaves_nothing_of_what_an_older_program_indexed(
    kind: str, older: store.Store, opened: Opened, url: str, definitions: load.Definitions
) -> None:
    await fill(older)
    made = await older.read("Observation", "o", caller=SYSTEM)
    await older.close()
    keep_all_keys_in_order(url)
    record = await opened(generation=NEW)
    await record.commit([Delete("Patient", "p"), Delete("Task", "t")], caller=SYSTEM)
    if kind == "update":
        await changed(record, made, status="amended")
    elif kind == "move":
        await changed(record, made, subject={"reference": "Patient/other"})
    else:
        await record.commit([Delete("Observation", "o")], caller=SYSTEM)
    if kind == "delete and again":
        await changed(record, made, status="amended")
    expected = [] if kind == "delete" else ["Observation/o"]
    assert await found(record, "Observation?code=weight", definitions) == expected
    assert await found(record, "Observation?date=2026-03-01", definitions) == expected
    assert await found(record, "Observation?_content=stale", definitions) == []
    assert not await record.is_outdated()
    await record.close()
    left = dump(url)
    assert not any(str(one) in row for name in ("resource", "hot") for row in left[name] for one in STALE)
    assert not any("'stale'" in row for row in left["str"])
    if kind == "delete":
        assert not (left["str"] or left["dat"] or left["num"])


async def test_what_is_written_meanwhile_is_left_alone(older: store.Store, opened: Opened) -> None:
    made = [await create(older, a_patient(f"N{number}")) for number in range(5)]
    record = await opened(generation=NEW)
    engine = record._engine
    rows = await engine.get([("Patient", one.id) for one in made], None)
    newer = await update(record, made[0], active=True)
    assert await engine.reindex([record._preparer.again(row) for row in rows]) == 4
    assert await record.read("Patient", newer.id, caller=SYSTEM) == newer
    assert not await record.is_outdated()


async def test_a_body_that_cannot_be_indexed_stops_nobody(
    older: store.Store, opened: Opened, definitions: load.Definitions
) -> None:
    for number in range(3):
        await create(older, a_patient(f"N{number}"), id=str(number))
    await older.close()

    class Picky(index.Indexer):
        def rows(self, resource: dict[str, Any]) -> conditions.Rows:
            if resource["id"] == "1":
                raise ValueError
            return super().rows(resource)

    record = await opened(generation=NEW, indexer=Picky(definitions))
    made = await record.reindex()
    assert (made.done, made.failed) == (2, 1)
    assert await record.is_outdated()
    assert await found(record, "Patient?family=n2", definitions) == ["Patient/2"]


async def test_many_are_taken_a_few_at_a_time(
    older: store.Store, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.reindex._AHEAD", 7)
    monkeypatch.setattr("fhir_server.reindex._BYTES", 400)
    for number in range(20):
        await create(older, a_patient(f"N{number}" * (1 + number % 3)))
    record = await opened(generation=NEW)
    assert (await record.reindex()).done == 20
    assert not await record.is_outdated()


async def test_what_was_broken_off_goes_on_where_it_was(
    older: store.Store, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.reindex._AT_ONCE", 5)
    for number in range(20):
        await create(older, a_patient(f"N{number}"))
    record = await opened(generation=NEW)
    engine, calls = record._engine, 0
    through = engine.reindex

    async def breaking(puts: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise errors.Unavailable("la base ne répond pas ; réessayez")
        return await through(puts)

    monkeypatch.setattr(engine, "reindex", breaking)
    with pytest.raises(errors.Unavailable):
        await record.reindex()
    assert (await record.reindex()).done == 10
    assert not await record.is_outdated()


async def test_others_are_answered_meanwhile(
    older: store.Store, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.reindex._AT_ONCE", 5)
    made = [await create(older, a_patient(f"N{number}")) for number in range(50)]
    record = await opened(generation=NEW)
    working, answered = asyncio.ensure_future(record.reindex(restful=True)), 0
    while not working.done():
        await record.read("Patient", made[0].id, caller=SYSTEM)
        answered += 1
        await asyncio.sleep(0)
    assert working.result().done == 50
    assert answered >= 10
