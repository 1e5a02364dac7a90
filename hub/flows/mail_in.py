"""A mail comes for a conversation: what happens until the answer to the sender's server?

The mail is journaled as it came, read, its conversation found (token, then References, then subject tag: MSS-03), its
sender checked against the members (MSS-04), its new text and files posted with that member's rights. 250 after commit.
A mail of a known mailbox that finds no conversation, or is no member of it, is held for a person; others are refused.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

from common import errors
from common.events import Events, emit
from fhir_server import access, changes, store
from hub import allowlist, conversations, people, reply_tokens
from hub.flows import mail_pace, mail_package, mail_receipt
from hub.room import Resource, Room
from mapping import document_to_fhir, systems
from mss import address, letter, receipts, reception

DOOR = "mail"
LARGE = 1_000_000  # bytes; reading more would hold up the other doors
ACCEPTED = "250 2.0.0 accepte"
HELD = "held"  # the state in the journal of a mail that waits for a person


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
    if known and known.state in ("accepted", HELD):
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
    mail, reported = _read(raw, envelope) if len(raw) < LARGE else await asyncio.to_thread(_read, raw, envelope)
    _trusted(mail, envelope, room)
    if mail is None:
        await mail_receipt.receive(reported, recipient, entry, room)
        return ACCEPTED
    _genuine(mail, envelope, room)
    thread = await _thread(mail, recipient, room)
    if thread is None:
        unplaced = errors.NotFound("aucune conversation ne correspond : répondez au courriel reçu", at="RCPT TO")
        return await _hold(mail, entry, room, unplaced)
    member = await _member(mail, thread, room)
    if member is None:
        stranger = errors.Forbidden("cette boîte n'est pas membre de la conversation", at="From")
        return await _hold(mail, entry, room, stranger)
    await mail_pace.check(mail, f"Communication/{thread.header['id']}", member, room)
    try:
        await _write(mail, raw, thread, room, member=member, entry=entry)
    except mail_package.NeedsPerson as question:
        return await _hold(mail, entry, room, question)
    return ACCEPTED


async def _write(
    mail: letter.Letter,
    raw: bytes,
    thread: Thread,
    room: Room,
    *,
    member: str,
    entry: store.JournalEntry,
    cause: str = "",
) -> None:
    """Post with the member's rights, and settle the journal entry in the same commit."""
    accepted = changes.Settle(entry.id, "accepted", ACCEPTED.encode(), cause)
    name, _ = await people.name(member, room)
    caller = access.person(member, client="mssante", name=name)
    packaged = await mail_package.file(mail, thread.header, member, room)
    wanted = _changes(mail, raw, thread, room, member=member, packaged=packaged)
    try:
        await room.store.commit([*wanted, accepted], caller=caller, cause=entry.id)
        emit(Events.MSS_010, correlation=entry.id, documents=len(mail.attachments))
    except store.Taken:  # the same Message-ID came before by another route, whose Received lines made other bytes
        await room.store.commit([accepted], caller=access.SYSTEM, cause=entry.id)
        emit(Events.MSS_012, correlation=entry.id)


async def _hold(mail: letter.Letter, entry: store.JournalEntry, room: Room, refusal: errors.HubError) -> str:
    """Keep the mail of a known mailbox until a person says where it belongs ("courriers à rattacher").

    No member sees it before. Raises the refusal when the directory does not know who writes.
    """
    if await people.by_mailbox(mail.sender.address, room) is None:
        raise refusal
    held = changes.Settle(entry.id, HELD, ACCEPTED.encode(), f"à rattacher : {refusal.message}")
    await room.store.journal_settle(held)
    emit(Events.MSS_020, correlation=entry.id)
    return ACCEPTED


async def attach(id: str, number: str, room: Room) -> None:
    """Post a held mail into the conversation of this number, as its sender.

    Raises NotFound, Conflict when it is not held, Forbidden when its sender is no member.
    """
    entry = await _held(id, room)
    found = await room.find("Communication", identifier=f"{systems.CONVERSATION}|{number.strip('#[]').upper()}")
    if not found:
        raise errors.NotFound("aucune conversation n'a ce numéro", at="conversation")
    mail, thread = letter.read(entry.raw), Thread(found[0])
    member = await _member(mail, thread, room)
    if member is None:
        text = "l'expéditeur n'est pas membre de cette conversation : un membre doit d'abord l'y ajouter"
        raise errors.Forbidden(text, at="From")
    await _write(mail, entry.raw, thread, room, member=member, entry=entry, cause="rattaché par une personne")


async def drop(id: str, cause: str, room: Room) -> None:
    """Hold a mail no longer; it stays in the journal with the reason. Raises NotFound, Conflict when it is not held."""
    entry = await _held(id, room)
    await room.store.journal_settle(changes.Settle(entry.id, "refused", entry.answer, f"écarté : {cause}"))


async def _held(id: str, room: Room) -> store.JournalEntry:
    entry = await room.store.journal_read(id)
    if entry.door != DOOR or entry.state != HELD:
        raise errors.Conflict("ce courriel n'est pas, ou n'est plus, à rattacher", at=id)
    return entry


def _read(raw: bytes, envelope: reception.Envelope) -> tuple[letter.Letter | None, tuple[receipts.Receipt, ...]]:
    """A person's mail, or what a machine reports (then what else is in it, and cannot be read, does not matter)."""
    reported = receipts.read(raw, null_sender=not envelope.mail_from)
    return (None if reported else letter.read(raw)), reported


def _trusted(mail: letter.Letter | None, envelope: reception.Envelope, room: Room) -> None:
    """Raises Forbidden for a sender outside of the trust space, Unavailable when nobody can tell yet."""
    known = allowlist.Kept(room.settings)
    for sender in (envelope.mail_from, mail.sender.address if mail else ""):
        if sender and known.problem(sender, room.now()):
            raise errors.Forbidden("ce domaine est hors de l'espace de confiance MSSanté", at="From")


async def _thread(mail: letter.Letter, recipient: str, room: Room) -> Thread | None:
    """The conversation, by token, by the ids of our own mails, by subject tag; never guessed.

    Raises NotFound for a token that was never ours and Forbidden for one that was revoked.
    """
    answered = await _answered(mail, room)
    if token := address.token_of(recipient, room.settings.mail_mailbox):
        for entry in await room.find("Task", identifier=f"{systems.REPLY_TOKEN}|{token}", code=f"{systems.TASK}|inbox"):
            if reply_tokens.is_revoked(entry, token):
                text = "adresse de réponse révoquée : répondez au dernier courriel reçu de cette conversation"
                raise errors.Forbidden(text, at="RCPT TO")
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
    return None


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


def _genuine(mail: letter.Letter, envelope: reception.Envelope, room: Room) -> None:
    """Raises Forbidden when the author is not who handed the mail in, or is the hub itself."""
    author = mail.sender.address
    if address.is_of(author, room.settings.mail_mailbox):
        raise errors.Forbidden("le hub ne se répond pas à lui-même", at="From")
    # A sub-address of the author's own mailbox is theirs: other hubs too have a return address for each mail.
    if envelope.mail_from and not address.is_of(envelope.mail_from, author):
        raise errors.Forbidden("l'expéditeur de l'enveloppe n'est pas l'auteur du courriel", at="MAIL FROM")


async def _member(mail: letter.Letter, thread: Thread, room: Room) -> str | None:
    """The member whose mailbox sent the mail: the address proves the thread, not the person (MSS-04).

    None when it is nobody's. Raises Forbidden when they answer at an address that was given to somebody else.
    """
    roles = await room.store.many(conversations.members(thread.header), caller=access.SYSTEM)
    for ref in roles:
        if conversations.mailbox(await room.read(ref)) == mail.sender.address:
            if thread.owner in (None, ref):
                return ref
            raise errors.Forbidden("cette adresse de réponse a été donnée à quelqu'un d'autre", at="RCPT TO")
    return None


def _changes(
    mail: letter.Letter, raw: bytes, thread: Thread, room: Room, *, member: str, packaged: mail_package.Filed
) -> list[changes.Change]:
    """The message with its documents; the whole mail is kept beside it when the text shown is only a part of it."""
    header = f"Communication/{thread.header['id']}"
    files = [_document(part, thread, member, room) for part in packaged.rest]
    documents = [*packaged.documents, *(f"DocumentReference/{reference.id}" for _, reference in files)]
    text, sent = mail.reply or packaged.text, mail.date or room.now()
    post = conversations.message(header, sender=member, sent=sent, text=text, documents=documents, medium="mssante")
    if "subject" in thread.header:
        post["subject"] = thread.header["subject"]
    if mail.message_id:
        post["identifier"] = [{"system": systems.MESSAGE_ID, "value": mail.message_id}]
    if thread.answers:
        post["inResponseTo"] = [conversations.reference(thread.answers)]
    result: list[changes.Change] = [*packaged.changes, *(change for pair in files for change in pair)]
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
        "hash": document_to_fhir.digest(part.data),
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
