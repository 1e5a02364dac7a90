"""Queued mail leaves: outbox row, mail, operator, ledger.

One worker takes rows with a short lease and renews it while it works: a slow operator never makes two workers send one
mail, and what a killed worker held is taken up half a minute later. What the operator answers is written on the
delivery Task in the same commit that removes the row; a crash in between sends the same Message-ID again, which a
mailbox recognises.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta
from mimetypes import guess_extension
from types import MappingProxyType

from common import errors
from common.events import Events, emit
from fhir_server import access, changes, store
from hub import allowlist, conversations, ledger, people, reply_tokens
from hub.flows import mail_documents, notice
from hub.joining import notices
from hub.rights import leaving
from hub.room import Resource, Room
from mapping import systems
from mss import address, compose, letter, receipts, send

Busy = Mapping["asyncio.Task[None]", store.Work]

CONSUMER = "mail"
LEASE_SECONDS = 30.0  # renewed while the work goes on, so it bounds only how long a killed worker delays a mail
RENEW_EVERY_SECONDS = LEASE_SECONDS / 3
CLOSE_TRIES = 60
LOOK_EVERY_SECONDS = 1.0
AT_ONCE = 8
BEHIND_SECONDS, BEHIND_MOST_SECONDS = 0.5, 10.0
BEHIND = "attend que parte un message précédent de la conversation"
# Minutes until the next try; after the last one the delivery is parked and its sender told.
BACKOFF = (0.05, 0.2, 1, 5, 15, 60, 240, 720)


async def run(room: Room, smtp: send.Smtp, post: notice.Post | None = None) -> None:
    """Deliver for ever; cancelled at shutdown. No mail stops the others, and no outage of the database ends it.

    `post` sends the mails about accounts.
    """
    awake = room.store.wake(CONSUMER)
    busy: dict[asyncio.Task[None], store.Work] = {}
    keeper = asyncio.create_task(_keep_leases(busy, room))
    try:
        while True:
            awake.clear()
            work = await _leased(room, AT_ONCE - len(busy))
            for one in work:
                task = asyncio.create_task(_guarded(one, room, smtp, post, busy=busy))
                busy[task] = one
                task.add_done_callback(busy.pop)
            if len(busy) >= AT_ONCE or not work:
                woken = asyncio.create_task(awake.wait())
                await asyncio.wait({woken, *busy}, timeout=LOOK_EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
    finally:
        for task in (keeper, *busy):
            task.cancel()


async def _keep_leases(busy: Mapping[asyncio.Task[None], store.Work], room: Room) -> None:
    """Renew what is being worked on. While the database is away a lease may pass: the Message-ID makes it one mail."""
    while True:
        await asyncio.sleep(RENEW_EVERY_SECONDS)
        try:
            await room.store.extend(list(busy.values()), LEASE_SECONDS)
        except errors.HubError as error:
            emit(Events.HUB_006, error=error.code)


async def _leased(room: Room, free: int) -> list[store.Work]:
    try:
        return await room.store.lease(CONSUMER, free, LEASE_SECONDS) if free else []
    except errors.HubError as error:
        emit(Events.HUB_006, error=error.code)
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        return []


async def _guarded(work: store.Work, room: Room, smtp: send.Smtp, post: notice.Post | None, *, busy: Busy) -> None:
    try:
        await deliver(work, room, smtp, post, busy=busy)
    except Exception as error:  # noqa: BLE001 - a bug about one mail must not stop the others
        cause = f"{error.code}: {error.message}" if isinstance(error, errors.HubError) else type(error).__name__
        emit(Events.HUB_003, correlation=work.id, door="mail out", error=type(error).__name__)
        try:
            await _again(work, room, cause)
        except errors.HubError as outage:  # the lease runs out and the row comes again
            emit(Events.HUB_006, correlation=work.id, error=outage.code)


async def deliver(
    work: store.Work, room: Room, smtp: send.Smtp, post: notice.Post | None = None, *, busy: Busy = MappingProxyType({})
) -> None:
    """Send the mail of one delivery Task and write down what the operator said. `busy`: what else is leaving now."""
    task = await room.read(f"Task/{work.id}")
    done = changes.Finish(work.part, work.lane, work.seq)
    if task["status"] != "requested":
        await room.store.commit([done], caller=access.SYSTEM)
        return
    if post and notices.is_one(task):
        await _settle(await notice.deliver(task, room, post), task, work, room)
        return
    if held_back := await leaving.of_delivery(task, room):
        await _close(task, done, room, code=ledger.HELD_BACK, proof=held_back)
        return
    role = await room.read(task["owner"]["reference"])
    to = conversations.mailbox(role)
    if to is None or address.is_of(to, room.settings.mail_mailbox):
        await _close(task, done, room, code=ledger.FAILED, proof="aucune boîte MSSanté")
        return
    if refusal := _refusal(to, room):
        await _close(task, done, room, code=refusal[0], proof=refusal[1])
        return
    if head := await _head(task, room, busy):
        await room.store.postpone(work, _behind_due(head, room), BEHIND)
        return
    mail = await _mail(task, to, room)
    await _settle(
        await send.send(smtp, mail, sender=reports_to(work.id, room), recipient=to, envid=work.id), task, work, room
    )


async def _settle(outcome: send.Outcome, task: Resource, work: store.Work, room: Room) -> None:
    """Write down what the server said, or try again later."""
    done = changes.Finish(work.part, work.lane, work.seq)
    said = f"{outcome.code} {outcome.text}"
    if outcome.accepted:
        await _close(task, done, room, code="envoye", proof=said)
        emit(Events.MSS_014, correlation=work.id, code=outcome.code)
    elif outcome.permanent:
        await _close(task, done, room, code=ledger.FAILED, proof=said, reason=receipts.said(said))
        emit(Events.MSS_016, correlation=work.id, code=outcome.code)
    else:
        await _again(work, room, said)


def _refusal(to: str, room: Room) -> tuple[str, str] | None:
    """Milestone and reason when no connection is to be made for this mailbox. Raises Unavailable: ask again later."""
    if address.is_citizen(to):
        try:
            address.citizen(to.partition("@")[0])
        except errors.Invalid as problem:
            return ledger.FAILED, problem.message
    outside = allowlist.Kept(room.settings).problem(to, room.now())
    return (ledger.HELD_BACK, outside) if outside else None


async def _head(task: Resource, room: Room, busy: Busy) -> Resource | None:
    """The earliest delivery of the conversation that still waits to leave for this person, before this one (MSS-16).

    One that is leaving just now is waited for; behind one that is to be tried later, this one must come again.
    """
    while ahead := await _ahead(task, room):
        leaving_now = {one for one, work in busy.items() if work.id in ahead}
        if not leaving_now:
            return min(ahead.values(), key=lambda one: str(one["authoredOn"]))
        await asyncio.wait(leaving_now)
    return None


async def _ahead(task: Resource, room: Room) -> dict[str, Resource]:
    header, owner = task["basedOn"][0]["reference"], task["owner"]["reference"]
    code = f"{systems.TASK}|deliver"
    waiting = await room.find("Task", owner=owner, based_on=header, code=code, status="requested", _sort="authored-on")
    return {one["id"]: one for one in waiting if one["authoredOn"] < task["authoredOn"]}


def _behind_due(head: Resource, room: Room) -> datetime:
    """When to look again: soon at first, seldom when the operator has been away for long.

    The same pause for all that wait behind one, so that they come again in their order, and leave in one go.
    """
    age = (room.now() - datetime.fromisoformat(head["authoredOn"])).total_seconds()
    return room.now() + timedelta(seconds=min(max(BEHIND_SECONDS, age / 5), BEHIND_MOST_SECONDS))


async def _close(task: Resource, done: changes.Finish, room: Room, *, code: str, proof: str, reason: str = "") -> None:
    """Write down how it ended. The mail has left: what is tried again here is the writing, never the sending."""
    for tries_left in reversed(range(CLOSE_TRIES)):
        try:
            await room.store.commit(
                [*await _noted(task["id"], room, code, proof, reason=reason), done], caller=access.SYSTEM
            )
            return
        except (errors.Unavailable, errors.Conflict, errors.Stale):
            if not tries_left:
                raise
            await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _noted(id: str, room: Room, code: str, proof: str, *, reason: str = "") -> list[changes.Change]:
    """The ledger after this; a report may have been quicker than us. A failure is told to the sender."""
    held = await room.read(f"Task/{id}")
    after = ledger.after(held, code=code, proof=proof, reason=reason, room=room)
    if after is None:
        return []
    warning = await ledger.warning(held, room) if code == ledger.FAILED else []
    return [changes.Update("Task", id, after, int(held["meta"]["versionId"])), *warning]


async def _again(work: store.Work, room: Room, error: str) -> None:
    """Postpone with growing pauses; after the last one say so on the ledger, then park the row."""
    tries = await _tries(work, room)
    if tries < len(BACKOFF):
        await room.store.postpone(work, room.now() + timedelta(minutes=BACKOFF[tries - 1]), error)
        emit(Events.MSS_015, correlation=work.id, attempts=tries)
        return
    await room.store.commit(await _noted(work.id, room, ledger.FAILED, error), caller=access.SYSTEM)
    await room.store.park(work, error)
    emit(Events.MSS_016, correlation=work.id)


async def _tries(work: store.Work, room: Room) -> int:
    """How often it was tried. A row that waited behind another was taken without a try: then its age says it."""
    task = await room.read(f"Task/{work.id}")
    age = (room.now() - datetime.fromisoformat(task["authoredOn"])).total_seconds() / 60
    passed = sum(sum(BACKOFF[: place + 1]) <= age for place in range(len(BACKOFF)))
    return min(work.attempts, passed + 1)


def reports_to(delivery: str, room: Room) -> str:
    """The envelope sender, where reports go: an own one for each delivery if the operator lets us.

    Receipts are asked for at the same address: programs send none by themselves to another (RFC 8098 2.1).
    """
    given = room.settings
    if given.mail_sub_addresses and given.mail_return_addresses:
        return address.return_address(given.mail_mailbox, room.secret, delivery)
    return given.mail_mailbox


async def _mail(task: Resource, to: str, room: Room) -> bytes:
    """The mail of a delivery: the message's text and files, answerable by plain reply. The same bytes at every try."""
    message = await room.read(task["focus"]["reference"])
    header = await room.read(conversations.header_ref(message))
    mailbox = room.settings.mail_mailbox
    token = await reply_tokens.current(header, task["owner"]["reference"], room)
    earlier = await _earlier(header, task, room)
    documents = _documents(message)
    packaged = await mail_documents.package(task, message, documents, room)
    files = [await _file(ref, room) for ref in documents]
    return compose.mail(
        compose.Outgoing(
            delivery=task["id"],
            mailbox=mailbox,
            author=await _author(message, room),
            recipient=to,
            recipient_name=(await people.name(task["owner"]["reference"], room))[0],
            subject=header["topic"]["text"],
            tag=conversations.number(header),
            text="\n\n".join(one["contentString"] for one in message["payload"] if "contentString" in one),
            date=datetime.fromisoformat(message["sent"]),
            reply_to=address.reply_address(mailbox, token) if token and room.settings.mail_sub_addresses else mailbox,
            receipt_to=reports_to(task["id"], room) if room.settings.mail_receipts else None,
            in_reply_to=earlier[-1] if earlier else None,
            references=earlier,
            attachments=(packaged.file, *files) if packaged else tuple(files),
            package=packaged.says if packaged else None,
            product=room.settings.mail_product,
        )
    )


def _documents(message: Resource) -> list[str]:
    return [one["contentReference"]["reference"] for one in message["payload"] if "contentReference" in one]


async def _file(ref: str, room: Room) -> letter.Attachment:
    """The first content of a document, which is the one for people (a PDF when there is one)."""
    document = await room.read(ref)
    attachment = document["content"][0]["attachment"]
    binary = await room.read(attachment["url"])
    name = attachment.get("title") or document.get("description") or "document"
    extension = guess_extension(binary["contentType"]) or ""
    name = name if name.lower().endswith(extension) else name + extension
    return compose.file(name, binary["contentType"], b64decode(binary["data"]))


async def _author(message: Resource, room: Room) -> str:
    """Name and profession of the sender; before it who sent it in their name."""
    name = ", ".join(filter(None, await people.name(message["sender"]["reference"], room)))
    delegate = conversations.prepared_by(message)
    return f"{(await people.name(delegate, room))[0]} pour {name}" if delegate else name


async def _earlier(header: Resource, task: Resource, room: Room) -> tuple[str, ...]:
    """Message-IDs of what this recipient already has of the thread, oldest first: mails of ours and their own."""
    owner = task["owner"]["reference"]
    sent = await room.find(
        "Task", owner=owner, based_on=f"Communication/{header['id']}", code=f"{systems.TASK}|deliver"
    )
    mailbox = room.settings.mail_mailbox
    ours = [(one["authoredOn"], compose.message_id(one["id"], mailbox)) for one in sent if one["id"] != task["id"]]
    theirs = [
        (one["sent"], identifier["value"])
        for one in await room.find("Communication", part_of=f"Communication/{header['id']}", sender=owner)
        for identifier in one.get("identifier", ())
        if identifier.get("system") == systems.MESSAGE_ID
    ]
    before = [(when, id) for when, id in ours + theirs if when <= task["authoredOn"]]
    return tuple(id for _, id in sorted(before)[-20:])
