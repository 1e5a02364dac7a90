"""Can the schema and the SQL for PostgreSQL be spread over nodes as they are?

Learned on a real cluster: `part` leads every primary and unique key; UPDATE, DELETE and queue reads name `part` or
`lane` by equality; the rows of one statement have one part. HUB_TEST_CITUS, the address of an empty database with the
extension, runs the store on a real cluster.
"""

from __future__ import annotations

import os
import re

import asyncpg
import pytest
from sqlalchemy import Table, UniqueConstraint

from fhir_server import store, tables
from fhir_server.changes import Claim, Create, Delete, Enqueue, Finish, Settle, Update
from fhir_server.engines import (
    postgres,
    postgres_bulk,
    postgres_claims,
    postgres_follow,
    postgres_notices,
    postgres_outbox,
    postgres_write,
)
from fhir_server.r4 import load
from hub.migrations import run as migrations
from tests.fhir_server import worlds
from tests.fhir_server.worlds import SYSTEM, a_patient, a_task, an_observation, create, update

TABLES = tables.schema("postgresql").tables
MODULES = (
    postgres, postgres_bulk, postgres_claims, postgres_follow, postgres_notices, postgres_outbox, postgres_write,
)  # fmt: skip
SQL = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, str) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", value) and not name.startswith("__")
}
BY_EQUALITY = r"(?:\w+\.)?(?:part|lane) = (?:\$\d+|[a-z]+\.part)"


def statements(kind: str) -> list[tuple[str, str]]:
    """Each part of the SQL that begins with `kind`, up to where the next one begins."""
    found = []
    for name, sql in SQL.items():
        for piece in re.split(r"\b(?=(?:INSERT INTO|(?<!DO )UPDATE \w+ SET|(?<!FOR )DELETE FROM)\b)", sql):
            if piece.startswith(kind):
                found.append((name, " ".join(piece.split())))
    return found


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_part_leads_every_primary_and_unique_key(table: Table) -> None:
    assert next(iter(table.primary_key.columns)).name == "part"
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            assert next(iter(constraint.columns)).name == "part"
    assert not any(one.unique for one in table.indexes)


@pytest.mark.servers
def test_the_installed_tables_are_those_described(postgres_database: str) -> None:
    migrations.check(postgres_database)


def test_the_sql_is_looked_at() -> None:
    assert {"postgres_write.CREATE", "postgres_write.UPDATE", "postgres_outbox.LEASE"} <= set(SQL)
    assert len(statements("UPDATE")) >= 6
    assert len(statements("DELETE")) >= 6


@pytest.mark.parametrize(("name", "sql"), statements("UPDATE") + statements("DELETE"))
def test_every_update_and_delete_names_part_or_lane_by_equality(name: str, sql: str) -> None:
    assert re.search(rf"\bWHERE (?:.* AND )?{BY_EQUALITY}", sql), f"{name}: {sql}"


def test_queue_reads_that_lock_name_the_lane_by_equality() -> None:
    locking = {name: sql for name, sql in SQL.items() if "FOR UPDATE" in sql}
    assert locking
    for name, sql in locking.items():
        assert re.search(r"\.lane = \$1\b", sql), name
        assert "SKIP LOCKED" in sql, name


def test_the_rows_of_one_statement_have_one_part() -> None:
    for name, sql in SQL.items():
        inserts = re.findall(r"INSERT INTO (\w+) \(part\b[^)]*\)\s*(?:SELECT|VALUES)\s*\(?([^,]+),", sql)
        assert all(value.strip() in ("$1", "$1::bigint", "o.part") for _, value in inserts), (name, inserts)


@pytest.mark.skipif("HUB_TEST_CITUS" not in os.environ, reason="HUB_TEST_CITUS names no cluster")
async def test_the_store_works_on_a_real_cluster(definitions: load.Definitions) -> None:
    url = os.environ["HUB_TEST_CITUS"]
    migrations.upgrade(url)
    server = await asyncpg.connect(url)
    for name in TABLES:
        column = "lane" if name == "outbox" else "part"
        await server.execute("SELECT create_distributed_table($1::text::regclass, $2)", name, column)
    await server.close()
    record = await store.Store.open(url, definitions)
    patient = await create(record, a_patient("Citus"), id="citus")
    made = await create(record, an_observation("citus"))
    moved = await update(record, made, subject={"reference": "Patient/other"})
    assert await record.read("Observation", made.id, caller=SYSTEM) == moved
    found = await record.search(worlds.ask("Patient?family=citus", definitions), caller=SYSTEM)
    assert found.rows == [patient]
    entry = await record.journal_keep("mllp", "M", b"raw", at=record.now(), meta={})
    changes = [
        Create("Task", "t", a_task("citus")),
        Update("Patient", "citus", a_patient("Citus", active=True)),
        Claim("key", "Patient", "citus"),
        Enqueue("mail", "Task", "t"),
        Settle(entry.id, "accepted"),
    ]
    await record.commit(changes, caller=SYSTEM)
    (work,) = await record.lease("mail", 10, 60)
    await record.commit([Delete("Task", "t"), Finish(work.part, work.lane, work.seq)], caller=SYSTEM)
    assert (await record.history("Task", "t", caller=SYSTEM))[0].method == "DELETE"
    await record.close()
