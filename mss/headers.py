"""What does the header of a mail say?

RFC 5322 (fields, message ids, dates), RFC 2047 (encoded words), RFC 2231 (parameters). Everything here is total:
real programs break each of these rules, and a header nobody can read must not cost the mail its content.
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime
from email import utils
from urllib.parse import unquote_to_bytes

from mss import charsets

Fields = tuple[tuple[str, str], ...]

_FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]*:(.*)", re.DOTALL)
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_BETWEEN = re.compile(r"(\?=)\s+(?==\?[^?\s]+\?[bBqQ]\?)")
_ID = re.compile(r"<([^<>\s]{1,900})>")
_PARAM = re.compile(r';\s*([^\s=;*"]+)(\*\d+)?(\*)?\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)', re.DOTALL)
_LONGEST_DATE = 200
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def fields(block: bytes) -> tuple[Fields, int]:
    """The unfolded fields at the start of a part, and the index where its body begins.

    The block ends at the first empty line, or before the first line that cannot be a field: some programs forget
    the empty line, and then that line is content.
    """
    found: list[list[bytes]] = []
    at = 0
    while at < len(block):
        end = block.find(b"\n", at)
        end = len(block) if end < 0 else end + 1
        line = block[at:end].rstrip(b"\r\n")
        if not line:
            at = end
            break
        if line[:1] in b" \t" and found:
            found[-1].append(line)
        elif _FIELD.match(line):
            found.append([line])
        elif not (at == 0 and line.startswith((b"From ", b">From "))):  # the first line of an mbox file is skipped
            break
        at = end
    return tuple(_field(lines) for lines in found), at


def first(known: Fields, name: str) -> str | None:
    """The first field of that name, unfolded and trimmed; None when it is absent."""
    return next((value for key, value in known if key.lower() == name), None)


def words(value: str) -> str:
    """A field as a person reads it: RFC 2047 words decoded."""
    text, parts, last = _BETWEEN.sub(r"\1", value), [], 0
    pending, data = "", bytearray()
    for match in _WORD.finditer(text):
        charset = match[1].partition("*")[0].lower()
        if pending and (match.start() > last or charset != pending):
            parts.append(charsets.lenient(bytes(data), pending))
            data.clear()
        parts.append(text[last : match.start()])
        # Words side by side are joined as bytes: some programs cut in the middle of a UTF-8 character.
        pending = charset
        data += _word(match[2], match[3])
        last = match.end()
    if pending:
        parts.append(charsets.lenient(bytes(data), pending))
    return "".join(parts) + text[last:]


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """`text/plain; charset="utf-8"` -> ("text/plain", {"charset": "utf-8"}), RFC 2231 and 2047 forms decoded."""
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bool, str]]] = {}
    for match in _PARAM.finditer(value):
        name, text = match[1].lower(), _unquote(match[4])
        if match[2] or match[3]:
            pieces.setdefault(name, {})[int((match[2] or "*0")[1:6])] = (bool(match[3]), text)
        else:
            plain.setdefault(name, words(text))
    # The RFC 2231 form wins over the plain fallback that some programs write beside it.
    return value.partition(";")[0].strip().lower(), plain | {name: _joined(parts) for name, parts in pieces.items()}


def ids(value: str | None) -> tuple[str, ...]:
    """The message ids of a field, without angle brackets, in order, each once."""
    text = value or ""
    found = _ID.findall(text)
    bare = text.strip()
    if not found and "@" in bare and not re.search(r"[\s<>]", bare):
        found = [bare[:900]]  # the brackets are forgotten by some web mails
    return tuple(dict.fromkeys(found))


def date(value: str | None) -> datetime | None:
    """The Date field in UTC; None when it is absent or impossible."""
    try:
        moment = utils.parsedate_to_datetime((value or "")[:_LONGEST_DATE])
        # "-0000" gives a naive time: UTC, place unknown (RFC 5322 3.3).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _field(lines: list[bytes]) -> tuple[str, str]:
    match = _FIELD.match(b"".join(lines))
    assert match is not None
    return match[1].decode("ascii"), charsets.lenient(match[2], "utf-8").strip().replace("\0", "")


def _word(form: str, text: str) -> bytes:
    if form in "bB":
        kept = re.sub(r"[^A-Za-z0-9+/]", "", text)
        try:
            return binascii.a2b_base64(kept[: len(kept) - (len(kept) % 4 == 1)] + "=" * (-len(kept) % 4))
        except (binascii.Error, ValueError):
            return text.encode("utf-8", "replace")
    return binascii.a2b_qp(text.encode("utf-8", "replace"), header=True)


def _unquote(text: str) -> str:
    text = text.strip()
    if text.startswith('"'):
        return _ESCAPE.sub(r"\1", text[1 : -1 if len(text) > 1 and text.endswith('"') else None])
    return text


def _joined(parts: dict[int, tuple[bool, str]]) -> str:
    """One RFC 2231 value from its numbered pieces; only pieces with a star are percent-encoded."""
    charset, data = "utf-8", bytearray()
    for place, number in enumerate(sorted(parts)):
        encoded, text = parts[number]
        if encoded and place == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        data += unquote_to_bytes(text) if encoded else text.encode("utf-8", "replace")
    return charsets.lenient(bytes(data), charset or "utf-8")
