"""Do composite values say the same after reading, with the habits of French senders?"""

from __future__ import annotations

import pytest

from mapping import er7, v2_types

SYNTAX = er7.Syntax()


def value(text: str) -> er7.Repetition:
    return er7.repetition(text.encode(), SYNTAX)


@pytest.mark.parametrize(
    ("authority", "system"),
    [
        ("CHU&1.2.250.1.999.3&ISO", "urn:oid:1.2.250.1.999.3"),
        ("CHU&1.2.250.1.999.3&", "urn:oid:1.2.250.1.999.3"),
        ("X&6BA7B810-9DAD-11D1-80B4-00C04FD430C8&UUID", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("CHU-X&000897406&N", "https://spico-hub.example/fhir/NamingSystem/PI/finess/000897406"),
        ("CHU-X&000897406&M", "https://spico-hub.example/fhir/NamingSystem/PI/finess/000897406"),
        ("Hôpital A/B&&L", "https://spico-hub.example/fhir/NamingSystem/PI/local/H%C3%B4pital%20A%2FB"),
        ("", ""),
    ],
)
def test_an_authority_gives_a_system_of_its_own(authority: str, system: str) -> None:
    assert v2_types.number(value(f"123^^^{authority}^PI")).authority.system("PI") == system


def test_patient_and_file_numbers_of_one_finess_do_not_share_a_system() -> None:
    authority = v2_types.number(value("1^^^CHU&000897406&N")).authority
    assert authority.system("PI") != authority.system("AN")


def test_the_parts_of_a_surname_are_sub_components() -> None:
    name = v2_types.person_name(value("EVERYMAN&van&Aniston^ADAM^ADAM JEAN^^M.^^L"))
    assert (name.family, name.given, name.all_given, name.prefix, name.type) == (
        "EVERYMAN",
        "ADAM",
        "ADAM JEAN",
        "M.",
        "L",
    )


def test_two_quotes_delete_a_name_of_their_type() -> None:
    name = v2_types.person_name(value('""^^^^^^D'))
    assert (name.is_deleted, name.type, name.family) == (True, "D", "")


def test_lines_of_an_address_are_joined_by_an_escaped_separator() -> None:
    address = v2_types.address(value(r"12 RUE A^Bât. B\S\Esc. C^RODEZ^^12000^FRA^H^^12202"))
    assert address.lines == ("12 RUE A", "Bât. B", "Esc. C")
    assert (address.city, address.postal_code, address.country, address.type, address.insee) == (
        "RODEZ",
        "12000",
        "FRA",
        "H",
        "12202",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("^PRN^PH^^^^^^^^^0565000000", v2_types.Telecom("phone", "0565000000", "home")),
        ("^PRN^CP^^^^^^^^^0665000000", v2_types.Telecom("phone", "0665000000", "mobile")),
        ("^WPN^FX^^^^^^^^^0565000001", v2_types.Telecom("fax", "0565000001", "work")),
        ("^NET^Internet^a@b.fr", v2_types.Telecom("email", "a@b.fr", "")),
        ("0565000002", v2_types.Telecom("phone", "0565000002", "")),
        ("^PRN^PH", None),
    ],
)
def test_a_telecom_is_a_number_or_an_address(text: str, expected: v2_types.Telecom | None) -> None:
    assert v2_types.telecom(value(text)) == expected


def test_a_structure_number_is_in_its_tenth_component_or_its_third() -> None:
    new = "Service^^^^^ASIP-SANTE-ST&1.2.250.1.71.4.2.2&ISO^FINEG^^^129900040"
    assert v2_types.organization(value(new)).id == "129900040"
    assert v2_types.organization(value("Service^^3435")).id == "3435"


def test_a_code_loses_its_blanks_and_gains_a_url() -> None:
    assert v2_types.coded(value("INVISIBLE_ REP_LEGAUX^x^LN")) == v2_types.Coded(
        "INVISIBLE_REP_LEGAUX", "http://loinc.org", "x"
    )
