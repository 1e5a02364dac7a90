"""Is a CDA read whole, and is a hostile one stopped before it costs anything?"""

from __future__ import annotations

import base64
import time

import pytest

from common import errors
from mapping import cda
from tests.builders_hl7 import a_cda, a_pdf

LIMIT = 30 * 2**20
NAMESPACE = 'xmlns="urn:hl7-org:v3"'


def wrapped(inside: str, declaration: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    return f"{declaration}<ClinicalDocument {NAMESPACE}>{inside}</ClinicalDocument>".encode()


def test_the_header_says_who_what_and_when() -> None:
    header = cda.read(a_cda("D1"), max_bytes=LIMIT).header
    assert header.id == cda.cda_header.Id("1.2.250.1.71.4.2.2.129900040.1", "D1")
    assert header.code
    assert (header.code.code, header.code.system) == ("34112-3", "http://loinc.org")
    assert (header.language, header.confidentiality) == ("fr-FR", "N")
    author = header.authors[0]
    assert (author.family, author.given, author.suffix) == ("SOULIE", "Anne", "DR")
    assert author.role
    assert author.role.code == "G15_10/SM04"
    assert author.organization
    assert header.custodian == author.organization
    assert header.encounter
    assert header.encounter.facility
    assert header.encounter.facility.code == "SA01"
    assert header.events[0].end == "2026-11-20T14:00:00+01:00"
    assert (header.patient.family, header.patient.birth_date) == ("DELMAS", "1948-05-12")
    assert header.parents == ()


def test_a_replacement_names_its_parent() -> None:
    (parent,) = cda.read(a_cda("D2", replaces="D1"), max_bytes=LIMIT).header.parents
    assert parent.relation == "RPLC"
    assert parent.id
    assert parent.id.extension == "D1"


@pytest.mark.parametrize("structured", [False, True])
def test_the_pdf_is_found_in_both_levels(structured: bool) -> None:
    pdf = a_pdf("Contenu")
    found = cda.read(a_cda(pdf=pdf, structured=structured), max_bytes=LIMIT)
    assert found.level == (3 if structured else 1)
    assert found.body == cda.Body("application/pdf", pdf)


def test_an_empty_header_is_read_as_unknown() -> None:
    found = cda.read(wrapped('<id nullFlavor="UNK"/><code nullFlavor="UNK" code="1"/>'), max_bytes=LIMIT)
    assert (found.header.id, found.header.code, found.header.patient.ids, found.body) == (None, None, (), None)


def test_a_text_body_is_read_without_base64() -> None:
    body = '<component><nonXMLBody><text mediaType="text/plain">Bonjour &amp; merci</text></nonXMLBody></component>'
    assert cda.read(wrapped(body), max_bytes=LIMIT).body == cda.Body("text/plain", b"Bonjour & merci")


def test_a_declaration_may_be_missing_or_name_a_latin_encoding() -> None:
    assert cda.read(wrapped("<title>\xc9t\xe9</title>", ""), max_bytes=LIMIT).header.title == "\xc9t\xe9"
    latin = wrapped("<title>5 €</title>", '<?xml version="1.0" encoding="ISO-8859-15"?>').decode().encode("iso8859-15")
    assert cda.read(b"\xef\xbb\xbf" + wrapped("<title>x</title>"), max_bytes=LIMIT).header.title == "x"
    assert cda.read(latin, max_bytes=LIMIT).header.title == "5 €"


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "doctype": b'<?xml version="1.0"?><!DOCTYPE x><ClinicalDocument xmlns="urn:hl7-org:v3"/>',
    "billion laughs": f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>'.encode() + wrapped("&l9;", ""),
    "external file": b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + wrapped("&f;", ""),
    "external dtd": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><ClinicalDocument xmlns="urn:hl7-org:v3"/>',
    "utf-16": f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x><ClinicalDocument {NAMESPACE}/>'.encode("utf-16"),
    "utf-16 without mark": "<!DOCTYPE x><a/>".encode("utf-16-le"),
    "utf-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-<a/>',
    "utf-7 declared far": b'<?xml version="1.0"' + b" " * 400 + b'encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-+ADw-a/+AD4-',
    "ebcdic": '<?xml version="1.0" encoding="cp037"?><a/>'.encode("cp037"),
    "undefined entity": wrapped("<title>&nbsp;</title>"),
    "too deep": wrapped("<a>" * 300 + "</a>" * 300),
    "too deep and large": wrapped("<a>" * 300 + "x" * 9_500_000 + "</a>" * 300),
    "too many elements": wrapped("<a/>" * 500_000),
    "too many attributes": wrapped("<a " + " ".join(f'b{n}=""' for n in range(700_000)) + "/>"),
    "cut": a_cda()[:2000],
    "not a cda": b"<html xmlns='http://www.w3.org/1999/xhtml'/>",
    "no namespace": b"<ClinicalDocument/>",
    "bad bytes": wrapped("<title>x</title>").replace(b"x</title>", b"\xff</title>"),
    "bad base64": a_cda().replace(b'representation="B64">', b'representation="B64">!'),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_broken_document_is_refused_quickly(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(errors.Invalid) as refused:
        cda.read(HOSTILE[name], max_bytes=LIMIT, at="OBX-5")
    assert refused.value.at == "OBX-5"
    assert time.monotonic() - began < 2


def test_a_doctype_is_named_in_french() -> None:
    with pytest.raises(errors.Invalid, match="DOCTYPE"):
        cda.read(HOSTILE["doctype"], max_bytes=LIMIT)


def test_a_document_over_the_limit_is_refused() -> None:
    with pytest.raises(errors.TooLarge):
        cda.read(a_cda(), max_bytes=100)


def test_a_pdf_over_the_parser_s_own_limit_is_read() -> None:
    pdf = a_pdf(size=12 * 2**20)
    began = time.monotonic()
    found = cda.read(a_cda(pdf=pdf), max_bytes=LIMIT)
    assert found.body
    assert found.body.data == pdf
    assert time.monotonic() - began < 2


def test_base64_in_lines_is_read() -> None:
    pdf = a_pdf("Lignes")
    folded = base64.encodebytes(pdf)
    raw = a_cda(pdf=pdf).replace(base64.b64encode(pdf), folded)
    found = cda.read(raw, max_bytes=LIMIT)
    assert found.body
    assert found.body.data == pdf
