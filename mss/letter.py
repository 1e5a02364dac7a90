"""What did this mail say, and who wrote it?

Raw bytes in, a Letter out, or a refusal whose French message goes back to the sender. Parsed once, here; the rest of
the hub trusts the Letter. RFC 5322, 2045-2049, 3676 (flowed text), 3834 (automatic mail), 3464 and 8098 (reports).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from mss import address, automatic, body, headers, mime, reply_text
from mss.attachments import Attachment
from mss.mime import Limits, Unparsable

__all__ = ["Attachment", "Letter", "Limits", "Unparsable", "read"]

_DEFAULT = Limits()
_TAG = re.compile(r"\[#([0-9A-Za-z]{4,10})\]")
_PASSED_ON = re.compile(r"\s*(tr|fwd?|wg|transf)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that was understood. Ids are without angle brackets, addresses normalised, text with \\n newlines.

    `auto_submitted` is "" for a person, else the RFC 3834 keyword; "auto-generated" alone may carry a person's words
    (other hubs send so). `report` is "" or what kind of machine answer this is (`automatic.kind`):
    those never become a message.
    """

    message_id: str | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    subject: str
    tag: str | None
    sender: address.Mailbox
    reply_to: tuple[address.Mailbox, ...]
    to: tuple[address.Mailbox, ...]
    cc: tuple[address.Mailbox, ...]
    date: datetime | None
    text: str
    cut: reply_text.Cut
    attachments: tuple[Attachment, ...]
    left_out: tuple[str, ...]
    auto_submitted: str
    report: str
    headers: headers.Fields

    @property
    def reply(self) -> str:
        """What the author just wrote, for display; `text` is everything."""
        return self.cut.reply

    @property
    def parts(self) -> tuple[Attachment, ...]:
        """The attachments."""
        return self.attachments

    @property
    def is_report(self) -> bool:
        """A bounce, a receipt, an absence notice, an integration error: never a message of a person."""
        return bool(self.report)

    def header(self, name: str) -> str | None:
        """The first header of that name, decoded."""
        return headers.first(self.headers, name.lower())

    def headers_named(self, name: str) -> tuple[str, ...]:
        """All headers of that name, in order."""
        return tuple(value for key, value in self.headers if key.lower() == name.lower())


def read(raw: bytes, *, limits: Limits = _DEFAULT) -> Letter:
    """Read one mail.

    Raises errors.HubError only: Unparsable, errors.TooLarge, errors.UnsupportedMedia; `message` is the French cause.
    """
    tree = mime.split(raw, limits)
    sender = _sender(tree.fields)
    subject = automatic.subject(tree.fields)
    content = body.read(tree, limits)
    cut = reply_text.cut(content.text, forwarded=bool(_PASSED_ON.match(subject)))
    kept, left_out = body.keep(content, cut)
    tag = _TAG.search(subject)
    return Letter(
        message_id=next(iter(headers.ids(headers.first(tree.fields, "message-id"))), None),
        in_reply_to=headers.ids(headers.first(tree.fields, "in-reply-to")),
        references=headers.ids(headers.first(tree.fields, "references")),
        subject=subject,
        tag=tag[1].upper() if tag else None,
        sender=sender,
        reply_to=_mailboxes(tree.fields, "reply-to"),
        to=_mailboxes(tree.fields, "to"),
        cc=_mailboxes(tree.fields, "cc"),
        date=headers.date(headers.first(tree.fields, "date")),
        text=content.text,
        cut=cut,
        attachments=kept,
        left_out=left_out,
        auto_submitted=automatic.keyword(tree.fields),
        report=automatic.kind(tree),
        headers=tuple((name, headers.words(value)) for name, value in tree.fields),
    )


def _sender(fields: headers.Fields) -> address.Mailbox:
    found = _mailboxes(fields, "from")
    if not found:
        raise Unparsable("Ce courriel n'indique pas d'expéditeur (champ From) lisible.", at="From")
    # RFC 5322 3.6 and 3.6.2. What the operator checked may be one author, and what a reader sees another.
    if len(found) > 1 or sum(name.lower() == "from" for name, _ in fields) > 1:
        raise Unparsable("Ce courriel indique plusieurs expéditeurs (champ From) ; envoyez-le d'un seul.", at="From")
    return found[0]


def _mailboxes(fields: headers.Fields, name: str) -> tuple[address.Mailbox, ...]:
    value = ", ".join(value for key, value in fields if key.lower() == name)
    return tuple(
        address.Mailbox(found.address, address.safe(headers.words(found.name))) for found in address.parse(value)
    )
