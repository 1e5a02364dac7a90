"""Are the resources of a document valid R4, complete, and pointing at each other?"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_server.r4 import load, validate
from mapping import cda, cda_to_fhir, document_to_fhir, er7, refusals, systems, v2_document, v2_identity
from mapping.cda_header import Id
from tests import golden_files
from tests.builders_hl7 import DOCUMENTS, Header, Person, Wishes, a_cda, a_pdf, an_mdm

NOW = datetime(2026, 11, 20, 13, 40, tzinfo=UTC)
Resource = dict[str, Any]


@pytest.fixture(scope="module")
def validator() -> validate.Validator:
    return validate.Validator(load.definitions())


def read(raw: bytes) -> v2_document.Document:
    return v2_document.read(er7.read(raw), ins_authorities=systems.INS_WITH_TEST)


def filed(document: v2_document.Document, **places: Any) -> tuple[list[Resource], Resource]:
    """The Binaries and the DocumentReference; ids are the type and its turn."""
    turns: dict[str, int] = {}

    def new_id(type: str, body: Resource) -> str:
        assert "id" not in body
        turns[type] = turns.get(type, 0) + 1
        return f"{type.lower()}-{turns[type]}"

    found = v2_document.to_fhir(document, **({"patient": "Patient/p"} | places), new_id=new_id, now=NOW)
    *binaries, (type, id, reference) = found
    assert (type, id) == ("DocumentReference", "documentreference-1")
    assert [id for _, id, _ in binaries] == [f"binary-{n}" for n in range(1, len(binaries) + 1)]
    return [body for _, _, body in binaries], reference


@pytest.mark.parametrize("case", golden_files.cases("mdm_"), ids=lambda path: path.name)
def test_every_golden_message_gives_valid_r4(case: Path, validator: validate.Validator) -> None:
    try:
        document = read((case / "input.hl7").read_bytes())
    except (refusals.Missing, refusals.Incoherent):
        return
    assert validator.check(v2_identity.to_fhir(document.patient)) == []
    if document.operation != "delete":
        binaries, reference = filed(document, conversation="Communication/c", custodian="Organization/h")
        assert [issue for one in (*binaries, reference) for issue in validator.check(one)] == []


def test_the_pdf_comes_first_and_the_cda_second_with_their_digests() -> None:
    raw = a_cda("DOC-MSG0001", pdf=a_pdf("Lisible"))
    document = read(an_mdm(content=raw))
    binaries, reference = filed(document)
    assert [one["contentType"] for one in binaries] == ["application/pdf", "text/xml"]
    assert [base64.b64decode(one["data"]) for one in binaries] == [a_pdf("Lisible"), raw]
    first, second = (content["attachment"] for content in reference["content"])
    assert (first["url"], second["url"]) == ("Binary/binary-1", "Binary/binary-2")
    assert second["size"] == len(raw)
    assert base64.b64decode(second["hash"]) == hashlib.sha1(raw).digest()
    assert second["hash"] == document.hash
    assert all(one["securityContext"] == {"reference": "Patient/p"} for one in binaries)


def test_a_file_that_is_its_own_document_is_stored_once() -> None:
    document = read(an_mdm(content=a_pdf(), header=Header(declared=("application", "pdf"))))
    binaries, reference = filed(document)
    assert len(binaries) == len(reference["content"]) == 1
    assert reference["content"][0]["format"]["code"] == "urn:ihe:iti:xds:2017:mimeTypeSufficient"


def test_formats_come_from_the_template_of_the_document() -> None:
    structured = filed(read(an_mdm(content=a_cda("DOC-MSG0001", structured=True))))[1]
    unstructured = filed(read(an_mdm()))[1]
    assert structured["content"][1]["format"]["code"] == "urn:asip:ci-sis:ldl-ses:2017"
    assert unstructured["content"][1]["format"]["code"] == "urn:ihe:iti:xds-sd:pdf:2008"


def test_class_labels_and_context_are_filled() -> None:
    wishes = Wishes(yes=frozenset({"MASQUE_PS", "INVISIBLE_REP_LEGAUX", "CONNEXION_SECRETE", "MODIF_CONF_CODE"}))
    reference = filed(read(an_mdm(wishes=wishes)), conversation="Communication/c")[1]
    assert reference["category"][0]["coding"][0]["code"] == "10"
    assert [label["coding"][0]["code"] for label in reference["securityLabel"]] == [
        "N",
        "INVISIBLE_REPRESENTANTS_LEGAUX",
        "MASQUE_PS",
    ]
    context = reference["context"]
    assert context["related"] == [{"reference": "Communication/c"}]
    assert context["facilityType"]["coding"][0]["code"] == "SA01"
    assert context["practiceSetting"]["coding"][0]["code"] == "ETABLISSEMENT"
    assert context["period"] == {"start": "2026-11-16T09:00:00+01:00", "end": "2026-11-20T14:00:00+01:00"}
    assert context["sourcePatientInfo"] == {"reference": "#patient-1"}


def test_people_are_contained_unless_the_record_has_them() -> None:
    document = read(an_mdm())
    contained = filed(document)[1]
    role = next(one for one in contained["contained"] if one["id"] == contained["author"][0]["reference"][1:])
    assert role["specialty"][0]["coding"][0]["code"] == "SM04"
    assert contained["custodian"]["reference"].startswith("#organization")
    known = filed(document, author="PractitionerRole/a", custodian="Organization/o")[1]
    assert (known["author"], known["custodian"]) == (
        [{"reference": "PractitionerRole/a"}],
        {"reference": "Organization/o"},
    )


def test_without_a_cda_the_sender_is_the_author() -> None:
    document = read(an_mdm(content=a_pdf(), header=Header(declared=("application", "pdf"))))
    reference = filed(document)[1]
    practitioner = next(one for one in reference["contained"] if one["resourceType"] == "Practitioner")
    assert practitioner["identifier"][1] | {"type": None} == {
        "use": "official",
        "type": None,
        "system": systems.RPPS,
        "value": "99700000067",
    }
    assert "custodian" not in reference


def test_every_contained_resource_is_referenced() -> None:
    reference = filed(read(an_mdm()))[1]
    assert all(f"'#{one['id']}'" in str(reference) for one in reference["contained"])


def test_a_replacement_points_to_the_earlier_version_or_names_it() -> None:
    document = read(an_mdm("M2", parent_id="DOC-M1", header=Header(trigger="T10")))
    held = filed(document, replaces="DocumentReference/old")[1]["relatesTo"]
    assert held == [{"code": "replaces", "target": {"reference": "DocumentReference/old"}}]
    (unknown,) = filed(document)[1]["relatesTo"]
    assert unknown["target"]["identifier"]["value"] == "DOC-M1"


def test_an_earlier_version_is_superseded_or_withdrawn() -> None:
    old = {"resourceType": "DocumentReference", "id": "x", "status": "current", "docStatus": "final"}
    assert document_to_fhir.superseded(old)["status"] == "superseded"
    assert (
        document_to_fhir.withdrawn(old)["status"] == document_to_fhir.withdrawn(old)["docStatus"] == "entered-in-error"
    )
    assert old["status"] == "current"


@pytest.mark.parametrize(
    ("id", "master", "tokens"),
    [
        (Id("1.2.3"), ("urn:ietf:rfc:3986", "urn:oid:1.2.3"), ["urn:ietf:rfc:3986|urn:oid:1.2.3"]),
        (Id("1.2.3", "A"), ("urn:oid:1.2.3", "A"), ["urn:oid:1.2.3|A", "urn:ietf:rfc:3986|urn:oid:1.2.3^A"]),
        (Id("https://x/y", "26"), ("https://x/y", "26"), ["https://x/y|26"]),
    ],
)
def test_a_document_is_found_under_every_form_of_its_id(id: Id, master: tuple[str, str], tokens: list[str]) -> None:
    found = document_to_fhir.document_ids.master(id)
    assert (found["system"], found["value"]) == master
    assert document_to_fhir.search_tokens(id) == tokens


def test_a_document_without_a_time_gets_the_time_of_filing() -> None:
    raw = an_mdm(content=a_pdf(), header=Header(declared=("application", "pdf")))
    raw = raw.replace(b"|202611201430|", b"||").replace(b"|20261120143500|", b"||")
    assert filed(read(raw))[1]["date"] == "2026-11-20T13:40:00.000Z"


def test_a_cda_that_came_by_mail_is_filed_the_same_way(validator: validate.Validator) -> None:
    raw = a_cda("D9", person=Person(family="ROUX"))
    paper = cda_to_fhir.paper(raw, cda.read(raw, max_bytes=10**6), labels=frozenset({"INVISIBLE_PATIENT"}))
    found = document_to_fhir.to_fhir(paper, patient="Patient/p", new_id=lambda type, _: type.lower(), now=NOW)
    reference = found[-1][2]
    assert reference["masterIdentifier"]["system"] == f"urn:oid:{DOCUMENTS}"
    assert len(reference["securityLabel"]) == 2
    source = next(one for one in reference["contained"] if one["resourceType"] == "Patient")
    assert source["name"][0]["family"] == "ROUX"
    assert [issue for _, _, one in found for issue in validator.check(one)] == []


@pytest.mark.parametrize("element", [b"<id root", b"<code code"])
def test_a_cda_without_id_or_type_cannot_be_filed(element: bytes) -> None:
    raw = a_cda().replace(element, b"<x a", 1)
    with pytest.raises(refusals.Missing):
        cda_to_fhir.paper(raw, cda.read(raw, max_bytes=10**6))
