"""Can the schema and the SQL for PostgreSQL be spread over nodes as they are?

Learned on a real cluster: `part` leads every primary and unique key; UPDATE, DELETE and queue reads name `part` or
`lane` by equality; the rows of one statement have one part. HUB_TEST_CITUS, the address of an empty database with the
extension, runs the store on a real cluster.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Column, Table, Text, UniqueConstraint

from common import errors
from fhir_server import engines, store, tables
from fhir_server.changes import Claim, Create, Delete, Enqueue, Finish, Settle, Update
from fhir_server.engines import citus, postgres_number
from fhir_server.r4 import load
from hub.migrations import run as migrations
from tests.fhir_server import worlds
from tests.fhir_server.worlds import SYSTEM, a_patient, a_task, an_observation, create, update

TABLES = tables.schema("postgresql").tables
# On each node, because every row that is looked at is looked up there: hashes of patients and people, nothing else.
COPIED = {"standing"}
# What PostgreSQL is asked, in whatever module.
MODULES = [
    importlib.import_module(f"fhir_server.engines.{one.name}")
    for one in pkgutil.iter_modules(engines.__path__)
    if one.name.startswith("postgres")
]
SQL = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, str) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", value) and not name.startswith("__")
}
# By a value or by what another row of the same statement is known to have.
VALUE = r"(?:\$\d+(?:::\w+)?|[a-z]+\.(?:part|lane))"


def statements(kind: str) -> list[tuple[str, str]]:
    """Each part of the SQL that begins with `kind`, up to where the next one begins."""
    found = []
    for name, sql in SQL.items():
        for piece in re.split(r"\b(?=(?:INSERT INTO|(?<!DO )UPDATE \w+ SET|(?<!FOR )DELETE FROM)\b)", sql):
            if piece.startswith(kind):
                found.append((name, " ".join(piece.split())))
    return found


def test_patient_data_is_spread_and_never_copied_to_every_node() -> None:
    for name, table in TABLES.items():
        assert "rid" not in table.columns or citus.spread_by(table) == "part", name
        column = citus.spread_by(table)
        assert (column is None) == (name in COPIED), name
        assert column is None or column in (table.primary_key.columns or table.columns), name


@pytest.mark.parametrize("table", [TABLES[one] for one in TABLES if one not in COPIED], ids=lambda table: table.name)
def test_part_leads_every_primary_and_unique_key(table: Table) -> None:
    assert [column.name for column in table.primary_key.columns][:1] in (["part"], [])
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


def table_of(sql: str) -> Table:
    found = re.match(r"(?:UPDATE|DELETE FROM|INSERT INTO) (\w+)", sql)
    assert found, sql
    return TABLES[found[1]]


@pytest.mark.parametrize(("name", "sql"), statements("UPDATE") + statements("DELETE"))
def test_every_update_and_delete_names_by_equality_what_its_table_is_spread_by(name: str, sql: str) -> None:
    column = citus.spread_by(table_of(sql))
    if column is None:
        return  # written on each node
    assert re.search(rf"\bWHERE (?:.* AND )?(?:\w+\.)?{column} = {VALUE}", sql), f"{name}: {sql}"


def test_reads_that_lock_name_by_equality_what_their_table_is_spread_by() -> None:
    locking = {name: sql for name, sql in SQL.items() if "FOR UPDATE" in sql}
    assert locking
    for name, sql in locking.items():
        found = re.search(r"FROM (\w+) (\w+)\b.* FOR UPDATE OF \2 SKIP LOCKED", " ".join(sql.split()))
        assert found, name
        assert re.search(rf"\b{found[2]}\.{citus.spread_by(TABLES[found[1]])} = \$\d+", sql), name


def test_a_create_is_one_statement_of_tables_that_are_spread_alike() -> None:
    created = re.findall(r"INSERT INTO (\w+)", SQL["postgres_write.CREATE_TRACED"])
    assert {"resource", "hot", "str", "dat", "num", "event", "trace", "trace_of"} <= set(created)
    assert {citus.spread_by(TABLES[name]) for name in created} == {"part"}


def test_the_rows_of_one_statement_have_one_part() -> None:
    for name, sql in SQL.items():
        inserts = re.findall(r"INSERT INTO (\w+) \(part\b[^)]*\)\s*(?:SELECT|VALUES)\s*\(?([^,]+),", sql)
        assert all(value.strip() in ("$1", "$1::bigint", "o.part") for _, value in inserts), (name, inserts)


@pytest.mark.skipif("HUB_TEST_CITUS" not in os.environ, reason="HUB_TEST_CITUS names no cluster")
async def test_the_store_works_on_a_real_cluster(definitions: load.Definitions) -> None:
    url = os.environ["HUB_TEST_CITUS"]
    migrations.upgrade(url)
    first, again = await citus.distribute(url), await citus.distribute(url)
    assert again == [one if one.endswith("as before") else f"{one}, as before" for one in first]
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


class Recording:
    """A server with the extension that writes down what it is told."""

    def __init__(self, spread: dict[str, str | None], *, version: str | None = "13.2", holders: int = 0) -> None:
        self.spread, self.version, self.holders = spread, version, holders
        self.told: list[tuple[str, ...]] = []

    async def fetchval(self, sql: str, *values: Any) -> Any:
        if sql == citus.EXTENSION:
            return self.version
        return values[0] != self.version if sql == citus.INSTALLED else self.holders

    async def fetch(self, sql: str) -> list[tuple[str, str, str | None]]:
        assert sql == citus.SPREAD
        return [(name, "distributed", column) for name, column in self.spread.items()]

    async def execute(self, sql: str, *values: str) -> None:
        self.told.append((sql, *values))
        if sql == citus.DISTRIBUTE:
            self.spread[values[0]] = values[1]
        elif sql == citus.COPY:
            self.spread[values[0]] = None


async def test_every_table_is_spread_once_the_first_alone_and_the_others_with_it() -> None:
    server = Recording({})
    lines = await citus.spread(server)
    told = [one[1:] for one in server.told if one[0] == citus.DISTRIBUTE]
    assert told[0] == ("resource", "part", "none")
    assert ("outbox", "lane", "none") in told
    others = {name for name in TABLES if name not in ("resource", "outbox", *COPIED)}
    assert [one[1:] for one in server.told if one[0] == citus.COPY] == [(name,) for name in COPIED]
    assert set(told[1:]) - {("outbox", "lane", "none")} == {(name, "part", "resource") for name in others}
    assert len(lines) == len(told) + len(COPIED) == len(TABLES)
    # What was copied to the nodes goes, and only after it was copied.
    for place, one in enumerate(server.told):
        if one[0] == citus.EMPTY:
            assert server.told[place - 1][1] == one[1]
    server.told.clear()
    assert await citus.spread(server) == [f"{line}, as before" for line in lines]
    assert not server.told


async def test_a_table_that_came_later_is_spread_beside_the_others() -> None:
    server = Recording({name: citus.spread_by(table) for name, table in TABLES.items() if name != "num"})
    await citus.spread(server)
    assert server.told == [(citus.DISTRIBUTE, "num", "part", "resource"), (citus.EMPTY, "num")]


async def test_a_small_table_without_a_part_is_copied_to_each_node(monkeypatch: pytest.MonkeyPatch) -> None:
    described = tables.schema("postgresql")
    Table("colour", described, Column("name", Text, primary_key=True))
    monkeypatch.setattr(tables, "schema", lambda dialect: described)
    server = Recording({name: citus.spread_by(table) for name, table in TABLES.items()})
    assert (await citus.spread(server))[-1] == "colour: a copy on each node"
    assert server.told == [(citus.COPY, "colour"), (citus.EMPTY, "colour")]


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (Recording({}, version=None), "extension Citus manque"),
        (Recording({}, version="num"), "hub migrate"),  # a table of that name is not there
        (Recording({}, holders=2), "2 processus utilisent cette base"),
        (Recording({"hot": "hash"}), "hot est répartie par hash au lieu de part"),
    ],
    ids=["no extension", "no tables", "hubs are running", "another column"],
)
async def test_nothing_is_begun_when_something_stands_against_it(server: Recording, words: str) -> None:
    with pytest.raises(errors.HubError, match=words):
        await citus.spread(server)
    assert not server.told


@pytest.mark.servers
async def test_without_the_extension_the_operator_is_told_what_to_install(postgres_database: str) -> None:
    with pytest.raises(errors.Unavailable, match="CREATE EXTENSION citus"):
        await citus.distribute(postgres_database)


@pytest.mark.servers
@pytest.mark.parametrize("database", ["", "postgres"])
def test_the_command_refuses_in_one_line(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = request.getfixturevalue("postgres_database") if database else ""
    command = [sys.executable, "-m", "hub.cli", "db", "distribute"]
    settings = {**os.environ, "HUB_DATABASE": url, "HUB_DATA": str(tmp_path)}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert ("citus" if database else "PostgreSQL") in done.stderr


@pytest.mark.servers
async def test_the_processes_on_a_database_are_counted(postgres_database: str, definitions: load.Definitions) -> None:
    server = await asyncpg.connect(postgres_database)
    count = partial(server.fetchval, postgres_number.HELD, postgres_number.LOCKS)
    before = await count()
    record = await store.Store.open(postgres_database, definitions)
    assert await count() == before + 1
    await record.close()
    assert await count() == before
    await server.close()


# What Citus 13 declares, as far as it is called: the types of the arguments, which a recording server does not check.
DECLARED = """
CREATE TYPE distribution_type AS ENUM ('hash');
CREATE TABLE citus_tables (table_name regclass, citus_table_type text, distribution_column text);
CREATE FUNCTION create_distributed_table(table_name regclass, distribution_column text,
    distribution_type distribution_type DEFAULT 'hash', colocate_with text DEFAULT 'default',
    shard_count int DEFAULT NULL)
    RETURNS void LANGUAGE sql AS $$ INSERT INTO citus_tables VALUES ($1, 'distributed', $2) $$;
CREATE FUNCTION create_reference_table(table_name regclass)
    RETURNS void LANGUAGE sql AS $$ INSERT INTO citus_tables VALUES ($1, 'reference', '<none>') $$;
CREATE FUNCTION truncate_local_data_after_distributing_table(function_name regclass)
    RETURNS void LANGUAGE sql AS '';
"""


@pytest.mark.servers
async def test_a_server_understands_what_it_is_told(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations.upgrade(postgres_url)
    monkeypatch.setattr(citus, "EXTENSION", "SELECT '13'")
    server = await asyncpg.connect(postgres_url)
    await server.execute(DECLARED)
    first = await citus.distribute(postgres_url)
    told = {
        row[0]: row[1] for row in await server.fetch("SELECT table_name::text, distribution_column FROM citus_tables")
    }
    assert told == {name: citus.spread_by(table) or "<none>" for name, table in TABLES.items()}
    assert await citus.distribute(postgres_url) == [f"{line}, as before" for line in first]
    await server.execute(citus.COPY, "hot")  # no table of ours is copied yet: only that it is understood
    await server.close()
