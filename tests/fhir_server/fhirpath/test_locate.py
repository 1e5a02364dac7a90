"""Where the elements that an expression names stand, so that a patch can change them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fhir_server.fhirpath import evaluate, parse
from fhir_server.r4 import load
from tests.fhir_server.fhirpath.conftest import PATIENT


@pytest.fixture
def patient() -> dict[str, Any]:
    return copy.deepcopy(PATIENT)


def test_an_element_of_a_list_is_found_by_its_holder_its_name_and_its_place(
    patient: dict[str, Any], definitions: load.Definitions
) -> None:
    [place] = evaluate.locate("Patient.name.where(use = 'usual')", patient, definitions)
    assert (place.holder is patient, place.key, place.index) == (True, "name", 1)


def test_a_choice_is_found_under_its_name_in_json(patient: dict[str, Any], definitions: load.Definitions) -> None:
    [place] = evaluate.locate("Patient.deceased", patient, definitions)
    assert (place.key, place.index) == ("deceasedBoolean", None)


def test_a_primitive_in_a_list_can_be_changed_through_its_place(
    patient: dict[str, Any], definitions: load.Definitions
) -> None:
    [place] = evaluate.locate("Patient.name[0].given[1]", patient, definitions)
    assert place.holder is not None and place.index == 1
    place.holder[place.key][place.index] = "Zoé"
    assert patient["name"][0]["given"] == ["Ana", "Zoé"]


def test_the_resource_itself_has_no_holder(patient: dict[str, Any], definitions: load.Definitions) -> None:
    assert evaluate.locate("Patient", patient, definitions) == [evaluate.Place(None, "", None)]


def test_an_extension_of_a_primitive_stands_in_the_object_beside_it(
    patient: dict[str, Any], definitions: load.Definitions
) -> None:
    [place] = evaluate.locate("Patient.birthDate.extension", patient, definitions)
    assert (place.holder is patient["_birthDate"], place.key, place.index) == (True, "extension", 0)


def test_what_does_not_exist_has_no_place(patient: dict[str, Any], definitions: load.Definitions) -> None:
    assert evaluate.locate("Patient.photo", patient, definitions) == []


def test_what_a_reference_names_inside_the_resource_has_its_own_place(
    patient: dict[str, Any], definitions: load.Definitions
) -> None:
    [place] = evaluate.locate("Patient.managingOrganization.resolve()", patient, definitions)
    assert (place.holder is patient, place.key, place.index) == (True, "contained", 0)


def test_a_calculated_value_has_no_place(patient: dict[str, Any], definitions: load.Definitions) -> None:
    with pytest.raises(parse.Unusable):
        evaluate.locate("Patient.name.count()", patient, definitions)
