"""What are the values of FHIRPath, and when are two of them equal, or one less than the other?

http://hl7.org/fhirpath/N1/#literals, #equality, #comparison. Booleans, integers, decimals and strings are Python's own;
dates and times keep the precision they were written with, quantities their unit. None is FHIRPath's empty.
"""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from fhir_server.fhirpath import units

# Enough digits for every FHIR decimal; exponents that would make numbers of gigabytes become infinite, thus empty.
EXACT = decimal.Context(prec=40, Emax=400, Emin=-400, traps=[])
MOST_INTEGER = 2**63 - 1

CALENDAR = {word + plural: word for word in units.CALENDAR for plural in ("", "s")}


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, a dateTime or a time with as many `parts` as were written.

    Parts are year, month, day, hour, minute (int) and second (Decimal); of a time, from the hour. `offset` is minutes
    east of UTC, None when none was written.
    """

    kind: str
    parts: tuple[int | Decimal, ...]
    offset: int | None = None

    def __str__(self) -> str:
        names = ("{:04}", "-{:02}", "-{:02}", "T{:02}", ":{:02}", ":{}")
        start = 3 if self.kind == "time" else 0
        shown = [form.format(one) for form, one in zip(names[start:], self.parts, strict=False)]
        if len(self.parts) + start == 6:
            shown[-1] = ":" + _two_digits(Decimal(self.parts[-1]))
        text = "".join(shown).removeprefix("T") if start else "".join(shown)
        if self.kind == "dateTime" and len(self.parts) <= 3:
            return text
        return text + _offset_text(self.offset)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit: a UCUM code (`1` for none), or a calendar word such as `year`."""

    value: Decimal
    unit: str

    def __str__(self) -> str:
        unit = self.unit if self.unit in units.CALENDAR else f"'{self.unit}'"
        return f"{number_text(self.value)} {unit}"


Value = bool | int | Decimal | str | Moment | Quantity

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(T)?(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_TIME = re.compile(r"(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?", re.ASCII)
_LIMITS = (9999, 12, 31, 23, 59, 60)


def moment(text: str, kind: str) -> Moment | None:
    """A FHIR date, dateTime, instant or time; None when the text is none."""
    if kind == "time":
        found = _TIME.fullmatch(text)
        return _moment("time", found.groups(), None) if found else None
    found = _DATE_TIME.fullmatch(text)
    if found is None or (found[4] is None and (found[5] or found[8])) or (found[5] and not found[3]):
        return None
    parts = (*found.group(1, 2, 3, 5, 6, 7),)
    return _moment("date" if kind == "date" and not found[4] else "dateTime", parts, found[8])


def literal_moment(text: str) -> Moment | None:
    """`@2020-01`, `@2020-01-01T`, `@T12:00`; None for a day that the calendar does not have."""
    if text.startswith("@T"):
        return moment(text[2:], "time")
    return moment(text[1:], "dateTime" if "T" in text else "date")


def whole(text: str) -> int | Decimal:
    """Digits as an integer, or as a decimal when they are too many for one."""
    number = Decimal(text)
    return int(number) if number <= MOST_INTEGER else number


def number_text(number: Decimal) -> str:
    """Without exponent."""
    return format(number, "f") if abs(number.adjusted()) <= 400 else str(number)


def bounded(number: int | Decimal) -> int | Decimal | None:
    """The result of a calculation, None when it is too large to be one."""
    if isinstance(number, int):
        return number if abs(number) <= MOST_INTEGER else None
    return number if number.is_finite() else None


def type_name(value: Value) -> str:
    """The System type of a value."""
    if isinstance(value, Moment):
        return {"date": "Date", "dateTime": "DateTime", "time": "Time"}[value.kind]
    for kind, name in ((bool, "Boolean"), (int, "Integer"), (Decimal, "Decimal"), (str, "String")):
        if isinstance(value, kind):
            return name
    return "Quantity"


def is_number(value: Any) -> bool:
    """An Integer or a Decimal; a Boolean is none."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool | None:
    """`=` of two values; None when dates are too imprecise to say, or quantities of different kinds."""
    if isinstance(left, Moment) and isinstance(right, Moment):
        if (left.kind == "time") != (right.kind == "time"):
            return False
        order = _moments(left, right)
        return None if order is None else order == 0
    left, right = _as_quantities(left, right)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        pair = _same_unit(left, right)
        return None if pair is None else pair[0] == pair[1]
    if is_number(left) and is_number(right):
        return bool(left == right)
    return type(left) is type(right) and bool(left == right)


def equivalent(left: Any, right: Any) -> bool:
    """`~` of two values: text without case and with single spaces, decimals at the lesser precision."""
    if isinstance(left, str) and isinstance(right, str):
        return " ".join(left.casefold().split()) == " ".join(right.casefold().split())
    if is_number(left) and is_number(right):
        places = min(_places(left), _places(right))
        return rounded(Decimal(left), places) == rounded(Decimal(right), places)
    left, right = _as_quantities(left, right)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        pair = _same_unit(_loose(left), _loose(right))
        return pair is not None and equivalent(*pair)
    if isinstance(left, Moment) and isinstance(right, Moment) and len(left.parts) != len(right.parts):
        return False
    return equal(left, right) is True


def less(left: Any, right: Any) -> int | None:
    """Negative, zero or positive as `left` is less, equal or greater; None when that cannot be said.

    Raises TypeError when two values of such types have no order.
    """
    left, right = _as_quantities(left, right)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        pair = _same_unit(left, right)
        return None if pair is None else _order(*pair)
    if isinstance(left, Moment) and isinstance(right, Moment) and (left.kind == "time") == (right.kind == "time"):
        return _moments(left, right)
    if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return _order(left, right)
    raise TypeError


def same_kind(left: Quantity, right: Quantity) -> bool:
    """Whether two quantities can be compared."""
    return _same_unit(left, right) is not None


def rounded(number: Decimal, places: int) -> Decimal:
    """Half up, to that many digits after the point."""
    unit = Decimal(1).scaleb(-places, EXACT)
    found = number.quantize(unit, decimal.ROUND_HALF_UP, EXACT)
    return found if found.is_finite() else number


def plus(start: Moment, amount: Quantity, sign: int) -> Moment | None:
    """A date some time later (`sign` 1) or earlier (-1), by whole units; None when the calendar ends.

    Raises TypeError for a unit that is no time of the calendar.
    """
    unit = units.TIME.get(amount.unit)
    if unit is None:
        raise TypeError
    number = int(amount.value) if abs(amount.value) < 10**9 else None
    if number is None:
        return None
    if start.kind == "time":
        return _later_time(start, number, unit, sign)
    try:
        if unit in ("year", "month"):
            return _months_later(start, sign * number * (12 if unit == "year" else 1))
        return _later(start, number * units.SECONDS[unit], sign)
    except (OverflowError, ValueError):
        return None


def in_utc(given: Moment) -> Moment:
    """The same instant in UTC, so that equal instants are equal values."""
    return _utc(given)


def _moment(kind: str, texts: tuple[str | None, ...], offset: str | None) -> Moment | None:
    given = [one for one in texts if one is not None]
    start = 3 if kind == "time" else 0
    parts = tuple(Decimal(one) if place + start == 5 else int(one) for place, one in enumerate(given))
    if any(one > most for one, most in zip(parts, _LIMITS[start:], strict=False)):
        return None
    if kind != "time" and not _in_calendar(parts):
        return None
    return Moment(kind, parts, _minutes(offset))


def _in_calendar(parts: tuple[int | Decimal, ...]) -> bool:
    year, month, day = (*(int(one) for one in parts[:3]), 1, 1)[:3]
    try:
        datetime(year, month, day)  # noqa: DTZ001 - only asks the calendar
    except ValueError:
        return False
    return True


def _minutes(offset: str | None) -> int | None:
    if offset is None or offset == "Z":
        return None if offset is None else 0
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    return (hours * 60 + minutes) * (-1 if offset[0] == "-" else 1)


def _offset_text(offset: int | None) -> str:
    if not offset:
        return "" if offset is None else "Z"
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"


def _two_digits(second: Decimal) -> str:
    return f"0{second}" if second < 10 else str(second)


def _moments(left: Moment, right: Moment) -> int | None:
    timed = 1 if left.kind == "time" else 4
    if len(left.parts) >= timed and len(right.parts) >= timed and left.kind != "time":
        if (left.offset is None) != (right.offset is None):
            return None
        left, right = _utc(left), _utc(right)
    for one, other in zip(left.parts, right.parts, strict=False):
        if one != other:
            return -1 if one < other else 1
    return 0 if len(left.parts) == len(right.parts) else None


def _utc(given: Moment) -> Moment:
    if not given.offset or len(given.parts) < 4:
        return given
    year, month, day, hour, minute = (*(int(one) for one in given.parts[:5]), 0)[:5]
    try:
        moved = datetime(year, month, day, hour, minute) - timedelta(minutes=given.offset)  # noqa: DTZ001 - plain sums
    except OverflowError:
        return given
    parts = (moved.year, moved.month, moved.day, moved.hour, moved.minute, *given.parts[5:])
    return Moment(given.kind, parts[: len(given.parts)], 0)


def _months_later(start: Moment, months: int) -> Moment:
    year, month = int(start.parts[0]), int(start.parts[1]) if len(start.parts) > 1 else 1
    count = year * 12 + month - 1 + months
    year, month = divmod(count, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    parts = [year, month + 1, *start.parts[2:]][: len(start.parts)]
    while len(parts) > 2 and not _in_calendar(tuple(parts)):
        parts[2] -= 1  # 31 January and a month: the last day of February
    return Moment(start.kind, tuple(parts), start.offset)


def _later(start: Moment, seconds: Decimal, sign: int) -> Moment:
    if len(start.parts) < 3:  # coarser than a day: whole years of 365 or months of 30 days
        size = 365 if len(start.parts) == 1 else 30
        months = int(seconds / 86400 / size) * (12 if len(start.parts) == 1 else 1)
        return _months_later(start, sign * months)
    if len(start.parts) == 3:
        seconds = Decimal(int(seconds / 86400)) * 86400
    elif len(start.parts) < 6:
        step = 3600 if len(start.parts) == 4 else 60
        seconds = Decimal(int(seconds / step)) * step
    year, month, day, hour, minute = (*(int(one) for one in start.parts[:5]), 0, 0)[:5]
    second = Decimal(start.parts[5]) if len(start.parts) == 6 else Decimal(0)
    total = second + sign * seconds
    minutes = int(total // 60)
    if total < 0 and total % 60:
        minutes -= 1
    moved = datetime(year, month, day, hour, minute) + timedelta(minutes=minutes)  # noqa: DTZ001 - plain sums
    parts = (moved.year, moved.month, moved.day, moved.hour, moved.minute, total - minutes * 60)
    return Moment(start.kind, parts[: len(start.parts)], start.offset)


def _later_time(start: Moment, number: int, unit: str, sign: int) -> Moment | None:
    """Around midnight."""
    if unit not in units.SECONDS:
        return None
    hour, minute, second = (*start.parts, 0, 0)[:3]
    total = (Decimal(hour) * 60 + minute) * 60 + second + sign * number * units.SECONDS[unit]
    total -= (total // 86400 - (total < 0 and total % 86400 != 0)) * 86400
    parts = (int(total // 3600), int(total % 3600 // 60), total % 60)
    return Moment("time", parts[: len(start.parts)])


def _as_quantities(left: Any, right: Any) -> tuple[Any, Any]:
    """A number beside a quantity is a quantity without unit."""
    if isinstance(left, Quantity) and is_number(right):
        return left, Quantity(Decimal(right), "1")
    if isinstance(right, Quantity) and is_number(left):
        return Quantity(Decimal(left), "1"), right
    return left, right


def _loose(given: Quantity) -> Quantity:
    return Quantity(given.value, {"year": "a", "month": "mo"}.get(given.unit, given.unit))


def _same_unit(left: Quantity, right: Quantity) -> tuple[Decimal, Decimal] | None:
    if left.unit == right.unit:
        return left.value, right.value
    one, other = units.scale(left.unit), units.scale(right.unit)
    if one is None or other is None or one[0] != other[0]:
        return None
    return EXACT.multiply(left.value, one[1]), EXACT.multiply(right.value, other[1])


def _places(number: int | Decimal) -> int:
    exponent = Decimal(number).normalize(EXACT).as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def _order(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)
