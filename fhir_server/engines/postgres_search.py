"""Which table drives a search on PostgreSQL?

Left alone, the planner turns probes under ORDER BY … LIMIT into joins of whole tables. So probes are scalar
subqueries, search connections know no hash and merge joins, and what drives is decided here: the ordered table for a
patient, a code, an identifier by date; otherwise what the planner's own estimates (EXPLAIN, nothing is read) say is
small; otherwise the row with its array of keys (GIN) or an index that has the order.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fhir_server.conditions import Addresses, Condition, Driving, FullText, Ids, Keys, Moment, Or, Query, Text, Updated
from fhir_server.engines import body_order, joined, mine, searching, select, words
from fhir_server.engines.connections import Connection
from fhir_server.engines.postgres_seen import visible
from fhir_server.engines.searching import Statement
from fhir_server.engines.select import Dialect, Driver, Select
from fhir_server.rows import Memberships, Page

SETTINGS = {
    # A generic plan for `eq @> $1` cost two thousand times the custom one.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # Starting a helper process takes longer than most searches.
    "max_parallel_workers_per_gather": "0",
    "statement_timeout": "30s",
}
FEW = 2000  # estimated rows that are quicker to collect and sort than to walk
_VERY_FEW = 64  # counted rows that are collected without asking for more
_ENDLESS = 2**62
_MANY_KEYS = 64
_MOST_JOINED = 3


def _has_key(condition: Keys, statement: Statement) -> str:
    # One key is contained, several overlap: the planner knows better how rare the former is.
    how = "@>" if len(condition.any_of) == 1 else "&&"
    found = f"r.eq {how} {statement.arg(list(condition.any_of))}::bigint[]"
    return f"NOT {found}" if condition.negated else found


def _has_words(condition: FullText, statement: Statement) -> str:
    return f"r.words @@ {statement.arg(words.tsquery(condition))}::text::tsquery"


def _found_by_readers(readers: tuple[int, ...], types: tuple[str, ...], statement: Statement) -> str:
    theirs = f"r.readers && {statement.arg(list(readers))}::bigint[]"
    return f"SELECT r.part, r.rid FROM resource r WHERE {theirs} AND r.type {statement.equal(*types)}"


DIALECT = Dialect(
    mark="$",
    row=("part", "rid"),
    join="JOIN",
    hint="",
    unused="",
    exists="(SELECT TRUE FROM {} LIMIT 1)",
    missing="(SELECT TRUE FROM {} LIMIT 1) IS NULL",
    contains="strpos({text}, {part}) > 0",
    needle="position({} IN r.body) > 0",
    readers=visible,
    keys=_has_key,
    among=lambda keys, statement: f"= ANY({statement.arg(list(keys))}::bigint[])",
    xor="{0} # {1}::bigint",
    fulltext=_has_words,
    found_by_readers=_found_by_readers,
)


async def search(
    connection: Connection, query: Query, memberships: Memberships, *, parts: Sequence[int] = (), few: int = FEW
) -> Page:
    """One page of a query as these memberships see it.

    `parts` are those where its Ids may live; up to `few` estimated rows are collected, more are walked. Raises
    Unreadable for a foreign cursor.
    """
    query, at = searching.flat(query), searching.cursor(query)
    if joined.has_links(query.where):
        where = tuple([await _settled(connection, one, memberships, few) for one in query.where])
        if joined.finds_nothing(where):
            return Page([], None, None if query.after else 0)
        query = replace(query, where=where)
    if body_order.is_needed(query):
        return await _by_body(connection, query, memberships, at, parts=parts, few=few)
    driver = await _driver(connection, query, memberships, few)
    rows: list[tuple[Any, ...]] = []
    for turn, stage in enumerate(searching.stages(query, at, walks=driver.walks)):
        page = Select(DIALECT, query, memberships, driver, stage=stage, parts=parts)
        sql = page.page(None if turn else at, query.count + 1 - len(rows))
        found = [tuple(row) for row in await connection.fetch(sql, *page.statement.args)]
        rows += [(*row[:6], None, *row[6:]) for row in found] if stage else found
        if len(rows) > query.count:
            break
    total = None
    if query.count and query.after is None and len(rows) <= query.count:
        total = len(rows)  # the only page: free
    elif query.total or not query.count:
        counted = Driver(False, None if driver.walks else driver.condition)
        count = Select(DIALECT, query, memberships, counted, parts=parts)
        total = await connection.fetchval(count.total(), *count.statement.args)
    return searching.page(query, rows, total)


async def _by_body(
    connection: Connection,
    query: Query,
    memberships: Memberships,
    at: searching.Cursor | None,
    *,
    parts: Sequence[int],
    few: int,
) -> Page:
    every = body_order.collecting(query)
    driver = await _driver(connection, every, memberships, few)
    collected = Select(DIALECT, every, memberships, Driver(False, driver.condition), parts=parts)
    found = await connection.fetch(collected.page(None, body_order.MOST + 1), *collected.statement.args)
    # In a thread: reading the values of many bodies takes longer than other requests should wait.
    return await asyncio.to_thread(body_order.page, query, [tuple(row) for row in found], at)


async def _driver(connection: Connection, query: Query, memberships: Memberships, few: int) -> Driver:
    """What they may see drives where it is little, else what they ask for."""
    theirs = mine.of(query, memberships)
    if theirs and not any(isinstance(one, Keys) and not one.negated for one in query.where):
        statement = Statement(DIALECT.mark)
        circles = await connection.fetchval(mine.circles(theirs, statement), *statement.args)
        if circles <= mine.MOST_CIRCLES and await _at_most(connection, theirs, query, few) < few:
            return Driver(False, theirs)
    return await _choose(connection, query, few)


async def _choose(connection: Connection, query: Query, few: int) -> Driver:
    first = searching.order(query)[0].by
    if any(isinstance(one, Ids) for one in query.where):
        return Driver(False)
    if named := [one for one in query.where if _names_rows(one)]:
        return Driver(False, min(named, key=lambda one: len(one.any_of) if isinstance(one, Addresses) else FEW))
    ranges = [same for one in query.where if select.is_range(one) for same in select.ways_to_drive(one)]
    if query.types:
        ranges += [one for one in query.where if isinstance(one, Updated)]
    keys = [one for one in query.where if isinstance(one, Keys) and not one.negated]
    ordered = [one for one in keys if one.ordered and len(one.any_of) == 1]
    if first == "sort_date" and ordered and not ranges:
        return Driver(True, ordered[0], tuple(ordered[1:_MOST_JOINED]))
    if not ranges and (several := [one for one in keys if one.ordered and len(one.any_of) > 1]):
        best = min(several, key=lambda one: len(one.any_of))
        if len(best.any_of) > _MANY_KEYS or await _at_most(connection, best, query, few) < few:
            return Driver(False, best)
    mergeable = [one for one in keys if one.ordered and 0 < len(one.any_of) <= _MANY_KEYS]
    merged = first == "sort_date" and mergeable
    if not ranges and not merged and first not in searching.RANGES and not query.types:
        return Driver(False)  # the planner chooses between the keys and the order
    counts = await _counts(connection, ranges, query.all_types, few)
    if ranges and min(counts) < min(_VERY_FEW, few):
        return Driver(False, ranges[counts.index(min(counts))])
    texts = [one for one in query.where if isinstance(one, FullText)]
    sizes = await _estimates(connection, [*ranges, *keys, *texts], query.all_types)
    for n, one in enumerate(ranges):
        if _is_counted(one):
            sizes[n] = counts[n]
    if sizes and min(sizes) < few:
        n = sizes.index(min(sizes))
        return Driver(False, ranges[n] if n < len(ranges) else None)
    if first == "sort_date" and ordered:
        return Driver(True, ordered[0], tuple(ordered[1:_MOST_JOINED]))
    if merged:
        return Driver(True, mergeable[0])
    # Over several types only dates have an order that can be followed, each type in its own.
    return Driver(first in (("sort_date", "updated") if query.types else searching.RANGES))


def _is_counted(condition: Condition) -> bool:
    """A value and its unit go together: what the planner takes for their share is far too much or far too little."""
    return not isinstance(condition, (Moment, Text, Updated))


async def _counts(connection: Connection, ranges: Sequence[Condition], types: tuple[str, ...], few: int) -> list[int]:
    """How many rows each range has, counted up to `few`; those that the planner knows well count as endless."""
    counted = [n for n, one in enumerate(ranges) if _is_counted(one)]
    found = [_ENDLESS] * len(ranges)
    if counted:
        statement = Statement(DIALECT.mark)
        asked = (select.found_by(ranges[n], DIALECT, types, statement) for n in counted)
        columns = ", ".join(f"(SELECT COUNT(*) FROM (SELECT 1 FROM ({one}) f LIMIT {few}) c)" for one in asked)
        row = await connection.fetchrow(f"SELECT {columns}", *statement.args)
        for n, count in zip(counted, row, strict=True):
            found[n] = count
    return found


def _names_rows(condition: Condition) -> bool:
    """Addresses, or a choice with them where the rest are keys of the ordered table (a compartment with its owner)."""
    if isinstance(condition, Or) and any(isinstance(one, Addresses) for one in condition.of):
        return all(
            isinstance(one, Addresses) or (isinstance(one, Keys) and one.ordered and not one.negated)
            for one in condition.of
        )
    return isinstance(condition, Addresses)


async def _settled(connection: Connection, condition: Condition, memberships: Memberships, few: int) -> Condition:
    """What lies behind references asked first, where it is little."""
    few = min(few, joined.FEW)
    asker = joined.Asker(DIALECT, memberships, select.found_by, select.test, lambda types: (), few)
    asking = joined.settle(condition, asker)
    try:
        sql, values = next(asking)
        while True:
            sql, values = asking.send(await connection.fetch(sql, *values))
    except StopIteration as end:
        settled: Condition = end.value
        return settled


async def _at_most(connection: Connection, condition: Driving, query: Query, bound: int) -> int:
    statement = Statement(DIALECT.mark)
    rows = select.found_by(condition, DIALECT, query.all_types, statement)
    return int(await connection.fetchval(f"SELECT COUNT(*) FROM ({rows} LIMIT {bound}) n", *statement.args))


async def _estimates(connection: Connection, conditions: Sequence[Condition], types: tuple[str, ...]) -> list[int]:
    """How many rows the planner expects of each condition."""
    if not conditions:
        return []
    statement = Statement(DIALECT.mark)
    asked = []
    for one in conditions:
        if isinstance(one, (Keys, FullText)):
            bare = replace(one, needles=()) if isinstance(one, Keys) else one
            test = select.test(bare, DIALECT, statement)
            asked.append(f"ARRAY(SELECT 1 FROM resource r WHERE {test})")
        else:
            asked.append(f"ARRAY(SELECT 1 FROM ({select.found_by(one, DIALECT, types, statement)}) c)")
    plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) SELECT {', '.join(asked)}", *statement.args))
    # "InitPlan 2", up to PostgreSQL 16 "InitPlan 2 (returns $1)"
    found = {int(one["Subplan Name"].split()[1]): one["Plan Rows"] for one in plan[0]["Plan"]["Plans"]}
    return [found[n + 1] for n in range(len(conditions))]
