"""Which characters do these bytes stand for?

Mail names its character set and is often wrong. Order: what is declared when it decodes, then UTF-8, then
Windows-1252 (WHATWG Encoding reads iso-8859-1 and us-ascii as Windows-1252 too, because that is what is written).
"""

from __future__ import annotations

import codecs
import re

from common import errors


class Undecodable(errors.Unreadable):
    """No character set gives readable text."""

    code = "mail-undecodable"


_SAME = {
    "": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "ansi_x3.4-1968": "utf-8",
    "7bit": "utf-8",
    "8bit": "utf-8",
    "unknown-8bit": "utf-8",
    "utf8mb4": "utf-8",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "x-ansi": "cp1252",
    "ansi": "cp1252",
    "macintosh": "mac_roman",
    "x-mac-roman": "mac_roman",
    "iso-8859-8-i": "iso-8859-8",
    "ks_c_5601-1987": "cp949",
    "x-sjis": "cp932",
    "gb2312": "gb18030",
}
# Python's own escapes, not character sets of mail: they can make surrogates or take quadratic time.
_NOT_MAIL = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
# Where one wrong byte shifts the meaning of the next, a reading as Windows-1252 would be noise.
_MULTIBYTE = ("utf-16", "utf-32", "iso-2022", "gb", "big5", "euc", "cp9", "shift", "hz")
_NO_CP1252 = re.compile(r"[\udc81\udc8d\udc8f\udc90\udc9d]")
_CP1252 = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1f\x7f\ufeff\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def text(data: bytes, charset: str) -> str:
    """The text of a body part: newlines as \\n, no control characters except tab and newline.

    Raises Undecodable when nothing readable comes out; never drops a character silently otherwise.
    """
    decoded = _decode(data, charset)
    if decoded is None or decoded.rstrip("\0").count("\0") * 100 > len(decoded):
        raise Undecodable(
            "Le texte de ce courriel utilise un jeu de caractères illisible ; renvoyez-le en UTF-8.", at="charset"
        )
    return _clean(decoded)


def lenient(data: bytes, charset: str) -> str:
    """Like `text` for headers and names: what cannot be read becomes U+FFFD."""
    decoded = _decode(data, charset)
    return _clean(data.decode("utf-8", "replace") if decoded is None else decoded)


def _decode(data: bytes, charset: str) -> str | None:
    name = _SAME.get(charset.strip().strip("'\"").lower(), charset.strip().strip("'\"").lower())
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and len(data) % 2 == 0:
        name = "utf-16"
    if name == "cp1252" or name.startswith(("windows-125", "iso-8859-15")):
        # French text in one byte per character is practically never valid UTF-8, so valid UTF-8 is UTF-8.
        name = "utf-8" if _is_utf8(data) else name
    try:
        if codecs.lookup(name).name not in _NOT_MAIL:
            return data.decode(name)
    except (LookupError, ValueError):
        pass
    if name.startswith(_MULTIBYTE):
        return None
    # A UTF-8 text with a footer added in Windows-1252 by a gateway: byte by byte where UTF-8 fails.
    mixed = data.decode("utf-8", "surrogateescape")
    return None if _NO_CP1252.search(mixed) else mixed.translate(_CP1252)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _clean(decoded: str) -> str:
    lines = decoded.replace("\r\n", "\n").replace("\r", "\n").replace("\x0b", "\n").replace("\x0c", "\n")
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", lines.replace("\0", "")))
