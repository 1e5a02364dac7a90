"""How does an installed PostgreSQL schema become tables that Citus spreads over its nodes?

Every table of `tables.py` goes by `part`, together with the other rows of its patient (a queue by its `lane`, see
`spread_by`); a table without `part` is copied to each node. Table by table and for good: whatever is spread
already is left as it is, so that it may be run again after a failure or after an upgrade that brought new tables.
"""

from __future__ import annotations

import asyncpg
from sqlalchemy import Table

from common import errors
from fhir_server import tables
from fhir_server.engines import postgres_number
from fhir_server.engines.connections import Connection, translated

EXTENSION = "SELECT extversion FROM pg_extension WHERE extname = 'citus'"
INSTALLED = "SELECT to_regclass($1::text) IS NOT NULL"
SPREAD = """
SELECT table_name::text, citus_table_type, distribution_column FROM citus_tables
WHERE citus_table_type IN ('distributed', 'reference')
"""
DISTRIBUTE = "SELECT create_distributed_table($1::text::regclass, $2, colocate_with => $3)"
COPY = "SELECT create_reference_table($1::text::regclass)"
# What was in the table before has been copied to the nodes.
EMPTY = "SELECT truncate_local_data_after_distributing_table($1::text::regclass)"
_FIRST = "resource"  # the others live where its rows do


def spread_by(table: Table) -> str | None:
    """The column by which Citus spreads the rows of a table over its nodes; None: a copy of all on each node."""
    if "part" not in table.columns:
        return None
    column: str = table.info.get("spread_by", "part")
    return column


async def distribute(dsn: str) -> list[str]:
    """Spread what is not spread yet; one line for each table. Raises Unavailable, Conflict."""
    try:
        with translated():
            connection = await asyncpg.connect(dsn, timeout=10)
    except ValueError as problem:  # of asyncpg, about the address
        raise errors.Unreadable("adresse de base illisible", at="--database") from problem
    try:
        with translated():
            return await spread(connection)
    finally:
        await connection.close()


async def spread(connection: Connection) -> list[str]:
    """The same over a connection. Nothing is begun when something stands against it."""
    if await connection.fetchval(EXTENSION) is None:
        raise errors.Unavailable(
            "l'extension Citus manque dans cette base ; installez le paquet citus sur chaque nœud, ajoutez citus à "
            "shared_preload_libraries, redémarrez PostgreSQL, puis lancez CREATE EXTENSION citus"
        )
    described = _in_order()
    for table in described:
        if not await connection.fetchval(INSTALLED, table.name):
            raise errors.Unavailable("la base n'est pas installée ou pas à jour ; lancez `hub migrate`")
    if running := await connection.fetchval(postgres_number.HELD, postgres_number.LOCKS):
        raise errors.Conflict(f"{running} processus utilisent cette base ; arrêtez les hubs, puis recommencez")
    done = {name: column for name, _, column in await connection.fetch(SPREAD)}
    for table in described:
        column = spread_by(table)
        if column and done.get(table.name, column) != column:
            raise errors.Conflict(f"{table.name} est répartie par {done[table.name]} au lieu de {column}")
    return [await _spread(connection, table, table.name in done) for table in described]


async def _spread(connection: Connection, table: Table, is_done: bool) -> str:
    name, column = table.name, spread_by(table)
    what = f"{name}: by {column}" if column else f"{name}: a copy on each node"
    if is_done:
        return f"{what}, as before"
    if column is None:
        await connection.execute(COPY, name)
    else:
        together = _FIRST if column == "part" and name != _FIRST else "none"
        await connection.execute(DISTRIBUTE, name, column, together)
    await connection.execute(EMPTY, name)
    return what


def _in_order() -> list[Table]:
    found = tables.schema("postgresql").tables
    return [found[_FIRST], *(table for name, table in found.items() if name != _FIRST)]
