"""For all of R4: each parameter has values in a resource that has everything, and a search for any value finds it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common import clock
from fhir_server import dates, phonetics, query
from fhir_server.r4 import extract, search_params
from fhir_server.r4.search_leaves import Sink
from tests.fhir_server import filled, oracle
from tests.fhir_server.searching import BASE, DEFINITIONS, NOW, TABLES, escaped, indexed

VARIANTS = 12  # enough for each type of Observation.value and each system of a ContactPoint
EXTRACTOR = extract.Extractor(TABLES, base=BASE)
SAMPLES = sorted((Path(__file__).parents[2] / "../shared/data/fhir/examples").glob("*.json"))


@pytest.mark.parametrize("type", TABLES.types)
def test_every_parameter_of_a_type_reads_values_and_each_is_found_again(type: str) -> None:
    seen: set[str] = set()
    expected = {param.code for param in TABLES.searchable(type) if param.paths and not _in_extension(param)}
    for variant in range(VARIANTS):
        resource = filled.resource(DEFINITIONS, type, variant)
        seen |= {code for code, _ in _searches(resource)}
        _assert_found(resource)
    assert expected <= seen


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_value_of_the_published_examples_is_found_again(path: Path) -> None:
    _assert_found(msgspec.json.decode(path.read_bytes()))


def _in_extension(param: search_params.Param) -> bool:
    """Extensions are not filled."""
    return any(step[0] == "has" or step == ("get", "extension") for path in param.paths for step in path.steps)


def _assert_found(resource: dict[str, Any]) -> None:
    stored = indexed(resource)
    searchable = {param.code for param in TABLES.searchable(resource["resourceType"])}
    for name, value in set(_searches(resource)):
        if name.partition(":")[0] not in searchable:
            continue
        asked = query.parse(resource["resourceType"], [(name, value)], TABLES, now=NOW, base=BASE)
        assert oracle.matching(asked.query, [stored]) == [stored], (name, value)


def _searches(resource: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A search for each value that the resource has."""
    sums = [param for param in TABLES.params(resource["resourceType"]) if param.union]
    for name, value in [*_simple(EXTRACTOR.values(resource)), *_measured(EXTRACTOR.values(resource))]:
        yield name, value
        yield from ((one.code, value) for one in sums if name in one.union)


def _measured(found: Sink) -> Iterator[tuple[str, str]]:
    """Searches for what is compared, combined, near, heard."""
    for param, low, high in found.numbers:
        yield from ((param.code, one) for one in _between(low, high))
    for param, low, high, system, code, unit, _ in found.quantities:
        for one in _between(low, high):
            yield param.code, one
            if code:
                yield param.code, f"{one}|{escaped(system or '')}|{escaped(code)}"
                yield param.code, f"{one}||{escaped(code)}"
            if unit:
                yield param.code, f"{one}||{escaped(unit)}"
    for param, system, code, value in found.typed:
        yield f"{param.code}:of-type", "|".join(map(escaped, (system, code, value)))
    for param, latitude, longitude in found.points:
        yield param.code, f"{latitude}|{longitude}|1|m"
    for param, text in found.sounds:
        if phonetics.sounds(text):
            yield param.code, escaped(text)
    for param, parts in found.composites:
        ways = [[value for name, value in [*_simple(one), *_measured(one)] if ":" not in name] for one in parts]
        yield from ((param.code, "$".join(one)) for one in itertools.product(*ways))


def _between(low: Decimal, high: Decimal) -> list[str]:
    at = [str(low)] if low == high else []
    return at + [f"{prefix}{end}" for prefix, end in (("ge", low), ("le", high)) if end.is_finite()]


def _simple(found: Sink) -> Iterator[tuple[str, str]]:
    for param, system, code, _ in found.tokens:
        if code is not None:
            yield param.code, escaped(code)
            if system is not None:
                yield param.code, f"{escaped(system)}|{escaped(code)}"
    for param, target, identifier in found.references:
        if target is not None:
            yield param.code, escaped(target)
        if target is not None and extract.is_local(target):
            yield param.code, target.partition("/")[2]
            yield f"{param.code}:{target.partition('/')[0]}", target
        if identifier is not None:
            yield f"{param.code}:identifier", "|".join(escaped(one) for one in identifier if one)
    for param, raw in found.strings:
        yield param.code, escaped(raw)
        yield f"{param.code}:exact", escaped(raw)
    for param, lo, hi in found.dates:
        yield param.code, f"ge{_instant(lo)}"
        yield param.code, f"le{_instant(hi)}"
    for param, uri in found.uris:
        yield param.code, escaped(uri)
        yield f"{param.code}:below", escaped(uri)
        yield f"{param.code}:above", escaped(uri)


def _instant(moment: int) -> str:
    if moment in (dates.BEGINNING, dates.END):
        return "0001" if moment == dates.BEGINNING else "9999"
    return clock.from_micros(moment).isoformat(timespec="microseconds")
