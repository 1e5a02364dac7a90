"""What SQL says on SQLite whether a caller sees the row `r`?

A row that names the caller among its readers, or that a circle shares with them, is looked up in `standing`: the bits
that hold now are an index into one of the tables of `rights/standing.py`. The row's own columns are tested first; the
look-up, one range of an index, is made only for what they let through.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from fhir_server import access, keys
from fhir_server.access import Sight
from fhir_server.engines.searching import Statement
from fhir_server.rights import sharing, standing

_LOOK_UP = (
    "COALESCE((SELECT SUM(DISTINCT s.bit) FROM standing s WHERE s.patient = r.patient AND s.who IN ({who}) "
    f"AND s.lo <= {{now}} AND s.hi >= {{now}} AND s.bit < {standing.READ_BITS}), 0)"
)
# Nothing stands against anybody at this patient, now or ever.
_FREE = "NOT EXISTS (SELECT 1 FROM standing s INDEXED BY standing_against WHERE s.patient = r.patient AND s.bit IN {})"
_FREE = _FREE.format((standing.WITHDRAWN, standing.OPPOSED, standing.EXCLUDED))
# Of one patient alone, or nobody's: the directory.
_OF = "r.patient = {} OR r.type IN (" + ", ".join(f"'{type}'" for type in sorted(access.OPEN_TYPES)) + ")"


class Shape(NamedTuple):
    """What the text depends on: how rows of these types reach people, how many keys there are, how many arguments.

    `confined`: to one patient. `limited`: how many keys each member of each way of each limit has (`scopes.Limit`).
    """

    reach: access.Reach
    named: int
    circles: int
    size: int
    confined: bool = False
    limited: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = ()


class How(NamedTuple):
    """A text and its arguments, in order."""

    shape: Shape
    args: tuple[object, ...]


def packed(keys: Sequence[int]) -> bytes:
    """Keys as the BLOB that a row keeps."""
    return struct.pack(f"<{len(keys)}q", *keys)


def unpacked(blob: bytes) -> tuple[int, ...]:
    """The inverse of `packed`."""
    return struct.unpack(f"<{len(blob) // 8}q", blob)


@lru_cache(maxsize=65536)
def reader_key(type: str, reader: int) -> int:
    """The key in `hot` of the resources of a type that a reader may see."""
    return keys.key(f"{type}<{reader}")


@lru_cache(maxsize=65536)
def _one(key: int) -> bytes:
    return packed((key,))


def of(sight: Sight, types: tuple[str, ...]) -> How:
    """How the caller sees rows of these types."""
    reach = access.reach(types)
    args: tuple[object, ...] = tuple([_one(key) for key in sight.named])
    if reach != "open":
        args = (*args, _one(sight.author), sight.now, standing.ANYONE, *sight.circles)
    if reach == "shared":
        args = (*args, _one(sight.structure), sight.kinds, sight.corps)
    confined = sight.patient is not None and reach != "open"
    if confined:
        args = (*args, sight.patient)
    limits = tuple(one for one in sight.limits if one.type in types)
    args = (*args, *(_one(key) for limit in limits for way in limit.ways for keys in way for key in keys))
    limited = tuple((one.type, tuple(tuple(map(len, way)) for way in one.ways)) for one in limits)
    return How(Shape(reach, len(sight.named), len(sight.circles), len(args), confined, limited), args)


def visible(sight: Sight, statement: Statement, types: tuple[str, ...]) -> str:
    """The predicate inside a larger statement."""
    how = of(sight, types)
    first = statement.take(how.args)
    return _text(how.shape, first)


@lru_cache(maxsize=256)
def sql(shape: Shape) -> str:
    """The predicate with its arguments as the first ones of the statement."""
    return _text(shape, 1)


@lru_cache(maxsize=4096)
def _text(shape: Shape, first: int) -> str:
    if shape.limited:
        return _limited(shape, first)
    if shape.confined:
        inside = _text(shape._replace(confined=False, size=shape.size - 1), first)
        return f"({inside} AND ({_OF.format(f'?{first + shape.size - 1}')}))"
    marks = [f"?{first + n}" for n in range(shape.size)]
    n = shape.named
    named = " OR ".join([_reads(mark) for mark in marks[:n]] or ["0"])
    if shape.reach == "open":
        return f"({named})"
    author, now, who = _reads(marks[n]), marks[n + 1], marks[n + 2 : n + 3 + shape.circles]
    bits = _LOOK_UP.format(who=", ".join(who), now=now)
    if shape.reach == "named":
        tables = f"CASE WHEN {author} THEN {standing.AUTHORED} ELSE {standing.NAMED} END"
        return f"(({named} OR {author}) AND ({_FREE} OR ({tables} >> {bits}) & 1))"
    structure, kinds, corps = marks[n + 3 + shape.circles :]
    named += f" OR (r.sharing & {sharing.KIND} = {sharing.OF_STRUCTURE} AND {_reads(structure)})"
    shared = f"(({kinds} >> (r.sharing & {sharing.KIND})) & 1 AND (r.sharing >> 4) & {corps} = 0)"
    tables = (
        f"CASE WHEN {author} THEN {standing.AUTHORED} WHEN {named} THEN {standing.NAMED} ELSE {standing.SHARED} END"
    )
    opened = f"CASE WHEN ({named} OR {author}) AND {_FREE} THEN 1 ELSE ({tables} >> {bits}) & 1 END"
    return f"(({named} OR {author} OR {shared}) AND {opened})"


def _limited(shape: Shape, first: int) -> str:
    """The same, and what a query asks of rows of some types; its keys are the last arguments."""
    size = shape.size - sum(n for _, ways in shape.limited for way in ways for n in way)
    tests, mark = [_text(shape._replace(limited=(), size=size), first)], first + size
    for type, ways in shape.limited:
        found = []
        for way in ways:
            members = []
            for n in way:
                members.append(" OR ".join(_has(f"?{mark + one}") for one in range(n)))
                mark += n
            found.append(" AND ".join(f"({one})" for one in members))
        tests.append(" OR ".join([f"r.type <> '{type}'", *(f"({one})" for one in found)]))
    return " AND ".join(f"({one})" for one in tests)


def _has(mark: str) -> str:
    """The key is among those of equality, on a key's boundary."""
    return f"instr(r.eq, {mark}) % 8 = 1"


def _reads(mark: str) -> str:
    """The key is among the readers, on a key's boundary."""
    return f"instr(r.readers, {mark}) % 8 = 1"
