"""How does SQL test numbers, quantities, extents and places?

Predicates on a row of `num` or `dat`, whose alias is given; `unused` goes before a column whose index is not wanted
(`searching.texts`). Numbers are texts in the order of the numbers, so they compare as dates do.
"""

from __future__ import annotations

import math

from fhir_server.conditions import Amount, Extent, Measure, Near
from fhir_server.engines.searching import Statement, moments

_RADIUS = 6_371_008.8  # mean radius of the earth in metres
_FLOAT = "CAST({} AS double precision)"
_NOTHING = "1 = 0"


def amounts(condition: Amount, table: str, statement: Statement, *, unused: str = "") -> str:
    """One of the tests is met, each in its unit."""
    found = [amount(one, table, statement, unused=unused) for one in condition.tests]
    return f"({' OR '.join(found) or _NOTHING})"


def amount(test: Measure, table: str, statement: Statement, *, unused: str = "") -> str:
    """One test is met in its unit."""
    unit, prefix, low, high = test
    unit_is = f"{unused}{table}.unit = {statement.arg(unit)}"
    return f"({unit_is} AND {moments(((prefix, low, high),), f'{unused}{table}.lo', f'{unused}{table}.hi', statement)})"


def extents(condition: Extent, table: str, statement: Statement, *, unused: str = "") -> str:
    """The row's start and its end, which are `lo` and `hi`, each meet a test."""
    units = [f"{unused}{table}.unit = {statement.arg(one)}" for one in condition.units]
    lo, hi = f"{unused}{table}.lo", f"{unused}{table}.hi"
    start = moments((condition.start[1:],), lo, lo, statement)
    end = moments((condition.end[1:],), hi, hi, statement)
    return f"(({' OR '.join(units) or _NOTHING}) AND {start} AND {end})"


def places(condition: Near, table: str, statement: Statement, *, unused: str = "") -> str:
    """The row's place, latitude in `lo` and longitude in `hi`, lies in a box and near enough on the great circle."""
    lo, hi = f"{unused}{table}.lo", f"{unused}{table}.hi"
    boxes = []
    for box in condition.boxes:
        south, north, west, east = (statement.arg(one) for one in box)
        boxes.append(f"({lo} >= {south} AND {lo} <= {north} AND {hi} >= {west} AND {hi} <= {east})")
    return f"(({' OR '.join(boxes) or _NOTHING}) AND {_circle(condition, table, statement)})"


def _circle(condition: Near, table: str, statement: Statement) -> str:
    """Haversine: the square of half the chord is at most that of the distance."""
    latitude, longitude, reach = (
        _FLOAT.format(statement.arg(one))
        for one in (condition.latitude, condition.longitude, half_chord(condition.metres))
    )
    lo, hi = (f"({table}.{column} / {_FLOAT.format('1e9')})" for column in ("lo", "hi"))
    north, east = f"sin(radians({lo} - {latitude}) / 2)", f"sin(radians({hi} - {longitude}) / 2)"
    across = f"cos(radians({lo})) * cos(radians({latitude})) * {east} * {east}"
    return f"({north} * {north} + {across}) <= {reach}"


def half_chord(metres: float) -> float:
    """The square of half the chord of a distance, on a sphere of radius 1."""
    return float(math.sin(min(metres / (2 * _RADIUS), math.pi / 2)) ** 2)


def measured(
    condition: Amount | Extent | Near, table: str, statement: Statement, *, unused: str = ""
) -> tuple[str, str]:
    """The table that holds the values, and the test of its rows."""
    if isinstance(condition, Amount):
        return "num", amounts(condition, table, statement, unused=unused)
    if isinstance(condition, Extent):
        return "num", extents(condition, table, statement, unused=unused)
    return "dat", places(condition, table, statement, unused=unused)
