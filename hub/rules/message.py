"""What happens to everybody when a message is posted? (MODEL-02 to MODEL-04, MSS-01)

Whatever door it came by: the members get an unread inbox entry and the right to read the message, its documents and the
patient's identity; members reached by mail get a line in the delivery ledger and their mail is queued, in one commit.
"""

from __future__ import annotations

from collections.abc import Iterable

from common import clock, errors
from fhir_server import access, changes, store
from hub import conversations
from hub.rights import leaving
from hub.rules import draft, inbox
from mapping import systems

Resource = conversations.Resource
# Which door a caller's client stands for; any other client is a software of its own.
DOORS = {"": "app", "mssante": "mssante", "hospital": "hospital", **dict.fromkeys(access.OWN_APP, "app")}


def rule(secret: bytes) -> store.Rule:
    """The rule for messages; `secret` keys the reply tokens of new inbox entries."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        room = draft.Draft(wanted, caller, view)
        result: list[changes.Change] = []
        for change in wanted:
            if (
                not (isinstance(change, changes.Create | changes.Update) and change.body.get("partOf"))
                or change.type != "Communication"
            ):
                result.append(change)
            elif isinstance(change, changes.Create):
                result += await _post(change, room, secret)
            else:
                result += await _revise(change, room, secret)
        return result

    return store.Rule(frozenset({"Communication"}), run)


async def _post(
    change: changes.Create, room: draft.Draft, secret: bytes, *, prepared: str = ""
) -> list[changes.Change]:
    if len(change.body["partOf"]) != 1:
        raise errors.Invalid("un message fait partie d'une seule conversation", at="Communication.partOf")
    if change.body.get("status") not in ("preparation", "in-progress", "completed"):
        raise errors.Invalid("statut attendu : preparation, in-progress ou completed", at="Communication.status")
    header_ref = conversations.header_ref(change.body)
    header = await room.find(header_ref, at="Communication.partOf[0]")
    if not conversations.is_header(header):
        raise errors.Invalid(
            "un message fait partie d'une conversation, pas d'un message", at="Communication.partOf[0]"
        )
    body = _completed(change.body, header, room, prepared)
    if body["status"] == "preparation":
        return [changes.Create("Communication", change.id, body, change.readers)]
    if header["status"] != "in-progress":
        raise errors.Invalid("la conversation est close : rouvrez-la pour écrire", at="Communication.partOf[0]")
    members = conversations.members(header)
    body["recipient"] = [conversations.reference(one) for one in members]
    kept = changes.Create("Communication", change.id, body, change.readers | frozenset(members))
    shared = await _share(body, members, room)
    entries = await inbox.entries(header_ref, header, room, secret, sender=body["sender"]["reference"], bump=True)
    return [kept, *shared, *entries, *await _deliveries(change.id, body, room, secret)]


def _completed(given: Resource, header: Resource, room: draft.Draft, prepared: str) -> Resource:
    """The message with what the hub knows better than the client: sender, time, patient, channel.

    `prepared` is who wrote its draft in the sender's name.
    """
    body = dict(given)
    caller = room.caller
    sender = body.setdefault("sender", conversations.reference(caller.actor or ""))
    if caller.memberships is not None:
        if sender.get("reference") != caller.actor:
            raise errors.Forbidden("l'auteur d'un message est la personne connectée", at="Communication.sender")
        if caller.actor not in conversations.members(header):
            raise errors.Forbidden("seul un membre écrit dans la conversation", at="Communication.partOf[0]")
    if not body.get("payload"):
        raise errors.Invalid("un message porte un texte ou un document", at="Communication.payload")
    if body.get("subject", header.get("subject")) != header.get("subject"):
        raise errors.Invalid("le patient du message est celui de la conversation", at="Communication.subject")
    if "subject" in header:
        body["subject"] = header["subject"]
    if caller.memberships is not None or "sent" not in body:
        body["sent"] = clock.instant(room.view.now())
    if caller.memberships is not None or "medium" not in body:
        body["medium"] = [conversations.concept(systems.MEDIUM, DOORS.get(caller.client or "", "api"))]
    if caller.memberships is not None:
        _signed(body, caller.delegate or prepared)
    return body


def _signed(body: Resource, delegate: str) -> None:
    """Whoever acts for the sender stands beside them (ACC-14); nobody else writes that of anyone."""
    others = [one for one in body.pop("extension", ()) if one.get("url") != systems.PREPARED_BY]
    if delegate:
        others.append({"url": systems.PREPARED_BY, "valueReference": conversations.reference(delegate)})
    if others:
        body["extension"] = others


async def _revise(change: changes.Update, room: draft.Draft, secret: bytes) -> list[changes.Change]:
    """A draft may become anything; a sent message may only be withdrawn, by its author (DISC-02)."""
    held = await room.stored([f"Communication/{change.id}"])
    if not held:
        return [change]
    version, before = next(iter(held.values()))
    if room.caller.memberships is not None and before.get("sender", {}).get("reference") != room.caller.actor:
        raise errors.Forbidden("seul son auteur modifie ou retire un message", at="Communication.sender")
    if before["status"] == "preparation":
        as_new = changes.Create("Communication", change.id, change.body, change.readers)
        posted = await _post(as_new, room, secret, prepared=conversations.prepared_by(before))
        first = posted[0]
        assert isinstance(first, changes.Create)
        return [
            changes.Update("Communication", change.id, first.body, change.version or version, first.readers),
            *posted[1:],
        ]
    if change.body.get("status") != "entered-in-error":
        raise errors.Invalid(
            "un message envoyé ne se modifie pas ; il se retire (entered-in-error)", at="Communication.status"
        )
    return [
        changes.Update("Communication", change.id, {**before, "status": "entered-in-error"}, change.version or version)
    ]


async def _share(body: Resource, members: Iterable[str], room: draft.Draft) -> list[changes.Change]:
    """Members may read the documents that the author put in the message, and who the patient is."""
    readers = frozenset(members)
    result: list[changes.Change] = []
    if patient := body.get("subject", {}).get("reference"):
        result.append(_shared(patient, readers))
    for place, payload in enumerate(body["payload"]):
        at = f"Communication.payload[{place}]"
        if "contentAttachment" in payload:
            raise errors.Invalid("déposez le document (DocumentReference) et citez-le par contentReference", at=at)
        if "contentReference" in payload:
            for ref in await _files(
                payload["contentReference"].get("reference", ""), room, at=f"{at}.contentReference"
            ):
                result.append(_shared(ref, readers))
    return result


async def _files(document: str, room: draft.Draft, *, at: str) -> list[str]:
    """A document and its Binaries, each of which the author must be able to read: nobody shares what is not theirs."""
    if not document.startswith("DocumentReference/"):
        raise errors.Invalid("un message cite un DocumentReference", at=at)
    content = (await room.find(document, at=at)).get("content", ())
    binaries = [str(one.get("attachment", {}).get("url", "")) for one in content]
    if not binaries or not all(one.startswith("Binary/") for one in binaries):
        raise errors.Invalid("le contenu du document doit être déposé ici (Binary)", at=at)
    for binary in binaries:
        await room.find(binary, at=at)
    return [document, *binaries]


def _shared(ref: str, readers: frozenset[str]) -> changes.Share:
    type, _, id = ref.partition("/")
    return changes.Share(type, id, readers)


async def _deliveries(id: str, body: Resource, room: draft.Draft, secret: bytes) -> list[changes.Change]:
    """A ledger line and queued work for each member reached by mail, except the author."""
    message, header = f"Communication/{id}", conversations.header_ref(body)
    members = conversations.members(body)
    outside = [one for one in members if one != body["sender"]["reference"]]
    roles = await room.present(outside)
    patient, now = body.get("subject"), room.view.now()
    result: list[changes.Change] = []
    for member in outside:
        if member in roles and conversations.wants_mail(roles[member][1]):
            task = conversations.delivery(header, message, member, patient=patient, now=now)
            task_id = inbox.derived_id(secret, f"deliver|{message}|{member}", patient)
            readers = frozenset({body["sender"]["reference"], *members})
            held_back = await leaving.held_back(body, member, room.view) if patient else ""
            if held_back:
                task = conversations.milestone(task, code="retenu", status="rejected", proof=held_back, now=now)
            result.append(changes.Create("Task", task_id, task, readers))
            if not held_back:
                result.append(changes.Enqueue("mail", "Task", task_id))
    return result
