"""Which documents may a person deposit, and what may become of one afterwards?

A document only points at files that its author may read, so that sharing it later shares nothing else. It is not
rewritten: its author withdraws or describes it, a new version is another document that replaces it and makes it
superseded in the same commit.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, store
from hub import conversations
from hub.rules import draft

DESCRIBING = frozenset({"status", "docStatus", "description", "meta", "text"})


def rule() -> store.Rule:
    """The rule for DocumentReference; the hub's own flows are free of it."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        if caller.memberships is None:
            return wanted
        room = draft.Draft(wanted, caller, view)
        kept = [await _checked(one, room) for one in wanted]
        replaced = [change for one in kept for change in await _replaced(one, room)]
        return [*kept, *replaced]

    return store.Rule(frozenset({"DocumentReference"}), run)


async def _checked(change: changes.Change, room: draft.Draft) -> changes.Change:
    if isinstance(change, changes.Create) and change.type == "DocumentReference":
        return await _deposited(change, room)
    if isinstance(change, changes.Update) and change.type == "DocumentReference":
        for _, before in (await room.stored([f"DocumentReference/{change.id}"])).values():
            _described(before, change.body, room)
    return change


async def _deposited(change: changes.Create, room: draft.Draft) -> changes.Create:
    """With its author, who is the caller; "custodian" says who vouches for it, which is the hub's to write."""
    body = dict(change.body)
    author = conversations.reference(room.caller.actor or "")
    if body.setdefault("author", [author]) != [author] and author not in body["author"]:
        raise errors.Forbidden("l'auteur du document est la personne connectée", at="DocumentReference.author")
    if "custodian" in body:
        raise errors.Forbidden("custodian : renseigné par le hub", at="DocumentReference.custodian")
    for place, content in enumerate(body["content"]):
        url = str(content["attachment"].get("url", ""))
        if url.startswith("Binary/"):
            await room.find(url, at=f"DocumentReference.content[{place}].attachment.url")
    return changes.Create(change.type, change.id, body, change.readers)


async def _replaced(change: changes.Change, room: draft.Draft) -> list[changes.Change]:
    """What a new document replaces stops being current with it: one current version (DOS-06)."""
    if not isinstance(change, changes.Create) or change.type != "DocumentReference":
        return []
    result: list[changes.Change] = []
    for place, relation in enumerate(change.body.get("relatesTo", ())):
        # What is named by identifier alone never came here: nothing to supersede.
        if relation.get("code") != "replaces" or "reference" not in relation.get("target", {}):
            continue
        ref, at = str(relation.get("target", {}).get("reference", "")), f"DocumentReference.relatesTo[{place}].target"
        before = await room.find(ref, at=at)
        if before["resourceType"] != "DocumentReference" or before.get("subject") != change.body.get("subject"):
            raise errors.Invalid("un document en remplace un autre du même patient", at=at)
        if before["status"] != "current":
            raise errors.Conflict("ce document n'est plus la version en cours : remplacez la dernière", at=at)
        version, held = (await room.stored([ref]))[ref]
        superseded = {**held, "status": "superseded"}
        result.append(changes.Update("DocumentReference", ref.partition("/")[2], superseded, version))
    return result


def _described(before: conversations.Resource, after: conversations.Resource, room: draft.Draft) -> None:
    if conversations.reference(room.caller.actor or "") not in before.get("author", ()):
        raise errors.Forbidden("seul son auteur modifie un document", at="DocumentReference.author")
    for name in before.keys() | after.keys():
        if name not in DESCRIBING and before.get(name) != after.get(name):
            text = f"{name} : ne change pas ; déposez une nouvelle version (relatesTo)"
            raise errors.Forbidden(text, at=f"DocumentReference.{name}")
