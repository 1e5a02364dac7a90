"""Every search parameter of R4 compiles, and what it finds is what the specification's table says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fhir_server import dates
from fhir_server.r4 import extract, load, search_params, search_paths

DEFINITIONS = load.definitions()
TABLES = DEFINITIONS.search
EXTRACTOR = extract.Extractor(TABLES, base="https://hub.example/fhir")
SAMPLES = sorted((Path(__file__).parents[3] / "../shared/data/fhir/examples").glob("*.json"))

# What the R4 package itself gives no place to read from, and what is computed elsewhere.
WITHOUT_VALUES = {"birthOrderBoolean", "_content", "_query", "_text", "_filter", "_id", "_lastUpdated", "age"}


def values(resource: dict[str, Any], code: str) -> list[Any]:
    """The values of one parameter, without the parameter itself."""
    found = EXTRACTOR.values(resource, only=code)
    lists = (found.tokens, found.references, found.strings, found.dates, found.uris, found.numbers, found.quantities)
    return [value[1:] for one in lists for value in one]


# ---- the definitions -----------------------------------------------------------------------------------------------


def test_every_search_parameter_of_r4_is_known_for_each_of_its_types():
    raw = load.raw_search_parameters()
    assert len(raw) == 1400
    for definition in raw:
        if definition["id"].startswith("example"):
            continue
        for base in definition.get("base", ()):
            types = TABLES.types if base in ("Resource", "DomainResource") else (base,)
            assert all(TABLES.param(type, definition["code"]) for type in types)


def test_every_expression_of_r4_compiles_to_places_where_values_are():
    empty = {
        param.code
        for type in TABLES.types
        for param in TABLES.params(type)
        if not param.paths and param.kind not in ("composite", "special")
    }
    assert empty <= WITHOUT_VALUES


def test_every_path_has_a_function_for_its_values():
    for type in TABLES.types:
        EXTRACTOR.values({"resourceType": type})


def test_only_a_computed_age_and_what_is_no_value_of_a_resource_is_refused():
    refused = {param.name for type in TABLES.types for param in TABLES.params(type) if param.refusal}
    assert {name for name in refused if "._" not in name} == {"Patient.age"}
    assert {name.partition(".")[2] for name in refused if "._" in name} == {"_filter", "_query"}


def test_the_examples_inside_the_registry_do_not_redefine_real_parameters():
    assert TABLES.param("Condition", "subject").targets == ("Group", "Patient")
    assert TABLES.param("DocumentReference", "part-agree") is None


def test_tables_survive_the_cache():
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(TABLES), type=search_params.SearchTables)
    assert again == TABLES


def test_parameter_numbers_are_unique_and_fit_an_integer_column():
    numbers = [param.number for type in TABLES.types for param in TABLES.params(type)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**31 for number in numbers)


def test_two_parameters_with_one_number_are_refused(monkeypatch):
    monkeypatch.setattr(search_params, "_number", len)
    with pytest.raises(ValueError, match="share a number"):
        search_params.compile(load.raw_search_parameters(), [], DEFINITIONS.elements, {})


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("Patient.nme", "no element Patient.nme"),
        ("Patient.name.first()", r"\(\)' at"),
        ("Patient.deceased as Quantity", "as Quantity' at"),
        ("(Patient.deceased as Quantity)", "never of that type"),
        ("Patient.extension('http://x.example').value", "a path after extension"),
    ],
)
def test_an_expression_that_cannot_be_compiled_is_named(expression, problem):
    world = search_paths.World(DEFINITIONS.elements, {})
    with pytest.raises(search_paths.Unsupported, match=problem):
        search_paths.paths(expression, "Patient", world)


def test_the_three_spellings_of_a_cast_are_one():
    world = search_paths.World(DEFINITIONS.elements, {})
    spellings = (
        "(Observation.value as Quantity)",
        "Observation.value.as(Quantity)",
        "Observation.value.ofType(Quantity)",
    )
    assert {str(search_paths.paths(one, "Observation", world)) for one in spellings} == {
        str([search_paths.Path((("get", "valueQuantity"),), "Quantity")])
    }


@pytest.mark.parametrize(
    ("type", "params"),
    [
        ("Observation", ("patient", "subject", "performer")),
        ("Communication", ("patient", "subject", "sender", "recipient")),
        ("Task", ("patient", "subject")),  # not in the R4 compartment, but it says whose it is
        ("Coverage", ("patient", "policy-holder", "subscriber", "beneficiary", "payor")),
        ("Organization", ()),
    ],
)
def test_where_the_patient_is_looked_for(type, params):
    assert TABLES.patient_params(type) == params


@pytest.mark.parametrize(
    ("type", "params"),
    [
        ("Encounter", ("date",)),
        ("Communication", ("sent", "received")),
        ("Task", ("modified", "authored-on", "period")),
        ("Condition", ("onset-date", "recorded-date")),
        ("MedicationRequest", ("authoredon",)),
        ("Patient", ()),
        ("Practitioner", ()),
    ],
)
def test_the_main_clinical_date_of_a_type(type, params):
    assert TABLES.sort_date(type) == params


def test_a_parameter_shared_by_many_types_has_the_targets_of_its_own_expression():
    assert TABLES.param("Condition", "patient").targets == ("Patient",)
    assert TABLES.param("Task", "focus").targets == ("Resource",)


def test_codes_imply_the_system_of_their_value_set():
    assert TABLES.param("Patient", "gender").system == "http://hl7.org/fhir/administrative-gender"
    assert TABLES.param("Task", "status").plain
    assert not TABLES.param("Task", "code").plain


# ---- tokens --------------------------------------------------------------------------------------------------------


def test_a_concept_gives_each_coding_and_its_text():
    concept = {"coding": [{"system": "s", "code": "a", "display": "A"}, {"code": "b"}], "text": "les deux"}
    task = {"resourceType": "Task", "code": concept}
    assert values(task, "code") == [("s", "a", "A"), (None, "b", None), (None, None, "les deux")]


def test_an_identifier_is_system_and_value():
    patient = {"resourceType": "Patient", "identifier": [{"system": "s", "value": "1"}, {"value": "2"}]}
    assert values(patient, "identifier") == [("s", "1", None), (None, "2", None)]


def test_contact_points_are_chosen_by_their_system():
    telecom = [{"system": "phone", "value": "01", "use": "home"}, {"system": "email", "value": "a@b.example"}]
    patient = {"resourceType": "Patient", "telecom": telecom}
    assert values(patient, "phone") == [("phone", "01", None), ("home", "01", None)]
    assert values(patient, "email") == [("email", "a@b.example", None)]
    assert len(values(patient, "telecom")) == 3


def test_booleans_and_codes_are_tokens():
    patient = {"resourceType": "Patient", "active": False, "gender": "female"}
    assert values(patient, "active") == [(None, "false", None)]
    assert values(patient, "gender") == [("http://hl7.org/fhir/administrative-gender", "female", None)]


@pytest.mark.parametrize(
    ("more", "dead"),
    [
        ({}, "false"),
        ({"deceasedBoolean": False}, "false"),
        ({"deceasedBoolean": True}, "true"),
        ({"deceasedDateTime": "2026-01-02"}, "true"),
    ],
)
def test_whoever_has_a_date_of_death_is_deceased(more, dead):
    assert values({"resourceType": "Patient", **more}, "deceased") == [(None, dead, None)]


def test_an_extension_is_read_by_its_url():
    url = "http://hl7.org/fhir/StructureDefinition/observation-geneticsGene"
    concept = {"coding": [{"code": "g"}]}
    observation = {
        "resourceType": "Observation",
        "extension": [{"url": "http://x.example", "valueCodeableConcept": concept}, {"url": url, "valueString": "h"}],
    }
    assert values(observation, "gene-identifier") == [(None, "h", None)]


# ---- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Patient/1", "Patient/1"),
        ("Patient/1/_history/3", "Patient/1"),
        ("https://hub.example/fhir/Patient/1", "Patient/1"),
        ("https://hub.example/fhir/Patient/1/_history/3", "Patient/1"),
        ("https://hub.example/fhirish/Patient/1", "https://hub.example/fhirish/Patient/1"),
        ("https://other.example/fhir/Patient/1/_history/3", "https://other.example/fhir/Patient/1"),
        ("urn:uuid:0b1c8a4e-0000-4000-8000-000000000000", "urn:uuid:0b1c8a4e-0000-4000-8000-000000000000"),
        ("#p", None),
    ],
)
def test_a_reference_is_kept_in_one_form(written, found):
    task = {"resourceType": "Task", "focus": {"reference": written}}
    assert values(task, "focus") == [(found, None)]


def test_a_reference_by_identifier_keeps_it():
    task = {"resourceType": "Task", "owner": {"identifier": {"system": "s", "value": "v"}}}
    assert values(task, "owner") == [(None, ("s", "v"))]


@pytest.mark.parametrize(
    ("subject", "is_patient"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "https://other.example/fhir/Patient/1"}, True),
        ({"reference": "urn:uuid:1", "type": "Patient"}, True),
        ({"identifier": {"value": "1"}, "type": "Patient"}, True),
        ({"reference": "#p"}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "#g"}, False),
        ({"reference": "#gone"}, False),
        ({"reference": "urn:uuid:1"}, False),
        ({"display": "Patient/1"}, False),
    ],
)
def test_patient_is_subject_where_the_reference_says_patient(subject, is_patient):
    contained = [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Group", "id": "g"}]
    observation = {"resourceType": "Observation", "contained": contained, "subject": subject}
    assert bool(values(observation, "patient")) == is_patient
    assert len(values(observation, "subject")) == 1


def test_a_hash_alone_is_the_resource_itself():
    assert values({"resourceType": "Patient", "link": [{"other": {"reference": "#"}}]}, "link") == [(None, None)]
    assert values({"resourceType": "Provenance", "target": [{"reference": "#"}]}, "patient") == []


def test_a_canonical_is_found_with_and_without_its_version():
    response = {"resourceType": "QuestionnaireResponse", "questionnaire": "https://x.example/Q|1.0"}
    assert values(response, "questionnaire") == [("https://x.example/Q|1.0", None), ("https://x.example/Q", None)]
    tagged = {"resourceType": "Patient", "meta": {"profile": ["https://x.example/P|2"]}}
    assert values(tagged, "_profile") == [("https://x.example/P|2",), ("https://x.example/P",)]


def test_the_first_entry_of_a_document_is_its_composition():
    entries = [
        {"resource": {"resourceType": "Composition", "id": "c"}},
        {"resource": {"resourceType": "Patient", "id": "p"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "document", "entry": entries}
    assert values(bundle, "composition") == [("Composition/c", None)]
    assert values(bundle, "message") == []
    assert values({"resourceType": "Bundle", "entry": entries[1:]}, "composition") == []
    assert values({"resourceType": "Bundle", "type": "document"}, "composition") == []


def test_the_subject_of_a_questionnaire_item_is_marked_by_an_extension():
    url = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject"
    answer = [{"valueReference": {"reference": "Patient/1"}}, {"valueString": "x"}]
    items = [
        {"linkId": "1", "answer": answer},
        {"linkId": "2", "extension": [{"url": url, "valueBoolean": True}], "answer": answer},
    ]
    response = {"resourceType": "QuestionnaireResponse", "item": items}
    assert values(response, "item-subject") == [("Patient/1", None)]


# ---- strings, uris, dates ------------------------------------------------------------------------------------------


def test_a_name_is_found_by_every_part():
    name = {"text": "t", "family": "f", "given": ["g", None, "h"], "prefix": ["p"], "suffix": ["s"], "use": "usual"}
    assert values({"resourceType": "Patient", "name": [name]}, "name") == [
        ("t",),
        ("f",),
        ("g",),
        ("h",),
        ("p",),
        ("s",),
    ]


def test_an_address_is_found_by_every_part():
    address = {"line": ["12 rue X"], "city": "Lyon", "postalCode": "69001", "country": "FR", "use": "home"}
    found = values({"resourceType": "Patient", "address": [address]}, "address")
    assert found == [("12 rue X",), ("Lyon",), ("69001",), ("FR",)]
    assert values({"resourceType": "Patient", "address": [address]}, "address-city") == [("Lyon",)]


def test_a_primitive_that_has_only_an_extension_has_no_value():
    name = {"given": [None, "b"], "_given": [{"extension": []}, None]}
    assert values({"resourceType": "Patient", "name": [name]}, "given") == [("b",)]


def test_uris_stay_as_they_are():
    assert values({"resourceType": "ValueSet", "url": "https://X.example/v"}, "url") == [("https://X.example/v",)]


def test_a_choice_is_read_whatever_its_type():
    moment = {"resourceType": "Observation", "effectiveDateTime": "2026-01-01"}
    period = {"resourceType": "Observation", "effectivePeriod": {"start": "2026-01-01"}}
    assert values(moment, "date") == [dates.span("2026-01-01")]
    assert values(period, "date") == [(dates.span("2026-01-01")[0], dates.END)]


def test_a_timing_reaches_from_its_first_to_its_last_moment():
    timing = {"event": ["2026-03-01", "2026-01-01"], "repeat": {"boundsPeriod": {"end": "2026-02-01"}}}
    observation = {"resourceType": "Observation", "effectiveTiming": timing}
    assert values(observation, "date") == [(dates.BEGINNING, dates.span("2026-03-01")[1])]
    assert values({"resourceType": "Observation", "effectiveTiming": {"repeat": {"frequency": 2}}}, "date") == []


def test_a_day_that_no_calendar_has_is_left_out():
    assert values({"resourceType": "Patient", "birthDate": "2025-02-30"}, "birthdate") == []
    assert values({"resourceType": "Encounter", "period": {}}, "date") == []
    assert values({"resourceType": "AllergyIntolerance", "onsetAge": {"value": 3}}, "onset") == []


# ---- numbers and quantities, ready for their table -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "low", "high"),
    [
        ({"value": Decimal("5.40")}, "5.40", "5.40"),
        ({"value": 5, "comparator": "<"}, "-Infinity", "5"),
        ({"value": 5, "comparator": "<="}, "-Infinity", "5"),
        ({"value": 5, "comparator": ">"}, "5", "Infinity"),
    ],
)
def test_a_quantity_is_a_range(quantity, low, high):
    observation = {
        "resourceType": "Observation",
        "valueQuantity": {**quantity, "unit": "g", "system": "s", "code": "c"},
    }
    excluded = {"<": "<", ">": ">"}.get(quantity.get("comparator"), "")
    assert values(observation, "value-quantity") == [(Decimal(low), Decimal(high), "s", "c", "g", excluded)]


def test_ranges_money_and_numbers_are_ranges_too():
    condition = {"resourceType": "Condition", "onsetRange": {"low": {"value": 3, "unit": "a"}}}
    assert values(condition, "onset-age") == [(Decimal(3), Decimal("Infinity"), None, None, "a", "")]
    invoice = {"resourceType": "Invoice", "totalNet": {"value": Decimal("12.50"), "currency": "EUR"}}
    euros = (Decimal("12.50"), Decimal("12.50"), "urn:iso:std:iso:4217", "EUR", None, "")
    assert values(invoice, "totalnet") == [euros]
    risk = {
        "resourceType": "RiskAssessment",
        "prediction": [{"probabilityDecimal": Decimal("0.5")}, {"probabilityRange": {"high": {"value": 1}}}],
    }
    assert values(risk, "probability") == [(Decimal("0.5"), Decimal("0.5")), (Decimal("-Infinity"), Decimal(1))]
    assert values({"resourceType": "Observation", "valueQuantity": {"unit": "g"}}, "value-quantity") == []


def test_unwanted_kinds_are_not_read():
    strings = extract.Extractor(TABLES, kinds=frozenset({"string"}))
    found = strings.values({"resourceType": "Patient", "gender": "female", "name": [{"family": "X"}]})
    assert found.strings
    assert not found.tokens


# ---- real resources ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_published_examples_are_read(path):
    resource = msgspec.json.decode(path.read_bytes())
    found = EXTRACTOR.values(resource)
    assert found.tokens or found.references or found.strings or found.dates
