"""A hospital sends a document: what happens until its acknowledgement?

HL7 v2 MDM with CDA or PDF (T02; T10 replaces, T04 deletes). The message is journaled as it came, read, filed in the
patient's conversation, and acknowledged after commit. An accepted message sent again gets the same answer and changes
nothing; a refused one is processed again, since its cause may be gone.
"""

from __future__ import annotations

import asyncio
from functools import partial
from hashlib import sha256

from common import errors
from common.events import Events, emit
from fhir_server import access, changes, store
from hub import conversations, people
from hub.room import Resource, Room
from mapping import cda_header, document_to_fhir, er7, systems, v2_checks, v2_document, v2_out
from mss import address

DOOR = "mllp"
LARGE = 1_000_000  # bytes; reading more would hold up the other doors
TRIES = 8  # another message may claim the newcomer's identifiers, or change the conversation, at the same instant


async def receive(raw: bytes, peer: str, room: Room) -> bytes:
    """The acknowledgement to send back: AA after commit, AE or AR with the reason otherwise."""
    try:
        message = er7.read(raw)
    except errors.HubError as error:
        return await refuse(raw, error, peer, room)
    key, body = "|".join((*message.key, message.trigger)), sha256(raw).hexdigest()
    known = await room.store.journal_find(DOOR, key)
    if known and known.state == "accepted":
        if known.meta["sha256"] == body:
            emit(Events.HOS_012, correlation=known.id)
            return known.answer
        if room.settings.hospital_reused_id == "refuse":
            return await refuse(raw, errors.Conflict("identifiant de message déjà utilisé", at="MSH-10"), peer, room)
    entry = await room.store.journal_keep(DOOR, key, raw, at=room.now(), meta={"peer": peer, "sha256": body})
    try:
        return await _file(message, entry, room)
    except errors.HubError as error:
        answer = v2_out.ack(message, v2_out.code_for(error), error=error, control_id=entry.id, now=room.now())
        await _settle_refused(entry, answer, error, room)
        return answer


async def refuse(raw: bytes, error: errors.HubError, peer: str, room: Room) -> bytes:
    """Journal bytes that are no usable message, with the cause, and answer as well as they allow."""
    entry = await room.store.journal_keep(DOOR, sha256(raw).hexdigest(), raw, at=room.now(), meta={"peer": peer})
    answer = v2_out.nack(raw, error, code=v2_out.code_for(error), control_id=entry.id, now=room.now())
    await _settle_refused(entry, answer, error, room)
    return answer


async def broken(head: bytes, cause: str, peer: str, room: Room) -> None:
    """Journal a frame that never ended; nobody waits for an answer."""
    entry = await room.store.journal_keep(DOOR, sha256(head).hexdigest(), head, at=room.now(), meta={"peer": peer})
    await room.store.journal_settle(changes.Settle(entry.id, "refused", b"", f"truncated frame: {cause}"))
    emit(Events.HOS_014, correlation=entry.id, cause=cause, size=len(head))


async def _settle_refused(entry: store.JournalEntry, answer: bytes, error: errors.HubError, room: Room) -> None:
    await room.store.journal_settle(changes.Settle(entry.id, "refused", answer, f"{error.code} {error.at}".strip()))
    emit(Events.HOS_011, correlation=entry.id, code=error.code, at=error.at)


async def _file(message: er7.Message, entry: store.JournalEntry, room: Room) -> bytes:
    authorities = systems.INS_WITH_TEST if room.settings.demo else systems.INS_PRODUCTION
    read = partial(v2_document.read, message, ins_authorities=authorities, max_bytes=room.settings.mllp_max_bytes)
    document = read() if len(entry.raw) < LARGE else await asyncio.to_thread(read)
    v2_checks.identity(document)
    mailing = v2_checks.mailing(document, profile=message.profile)
    answer = v2_out.ack(message, "AA", control_id=entry.id, now=room.now())
    settled: list[changes.Change] = [
        changes.Settle(entry.id, "accepted", answer),
        changes.Claim(f"{DOOR}|{entry.key}|{entry.meta['sha256']}", "Journal", entry.id),
    ]
    hospital = access.Caller(f"Organization/{room.settings.hospital_organization}", "hospital", memberships=None)
    for tries_left in reversed(range(TRIES)):
        try:
            wanted = await _changes(document, mailing, hospital, room)
            await room.store.commit([*wanted, *settled], caller=hospital, cause=entry.id)
            break
        except (store.Taken, errors.Stale) as lost:
            if isinstance(lost, store.Taken) and lost.ref.startswith("Journal/"):
                return await _answer_of_twin(entry, lost.ref, room)
            if not tries_left:
                raise
    for tolerance in (*document.tolerances, *mailing.tolerances):
        emit(Events.HOS_013, correlation=entry.id, code=tolerance.code, at=tolerance.at)
    emit(Events.HOS_010, correlation=entry.id, trigger=message.trigger, size=len(document.content))
    return answer


async def _answer_of_twin(entry: store.JournalEntry, twin: str, room: Room) -> bytes:
    """The same message came at the same instant on another connection and was accepted there: its answer."""
    accepted = await room.store.journal_read(twin.partition("/")[2])
    await room.store.journal_settle(changes.Settle(entry.id, "repeated", accepted.answer))
    emit(Events.HOS_012, correlation=entry.id)
    return accepted.answer


async def _changes(
    document: v2_document.Document, mailing: v2_checks.Mailing, hospital: access.Caller, room: Room
) -> list[changes.Change]:
    """Everything that filing this document writes; nothing when the same document is already here."""
    patient = await people.patient(document.patient, room)
    same = None if patient.made else await _held(document.unique_id, patient.ref, room)
    if document.operation == "delete":
        return [*patient.new, *_withdraw(same)]
    if same and (same["status"] == "superseded" or _holds(same, document)):
        return []
    before = None if same or patient.made else await _held(document.parent_id, patient.ref, room)
    conversation = await _conversation(document, mailing, patient, room)
    filed = v2_document.to_fhir(
        document,
        patient=patient.ref,
        conversation=conversation.ref,
        author=None,
        custodian=hospital.actor,
        replaces=f"DocumentReference/{before['id']}" if before else None,
        new_id=room.store.new_id,
        now=room.now(),
    )
    *files, (_, new_id, body) = filed
    id = same["id"] if same else new_id
    wanted: list[changes.Change] = [*patient.new, *conversation.new]
    wanted += [changes.Create(type, file_id, file) for type, file_id, file in files]
    wanted.append(
        _update({**body, "id": id, "meta": same["meta"]}) if same else changes.Create("DocumentReference", id, body)
    )
    wanted += [changes.Claim(key, "DocumentReference", id) for key in _document_keys(document.unique_id, patient.ref)]
    if before and before["status"] == "current":
        wanted.append(_update(document_to_fhir.superseded(before)))
    if "MASQUE_PS" not in document.labels:
        announced = f"DocumentReference/{id}"
        wanted.append(
            _announce(document, hospital, room, filed=announced, conversation=conversation.ref, patient=patient.ref)
        )
    return wanted


def _announce(
    document: v2_document.Document, hospital: access.Caller, room: Room, *, filed: str, conversation: str, patient: str
) -> changes.Create:
    """The message that brings the document to the members."""
    text = document.mail.text or f"Document reçu de l'hôpital : {document.title}."
    post = conversations.message(
        conversation, sender=hospital.actor or "", sent=room.now(), text=text, documents=[filed], medium="hospital"
    )
    post["subject"] = conversations.reference(patient)
    return changes.Create("Communication", room.store.new_id("Communication", post), post)


async def _held(unique_id: cda_header.Id | None, patient: str, room: Room) -> Resource | None:
    """The DocumentReference that an earlier message filed for this patient under this unique id."""
    for key in _document_keys(unique_id, patient):
        if owner := await room.store.owner(key):
            return await room.read(owner)
    return None


def _document_keys(unique_id: cda_header.Id | None, patient: str) -> list[str]:
    """The claims of a document: nobody but a hospital's message can be found by them."""
    return [f"document|{patient}|{token}" for token in document_to_fhir.search_tokens(unique_id)] if unique_id else []


def _withdraw(before: Resource | None) -> list[changes.Change]:
    if before is None or before["status"] != "current":
        raise errors.NotFound("document à supprimer inconnu", at="TXA-12")
    return [_update(document_to_fhir.withdrawn(before))]


def _update(resource: Resource) -> changes.Update:
    return changes.Update(resource["resourceType"], resource["id"], resource, int(resource["meta"]["versionId"]))


def _holds(before: Resource, document: v2_document.Document) -> bool:
    """Whether the stored document is current with the very bytes of this message."""
    return before["status"] == "current" and any(
        one["attachment"].get("hash") == document.hash for one in before["content"]
    )


async def _conversation(
    document: v2_document.Document, mailing: v2_checks.Mailing, patient: people.Found, room: Room
) -> people.Found:
    """The patient's own conversation, open to those the hospital addressed; made when there is none yet."""
    own = room.settings.mail_mailbox
    reachable = [one for one in mailing.professionals if one.mssante and not address.is_of(one.mssante, own)]
    addressed = [await people.recipient(one, room) for one in reachable]
    new: list[changes.Change] = [change for one in addressed for change in one.new]
    refs = [one.ref for one in addressed]
    key = f"{systems.PATIENT_CONVERSATION}|{patient.ref.partition('/')[2]}"
    if known := None if patient.made else await room.store.owner(key):
        return people.Found(known, (*new, *_joined(await room.read(known), refs)))
    circle = [] if patient.made else await people.circle(patient.ref, room)
    members = [*refs, *circle] or [f"PractitionerRole/{room.settings.hospital_triage}"]
    title = f"Suivi de {people.display(document.patient)}"
    header = conversations.header(title, patient=patient.ref, members=dict.fromkeys(members), category="patient")
    id = room.store.new_id("Communication", header)
    patient_key = {"system": systems.PATIENT_CONVERSATION, "value": patient.ref.partition("/")[2]}
    header["identifier"] = [conversations.numbered(id), patient_key]
    new += [changes.Create("Communication", id, header), changes.Claim(key, "Communication", id)]
    return people.Found(f"Communication/{id}", tuple(new), True)


def _joined(header: Resource, refs: list[str]) -> list[changes.Change]:
    """The conversation with everybody addressed in it, open again when it was closed: the letter must be read."""
    members = conversations.members(header)
    missing = [one for one in refs if one not in members]
    if not missing and header["status"] == "in-progress":
        return []
    joined = [*header["recipient"], *map(conversations.reference, missing)]
    return [_update({**header, "status": "in-progress", "recipient": joined})]
