"""What SQL says on PostgreSQL whether a caller sees the row `r`? See `sqlite_seen.py`, which says the same.

Where rows reach people by their readers alone, that comes first and by itself, so that its index can be used.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from fhir_server import access
from fhir_server.access import Sight
from fhir_server.engines.searching import Statement
from fhir_server.rights import sharing, standing
from fhir_server.scopes import Limit

_LOOK_UP = (
    "COALESCE((SELECT bit_or(s.bit) FROM standing s WHERE s.patient = r.patient AND s.who = ANY({who}) "
    f"AND s.lo <= {{now}} AND s.hi >= {{now}} AND s.bit < {standing.READ_BITS}), 0)::int"
)


# Nothing stands against anybody at this patient. A scalar, so that the planner makes no join of it.
_FREE = (
    "(SELECT TRUE FROM standing s WHERE s.patient = r.patient AND s.bit IN "
    f"{(standing.WITHDRAWN, standing.OPPOSED, standing.EXCLUDED)} LIMIT 1) IS NULL"
)


_OPEN = ", ".join(f"'{type}'" for type in sorted(access.OPEN_TYPES))


# Limits of any type, as JSON: by type a list of ways, each a list of lists of keys.
_ANY_LIMIT = (
    "({limits} IS NULL OR {limits} -> r.type IS NULL OR EXISTS ("
    "SELECT 1 FROM jsonb_array_elements({limits} -> r.type) w WHERE NOT EXISTS ("
    "SELECT 1 FROM jsonb_array_elements(w) m "
    "WHERE NOT r.eq && ARRAY(SELECT k::bigint FROM jsonb_array_elements_text(m) k))))"
)
_OF_STANDING = 7  # arguments


class Marks(NamedTuple):
    """What stands in the SQL for each part of a Sight; arrays of bigint, then numbers."""

    named: str
    who: str
    author: str
    structure: str
    kinds: str
    corps: str
    now: str
    patient: str = ""
    limits: str = ""


# The arguments of each Sight, in the order of Marks, with their types.
KINDS = ("bigint[]", "bigint[]", "bigint", "bigint", "int", "int", "bigint", "bigint", "jsonb")
Args = tuple[list[int], list[int], int, int, int, int, int, int | None, str | None]


def args(sight: Sight) -> Args:
    """In the order of Marks."""
    who = [standing.ANYONE, *sight.circles]
    limits = json.dumps({one.type: one.ways for one in sight.limits}) if sight.limits else None
    author, structure, kinds, corps, now = sight.author, sight.structure, sight.kinds, sight.corps, sight.now
    return [*sight.named], who, author, structure, kinds, corps, now, sight.patient, limits


def visible(sight: Sight, statement: Statement, types: tuple[str, ...]) -> str:
    """The predicate inside a larger statement."""
    reach = access.reach(types)
    if reach == "open":
        mine = f"r.readers && {statement.arg([*sight.named])}::bigint[]"
    else:
        mine = _theirs(sight, statement, reach)
        if sight.patient is not None:
            mine = f"({mine} AND ({_of(f'{statement.arg(sight.patient)}::bigint')}))"
    tests = [_within(one, statement) for one in sight.limits if one.type in types]
    return f"({' AND '.join([mine, *tests])})" if tests else mine


def _within(limit: Limit, statement: Statement) -> str:
    """What a query asks of rows of a type."""
    ways = [" AND ".join(f"r.eq && {statement.arg([*keys])}::bigint[]" for keys in way) for way in limit.ways]
    return f"({' OR '.join([f'r.type <> {chr(39)}{limit.type}{chr(39)}', *(f'({one})' for one in ways)])})"


def _theirs(sight: Sight, statement: Statement, reach: access.Reach) -> str:
    if reach == "shared":
        known = zip(args(sight)[:_OF_STANDING], KINDS[:_OF_STANDING], strict=True)
        marks = (f"{statement.arg(one)}::{kind}" for one, kind in known)
        return _shared(Marks(*marks))
    who, now = (statement.arg(one) for one in ([standing.ANYONE, *sight.circles], sight.now))
    bits = _LOOK_UP.format(who=f"{who}::bigint[]", now=f"{now}::bigint")
    author = f"{statement.arg(sight.author)}::bigint = ANY(r.readers)"
    tables = f"CASE WHEN {author} THEN {standing.AUTHORED} ELSE {standing.NAMED} END"
    named = f"r.readers && {statement.arg([*sight.keys])}::bigint[]"
    return f"({named} AND ({_FREE} OR ({tables}::bigint >> {bits}) & 1 = 1))"


def _of(mark: str) -> str:
    """Of one patient alone, or nobody's: the directory."""
    return f"r.patient = {mark} OR r.type IN ({_OPEN})"


def anyhow(marks: Marks) -> str:
    """The predicate for rows of any type."""
    confined = f"({marks.patient} IS NULL OR {_of(marks.patient)})"
    return f"({_shared(marks)} AND {confined} AND {_ANY_LIMIT.format(limits=marks.limits)})"


def _shared(marks: Marks) -> str:
    author, structure = f"{marks.author} = ANY(r.readers)", f"{marks.structure} = ANY(r.readers)"
    named = f"(r.readers && {marks.named} OR (r.sharing & {sharing.KIND} = {sharing.OF_STRUCTURE} AND {structure}))"
    shared = f"(({marks.kinds} >> (r.sharing & {sharing.KIND})) & 1 = 1 AND (r.sharing >> 4) & {marks.corps} = 0)"
    bits = _LOOK_UP.format(who=marks.who, now=marks.now)
    # One expression, of which the planner knows nothing: its estimates of each part took longer than the rows.
    mine = f"{author} OR {named}"
    owned = f"CASE WHEN {author} THEN {standing.AUTHORED} ELSE {standing.NAMED} END"
    return (
        f"CASE WHEN {mine} THEN {_FREE} OR ({owned}::bigint >> {bits}) & 1 = 1 "
        f"WHEN {shared} THEN ({standing.SHARED}::bigint >> {bits}) & 1 = 1 ELSE FALSE END"
    )
