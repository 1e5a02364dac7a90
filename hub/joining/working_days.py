"""When is one working day over? Monday to Friday but for public holidays (Code du travail, L3133-1). Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

FRANCE = ZoneInfo("Europe/Paris")
_FIXED = frozenset({(1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)})
_AFTER_EASTER = (1, 39, 50)  # Easter Monday, Ascension, Whit Monday


def one_later(moment: datetime) -> datetime:
    """The same time of the next working day; what comes in on a day off counts from the next morning at eight."""
    there = moment.astimezone(FRANCE)
    if not is_working(there.date()):
        there = _next(there).replace(hour=8, minute=0, second=0, microsecond=0)
    return _next(there).astimezone(moment.tzinfo)


def is_working(day: date) -> bool:
    """Does the office work on that day?"""
    if day.weekday() >= 5 or (day.month, day.day) in _FIXED:
        return False
    return (day - easter(day.year)).days not in _AFTER_EASTER


def easter(year: int) -> date:
    """Easter Sunday (Gregorian calendar; Meeus, Jones, Butcher)."""
    century, rest = divmod(year, 100)
    golden = year % 19
    epact = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def _next(there: datetime) -> datetime:
    day = there.date() + timedelta(days=1)
    while not is_working(day):
        day += timedelta(days=1)
    return there.replace(year=day.year, month=day.month, day=day.day)
