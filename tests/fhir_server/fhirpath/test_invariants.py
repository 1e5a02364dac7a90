"""The invariants as the definitions state them, against those written by hand and against resources of every type."""

from __future__ import annotations

from random import Random

import pytest

from fhir_server.fhirpath import evaluate, invariants
from fhir_server.r4 import bindings, constraints, load, report
from tests.fhir_server import filled
from tests.fhir_server.r4.generated import Maker, spoil

# By hand they are stricter where the expression gives nothing, or join several keys; the others are left to the report.
NOT_THE_SAME = frozenset({"ext-1", "cpb-14", "msq-6", "tim-9", "opd-3", "bdl-11", "que-7"})


@pytest.fixture(scope="session")
def rules() -> constraints.Rules:
    return constraints.rules()


def test_every_invariant_of_the_definitions_can_be_read(rules: constraints.Rules) -> None:
    stated = {one.expression for each in rules.constraints.values() for one in each}
    assert len(stated) > 180
    for expression in stated:
        evaluate.compile(expression)


def test_the_cache_gives_what_was_built(rules: constraints.Rules) -> None:
    constraints.rules.cache_clear()
    assert constraints.rules() == rules


def test_invariants_of_a_type_are_those_of_simple_quantities_too(rules: constraints.Rules) -> None:
    assert "qty-3" in {one.key for one in rules.constraints["SimpleQuantity"]}


def keys(issues: list[report.errors.Issue]) -> set[tuple[str, str]]:
    return {(one.text.partition(" : ")[0], one.expression) for one in issues if one.code == "invariant"}


def test_what_is_found_by_hand_is_found_by_the_expressions(
    definitions: load.Definitions, rules: constraints.Rules
) -> None:
    bound = bindings.Bindings(definitions.value_sets)
    types = frozenset(definitions.types)
    compared = 0
    for seed in range(400):
        resource = Maker(definitions, seed, ["x y", "Zoé"]).resource(Random(seed).choice(definitions.types))
        by_hand = keys(report.Report(types, definitions.shapes, bound).run(resource))
        stated = keys(invariants.broken(resource, definitions, rules))
        missed = {one for one in by_hand - stated if one[0] not in NOT_THE_SAME}
        assert {one for one in missed if one[0] not in ("dom-2", "dom-3", "ref-1", "txt-1")} == set()
        compared += len(by_hand & stated)
    assert compared > 100


def test_invariants_of_broken_resources_never_fail(definitions: load.Definitions, rules: constraints.Rules) -> None:
    for seed in range(300):
        random = Random(seed)
        resource = Maker(definitions, seed, ["x y", "Zoé"]).resource(random.choice(definitions.types))
        for _ in range(3):
            spoil(resource, random)
        if resource:
            assert isinstance(invariants.broken(resource, definitions, rules), list)


@pytest.mark.parametrize("variant", [0, 1])
def test_resources_with_everything_in_them_break_only_known_rules(
    definitions: load.Definitions, rules: constraints.Rules, variant: int
) -> None:
    """Filled by shape alone, they do break rules: none may come from an expression that was misread."""
    for type in definitions.types:
        found = invariants.broken(filled.resource(definitions, type, variant), definitions, rules)
        assert {one.code for one in found} <= {"invariant", "code-invalid"}
        errors = {one.text.partition(" : ")[0].partition("-")[0] for one in found if one.severity == "error"}
        if type in ("Patient", "Observation", "Encounter", "Practitioner", "Task"):
            assert errors <= {"drt", "inv", "obs", "qty", "tim"}, found


def test_what_hl7_published_breaks_no_rule(definitions: load.Definitions, rules: constraints.Rules) -> None:
    published = [*load.raw_search_parameters()[::40], *load.raw_compartments()]
    assert len(published) > 30
    for resource in published:
        found = invariants.broken(resource, definitions, rules)
        assert [one for one in found if one.severity == "error"] == []
