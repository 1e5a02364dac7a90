"""How are moments written in French mail? Times in seconds since 1970, shown in Paris time."""

from __future__ import annotations

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAYS = "lundi mardi mercredi jeudi vendredi samedi dimanche".split()
_MONTHS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()


def local(at: float) -> datetime:
    """The moment in Paris; in the machine's zone where the zone tables are missing."""
    zone: tzinfo | None
    try:
        zone = ZoneInfo("Europe/Paris")
    except ZoneInfoNotFoundError:
        zone = None
    return datetime.fromtimestamp(at, zone).astimezone(zone)


def long(at: float) -> str:
    """ "lundi 23 novembre 2026 09:12"."""
    moment = local(at)
    return f"{_DAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]} {moment.year} {moment:%H:%M}"


def short(at: float) -> str:
    """ "23/11/2026 à 09:12"."""
    return f"{local(at):%d/%m/%Y à %H:%M}"


def listed(at: float, now: float) -> str:
    """ "09:12" today, "23 nov." this year, "23/11/2025" before."""
    moment, today = local(at), local(now)
    if moment.date() == today.date():
        return f"{moment:%H:%M}"
    if moment.year == today.year:
        month = _MONTHS[moment.month - 1]
        return f"{moment.day} {month}"
    return f"{moment:%d/%m/%Y}"
