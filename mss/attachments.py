"""Which files of a mail enter the conversation?

A file with a dangerous type refuses the whole mail, with its reason, so that the sender learns it (OWASP File Upload;
the type is read from the name, the content and, for archives, the list of entries). Left out without a word to the
sender, but listed in `Letter.left_out`: the same bytes twice, detached signatures, logos.

The logo rule. An image is left out only when the HTML body embeds it (cid:) or it is marked inline with a content id,
AND it is small as logos are: at most 64 KiB and either within 320 x 320 points or a strip at most 200 points high,
AND nothing that the author wrote follows it in the reply (a picture pasted between two sentences is content).
An icon or a tracking dot (32 points at most) is left out wherever it stands. Size unknown: the image is kept.
"""

from __future__ import annotations

import csv
import hashlib
import io
import struct
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common import errors
from mss import address, headers, mime

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MACROS_IN_OLE = "_VBA_PROJECT".encode("utf-16-le")
_SHORTCUT = b"\x4c\x00\x00\x00\x01\x14\x02\x00"
_EXECUTABLE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!/")
_VAGUE = {"application/octet-stream", "application/x-download", "application/force-download", "text/plain"}
_SEALS = {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file. `media_type` is what the name or the content says when the sender was vague; sha256 in hex."""

    filename: str
    media_type: str
    data: bytes
    inline: bool
    content_id: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class FileType:
    """One line of tables/file_types.csv."""

    extension: str
    media_type: str
    is_refused: bool
    note: str


@cache
def file_types() -> dict[str, FileType]:
    """The table, by extension."""
    text = resources.files("mss").joinpath("tables/file_types.csv").read_text("utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return {
        row["extension"]: FileType(row["extension"], row["media_type"], row["verdict"] == "refused", row["note"])
        for row in rows
    }


def read(part: mime.Part, number: int, limits: mime.Limits, *, related: bool = False) -> Attachment:
    """A leaf as a file. Raises mime.Unparsable, errors.UnsupportedMedia, errors.TooLarge with a French reason."""
    data = part.body if part.media_type == "message/rfc822" and not _is_encoded(part) else mime.content(part)
    filename = _filename(part, number)
    media_type = _media_type(part.media_type, filename, data)
    _refuse_dangerous(filename, data, limits)
    return Attachment(
        filename=filename,
        media_type=media_type,
        data=data,
        inline=related or part.disposition == "inline",
        content_id=part.content_id,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def file(filename: str, media_type: str, data: bytes) -> Attachment:
    """A file that we send."""
    return Attachment(filename, media_type, data, False, None, hashlib.sha256(data).hexdigest())


def is_seal(part: mime.Part) -> bool:
    """A detached signature or a Macintosh resource fork: not a document."""
    return part.media_type in _SEALS or part.media_type == "application/applefile"


def is_decoration(image: Attachment, *, embedded: bool, followed: bool) -> bool:
    """The logo rule of this file's head. `embedded`: the body shows it; `followed`: the author's text goes on after."""
    if not image.media_type.startswith("image/") or not (embedded or (image.inline and image.content_id)):
        return False
    points = dimensions(image.data)
    if points is None:
        return False
    width, height = points
    if max(width, height) <= 32:
        return True
    small = len(image.data) <= 64 * 2**10 and (max(width, height) <= 320 or height <= 200)
    return small and not followed


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, JPEG or BMP; None when they cannot be read."""
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return struct.unpack(">II", data[16:24])
        if data[:4] == b"GIF8":
            return struct.unpack("<HH", data[6:10])
        if data[:2] == b"BM":
            width, height = struct.unpack("<ii", data[18:26])
            return width, abs(height)
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
    except struct.error:
        pass
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + max(length, 2)
    return None


def _is_encoded(part: mime.Part) -> bool:
    return (headers.first(part.fields, "content-transfer-encoding") or "").lower() in ("base64", "quoted-printable")


def _filename(part: mime.Part, number: int) -> str:
    """A name without folders, controls or direction marks, at most 200 characters, its extension kept."""
    name = address.safe(part.filename.replace("\\", "/").rpartition("/")[2], limit=1000).strip(". ")
    if not name:
        extension = next((row.extension for row in file_types().values() if row.media_type == part.media_type), "dat")
        return f"piece-{number}.{extension}"
    stem, dot, extension = name.rpartition(".")
    return f"{stem[:180]}.{extension[:19]}" if dot else name[:200]


def _media_type(declared: str, filename: str, data: bytes) -> str:
    if data.startswith(b"%PDF-"):
        return "application/pdf"
    known = file_types().get(_extension(filename))
    return known.media_type if known and declared in _VAGUE else declared


def _extension(filename: str) -> str:
    return filename.rpartition(".")[2].lower() if "." in filename else ""


def _refuse_dangerous(filename: str, data: bytes, limits: mime.Limits) -> None:
    known = file_types().get(_extension(filename))
    if known and known.is_refused:
        raise _refused(filename, known.note)
    if data.startswith(_EXECUTABLE) or _is_windows_program(data):
        raise _refused(filename, "programme")
    if data.startswith(_SHORTCUT):
        raise _refused(filename, "raccourci")
    if data.startswith(_OLE) and _MACROS_IN_OLE in data:
        raise _refused(filename, "document avec macros")
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _refuse_archive(filename, data, limits)


def _refuse_archive(filename: str, data: bytes, limits: mime.Limits) -> None:
    """Judge a zip (and the office formats, which are zips) by its directory; nothing is unpacked."""
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error):
        return  # not a readable archive: kept as an opaque file, the step that opens archives will say so
    if len(entries) > limits.archive_entries:
        raise errors.TooLarge(f"L'archive « {filename} » contient plus de {limits.archive_entries} fichiers.")
    if sum(entry.file_size for entry in entries) > limits.archive_unpacked:
        raise errors.TooLarge(f"Une fois ouverte, « {filename} » dépasse {limits.archive_unpacked // 2**20} Mo.")
    for entry in entries:
        known = file_types().get(_extension(entry.filename))
        if entry.flag_bits & 0x1:
            raise _refused(filename, "archive protégée par un mot de passe")
        if entry.filename.lower().endswith("vbaproject.bin"):
            raise _refused(filename, "document avec macros")
        if known and known.is_refused:
            raise _refused(filename, f"archive contenant un fichier interdit : {known.note}")


def _is_windows_program(data: bytes) -> bool:
    if data[:2] != b"MZ" or len(data) < 64:
        return False
    at = int.from_bytes(data[60:64], "little")
    return data[at : at + 4] == b"PE\0\0" or data[at : at + 2] in (b"NE", b"LE")


def _refused(filename: str, reason: str) -> errors.UnsupportedMedia:
    return errors.UnsupportedMedia(
        f"Le fichier « {filename} » n'est pas accepté ({reason}). Envoyez-le dans un autre format, par exemple en PDF.",
        at="attachment",
    )
