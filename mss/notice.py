"""How does a short automatic mail about an account look?

Plain text, nothing about health, nothing to answer (RFC 3834). The bytes are the same each time for the same Notice, so
that a retry is the same mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr

from mss import compose


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One mail. `delivery` is its lasting id, `date` aware; `text` has lines of any length."""

    delivery: str
    author: str
    recipient: str
    subject: str
    text: str
    date: datetime
    service: str = "Spico Hub"


def mail(notice: Notice) -> bytes:
    """The mail on the wire (CRLF)."""
    message = EmailMessage(policy=SMTP.clone(max_line_length=998))
    message["From"] = formataddr((notice.service, notice.author))
    message["To"] = notice.recipient
    message["Subject"] = notice.subject
    message["Date"] = format_datetime(notice.date)
    message["Message-ID"] = f"<{compose.message_id(notice.delivery, notice.author)}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(notice.text, cte="quoted-printable")
    return bytes(message)
