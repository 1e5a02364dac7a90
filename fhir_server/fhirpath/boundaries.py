"""What is the least and the greatest value that an imprecise one may stand for?

`lowBoundary`, `highBoundary` and `precision` of the FHIRPath continuous build, which views need
(https://sql-on-fhir.org): 1.5 is from 1.45 to 1.55, a year from its first to its last millisecond.
"""

from __future__ import annotations

import calendar
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from fhir_server.fhirpath.values import EXACT, Moment, Quantity

MOST_PLACES = 28
_FAR_EAST, _FAR_WEST = 14 * 60, -12 * 60  # the offsets of the earliest and of the latest day on Earth
_DIGITS = {"date": (4, 6, 8), "dateTime": (4, 6, 8, 10, 12, 14, 17), "time": (2, 4, 6, 9)}


def low(value: Any, digits: int | None = None) -> Any:
    """The least value; `digits` is how precise the result is. None where there is none."""
    return _boundary(value, digits, is_low=True)


def high(value: Any, digits: int | None = None) -> Any:
    """The greatest value; `digits` is how precise the result is. None where there is none."""
    return _boundary(value, digits, is_low=False)


def precision(value: Any) -> int | None:
    """How many digits were written: those of a decimal after its point, of a date all."""
    if isinstance(value, Decimal):
        return max(-int(value.as_tuple().exponent), 0)
    if isinstance(value, int) and not isinstance(value, bool):
        return 0
    if not isinstance(value, Moment):
        return None
    written = _DIGITS["dateTime" if value.kind == "date" else value.kind]
    places = len(value.parts)
    full = 3 if value.kind == "time" else 6
    return written[full] if places == full and "." in str(value.parts[-1]) else written[places - 1]


def _boundary(value: Any, digits: int | None, *, is_low: bool) -> Any:
    if isinstance(value, Quantity):
        number = _number(value.value, digits, is_low=is_low)
        return None if number is None else Quantity(number, value.unit)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return _number(Decimal(value), digits, is_low=is_low)
    if isinstance(value, Moment):
        return _moment(value, digits, is_low=is_low)
    return None


def _number(value: Decimal, digits: int | None, *, is_low: bool) -> Decimal | None:
    wanted = 8 if digits is None else digits
    if not 0 <= wanted <= MOST_PLACES or not value.is_finite():
        return None
    half = Decimal("0.5").scaleb(-(precision(value) or 0))
    edge = EXACT.subtract(value, half) if is_low else EXACT.add(value, half)
    found = edge.quantize(Decimal(1).scaleb(-wanted), ROUND_FLOOR if is_low else ROUND_CEILING, EXACT)
    return found if found.is_finite() else None


def _moment(value: Moment, digits: int | None, *, is_low: bool) -> Moment | None:
    known = _DIGITS[value.kind]
    wanted = known[-1] if digits is None else digits
    if wanted not in known:
        return None
    place = known.index(wanted)
    parts = _filled(value, is_low=is_low)
    full = 3 if value.kind == "time" else 6
    if place >= full - 1 and value.kind != "date":
        second = Decimal(parts[full - 1])
        parts = (*parts[: full - 1], _second(second, value, is_low=is_low) if place == full else Decimal(int(second)))
    parts = parts[: min(place + 1, full)]
    offset = value.offset
    if value.kind == "dateTime" and offset is None and place >= 3:
        offset = _FAR_EAST if is_low else _FAR_WEST
    return Moment(value.kind, parts, offset if place >= 3 else None)


def _second(second: Decimal, value: Moment, *, is_low: bool) -> Decimal:
    """With milliseconds; those that were written stay."""
    if "." in str(second):
        return second.quantize(Decimal("0.001"))
    is_written = len(value.parts) == (3 if value.kind == "time" else 6)
    base = second if is_written or is_low else Decimal(59)
    return base + (Decimal("0.000") if is_low else Decimal("0.999"))


def _filled(value: Moment, *, is_low: bool) -> tuple[int | Decimal, ...]:
    """All parts: what was not written is the first or the last that it can be."""
    parts = list(value.parts)
    if len(parts) == 4 and value.kind == "dateTime":
        parts.append(0)  # FHIR has no hour without its minutes
    if value.kind == "time":
        rest = (0, 0, Decimal(0)) if is_low else (23, 59, Decimal(59))
        return (*parts, *rest[len(parts) :])
    if len(parts) < 2:
        parts.append(1 if is_low else 12)
    if len(parts) < 3:
        parts.append(1 if is_low else calendar.monthrange(int(parts[0]), int(parts[1]))[1])
    rest = (0, 0, Decimal(0)) if is_low else (23, 59, Decimal(59))
    return (*parts, *rest[len(parts) - 3 :])
