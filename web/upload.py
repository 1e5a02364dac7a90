"""Is this file one that may be sent, and what must it lose first? (UX-07)

The bytes decide, not the name. Photos lose where and when they were taken: metadata is cut out without touching the
picture, except the orientation, which is needed to show it upright.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack, unpack_from

from common import errors

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs", b"bKGD")
)


def cleaned(content: bytes) -> tuple[str, bytes]:
    """Content type and bytes to store. Raises UnsupportedMedia for anything but PDF, JPEG and PNG."""
    try:
        if content.startswith(b"%PDF-"):
            return "application/pdf", content
        if content.startswith(b"\xff\xd8\xff"):
            return "image/jpeg", b"".join(_jpeg(content))
        if content.startswith(_PNG):
            return "image/png", _PNG + b"".join(_png(content))
    except (IndexError, ValueError):
        raise errors.UnsupportedMedia("ce fichier image est abîmé : ouvrez-le et enregistrez-le à nouveau") from None
    raise errors.UnsupportedMedia("ce type de fichier ne s'envoie pas : choisissez un PDF, une photo JPEG ou PNG")


def _png(content: bytes) -> Iterator[bytes]:
    """The chunks that draw the picture."""
    at = len(_PNG)
    while at < len(content):
        length, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(content):
            raise ValueError("cut short")
        if name in _PNG_KEPT:
            yield content[at:end]
        if name == b"IEND":
            return  # what follows the picture is not the picture
        at = end
    raise ValueError("no end")


def _jpeg(content: bytes) -> Iterator[bytes]:
    """The segments that draw the picture, and a minimal orientation when the camera gave one."""
    yield b"\xff\xd8"
    at, orientation = 2, 1
    while content[at + 1] != 0xD9:
        if content[at] != 0xFF:
            raise ValueError("not a marker")
        marker, end = content[at + 1], at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if end > len(content):
            raise ValueError("cut short")
        if marker == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(content[at + 10 : end])
        if marker == 0xDA:
            if orientation != 1:
                yield _only(orientation)
                orientation = 1
            end = _end_of_scan(content, end)
        # 0xE1 to 0xED and comments hold metadata (Exif, XMP, IPTC); 0xE0 JFIF, 0xE2 colour profile, 0xEE Adobe draw.
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)) or content[at + 4 : at + 15] == b"ICC_PROFILE":
            yield content[at:end]
        at = end
    yield b"\xff\xd9"


def _end_of_scan(content: bytes, at: int) -> int:
    """Where the compressed data ends: at the first marker that is neither a stuffed byte nor a restart."""
    while True:
        at = content.index(b"\xff", at)
        if content[at + 1] != 0 and not 0xD0 <= content[at + 1] <= 0xD7:
            return at
        at += 2


def _orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory, 1 (upright) when it is absent or unreadable."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    start = unpack_from(f"{order}I", tiff, 4)[0]
    if start + 2 > len(tiff):
        return 1
    for number in range(unpack_from(f"{order}H", tiff, start)[0]):
        place = start + 2 + 12 * number
        if place + 10 > len(tiff):
            break
        tag, _, _, value = unpack_from(f"{order}HHIH", tiff, place)
        if tag == 0x0112 and 1 <= value <= 8:
            return int(value)
    return 1


def _only(orientation: int) -> bytes:
    tiff = b"Exif\0\0II*\0" + pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + pack(">H", len(tiff) + 2) + tiff
