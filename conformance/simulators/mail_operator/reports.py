"""The notices an operator sends: delivered (RFC 3464), and not delivered."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from email import message_from_string
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.mime.text import MIMEText
from email.policy import SMTP
from email.utils import format_datetime


def delivered(recipient: str, sender: str, original: bytes, wishes: dict[str, str]) -> bytes:
    """The report of a delivery that was asked for with NOTIFY=SUCCESS."""
    facts = f"Final-Recipient: rfc822; {recipient}\nAction: delivered\nStatus: 2.0.0\n"
    text = f"Votre courriel a été remis à {recipient}.\n"
    return _report("Remise réussie", sender, text, (facts, wishes.get("ENVID", ""), original))


def undelivered(recipient: str, sender: str, original: bytes, answer: str, *, envid: str = "") -> bytes:
    """The notice that a mail could not be delivered, with the words of the other server; `envid` as it was given."""
    status = next((word for word in answer.split()[1:2] if word[:2] in ("5.", "4.")), "5.0.0")
    facts = f"Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; {answer}\n"
    text = f"Votre courriel pour {recipient} n'a pas pu être remis.\n\nRéponse du serveur :\n{answer}\n"
    return _report("Courriel non remis", sender, text, (facts, envid, original))


def _report(subject: str, to: str, text: str, machine: tuple[str, str, bytes]) -> bytes:
    facts, envid, original = machine
    host = to.rpartition("@")[2] or "operateur.example"
    report = MIMEMultipart("report")
    report.set_param("report-type", "delivery-status")
    report["From"] = f"Messagerie <mailer-daemon@{host}>"
    report["To"] = to
    report["Subject"] = Header(subject, "utf-8").encode()
    report["Date"] = format_datetime(datetime.now(UTC))
    report["Message-ID"] = f"<{uuid.uuid4()}@{host}>"
    report["Auto-Submitted"] = "auto-replied"
    report.attach(MIMEText(text, "plain", "utf-8"))
    status = MIMENonMultipart("message", "delivery-status")
    envelope = f"Reporting-MTA: dns; {host}\n" + (f"Original-Envelope-Id: {envid}\n" if envid else "")
    # The library wants the blocks of this type as messages of their own (RFC 3464 2.1: they are header fields).
    status.set_payload([message_from_string(envelope), message_from_string(facts)])
    report.attach(status)
    head = MIMENonMultipart("text", "rfc822-headers")
    head.set_payload(original.partition(b"\r\n\r\n")[0].decode("ascii", "replace") + "\n")
    report.attach(head)
    return report.as_bytes(policy=SMTP)
