"""Does everything measured on the public samples hold for our reader?"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from lxml import etree

from mapping import cda, er7, refusals, systems, v2_checks, v2_content, v2_document, v2_identity, v2_metadata
from tests.mapping import samples

V2 = [
    path
    for folder in ("hl7v2/*/*", "mssante/hl7v2/*")
    for path in samples.files(folder)
    if path.suffix[1:3] in ("hl", "er")
]
CDA = samples.files("hl7v2/cda-fr/*.xml")
BASE64 = "hl7v2/fr-doc/v2.0_mdm_T02_init_base64.er7"


def read(name: str) -> v2_document.Document:
    return v2_document.read(er7.read(samples.read(name)), ins_authorities=systems.INS_WITH_TEST)


def codes(document: v2_document.Document) -> set[str]:
    return {note.code for note in document.tolerances}


@pytest.mark.parametrize("path", V2, ids=lambda path: path.name)
def test_every_sample_is_read_without_loss(path: Path) -> None:
    raw = path.read_bytes()
    canonical = re.sub(rb"[\r\n]+", b"\r", raw.removeprefix(b"\xef\xbb\xbf")).rstrip(b"\r") + b"\r"
    assert er7.write(er7.read(raw)) == canonical


@pytest.mark.parametrize(
    "path",
    [path for path in V2 if b"MDM^T" in path.read_bytes()[:200] and "intl" not in path.parts],
    ids=lambda path: path.name,
)
def test_every_french_mdm_gives_a_document(path: Path) -> None:
    raw = path.read_bytes()
    if b"|MDM^T" not in raw.split(b"\n", 1)[0]:
        pytest.skip("an acknowledgement")
    document = v2_document.read(er7.read(raw), ins_authorities=systems.INS_WITH_TEST)
    assert document.content
    assert document.type.system == "http://loinc.org"
    assert document.patient.ins
    assert document.unique_id.extension or document.unique_id.root


def test_a_bom_and_declared_repetition_of_two_bytes_and_doubled_escape_are_read() -> None:
    assert er7.read(samples.read("hl7v2/intl/LAB-ORU-1.hl7")).tolerances[0].code == "byte-order-mark"
    message = er7.read(samples.read("hl7v2/fr-doc/v2.0_oru_init_two_docs_stub.hl7"))
    assert len(message.segments("PID")[0].repetitions(11)) == 2
    for name in ("lfh_sample_unix_eol", "lfh_sample_windows_eol"):
        lfh = er7.read(samples.read(f"hl7v2/intl/{name}.hl7"))
        assert "separator-doubled" in {note.code for note in lfh.tolerances}
        assert lfh.text("PID-5.1") == "DOE"
    assert len(er7.read(samples.read("hl7v2/intl/lfh_oru_mixed_eol.hl7")).segments("OBX")) == 4


def test_the_full_base64_sample_holds_the_document_it_should() -> None:
    document = read(BASE64)
    assert len(document.content) == 245_855
    assert hashlib.sha256(document.content).hexdigest().startswith("29024a31")
    expected = etree.fromstring(samples.read("hl7v2/fr-doc/v2.0_mdm_T02_init_expected_cda.xml"))
    found = cda.parse(document.content, max_bytes=10**6)
    assert sum(1 for _ in found.iter("*")) in range(
        sum(1 for _ in expected.iter("*")) - 1, sum(1 for _ in expected.iter("*")) + 2
    )
    assert document.pdf is not None
    assert document.pdf.startswith(b"%PDF-1.5")
    assert len(document.mail.text.encode()) == 70
    assert document.mail.text.startswith("Cher confrère, vous trouverez")


def test_glued_identifiers_of_the_samples_meet_those_of_their_cda() -> None:
    assert read(BASE64).unique_id == read("hl7v2/fr-doc/v2.0_mdm_T10_replace_stub.er7").parent_id
    assert "unique-id-differs" not in codes(read(BASE64))


def test_the_cut_mail_body_of_the_oru_family_is_dropped_and_counted() -> None:
    message = er7.read(samples.read("hl7v2/fr-doc/v2.0_oru_init_two_docs_stub.hl7"))
    body = next(one for one in v2_metadata.observations(message) if one.code == "CORPSMAIL_PS")
    text, notes = v2_content.text(body.obx)
    assert text == ""
    assert [note.code for note in notes] == ["mail-body-undecodable"]
    with pytest.raises(refusals.WrongType, match="93 caractères"):
        v2_content.decode(body.obx.first(5).components[4], "OBX[11]-5")


def test_authorities_are_compared_by_oid_and_cx_8_of_the_ins_is_ignored() -> None:
    document = read("hl7v2/fr-doc/v2.0_mdm_T02_init_stub.er7")
    assert document.sender
    assert (document.sender.kind, document.sender.rpps) == ("professional", "01234564895")
    assert document.patient.ins
    assert document.patient.ins.value == "274075176079430"
    assert {"ins-with-dates", "order-missing", "text-for-document"} <= codes(document)


def test_the_stub_that_stops_inside_the_xml_declaration_is_text() -> None:
    document = read("mssante/hl7v2/lps-v1.0_MDM_message.hl7")
    assert (document.media_type, document.content[:5]) == ("text/plain", b"<?xml")


def test_the_empty_ed_of_the_international_sample_is_refused_at_obx_5() -> None:
    with pytest.raises(refusals.Missing) as refused:
        read("hl7v2/intl/MDM-T02-01.hl7")
    assert (refused.value.hl7, refused.value.at) == ("101", "OBX[2]-5")


def test_the_lps_sample_whose_cda_is_about_another_ins_is_readable_and_then_refused() -> None:
    document = read("hl7v2/fr-lps/v1.0_lps_mdm_doc_base64.hl7")
    assert "unique-id-differs" in codes(document)
    assert document.unique_id.root == "1.2.250.1.999.1.2022.2050151324.1"
    with pytest.raises(refusals.PatientMismatch) as refused:
        v2_checks.identity(document)
    assert refused.value.hl7_application == "904"


def test_the_lps_replacement_of_itself_is_counted() -> None:
    assert "replaces-itself" in codes(read("mssante/hl7v2/lps-v1.0_MDM-T10_replace_short.er7"))


@pytest.mark.parametrize("path", samples.files("hl7v2/fr-pam/*"), ids=lambda path: path.name)
def test_the_identities_of_the_pam_samples_are_qualified(path: Path) -> None:
    pid = er7.read(path.read_bytes()).segments("PID")[0]
    identity = v2_identity.read(pid, ins_authorities=systems.INS_WITH_TEST)
    assert identity.ins
    assert [one.value for one in identity.local] == ["000003"]
    assert v2_identity.to_fhir(identity)["meta"]["profile"] == [systems.FR_PATIENT_INS]


@pytest.mark.parametrize("path", CDA, ids=lambda path: path.name)
def test_every_french_cda_gives_its_header(path: Path) -> None:
    found = cda.read(path.read_bytes(), max_bytes=10**7)
    header = found.header
    assert found.level == 3
    assert header.id
    assert header.code
    assert header.title
    assert header.written
    assert header.patient.birth_date
    assert header.authors[0].family or header.authors[0].device
    assert header.custodian
    assert header.encounter


def test_the_pdf_copy_of_a_structured_report_is_found() -> None:
    found = cda.read(samples.read("hl7v2/cda-fr/BIO-CR-BIO_2024.01_TSH_1.xml"), max_bytes=10**7)
    assert found.body
    assert (found.body.media_type, found.body.data[:5], len(found.body.data)) == ("application/pdf", b"%PDF-", 78_777)
