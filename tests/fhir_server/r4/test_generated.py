"""Properties that hold for resources of every type, made from the tables with rare forms and then broken."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.r4 import bindings, load, quick, report, validate, xml
from tests.fhir_server.r4.generated import Maker, spoil
from tests.fhir_server.r4.samples import Resource

SEEDS = st.integers(min_value=0, max_value=2**32)
LETTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff", include_characters="\t\n\r")
TEXTS = st.lists(st.text(LETTERS, min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=4)

examples = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class World:
    """The definitions and what is made of them, in an object that says little when Hypothesis prints it."""

    def __init__(self, definitions: load.Definitions) -> None:
        self.definitions = definitions
        self.validator = validate.Validator(definitions)
        bound = bindings.Bindings(definitions.value_sets)
        self._parts = (frozenset(definitions.types), definitions.shapes, bound)
        self.quick = quick.Quick(*self._parts)

    def report(self) -> report.Report:
        return report.Report(*self._parts)

    def resource(self, seed: int, texts: list[str]) -> Resource:
        return Maker(self.definitions, seed, texts).resource(Random(seed).choice(self.definitions.types))

    def spoiled(self, seed: int, texts: list[str], times: int) -> Resource:
        resource, random = self.resource(seed, texts), Random(seed)
        for _ in range(times):
            if resource:
                spoil(resource, random)
        return resource


@pytest.fixture(scope="module")
def world(definitions: load.Definitions) -> World:
    return World(definitions)


@examples
@given(seed=SEEDS, texts=TEXTS)
def test_what_the_tables_describe_passes_except_for_invariants(world: World, seed: int, texts: list[str]) -> None:
    assert {issue.code for issue in world.validator.check(world.resource(seed, texts))} <= {"invariant"}


@examples
@given(seed=SEEDS, texts=TEXTS)
def test_json_to_xml_to_json_is_the_same(world: World, seed: int, texts: list[str]) -> None:
    resource = world.resource(seed, texts)
    assert xml.read(xml.write(resource, world.definitions), world.definitions) == resource


@examples
@given(seed=SEEDS, texts=TEXTS, times=st.integers(min_value=0, max_value=3))
def test_a_broken_resource_gives_issues_and_never_an_exception(
    world: World, seed: int, texts: list[str], times: int
) -> None:
    for issue in world.validator.check(world.spoiled(seed, texts, times)):
        assert issue.text
        assert issue.severity == "error"
        assert issue.code in ("structure", "required", "value", "code-invalid", "invariant")
        assert issue.expression == "" or issue.expression.split(".")[0] in world.definitions.types


@examples
@given(seed=SEEDS, texts=TEXTS, times=st.integers(min_value=0, max_value=2))
def test_the_quick_yes_is_never_contradicted_by_the_slow_pass(
    world: World, seed: int, texts: list[str], times: int
) -> None:
    resource = world.spoiled(seed, texts, times)
    issues = world.report().run(resource)
    if world.quick.accepts(resource):
        assert issues == []
    elif not issues:
        assert any(sign in repr(resource) for sign in ("'#", "contained", "'_", "urn:", "?"))
