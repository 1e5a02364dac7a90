"""What must be unique on PostgreSQL, wherever its rows live?

A unique key of a spread-out table holds within one part only. What is unique across parts has small tables of its
own, distributed by their own hash: `unique_key` for claims, `locator` for ids that do not tell their part. Every id
chosen by a client has a locator row, so that one id cannot be created under two patients at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from common import errors
from fhir_server import ids
from fhir_server.changes import Claim
from fhir_server.engines.connections import Connection
from fhir_server.rows import Moved, Put, Row, Taken

CLAIM = """
INSERT INTO unique_key (part, key, type, fid) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING key
"""
OWNER = "SELECT type, fid FROM unique_key WHERE part = $1 AND key = $2"
TAKE_OVER = """
UPDATE unique_key SET type = $3, fid = $4 WHERE part = $1 AND key = $2 AND type = $5 AND fid = $6 RETURNING key
"""
LOCATE = "INSERT INTO locator (part, type, fid, home) VALUES ($1, $2, $3, $4)"
RELOCATE = """
INSERT INTO locator (part, type, fid, home) VALUES ($1, $2, $3, $4)
ON CONFLICT (part, type, fid) DO UPDATE SET home = excluded.home
"""
HOME = "SELECT home FROM locator WHERE part = $1 AND type = $2 AND fid = $3"
KNOWN = "SELECT deleted FROM resource WHERE part = $1 AND type = $2 AND fid = $3"


def needs_locator(put: Put) -> bool:
    """Does the id of a new resource not tell where it lives, or could another one have it under another part?"""
    return put.chosen or ids.guess_part(put.row.type, put.row.fid) != put.row.part


async def locate(connection: Connection, puts: Sequence[Put]) -> None:
    """Locator rows for new resources that need them. Raises Conflict."""
    rows = [put.row for put in puts if needs_locator(put)]
    for row in rows:
        guess = ids.guess_part(row.type, row.fid)
        # An id of our own form may be taken without a locator.
        if ids.is_made_here(row.fid) and await connection.fetchrow(KNOWN, guess, row.type, row.fid):
            raise errors.Conflict(f"{row.ref} existe déjà")
    try:
        if rows:
            placed = sorted((ids.hash64(row.ref), row.type, row.fid, row.part) for row in rows)
            await connection.executemany(LOCATE, placed)
    except asyncpg.UniqueViolationError as problem:
        name = rows[0].ref if len(rows) == 1 else "un identifiant"
        raise errors.Conflict(f"{name} existe déjà") from problem


async def relocate(connection: Connection, row: Row) -> None:
    """A resource has moved to another part."""
    await connection.execute(RELOCATE, ids.hash64(row.ref), row.type, row.fid, row.part)


async def claim(connection: Connection, claims: Sequence[Claim]) -> None:
    """Claim keys for resources. Raises Taken; a key whose owner was deleted is free."""
    for one in sorted(claims, key=lambda claim: (ids.hash64(claim.key), claim.key)):
        part = ids.hash64(one.key)
        if await connection.fetchval(CLAIM, part, one.key, one.type, one.id):
            continue
        owner = await connection.fetchrow(OWNER, part, one.key)
        if owner is None:
            raise Moved(f"{one.type}/{one.id}")
        type, id = owner
        if (type, id) == (one.type, one.id):
            continue
        if not await _is_deleted(connection, type, id):
            raise Taken(one.key, f"{type}/{id}")
        if not await connection.fetchval(TAKE_OVER, part, one.key, one.type, one.id, type, id):
            raise Moved(f"{one.type}/{one.id}")


async def _is_deleted(connection: Connection, type: str, id: str) -> bool:
    part = await connection.fetchval(HOME, ids.hash64(f"{type}/{id}"), type, id)
    deleted = await connection.fetchval(KNOWN, ids.guess_part(type, id) if part is None else part, type, id)
    return bool(deleted == 1)
