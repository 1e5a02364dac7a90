"""What is known of a message's way to one recipient, when something new is heard? (DISC-04, MODEL-04, MSS-08)

Reports come late, twice, and in any order. A milestone only goes forward; a failure stands until something proves that
the message arrived after all; what changes nothing is kept as a proof, once.
"""

from __future__ import annotations

from fhir_server import changes
from hub import conversations
from hub.room import Resource, Room
from hub.rules import inbox
from mapping import systems

# Further is higher. "retarde" and "absent" say something on the way; neither takes back what was known.
_ORDER = {"": 0, "envoye": 1, "retarde": 2, "remis": 3, "absent": 4, "affiche": 5, "traite": 6, "acquitte": 7}
FAILED, HELD_BACK = "echec", "retenu"


def after(
    task: Resource, *, code: str, proof: str, room: Room, reason: str = "", arrived: bool = False
) -> Resource | None:
    """The delivery Task once this is known; None when it was known before.

    `code` is from delivery-status, `proof` the other side's words, `reason` French, for a failure. `arrived`: a failure
    at the recipient's own software, which counts though the mail was shown; a bounce comes from a server before it.
    """
    if any(_is(one, code, proof) for one in task.get("output", ())):
        return None
    held = code_of(task)
    if code in (FAILED, HELD_BACK):
        wins = held == FAILED or _ORDER.get(held, len(_ORDER)) < (len(_ORDER) if arrived else _ORDER["affiche"])
    else:
        wins = _ORDER[code] >= _ORDER["remis"] if held == FAILED else _ORDER[code] > _ORDER.get(held, len(_ORDER))
    status = {FAILED: "failed", HELD_BACK: "rejected"}.get(code, "completed") if wins else task["status"]
    changed = conversations.milestone(task, code=code, status=status, proof=proof, now=room.now())
    if not wins:
        return {**changed, **{name: task[name] for name in ("businessStatus",) if name in task}}
    changed.pop("statusReason", None)
    return {**changed, "statusReason": {"text": reason}} if reason and status != "completed" else changed


def code_of(task: Resource) -> str:
    """The milestone where a delivery stands; "" before anything happened."""
    codings = task.get("businessStatus", {}).get("coding", ())
    return next((str(one["code"]) for one in codings if one.get("system") == systems.DELIVERY_STATUS), "")


async def warning(task: Resource, room: Room) -> list[changes.Change]:
    """The sender's inbox entry of the conversation becomes unread: their message did not arrive (MSS-08).

    Nothing when they have no entry (a hospital's system, somebody who has left), and for mails about accounts.
    """
    if not conversations.has_code(task.get("code"), systems.TASK, "deliver"):
        return []
    message = await room.read(task["focus"]["reference"])
    header = await room.read(conversations.header_ref(message))
    owner = message["sender"]["reference"]
    id = inbox.entry_id(room.secret, f"Communication/{header['id']}", owner, header)
    if not await room.store.existing([("Task", id)]):
        return []
    entry = await room.read(f"Task/{id}")
    version = int(entry["meta"]["versionId"])
    return [changes.Update("Task", id, inbox.unread(entry, room.now()), version)]


def _is(output: Resource, code: str, proof: str) -> bool:
    said = str(output.get("valueString", "")).partition(" ")[2]
    return output.get("type", {}).get("text") == code and said == proof.strip()
