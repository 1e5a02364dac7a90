"""Index rows: which keys, strings, dates, patient and clinical date a resource is stored with."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import dates, index
from fhir_server.r4 import load

DEFINITIONS = load.definitions()
TABLES = DEFINITIONS.search
INDEXER = index.Indexer(DEFINITIONS, base="https://hub.example/fhir/")
SAMPLES = sorted((Path(__file__).parents[2] / "../shared/data/fhir/examples").glob("*.json"))


def rows(type, **elements):
    return INDEXER.rows({"resourceType": type, **elements})


def test_a_coding_has_a_key_for_each_way_to_ask_for_it():
    eq = rows("Task", code={"coding": [{"system": "s", "code": "c"}]}).eq
    assert set(eq) >= {
        index.token_key("Task", "code", "s", "c"),
        index.token_key("Task", "code", None, "c"),
        index.token_key("Task", "code", "s", None),
        index.present_key("Task", "code"),
    }
    assert index.token_key("Task", "code", "", "c") not in eq


def test_a_code_without_system_is_told_from_a_code_in_any_system():
    eq = rows("Task", code={"coding": [{"code": "c"}]}).eq
    assert {index.token_key("Task", "code", "", "c"), index.token_key("Task", "code", None, "c")} <= set(eq)
    assert index.token_key("Task", "code", "", None) not in eq


def test_a_primitive_code_takes_one_key_and_its_presence():
    assert set(rows("Task", status="requested").eq) == {
        index.token_key("Task", "status", None, "requested"),
        index.present_key("Task", "status"),
    }


def test_a_concept_with_text_alone_is_present():
    assert rows("Task", code={"text": "x"}).eq == (index.present_key("Task", "code"),)


def test_system_and_code_are_never_mixed_up():
    assert index.token_key("T", "p", "a", "b|c") != index.token_key("T", "p", "a|b", "c")
    assert index.token_key("T", "p", "", "c") != index.token_key("T", "p", None, "c")
    assert index.reference_key("T", "p", "x") != index.uri_key("T", "p", "x") != index.id_key("T", "p", "x")


def test_a_reference_to_many_possible_types_is_found_by_its_id_alone():
    focus = rows("Task", focus={"reference": "Communication/1"}).eq
    assert {index.reference_key("Task", "focus", "Communication/1"), index.id_key("Task", "focus", "1")} <= set(focus)
    patient = rows("Task", **{"for": {"reference": "Patient/1"}}).eq
    assert index.reference_key("Task", "patient", "Patient/1") in patient
    assert index.id_key("Task", "patient", "1") not in patient


def test_foreign_addresses_have_no_key_by_id_alone():
    eq = rows("Task", focus={"reference": "https://other.example/fhir/Patient/1"}).eq
    assert index.reference_key("Task", "focus", "https://other.example/fhir/Patient/1") in eq
    assert index.id_key("Task", "focus", "1") not in eq


def test_an_absolute_reference_to_ourselves_is_the_relative_one():
    absolute = rows("Task", focus={"reference": "https://hub.example/fhir/Communication/1/_history/2"})
    assert absolute == rows("Task", focus={"reference": "Communication/1"})


def test_a_logical_reference_is_found_by_its_identifier():
    eq = rows("Task", owner={"identifier": {"system": "s", "value": "v"}}).eq
    assert set(eq) == {
        index.present_key("Task", "owner"),
        index.identifier_key("Task", "owner", "s", "v"),
        index.identifier_key("Task", "owner", None, "v"),
        index.identifier_key("Task", "owner", "s", None),
    }


def test_references_identifiers_and_codes_are_ordered_too():
    made = rows(
        "Task",
        status="requested",
        code={"coding": [{"system": "s", "code": "c"}]},
        identifier=[{"system": "s", "value": "v"}],
        focus={"reference": "Communication/1"},
    )
    assert set(made.ordered) == {
        index.token_key("Task", "code", "s", "c"),
        index.token_key("Task", "code", None, "c"),
        index.token_key("Task", "identifier", "s", "v"),
        index.token_key("Task", "identifier", None, "v"),
        index.reference_key("Task", "focus", "Communication/1"),
        index.id_key("Task", "focus", "1"),
    }
    assert set(made.ordered) < set(made.eq)


def test_no_row_comes_twice():
    name = [{"family": "Durand", "given": ["Durand"]}] * 2
    identifier = [{"system": "s", "value": "v"}] * 2
    made = rows("Patient", name=name, identifier=identifier, birthDate="1980-05-11")
    for one in (made.eq, made.ordered, made.strings, made.dates):
        assert len(set(one)) == len(one)


def test_strings_are_kept_folded_and_raw_and_cut():
    number = TABLES.param("Patient", "family").number
    made = rows("Patient", name=[{"family": "Lefèvre-Dœrr " + "x" * 500}])
    (family,) = [row for row in made.strings if row[0] == number]
    assert family[1].startswith("lefevre doerr xxx")
    assert family[2].startswith("Lefèvre-Dœrr xxx")
    assert len(family[1]) == len(family[2]) == index.LONGEST


def test_the_servers_own_times_are_columns_and_no_rows():
    made = rows("Patient", id="1", meta={"lastUpdated": "2026-01-01T00:00:00Z", "versionId": "1"})
    assert made.dates == ()
    assert made.eq == rows("Patient").eq


@pytest.mark.parametrize(
    ("raw", "folded"),
    [
        ("Lefèvre", "lefevre"),
        ("  LEFÈVRE  Jean\t", "lefevre jean"),
        ("Jean-Pierre", "jean pierre"),
        ("D’Arc", "d arc"),
        ("D'Arc", "d arc"),
        ("Straße", "strasse"),
        ("Sœur Læticia", "soeur laeticia"),
        ("İzmir", "izmir"),
        ("ﬁ", "fi"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("...", ""),
    ],
)
def test_folding(raw, folded):
    assert index.fold(raw) == folded


@given(st.text())
def test_folding_twice_changes_nothing(text):
    assert index.fold(index.fold(text)) == index.fold(text)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("06 12 34 56 78", "0612345678"),
        ("+33 6 12 34 56 78", "0612345678"),
        ("+33 (0)6.12.34.56.78", "0612345678"),
        ("0033612345678", "0612345678"),
        ("+32 2 123 45 67", "+3221234567"),
        ("Jean.DUPONT@medecin.exemple", "jean.dupont@medecin.exemple"),
        ("https://x.example", "https://x.example"),
    ],
)
def test_contact_points_are_compared_without_their_writing(written, form):
    assert index.contact(written) == form


@pytest.mark.parametrize(
    ("resource", "patient"),
    [
        ({"resourceType": "Observation", "subject": {"reference": "Patient/1"}}, "1"),
        ({"resourceType": "Observation", "subject": {"reference": "https://hub.example/fhir/Patient/1"}}, "1"),
        ({"resourceType": "Observation", "subject": {"reference": "https://other.example/fhir/Patient/1"}}, None),
        ({"resourceType": "Observation", "subject": {"reference": "Group/1"}}, None),
        (
            {
                "resourceType": "Observation",
                "performer": [{"reference": "Patient/2"}],
                "subject": {"reference": "Patient/1"},
            },
            "1",
        ),
        ({"resourceType": "Communication", "recipient": [{"reference": "Patient/2"}]}, "2"),
        ({"resourceType": "Task", "for": {"reference": "Patient/1"}}, "1"),
        ({"resourceType": "Task", "owner": {"reference": "Patient/1"}}, None),
        ({"resourceType": "Schedule", "actor": [{"reference": "Location/1"}, {"reference": "Patient/1"}]}, "1"),
        ({"resourceType": "Patient", "link": [{"other": {"reference": "Patient/2"}}]}, None),
        ({"resourceType": "Binary", "securityContext": {"reference": "Patient/1"}}, "1"),
        ({"resourceType": "Binary", "securityContext": {"reference": "DocumentReference/1"}}, None),
        ({"resourceType": "Binary"}, None),
        ({"resourceType": "Organization"}, None),
    ],
)
def test_the_patient_of_a_resource(resource, patient):
    assert INDEXER.rows(resource).patient == patient
    assert INDEXER.patient(resource) == patient


@pytest.mark.parametrize(
    ("resource", "moment"),
    [
        ({"resourceType": "Communication", "sent": "2026-01-02T03:04:05Z"}, "2026-01-02T03:04:05Z"),
        ({"resourceType": "Task", "authoredOn": "2026-01-01", "lastModified": "2026-02-01"}, "2026-02-01"),
        ({"resourceType": "Encounter", "period": {"start": "2026-01-01", "end": "2026-01-03"}}, "2026-01-01"),
        ({"resourceType": "DiagnosticReport", "effectiveDateTime": "2026-01-01T00:00:00Z"}, "2026-01-01T00:00:00Z"),
    ],
)
def test_the_clinical_date_is_the_start_of_the_main_date(resource, moment):
    assert INDEXER.rows(resource).sort_date == dates.span(moment)[0]


def test_a_period_that_began_nobody_knows_when_is_dated_by_its_end():
    assert rows("Encounter", period={"end": "2026-01-03"}).sort_date == dates.span("2026-01-03")[1]


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "birthDate": "1980"},
        {"resourceType": "Encounter"},
        {"resourceType": "Task", "authoredOn": "2026-01-01"},  # `_sort=modified` must find it without a value
    ],
)
def test_no_clinical_date(resource):
    assert INDEXER.rows(resource).sort_date is None


def test_references_to_follow_are_those_on_this_server():
    communication = {
        "resourceType": "Communication",
        "contained": [{"resourceType": "Patient", "id": "p"}],
        "recipient": [
            {"reference": "PractitionerRole/1"},
            {"reference": "#p"},
            {"reference": "https://other.example/fhir/Patient/1"},
            {"reference": "https://hub.example/fhir/Patient/2"},
            {"reference": "PractitionerRole/1/_history/2"},
            {"display": "somebody"},
        ],
    }
    assert INDEXER.references(communication, "recipient") == ["PractitionerRole/1", "Patient/2"]
    assert INDEXER.references(communication, "sender") == []


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_published_examples_have_rows(path):
    made = INDEXER.rows(msgspec.json.decode(path.read_bytes()))
    assert all(-(2**63) <= key < 2**63 for key in made.eq)
    assert set(made.ordered) <= set(made.eq)
