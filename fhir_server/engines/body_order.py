"""How is a search ordered by what no table keeps: codes, references, addresses?

Keeping such values only to sort by them would double the rows of every write. All matches are collected instead, up to
a bound, the values read from their bodies, and the page cut out of the whole; order and cursors are those of
`searching`: rows without a value last, equal ones told apart by rid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from common import errors
from fhir_server.conditions import Query, Sort
from fhir_server.engines import searching
from fhir_server.engines.searching import Cursor
from fhir_server.rows import Page
from fhir_server.tables import NO_DATE

MOST = 20_000

_Row = tuple[Any, ...]


def is_needed(query: Query) -> bool:
    """Does one of the sorts read bodies?"""
    return any(one.by == "body" for one in query.sort)


def collecting(query: Query) -> Query:
    """The query for all matches, whose rows carry what SQL knows of the sort values."""
    known = tuple(one for one in query.sort if one.by != "body")
    return replace(query, sort=known or (Sort("id"),), count=MOST, after=None, total=False)


def page(query: Query, found: Sequence[_Row], at: Cursor | None) -> Page:
    """The page of `query` from all rows that `collecting` finds, up to one more than MOST.

    Raises Unreadable when there are more.
    """
    if len(found) > MOST:
        text = f"_sort : plus de {MOST} ressources à trier ainsi ; ajoutez un critère, ou triez par date"
        raise errors.Unreadable(text, at="_sort", issues=(errors.Issue(text, "_sort", "too-costly"),))
    rows = [(*row[:6], *_values(query.sort, row), row[-1]) for row in found]
    rows.sort(key=lambda row: row[-1], reverse=query.sort[0].descending)
    for n in reversed(range(len(query.sort))):
        _order(rows, 6 + n, descending=query.sort[n].descending)
    if at:
        rows = [row for row in rows if _is_after(query.sort, row[6:], (*at.values, at.rid))]
    total = len(found) if query.total or not query.count or len(found) <= query.count else None
    return searching.page(query, rows[: query.count + 1], total)


def _values(sorts: Sequence[Sort], row: _Row) -> list[Any]:
    known = iter(row[6:-1])
    values = []
    for one in sorts:
        value = one.read(row[4]) if one.by == "body" and one.read else next(known)
        values.append(None if one.by == "sort_date" and value == NO_DATE else value)
    return values


def _order(rows: list[_Row], column: int, *, descending: bool) -> None:
    """Stable in both directions; None last."""
    with_value = [row for row in rows if row[column] is not None]
    without = [row for row in rows if row[column] is None]
    with_value.sort(key=lambda row: row[column], reverse=descending)
    rows[:] = with_value + without


def _is_after(sorts: Sequence[Sort], values: Sequence[Any], last: Sequence[Any]) -> bool:
    directions = [*(one.descending for one in sorts), sorts[0].descending]
    for value, bound, descending in zip(values, last, directions, strict=True):
        if value != bound:
            if value is None or bound is None:
                return value is None
            return bool(value < bound if descending else value > bound)
    return False
