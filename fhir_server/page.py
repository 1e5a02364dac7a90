"""How many resources may one answer carry?

R4 search.html#count lets the server give less than was asked. Rows are fetched a few at a time and counted by their
bytes, so that no `_count` makes the server hold, or send, more than a stated amount; the next page begins where this
one had to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhir_server import access
from fhir_server.changes import Stored
from fhir_server.conditions import Query
from fhir_server.rows import Page
from fhir_server.store import Store

MOST_BYTES = 32 * 1024 * 1024

# Rows in memory at once, before their sizes are known: contents are large, most other resources are small.
_STEP = 100
_STEP_OF_BINARY = 5


def step(type: str) -> int:
    """How many rows of a type are fetched at once."""
    return _STEP_OF_BINARY if type == "Binary" else _STEP


def fitting(rows: Sequence[Stored], room: int = MOST_BYTES) -> int:
    """How many of the first rows have bodies of `room` bytes at most, together."""
    for place, row in enumerate(rows):
        room -= len(row.body)
        if room < 0:
            return place
    return len(rows)


async def search(store: Store, query: Query, *, caller: access.Caller, room: int = MOST_BYTES) -> Page:
    """The page of `query`, ended early when it would be over `room` bytes; always one row at least if there is one."""
    most = step(query.type)
    if query.count <= most:
        found = await store.search(query, caller=caller)
        if sum([len(row.body) for row in found.rows]) <= room:
            return found  # nearly every page there is
    rows: list[Stored] = []
    total, after, is_full = None, query.after, False
    while len(rows) < query.count and not is_full:
        part = replace(query, count=min(most, query.count - len(rows)), after=after, total=query.total and not rows)
        found = await store.search(part, caller=caller)
        fits = fitting(found.rows, room)
        if fits == 0 and rows and found.rows:
            break
        if fits < len(found.rows):
            is_full = True  # asked again, because only the end of a page has a cursor
            found = await store.search(replace(part, count=max(fits, 1)), caller=caller)
        total = found.total if not rows else total
        rows += found.rows
        after = found.after
        room -= sum(len(row.body) for row in found.rows)
        is_full = is_full or after is None
    return Page(rows, after, total)
