"""How is this mail built? Raw bytes to a tree of parts.

RFC 2045 and 2046. Own splitter instead of the standard parser: that one reads line by line (seconds for a large
attachment, in the event loop), has no bound on depth or number of parts, and turns broken structure into text
without a word. Here the structure is found with `bytes.find`, bounded before work is done, and content that would
be lost is a refusal. `tests/mss/test_mime.py` compares the two on the mails both understand.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from itertools import islice

from common import errors
from mss import charsets, headers


class Unparsable(errors.Unreadable):
    """A mail that cannot be understood without losing content; `message` is the French cause for the sender."""

    code = "mail-unparsable"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one mail may cost. Sizes in bytes."""

    raw: int = 40 * 2**20
    header: int = 256 * 2**10
    parts: int = 200
    depth: int = 12
    text: int = 10 * 2**20
    archive_unpacked: int = 200 * 2**20
    archive_entries: int = 500


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a leaf has `body` (still transfer-encoded), a multipart has `children`."""

    fields: headers.Fields
    media_type: str
    parameters: dict[str, str]
    body: bytes
    children: tuple[Part, ...]

    @property
    def disposition(self) -> str:
        """ "attachment", "inline" or ""."""
        return headers.parameters(headers.first(self.fields, "content-disposition") or "")[0]

    @property
    def filename(self) -> str:
        """The file name as written by the sender, decoded but not yet made safe; may be empty."""
        named = headers.parameters(headers.first(self.fields, "content-disposition") or "")[1]
        return named.get("filename") or self.parameters.get("name", "")

    @property
    def content_id(self) -> str | None:
        """The Content-ID without angle brackets."""
        return next(iter(headers.ids(headers.first(self.fields, "content-id"))), None)


_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+\Z")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
_CHUNK = re.compile(rb"[^=]+")
_MOST_CHUNKS = 1_000_000  # 40 MB in padded lines are half of that


def split(raw: bytes, limits: Limits) -> Part:
    """The tree of parts of a mail. Raises Unparsable or errors.TooLarge."""
    if len(raw) > limits.raw:
        raise errors.TooLarge(f"Ce courriel dépasse {limits.raw // 2**20} Mo.")
    return _Splitter(raw, limits).part(0, len(raw), "text/plain", 0)


def content(part: Part) -> bytes:
    """The bytes of a leaf, transfer encoding removed. Raises Unparsable when bytes would be lost."""
    form = (headers.first(part.fields, "content-transfer-encoding") or "7bit").partition(";")[0].strip().lower()
    if form == "base64":
        return _base64(part.body, part.filename)
    if form == "quoted-printable":
        return binascii.a2b_qp(part.body)
    if form in ("7bit", "8bit", "binary", ""):
        return part.body
    raise Unparsable(f"Une partie de ce courriel est codée d'une façon inconnue ({form[:40]}).", at="content")


def text(part: Part) -> str:
    """A text leaf as text. Raises Unparsable."""
    try:
        return charsets.text(content(part), part.parameters.get("charset", ""))
    except charsets.Undecodable as error:
        raise Unparsable(error.message, at=error.at) from error


class _Splitter:
    """Walks one mail with the bounds in hand; offsets instead of copies until a leaf is reached."""

    def __init__(self, raw: bytes, limits: Limits) -> None:
        self.raw, self.limits, self.parts = raw, limits, 0

    def part(self, start: int, end: int, default: str, depth: int) -> Part:
        self.parts += 1
        if self.parts > self.limits.parts or depth > self.limits.depth:
            raise Unparsable("Ce courriel contient trop de parties imbriquées ; envoyez les fichiers directement.")
        fields, body = self.header(start, end)
        media_type, parameters = _content_type(fields, default)
        if not media_type.startswith("multipart/"):
            return Part(fields, media_type, parameters, self.raw[body:end], ())
        inner = "message/rfc822" if media_type == "multipart/digest" else "text/plain"
        regions = self.regions(body, end, parameters.get("boundary", ""))
        children = tuple(self.part(first, last, inner, depth + 1) for first, last in regions)
        return Part(fields, media_type, parameters, b"", children)

    def header(self, start: int, end: int) -> tuple[headers.Fields, int]:
        block = self.raw[start : min(end, start + self.limits.header + 2)]
        fields, length = headers.fields(block)
        if length > self.limits.header:
            raise errors.TooLarge("L'en-tête de ce courriel est démesuré.", at="header")
        return fields, start + length

    def regions(self, start: int, end: int, boundary: str) -> list[tuple[int, int]]:
        """Where the children are, between the delimiter lines (RFC 2046 5.1.1)."""
        found: list[tuple[int, int]] = []
        opened: int | None = None
        for at, after, is_last in self.delimiters(start, end, boundary):
            if opened is not None:
                found.append((opened, max(opened, self.before_newline(at))))
            opened = None if is_last else after
            if is_last or len(found) > self.limits.parts:
                break
        if opened is not None:
            # The closing line is missing: what is there is read, and a cut attachment fails when it is decoded.
            found.append((opened, end))
        if not found and self.raw[start:end].strip():
            raise Unparsable("La structure de ce courriel est abîmée : les parties annoncées sont introuvables.")
        return found

    def delimiters(self, start: int, end: int, boundary: str) -> list[tuple[int, int, bool]]:
        """(start of the line, start of the next line, is it the closing one) of each delimiter line."""
        if not boundary.strip():
            return []
        mark = re.escape(b"--" + boundary.rstrip().encode("utf-8", "replace"))
        # The mark comes first and looks back for its newline: so the search runs on a literal, at memory speed.
        line = re.compile(mark + rb"(?<=\n" + mark + rb")(--)?[ \t]*(?:\r?\n|\Z)")
        found = islice(line.finditer(self.raw, start, end), self.limits.parts + 1)
        return [(match.start(), match.end(), bool(match[1])) for match in found]

    def before_newline(self, at: int) -> int:
        """The newline before a delimiter belongs to the delimiter."""
        if self.raw[at - 1 : at] == b"\n":
            at -= 1
        return at - 1 if self.raw[at - 1 : at] == b"\r" else at


def _content_type(fields: headers.Fields, default: str) -> tuple[str, dict[str, str]]:
    media_type, parameters = headers.parameters(headers.first(fields, "content-type") or default)
    if _TYPE.match(media_type):
        return media_type, parameters
    # RFC 2045 5.2: what is not a media type is read as plain text, unless it is a named file.
    return ("application/octet-stream" if "name" in parameters else "text/plain"), parameters


def _base64(data: bytes, name: str) -> bytes:
    out, chunks = bytearray(), data.translate(None, b" \t\r\n\v\f")
    if _NOT_BASE64.search(chunks):
        # After the padding: a footer added by a gateway.
        chunks = chunks.partition(b"=")[0]
    if _NOT_BASE64.search(chunks):
        raise _damaged(name)
    # Some programs join several encoded chunks, each with its padding.
    for number, match in enumerate(_CHUNK.finditer(chunks)):
        chunk = match[0]
        if len(chunk) % 4 == 1 or number == _MOST_CHUNKS:
            raise _damaged(name)
        out += binascii.a2b_base64(chunk + b"=" * (-len(chunk) % 4))
    return bytes(out)


def _damaged(name: str) -> Unparsable:
    return Unparsable(f"La pièce « {name[:80] or 'sans nom'} » est arrivée abîmée ; renvoyez-la.", at="base64")
