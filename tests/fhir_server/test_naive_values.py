"""Does the naive reading of searches read the right values? Another FHIRPath engine, fhirpathpy, finds the same ones.

Left out is what it does not do: `resolve()`, and types above the one of the resource (`Resource.meta.tag`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models

from fhir_server.r4 import load
from tests.fhir_server.naive import made, values


@cache
def compiled(expression: str) -> Callable[[Any], list[Any]]:
    found: Callable[[Any], list[Any]] = fhirpathpy.compile(expression, models["r4"])
    return found


def plain(some: list[Any]) -> list[str]:
    """Comparable: decimals are texts with one side, floats with the other."""
    return [json.dumps(json.loads(json.dumps(one, default=str), parse_float=str), sort_keys=True) for one in some]


@pytest.mark.parametrize("seed", [3, 4])
def test_another_engine_finds_the_same_values(definitions: load.Definitions, seed: int) -> None:
    reader, compared = values.Reader(definitions), 0
    for resource in made.Maker(seed).world():
        type = resource["resourceType"]
        texts = json.loads(json.dumps(resource, default=float))
        for one in definitions.search.searchable(type):
            found = values.parameter(type, one.code)
            if found is None or found.kind == "composite" or "resolve()" in found.expression:
                continue
            if not found.expression or found.expression.startswith("Resource"):
                continue
            ours = plain(
                [
                    json.loads(json.dumps(value.json, default=float))
                    for value in reader.values(resource, found.expression)
                ]
            )
            assert sorted(ours) == sorted(plain(compiled(found.expression)(texts))), (type, one.code, resource)
            compared += bool(ours)
    assert compared > 700
