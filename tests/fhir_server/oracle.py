"""Which resources does a query match, and in which order? The plainest possible answer, for comparing engines with.

Looks at index rows only, one resource after the other; knows no SQL, no rights, no pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server import conditions, dates


@dataclass(frozen=True)
class Indexed:
    """A current resource version as an engine holds it. `rid` is the order of creation, `updated` microseconds."""

    type: str
    id: str
    rid: int
    updated: int
    body: bytes
    rows: conditions.Rows


def matching(query: conditions.Query, resources: Iterable[Indexed]) -> list[Indexed]:
    """All that match, in the order of the query; `count` and `after` are not looked at."""
    found = [one for one in resources if one.type == query.type and all(_meets(one, c) for c in query.where)]
    return ordered(query.sort, found)


def ordered(sort: Sequence[conditions.Sort], found: Iterable[Indexed]) -> list[Indexed]:
    """By each key in turn, those without the value last, then by rid: descending when the first key descends.

    Without a sort: newest first by clinical date, resources without one after the dated ones.
    """
    keys = tuple(sort) or (conditions.Sort("sort_date", descending=True),)
    result = sorted(found, key=lambda one: one.rid, reverse=keys[0].descending)
    for key in reversed(keys):
        with_value = [one for one in result if _value(one, key) is not None]
        without = [one for one in result if _value(one, key) is None]
        with_value.sort(key=lambda one: _value(one, key), reverse=key.descending)  # stable in both directions
        result = with_value + without
    return result


def _meets(one: Indexed, condition: conditions.Condition) -> bool:
    match condition:
        case conditions.Keys(any_of, negated, _, needles):
            hit = not set(any_of).isdisjoint(one.rows.eq)
            return hit != negated and (not needles or any(needle in one.body for needle in needles))
        case conditions.Text(param, mode, values):
            stored = [row for row in one.rows.strings if row[0] == param]
            return any(_text(mode, value, folded, raw) for _, folded, raw in stored for value in values)
        case conditions.Moment(param, tests):
            return any(_within(tests, lo, hi) for number, lo, hi in one.rows.dates if number == param)
        case conditions.Present(param, table, present):
            rows: Iterable[tuple[Any, ...]] = one.rows.strings if table == "str" else one.rows.dates
            return any(row[0] == param for row in rows) == present
        case conditions.FullText(alternatives, narrative):
            texts = one.rows.texts[:1] if narrative else one.rows.texts
            return any(
                all(_has(phrase, texts) for phrase in way.all_of) and not any(_has(no, texts) for no in way.none_of)
                for way in alternatives
            )
        case conditions.Ids(ids):
            return one.id in ids
        case conditions.Updated(tests):
            return _within(tests, one.updated, one.updated)


def _within(tests: Iterable[tuple[conditions.Prefix, int, int]], lo: int, hi: int) -> bool:
    return any(dates.matches(prefix, (q_lo, q_hi), (lo, hi)) for prefix, q_lo, q_hi in tests)


def _text(mode: str, value: str, folded: str, raw: str) -> bool:
    if mode == "exact":
        return raw == value
    return value in folded if mode == "contains" else folded.startswith(value)


def _has(phrase: conditions.Phrase, texts: Iterable[str]) -> bool:
    wanted = f" {' '.join(phrase.words)}" + ("" if phrase.prefix else " ")
    return any(wanted in f" {text} " for text in texts)


def _value(one: Indexed, key: conditions.Sort) -> Any:
    match key.by:
        case "updated":
            return one.updated
        case "id":
            return one.id
        case "sort_date":
            return one.rows.sort_date
        case "dat":
            spans = [row for row in one.rows.dates if row[0] == key.param]
            return _edge([hi for _, _, hi in spans] if key.descending else [lo for _, lo, _ in spans], key)
        case "str":
            return _edge([folded for number, folded, _ in one.rows.strings if number == key.param], key)


def _edge(values: list[Any], key: conditions.Sort) -> Any:
    return (max(values) if key.descending else min(values)) if values else None
