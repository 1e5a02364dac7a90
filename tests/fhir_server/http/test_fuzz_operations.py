"""Whatever is sent to an operation that FHIR defines, the answer is no 5xx, and an OperationOutcome on every error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.r4 import load
from fhir_server.standard import listed
from hub.migrations import run as migrations
from tests.fhir_server.http.test_fuzz import Door

PLACES = sorted(
    {
        (one.level, one.type or {"type": "Patient", "instance": "Patient"}.get(one.level, ""), one.name)
        for one in listed.OPERATIONS
    }
)
NAMES = (
    "url valueSet codeSystem conceptMap system code coding codeableConcept concept resource profile mode meta count"
    " offset filter date display version codeA codeB codingA codingB source target property start end _since _type"
    " _elements viewResource patient id topic eventsSinceNumber other"
).split()
SCALARS = st.sampled_from(
    (None, "", "x", "http://hl7.org/fhir/ValueSet/administrative-gender", "male", 5, -1, 1.5, True)
)
WORDS = (
    "resourceType compose include concept valueSet expansion contains status url parameter name valueString valueCode"
    " valueCoding part group element tag"
).split()
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from((*NAMES, *WORDS, "")), inner, max_size=3)
    ),
    max_leaves=6,
)
TYPES = st.sampled_from(("ValueSet", "CodeSystem", "ConceptMap", "Patient", "Parameters", "ViewDefinition", "Robot"))
RESOURCES = st.builds(
    lambda type, more: {
        **(more if isinstance(more, dict) else {"compose": more, "concept": more}),
        "resourceType": type,
    },
    TYPES,
    JUNK,
)
KINDS = ("valueUri", "valueString", "valueCode", "valueCoding", "valueCodeableConcept", "valueInteger", "valueBoolean")
VALUES = st.one_of(
    st.tuples(st.sampled_from((*KINDS, "valueMeta", "valueReference", "resource", "part")), JUNK),
    st.tuples(st.just("resource"), RESOURCES),
)
PARTS = st.builds(lambda name, value: {"name": name, value[0]: value[1]}, st.sampled_from(NAMES), VALUES)
BODIES = st.one_of(
    st.lists(PARTS, max_size=4).map(lambda parts: {"resourceType": "Parameters", "parameter": parts}),
    RESOURCES,
    JUNK,
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, definitions: load.Definitions) -> Iterator[Door]:
    path: Path = tmp_path_factory.mktemp("record") / "record.sqlite"
    migrations.upgrade(path)
    opened = Door(path, definitions)
    yield opened
    opened.close()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    place=st.sampled_from(PLACES),
    body=BODIES,
    query=st.sampled_from((b"", b"url=x", b"code=a&system=b", b"_type=Patient")),
)
def test_an_operation_answers_whatever_is_sent(
    door: Door, place: tuple[str, str, str], body: object, query: bytes
) -> None:
    level, type, name = place
    path = "/".join(["/fhir", *filter(None, (type, "one" if level == "instance" else "")), f"${name}"])
    door.check(
        door.ask("POST", path, query=query, body=msgspec.json.encode(body), content_type=b"application/fhir+json")
    )
