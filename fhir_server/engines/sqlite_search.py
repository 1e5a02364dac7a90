"""Which table drives a search on SQLite?

SQLite keeps the join order it is given (CROSS JOIN) and has no statistics of ours, so the choice is made here, by
counting up to a bound: few rows are collected, many are walked (`select.py`). Long walks are the caller's concern
(`sqlite.py` moves them to a thread).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from fhir_server import access
from fhir_server.conditions import (
    Addresses,
    Condition,
    Driving,
    FullText,
    Ids,
    Keys,
    Mine,
    Moment,
    Or,
    Query,
    Text,
    Updated,
)
from fhir_server.engines import body_order, joined, mine, searching, select, words
from fhir_server.engines.searching import Statement
from fhir_server.engines.select import Dialect, Driver, Select
from fhir_server.engines.sqlite_seen import How, Shape, of, packed, reader_key, visible
from fhir_server.rows import Memberships, Page

FEW = 2000  # rows that are quicker to collect and sort than to walk
_VERY_FEW = 64
_FEW_KEYS = 4  # more are told from the row: what it refers to is one range of `link`
_MANY_KEYS = 32  # beyond, one walk for each key costs more than collecting them all


def _among(keys: Sequence[int], statement: Statement) -> str:
    """Few keys are written out, many travel as one argument: else every number of keys were a statement of its own."""
    if len(keys) <= _VERY_FEW:
        return f"IN ({', '.join(map(statement.arg, keys))})"
    return f"IN (SELECT value FROM json_each({statement.arg(json.dumps(keys))}))"


def _has_key(condition: Keys, statement: Statement) -> str:
    if condition.is_told:
        found = " OR ".join(f"instr(r.eq, {statement.arg(packed((one,)))}) % 8 = 1" for one in condition.any_of)
        return f"{'NOT ' if condition.negated else ''}({found})"
    if condition.links and len(condition.any_of) > _FEW_KEYS:
        params, addresses = condition.links
        mine = f"x.rid = r.rid AND x.param {statement.equal(*params)} AND +x.address {_among(addresses, statement)}"
        return f"EXISTS (SELECT 1 FROM link x WHERE {mine})"
    among = _among(condition.any_of, statement)
    same = "k.sort_date = r.sort_date AND k.rid = r.rid"
    return f"{'NOT ' if condition.negated else ''}EXISTS (SELECT 1 FROM hot k WHERE k.hash {among} AND {same})"


def _has_words(condition: FullText, statement: Statement) -> str:
    wanted = statement.arg(words.match(condition))
    return f"EXISTS (SELECT 1 FROM fulltext f WHERE f.fulltext MATCH {wanted} AND f.rowid = r.rid)"


def _found_by_words(condition: FullText, statement: Statement) -> str:
    return f"SELECT f.rowid AS rid FROM fulltext f WHERE f.fulltext MATCH {statement.arg(words.match(condition))}"


def _found_by_readers(readers: tuple[int, ...], types: tuple[str, ...], statement: Statement) -> str:
    keys = [reader_key(type, one) for type in types for one in readers]
    return f"SELECT h.rid FROM hot h WHERE h.hash {_among(keys, statement)}"


DIALECT = Dialect(
    mark="?",
    row=("rid",),
    join="CROSS JOIN",
    hint=" INDEXED BY {}",
    unused="+",
    exists="EXISTS (SELECT 1 FROM {})",
    missing="NOT EXISTS (SELECT 1 FROM {})",
    contains="instr({text}, {part}) > 0",
    needle="instr(r.body, {}) > 0",
    readers=visible,
    keys=_has_key,
    among=_among,
    xor="(~({0} & {1}) & ({0} | {1}))",
    fulltext=_has_words,
    found_by_readers=_found_by_readers,
    found_by_words=_found_by_words,
)


def _among_words(condition: FullText, statement: Statement) -> str:
    return f"r.rid IN ({_found_by_words(condition, statement)})"


# A look into the index of words for one row takes half a millisecond where words are common: enough for a few rows. Who
# walks through many has the matches listed once.
WALKING = replace(DIALECT, fulltext=_among_words)


def asks_for_words(where: object) -> bool:
    """Is there a FullText among these conditions, or in what they hold?"""
    if isinstance(where, tuple):
        return any(map(asks_for_words, where))
    if isinstance(where, FullText):
        return True
    if isinstance(where, (Keys, Text, Moment, Ids)) or not is_dataclass(where):
        return False
    return any(asks_for_words(getattr(where, one.name)) for one in fields(where))


def search(
    connection: sqlite3.Connection, query: Query, memberships: Memberships, *, few: int = FEW, is_long: bool = False
) -> Page:
    """One page of a query as these memberships see it; up to `few` rows are collected, more are walked.

    `is_long`: it is known to take long, so that it pays to ask whether what they may see is little. Raises Unreadable
    for a foreign cursor.
    """
    query, at = searching.flat(query), searching.cursor(query)
    if joined.has_links(query.where):
        where = tuple(_settled(connection, one, memberships, few) for one in query.where)
        if joined.finds_nothing(where):
            return Page([], None, None if query.after else 0)
        query = replace(query, where=where)
    if body_order.is_needed(query):
        return _by_body(connection, query, memberships, at, few=few)
    theirs = mine.of(query, memberships) if is_long else None
    if theirs and _is_little(connection, theirs, query, few):
        driver = Driver(False, theirs)
    else:
        driver = _choose(connection, query, memberships, few=few)
    if _is_plain_walk(query, driver) and not (memberships and memberships.limits):
        return _plain_walk(connection, query, memberships)
    rows: list[tuple[Any, ...]] = []
    for turn, stage in enumerate(searching.stages(query, at, walks=driver.walks)):
        page = Select(WALKING if driver.walks else DIALECT, query, memberships, driver, stage=stage)
        sql = page.page(None if turn else at, query.count + 1 - len(rows))
        found = connection.execute(sql, page.statement.args).fetchall()
        rows += [(*row[:6], None, *row[6:]) for row in found] if stage else found
        if len(rows) > query.count:
            break
    total = None
    if query.count and query.after is None and len(rows) <= query.count:
        total = len(rows)  # the only page: free
    elif query.total or not query.count:
        count = Select(WALKING if driver.walks else DIALECT, query, memberships, Driver(False, driver.condition))
        total = int(connection.execute(count.total(), count.statement.args).fetchone()[0])
    return searching.page(query, rows, total)


def _is_plain_walk(query: Query, driver: Driver) -> bool:
    """Is it the first page of one type by one key, newest first? Most searches are."""
    if (
        not driver.walks
        or len(query.where) != 1
        or query.types
        or query.after is not None
        or query.total
        or not query.count
    ):
        return False
    only = query.where[0]
    if only is not driver.condition or not isinstance(only, Keys) or len(only.any_of) != 1:
        return False
    return not query.sort or (len(query.sort) == 1 and query.sort[0].by == "sort_date" and query.sort[0].descending)


def _plain_walk(connection: sqlite3.Connection, query: Query, memberships: Memberships) -> Page:
    only = query.where[0]
    assert isinstance(only, Keys)
    how = None if memberships is None else of(memberships, (query.type,))
    sql = _plain_walk_sql(how and how.shape, len(only.needles), query.count + 1)
    args = (only.any_of[0], query.type, *(how.args if how else ()), *only.needles)
    rows = connection.execute(sql, args).fetchall()
    return searching.page(query, rows, len(rows) if len(rows) <= query.count else None)


# A type of each way in which rows reach people, and a caller who has as many keys as a shape says.
_SAMPLES: dict[access.Reach, str] = {"open": "Organization", "named": "Communication", "shared": "Observation"}


@lru_cache(maxsize=1024)
def _plain_walk_sql(shape: Shape | None, needles: int, limit: int) -> str:
    """The text alone, which takes as long to put together as to run; the arguments are the key, the type and so on."""
    only = Keys((2,), needles=tuple(b"%d" % n for n in range(needles)))
    type, seen = _SAMPLES[shape.reach if shape else "open"], None
    how = How(Shape("open", 0, 0, 0), ())
    if shape:
        seen = access.Sight(
            tuple(range(shape.named)), 1, tuple(range(shape.circles)), 2, 3, 4, 5, 6 if shape.confined else None
        )
        how = of(seen, (type,))
    select = Select(WALKING, Query(type, (only,)), seen, Driver(True, only))
    sql = select.page(None, limit)
    assert select.statement.args == [2, type, *how.args, *only.needles]
    return sql


def _by_body(
    connection: sqlite3.Connection, query: Query, memberships: Memberships, at: searching.Cursor | None, *, few: int
) -> Page:
    every = body_order.collecting(query)
    driver = _choose(connection, every, memberships, few=few)
    collected = Select(DIALECT, every, memberships, Driver(False, driver.condition))
    sql = collected.page(None, body_order.MOST + 1)
    return body_order.page(query, connection.execute(sql, collected.statement.args).fetchall(), at)


def _choose(connection: sqlite3.Connection, query: Query, memberships: Memberships, *, few: int) -> Driver:
    first = searching.order(query)[0].by
    able = [same for one in query.where if _can_drive(one) for same in select.ways_to_drive(one)]
    if memberships is not None:
        # What the caller may see drives as well: often it is far less than what a condition finds.
        able += _readers(query.all_types, memberships)
    if len(able) == 1 and first == "sort_date" and isinstance(able[0], Keys):
        only = able[0]
        # Several keys with few rows are quicker to sort than to merge.
        is_small = len(only.any_of) > 1 and only.links and _at_most(few, connection, only, query.all_types) < few
        return Driver(False, only) if is_small else _over_keys(only)
    best = _small(connection, able, query.all_types, few=few)
    if best:
        return _over_keys(best) if first == "sort_date" and isinstance(best, Keys) else Driver(False, best)
    keys = next((one for one in able if isinstance(one, Keys)), None)
    if keys and first == "sort_date":
        return _over_keys(keys)
    # Over several types only dates have an order that can be followed, each type in its own.
    return Driver(first in ("sort_date", "updated") if query.types else first != "id", None if query.types else keys)


def _settled(connection: sqlite3.Connection, condition: Condition, memberships: Memberships, few: int) -> Condition:
    """What lies behind references asked first, where it is little."""
    asker = joined.Asker(
        DIALECT, memberships, select.found_by, select.test, lambda t: _readers(t, memberships), min(few, joined.FEW)
    )
    asking = joined.settle(condition, asker)
    try:
        sql, values = next(asking)
        while True:
            sql, values = asking.send(connection.execute(sql, values).fetchall())
    except StopIteration as end:
        settled: Condition = end.value
        return settled


def _readers(types: tuple[str, ...], memberships: Memberships) -> list[Condition]:
    """What leads to all that the caller may see of some types: not their keys alone where a circle shares as well."""
    if memberships is None or access.reach(types) == "shared":
        return []
    return [Keys(tuple(reader_key(type, one) for type in types for one in memberships.keys))]


def _is_little(connection: sqlite3.Connection, theirs: Mine, query: Query, few: int) -> bool:
    statement = Statement(DIALECT.mark)
    circles = connection.execute(mine.circles(theirs, statement), statement.args).fetchone()[0]
    return circles <= mine.MOST_CIRCLES and _at_most(few, connection, theirs, query.all_types) < few


def _small(
    connection: sqlite3.Connection, able: Sequence[Condition], types: tuple[str, ...], *, few: int
) -> Condition | None:
    """A condition that finds fewer rows than `few`, and not many more than another would."""
    for bound in sorted({min(_VERY_FEW, few), min(_VERY_FEW * 6, few), few}):
        for one in able:
            if _at_most(bound, connection, one, types) < bound:
                return one
    return None


def _over_keys(condition: Keys) -> Driver:
    return Driver(0 < len(condition.any_of) <= _MANY_KEYS, condition)


def _can_drive(condition: Condition) -> bool:
    if isinstance(condition, Keys):
        return not (condition.negated or condition.is_told)
    if isinstance(condition, Or):
        return bool(condition.of) and all(map(_can_drive, condition.of))
    return select.is_range(condition) or isinstance(condition, (Ids, Updated, Addresses, FullText))


def _at_most(bound: int, connection: sqlite3.Connection, condition: Driving, types: tuple[str, ...]) -> int:
    statement = Statement(DIALECT.mark)
    rows = select.found_by(condition, DIALECT, types, statement)
    return int(connection.execute(f"SELECT COUNT(*) FROM ({rows} LIMIT {bound})", statement.args).fetchone()[0])
