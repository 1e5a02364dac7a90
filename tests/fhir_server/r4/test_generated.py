"""Properties that hold for resources of every type, made from the tables with rare forms and then broken."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.r4 import load, xml
from fhir_server.r4.quick import Quick
from fhir_server.r4.report import Report
from fhir_server.r4.validate import Validator
from tests.fhir_server.r4.generated import Maker, spoil

SEEDS = st.integers(min_value=0, max_value=2**32)
LETTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff", include_characters="\t\n\r")
TEXTS = st.lists(st.text(LETTERS, min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=4)

examples = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@examples
@given(seed=SEEDS, texts=TEXTS)
def test_what_the_tables_describe_passes_except_for_invariants(
    definitions: load.Definitions, validator: Validator, seed: int, texts: list[str]
) -> None:
    resource = Maker(definitions, seed, texts).resource(Random(seed).choice(definitions.types))
    assert {issue.code for issue in validator.check(resource)} <= {"invariant"}


@examples
@given(seed=SEEDS, texts=TEXTS)
def test_json_to_xml_to_json_is_the_same(definitions: load.Definitions, seed: int, texts: list[str]) -> None:
    resource = Maker(definitions, seed, texts).resource(Random(seed).choice(definitions.types))
    assert xml.read(xml.write(resource, definitions), definitions) == resource


@examples
@given(seed=SEEDS, texts=TEXTS, times=st.integers(min_value=0, max_value=3))
def test_a_broken_resource_gives_issues_and_never_an_exception(
    definitions: load.Definitions, validator: Validator, seed: int, texts: list[str], times: int
) -> None:
    random = Random(seed)
    resource = Maker(definitions, seed, texts).resource(random.choice(definitions.types))
    for _ in range(times):
        if resource:
            spoil(resource, random)
    for issue in validator.check(resource):
        assert issue.text
        assert issue.severity == "error"
        assert issue.code in ("structure", "required", "value", "code-invalid", "invariant")
        assert issue.expression == "" or issue.expression.split(".")[0] in definitions.types


@examples
@given(seed=SEEDS, texts=TEXTS, times=st.integers(min_value=0, max_value=2))
def test_the_quick_yes_is_never_contradicted_by_the_slow_pass(
    definitions: load.Definitions, validator: Validator, seed: int, texts: list[str], times: int
) -> None:
    random = Random(seed)
    resource = Maker(definitions, seed, texts).resource(random.choice(definitions.types))
    for _ in range(times):
        if resource:
            spoil(resource, random)
    types, shapes, bindings = validator._types, validator._shapes, validator._bindings
    issues = Report(types, shapes, bindings).run(resource)
    if Quick(types, shapes, bindings).accepts(resource):
        assert issues == []
    elif not issues:
        assert any(sign in repr(resource) for sign in ("'#", "contained", "'_", "urn:", "?"))
