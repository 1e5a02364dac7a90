"""Which stretch of time does a FHIR date stand for, and when does a search range meet a stored one?

FHIR R4 search, "date" (https://hl7.org/fhir/R4/search.html#date) and `prefix`. Every value is a range [lo, hi] of
microseconds since 1970 in UTC with both ends included: `1980` is the whole year, a time to the second that second. A
value without time zone is read in Europe/Paris, the zone of the people who write and search here.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fhir_server import conditions

Span = tuple[int, int]

# Open ends of periods: beyond any date FHIR can write (years 1 to 9999), well inside a signed 64-bit column.
BEGINNING = -(2**62)
END = 2**62

_PARIS = ZoneInfo("Europe/Paris")
_SECOND = 1_000_000
_EPOCH = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal()

_FORM = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)


# In a URL `+` is a space unless it was encoded: 2025-01-01T10:00:00+01:00 arrives with a space.
_LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)


@lru_cache(maxsize=32768)
def span(text: str) -> Span:
    """The range of a date, dateTime, instant or search value such as `1980`, `1980-05-11T16:32Z`.

    Minutes without seconds are taken too: searches may be written so. Raises ValueError for anything else, and for days
    that no calendar has.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("not a FHIR date")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if day is None:
        first, after = _month_bounds(int(year), int(month)) if month else _year_bounds(int(year))
        return _midnight(first), _midnight(after) - 1
    ordinal = date(int(year), int(month), int(day)).toordinal()
    if hour is None:
        return _midnight(ordinal), _midnight(ordinal + 1) - 1
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        raise ValueError("no such time of day")
    seconds = (int(hour) * 60 + int(minute)) * 60 + int(second or 0)
    part, width = _fraction(second, fraction)
    lo = _utc(ordinal, seconds, zone) + part
    return lo, lo + width - 1


def asked(text: str) -> Span:
    """The range of a date that came in a URL, also when the `+` of its zone was not escaped. Raises ValueError."""
    return span(_LOST_PLUS.sub("+", text))


def period(start: str | None, end: str | None) -> Span:
    """The range of a Period: a missing side is open, an end covers its own precision. Raises ValueError."""
    return span(start)[0] if start else BEGINNING, span(end)[1] if end else END


def matches(prefix: conditions.Prefix, wanted: Span, stored: Span) -> bool:
    """Does a stored range meet a search range? The reference for the engines' SQL.

    `eq` is containment, not overlap. For `ap` the wanted range is already widened (`widened`).
    """
    (q_lo, q_hi), (s_lo, s_hi) = wanted, stored
    inside = s_lo >= q_lo and s_hi <= q_hi
    match prefix:
        case "eq":
            return inside
        case "ne":
            return not inside
        case "gt":
            return s_hi > q_hi
        case "ge":
            return s_hi > q_hi or inside
        case "lt":
            return s_lo < q_lo
        case "le":
            return s_lo < q_lo or inside
        case "sa":
            return s_lo > q_hi
        case "eb":
            return s_hi < q_lo
        case "ap":
            return s_lo <= q_hi and s_hi >= q_lo


def widened(wanted: Span, now: int) -> Span:
    """The range of an `ap` search: stretched on both sides by a tenth of its distance from `now` (microseconds)."""
    lo, hi = wanted
    slack = max(lo - now, now - hi, 0) // 10
    return lo - slack, hi + slack


def _year_bounds(year: int) -> Span:
    first = date(year, 1, 1).toordinal()
    return first, date(year, 12, 31).toordinal() + 1


def _month_bounds(year: int, month: int) -> Span:
    first = date(year, month, 1).toordinal()
    return first, first + (31 if month == 12 else (date(year, month + 1, 1) - date(year, month, 1)).days)


def _midnight(ordinal: int) -> int:
    return _utc(ordinal, 0, None)


def _utc(ordinal: int, seconds: int, zone: str | None) -> int:
    """Microseconds of a wall clock time; `seconds` since midnight, may reach 86,400 for a leap second."""
    wall = ((ordinal - _EPOCH) * 86_400 + seconds) * _SECOND
    if zone == "Z":
        return wall
    if zone is None:
        # The day after 9999-12-31 has no datetime, but the same offset as that day.
        moment = datetime.fromordinal(min(ordinal, _LAST_DAY)) + timedelta(seconds=min(seconds, 86_399))
        return wall - (_PARIS.utcoffset(moment) or timedelta()) // timedelta(microseconds=1)
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 14 or minutes > 59:
        raise ValueError("no such time zone")
    ahead = (hours * 60 + minutes) * 60 * _SECOND
    return wall - ahead if zone[0] == "+" else wall + ahead


def _fraction(second: str | None, fraction: str | None) -> Span:
    """The start inside the second and the width that the written precision covers, in microseconds."""
    if second is None:
        return 0, 60 * _SECOND
    if fraction is None:
        return 0, _SECOND
    digits = fraction[:6]
    width: int = 10 ** (6 - len(digits))
    return int(digits) * width, width
