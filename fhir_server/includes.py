"""Which other resources does a page of matches bring along?

R4 search.html#include. Order: what refers to the matches, what the matches refer to, then the same again for `:iterate`
until nothing new comes. Every look-up is made with the caller's rights; a resource comes once. What is included has a
limit of bytes of its own (`page.MOST_BYTES`), besides that of the matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from common import errors
from fhir_server import access, chains, following, page, query
from fhir_server.changes import Stored
from fhir_server.exchange import Server
from fhir_server.r4.search_params import ANY

MOST_INCLUDED = 1000
MOST_ROUNDS = 5
_MOST_KEYS = 4000  # in one look-up of what refers to some resources

# Only references are looked at: exact decimals would cost for nothing.
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Included:
    """The resources found, in order, and what has to be said about limits that were met."""

    rows: list[Stored] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


async def follow(server: Server, caller: access.Caller, asked: query.Parsed, matches: list[Stored]) -> Included:
    """What `_include` and `_revinclude` of `asked` add to `matches`."""
    found = Included()
    seen = {row.ref for row in matches}
    fresh = await _round(server, caller, (asked.revincludes, asked.includes), matches, seen=seen)
    again = tuple(tuple(one for one in some if one.iterate) for some in (asked.revincludes, asked.includes))
    rounds = 1
    while fresh:
        found.rows += fresh
        if len(found.rows) > MOST_INCLUDED:
            found.rows = found.rows[:MOST_INCLUDED]
            found.remarks.append(f"Inclusions limitées à {MOST_INCLUDED} ressources : réduisez _count")
            return found
        if (fits := page.fitting(found.rows)) < len(found.rows):
            found.rows = found.rows[:fits]
            found.remarks.append(f"Inclusions limitées à {page.MOST_BYTES >> 20} Mio : réduisez _count")
            return found
        if not any(again):
            return found
        if rounds == MOST_ROUNDS:
            found.remarks.append(f"Inclusions répétées limitées à {MOST_ROUNDS} tours")
            return found
        fresh = await _round(server, caller, again, fresh, seen=seen)
        rounds += 1
    return found


async def _round(
    server: Server,
    caller: access.Caller,
    wanted: tuple[tuple[query.Include, ...], ...],
    rows: list[Stored],
    *,
    seen: set[str],
) -> list[Stored]:
    """What these includes add to `rows`; once that is more than may be sent, no more is looked up."""
    revincludes, includes = wanted
    fresh: list[Stored] = []
    if back := [one for one in revincludes if _may(caller, one.type)]:
        at_once = max(_MOST_KEYS // len(back), 1)
        for start in range(0, len(rows), at_once):
            if page.fitting(fresh) < len(fresh) or len(fresh) > MOST_INCLUDED:
                break
            refs = [row.ref for row in rows[start : start + at_once]]
            asked = query.referring(back, refs, count=MOST_INCLUDED + 1)
            # Twice the room: what is too much has to show.
            found = await page.search(server.store, asked, caller=caller, room=2 * page.MOST_BYTES)
            fresh += _new(found.rows, seen)
        fresh += _new(await _naming(server, caller, back, rows), seen)
    if includes:
        targets = [ref for ref in _targets(server, includes, rows) if ref not in seen]
        allowed = [ref for ref in dict.fromkeys(targets) if _may(caller, ref.partition("/")[0])][: MOST_INCLUDED + 1]
        at_once = min((page.step(ref.partition("/")[0]) for ref in allowed), default=1)
        for start in range(0, len(allowed), at_once):
            if page.fitting(fresh) < len(fresh):
                break
            some = allowed[start : start + at_once]
            stored = await server.store.many(some, caller=caller)
            fresh += _new((stored[ref] for ref in some if ref in stored), seen)
        fresh += _new(await _canonical(server, caller, includes, rows), seen)
    return fresh


async def _canonical(
    server: Server, caller: access.Caller, includes: tuple[query.Include, ...], rows: list[Stored]
) -> list[Stored]:
    """What the rows name by its canonical address: every version where they name none."""
    tables = server.definitions.search
    named: dict[str, set[str]] = {}
    for include, resource in _followed(server, includes, rows):
        param = tables.param(include.type, include.param)
        if param is None or not chains.is_canonical(param):
            continue
        types = tables.types if param.targets == ANY else param.targets
        for one in server.indexer.canonicals(resource, include.param):
            named.setdefault(one, set()).update(types if include.target is None else (include.target,))
    types = tuple(one for one in tables.types if any(one in some for some in named.values()) and _may(caller, one))
    if not types:
        return []
    asked = query.stating(named, types, tables, count=MOST_INCLUDED + 1)
    if not asked.types:
        return []
    found = await page.search(server.store, asked, caller=caller, room=2 * page.MOST_BYTES)
    return [row for row in found.rows if _is_named(row, named)]


async def _naming(server: Server, caller: access.Caller, back: list[query.Include], rows: list[Stored]) -> list[Stored]:
    """What names the rows by their canonical address, with their version or with none."""
    tables = server.definitions.search
    params = [(one, tables.param(one.type, one.param)) for one in back]
    naming = [(one, param) for one, param in params if param and chains.is_canonical(param)]
    named: dict[query.Include, set[str]] = {}
    for row in (row for row in rows if naming and tables.param(row.type, "url")):
        names = _names(_decode(row.body))
        for one, param in naming:
            if param.may_be(row.type) and one.target in (None, row.type):
                named.setdefault(replace(one, target=None), set()).update(names)
    if not named:
        return []
    asked = query.referring(list(named), sorted(set().union(*named.values())), count=MOST_INCLUDED + 1)
    found = await page.search(server.store, asked, caller=caller, room=2 * page.MOST_BYTES)
    # A version in a name is found by the bare address too.
    return [row for row in found.rows if _names_one(server, row, named)]


def _names_one(server: Server, row: Stored, named: dict[query.Include, set[str]]) -> bool:
    resource = _decode(row.body)
    mine = ((one.param, names) for one, names in named.items() if one.type == row.type)
    return any(not names.isdisjoint(server.indexer.canonicals(resource, param)) for param, names in mine)


def _names(resource: dict[str, Any]) -> tuple[str, ...]:
    """How others may name a resource by its canonical address; nothing when it has none."""
    url = resource.get("url")
    return (url, f"{url}|{resource.get('version', '')}") if url else ()


def _is_named(row: Stored, named: dict[str, set[str]]) -> bool:
    return any(row.type in named.get(one, ()) for one in _names(_decode(row.body)))


def _targets(server: Server, includes: tuple[query.Include, ...], rows: list[Stored]) -> Iterable[str]:
    """The references of the rows, page order first, that some include asks to follow."""
    for include, resource in _followed(server, includes, rows):
        for ref in server.indexer.references(resource, include.param):
            if include.target is None or ref.startswith(f"{include.target}/"):
                yield ref


def _followed(
    server: Server, includes: tuple[query.Include, ...], rows: list[Stored]
) -> Iterator[tuple[query.Include, dict[str, Any]]]:
    """Each row that an include starts from, with what is to be followed there."""
    tables = server.definitions.search
    for row in rows:
        mine = [one for one in includes if one.type == row.type]
        if any(one.type == following.ANYTHING for one in includes):
            every = following.followed(tables, "_include", row.type, following.ANYTHING)
            mine += [query.Include(row.type, one.code) for one in every]
        resource = _decode(row.body) if mine else {}
        for one in mine:
            yield one, resource


def _new(rows: Iterable[Stored], seen: set[str]) -> list[Stored]:
    fresh = []
    for row in rows:
        if row.ref not in seen:
            seen.add(row.ref)
            fresh.append(row)
    return fresh


def _may(caller: access.Caller, type: str) -> bool:
    """An include is less, not an error, where the caller has no right on the type."""
    try:
        access.may(caller, "s", type)
        access.may(caller, "r", type)
    except errors.Forbidden:
        return False
    return True
