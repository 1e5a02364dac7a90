"""What is in these CDA bytes: the header, and the readable body inside? Safely, whoever wrote them.

HL7 CDA R2 as constrained by CI-SIS, "Structuration minimale de documents de santé". A document that a hospital sends
has no use for a DTD: with one it is refused before any parser sees it, so no entity can grow and nothing is fetched.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from lxml import etree

from common import errors
from mapping import cda_header
from mapping.cda_header import NS

MAX_ELEMENTS = 200_000
MAX_ATTRIBUTES = 600_000
MAX_DEPTH = 256  # what libxml2 allows without huge_tree; kept when huge_tree lifts it
_TEXT_LIMIT = 9_000_000  # libxml2 refuses text nodes over 10,000,000 bytes without huge_tree
_DECLARATION = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_ENCODINGS = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "us-ascii"} | {
    name: name for name in ("iso-8859-1", "iso-8859-15", "windows-1252")
}


@dataclass(frozen=True, slots=True)
class Body:
    """What a person reads inside the CDA: the body of a level 1, or the PDF copy that a level 3 carries."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Cda:
    """A document. `level` is 1 (a file in a CDA envelope) or 3 (structured)."""

    header: cda_header.Header
    body: Body | None
    level: int


def read(raw: bytes, *, max_bytes: int, at: str = "OBX-5") -> Cda:
    """A CDA from its bytes. Raises errors.Invalid at `at`, errors.TooLarge over `max_bytes`."""
    root = parse(raw, max_bytes=max_bytes, at=at)
    if root.tag != f"{NS}ClinicalDocument":
        raise errors.Invalid("le document XML n'est pas un CDA (racine ClinicalDocument attendue)", at=at)
    unstructured = root.find(f"{NS}component/{NS}nonXMLBody/{NS}text")
    if unstructured is not None:
        return Cda(cda_header.read(root), _body(unstructured, at), 1)
    # The PDF copy of a structured document sits in section 55108-5: BIO-CR-BIO_2024.01_TSH_1.xml.
    copies = (media.find(f"{NS}value") for media in root.iter(f"{NS}observationMedia"))
    copy = next((value for value in copies if value is not None and value.get("mediaType") == "application/pdf"), None)
    return Cda(cda_header.read(root), None if copy is None else _body(copy, at), 3)


def parse(raw: bytes, *, max_bytes: int, at: str = "") -> etree._Element:
    """The root element. No DTD, no entity, no network; size, elements, attributes and depth are bounded.

    The bounds are counted on the bytes, where `<` and `=` are upper limits of elements and attributes, because only
    encodings that write ASCII as ASCII are let in.
    """
    if len(raw) > max_bytes:
        raise errors.TooLarge(f"le document XML dépasse {max_bytes // 2**20} Mio", at=at)
    raw = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
    encoding = _encoding(raw, at)
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise errors.Invalid("le document XML contient une DTD ou une entité (DOCTYPE) : interdit", at=at)
    if raw.count(b"<") > 2 * MAX_ELEMENTS or raw.count(b"=") > MAX_ATTRIBUTES:
        raise errors.Invalid("le document XML contient trop d'éléments", at=at)
    try:
        root = _huge(raw, encoding, at) if len(raw) > _TEXT_LIMIT else etree.fromstring(raw, _parser(encoding))
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise errors.Invalid(f"le document XML est mal formé (ligne {line}, colonne {column})", at=at) from None
    except (ValueError, LookupError):
        raise errors.Invalid("le document XML est illisible", at=at) from None
    return root


def _encoding(raw: bytes, at: str) -> str:
    """The declared encoding if it writes ASCII as ASCII; UTF-16, UTF-7 or EBCDIC would hide a DTD from the check."""
    if b"\0" in raw[:64] or raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise errors.Invalid("le document XML n'est pas en UTF-8", at=at)
    declared = _DECLARATION.match(raw)
    name = declared[1].decode("ascii").lower() if declared else "utf-8"
    if name not in _ENCODINGS:
        raise errors.Invalid("le document XML déclare un encodage non admis : utiliser UTF-8", at=at)
    return _ENCODINGS[name]


def _parser(encoding: str) -> etree.XMLParser:
    return etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def _huge(raw: bytes, encoding: str, at: str) -> etree._Element:
    """The same for a document whose embedded PDF may pass libxml2's limit on text: the depth is watched here."""
    parser = etree.XMLPullParser(
        events=("start", "end"),
        encoding=encoding,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    depth = 0
    for start in range(0, len(raw), 2**20):
        parser.feed(raw[start : start + 2**20])
        for event, _ in parser.read_events():
            depth += 1 if event == "start" else -1
            if depth > MAX_DEPTH:
                raise errors.Invalid("le document XML est trop imbriqué", at=at)
    root = parser.close()
    return root


def _body(text: etree._Element, at: str) -> Body:
    """The embedded file: Base64 unless it says otherwise (a level 1 may hold plain text)."""
    media_type = text.get("mediaType", "text/plain")
    content = "".join(map(str, text.itertext()))
    if text.get("representation") != "B64":
        return Body(media_type, content.strip().encode())
    try:
        return Body(media_type, base64.b64decode("".join(content.split()), validate=True))
    except binascii.Error:
        raise errors.Invalid("le fichier inclus dans le CDA n'est pas du Base64 valide", at=at) from None
