"""By which rows is a number or a quantity found, and which rows does a search look for?

FHIR R4 search, "quantity" (https://hl7.org/fhir/R4/search.html#quantity). A quantity has a row for each way of asking:
in any unit, by its unit in base units (5400 mg and 5.4 g are one value), by system and code when the unit has no
canonical form, and by what is written as its unit. Index and search share the forms below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Literal, cast

from fhir_server import amounts, ucum
from fhir_server.conditions import Measure, Prefix
from fhir_server.keys import key
from fhir_server.r4.search_leaves import Quantity

Form = tuple[int, str, str]  # unit, lowest, highest

ANY_UNIT = 0
_MOST_EXPONENT = 300  # beyond, a value is infinite for arithmetic
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
EXPECTED = "nombre attendu, par exemple 5.4, ge5.40 ou 2e-3"


def _coded(system: str, code: str) -> int:
    return key(f"{system}|{code}")


def _named(text: str) -> int:
    return key(f"~{text}")


@lru_cache(maxsize=4096)
def _canonical(system: str | None, code: str | None) -> tuple[int, ucum.Unit] | None:
    unit = ucum.unit(code) if code and system == ucum.SYSTEM else None
    return (key(f"={unit.base}"), unit) if unit else None


# ---- what is stored ------------------------------------------------------------------------------------------------


def number(low: Decimal, high: Decimal) -> list[Form]:
    """The rows of a number or a range of numbers."""
    return [(ANY_UNIT, amounts.ordered(low), amounts.ordered(high))]


def quantity(found: Quantity) -> tuple[Form, ...]:
    """The rows of a quantity."""
    return _quantity(found[1:])


@lru_cache(maxsize=8192)
def _quantity(found: tuple[Decimal, Decimal, str | None, str | None, str | None, str]) -> tuple[Form, ...]:
    low, high, system, code, unit, excluded = found
    after: Literal[0, 1] = 1 if excluded == ">" else 0
    before: Literal[-1, 0] = -1 if excluded == "<" else 0
    written = amounts.ordered(low, after), amounts.ordered(high, before)
    forms: dict[int, tuple[str, str]] = {ANY_UNIT: written}
    names = {unit, code} - {None, ""}
    if canonical := _canonical(system, code):
        into, base = canonical
        forms[into] = amounts.ordered(_in(base, low), after), amounts.ordered(_in(base, high), before)
        names.discard(code)  # asked by the code, it is asked in base units
    elif code and system:
        forms[_coded(system, code)] = written
    for name in names:
        forms[_named(cast(str, name))] = written
    return tuple((into, *span) for into, span in forms.items())


def _in(unit: ucum.Unit, value: Decimal) -> Decimal:
    if not value.is_finite() or value.adjusted() > _MOST_EXPONENT:
        return Decimal("Infinity").copy_sign(value)
    if value.adjusted() < -_MOST_EXPONENT:
        value = Decimal(0)
    return amounts.quotient(unit.canonical(Fraction(amounts.kept(value))))


# ---- what is asked -------------------------------------------------------------------------------------------------


def asked_number(text: str) -> tuple[Measure, ...]:
    """What a search for a number looks for. Raises ValueError with the reason in French."""
    prefix, value = _number(text)
    return (_measure(ANY_UNIT, prefix, amounts.bounds(prefix, value)),)


def asked_quantity(pieces: Sequence[str]) -> tuple[Measure, ...]:
    """What a search for `value`, `value|system|code` or `value||code` looks for, split at its bars.

    Raises ValueError with the reason in French.
    """
    prefix, value = _number(pieces[0])
    bounds = amounts.bounds(prefix, value)
    if len(pieces) == 1:
        return (_measure(ANY_UNIT, prefix, bounds),)
    if len(pieces) != 3 or not pieces[2]:
        raise ValueError("attendu valeur, valeur|système|code ou valeur||code")
    _, system, code = pieces
    found = []
    if canonical := _canonical(system or ucum.SYSTEM, code):
        into, unit = canonical
        base = unit.canonical(bounds[0]), unit.canonical(bounds[1])
        found.append(_measure(into, prefix, base))
    elif system:
        found.append(_measure(_coded(system, code), prefix, bounds))
    if not system:
        found.append(_measure(_named(code), prefix, bounds))
    return tuple(found)


def _measure(unit: int, prefix: Prefix, bounds: tuple[Fraction, Fraction]) -> Measure:
    return (unit, prefix, *amounts.span(prefix, *bounds))


def _number(text: str) -> tuple[Prefix, Decimal]:
    found = _PREFIXED.fullmatch(text)
    prefix, written = found.groups() if found else (None, text)
    try:
        return cast(Prefix, prefix or "eq"), amounts.written(written)
    except OverflowError:
        raise ValueError("nombre trop grand ou trop petit (exposant de -300 à 300)") from None
    except ValueError:
        raise ValueError(EXPECTED) from None
