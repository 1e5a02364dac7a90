"""How do stored resources become found by what a newer program looks for?

Each row says which generation of `index.py` made its index rows. Those of an older one are made again from the body,
a few at a time, while everything else goes on: the version, the body and the log stay as they are. What was done is
done (a row says so itself), so that the work may be broken off and begun again at any moment, by any process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from fhir_server.commit import Preparer
from fhir_server.engine import Engine
from fhir_server.rows import Outdated, Put, Row

# In memory at once: that many resources, or this many bytes of bodies (one at least).
_AT_ONCE, _BYTES = 100, 8 * 1024 * 1024
_AHEAD = 1000
_TURN_SECONDS = 0.005  # then others have theirs
_BEFORE_ALL = (-1, -1)


@dataclass(slots=True)
class Made:
    """How many resources were indexed again, and how many could not be: they keep the rows they had."""

    done: int = 0
    failed: int = 0


async def is_needed(engine: Engine, generation: int) -> bool:
    """Is there something that an older program indexed? Costs one look into an index."""
    return bool(await engine.outdated(generation, after=_BEFORE_ALL, count=1))


async def run(engine: Engine, preparer: Preparer, *, restful: bool) -> Made:
    """Index again whatever an older program indexed. `restful`: work half of the time only. Raises Unavailable."""
    made, after = Made(), _BEFORE_ALL
    while found := await engine.outdated(preparer.generation, after=after, count=_AHEAD):
        for some in _few(found):
            begun = time.monotonic()
            await _again(engine, preparer, some, made)
            await asyncio.sleep(time.monotonic() - begun if restful else 0)
        after = found[-1].generation, found[-1].rid
    return made


async def _again(engine: Engine, preparer: Preparer, some: list[Outdated], made: Made) -> None:
    rows = await engine.get([(one.type, one.fid) for one in some], None)
    puts, turn = [], time.monotonic()
    for row in rows:
        if row.deleted or row.generation >= preparer.generation:
            continue
        if (put := _put(preparer, row)) is None:
            made.failed += 1
        else:
            puts.append(put)
        if time.monotonic() - turn > _TURN_SECONDS:
            await asyncio.sleep(0)
            turn = time.monotonic()
    if puts:
        made.done += await engine.reindex(puts)


def _put(preparer: Preparer, row: Row) -> Put | None:
    try:
        return preparer.again(row)
    except Exception:  # noqa: BLE001 - one body that cannot be read must not keep all others from being found
        return None


def _few(found: list[Outdated]) -> Iterator[list[Outdated]]:
    some: list[Outdated] = []
    size = 0
    for one in found:
        if some and (len(some) == _AT_ONCE or size + one.size > _BYTES):
            yield some
            some, size = [], 0
        some.append(one)
        size += one.size
    yield some
