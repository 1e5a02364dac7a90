"""What may a person or a software not write, because others trust it blindly?

Hospital letters and mails are routed by the directory, by identities and by identifiers that the hub mints. Until each
has its own journey (directory sync, INS service), only the hub itself writes them.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, store
from hub import conversations
from hub.rules import draft
from mapping import systems

MINTED = frozenset({systems.CONVERSATION, systems.PATIENT_CONVERSATION, systems.REPLY_TOKEN})
# What others read and act upon: it is withdrawn by its status or replaced, never deleted or rewritten by a reader.
LASTING = frozenset({"Communication", "Task", "Patient", "Binary", "DocumentReference"})
UNCHANGING = frozenset({"Patient", "Binary"})


def rule() -> store.Rule:
    """The rule; the hub's own flows and `hub token --system` are free of it."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        room = draft.Draft(wanted, caller, view)
        for change in wanted:
            if isinstance(change, changes.Create | changes.Update | changes.Delete):
                _check_type(change)
            if isinstance(change, changes.Create | changes.Update):
                await _check_identifiers(change, room)
        return wanted

    return store.Rule(None, run, of_people=True)


def _check_type(change: changes.Create | changes.Update | changes.Delete) -> None:
    if change.type in access.OPEN_TYPES:
        text = f"{change.type} : l'annuaire et les référentiels ne s'écrivent pas par ici"
        raise errors.Forbidden(text, at=change.type)
    if isinstance(change, changes.Delete) and change.type in LASTING:
        raise errors.Forbidden(f"{change.type} : se retire par son statut, ne s'efface pas", at=change.type)
    if isinstance(change, changes.Update) and change.type in UNCHANGING:
        raise errors.Forbidden(f"{change.type} : ne se modifie pas par ici", at=change.type)


async def _check_identifiers(change: changes.Create | changes.Update, room: draft.Draft) -> None:
    """Minted and national identifiers stay as they are; nobody adds, alters or moves one."""
    given = _guarded(change.body)
    held: list[conversations.Resource] = []
    if isinstance(change, changes.Update):
        for _, before in (await room.stored([f"{change.type}/{change.id}"])).values():
            held = _guarded(before)
    if given != held:
        text = "identifiant attribué par le hub ou par le téléservice INS : il ne se saisit ni ne se modifie"
        raise errors.Forbidden(text, at=f"{change.type}.identifier")


def _guarded(resource: conversations.Resource) -> list[conversations.Resource]:
    identifiers = resource.get("identifier", [])
    several = identifiers if isinstance(identifiers, list) else [identifiers]
    return [one for one in several if one.get("system") in MINTED | systems.INS_SYSTEMS]
