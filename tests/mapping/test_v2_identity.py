"""Which patient does a PID describe, and when does the INS count?"""

from __future__ import annotations

from typing import Any

import pytest

from mapping import er7, systems, v2_identity
from tests.builders_hl7 import PATIENT_NUMBERS, TEST_INS, Person, segment

NIR = f"{TEST_INS}^^^ASIP-SANTE-INS-NIR&1.2.250.1.213.1.4.8&ISO^INS"
NIA = "281051220200123^^^ASIP-SANTE-INS-NIA&1.2.250.1.213.1.4.9&ISO^INS"


def a_pid(line: str) -> er7.Segment:
    return er7.read(f"MSH|^~\\&|||||||ADT|1|P|2.5||||||UNICODE UTF-8\r{line}\r".encode()).segments("PID")[0]


def identity(numbers: str, reliability: str = "VALI", **fields: str) -> v2_identity.PatientIdentity:
    others = {int(name.removeprefix("f")): value for name, value in fields.items()}
    return v2_identity.read(a_pid(segment("PID", {3: numbers, 5: "X^Y^^^^^L", 32: reliability} | others)))


def notes(found: v2_identity.PatientIdentity) -> list[str]:
    return [note.code for note in found.tolerances]


def test_a_qualified_identity_becomes_a_patient_of_the_ins_profile() -> None:
    found = v2_identity.read(a_pid(Person().pid()), ins_authorities=systems.INS_WITH_TEST)
    patient: dict[str, Any] = v2_identity.to_fhir(found)
    assert patient["meta"]["profile"] == [systems.FR_PATIENT_INS]
    assert [(one["use"], one["value"]) for one in patient["identifier"]] == [
        ("official", TEST_INS),
        ("usual", "IPP000117"),
    ]
    assert patient["identifier"][0]["type"]["coding"][0]["code"] == "INS-NIR-TEST"
    assert patient["identifier"][1]["system"] == f"urn:oid:{PATIENT_NUMBERS}"
    assert (patient["gender"], patient["birthDate"]) == ("female", "1948-05-12")
    assert patient["name"][0]["extension"][0]["valueString"] == "JEANNE"
    place = next(one for one in patient["extension"] if one["url"] == systems.BIRTH_PLACE)
    assert place["valueAddress"]["extension"][0]["valueCoding"]["code"] == "12202"
    assert [one["city"] for one in patient["address"]] == ["RODEZ"]


@pytest.mark.parametrize("reliability", ["", "PROV", "VIDE", "DOUT~PROV"])
def test_an_ins_without_vali_is_dropped_and_the_message_accepted(reliability: str) -> None:
    found = identity(f"{NIR}~7^^^&1.2.3&ISO^PI", reliability)
    assert found.ins is None
    assert [one.value for one in found.identifiers] == ["7"]
    assert notes(found) == ["ins-not-validated"]


def test_vali_without_an_ins_is_written_as_provisional() -> None:
    patient = v2_identity.to_fhir(identity("7^^^&1.2.3&ISO^PI"))
    assert patient["extension"][0]["extension"][0]["valueCoding"]["code"] == "PROV"
    assert patient["meta"]["profile"] == [systems.FR_PATIENT]


@pytest.mark.parametrize("domain", [systems.INS_TEST, systems.INS_DEMO])
def test_a_test_number_never_enters_a_production_domain(domain: str) -> None:
    numbers = f"{TEST_INS}^^^x&{domain}&ISO^INS"
    assert notes(identity(numbers)) == ["ins-not-accepted"]
    pid = a_pid(segment("PID", {3: numbers, 32: "VALI"}))
    accepted = v2_identity.read(pid, ins_authorities=systems.INS_WITH_TEST)
    assert accepted.ins
    assert accepted.ins.value == TEST_INS


def test_a_nia_gives_way_to_a_nir() -> None:
    found = identity(f"{NIA}~{NIR}")
    assert found.ins
    assert (found.ins.value, found.ins.use) == (TEST_INS, "official")
    assert [one.value for one in found.identifiers] == [TEST_INS]
    alone = identity(NIA).ins
    assert alone
    assert alone.use == "temp"


@pytest.mark.parametrize("number", ["12345", "24805122020017A", "2480512202001701", "A48051220200170"])
def test_a_malformed_ins_is_dropped(number: str) -> None:
    found = identity(NIR.replace(TEST_INS, number))
    assert found.ins is None
    assert notes(found) == ["ins-malformed"]


@pytest.mark.parametrize("number", ["248052A20200170", "248052B20200170"])
def test_an_ins_of_corsica_has_a_letter(number: str) -> None:
    found = identity(NIR.replace(TEST_INS, number)).ins
    assert found
    assert found.value == number


def test_the_type_ins_without_its_oid_is_no_identifier() -> None:
    found = identity(f"{TEST_INS}^^^ASIP-SANTE-INS-NIR^INS")
    assert found.identifiers == ()
    assert notes(found) == ["ins-malformed"]


def test_the_billing_number_is_not_the_ins() -> None:
    found = identity(NIR.replace("^INS", "^NH"))
    assert found.ins is None
    assert [(one.type_code, one.type_system) for one in found.identifiers] == [("NH", systems.V2_IDENTIFIER_TYPE)]


def test_names_keep_their_use() -> None:
    found = identity("1", f5="NAISSANCE^ANNE^ANNE MARIE^^^^L~USAGE^ANNA^^^Mme^^D~PSEUDO^^^^^^S~SEUL^NOM")
    assert [(one.use, one.family, one.birth_given) for one in found.names] == [
        ("official", "NAISSANCE", "ANNE MARIE"),
        ("usual", "USAGE", ""),
        ("nickname", "PSEUDO", ""),
        ("usual", "SEUL", ""),
    ]
    assert found.birth_name == "NAISSANCE"


def test_forbidden_and_unknown_values_are_left_out_and_counted() -> None:
    found = identity("1", f7="19480230", f8="Z", f10="race", f17="religion")
    assert (found.birth_date, found.gender) == ("", "")
    assert notes(found) == ["birth-date-unreadable", "gender-unmapped"]
    assert "race" not in str(v2_identity.to_fhir(found))


def test_a_number_without_authority_has_no_system() -> None:
    assert identity("987654321").identifiers[0].system == ""
    assert "system" not in v2_identity.to_fhir(identity("987654321"))["identifier"][0]


def test_an_empty_pid_is_an_empty_patient() -> None:
    found = v2_identity.read(a_pid("PID"))
    assert v2_identity.to_fhir(found) == {"resourceType": "Patient", "meta": {"profile": [systems.FR_PATIENT]}}
    assert found.birth_name == ""
