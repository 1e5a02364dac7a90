"""Is this conversation whole, and does every member have an inbox entry for it? (MODEL-01, MODEL-03)"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, store
from fhir_server.rights import standing
from hub import conversations
from hub.rights import known
from hub.rules import draft, inbox, members
from mapping import systems

CATEGORIES = ("direct", "group", "patient", "request")


def rule(secret: bytes) -> store.Rule:
    """The rule for conversation headers; `secret` keys the reply tokens of the inbox entries."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        room = draft.Draft(wanted, caller, view)
        result: list[changes.Change] = []
        for change in wanted:
            if isinstance(change, changes.Create | changes.Update) and conversations.is_header(change.body):
                result += await _keep(change, room, secret)
            else:
                result.append(change)
        return result

    return store.Rule(frozenset({"Communication"}), run)


async def _keep(change: changes.Create | changes.Update, room: draft.Draft, secret: bytes) -> list[changes.Change]:
    body = dict(change.body)
    if isinstance(change, changes.Update):
        await _check_update(change, room)
    _check(body)
    author = room.caller.actor if room.caller.memberships is not None else None
    if author and isinstance(change, changes.Create) and author not in conversations.members(body):
        body["recipient"] = [*body.get("recipient", ()), conversations.reference(author)]
    if not body.get("identifier"):
        body["identifier"] = [conversations.numbered(change.id)]
    if "subject" in body:
        subject = body["subject"].get("reference", "")
        if not subject.startswith("Patient/"):
            raise errors.Invalid("une conversation a pour sujet un Patient", at="Communication.subject")
        await room.find(subject, at="Communication.subject")
    present = conversations.members(body)
    if "subject" in body and room.caller.memberships is not None:
        await _welcome(change, present, body["subject"]["reference"], room)
    held = await room.stored([f"Communication/{change.id}"]) if isinstance(change, changes.Update) else {}
    before = next((one for _, one in held.values()), None)
    team = await members.kept(f"Communication/{change.id}", before, body, room, secret=secret)
    kept = _with_body(change, body, frozenset(present))
    entries = await inbox.entries(f"Communication/{change.id}", body, room, secret, sender=room.caller.actor)
    return [kept, *team, *entries]


def _check(body: conversations.Resource) -> None:
    problems = []
    if body.get("status") not in ("in-progress", "completed"):
        problems.append(("une conversation est ouverte (in-progress) ou close (completed)", "Communication.status"))
    if not body.get("topic", {}).get("text"):
        problems.append(("donnez un titre à la conversation", "Communication.topic.text"))
    if not any(
        conversations.has_code(one, systems.CONVERSATION_KIND, code)
        for one in body.get("category", ())
        for code in CATEGORIES
    ):
        problems.append(
            (f"catégorie attendue : {', '.join(CATEGORIES)} ({systems.CONVERSATION_KIND})", "Communication.category")
        )
    if body.get("payload"):
        problems.append(("l'en-tête ne porte pas de contenu : écrivez un message (partOf)", "Communication.payload"))
    if problems:
        raise errors.Invalid(
            problems[0][0],
            at=problems[0][1],
            issues=tuple(errors.Issue(text, at, "business-rule") for text, at in problems),
        )


async def _check_update(change: changes.Update, room: draft.Draft) -> None:
    held = await room.stored([f"Communication/{change.id}"])
    for _, before in held.values():
        if not conversations.is_header(before):
            raise errors.Invalid("un message ne devient pas une conversation", at="Communication.partOf")
        if before.get("subject") != change.body.get("subject"):
            raise errors.Invalid("le patient d'une conversation ne change pas", at="Communication.subject")
        if room.caller.memberships is not None and room.caller.actor not in conversations.members(before):
            raise errors.Forbidden("seul un membre modifie la conversation", at="Communication")


async def _welcome(change: changes.Create | changes.Update, coming: list[str], patient: str, room: draft.Draft) -> None:
    """Nobody comes in whom the patient does not want (DISC-07, CONS-02)."""
    held = await room.stored([f"Communication/{change.id}"]) if isinstance(change, changes.Update) else {}
    present = {member for _, before in held.values() for member in conversations.members(before)}
    for place, member in enumerate(coming):
        if member not in present and await room.bits(patient, await known.keys(member, room.view)) & standing.EXCLUDED:
            text = "le patient s'est opposé à ce que cette personne ou sa structure accède à ses données"
            raise errors.Invalid(text, at=f"Communication.recipient[{place}]")


def _with_body(
    change: changes.Create | changes.Update, body: conversations.Resource, readers: frozenset[str]
) -> changes.Change:
    if isinstance(change, changes.Create):
        return changes.Create(change.type, change.id, body, change.readers | readers)
    return changes.Update(change.type, change.id, body, change.version, change.readers | readers)
