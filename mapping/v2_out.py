"""What do we answer to a hospital? ACK with MSA and, for a refusal, ERR.

National profiles, "Accusé technique": MSH-3/4 and 5/6 swapped, MSH-11, MSH-12 and MSH-18 as received, ACK^T02^ACK;
ERR-2 the place, ERR-3 table 0357, ERR-4 E, ERR-5 table 0533 beside 207, ERR-8 the text for a person.
AA means durable: the caller answers after its commit. AE: wrong, do not send again unchanged. AR: may be sent again.
"""

from __future__ import annotations

import re
from datetime import datetime

from common import errors
from mapping import codes, er7, times

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)])?(?:-(\d+)(?:\((\d+)\))?(?:\.(\d+)(?:\.(\d+))?)?)?", re.ASCII)
# Table 0357 codes whose cause is not in the content: HL7 v2.5 2.9.2 answers them with AR.
_CIRCUMSTANCES = frozenset({"200", "201", "202", "203", "206"})
_MOST_ERRORS = 20
_MINIMAL = er7.read(b"MSH|^~\\&|||||||ACK||P|2.6||||||UNICODE UTF-8\r")


def ack(
    message: er7.Message,
    code: str,
    *,
    error: errors.HubError | None = None,
    control_id: str,
    now: datetime,
) -> bytes:
    """The acknowledgement of a message that could be read; `code` is AA, AE or AR, `error` says why not AA."""
    return _write(message, code, error=error, control_id=control_id, now=now)


def nack(
    raw: bytes,
    error: errors.HubError,
    *,
    code: str = "AR",
    control_id: str,
    now: datetime,
) -> bytes:
    """The answer to bytes that could not be read, addressed with whatever their MSH still says."""
    return _write(er7.head(raw) or _MINIMAL, code, error=error, control_id=control_id, now=now)


def code_for(error: errors.HubError) -> str:
    """AR when the same message may pass later or elsewhere, AE when it must be corrected first."""
    is_passing = isinstance(error, errors.Unavailable | errors.TooLarge | errors.Stale)
    return "AR" if is_passing or error.hl7 in _CIRCUMSTANCES else "AE"


def _write(message: er7.Message, code: str, *, error: errors.HubError | None, control_id: str, now: datetime) -> bytes:
    syntax = er7.Syntax(encoding=message.syntax.encoding)
    header = message.all[0]
    same = [_same(header, field, syntax) for field in (5, 6, 3, 4)]
    kind = b"^".join((b"ACK", syntax.raw(message.trigger), b"ACK"))
    version = syntax.raw(message.version if message.version.startswith("2.") else "2.6")
    first = [b"MSH", b"^~\\&", *same, _stamp(now), b"", kind, syntax.raw(control_id)]
    first += [
        syntax.raw(message.processing[:1] or "P"),
        version,
        b"",
        b"",
        b"",
        b"",
        b"FRA",
        syntax.raw(_charset(message)),
    ]
    segments = [first, [b"MSA", code.encode("ascii"), syntax.raw(message.control_id)]]
    if error is not None:
        segments += [[b"ERR", b"", *_error(error, issue, syntax)] for issue in error.issues[:_MOST_ERRORS]]
    return b"".join(b"|".join(segment) + b"\r" for segment in segments)


def _same(header: er7.Segment, field: int, syntax: er7.Syntax) -> bytes:
    """A header field (HD) of the sender, with our separators: it may use others."""
    value = header.first(field)
    parts = [syntax.raw(value.text(component, 1)) for component in (1, 2, 3)]
    return b"^".join(parts).rstrip(b"^")


def _charset(message: er7.Message) -> str:
    """What MSH-18 said when it was understood, else the name of what the answer is written in."""
    if codes.find("charset", message.charset.upper()):
        return message.charset
    return "UNICODE UTF-8" if message.syntax.encoding == "utf-8" else "8859/15"


def _error(error: errors.HubError, issue: errors.Issue, syntax: er7.Syntax) -> list[bytes]:
    """ERR-2 to ERR-8 of one issue."""
    place, rest = _place(issue.expression or error.at)
    text = issue.text if not rest else f"{issue.text} ({rest})"
    reason = _coded(error.hl7, "HL70357", syntax)
    application = _coded(error.hl7_application, "HL70533", syntax) if error.hl7 == "207" else b""
    return [place, reason, b"E", application, b"", b"", syntax.raw(text[:250])]


def _place(at: str) -> tuple[bytes, str]:
    """ERL (segment, its rank, field, repetition, component, sub-component); a place of another kind stays text."""
    found = _PLACE.fullmatch(at)
    if not found:
        return b"", at
    name, rank, field, repetition, component, sub = found.groups()
    numbers = [rank or "1", field or "", (repetition or "1") if field else "", component or "", sub or ""]
    return "^".join([name, *numbers]).rstrip("^").encode("ascii"), ""


def _coded(code: str, table: str, syntax: er7.Syntax) -> bytes:
    row = codes.find("error", code, table)
    return b"^".join((code.encode("ascii"), syntax.raw(row.target_code if row else ""), table.encode("ascii")))


def _stamp(now: datetime) -> bytes:
    return times.write(now).encode("ascii")
