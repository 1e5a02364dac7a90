"""Is every value of every search parameter of every type indexed, and nothing else?

The resources have each element filled (`filled.py`); the expressions are those of the R4 package, evaluated by FHIRPath
(`naive/`), while the server compiles them into paths of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.r4 import load
from tests.fhir_server import filled, oracle, searching
from tests.fhir_server.naive import ranges, texts, values
from tests.fhir_server.naive.search import READ, Naive

VARIANTS = 3
# R4 states these in a way that cannot be evaluated: a resource in a Bundle as a reference, a composite whose parts are
# the wrong way round, a function that FHIRPath does not have. And what is no index value, or compares sounds.
NOT_STATED = {("Bundle", "composition"), ("Bundle", "message"), ("DocumentReference", "relationship")}
NOT_STATED |= {("QuestionnaireResponse", "item-subject")}
NO_VALUES = {"_id", "_lastUpdated", "phonetic", "near"}


def parameters(definitions: load.Definitions, type: str) -> Iterator[values.Parameter]:
    """Those of a type that the server offers and the package states."""
    for one in definitions.search.searchable(type):
        found = values.parameter(type, one.code)
        if found and found.expression and one.code not in NO_VALUES and (type, one.code) not in NOT_STATED:
            yield found


def asked(type: str, kind: str, value: values.Value) -> Iterator[str]:
    """Searches that must find this value: what follows the name of the parameter."""
    match kind:
        case "token":
            for system, code in texts.tokens(type, value):
                if code:
                    # The system that a `code` implies is not in the package beside the parameter.
                    first = f"{searching.escaped(system)}|" if system and value.type != "ContactPoint" else ""
                    yield f"={first}{searching.escaped(code)}"
        case "string":
            yield from (f":exact={searching.escaped(one)}" for one in texts.strings(value))
        case "uri":
            yield f"={searching.escaped(value.json)}"
        case "reference":
            target = texts.target(value, searching.BASE)
            if target:
                yield f"={searching.escaped(target)}"
        case "date":
            for one in ranges.moments(value):
                yield f"=ge{one.low:%Y-%m-%dT%H:%M:%SZ}&{{}}=le{one.high:%Y-%m-%dT%H:%M:%SZ}" if one.low else "=ge1900"
        case "number" | "quantity":
            found = ranges.amount(value)
            if found and found.low is not None:
                yield f"=ge{float(found.low)}"


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_what_an_expression_gives_is_indexed_and_nothing_else(definitions: load.Definitions, variant: int) -> None:
    compared = 0
    for type in definitions.types:
        resource: dict[str, Any] = filled.resource(definitions, type, variant)
        naive = Naive([resource], definitions, base=searching.BASE)
        stored = [searching.indexed(resource)]
        for one in parameters(definitions, type):
            there = naive.is_there(resource, one)
            url = f"{type}?{one.code}:missing=false"
            assert bool(oracle.matching(searching.parse(url).query, stored)) == there, url
            for value in naive.values(resource, one) if one.kind != "composite" else ():
                if value.json is None or value.type not in READ[one.kind]:
                    continue
                for rest in asked(type, one.kind, value):
                    url = f"{type}?{one.code}{rest.format(one.code) if one.kind == 'date' else rest}"
                    assert oracle.matching(searching.parse(url).query, stored), (url, value)
                    compared += 1
    assert compared > 1500
