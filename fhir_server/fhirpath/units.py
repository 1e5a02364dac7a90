"""How do units of measure convert, as far as comparing two quantities in FHIRPath needs it?

UCUM (https://ucum.org): its metric prefixes on the units that results are given in. Special units (degrees Celsius,
pH) and arbitrary ones ([iU]) are compared only with themselves.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

# Words of the calendar -> what they are in UCUM; years and months have no fixed length, and are not the UCUM ones.
CALENDAR = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
_WORD_OF = {"wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}
SECONDS = {
    "week": Decimal(604800),
    "day": Decimal(86400),
    "hour": Decimal(3600),
    "minute": Decimal(60),
    "second": Decimal(1),
    "millisecond": Decimal("0.001"),
}
# Every unit that can be added to a date, as a word of the calendar.
TIME = {word: word for word in CALENDAR} | _WORD_OF

_PREFIXES = {
    "": 0, "da": 1, "h": 2, "k": 3, "M": 6, "G": 9, "T": 12,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15,
}  # fmt: skip
# Unit that takes prefixes -> its dimension and its size.
_METRIC: dict[str, tuple[str, Decimal]] = {
    "m": ("length", Decimal(1)),
    "g": ("mass", Decimal(1)),
    "t": ("mass", Decimal(1_000_000)),
    "s": ("time", Decimal(1)),
    "L": ("volume", Decimal(1)),
    "l": ("volume", Decimal(1)),
    "mol": ("amount", Decimal(1)),
    "Pa": ("pressure", Decimal(1)),
    "bar": ("pressure", Decimal(100_000)),
    "m[Hg]": ("pressure", Decimal("133322.387415")),
    "J": ("energy", Decimal(1)),
    "cal": ("energy", Decimal("4.184")),
    "W": ("power", Decimal(1)),
    "V": ("voltage", Decimal(1)),
    "Hz": ("frequency", Decimal(1)),
    "eq": ("equivalents", Decimal(1)),
    "kat": ("catalysis", Decimal(1)),
}
_PLAIN: dict[str, tuple[str, Decimal]] = {
    "1": ("", Decimal(1)),
    "%": ("", Decimal("0.01")),
    "min": ("time", Decimal(60)),
    "h": ("time", Decimal(3600)),
    "d": ("time", Decimal(86400)),
    "wk": ("time", Decimal(604800)),
    "mo": ("time", Decimal(2629800)),
    "a": ("time", Decimal(31557600)),
    "[in_i]": ("length", Decimal("0.0254")),
    "[ft_i]": ("length", Decimal("0.3048")),
    "[lb_av]": ("mass", Decimal("453.59237")),
    "[oz_av]": ("mass", Decimal("28.349523125")),
}


@lru_cache(maxsize=512)
def scale(unit: str) -> tuple[str, Decimal] | None:
    """The dimension of a UCUM unit and its size; None for one that is not known here. `a/b` is a quotient."""
    top, slash, bottom = unit.partition("/")
    found = _simple(top)
    if not slash:
        return found
    below = scale(bottom) if bottom else None
    if found is None or below is None or not below[1]:
        return None
    return f"{found[0]}/{below[0]}", found[1] / below[1]


def _simple(unit: str) -> tuple[str, Decimal] | None:
    if unit in _PLAIN:
        return _PLAIN[unit]
    if unit in SECONDS:
        return "time", SECONDS[unit]
    for prefix, power in _PREFIXES.items():
        if unit.startswith(prefix) and (found := _METRIC.get(unit[len(prefix) :])):
            return found[0], found[1].scaleb(power)
    return None
