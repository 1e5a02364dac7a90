"""Which inbox entry does each member have, and is it read or unread? (MODEL-03)

One Task per (conversation, member) under an id computed from both, so that no race can make a second one.
"""

from __future__ import annotations

from datetime import datetime

from common import clock
from fhir_server import changes, ids
from hub import conversations
from hub.rules import draft
from mapping import systems
from mss import address

_POSITIVE = (1 << 63) - 1


async def entries(
    header: str,
    body: conversations.Resource,
    room: draft.Draft,
    secret: bytes,
    *,
    sender: str | None,
    bump: bool = False,
) -> list[changes.Change]:
    """Create the missing entries of the header's members; with `bump` a new message makes the others' unread.

    The sender's own entry is read. "À traiter" (status in-progress) and unread are independent: a handled entry
    (completed) becomes open again with a new message, one to handle stays so.
    """
    owners = {f"Task/{entry_id(secret, header, owner, body)}": owner for owner in conversations.members(body)}
    held = await room.present(list(owners))
    result: list[changes.Change] = []
    for ref, owner in owners.items():
        id = ref.partition("/")[2]
        own = owner == sender
        if ref not in held:
            token = address.token(secret, header, owner)
            patient, now = body.get("subject"), room.view.now()
            task = conversations.inbox_entry(header, owner, patient=patient, read=own, token=token, now=now)
            result.append(changes.Create("Task", id, task, frozenset({owner})))
        elif bump:
            version, task = held[ref]
            result.append(changes.Update("Task", id, _after_message(task, own, room), version))
    return result


def entry_id(secret: bytes, header: str, owner: str, body: conversations.Resource) -> str:
    """The id of a member's entry: the same for the same conversation and member, in the patient's part."""
    return derived_id(secret, f"inbox|{header}|{owner}", body.get("subject"))


def derived_id(secret: bytes, seed: str, patient: conversations.Resource | None, *, type: str = "Task") -> str:
    """An id that follows from `seed`, in the part of the patient referred to, so that no race makes a second one.

    Keyed, so that nobody can compute whether somebody has an entry, or the id of a mail that they did not get.
    """
    patient_id = str(patient["reference"]).partition("/")[2] if patient else None
    return ids.fhir_id(ids.hash64(f"{secret.hex()}|{seed}") & _POSITIVE, type, patient_id)


def unread(task: conversations.Resource, now: datetime) -> conversations.Resource:
    """An entry when its owner has something to see: a handled one is open again."""
    status = "requested" if task["status"] == "completed" else task["status"]
    state = conversations.concept(systems.INBOX_STATUS, "unread")
    return {**task, "status": status, "businessStatus": state, "lastModified": clock.instant(now)}


def _after_message(task: conversations.Resource, own: bool, room: draft.Draft) -> conversations.Resource:
    now = room.view.now()
    return {**task, "lastModified": clock.instant(now)} if own else unread(task, now)
