"""Under whose rights is the raw content of a document? (MODEL-07, CONS-02)

A Binary says neither whose it is nor with whom it is shared: the documents that cite it do. So it follows them: it
belongs to their patient, and to the widest sharing among them, in the same commit. Runs for every writer.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, query, store
from fhir_server.rights import sharing
from hub.rules import draft

Written = changes.Create | changes.Update


def rule() -> store.Rule:
    """The rule for DocumentReference."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        room = draft.Draft(wanted, caller, view)
        shares: list[changes.Change] = []
        for change in wanted:
            if isinstance(change, Written) and change.type == "DocumentReference":
                shares += await _followed(change, room)
        return [*wanted, *shares]

    return store.Rule(frozenset({"DocumentReference"}), run)


async def _followed(change: Written, room: draft.Draft) -> list[changes.Change]:
    id = room.view.patient(change.body)
    patient = f"Patient/{id}" if id else ""
    code, result = sharing.code(change.body), list[changes.Change]()
    for place, content in enumerate(change.body.get("content", ())):
        url = str(content.get("attachment", {}).get("url", ""))
        at = f"DocumentReference.content[{place}].attachment.url"
        if url.startswith("Binary/") and await _is_free(url, patient, room, at=at):
            widest = code
            for other in await _others(url, change.id, room):
                widest = _wider(widest, sharing.code(other), at=at)
            result.append(changes.Share("Binary", url[7:], frozenset(), (patient, widest)))
    return result


async def _is_free(url: str, patient: str, room: draft.Draft, *, at: str) -> bool:
    """Is it there, and nobody else's? Raises Invalid for a file of another patient."""
    if room.writes(url):
        return True
    row = (await room.view.rows([url])).get(url)
    if row is None or row.deleted:
        return False
    if row.patient and row.patient != room.address(patient):
        raise errors.Invalid("ce fichier est celui d'un autre patient ; déposez-le à nouveau", at=at)
    return True


async def _others(url: str, id: str, room: draft.Draft) -> list[draft.Resource]:
    """The other documents that cite the file."""
    view = room.view
    asked = query.parse(
        "DocumentReference", [("location", url), ("_count", "50")], view.definitions.search, now=view.now()
    )
    rows = (await view.search(asked.query)).rows
    found = await room.stored([row.ref for row in rows if row.id != id])
    return [body for _, body in found.values() if body.get("status") != "entered-in-error"]


def _wider(one: int, other: int, *, at: str) -> int:
    """The sharing that reaches more. Raises Invalid when each reaches somebody whom the other does not."""
    if one == other or not one or not other:
        return one or other
    for wide, narrow in ((one, other), (other, one)):
        if wide & sharing.KIND == sharing.OF_EVERYONE and not (wide >> 4) & ~(narrow >> 4):
            return wide
    raise errors.Invalid("ce fichier est déjà partagé autrement par un autre document ; déposez-le à nouveau", at=at)
