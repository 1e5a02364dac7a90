"""Does a CDA that we write say the same when it is read, and is it shaped as CI-SIS asks?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mapping import cda, cda_header, cda_write
from mapping.v2_types import Coded
from tests.builders_hl7 import a_pdf

PLACE = cda_header.Organization(cda_header.Id("1.2.250.1.71.4.2.2", "1129900016"), "Cabinet des Embergues")
NURSE = cda_header.Person(
    id=cda_header.Id("1.2.250.1.71.4.2.1", "899700000018"),
    family="ROUX",
    given="Nadia",
    prefix="MME",
    suffix="",
    role=Coded("G15_60", "urn:oid:1.2.250.1.213.1.1.4.5", "Infirmier"),
    device="",
    organization=PLACE,
    time="2026-11-20T10:00:00+01:00",
)
HEADER = cda_header.Header(
    id=cda_header.Id("2.25.7"),
    set_id=cda_header.Id("2.25.6"),
    version="2",
    templates=cda_write.TEMPLATES,
    code=Coded("11488-4", "http://loinc.org", "CR de consultation"),
    title="Compte rendu",
    written="2026-11-20T10:00:00+01:00",
    confidentiality="N",
    language="fr-FR",
    patient=cda_header.Patient(
        ids=(cda_header.Id("1.2.250.1.213.1.4.10", "248051220200170"), cda_header.Id("2.25.1", "p1")),
        family="DELMAS",
        given="JEANNE",
        birth_given="JEANNE MARIE",
        birth_date="1948-05-12",
        gender="F",
        used_family="SOULIE",
        birth_place="12202",
    ),
    authors=(NURSE,),
    legal_authenticator=NURSE,
    custodian=PLACE,
    events=(
        cda_header.Event(
            None,
            "2026-11-20T10:00:00+01:00",
            "",
            Coded(
                "AMBULATOIRE",
                "https://mos.esante.gouv.fr/NOS/TRE_A01-CadreExercice/FHIR/TRE-A01-CadreExercice",
                "Ambulatoire",
            ),
        ),
    ),
    encounter=cda_header.Encounter(
        None,
        "2026-11-20T10:00:00+01:00",
        "",
        Coded(
            "SA07",
            "https://mos.esante.gouv.fr/NOS/TRE_R02-SecteurActivite/FHIR/TRE-R02-SecteurActivite",
            "Cabinet individuel",
        ),
    ),
    parents=(cda_header.Parent("RPLC", cda_header.Id("2.25.5"), None),),
)
BODY = cda.Body("application/pdf", a_pdf())
ORDER = (
    "realmCode typeId templateId templateId templateId id code title effectiveTime confidentialityCode languageCode "
    "setId versionNumber recordTarget author custodian legalAuthenticator documentationOf relatedDocument componentOf "
    "component"
).split()
REQUIRED = frozenset({"id", "code", "title", "setId", "versionNumber", "standardIndustryClassCode"})


def test_what_is_written_is_read_back() -> None:
    read = cda.read(cda_write.write(HEADER, BODY), max_bytes=2**25)
    assert read == cda.Cda(HEADER, BODY, 1)


def test_its_elements_stand_in_the_order_of_the_schema() -> None:
    root = etree.fromstring(cda_write.write(HEADER, BODY))
    assert [etree.QName(one).localname for one in root] == ORDER


def test_nothing_is_null_where_the_header_forbids_it() -> None:
    root = etree.fromstring(cda_write.write(HEADER, BODY))
    null = {etree.QName(one).localname for one in root.iter() if one.get("nullFlavor")}
    assert null == {"addr", "telecom"}
    named = {etree.QName(one).localname for one in root.iter()}
    assert named >= REQUIRED
    assert not any("schemaLocation" in name for one in root.iter() for name in one.attrib)


def test_a_person_without_ins_is_known_by_our_number_alone() -> None:
    header = replace(HEADER, patient=replace(HEADER.patient, ids=HEADER.patient.ids[1:]))
    assert cda.read(cda_write.write(header, BODY), max_bytes=2**25).header.patient.ids == HEADER.patient.ids[1:]


@pytest.mark.parametrize("birth_date", ["1948", "1948-05", "1948-05-12", ""])
def test_a_birth_date_keeps_its_precision(birth_date: str) -> None:
    header = replace(HEADER, patient=replace(HEADER.patient, birth_date=birth_date))
    assert cda.read(cda_write.write(header, BODY), max_bytes=2**25).header.patient.birth_date == birth_date


# XML 1.0 has no control characters; blanks are folded when a header is read.
WORDS = st.text(st.characters(min_codepoint=33, blacklist_categories=("Cs", "Cn", "Cc", "Zs", "Zl", "Zp", "Co")))


@given(title=WORDS.filter(bool), family=WORDS.filter(bool))
def test_any_name_and_title_survive(title: str, family: str) -> None:
    header = replace(HEADER, title=title[:128], patient=replace(HEADER.patient, family=family))
    assert cda.read(cda_write.write(header, BODY), max_bytes=2**25).header == header
