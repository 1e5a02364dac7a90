"""Does a date, number or quantity value match what a search asks? By the text of R4 search, section by kind.

https://hl7.org/fhir/R4/search.html#date, #number, #quantity, #prefix. Everything is a range: a date by its precision, a
number as written, a quantity by its comparator. Open ends are None. A time without zone is read in Europe/Paris.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.fhir_server.naive import texts
from tests.fhir_server.naive.values import Value

PARIS = ZoneInfo("Europe/Paris")
UCUM = "http://unitsofmeasure.org"
CURRENCIES = "urn:iso:std:iso:4217"


class Range(NamedTuple):
    """From `low` to `high`, None for open; which ends do not belong to it."""

    low: Any
    high: Any
    without_low: bool = False
    without_high: bool = False


# ---- comparing -------------------------------------------------------------------------------------------------------


def meets(prefix: str, wanted: Range, stored: Range) -> bool:
    """The table of prefixes: `eq` is containment, `ap` overlap (with a range that was widened before)."""
    match prefix:
        case "eq":
            return _inside(stored, wanted)
        case "ne":
            return not _inside(stored, wanted)
        case "gt":
            return _ends_after(stored, wanted)
        case "lt":
            return _starts_before(stored, wanted)
        case "ge":
            return _ends_after(stored, wanted) or _inside(stored, wanted)
        case "le":
            return _starts_before(stored, wanted) or _inside(stored, wanted)
        case "sa":
            return _all_after(stored, wanted)
        case "eb":
            return _all_after(wanted, stored)
        case "ap":
            return not _all_after(stored, wanted) and not _all_after(wanted, stored)
    raise AssertionError(prefix)


def _inside(one: Range, other: Range) -> bool:
    return not _starts_before(one, other) and not _ends_after(one, other)


def _starts_before(one: Range, other: Range) -> bool:
    if other.low is None:
        return False
    if one.low is None or one.low < other.low:
        return True
    return bool(one.low == other.low and other.without_low and not one.without_low)


def _ends_after(one: Range, other: Range) -> bool:
    if other.high is None:
        return False
    if one.high is None or one.high > other.high:
        return True
    return bool(one.high == other.high and other.without_high and not one.without_high)


def _all_after(one: Range, other: Range) -> bool:
    """Nothing of the one lies at or before the end of the other."""
    if one.low is None or other.high is None:
        return False
    return bool(one.low > other.high or (one.low == other.high and (one.without_low or other.without_high)))


def prefixed(text: str) -> tuple[str, str]:
    """The prefix, eq when there is none, and the rest."""
    found = re.match(r"eq|ne|gt|lt|ge|le|sa|eb|ap", text)
    return (found[0], text[2:]) if found else ("eq", text)


# ---- date ------------------------------------------------------------------------------------------------------------


def moment(text: str) -> Range:
    """The time that a date stands for; its end is the first instant that no longer belongs to it."""
    if "T" not in text:
        year, month, day = (*(int(one) for one in text.split("-")), None, None)[:3]
        first = datetime(year, month or 1, day or 1, tzinfo=PARIS)
        if day:
            after = datetime.combine(first.date() + timedelta(days=1), first.time(), PARIS)
        elif month:
            after = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=PARIS)
        else:
            after = datetime(year + 1, 1, 1, tzinfo=PARIS)
        return Range(first.astimezone(UTC), after.astimezone(UTC), without_high=True)
    clock = re.fullmatch(r"([^T]+T\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?", text)
    assert clock, text
    minute, second, fraction, zone = clock.groups()
    start = datetime.fromisoformat(f"{minute}:{second or '00'}.{(fraction or '').ljust(6, '0')[:6]}")
    start = start.replace(tzinfo=PARIS) if zone is None else datetime.fromisoformat(f"{start.isoformat()}{zone}")
    width = timedelta(minutes=1) if second is None else timedelta(seconds=1)
    if fraction:
        width = timedelta(microseconds=10 ** (6 - min(len(fraction), 6)))
    start = start.astimezone(UTC)
    return Range(start, start + width, without_high=True)


def moments(value: Value) -> Iterator[Range]:
    """The time of a date, a Period or a Timing."""
    json = value.json
    if value.type == "Period":
        if json.get("start") or json.get("end"):
            yield _period(json)
    elif value.type == "Timing":
        some = [moment(one) for one in json.get("event", [])]
        bounds = json.get("repeat", {}).get("boundsPeriod", {})
        some += [_period(bounds)] if bounds else []
        if some:
            low = None if any(one.low is None for one in some) else min(one.low for one in some)
            high = None if any(one.high is None for one in some) else max(one.high for one in some)
            yield Range(low, high, without_high=True)
    elif value.type in ("date", "dateTime", "instant"):
        yield moment(json)


def _period(json: dict[str, str]) -> Range:
    low = moment(json["start"]).low if json.get("start") else None
    high = moment(json["end"]).high if json.get("end") else None
    return Range(low, high, without_high=True)


def date(value: Value, wanted: str, now: datetime) -> bool:
    """`[prefix]date`; `ap` widens by a tenth of the distance from now."""
    prefix, text = prefixed(texts.plain(wanted))
    asked = moment(text)
    if prefix == "ap":
        last = asked.high - timedelta(microseconds=1)
        slack = max(asked.low - now, now - last, timedelta()) // timedelta(microseconds=1) // 10
        asked = Range(
            asked.low - timedelta(microseconds=slack), asked.high + timedelta(microseconds=slack), False, True
        )
    return any(meets(prefix, asked, one) for one in moments(value))


# ---- number and quantity ---------------------------------------------------------------------------------------------


def written(text: str) -> tuple[str, Range]:
    """A number with its prefix: by itself for an ordering, by its last digit for equality, a tenth around for `ap`."""
    prefix, text = prefixed(text)
    number = Decimal(text)
    exact = Fraction(number)
    if prefix in ("eq", "ne"):
        half = Fraction(10) ** int(number.as_tuple().exponent) / 2
        return prefix, Range(exact - half, exact + half, without_high=True)
    if prefix == "ap":
        return prefix, Range(exact - abs(exact) / 10, exact + abs(exact) / 10)
    return prefix, Range(exact, exact)


def amount(value: Value) -> Range | None:
    """The numbers of a value; None when it has none."""
    json = value.json
    if not isinstance(json, dict):
        return Range(Fraction(json), Fraction(json))
    if value.type == "Range":
        ends = [json.get(name, {}).get("value") for name in ("low", "high")]
        low, high = (None if one is None else Fraction(one) for one in ends)
        return Range(low, high)
    if "value" not in json:
        return None
    number, comparator = Fraction(json["value"]), json.get("comparator", "")
    return {
        "": Range(number, number),
        "<": Range(None, number, without_high=True),
        "<=": Range(None, number),
        ">": Range(number, None, without_low=True),
        ">=": Range(number, None),
    }[comparator]


def number(value: Value, wanted: str) -> bool:
    """`[prefix]number`."""
    prefix, asked = written(texts.plain(wanted))
    stored = amount(value)
    return stored is not None and meets(prefix, asked, stored)


# What one of a unit is in the base unit of its kind.
_UNITS = {
    "kg": ("g", Fraction(1000)), "g": ("g", Fraction(1)), "mg": ("g", Fraction(1, 1000)),
    "ug": ("g", Fraction(1, 10**6)), "L": ("L", Fraction(1)), "mL": ("L", Fraction(1, 1000)),
    "mm[Hg]": ("mm[Hg]", Fraction(1)), "min": ("s", Fraction(60)), "h": ("s", Fraction(3600)), "s": ("s", Fraction(1)),
    "mg/dL": ("g/L", Fraction(1, 100)), "g/L": ("g/L", Fraction(1)),
}  # fmt: skip


def quantity(value: Value, wanted: str) -> bool:
    """`[prefix]number`, `…|system|code`, `…||code`: any unit; that one or its kind; what is so named."""
    text, *unit = (texts.plain(one) for one in texts.split(wanted, "|"))
    prefix, asked = written(text)
    stored = amount(value)
    if stored is None:
        return False
    if not unit:
        return meets(prefix, asked, stored)
    system, code = unit
    own_system, own_code, name = _unit(value)
    both_known = code in _UNITS and own_code in _UNITS and system in ("", UCUM) and own_system == UCUM
    if both_known and _UNITS[code][0] == _UNITS[own_code][0]:
        return meets(prefix, _times(asked, _UNITS[code][1]), _times(stored, _UNITS[own_code][1]))
    if system:
        return (own_system, own_code) == (system, code) and meets(prefix, asked, stored)
    return code in (own_code, name) and meets(prefix, asked, stored)


def _unit(value: Value) -> tuple[str, str, str]:
    json = value.json
    if value.type == "Money":
        return CURRENCIES, json.get("currency", ""), ""
    if value.type == "Range":
        json = json.get("low") or json.get("high") or {}
    return json.get("system", ""), json.get("code", ""), json.get("unit", "")


def _times(one: Range, factor: Fraction) -> Range:
    low, high = (None if end is None else end * factor for end in (one.low, one.high))
    return Range(low, high, one.without_low, one.without_high)
