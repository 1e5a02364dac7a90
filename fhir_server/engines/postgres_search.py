"""Which table drives a search on PostgreSQL?

Left alone, the planner turns probes under ORDER BY … LIMIT into joins of whole tables. So probes are scalar
subqueries, search connections know no hash and merge joins, and what drives is decided here: the ordered table for a
patient, a code, an identifier by date; otherwise what the planner's own estimates (EXPLAIN, nothing is read) say is
small; otherwise the row with its array of keys (GIN) or an index that has the order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fhir_server.conditions import Condition, FullText, Ids, Keys, Moment, Query, Text
from fhir_server.engines import searching, select, words
from fhir_server.engines.connections import Connection
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
_MANY_KEYS = 64
_MOST_JOINED = 3


def visible(memberships: Sequence[int], statement: Statement) -> str:
    """One of the memberships is among the readers of `r`."""
    return f"r.readers && {statement.arg(list(memberships))}::bigint[]"


def _has_key(condition: Keys, statement: Statement) -> str:
    # One key is contained, several overlap: the planner knows better how rare the former is.
    how = "@>" if len(condition.any_of) == 1 else "&&"
    found = f"r.eq {how} {statement.arg(list(condition.any_of))}::bigint[]"
    return f"NOT {found}" if condition.negated else found


def _has_words(condition: FullText, statement: Statement) -> str:
    return f"r.words @@ {statement.arg(words.tsquery(condition))}::text::tsquery"


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
    fulltext=_has_words,
)


async def search(
    connection: Connection, query: Query, memberships: Memberships, *, parts: Sequence[int] = (), few: int = FEW
) -> Page:
    """One page of a query as these memberships see it.

    `parts` are those where its Ids may live; up to `few` estimated rows are collected, more are walked. Raises
    Unreadable for a foreign cursor.
    """
    at = searching.cursor(query)
    driver = await _choose(connection, query, few)
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


async def _choose(connection: Connection, query: Query, few: int) -> Driver:
    first = searching.order(query)[0].by
    if any(isinstance(one, Ids) for one in query.where):
        return Driver(False)
    ranges = [
        one for one in query.where if isinstance(one, Moment) or (isinstance(one, Text) and one.mode != "contains")
    ]
    keys = [one for one in query.where if isinstance(one, Keys) and not one.negated]
    ordered = [one for one in keys if one.ordered and len(one.any_of) == 1]
    if first == "sort_date" and ordered and not ranges:
        return Driver(True, ordered[0], tuple(ordered[1:_MOST_JOINED]))
    mergeable = [one for one in keys if one.ordered and 0 < len(one.any_of) <= _MANY_KEYS]
    merged = first == "sort_date" and mergeable
    if not ranges and not merged and first not in ("dat", "str"):
        return Driver(False)  # the planner chooses between the keys and the order
    texts = [one for one in query.where if isinstance(one, FullText)]
    sizes = await _estimates(connection, [*ranges, *keys, *texts], query.type)
    if sizes and min(sizes) < few:
        n = sizes.index(min(sizes))
        return Driver(False, ranges[n] if n < len(ranges) else None)
    if first == "sort_date" and ordered:
        return Driver(True, ordered[0], tuple(ordered[1:_MOST_JOINED]))
    if merged:
        return Driver(True, mergeable[0])
    return Driver(first in ("dat", "str"))


async def _estimates(connection: Connection, conditions: Sequence[Condition], type: str) -> list[int]:
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
            asked.append(f"ARRAY(SELECT 1 FROM ({select.found_by(one, DIALECT, type, statement)}) c)")
    plan = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) SELECT {', '.join(asked)}", *statement.args))
    # "InitPlan 2", up to PostgreSQL 16 "InitPlan 2 (returns $1)"
    found = {int(one["Subplan Name"].split()[1]): one["Plan Rows"] for one in plan[0]["Plan"]["Plans"]}
    return [found[n + 1] for n in range(len(conditions))]
