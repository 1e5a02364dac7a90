"""Which reply address has a member in a conversation, and how is one revoked? (MSS-02)

The token stands on the member's inbox entry and is good until it is replaced. An old one stays there, marked, so that a
mail to it is refused with the reason and not as if it had never been.
"""

from __future__ import annotations

from fhir_server import access, changes
from hub.room import Resource, Room
from hub.rules import inbox
from mapping import systems
from mss import address


async def current(header: Resource, owner: str, room: Room) -> str | None:
    """The token of a member (`PractitionerRole/x`); None when they have no inbox entry."""
    entry = await _entry(header, owner, room)
    return next((one["value"] for one in _tokens(entry) if one.get("use") != "old"), None) if entry else None


def is_revoked(entry: Resource, token: str) -> bool:
    """Whether this token of an inbox entry was replaced by another."""
    return any(one["value"] == token and one.get("use") == "old" for one in _tokens(entry))


async def revoke(header: Resource, owner: str, room: Room) -> str:
    """Replace the token of a member; the new one, which their next mails carry. Raises NotFound, Stale."""
    entry = await _entry(header, owner, room)
    if entry is None:
        entry = await room.read(f"Task/{_id(header, owner, room)}")  # raises NotFound
    held = _tokens(entry)
    # The number of earlier ones makes it another token, and the same one if this is tried twice at once.
    made = address.token(room.secret, f"Communication/{header['id']}", f"{owner}#{len(held)}")
    others = [one for one in entry.get("identifier", ()) if one.get("system") != systems.REPLY_TOKEN]
    fresh = {"system": systems.REPLY_TOKEN, "value": made}
    after = {**entry, "identifier": [*others, *({**one, "use": "old"} for one in held), fresh]}
    version = int(entry["meta"]["versionId"])
    update = changes.Update("Task", entry["id"], after, version)
    await room.store.commit([update], caller=access.SYSTEM, cause="adresse de réponse révoquée")
    return made


async def _entry(header: Resource, owner: str, room: Room) -> Resource | None:
    id = _id(header, owner, room)
    return await room.read(f"Task/{id}") if await room.store.existing([("Task", id)]) else None


def _id(header: Resource, owner: str, room: Room) -> str:
    return inbox.entry_id(room.secret, f"Communication/{header['id']}", owner, header)


def _tokens(entry: Resource) -> list[Resource]:
    return [one for one in entry.get("identifier", ()) if one.get("system") == systems.REPLY_TOKEN]
