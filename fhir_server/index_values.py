"""Which rows and keys do the rarer kinds of search value give: numbers, quantities, composites, places, sounds?

`index.rows` calls this only for resources that have such values. FHIR R4 search, https://hl7.org/fhir/R4/search.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import product
from typing import Any

from fhir_server import amounts, conditions, measures, phonetics
from fhir_server.conditions import Amount, Condition
from fhir_server.keys import key, told
from fhir_server.r4.search_leaves import Sink
from fhir_server.r4.search_params import Param

Row = tuple[int, int, str, str]  # conditions.Rows.amounts
Rows = dict[Row, None]
# The values of one part of a composite: its tokens, references and quantities, then its numbers.
Values = tuple[Any, ...]

# A billionth of a degree is a tenth of a millimetre.
DEGREE = 10**9


def typed_key(name: str, system: str, code: str, value: str) -> int:
    """An identifier by the code of its type and its value."""
    return key(f"{name}^{system}\0{code}\0{value}")


def sound_key(name: str, sound: str) -> int:
    """A word of a name by how it sounds."""
    return key(f"{name}~{sound}")


def keys(found: Sink) -> Iterator[int]:
    """The keys of typed identifiers and of sounds."""
    for param, system, code, value in found.typed:
        yield typed_key(param.name, system, code, value)
    for param, text in found.sounds:
        yield told(f"{param.name}!")
        for sound in phonetics.sounds(text):
            yield sound_key(param.name, sound)


def places(found: Sink) -> Iterator[tuple[int, int, int]]:
    """Latitude and longitude, where the earth has such a place."""
    for param, latitude, longitude in found.points:
        if _is_within(latitude, 90) and _is_within(longitude, 180):
            yield param.number, billionths(latitude), billionths(longitude)


def billionths(degrees: Decimal) -> int:
    """Degrees as they are kept."""
    return int((amounts.kept(degrees) * DEGREE).to_integral_value())


def _is_within(degrees: Decimal, most: int) -> bool:
    return degrees.adjusted() < 3 and abs(degrees) <= most  # the exponent first: it may be huge


def measured(found: Sink) -> Rows:
    """The rows of numbers and quantities."""
    rows: Rows = {}
    for param, low, high in found.numbers:
        for form in measures.number(low, high):
            rows[param.number, *form] = None
    for quantity in found.quantities:
        for form in measures.quantity(quantity):
            rows[quantity[0].number, *form] = None
    return rows


def composite(
    param: Param, parts: Sequence[Sink], keys_of: Callable[[Values], Iterable[int]]
) -> tuple[tuple[int, ...], tuple[Row, ...]]:
    """The keys and rows of one element of a composite.

    What is equal is one key for each combination; with a number or a quantity the key takes the place of the unit.
    """
    values = tuple([(tuple(one.tokens), tuple(one.references), tuple(one.quantities), *one.numbers) for one in parts])
    return _combined(param, values, keys_of)


@lru_cache(maxsize=4096)
def _combined(
    param: Param, parts: tuple[Values, ...], keys_of: Callable[[Values], Iterable[int]]
) -> tuple[tuple[int, ...], tuple[Row, ...]]:
    equal: list[Iterable[int]] = []
    forms: list[Sequence[measures.Form]] = []
    for part in parts:
        _, _, quantities, *numbers = part
        if quantities:
            forms.append([form for quantity in quantities for form in measures.quantity(quantity)])
        elif numbers:
            forms.append([form for _, low, high in numbers for form in measures.number(low, high)])
        else:
            equal.append(dict.fromkeys(keys_of(part)))
    combined = [combined_key(param.name, one) for one in product(*equal)]
    if not combined or not all(forms):
        return (), ()
    present = told(f"{param.name}!")
    if not forms:
        return (present, *combined), ()
    if len(forms) == 1:
        return (present,), tuple(
            (param.number, with_unit(one, unit), lo, hi) for unit, lo, hi in forms[0] for one in combined
        )
    (_, start, _), (_, end, _) = forms[0][0], forms[1][0]  # a start and an end
    return (present,), tuple((param.number, one, start, end) for one in combined)


def together(param: Param, parts: Sequence[Condition]) -> Condition:
    """The condition that all parts of a composite hold in one element, from the condition of each part."""
    equal = [one.any_of for one in parts if isinstance(one, conditions.Keys)]
    tests = [one.tests for one in parts if isinstance(one, Amount)]
    combined = [combined_key(param.name, one) for one in product(*equal)]
    if not tests:
        return conditions.Keys(tuple(dict.fromkeys(combined)))
    if len(tests) == 1:
        return Amount(
            param.number, tuple((with_unit(one, test[0]), *test[1:]) for one in combined for test in tests[0])
        )
    (start,), (end,) = tests
    return conditions.Extent(param.number, tuple(combined), start, end)


# Keys are evenly spread already: sums of odd multiples are as good as another hash, and ten times as fast.
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_HALF, _ALL = 1 << 63, 1 << 64


def combined_key(name: str, parts: Iterable[int]) -> int:
    """The key of a composite's parts that are equal to something."""
    total = key(f"{name}$")
    for part, factor in zip(parts, _FACTORS, strict=False):
        total += part * factor
    return ((total + _HALF) % _ALL - _HALF) & ~1  # even: rows are found by it


def with_unit(combined: int, unit: int) -> int:
    """The same with the unit of the part that is measured."""
    return (combined + unit * _FACTORS[2] + _HALF) % _ALL - _HALF
