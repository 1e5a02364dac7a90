"""Searches by composites: all parts are met by one element, whatever they are."""

from __future__ import annotations

import pytest

from common import errors
from tests.fhir_server.searching import LOINC, TABLES, a_quantity, coded, finds, measured, parse

PANEL = {
    "code": coded("85354-9"),
    "component": [
        {"code": coded("8480-6"), **measured(120, "mm[Hg]", unit="mmHg")},
        {"code": coded("8462-4"), **measured(80, "mm[Hg]", unit="mmHg")},
        {"code": coded("position"), "valueCodeableConcept": coded("sitting", "urn:p")},
        {"code": coded("empty")},
    ],
}


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("component-code-value-quantity=8480-6$gt110", True), ("component-code-value-quantity=8480-6$gt150", False),
        ("component-code-value-quantity=8462-4$gt110", False), ("component-code-value-quantity=8462-4$80", True),
        (f"component-code-value-quantity={LOINC}|8480-6$120||mm[Hg]", True),
        (f"component-code-value-quantity={LOINC}|8480-6$120||mmHg", True),
        ("component-code-value-quantity=8480-6$gt15||kPa", True),
        ("component-code-value-quantity=8480-6$gt17||kPa", False),
        (f"component-code-value-quantity={LOINC}|$80", True), (f"component-code-value-quantity={LOINC}|$81", False),
        ("component-code-value-quantity=|8480-6$120", False), ("component-code-value-quantity=85354-9$120", False),
        ("component-code-value-quantity=8462-4$120,8480-6$120", True),
        ("component-code-value-quantity=8480-6$120&component-code-value-quantity=8462-4$80", True),
        ("combo-code-value-quantity=8480-6$gt110", True), ("combo-code-value-quantity=8462-4$gt110", False),
        ("combo-code-value-quantity=85354-9$gt1", False), ("code-value-quantity=8480-6$gt110", False),
        ("component-code-value-concept=position$sitting", True),
        ("component-code-value-concept=position$urn:p|sitting", True),
        ("component-code-value-concept=8480-6$sitting", False), ("combo-code-value-concept=position$sitting", True),
        ("component-code-value-concept=position$urn:q|sitting", False),
        ("combo-value-quantity=80", True), ("value-quantity=80", False), ("component-value-quantity=gt100", True),
        ("code=8480-6", False), ("combo-code=8480-6", True),
        ("component-code-value-quantity:missing=false", True), ("code-value-quantity:missing=true", True),
        ("combo-code-value-quantity:missing=false", True), ("combo-code-value-quantity:missing=true", False),
        ("component-code-value-concept:missing=false", True),
    ],
)  # fmt: skip
def test_the_parts_of_a_composite_are_met_by_one_component(asked: str, match: bool) -> None:
    assert finds(f"Observation?{asked}", **PANEL) == match


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("code-value-quantity=weight$72||kg", True), ("code-value-quantity=weight$gt72000||g", False),
        ("code-value-quantity=weight$ge72000||g", True), ("code-value-quantity=height$72", False),
        ("code-value-quantity=height$72,weight$72", True), ("code-value-quantity=weight$1,weight$2", False),
        ("combo-code-value-quantity=weight$72", True), ("component-code-value-quantity=weight$72", False),
        ("code-value-quantity:missing=false", True), ("code-value-date:missing=true", True),
    ],
)  # fmt: skip
def test_composites_of_the_resource_itself(asked: str, match: bool) -> None:
    assert finds(f"Observation?{asked}", code=coded("weight"), **measured(72, "kg")) == match


def test_composites_with_dates_strings_and_escapes() -> None:
    code = coded("a$b,c|d", "s")
    assert finds("Observation?code-value-date=a\\$b\\,c\\|d$ge2026", code=code, valueDateTime="2026-05")
    assert not finds("Observation?code-value-date=a\\$b\\,c\\|d$ge2027", code=code, valueDateTime="2026-05")
    assert finds("Observation?code-value-string=a\\$b\\,c\\|d$sign\\$", code=code, valueString="Sign$e")
    assert finds("Observation?code-value-concept=a\\$b\\,c\\|d$x", code=code, valueCodeableConcept=coded("x"))


def test_composites_of_other_types() -> None:
    context = [
        {"code": {"system": "s", "code": "age"}, "valueQuantity": a_quantity(3, "a")},
        {"code": {"system": "s", "code": "focus"}, "valueCodeableConcept": coded("asthma")},
    ]
    assert finds("Questionnaire?context-type-quantity=age$lt48||mo", useContext=context)
    assert not finds("Questionnaire?context-type-quantity=focus$lt48||mo", useContext=context)
    assert finds("Questionnaire?context-type-value=s|focus$asthma", useContext=context)
    assert not finds("Questionnaire?context-type-value=age$asthma", useContext=context)
    relates = [
        {"code": "replaces", "target": {"reference": "DocumentReference/1"}},
        {"code": "appends", "target": {"reference": "DocumentReference/2"}},
    ]
    assert finds("DocumentReference?relationship=replaces$DocumentReference/1", relatesTo=relates)
    assert finds("DocumentReference?relationship=appends$2", relatesTo=relates)
    assert not finds("DocumentReference?relationship=appends$1", relatesTo=relates)
    system = "http://hl7.org/fhir/document-relationship-type"
    assert finds(f"DocumentReference?relationship={system}|$1", relatesTo=relates)
    characteristic = [
        {"code": coded("smoker"), "valueBoolean": True, "exclude": False},
        {"code": coded("gender"), "valueCodeableConcept": coded("female"), "exclude": False},
    ]
    assert finds("Group?characteristic-value=smoker$true", characteristic=characteristic)
    assert finds("Group?characteristic-value=gender$female", characteristic=characteristic)
    assert not finds("Group?characteristic-value=smoker$female", characteristic=characteristic)


def test_coordinates_are_met_by_one_variant() -> None:
    sequence = {
        "coordinateSystem": 0,
        "referenceSeq": {"chromosome": coded("1", "c"), "windowStart": 5, "windowEnd": 90},
        "variant": [{"start": 10, "end": 20}, {"start": 30, "end": 40}, {"start": 50}],
    }
    name = "MolecularSequence?chromosome-variant-coordinate"
    assert finds(f"{name}=1$ge10$le20", **sequence)
    assert finds(f"{name}=c|1$gt20$lt50", **sequence)
    assert not finds(f"{name}=1$ge30$le20", **sequence)
    assert not finds(f"{name}=2$ge10$le20", **sequence)
    assert not finds(f"{name}=1$50$ge0", **sequence)
    assert finds(f"{name}=2$1$2,1$30$40", **sequence)
    assert finds("MolecularSequence?chromosome-window-coordinate=1$lt10$gt80", **sequence)
    assert not finds("MolecularSequence?chromosome-window-coordinate=1$lt10$lt80", **sequence)


@pytest.mark.parametrize("asked", ["", "a", "a$", "$5", "a$5$6", "a$x", "a$5||", "|$5", "a$gt"])
def test_what_is_no_composite_is_refused_in_words(asked: str) -> None:
    with pytest.raises(errors.Unreadable, match="code-value-quantity : ") as caught:
        parse(f"Observation?code-value-quantity={asked}")
    assert caught.value.at == "code-value-quantity"


def test_sums_of_parameters_have_the_paths_of_their_members() -> None:
    params = {param.code: param for param in TABLES.params("Observation")}
    for param in params.values():
        if param.union and param.kind == "quantity":
            assert set(param.paths) == {path for code in param.union for path in params[code].paths}
        elif param.union:
            parts = [params[code].parts for code in param.union]
            for n, code in enumerate(param.parts):
                assert set(params[code].paths) == {path for one in parts for path in params[one[n]].paths}
