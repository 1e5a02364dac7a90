"""How is a decimal kept so that databases compare it exactly, and which decimals does a written one stand for?

FHIR R4 search, "number" and "quantity" (https://hl7.org/fhir/R4/search.html#number). Binary floats are inexact and
scaled integers too short, so a decimal becomes a text whose byte order is the order of the numbers; both engines
compare it alike. A place just below or just above a number has a text of its own: an open end of a range is then an
ordinary value, and ranges are compared as those of dates are (`dates.matches`), both ends included.
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from fhir_server.conditions import Prefix

Span = tuple[str, str]  # lowest and highest, as `ordered`

# Beyond 10**499 everything counts as infinite, below 10**-499 as zero: three digits of exponent.
_MOST_EXPONENT = 499
_BIAS = 500
# Significant digits that are kept; FHIR itself asks for 18.
DIGITS = 40
_EXACT = Context(prec=DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_COMPLEMENT = str.maketrans("0123456789", "9876543210")

# What a search may write. Larger ones are refused: no stored value has them, and arithmetic on them has no bounds.
_WRITTEN = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_MOST_WRITTEN = 300

# Signs by their place among the bytes: "!" < "-" < "/" < digits < "}" < "~".
LEAST, MOST = "!", "~"
ZERO = "0"


@lru_cache(maxsize=16384)
def ordered(number: Decimal, nudge: Literal[-1, 0, 1] = 0) -> str:
    """The text of a number, or of the place just below (-1) or just above (1) it.

    Negative numbers begin with "-", zero with "0", positive ones with "1"; then the exponent and the digits without
    zeros at the end, complemented when negative, so that larger sorts later.
    """
    number = _EXACT.plus(number)
    if not number.is_finite():
        return MOST if number > 0 else LEAST
    if not number or number.adjusted() < -_MOST_EXPONENT:
        return ("/", ZERO, "0!")[nudge + 1]
    if number.adjusted() > _MOST_EXPONENT:
        return MOST if number > 0 else LEAST
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    text = f"{number.adjusted() + _BIAS:03d}{digits}"
    if number > 0:
        return "1" + (text, text + "!", text[:-1] + chr(ord(text[-1]) - 1) + "~")[nudge]
    return "-" + text.translate(_COMPLEMENT) + ("~", "~~", "}")[nudge]


def kept(number: Decimal) -> Decimal:
    """A number with the digits that are kept of it: beyond, it costs more than it says."""
    return _EXACT.plus(number)


def quotient(number: Fraction) -> Decimal:
    """A fraction as a decimal of `DIGITS` digits; equal fractions give equal decimals, larger ones never smaller."""
    return _EXACT.divide(Decimal(number.numerator), Decimal(number.denominator))


def written(text: str) -> Decimal:
    """A number as a search writes it, its digits kept (`5.40`, `2e-3`).

    Raises ValueError for anything else, OverflowError for one that is too large or too small to be meant.
    """
    if not _WRITTEN.fullmatch(text):
        raise ValueError("not a decimal")
    try:
        number = Decimal(text)
    except InvalidOperation as problem:  # pragma: no cover - the form excludes it
        raise ValueError("not a decimal") from problem
    if number and abs(number.adjusted()) > _MOST_WRITTEN:
        raise OverflowError("beyond any stored number")
    return number


def bounds(prefix: Prefix, number: Decimal) -> tuple[Fraction, Fraction]:
    """What a written number stands for under a prefix, before the unit is looked at.

    Without prefix, `eq` and `ne`: half a unit of the last digit on both sides, the upper end excluded. `ap`: a tenth on
    both sides. All others compare the number itself.
    """
    exact = Fraction(number)
    if prefix in ("eq", "ne"):
        half = Fraction(10) ** int(number.as_tuple().exponent) / 2
        return exact - half, exact + half
    if prefix == "ap":
        slack = abs(exact) / 10
        return exact - slack, exact + slack
    return exact, exact


def span(prefix: Prefix, low: Fraction, high: Fraction) -> Span:
    """The texts between which a search looks: of `eq` and `ne` the upper end is excluded."""
    nudge: Literal[-1, 0] = -1 if prefix in ("eq", "ne") else 0
    return ordered(quotient(low)), ordered(quotient(high), nudge)
