"""How do French mail programs write an answer?

Outlook quotes below a header block and sends Windows-1252 with an HTML twin; Thunderbird quotes with "> " above the
answer, in flowed text (RFC 3676); "bare" quotes nothing. Checked against what these programs really send.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from html import escape

from conformance.simulators.mail_operator import moments, reading

STYLES = ("outlook", "thunderbird", "bare")


@dataclass(frozen=True, slots=True)
class Author:
    """The owner of the mailbox that writes."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person typed. `style` is one of STYLES and only matters for an answer."""

    to: str
    subject: str
    text: str
    signature: str = ""
    style: str = "outlook"
    pieces: tuple[reading.Piece, ...] = ()


def new(author: Author, draft: Draft, now: datetime) -> bytes:
    """A first mail."""
    signed = f"{draft.text}\n\n-- \n{draft.signature}\n" if draft.signature else f"{draft.text}\n"
    message = _start(author, draft, now)
    message.set_content(signed, cte="quoted-printable")
    return _finish(message, draft)


def reply(author: Author, draft: Draft, original: reading.View, now: datetime, *, forgetful: bool = False) -> bytes:
    """An answer to a mail. `forgetful`: a program that drops the threading headers and the subject."""
    message = _start(author, draft, now)
    known = original.header("message-id").strip()
    if known and not forgetful:
        message["In-Reply-To"] = known
        message["References"] = f"{original.header('references')} {known}".strip()
    if draft.style == "outlook":
        _as_outlook(message, draft, original)
    elif draft.style == "thunderbird":
        _as_thunderbird(message, draft, original)
    else:
        message.set_content(draft.text + "\n", cte="quoted-printable")
    return _finish(message, draft)


def answer_to(original: reading.View, draft: Draft, *, forgetful: bool = False) -> Draft:
    """Fill in where an answer goes and its subject, as mail programs do."""
    subject = original.subject
    mark = "RE: " if draft.style == "outlook" else "Re: "
    if not subject.lower().startswith("re:"):
        subject = mark + subject
    to = draft.to or original.reply_to or original.sender
    subject = "Bonjour" if forgetful else draft.subject or subject
    return Draft(to, subject, draft.text, draft.signature, draft.style, draft.pieces)


def recipients(to: str) -> list[str]:
    """The addresses of a To field."""
    return [spec for _, spec in getaddresses([to]) if "@" in spec]


def _start(author: Author, draft: Draft, now: datetime) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name=author.name, addr_spec=author.address)
    message["To"] = [
        Address(display_name=name, addr_spec=spec) for name, spec in getaddresses([draft.to]) if "@" in spec
    ]
    message["Subject"] = " ".join(draft.subject.split())
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{uuid.uuid4()}@{author.address.rpartition('@')[2]}>"
    message["X-Mailer"] = {"outlook": "Microsoft Outlook 16.0", "thunderbird": "Mozilla Thunderbird"}.get(
        draft.style, "Messagerie web"
    )
    return message


def _finish(message: EmailMessage, draft: Draft) -> bytes:
    for piece in draft.pieces:
        main, _, sub = piece.media_type.partition("/")
        message.add_attachment(
            piece.data, maintype=main or "application", subtype=sub or "octet-stream", filename=piece.filename
        )
    return message.as_bytes()


def _as_outlook(message: EmailMessage, draft: Draft, original: reading.View) -> None:
    block = [
        f"De : {original.sender}",
        f"Envoyé : {moments.long(original.at)}",
        f"À : {original.to}",
        f"Objet : {original.subject}",
    ]
    top = draft.text + (f"\n\n{draft.signature}" if draft.signature else "")
    text = "\n".join([top, "", *block, "", original.text.strip("\n"), ""])
    charset = "windows-1252" if _fits(text, "windows-1252") else "utf-8"
    message.set_content(text, charset=charset, cte="quoted-printable")
    paragraphs = "".join(f"<p class=MsoNormal>{escape(line) or '&nbsp;'}</p>" for line in top.split("\n"))
    header = "<br>".join(
        f"<b>{escape(line.partition(' : ')[0])} :</b> {escape(line.partition(' : ')[2])}" for line in block
    )
    quoted = "".join(
        f"<p class=MsoNormal>{escape(line) or '&nbsp;'}</p>" for line in original.text.strip("\n").split("\n")
    )
    rule = "border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm"
    header = f"<div style='{rule}'><p class=MsoNormal>{header}</p></div>"
    html = f"<html><body lang=FR>{paragraphs}{header}{quoted}</body></html>"
    message.add_alternative(html, subtype="html", charset=charset, cte="quoted-printable")


def _as_thunderbird(message: EmailMessage, draft: Draft, original: reading.View) -> None:
    quoted = "\n".join(_flow(line, "> ") for line in original.text.strip("\n").split("\n"))
    answer = "\n".join(_flow(line, "") for line in draft.text.split("\n"))
    signature = f"\n-- \n{draft.signature}" if draft.signature else ""
    who = original.sender.rpartition("<")[0].strip().strip('"') or original.sender
    text = f"Le {moments.short(original.at)}, {who} a écrit :\n{quoted}\n\n{answer}\n{signature}\n"
    message.set_content(text, cte="8bit")
    message.set_param("format", "flowed")


def _flow(line: str, mark: str) -> str:
    """A line cut at 72 columns; each piece but the last ends with a blank (RFC 3676 4.2)."""
    pieces: list[str] = []
    rest = line.rstrip(" ") if line != "-- " else line
    while len(rest) > 72:
        at = rest.rfind(" ", 1, 72)
        at = rest.find(" ", 72) if at < 0 else at
        if at < 0:
            break
        pieces.append(rest[: at + 1])
        rest = rest[at + 1 :]
    # Space-stuffing: a line must not look quoted, or like the start of an mbox mail.
    return "\n".join(
        mark + (" " if not mark and one.startswith((" ", ">", "From ")) else "") + one for one in [*pieces, rest]
    )


def _fits(text: str, charset: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True
