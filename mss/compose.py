"""How does a message of a conversation look as a mail?

RFC 5322, 2045-2049, 2047, 2231, 3834 (automatic mail), 8098 (receipt request); the X-MSS headers of the MSSanté client
reference, 2.4. The bytes are the same each time for the same Outgoing: a retry is the same mail, not a new one.

Written with the classic `email.mime` classes and ready-encoded headers: the newer policy classes fold long names with
accents and commas differently from one Python release to the next.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from email import encoders, header, utils
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from html import escape

from mss import address, attachments, reply_text

_WIRE = compat32.clone(linesep="\r\n", cte_type="7bit")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 .'_-]*\Z")
_ID = re.compile(r"[\x21-\x3b\x3d\x3f-\x7e]{1,900}\Z")
_LONG_TEXT = "message-complet.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What the mail says of the health package (IHE_XDM.zip) among its attachments (MSSanté client reference 2.1, 2.4).

    `labels` and `codes` (`ClinicalDocument/code`) of its documents; the patient as the package names them, `born` None
    when unknown; `qualified`: the INS in it has all its traits.
    """

    labels: tuple[str, ...]
    codes: tuple[str, ...]
    birth_name: str
    given: str
    born: date | None
    qualified: bool

    @property
    def subject(self) -> str:
        """The prescribed subject: label, birth name, first name, birth date; never an INS."""
        label = self.labels[0][:40].strip() if len(self.labels) == 1 else f"{len(self.labels)} documents"
        born = f"{self.born:%d/%m/%Y}" if self.born else ""
        names = _bare(self.birth_name).upper(), _bare(self.given).upper()
        return " ".join(filter(None, (f"XDM/1.0/DDM+{label}", *names, born)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One delivery to one mailbox. `delivery` is its lasting id; `date` is aware; ids are without angle brackets.

    `subject` is the conversation's title, chosen by the caller; nothing else of the content reaches a header.
    `reply_to` None means that answers by mail are off: then the mail does not ask for one, and a citizen's space closes
    the exchange. `text_limit` in characters. With a `package` the subject is the prescribed one, without our tag.
    """

    delivery: str
    mailbox: str
    author: str
    recipient: str
    subject: str
    tag: str
    text: str
    date: datetime
    recipient_name: str = ""
    reply_to: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    attachments: tuple[attachments.Attachment, ...] = ()
    receipt_to: str | None = None
    product: str = ""
    service: str = "Spico Hub"
    link: str = ""
    text_limit: int = 100_000
    package: Package | None = None


def file(filename: str, media_type: str, data: bytes) -> attachments.Attachment:
    """A file to send with a mail."""
    return attachments.file(filename, media_type, data)


def message_id(delivery: str, mailbox: str) -> str:
    """The Message-ID of a delivery, without angle brackets: always the same, and silent about our machines.

    RFC 5322 3.6.4 wants it unique for ever; the delivery id is.
    """
    name = re.sub(r"[^A-Za-z0-9.-]", "-", delivery).strip(".")
    return f"{name}@{address.domain(mailbox)}"


def mail(outgoing: Outgoing) -> bytes:
    """The mail on the wire (CRLF, 7 bit). Raises errors.Invalid when an address is impossible."""
    text, files = _fitted(outgoing)
    words = _words(outgoing, text, files)
    message: MIMEBase = MIMEMultipart("alternative", _boundary(outgoing, "text"))
    message.attach(_text("plain", "\n".join(words)))
    message.attach(_text("html", _html(outgoing, text, files)))
    if files:
        content = _inside(message)
        message = MIMEMultipart("mixed", _boundary(outgoing, "mail"))
        for part in (content, *map(_file, files)):
            message.attach(part)
    for name, value in _headers(outgoing):
        message[name] = value
    return message.as_bytes(policy=_WIRE)


def _headers(outgoing: Outgoing) -> list[tuple[str, str]]:
    author = address.safe(f"{outgoing.author} (via {outgoing.service})")
    known = dict.fromkeys((*outgoing.references, outgoing.in_reply_to))
    thread = [one for one in known if one and _ID.match(one)]
    package = outgoing.package
    subject = package.subject if package else f"{outgoing.subject} [#{outgoing.tag}]"
    lines = [
        ("From", _mailbox(author, outgoing.mailbox, "From")),
        ("To", _mailbox(address.safe(outgoing.recipient_name), outgoing.recipient, "To")),
        ("Subject", _encoded(address.safe(subject, limit=250), "Subject")),
        ("Date", utils.format_datetime(outgoing.date)),
        ("Message-ID", f"<{message_id(outgoing.delivery, outgoing.mailbox)}>"),
    ]
    if outgoing.reply_to:
        lines.append(("Reply-To", _mailbox(address.safe(outgoing.service), outgoing.reply_to, "Reply-To")))
    if outgoing.in_reply_to and _ID.match(outgoing.in_reply_to):
        lines.append(("In-Reply-To", f"<{outgoing.in_reply_to}>"))
    if thread:
        # The first names the thread, the last ones its recent life; some servers refuse very long headers.
        kept = thread if len(thread) <= 20 else [thread[0], *thread[-19:]]
        lines.append(("References", "\r\n ".join(f"<{one}>" for one in kept)))
    lines.append(("Auto-Submitted", "auto-generated"))
    # Never All, DR or RN: they would also stop the receipts we ask for.
    lines.append(("X-Auto-Response-Suppress", "OOF, AutoReply"))
    if outgoing.receipt_to:
        lines.append(("Disposition-Notification-To", f"<{address.normalise(outgoing.receipt_to)}>"))
    return lines + _national(outgoing)


def _national(outgoing: Outgoing) -> list[tuple[str, str]]:
    """The four private headers, each exactly when it is asked for (MSSanté client reference 2.2.8, 2.4.1 to 2.4.3)."""
    package = outgoing.package
    lines = [("X-MSS-NIL", address.safe(outgoing.product, limit=60))] if outgoing.product else []
    if package and package.codes:
        lines.append(("X-MSS-CODECDA", address.safe(",".join(package.codes))))
        lines.append(("X-MSS-INS", "O" if package.qualified else "N"))
    if address.is_citizen(outgoing.recipient) and not outgoing.reply_to:
        lines.append(("X-MSS-MES", "FIN"))
    return lines


def _bare(name: str) -> str:
    """Without accents."""
    return "".join(char for char in unicodedata.normalize("NFD", name) if not unicodedata.combining(char)).strip()


def _mailbox(name: str, spec: str, field: str) -> str:
    bare = f"<{address.normalise(spec)}>"
    if not name:
        return bare[1:-1]
    if name.isascii():
        quoted = name if _PLAIN_NAME.match(name) else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{quoted}\r\n {bare}"
    return f"{_encoded(name, field)}\r\n {bare}"


def _encoded(text: str, field: str) -> str:
    """A header value in RFC 2047 words, already folded."""
    if text.isascii() and len(text) + len(field) < 76 and "=?" not in text:
        return text
    return header.Header(text, "utf-8", header_name=field).encode(linesep="\r\n")


def _boundary(outgoing: Outgoing, part: str) -> str:
    """The same for the same delivery, different for each, and never inside quoted-printable or base64 ("=_")."""
    return "=_" + hashlib.sha256(f"{part}/{outgoing.delivery}/{outgoing.recipient}".encode()).hexdigest()[:32]


def _fitted(outgoing: Outgoing) -> tuple[str, tuple[attachments.Attachment, ...]]:
    """A text over the limit travels whole as a file, and the mail says so."""
    text = outgoing.text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if len(text) <= outgoing.text_limit:
        return text, outgoing.attachments
    whole = file(_LONG_TEXT, "text/plain", ("\ufeff" + text).encode("utf-8", "replace"))
    start = text[: outgoing.text_limit // 50].rsplit("\n", 1)[0]
    return (
        f"{start}\n\n[…] Ce message est long : son texte complet est dans la pièce jointe « {_LONG_TEXT} ».",
        (whole, *outgoing.attachments),
    )


def _words(outgoing: Outgoing, text: str, files: tuple[attachments.Attachment, ...]) -> list[str]:
    top = [reply_text.SEPARATOR, ""] if outgoing.reply_to else []
    listed = ["", f"Pièces jointes : {', '.join(map(_name, files))}"] if files else []
    return [*top, f"{address.safe(outgoing.author)} :", "", text, *listed, "", "___", *_closing(outgoing)]


def _closing(outgoing: Outgoing) -> list[str]:
    how = (
        "Pour répondre, répondez à ce courriel : votre texte et vos pièces jointes rejoindront la conversation."
        if outgoing.reply_to
        else "Ce courriel est un avis : les réponses par courriel ne sont pas lues."
    )
    link = [f"Voir la conversation : {address.safe(outgoing.link, limit=500)}"] if outgoing.link else []
    return [how, *link, reply_text.FOOTER.format(outgoing.tag)]


def _html(outgoing: Outgoing, text: str, files: tuple[attachments.Attachment, ...]) -> str:
    """Simple HTML that any program shows: one column, no image, no fixed colour (dark screens keep their own)."""
    paragraphs = [
        f'<p style="margin:0 0 1em">{"<br>".join(escape(line, quote=False) for line in block.split(chr(10)))}</p>'
        for block in re.split(r"\n{2,}", text.strip("\n"))
    ]
    small = '<p style="margin:0 0 .5em;font-size:85%">'
    top = f"{small}{escape(reply_text.SEPARATOR)}</p>" if outgoing.reply_to else ""
    names = "<br>".join(escape(_name(found)) for found in files)
    listed = f"<p>Pièces jointes :<br>{names}</p>" if files else ""
    closing = "<br>".join(escape(line) for line in _closing(outgoing))
    return (
        '<!DOCTYPE html><html lang="fr"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width"></head>'
        '<body style="font-family:sans-serif;line-height:1.5;max-width:40em;overflow-wrap:anywhere">'
        f"{top}<p><strong>{escape(address.safe(outgoing.author))}</strong> :</p>\n"
        + "\n".join(paragraphs)
        + f"\n{listed}<hr>{small}{closing}</p></body></html>"
    )


def _text(kind: str, text: str) -> MIMEBase:
    part = _inside(MIMENonMultipart("text", kind, charset="utf-8"))
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(binascii.b2a_qp(text.encode("utf-8", "replace")).decode("ascii"))
    return part


def _file(found: attachments.Attachment) -> MIMEBase:
    main, _, sub = found.media_type.partition("/")
    if main in ("multipart", "message") or not re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", found.media_type):
        main, sub = "application", "octet-stream"
    part = _inside(MIMENonMultipart(main, sub))
    part.set_payload(found.data)
    encoders.encode_base64(part)
    name = _name(found)
    # RFC 2231; a tuple makes the standard library percent-encode.
    part.add_header("Content-Disposition", "attachment", filename=name if name.isascii() else ("utf-8", "", name))
    return part


def _name(found: attachments.Attachment) -> str:
    return address.safe(found.filename, limit=100) or "piece"


def _inside(part: MIMEBase) -> MIMEBase:
    """MIME-Version belongs to the mail, not to its parts (RFC 2045 4)."""
    del part["MIME-Version"]
    return part
