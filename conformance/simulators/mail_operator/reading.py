"""What is in this mail? The operator's own reading, with the standard library's parser.

Deliberately not mss.letter: a mistake of the hub must not look right here.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from conformance.simulators.mail_operator import store

DANGEROUS_TO_SHOW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Piece:
    """One attached file."""

    filename: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class View:
    """A mail as its reader sees it. `headers` in order, decoded; `html` empty when there is none."""

    headers: tuple[tuple[str, str], ...]
    sender: str
    reply_to: str
    to: str
    subject: str
    at: float
    text: str
    html: str
    pieces: tuple[Piece, ...]

    def header(self, name: str) -> str:
        """The first header of that name, or ""."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def view(raw: bytes) -> View:
    """Read a mail; a broken one gives what can be shown."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    headers = tuple((name, _line(message, name, at)) for at, name in enumerate(message.keys()))
    named = {name.lower(): value for name, value in reversed(headers)}
    return View(
        headers=headers,
        sender=named.get("from", ""),
        reply_to=named.get("reply-to", ""),
        to=named.get("to", ""),
        subject=named.get("subject", ""),
        at=_time(named.get("date", "")),
        text=_body(message, "plain"),
        html=_body(message, "html"),
        pieces=tuple(_pieces(message)),
    )


def summary(raw: bytes, *, sent: bool) -> store.Summary:
    """The line of a mail in a list: the sender of a received one, the recipient of a sent one."""
    seen = view(raw)
    other = seen.to if sent else seen.sender
    return store.Summary(seen.header("message-id").strip(), other, seen.subject, time.time(), len(seen.pieces))


def _line(message: EmailMessage, name: str, at: int) -> str:
    try:
        value = str(message.values()[at])
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):  # broken headers fail in many ways there
        value = next((value for key, value in message.raw_items() if key == name), "")
    return DANGEROUS_TO_SHOW.sub("", value.encode("utf-8", "replace").decode())


def _time(value: str) -> float:
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(value).timestamp()
    return time.time()


def _body(message: EmailMessage, kind: str) -> str:
    with contextlib.suppress(KeyError, LookupError, ValueError, AttributeError, TypeError):
        part = message.get_body(preferencelist=(kind,))
        if part is not None:
            return str(part.get_content()).replace("\r\n", "\n")
    return ""


def _pieces(message: EmailMessage) -> list[Piece]:
    found: list[Piece] = []
    for part in message.walk():
        if part.is_multipart() or not (part.get_filename() or part.get_content_disposition() == "attachment"):
            continue
        data = part.get_payload(decode=True)
        name = (part.get_filename() or f"piece-{len(found) + 1}").replace("/", "_").replace("\\", "_")
        found.append(
            Piece(DANGEROUS_TO_SHOW.sub("", name), part.get_content_type(), data if isinstance(data, bytes) else b"")
        )
    return found
