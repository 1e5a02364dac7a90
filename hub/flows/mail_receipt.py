"""A machine writes about one of our mails: which delivery is it about, and what does the ledger say from now on?

Delivery reports, read receipts, refusals of gateways and operators, absences (MSS-08, MSS-09). None of them ever
becomes a message. What cannot be attached, or says nothing, is accepted all the same, and the journal says why: an
answer to a machine would be a loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from common import errors
from common.events import Events, emit
from fhir_server import access, changes, store
from hub import conversations, ledger
from hub.room import Resource, Room
from mapping import systems
from mss import address, automatic, receipts

TRIES = 5
# What each outcome is on the ledger; what is missing here is only journaled.
MILESTONES = {
    receipts.RELAYED: "envoye",
    receipts.DELAYED: "retarde",
    receipts.DELIVERED: "remis",
    receipts.DELETED: "remis",
    receipts.ABSENT: "absent",
    receipts.DISPLAYED: "affiche",
    receipts.PROCESSED: "traite",
    receipts.FAILED: ledger.FAILED,
}


async def receive(found: Sequence[receipts.Receipt], recipient: str, entry: store.JournalEntry, room: Room) -> None:
    """Write on the ledger what a mail to `recipient` reports, and settle its journal entry.

    Raises Conflict, Stale, Unavailable.
    """
    for tries_left in reversed(range(TRIES)):
        wanted: list[changes.Change] = []
        causes: list[str] = []
        for receipt in found:
            made, cause = await _noted(receipt, recipient, room)
            wanted += made
            causes.append(cause)
        cause = " ; ".join(dict.fromkeys(causes))
        end = changes.Settle(entry.id, "accepted", b"250 2.0.0 accepte", cause)
        try:
            await room.store.commit([*_last(wanted), end], caller=access.SYSTEM, cause=entry.id)
        except (errors.Stale, errors.Conflict):  # the delivery worker, or another report, was quicker
            if not tries_left:
                raise
            continue
        emit(Events.MSS_017 if wanted else Events.MSS_013, correlation=entry.id, kind=found[0].kind)
        return


async def _noted(receipt: receipts.Receipt, recipient: str, room: Room) -> tuple[list[changes.Change], str]:
    """What is to be written for one line of a report, and what the journal says of it."""
    task, problem = await _delivery(receipt, recipient, room)
    if task is None:
        return [], f"{receipt.kind} sans effet : {problem}"
    code = MILESTONES.get(receipt.outcome)
    if code is None:
        return [], f"{receipt.kind} sans effet : ne dit rien de la remise (Task/{task['id']})"
    proof = f"{receipt.kind} : {receipt.proof}"
    arrived = receipt.kind in (automatic.DISPOSITION, automatic.INTEGRATION)
    after = ledger.after(task, code=code, proof=proof, reason=receipt.reason, arrived=arrived, room=room)
    if after is None:
        return [], f"{receipt.kind} déjà connu (Task/{task['id']})"
    result: list[changes.Change] = [changes.Update("Task", task["id"], after, int(task["meta"]["versionId"]))]
    if ledger.code_of(after) == ledger.FAILED != ledger.code_of(task):
        result += await ledger.warning(task, room)
    return result, f"{receipt.kind} : {receipt.outcome} (Task/{task['id']})"


async def _delivery(receipt: receipts.Receipt, recipient: str, room: Room) -> tuple[Resource | None, str]:
    """The delivery that is meant, or why there is none.

    The return address of one delivery proves that its mail was in hand; so much that a box it was passed on to may
    answer. Ids alone do not: then the report must be about the mailbox that we wrote to.
    """
    proven = address.delivery_of(recipient, room.settings.mail_mailbox, room.secret)
    for id in [proven] if proven else _named(receipt, room):
        try:
            task = await room.read(f"Task/{id}")
        except errors.HubError:
            continue
        if not conversations.has_code(task.get("code"), systems.TASK, "deliver"):
            continue
        if proven or not receipt.recipients or await _mailbox(task, room) in receipt.recipients:
            return task, ""
        return None, "il parle d'un autre destinataire que celui de l'envoi"
    return None, "aucun envoi de ce hub n'est nommé"


def _named(receipt: receipts.Receipt, room: Room) -> list[str]:
    """Ids of ours that the report names: the envelope id, and the left part of our Message-IDs."""
    ids = [one.partition("@") for one in receipt.message_ids]
    ours = [left for left, _, domain in ids if domain.lower() == room.settings.mail_domain]
    return list(dict.fromkeys(filter(None, (receipt.envid, *ours))))


async def _mailbox(task: Resource, room: Room) -> str | None:
    return conversations.mailbox(await room.read(task["owner"]["reference"]))


def _last(wanted: list[changes.Change]) -> list[changes.Change]:
    """One change for each resource: a report with two lines about one delivery says the last of them."""
    kept = {(one.type, one.id): one for one in wanted if isinstance(one, changes.Update)}
    return list(kept.values())
