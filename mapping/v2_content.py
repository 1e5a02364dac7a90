"""Which file does this ED hold? OBX-5 of a document or of a mail body, decoded and looked at.

HL7 v2 ED: .2 and .3 media type, .4 encoding, .5 data. What the bytes are wins over what the field says: profiles
disagree on TEXT, text, application, and the official "stub" examples declare XML around a line of text.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from common import errors
from mapping import cda, er7, refusals
from mapping.tolerance import Tolerance, note

CDA, PDF, TEXT = "text/xml", "application/pdf", "text/plain"
_SIGNATURES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"{\\rtf": "text/rtf",
}
_TAG = re.compile(rb"<(?:[A-Za-z_:]|!DOCTYPE)")


@dataclass(frozen=True, slots=True)
class Content:
    """A decoded file. `cda` is there when it is one."""

    data: bytes
    media_type: str
    cda: cda.Cda | None
    tolerances: tuple[Tolerance, ...]


def is_pdf(data: bytes) -> bool:
    """Whether the bytes start as a PDF does; a little junk before the mark is common (ISO 32000, annex on readers)."""
    return b"%PDF-" in data[:1024]


def is_empty(obx: er7.Segment) -> bool:
    """Whether OBX-5 holds no file."""
    return not obx.first(5).raw(5).strip()


def read(obx: er7.Segment, *, max_bytes: int) -> Content:
    """The document of an OBX. Raises Missing, WrongType or errors.Invalid at OBX-5, errors.TooLarge."""
    at = obx.at(5)
    parts = obx.first(5).components
    encoded = parts[4].strip() if len(parts) > 4 else b""
    if not encoded:
        raise refusals.Missing("le document est vide : OBX-5.5 doit porter le fichier en Base64", at=at)
    encoding = parts[3].strip().lower()
    if encoding != b"base64":
        raise errors.Invalid("encodage du document non pris en charge : utiliser Base64 (OBX-5.4)", at=obx.at(5, 4))
    if len(encoded) // 4 * 3 > max_bytes:
        raise errors.TooLarge(f"le document dépasse {max_bytes // 2**20} Mio", at=at)
    data, notes = decode(encoded, at)
    if not data:
        raise refusals.Missing("le document est vide : OBX-5.5 doit porter le fichier en Base64", at=at)
    return _look(data, parts, obx=obx, notes=notes, max_bytes=max_bytes)


def decode(encoded: bytes, at: str) -> tuple[bytes, list[Tolerance]]:
    """Base64, padded or not, folded or not. Raises WrongType at `at`."""
    notes = []
    compact = encoded
    if b" " in encoded or b"\n" in encoded or b"\\" in encoded:  # folded lines, also as an HL7 line break
        compact = b"".join(encoded.replace(b"\\.br\\", b"").split())
    bare = compact.rstrip(b"=")
    if len(bare) % 4 == 1:
        raise refusals.WrongType(
            f"Base64 tronqué : {len(bare)} caractères, un de trop ou au moins deux manquants", at=at
        )
    if len(compact) % 4:
        # Official profile 1.2 and 2.1 documents come without their `=` padding.
        notes.append(note("base64-unpadded", at))
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True), notes
    except binascii.Error:
        raise refusals.WrongType("le document n'est pas du Base64 valide", at=at) from None


def text(obx: er7.Segment) -> tuple[str, list[Tolerance]]:
    """A mail body: "" and a tolerance when it cannot be decoded, for the document matters more than its letter."""
    at = obx.at(5)
    parts = obx.first(5).components
    encoded = parts[4].strip() if len(parts) > 4 else b""
    if len(parts) > 3 and parts[3].strip().lower() != b"base64":
        return obx.syntax.text(encoded), []
    try:
        data, notes = decode(encoded, at)
    except refusals.WrongType:
        return "", [note("mail-body-undecodable", at)]
    return _decoded_text(data), notes


def _look(
    data: bytes, parts: tuple[bytes, ...], *, obx: er7.Segment, notes: list[Tolerance], max_bytes: int
) -> Content:
    at = obx.at(5)
    declared = obx.syntax.text(b"/".join(parts[1:3])).strip().lower()
    media_type = _media_type(data)
    if media_type == CDA:
        found = cda.read(data, max_bytes=max_bytes, at=at)
        return Content(data, CDA, found, (*notes, *_differs("pdf" in declared, at)))
    if "pdf" in declared and media_type != PDF:
        raise refusals.WrongType("le document est annoncé comme PDF et n'en est pas un", at=at)
    if media_type == TEXT and any(byte < 32 and byte not in b"\t\n\r\f" for byte in data[:4096]):
        raise refusals.WrongType("le contenu n'est ni un CDA, ni un PDF, ni un texte, ni une image connue", at=at)
    if media_type == TEXT and "xml" in declared:
        # fr-doc/v2.0_mdm_T02_init_stub.er7 and its like: `^text^XML^Base64^` around one line of plain text.
        return Content(data, TEXT, None, (*notes, note("text-for-document", at)))
    return Content(data, media_type, None, (*notes, *_differs("xml" in declared, at)))


def _media_type(data: bytes) -> str:
    if data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        # lps-v1.0_MDM_message.hl7 stops inside the XML declaration: without any tag it is a stub, not a broken CDA.
        return CDA if _TAG.search(data) else TEXT
    if is_pdf(data):
        return PDF
    return next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), TEXT)


def _differs(is_other: bool, at: str) -> list[Tolerance]:
    return [note("media-type-differs", at)] if is_other else []


def _decoded_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("iso8859-15")
