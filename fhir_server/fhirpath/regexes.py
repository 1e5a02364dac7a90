"""May a client's regular expression run here?

http://hl7.org/fhirpath/N1/#matchesregex-string-boolean. Python's matcher tries every way to match: a hostile pattern
takes longer than the universe lasts. The number of ways is estimated from the pattern and the length of the text, and
what would be too many is refused.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]  # what a pattern is made of
from typing import Any

from fhir_server.fhirpath.parse import Unusable

MOST_WAYS = 2_000_000
MOST_PATTERN = 500
_WAYS_OF_A_STEP = 10

_REPEATS = {_constants.MAX_REPEAT, _constants.MIN_REPEAT}
_GROUPS = {_constants.SUBPATTERN, _constants.ATOMIC_GROUP}
_SINGLE = {
    _constants.LITERAL, _constants.NOT_LITERAL, _constants.IN, _constants.ANY, _constants.AT, _constants.CATEGORY,
    _constants.RANGE,
}  # fmt: skip


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as FHIRPath means it: the dot is any sign. Raises Unusable for what is no pattern."""
    if len(pattern) > MOST_PATTERN:
        raise Unusable(f"expression régulière de plus de {MOST_PATTERN} caractères", code="too-costly")
    try:
        return re.compile(pattern, re.DOTALL)
    except (re.error, RecursionError, OverflowError):
        raise Unusable("expression régulière illisible") from None


def cost(pattern: str, text: str) -> int:
    """How many steps matching this text may take. Raises Unusable when they are too many."""
    compiled(pattern)
    ways = _ways(pattern, len(text)) * (len(text) + 1)
    if ways > MOST_WAYS:
        raise Unusable("expression régulière trop coûteuse pour ce texte", code="too-costly")
    return int(ways) // _WAYS_OF_A_STEP


@lru_cache(maxsize=2048)
def _ways(pattern: str, length: int) -> float:
    return _sequence(_parser.parse(pattern, re.DOTALL), length)


def _sequence(parsed: Any, length: int) -> float:
    found = 1.0
    for operator, value in parsed:
        found = min(found * _one(operator, value, length), 1e300)
    return found


def _one(operator: Any, value: Any, length: int) -> float:
    if operator in _SINGLE:
        return 1
    if operator in _REPEATS:
        least, most, inside = value
        times = min(int(most), length)
        inner = _sequence(inside, length)
        if inner > 1:
            return math.exp(min(math.log(inner) * times, 690))
        return max(times - int(least), 0) + 1.0
    if operator in _GROUPS:
        return _sequence(value[-1], length)
    if operator is _constants.BRANCH:
        return float(sum(_sequence(one, length) for one in value[1]))
    return 1e300  # back references, look-arounds, conditions: nobody needs them here


def replacement(text: str) -> str:
    """`$1` and `${name}` of a FHIRPath replacement as Python writes them."""
    plain = text.replace("\\", "\\\\")
    return re.sub(r"\$(?:\{(\w+)\}|(\d+))", lambda found: rf"\g<{found[1] or found[2]}>", plain)
