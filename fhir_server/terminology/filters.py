"""Which concepts of a code system pass a filter of a value set?

ValueSet.compose.include.filter, https://hl7.org/fhir/R4/valueset-filter-operator.html and codesystem.html#properties.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from common import errors
from fhir_server.fhirpath import regexes
from fhir_server.fhirpath.parse import Unusable
from fhir_server.terminology.systems import Concept, System, value_of

Resource = dict[str, Any]
Test = Callable[[Concept], bool]

_ITSELF = frozenset(("concept", "code"))
_LONGEST_PATTERN = 200
_LONGEST_MATCHED = 256
_MOST_REPEATS = 3
_MOST_STEPS = 20_000_000  # of one pattern over all codes of a system


def passing(system: System, filters: Iterable[Resource]) -> list[Concept]:
    """The concepts that pass all filters, in the order of the system. Raises Invalid for one that cannot be applied."""
    tests = [_test(system, one) for one in filters]
    return [one for one in system.concepts.values() if all(test(one) for test in tests)]


def _test(system: System, filter: Resource) -> Test:
    name, op, value = filter["property"], filter["op"], filter.get("value", "")
    if op in ("is-a", "descendent-of", "is-not-a"):
        return _by_hierarchy(system, op, value)
    if op in ("=", "in", "not-in"):
        wanted = {value} if op == "=" else {one.strip() for one in value.split(",")}
        return lambda concept: wanted.isdisjoint(_values(concept, name)) == (op == "not-in")
    if op == "exists":
        return lambda concept: bool(_values(concept, name)) == (value == "true")
    if op == "regex":
        matches = _matcher(value)
        return lambda concept: any(map(matches, _values(concept, name)))
    raise _refused(f"filtre {op} : opérateur non pris en charge")


def _by_hierarchy(system: System, op: str, value: str) -> Test:
    reached = system.below(value)
    if op == "descendent-of":
        return lambda concept: concept.code in reached and concept.code != value
    return lambda concept: (concept.code in reached) == (op == "is-a")


def _values(concept: Concept, name: str) -> set[str]:
    if name in _ITSELF:
        return {concept.code}
    if name == "display":
        return {concept.display} if concept.display else set()
    if name == "parent":
        return set(concept.parents)
    if name == "child":
        return set(concept.children)
    return {_text(value_of(one)) for one in concept.properties if one["code"] == name}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.get("code", "")) if isinstance(value, dict) else str(value)


def _matcher(text: str) -> Callable[[str], bool]:
    """Does a value match a pattern? All values together have a bound: what looks harmless may still take long."""
    pattern, left = safe_pattern(text), _MOST_STEPS

    def matches(value: str) -> bool:
        nonlocal left
        if len(value) > _LONGEST_MATCHED:
            return False
        try:
            left -= regexes.cost(text, value) + 1
        except Unusable:
            left = -1
        if left < 0:
            raise _refused("filtre regex : trop coûteux pour ce système de codes", code="too-costly")
        return pattern.fullmatch(value) is not None

    return matches


def safe_pattern(text: str) -> re.Pattern[str]:
    """A pattern that cannot take long on any code. Raises Invalid for one that could, or that is none.

    What makes backtracking explode is a repeat inside a repeat, or many side by side; looking around and
    back-references are no part of the patterns that FHIR has in mind either.
    """
    try:
        if len(text) > _LONGEST_PATTERN:
            raise _refused(f"filtre regex : au plus {_LONGEST_PATTERN} caractères")
        if _repeats(parser.parse(text), inside=False) > _MOST_REPEATS:
            raise _refused(f"filtre regex : au plus {_MOST_REPEATS} répétitions")
        return re.compile(text)
    except (re.error, OverflowError, RecursionError):
        raise _refused("filtre regex : expression illisible") from None


_REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT)
_HARMLESS = (constants.LITERAL, constants.NOT_LITERAL, constants.ANY, constants.IN, constants.AT, constants.CATEGORY)


def _repeats(tree: Any, *, inside: bool) -> int:
    """How many open-ended repeats there are. Raises Invalid for one inside another, and for signs not allowed."""
    found = 0
    for op, argument in tree:
        if op in _REPEATS:
            least, most, body = argument
            varies = least != most
            if inside and most > 1:
                raise _refused("filtre regex : répétition dans une répétition")
            found += int(varies and most > 1) + _repeats(body, inside=inside or most > 1)
        elif op is constants.SUBPATTERN:
            found += _repeats(argument[3], inside=inside)
        elif op is constants.BRANCH:
            found += sum(_repeats(one, inside=inside) for one in argument[1])
        elif op not in _HARMLESS:
            raise _refused("filtre regex : construction non prise en charge")
    return found


def _refused(text: str, code: str = "not-supported") -> errors.Invalid:
    return errors.Invalid(text, issues=(errors.Issue(text, "ValueSet.compose", code),))
