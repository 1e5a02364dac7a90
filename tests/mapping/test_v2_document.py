"""Which document does an MDM carry, and which messages are refused, with which code and where?"""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from mapping import document_ids, document_to_fhir, er7, refusals, systems, v2_content, v2_document
from mapping.cda_header import Id
from tests.builders_hl7 import DOCUMENTS, Header, Person, Wishes, a_cda, a_pdf, an_mdm

PAUL = ("899700000026", "LEFEBVRE", "Paul", "Paul.Lefebvre@demo.mssante.fr")


def read(raw: bytes) -> v2_document.Document:
    return v2_document.read(er7.read(raw), ins_authorities=systems.INS_WITH_TEST)


def codes(document: v2_document.Document) -> list[str]:
    return [note.code for note in document.tolerances]


def test_a_cda_around_a_pdf_gives_both() -> None:
    pdf = a_pdf("Bonjour")
    document = read(an_mdm("M1", content=a_cda("DOC-M1", pdf=pdf)))
    assert (document.operation, document.media_type) == ("create", "text/xml")
    assert document.cda
    assert document.cda.level == 1
    assert document.pdf == pdf
    assert document.title == "Lettre de liaison à la sortie"
    assert document.written == "2026-11-20T14:30:00+01:00"
    assert document.unique_id == Id(DOCUMENTS, "DOC-M1")
    assert (document.stay.kind, document.stay.number and document.stay.number.value) == ("I", "VN000117")
    assert document.tolerances == ()


def test_a_pdf_alone_is_the_document() -> None:
    document = read(an_mdm(content=a_pdf(), header=Header(declared=("application", "pdf"))))
    assert (document.media_type, document.header) == ("application/pdf", None)
    assert document.pdf == document.content
    assert document.type.code == "34112-3"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(b"\xff\xd8\xff\xe0rest", "image/jpeg"), (b"{\\rtf1 bonjour}", "text/rtf"), ("Simple été".encode(), "text/plain")],
)
def test_other_files_are_known_by_their_first_bytes(content: bytes, media_type: str) -> None:
    assert read(an_mdm(content=content, header=Header(declared=("application", "")))).media_type == media_type


def test_the_wishes_of_the_sender_are_read() -> None:
    yes = frozenset({"MASQUE_PS", "DESTDMP", "DESTMSSANTEPS", "ACK_RECEPTION"})
    wishes = Wishes(yes=yes, recipients=(PAUL,), reply_to="service@demo.mssante.fr", text="Bonjour,\nà demain.")
    document = read(an_mdm(wishes=wishes))
    assert document.labels == {"MASQUE_PS"}
    assert document.routes == {"DESTDMP", "DESTMSSANTEPS"}
    assert document.acks == {"ACK_RECEPTION"}
    assert document.mail.text == "Bonjour,\nà demain."
    assert document.mail.patient_may_reply
    assert [(one.kind, one.mssante, one.rpps) for one in document.recipients] == [
        ("professional", "paul.lefebvre@demo.mssante.fr", "99700000026")
    ]
    assert [one.mssante for one in document.reply_to] == ["service@demo.mssante.fr"]
    assert document.sender
    assert document.sender.organization_id == "129900040"


def test_nte_fin_asks_the_patient_not_to_answer() -> None:
    raw = an_mdm(wishes=Wishes(yes=frozenset({"DESTMSSANTEPAT"})))
    raw = raw.replace(b"OBX|10|", b"NTE|1|||FIN\rOBX|10|")
    assert not read(raw).mail.patient_may_reply


def test_a_replacement_names_what_it_replaces() -> None:
    document = read(an_mdm("M2", parent_id="DOC-M1", header=Header(trigger="T10")))
    assert (document.operation, document.parent_id) == ("replace", Id(DOCUMENTS, "DOC-M1"))
    assert document.tolerances == ()


def test_a_replacement_whose_cda_is_silent_follows_txa_13() -> None:
    raw = an_mdm("M2", parent_id="DOC-M1", content=a_cda("DOC-M2"), header=Header(trigger="T10"))
    assert codes(read(raw)) == ["replacement-unsaid-by-cda"]
    assert read(raw).parent_id == Id(DOCUMENTS, "DOC-M1")


def test_a_deletion_needs_no_content() -> None:
    raw = an_mdm("M3", document_id="DOC-M1", content=b"", header=Header(trigger="T04"))
    document = read(raw)
    assert (document.operation, document.content, document.unique_id.extension) == ("delete", b"", "DOC-M1")
    assert codes(document) == ["delete-without-content"]


@pytest.mark.parametrize(
    ("order", "status", "expected"),
    [("SC", "F", ["order-status-only"]), ("", "F", ["order-missing"]), ("NW", "", ["result-status-missing"])],
)
def test_what_older_profiles_leave_out_is_tolerated_and_counted(order: str, status: str, expected: list[str]) -> None:
    assert codes(read(an_mdm(header=Header(order=order, status=status)))) == expected


@pytest.mark.parametrize(
    ("header", "at"),
    [
        (Header(order="RO"), "ORC-1"),
        (Header(order="CA"), "ORC-1"),
        (Header(status="C"), "OBX-11"),
        (Header(trigger="T04", status="F"), "OBX-11"),
        (Header(trigger="T10", order="NW"), "ORC-1"),
    ],
)
def test_trigger_order_and_status_must_agree(header: Header, at: str) -> None:
    with pytest.raises(refusals.Incoherent) as refused:
        read(an_mdm(parent_id="DOC-0", header=header))
    assert (refused.value.at, refused.value.hl7, refused.value.hl7_application) == (at, "207", "906")


def test_a_new_document_whose_cda_replaces_another_is_incoherent() -> None:
    with pytest.raises(refusals.Incoherent):
        read(an_mdm(content=a_cda("DOC-MSG0001", replaces="DOC-0")))


@pytest.mark.parametrize(
    ("old", "new", "kind", "at", "hl7"),
    [
        (b"MDM^T02^MDM_T02", b"ORU^R01^ORU_R01", refusals.UnsupportedType, "MSH-9.1", "200"),
        (b"MDM^T02^MDM_T02", b"MDM^T06^MDM_T02", refusals.UnsupportedEvent, "MSH-9.2", "201"),
        (b"|P|2.6|", b"|P|3.0|", refusals.UnsupportedVersion, "MSH-12", "203"),
        (b"|MSG0001|", b"||", refusals.Missing, "MSH-10", "101"),
        (b"\rPID|", b"\rZID|", refusals.MissingSegment, "PID", "100"),
        (b"\rTXA|", b"\rZXA|", refusals.MissingSegment, "TXA", "100"),
        (b"OBX|1|ED|", b"OBX|1|TX|", refusals.Missing, "OBX-2", "101"),
        (b"^Base64^", b"^Hex^", errors.Invalid, "OBX-5.4", "103"),
        (b"MASQUE_PS^^MetaDMPMSS||N^", b"MASQUE_PS^^MetaDMPMSS||?^", errors.Invalid, "OBX[2]-5", "103"),
        (b"MASQUE_PS^^MetaDMPMSS||N^", b"MASQUE_PS^^MetaDMPMSS||^", refusals.Missing, "OBX[2]-5", "101"),
    ],
)
def test_a_refusal_has_its_code_and_its_place(old: bytes, new: bytes, kind: type, at: str, hl7: str) -> None:
    raw = an_mdm()
    assert old in raw
    with pytest.raises(kind) as refused:
        read(raw.replace(old, new, 1))
    assert (refused.value.at, refused.value.hl7) == (at, hl7)


def test_a_document_without_any_identifier_is_refused_at_txa_12() -> None:
    raw = an_mdm(content=a_pdf(), header=Header(declared=("application", "pdf")))
    with pytest.raises(refusals.Missing) as refused:
        read(raw.replace(f"DOC-MSG0001^^{DOCUMENTS}^ISO".encode(), b""))
    assert refused.value.at == "TXA-12"


@pytest.mark.parametrize("content", [b"", b"\0\1\2\3", b"<html><body>", b"<a></a>"])
def test_contents_that_are_no_document_are_refused_at_obx_5(content: bytes) -> None:
    with pytest.raises(errors.Invalid) as refused:
        read(an_mdm(content=content))
    assert refused.value.at == "OBX-5"


def test_a_text_that_claims_to_be_a_pdf_is_refused() -> None:
    with pytest.raises(refusals.WrongType):
        read(an_mdm(content=b"bonjour", header=Header(declared=("application", "pdf"))))


def test_a_document_over_the_limit_is_refused() -> None:
    message = er7.read(an_mdm(content=a_pdf(size=100_000), header=Header(declared=("application", "pdf"))))
    with pytest.raises(errors.TooLarge):
        v2_document.read(message, max_bytes=50_000)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_base64_is_read_without_its_padding(cut: int) -> None:
    content = b"Document" + b"x" * cut
    raw = an_mdm(content=content)
    bare = raw.replace(base64.b64encode(content), base64.b64encode(content).rstrip(b"="))
    assert read(bare).content == content
    assert ("base64-unpadded" in codes(read(bare))) == (bare != raw)


def test_base64_of_an_impossible_length_is_refused_for_a_document() -> None:
    raw = an_mdm(content=b"Document12").replace(b"RG9jdW1lbnQxMg==", b"RG9jdW1lbnQxM")
    with pytest.raises(refusals.WrongType, match="13 caractères"):
        read(raw)


def test_base64_of_an_impossible_length_is_dropped_for_a_letter() -> None:
    letter = base64.b64encode(b"Bonjour Paul")
    raw = an_mdm(wishes=Wishes(text="Bonjour Paul")).replace(letter, letter + b"A")
    document = read(raw)
    assert document.mail.text == ""
    assert codes(document) == ["mail-body-undecodable"]


@given(st.binary(max_size=300))
def test_base64_comes_back_folded_or_not(data: bytes) -> None:
    encoded = base64.encodebytes(data).strip()
    if encoded:
        assert v2_content.decode(encoded, "OBX-5")[0] == data
        assert v2_content.decode(base64.b64encode(data).rstrip(b"="), "OBX-5")[0] == data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A71^^1.2.250.1.9^ISO", Id("1.2.250.1.9", "A71")),
        ("1.2.250.1.9.71", Id("1.2.250.1.9.71")),
        ("1.2.250.1.9.A71^Organisation", Id("1.2.250.1.9", "A71")),
        ("1.2.250.1.9A71^Organisation", Id("1.2.250.1.9", "A71")),
        ("2638", Id("urn:local", "2638")),
        ("", None),
    ],
)
def test_a_document_identifier_is_found_in_every_form(text: str, expected: Id | None) -> None:
    assert document_ids.read(er7.repetition(text.encode(), er7.Syntax()), local="urn:local") == expected


def test_the_cda_wins_over_the_message() -> None:
    document = read(an_mdm(document_id="OTHER", content=a_cda("DOC-1", title="Titre")))
    assert (document.unique_id.extension, document.title) == ("DOC-1", "Titre")
    assert codes(document) == ["unique-id-differs"]


def test_a_broken_pdf_inside_a_cda_is_kept_as_bytes() -> None:
    document = read(an_mdm(content=a_cda("DOC-MSG0001", pdf=b"not a pdf")))
    assert document.pdf is None
    assert document.readable == document_to_fhir.File("application/octet-stream", b"not a pdf")
    assert codes(document) == ["embedded-pdf-broken"]


def test_a_french_name_arrives_in_8859_15() -> None:
    header = Header(charset="8859/15", encoding="iso8859-15")
    assert read(an_mdm(person=Person(family="CŒUR"), header=header)).patient.birth_name == "CŒUR"
