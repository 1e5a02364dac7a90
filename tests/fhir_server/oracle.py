"""Which resources does a query match, and in which order? The plainest possible answer, for comparing engines with.

Looks at index rows only, one resource after the other; knows no SQL, no rights, no pages.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server import conditions, dates, index


@dataclass(frozen=True)
class Indexed:
    """A current resource version as an engine holds it. `rid` is the order of creation, `updated` microseconds."""

    type: str
    id: str
    rid: int
    updated: int
    body: bytes
    rows: conditions.Rows

    @property
    def address(self) -> int:
        return index.address(f"{self.type}/{self.id}")

    def refers(self, params: Iterable[int], to: Indexed) -> bool:
        return any((param, to.address) in self.rows.links for param in params)


def matching(query: conditions.Query, resources: Collection[Indexed]) -> list[Indexed]:
    """All that match, in the order of the query; `count` and `after` are not looked at.

    References lead to `resources` alone: give what the caller sees.
    """
    types = query.types or (query.type,)
    found = [one for one in resources if one.type in types and all(_meets(one, c, resources) for c in query.where)]
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


def _meets(one: Indexed, condition: conditions.Condition, seen: Collection[Indexed]) -> bool:
    match condition:
        case conditions.Keys(any_of, negated, _, needles, _):
            hit = not set(any_of).isdisjoint(one.rows.eq)
            return hit != negated and (not needles or any(needle in one.body for needle in needles))
        case conditions.Text(param, mode, values, also):
            stored = [row for row in one.rows.strings if row[0] in (param, *also)]
            return any(_text(mode, value, folded, raw) for _, folded, raw in stored for value in values)
        case conditions.Moment(param, tests, also):
            return any(_within(tests, lo, hi) for number, lo, hi in one.rows.dates if number in (param, *also))
        case conditions.Amount(param, tests):
            return any(_measures(param, test, row) for test in tests for row in one.rows.amounts)
        case conditions.Extent(param, units, start, end):
            rows_of = [row for row in one.rows.amounts if row[0] == param and row[1] in units]
            return any(_bounds(start, lo, lo) and _bounds(end, hi, hi) for _, _, lo, hi in rows_of)
        case conditions.Near(param):
            places = [(lo / 1e9, hi / 1e9) for number, lo, hi in one.rows.dates if number == param]
            return any(
                _distance(place, (condition.latitude, condition.longitude)) <= condition.metres for place in places
            )
        case conditions.Either(ways, negated):
            return any(all(_meets(one, part, seen) for part in way) for way in ways) != negated
        case conditions.Present(param, table, present, also):
            rows: dict[str, Iterable[tuple[Any, ...]]] = {
                "str": one.rows.strings,
                "dat": one.rows.dates,
                "num": one.rows.amounts,
            }
            return any(row[0] in (param, *also) for row in rows[table]) == present
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
        case conditions.Types(types):
            return one.type in types
        case conditions.Addresses(any_of):
            return one.address in any_of
        case conditions.And(of):
            return all(_meets(one, part, seen) for part in of)
        case conditions.Or(of):
            return any(_meets(one, part, seen) for part in of)
        case conditions.Not(of):
            return not _meets(one, of, seen)
        case conditions.Linked(params, _, types, where):
            targets = [to for to in seen if to.type in types and one.refers(params, to)]
            return any(all(_meets(to, part, seen) for part in where) for to in targets)
        case conditions.LinkedFrom(type, param, _, where):
            sources = [by for by in seen if by.type == type and by.refers((param,), one)]
            return any(all(_meets(by, part, seen) for part in where) for by in sources)


def _within(tests: Iterable[tuple[conditions.Prefix, int, int]], lo: int, hi: int) -> bool:
    return any(dates.matches(prefix, (q_lo, q_hi), (lo, hi)) for prefix, q_lo, q_hi in tests)


def _measures(param: int, test: conditions.Measure, row: tuple[int, int, str, str]) -> bool:
    number, unit, lo, hi = row
    return number == param and unit == test[0] and _bounds(test, lo, hi)


def _bounds(test: conditions.Measure, lo: Any, hi: Any) -> bool:
    _, prefix, low, high = test
    return dates.matches(prefix, (low, high), (lo, hi))  # type: ignore[arg-type]


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres on the great circle, by the angle between two vectors."""
    a, b = _vector(one), _vector(other)
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return 6_371_008.8 * math.atan2(math.hypot(*cross), sum(x * y for x, y in zip(a, b, strict=True)))


def _vector(place: tuple[float, float]) -> tuple[float, float, float]:
    latitude, longitude = map(math.radians, place)
    return math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)


def _text(mode: str, value: str, folded: str, raw: str) -> bool:
    if mode == "exact":
        return raw == value
    if mode == "below":
        return folded == value or folded.startswith((value + ".",) if "|" in value else (value + "/", value + "|"))
    if mode == "equals":
        return folded == value
    if mode == "ends":
        return folded.endswith(value)
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
            spans = [row for row in one.rows.dates if row[0] in (key.param, *key.also)]
            return _edge([hi for _, _, hi in spans] if key.descending else [lo for _, lo, _ in spans], key)
        case "body":
            assert key.read
            return key.read(one.body)
        case "num":
            rows = [row for row in one.rows.amounts if row[:2] == (key.param, 0)]
            return _edge([hi for *_, hi in rows] if key.descending else [lo for *_, lo, _ in rows], key)
        case "str":
            return _edge([folded for number, folded, _ in one.rows.strings if number in (key.param, *key.also)], key)


def _edge(values: list[Any], key: conditions.Sort) -> Any:
    return (max(values) if key.descending else min(values)) if values else None
