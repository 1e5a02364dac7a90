"""A mail comes for a conversation: what happens until the answer to the sender's server?

The mail is journaled as it came, read, its conversation found (token, then References, then subject tag: MSS-03), its
sender checked against the members (MSS-04), its new text and files posted with that member's rights. 250 after commit.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha1, sha256

from common import errors
from common.events import Events, emit
from fhir_server import access, changes, store
from hub import conversations, people
from hub.room import Resource, Room
from mapping import systems
from mss import address, letter, reception

DOOR = "mail"
LARGE = 1_000_000  # bytes; reading more would hold up the other doors
ACCEPTED = "250 2.0.0 accepte"


@dataclass(frozen=True, slots=True)
class Thread:
    """Where a mail belongs: the header of its conversation, the message it answers, and whose reply it must be.

    `answers` is None when the mail does not say; `owner` is None when only the subject's tag told the conversation.
    """

    header: Resource
    answers: str | None = None
    owner: str | None = None


async def receive(raw: bytes, envelope: reception.Envelope, room: Room) -> list[str]:
    """One SMTP status per envelope recipient, in their order."""
    return [await _one(raw, recipient, envelope, room) for recipient in envelope.recipients]


async def refused(envelope: reception.Envelope, status: str, head: bytes, room: Room) -> None:
    """Journal what the mail server refused by itself (too large, say), with the beginning of what came."""
    key = f"{sha256(head).hexdigest()} {' '.join(envelope.recipients).lower()}"
    entry = await room.store.journal_keep(DOOR, key, head, at=room.now(), meta={"peer": envelope.peer})
    await room.store.journal_settle(changes.Settle(entry.id, "refused", status.encode(), status))
    emit(Events.MSS_011, correlation=entry.id, status=status)


async def _one(raw: bytes, recipient: str, envelope: reception.Envelope, room: Room) -> str:
    key = f"{sha256(raw).hexdigest()} {recipient.lower()}"
    known = await room.store.journal_find(DOOR, key)
    if known and known.state == "accepted":
        emit(Events.MSS_012, correlation=known.id)
        return known.answer.decode()
    entry = await room.store.journal_keep(DOOR, key, raw, at=room.now(), meta={"peer": envelope.peer})
    try:
        return await _post(raw, recipient, entry, envelope, room=room)
    except errors.HubError as error:
        status = reception.status(error)
        await room.store.journal_settle(
            changes.Settle(entry.id, "refused", status.encode(), f"{error.code} {error.at}")
        )
        emit(Events.MSS_011, correlation=entry.id, status=error.smtp, code=error.code)
        return status


async def _post(
    raw: bytes, recipient: str, entry: store.JournalEntry, envelope: reception.Envelope, *, room: Room
) -> str:
    mail = letter.read(raw) if len(raw) < LARGE else await asyncio.to_thread(letter.read, raw)
    accepted = changes.Settle(entry.id, "accepted", ACCEPTED.encode())
    if mail.is_report:
        await room.store.commit([accepted], caller=access.SYSTEM, cause=entry.id)
        emit(Events.MSS_013, correlation=entry.id)
        return ACCEPTED
    thread = await _thread(mail, recipient, room)
    member = await _member(mail, thread, envelope, room)
    name, _ = await people.name(member, room)
    caller = access.person(member, client="mssante", name=name)
    wanted = _changes(mail, raw, thread, room, member=member)
    try:
        await room.store.commit([*wanted, accepted], caller=caller, cause=entry.id)
        emit(Events.MSS_010, correlation=entry.id, documents=len(mail.attachments))
    except store.Taken:  # the same Message-ID came before by another route, whose Received lines made other bytes
        await room.store.commit([accepted], caller=access.SYSTEM, cause=entry.id)
        emit(Events.MSS_012, correlation=entry.id)
    return ACCEPTED


async def _thread(mail: letter.Letter, recipient: str, room: Room) -> Thread:
    """The conversation, by token, by the ids of our own mails, by subject tag; never guessed. Raises NotFound."""
    answered = await _answered(mail, room)
    if token := address.token_of(recipient, room.settings.mail_mailbox):
        for entry in await room.find("Task", identifier=f"{systems.REPLY_TOKEN}|{token}", code=f"{systems.TASK}|inbox"):
            header = await room.read(entry["focus"]["reference"])
            return Thread(header, answered.get("focus", {}).get("reference"), entry["owner"]["reference"])
        raise errors.NotFound("adresse de réponse inconnue ou révoquée", at="RCPT TO")
    if answered:
        message = await room.read(answered["focus"]["reference"])
        header = await room.read(conversations.header_ref(message))
        return Thread(header, answered["focus"]["reference"], answered["owner"]["reference"])
    if mail.tag:
        for header in await room.find("Communication", identifier=f"{systems.CONVERSATION}|{mail.tag}"):
            return Thread(header)
    raise errors.NotFound("aucune conversation ne correspond : répondez au courriel reçu", at="RCPT TO")


async def _answered(mail: letter.Letter, room: Room) -> Resource:
    """The delivery Task whose mail this one answers (our Message-IDs are the ids of those Tasks), else nothing."""
    for message_id in (*mail.in_reply_to, *reversed(mail.references)):
        id, _, domain = message_id.partition("@")
        if domain == room.settings.mail_domain:
            try:
                task = await room.read(f"Task/{id}")
            except errors.HubError:
                continue
            if conversations.has_code(task.get("code"), systems.TASK, "deliver"):
                return task
    return {}


async def _member(mail: letter.Letter, thread: Thread, envelope: reception.Envelope, room: Room) -> str:
    """The member whose mailbox sent the mail. The address proves the thread, not the person (MSS-04).

    Raises Forbidden when the author is not who handed the mail in, is the hub itself, is no member, or answers at an
    address that was given to somebody else.
    """
    author = mail.sender.address
    if address.is_of(author, room.settings.mail_mailbox):
        raise errors.Forbidden("le hub ne se répond pas à lui-même", at="From")
    if envelope.mail_from and address.normalise(envelope.mail_from) != author:
        raise errors.Forbidden("l'expéditeur de l'enveloppe n'est pas l'auteur du courriel", at="MAIL FROM")
    roles = await room.store.many(conversations.members(thread.header), caller=access.SYSTEM)
    for ref in roles:
        if conversations.mailbox(await room.read(ref)) == author:
            if thread.owner in (None, ref):
                return ref
            raise errors.Forbidden("cette adresse de réponse a été donnée à quelqu'un d'autre", at="RCPT TO")
    raise errors.Forbidden("cette boîte n'est pas membre de la conversation", at="From")


def _changes(mail: letter.Letter, raw: bytes, thread: Thread, room: Room, *, member: str) -> list[changes.Change]:
    """The message with its documents; the whole mail is kept beside it when the text shown is only a part of it."""
    header = f"Communication/{thread.header['id']}"
    files = [_document(part, thread, member, room) for part in mail.attachments]
    documents = [f"DocumentReference/{reference.id}" for _, reference in files]
    post = conversations.message(
        header, sender=member, sent=mail.date or room.now(), text=mail.reply, documents=documents, medium="mssante"
    )
    if "subject" in thread.header:
        post["subject"] = thread.header["subject"]
    if mail.message_id:
        post["identifier"] = [{"system": systems.MESSAGE_ID, "value": mail.message_id}]
    if thread.answers:
        post["inResponseTo"] = [conversations.reference(thread.answers)]
    result: list[changes.Change] = [change for pair in files for change in pair]
    whole = _binary("message/rfc822", raw, thread, room)
    post["extension"] = [
        {"url": systems.ORIGINAL_MAIL, "valueReference": conversations.reference(f"Binary/{whole.id}")}
    ]
    result.append(whole)  # its author's alone: it shows their own reply address
    id = room.store.new_id("Communication", post)
    result.append(changes.Create("Communication", id, post))
    if mail.message_id:
        said = sha256("|".join((mail.reply, *(part.sha256 for part in mail.attachments))).encode()).hexdigest()
        result.append(changes.Claim(f"mail|{header}|{mail.message_id}|{said}", "Communication", id))
    return result


def _document(
    part: letter.Attachment, thread: Thread, member: str, room: Room
) -> tuple[changes.Create, changes.Create]:
    binary = _binary(part.media_type, part.data, thread, room)
    attachment = {
        "contentType": part.media_type,
        "url": f"Binary/{binary.id}",
        "size": len(part.data),
        "hash": b64encode(sha1(part.data, usedforsecurity=False).digest()).decode(),
        "title": part.filename,
    }
    reference: Resource = {
        "resourceType": "DocumentReference",
        "status": "current",
        "description": part.filename,
        "author": [conversations.reference(member)],
        "content": [{"attachment": attachment}],
        "context": {"related": [conversations.reference(f"Communication/{thread.header['id']}")]},
    }
    if "subject" in thread.header:
        reference["subject"] = thread.header["subject"]
    id = room.store.new_id("DocumentReference", reference)
    return binary, changes.Create("DocumentReference", id, reference)


def _binary(media_type: str, data: bytes, thread: Thread, room: Room) -> changes.Create:
    body: Resource = {"resourceType": "Binary", "contentType": media_type}
    if "subject" in thread.header:
        body["securityContext"] = thread.header["subject"]
    body["data"] = b64encode(data).decode()
    return changes.Create("Binary", room.store.new_id("Binary", body), body)
