"""What is a value as another type?

http://hl7.org/fhirpath/N1/#conversion. Each function gives None where there is no such value.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from fhir_server.fhirpath import units, values
from fhir_server.fhirpath.values import Moment, Quantity

_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?", re.ASCII)
_QUANTITY = re.compile(r"([+-]?\d{1,40}(?:\.\d{1,40})?)\s*(?:'([^']{1,100})'|([a-z]+))?", re.ASCII)


def boolean(value: Any) -> bool | None:
    """true, t, yes, y, 1 and their opposites."""
    if isinstance(value, bool):
        return value
    if values.is_number(value):
        return {0: False, 1: True}.get(value)
    if isinstance(value, str):
        return True if value.lower() in _TRUE else False if value.lower() in _FALSE else None
    return None


def integer(value: Any) -> int | None:
    """Whole numbers only."""
    if isinstance(value, (bool, int)):
        return int(value)
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def decimal(value: Any) -> Decimal | None:
    """Digits as they are written."""
    if isinstance(value, (bool, int)):
        return Decimal(int(value))
    if isinstance(value, Decimal):
        return value
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def text(value: Any) -> str | None:
    """The text of a value as FHIRPath writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return values.number_text(value)
    return str(value) if isinstance(value, (str, int, Moment, Quantity)) else None


def date(value: Any) -> Moment | None:
    """A date, or the day of a dateTime."""
    if isinstance(value, Moment) and value.kind != "time":
        return Moment("date", value.parts[:3])
    found = values.moment(value, "dateTime") if isinstance(value, str) else None
    return Moment("date", found.parts[:3]) if found else None


def date_time(value: Any) -> Moment | None:
    """A dateTime, of a date one without time."""
    if isinstance(value, Moment) and value.kind != "time":
        return Moment("dateTime", value.parts, value.offset)
    found = values.moment(value, "dateTime") if isinstance(value, str) else None
    return Moment("dateTime", found.parts, found.offset) if found else None


def time(value: Any) -> Moment | None:
    """A time of the day."""
    if isinstance(value, Moment) and value.kind == "time":
        return value
    return values.moment(value.removeprefix("T"), "time") if isinstance(value, str) else None


def quantity(value: Any, unit: str | None = None) -> Quantity | None:
    """A number without unit, or a text such as `4 days` or `1.5 'mg'`; with `unit`, converted to it."""
    found = _quantity(value)
    if found is None or unit is None:
        return found
    wanted = values.CALENDAR.get(unit, unit)
    if found.unit == wanted:
        return found
    one, other = units.scale(found.unit), units.scale(wanted)
    if one is None or other is None or one[0] != other[0]:
        return None
    return Quantity(values.EXACT.divide(values.EXACT.multiply(found.value, one[1]), other[1]), wanted)


def _quantity(value: Any) -> Quantity | None:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, (bool, int, Decimal)):
        return Quantity(Decimal(value), "1")
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[3] and match[3] not in values.CALENDAR):
        return None
    return Quantity(Decimal(match[1]), match[2] or values.CALENDAR.get(match[3] or "", "1"))
