"""What do a conversation, a message, an inbox entry and a delivery look like as FHIR resources?

Product requirements MODEL-01 to MODEL-04: a header Communication, messages that are part of it, one inbox Task per
member, one deliver Task per recipient reached outside the app. Pure: values in, resources out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any

from common import clock
from mapping import systems

Resource = dict[str, Any]


def reference(ref: str) -> Resource:
    """A literal reference to `Type/id`."""
    return {"reference": ref}


def concept(system: str, code: str) -> Resource:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code}]}


def has_code(element: Resource | None, system: str, code: str) -> bool:
    """Whether a CodeableConcept holds this coding."""
    return any((one.get("system"), one.get("code")) == (system, code) for one in (element or {}).get("coding", ()))


def is_header(resource: Resource) -> bool:
    """A Communication that is part of nothing is the header of a conversation (MODEL-01)."""
    return resource["resourceType"] == "Communication" and not resource.get("partOf")


def header_ref(message: Resource) -> str:
    """The conversation of a message, `Communication/id`, or an empty string."""
    return next((str(one.get("reference", "")) for one in message.get("partOf", ())), "")


def members(header: Resource) -> list[str]:
    """References of the present members, in order, each once."""
    return list(dict.fromkeys(one["reference"] for one in header.get("recipient", ()) if "reference" in one))


def header(title: str, *, patient: str | None, members: Iterable[str], category: str) -> Resource:
    """A new open conversation, not numbered yet. `category` is direct, group, patient or request."""
    resource: Resource = {
        "resourceType": "Communication",
        "status": "in-progress",
        "category": [concept(systems.CONVERSATION_KIND, category)],
        "topic": {"text": title},
        "recipient": [reference(one) for one in members],
    }
    if patient:
        resource["subject"] = reference(patient)
    return resource


def message(header: str, *, sender: str, sent: datetime, text: str, documents: Iterable[str], medium: str) -> Resource:
    """A message by `sender` in the conversation `header`; `documents` are DocumentReference references."""
    payload: list[Resource] = [{"contentString": text}] if text else []
    payload += [{"contentReference": reference(one)} for one in documents]
    return {
        "resourceType": "Communication",
        "status": "completed",
        "partOf": [reference(header)],
        "medium": [concept(systems.MEDIUM, medium)],
        "sent": clock.instant(sent),
        "sender": reference(sender),
        "payload": payload,
    }


def prepared_by(message: Resource) -> str:
    """Who prepared and sent it in its sender's name, `PractitionerRole/x`; "" when the sender did."""
    held = (one for one in message.get("extension", ()) if one.get("url") == systems.PREPARED_BY)
    return next((str(one.get("valueReference", {}).get("reference", "")) for one in held), "")


def inbox_entry(
    header: str, member: str, *, patient: Resource | None, read: bool, token: str, now: datetime
) -> Resource:
    """The member's line for this conversation (MODEL-03); `token` makes the reply address of their mails."""
    task = _task("inbox", header, focus=header, owner=member, patient=patient, now=now)
    return {
        **task,
        "identifier": [{"system": systems.REPLY_TOKEN, "value": token}],
        "businessStatus": concept(systems.INBOX_STATUS, "read" if read else "unread"),
        "priority": "routine",
    }


def delivery(header: str, message: str, recipient: str, *, patient: Resource | None, now: datetime) -> Resource:
    """The ledger line of one recipient reached outside the app (MODEL-04), before anything was tried."""
    return _task("deliver", header, focus=message, owner=recipient, patient=patient, now=now)


def _task(code: str, header: str, *, focus: str, owner: str, patient: Resource | None, now: datetime) -> Resource:
    task: Resource = {
        "resourceType": "Task",
        "basedOn": [reference(header)],
        "status": "requested",
        "intent": "order",
        "code": concept(systems.TASK, code),
        "focus": reference(focus),
        "authoredOn": clock.instant(now),
        "lastModified": clock.instant(now),
        "owner": reference(owner),
    }
    return {**task, "for": patient} if patient else task


def milestone(task: Resource, *, code: str, status: str, proof: str, now: datetime) -> Resource:
    """The delivery task after something happened to it: `code` from delivery-status, `proof` the other side's words."""
    proofs = [*task.get("output", ()), {"type": {"text": code}, "valueString": f"{clock.instant(now)} {proof}"}]
    return {
        **task,
        "status": status,
        "businessStatus": concept(systems.DELIVERY_STATUS, code),
        "lastModified": clock.instant(now),
        "output": proofs,
    }


def numbered(id: str) -> Resource:
    """The opaque, stable number of the conversation with this id: seven characters, no vowels, so it spells nothing."""
    alphabet = "23456789BCDFGHJKLMNPQRSTVWXZ"
    value = int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "big")
    text = "".join(alphabet[value // len(alphabet) ** place % len(alphabet)] for place in range(7))
    return {"system": systems.CONVERSATION, "value": text}


def number(header: Resource) -> str:
    """The conversation's number, which tags the subject of its mails."""
    return next((one["value"] for one in header["identifier"] if one.get("system") == systems.CONVERSATION), "")


def mailbox(role: Resource) -> str | None:
    """The MSSanté address of a PractitionerRole or Organization; only the email-type extension makes it one."""
    for telecom in role.get("telecom", ()):
        kinds = (
            one.get("valueCoding", {}) for one in telecom.get("extension", ()) if one["url"] == systems.FR_EMAIL_TYPE
        )
        if telecom.get("system") == "email" and any(kind.get("code") == "MSSANTE" for kind in kinds):
            return str(telecom["value"]).lower()
    return None


def mssante(address: str) -> Resource:
    """A ContactPoint that is an MSSanté mailbox (directory profile as-mailbox-mss)."""
    return {
        "extension": [
            {"url": systems.FR_EMAIL_TYPE, "valueCoding": {"system": systems.MAILBOX_TYPE, "code": "MSSANTE"}},
        ],
        "system": "email",
        "value": address,
    }


def wants_mail(role: Resource) -> bool:
    """Whether messages reach this member by secure mail: their stated preference, else whether they have a mailbox."""
    for one in role.get("extension", ()):
        if one["url"] == systems.PREFERRED_CHANNEL:
            return bool(one.get("valueCode") == "mssante") and mailbox(role) is not None
    return mailbox(role) is not None
