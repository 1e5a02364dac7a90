"""When, in FHIR's words? HL7 v2 TS/DTM and CDA TS share one grammar: `YYYY[MM[DD[HH[MM[SS[.S+]]]]]][+/-ZZZZ]`.

The precision given is kept. A time without an offset is French legal time, and FHIR wants an offset as soon as there
is a time. The zone rules come from the system or the `tzdata` package.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

_TS = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,9}))?)?)?)?)?)?([+-]\d{4})?", re.ASCII
)
_PARIS = ZoneInfo("Europe/Paris")


def date_time(text: str) -> str:
    """A FHIR dateTime with the precision of the source (missing minutes and seconds are zero), "" when it is none."""
    moment, precision = _read(text)
    if moment is None:
        return ""
    if precision <= 3:
        return moment.isoformat()[: (4, 7, 10)[precision - 1]]
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


def date(text: str) -> str:
    """A FHIR date, a time of day left out; "" when it is none."""
    return date_time(text)[:10]


def instant(date_time: str) -> str:
    """A FHIR instant from a FHIR dateTime: the first moment of a day, month or year; "" from ""."""
    if "T" in date_time or not date_time:
        return date_time
    moment, _ = _read(date_time.replace("-", ""))
    return moment.isoformat() if moment else ""


def write(moment: datetime) -> str:
    """An aware moment as HL7 v2 writes it, with its offset, to the second."""
    return moment.astimezone(_PARIS).strftime("%Y%m%d%H%M%S%z")


def _read(text: str) -> tuple[datetime | None, int]:
    """The moment in its offset and how many of year, month, day, hour, minute, second were given."""
    found = _TS.fullmatch(text.strip())
    if not found:
        return None, 0
    *numbers, fraction, offset = found.groups()
    given = [int(number) for number in numbers if number is not None]
    micros = int((fraction or "0").ljust(6, "0")[:6])
    year, month, day, hour, minute, second = given + [1, 1, 1, 0, 0, 0][len(given) :]
    try:
        # Second 60 exists in HL7 and not in Python.
        moment = datetime(year, month, day, hour, minute, min(second, 59), micros, tzinfo=_zone(offset))
        return moment.replace(tzinfo=_whole_minutes(moment.utcoffset() or timedelta())), len(given)
    except (ValueError, OverflowError):
        return None, 0


def _zone(offset: str | None) -> timezone | ZoneInfo:
    if not offset:
        return _PARIS
    away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
    if away > timedelta(hours=14):  # the most that FHIR can write
        raise ValueError(offset)
    return timezone(-away if offset[0] == "-" else away)


def _whole_minutes(away: timedelta) -> timezone:
    """Before 1911 Paris was 9 minutes and 21 seconds ahead, which FHIR cannot write."""
    return timezone(timedelta(minutes=round(away.total_seconds() / 60)))
