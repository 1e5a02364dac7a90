"""Does one version of a resource meet a search, although a newer one is there?

The store's indexes know current versions only. When a resource has changed again before its event is looked at, that
event's own version is asked here, by the same index rows. What this module cannot say, it says so (None).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server import bodies, dates, index
from fhir_server.changes import Stored
from fhir_server.conditions import Condition, Ids, Keys, Moment, Prefix, Present, Query, Rows, Text, Updated

_Tests = Iterable[tuple[Prefix, int, int]]


def meets(query: Query, stored: Stored, indexer: index.Indexer) -> bool | None:
    """Does it? None when a condition is of a kind that only the engines know."""
    rows = indexer.rows(bodies.decode(stored.body))
    said = [_meets(one, stored, rows) for one in query.where]
    if False in said:
        return False
    return None if None in said else True


def _meets(condition: Condition, stored: Stored, rows: Rows) -> bool | None:
    match condition:
        case Keys():
            return _has_key(condition, stored, rows.eq)
        case Text():
            return any(_text(condition, folded, raw) for param, folded, raw in rows.strings if param == condition.param)
        case Moment():
            return any(_moment(condition.tests, lo, hi) for param, lo, hi in rows.dates if param == condition.param)
        case Present():
            table: Sequence[tuple[int, object, object]] = rows.strings if condition.table == "str" else rows.dates
            return any(one[0] == condition.param for one in table) is condition.present
        case Ids():
            return stored.id in condition.ids
        case Updated():
            return _moment(condition.tests, stored.updated, stored.updated)
    return None  # a kind that is added later


def _has_key(condition: Keys, stored: Stored, eq: Sequence[int]) -> bool:
    found = not set(condition.any_of).isdisjoint(eq)
    if condition.negated:
        return not found
    return found and (not condition.needles or any(one in stored.body for one in condition.needles))


def _text(condition: Text, folded: str, raw: str) -> bool:
    for value in condition.values:
        cut = value[: index.LONGEST]
        if condition.mode == "contains" and value in folded:
            return True
        if condition.mode == "starts" and folded.startswith(cut):
            return True
        if condition.mode == "exact" and raw == cut:
            return True
    return False


def _moment(tests: _Tests, lo: int, hi: int) -> bool:
    return any(dates.matches(prefix, (low, high), (lo, hi)) for prefix, low, high in tests)
