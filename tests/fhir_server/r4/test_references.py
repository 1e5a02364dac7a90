"""References point where they may, and contained resources keep to their rules (R4 references.html)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.r4.validate import Validator
from tests.fhir_server.r4.samples import a_bundle, a_patient, an_observation

ORGANIZATION = {"resourceType": "Organization", "id": "a", "name": "Structure"}


def found(validator: Validator, resource: Any) -> list[tuple[str, str]]:
    return [(issue.expression, issue.code) for issue in validator.check(resource)]


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Organization/1"},
        {"reference": "Organization/1/_history/2"},
        {"reference": "https://elsewhere.test/r4/Organization/1"},
        {"reference": "https://elsewhere.test/organisations?id=1"},
        {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
        {"reference": "urn:oid:1.2.250.1.213.1.4.10"},
        {"reference": "Organization/1", "type": "Organization"},
        {"type": "Organization", "identifier": {"value": "1"}},
        {"identifier": {"system": "urn:oid:1.2.3", "value": "1"}},
        {"display": "Structure"},
    ],
)
def test_a_legal_reference_passes(validator: Validator, reference: dict[str, Any]) -> None:
    assert validator.check(a_patient(managingOrganization=reference)) == []


@pytest.mark.parametrize(
    ("reference", "place", "code"),
    [
        ({"reference": "Practitioner/1"}, ".reference", "value"),
        ({"reference": "https://elsewhere.test/r4/Practitioner/1"}, ".reference", "value"),
        ({"reference": "Organisation/1"}, ".reference", "value"),
        ({"reference": "organization/1"}, ".reference", "value"),
        ({"reference": "Organization"}, ".reference", "value"),
        ({"reference": "Organization/"}, ".reference", "value"),
        ({"reference": "/Organization/1"}, ".reference", "value"),
        ({"reference": "Organization/a_b"}, ".reference", "value"),
        ({"reference": "Organization?name=x"}, ".reference", "value"),
        ({"reference": "urn:uuid:1"}, ".reference", "value"),
        ({"reference": "Organization/1", "type": "Practitioner"}, ".type", "value"),
        ({"type": "Practitioner", "display": "x"}, ".type", "value"),
        ({"reference": "#a"}, ".reference", "invariant"),
        ({"reference": ""}, ".reference", "value"),
        ({"reference": ["Organization/1"]}, ".reference", "structure"),
    ],
)
def test_a_wrong_reference_is_found(validator: Validator, reference: dict[str, Any], place: str, code: str) -> None:
    patient = a_patient(managingOrganization=reference)
    assert found(validator, patient) == [(f"Patient.managingOrganization{place}", code)]


def test_a_reference_to_anything_must_name_a_type_that_exists(validator: Validator) -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "focus": {"reference": "Slot/1"}}
    assert validator.check(task) == []
    assert found(validator, task | {"focus": {"reference": "Slop/1"}}) == [("Task.focus.reference", "value")]


def test_type_and_reference_must_agree(validator: Validator) -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    wrong = {"reference": "Slot/1", "type": "Patient"}
    assert found(validator, task | {"focus": wrong}) == [("Task.focus", "value")]


def test_a_conditional_reference_is_for_transactions_only(validator: Validator) -> None:
    observation = an_observation(subject={"reference": "Patient?identifier=urn:oid:1.2.3|1"})
    assert found(validator, observation) == [("Observation.subject.reference", "value")]
    request = {"method": "POST", "url": "Observation"}
    for type in ("transaction", "batch"):
        assert validator.check(a_bundle(type, entry=[{"resource": observation, "request": request}])) == []
    assert found(validator, a_bundle("collection", entry=[{"resource": observation}])) == [
        ("Bundle.entry[0].resource.subject.reference", "value")
    ]
    elsewhere = an_observation(subject={"reference": "Device?identifier=1"}, device={"reference": "Patient?name=x"})
    assert found(validator, a_bundle("batch", entry=[{"resource": elsewhere, "request": request}])) == [
        ("Bundle.entry[0].resource.device.reference", "value")
    ]


def test_a_contained_resource_that_is_used_passes(validator: Validator) -> None:
    assert validator.check(a_patient(contained=[ORGANIZATION], managingOrganization={"reference": "#a"})) == []


def test_a_contained_resource_may_point_to_its_container_instead(validator: Validator) -> None:
    provenance = {
        "resourceType": "Provenance",
        "id": "p",
        "target": [{"reference": "#"}],
        "recorded": "2026-01-31T08:05:00Z",
        "agent": [{"who": {"display": "x"}}],
    }
    assert validator.check(a_patient(contained=[provenance])) == []


def test_a_contained_questionnaire_is_used_by_its_canonical(validator: Validator) -> None:
    answers = {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "contained": [{"resourceType": "Questionnaire", "id": "q", "status": "active"}],
        "questionnaire": "#q",
    }
    assert validator.check(answers) == []


@pytest.mark.parametrize(
    ("contained", "place", "code"),
    [
        ([ORGANIZATION, {"resourceType": "Organization", "id": "b", "name": "x"}], "[1]", "invariant"),
        ([ORGANIZATION, {"resourceType": "Organization", "name": "x"}], "[1]", "invariant"),
        ([ORGANIZATION | {"meta": {"versionId": "1"}}], "[0]", "invariant"),
        ([ORGANIZATION | {"meta": {"lastUpdated": "2026-01-31T08:05:00Z"}}], "[0]", "invariant"),
        ([ORGANIZATION | {"meta": {"security": [{"code": "R"}]}}], "[0]", "invariant"),
        ([ORGANIZATION | {"contained": [{"resourceType": "Basic"}]}], "[0].contained[0]", "invariant"),
        ([ORGANIZATION | {"colour": "red"}], "[0].colour", "structure"),
        ([ORGANIZATION, {"resourceType": "Organisation", "id": "b"}], "[1]", "structure"),
        ([ORGANIZATION, "b"], "[1]", "structure"),
    ],
)
def test_a_contained_resource_keeps_its_rules(validator: Validator, contained: Any, place: str, code: str) -> None:
    patient = a_patient(contained=contained, managingOrganization={"reference": "#a"})
    assert (f"Patient.contained{place}", code) in found(validator, patient)


def test_a_contained_resource_that_nothing_points_to_is_refused(validator: Validator) -> None:
    assert found(validator, a_patient(contained=[ORGANIZATION])) == [("Patient.contained[0]", "invariant")]


@pytest.mark.parametrize("contained", [ORGANIZATION, [], "a"])
def test_contained_is_a_list_of_resources(validator: Validator, contained: Any) -> None:
    assert found(validator, a_patient(contained=contained)) == [("Patient.contained", "structure")]


def test_a_local_reference_respects_the_targets(validator: Validator) -> None:
    practitioner = {"resourceType": "Practitioner", "id": "a"}
    patient = a_patient(contained=[practitioner], managingOrganization={"reference": "#a"})
    assert found(validator, patient) == [("Patient.managingOrganization.reference", "value")]


def test_each_resource_of_a_bundle_contains_its_own(validator: Validator) -> None:
    inside = a_patient(contained=[ORGANIZATION], managingOrganization={"reference": "#a"})
    outside = a_patient(managingOrganization={"reference": "#a"})
    assert found(validator, a_bundle(entry=[{"resource": inside}, {"resource": outside}])) == [
        ("Bundle.entry[1].resource.managingOrganization.reference", "invariant")
    ]


def test_parameters_hold_any_resource_and_check_it(validator: Validator) -> None:
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": a_patient()}]}
    assert validator.check(parameters) == []
    parameters["parameter"] = [{"name": "a", "part": [{"name": "b", "resource": a_patient(gender="robot")}]}]
    assert found(validator, parameters) == [("Parameters.parameter[0].part[0].resource.gender", "code-invalid")]
