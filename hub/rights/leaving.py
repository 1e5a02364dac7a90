"""May this leave the platform for that person? (CONS-05)

Asked when a message is posted and again when its mail is about to leave: whoever may not read it here does not get it
there, and the ledger says why.
"""

from __future__ import annotations

from typing import Any

from fhir_server import store
from fhir_server.rights import standing
from hub.rights import known
from hub.room import Room

Resource = dict[str, Any]
OPPOSITION = "retenu : opposition du patient"
WITHDRAWN = "retenu : consentement retiré"
KEPT_IN = "retenu : le patient ne veut pas que ses données sortent de la plateforme"


async def held_back(message: Resource, member: str, view: store.View) -> str:
    """Why the message about a patient does not leave for `member` (`PractitionerRole/x`); empty when it may."""
    patient = message.get("subject", {}).get("reference", "")
    if not patient:
        return ""
    return reason(await view.bits(patient, await known.keys(member, view)))


async def of_delivery(task: Resource, room: Room) -> str:
    """The same for a delivery that is about to be made, with the rights of now."""
    message = await room.read(task["focus"]["reference"])
    return await held_back(message, task["owner"]["reference"], store.View(room.store))


def reason(bits: int) -> str:
    """Why nothing leaves for somebody who stands so towards the patient; empty when it may."""
    if bits & standing.EXCLUDED or bits & standing.OPPOSED:
        return OPPOSITION
    if bits & standing.KEPT_IN:
        return KEPT_IN
    return "" if standing.sees_named(bits) else WITHDRAWN
