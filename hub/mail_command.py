"""`hub mail`: why is a mail where it is, and what can a person do about it?

Lists name deliveries, mailboxes and conversation numbers, never a text, a title or a patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common import errors
from fhir_server import store
from hub import conversations, ledger, people, reply_tokens, tracing
from hub.room import Resource, Room
from mapping import systems

app = typer.Typer(no_args_is_help=True, help="Secure mail: where each one is, and why.")
Data = Annotated[Path | None, typer.Option("--data", help="Data folder (HUB_DATA).")]
Database = Annotated[str | None, typer.Option("--database", help="PostgreSQL URL (HUB_DATABASE); default SQLite.")]


@app.command()
def status(
    what: Annotated[str, typer.Argument(help="A delivery, a Message-ID, a conversation number or a journal entry.")],
    data: Data = None,
    database_url: Database = None,
) -> None:
    """Everything that is known of a mail or of the mails of a conversation: each proof with its time."""

    async def ask(room: Room) -> list[str]:
        lines: list[str] = []
        for task in await _deliveries(what.strip().strip("<>"), room):
            lines += [await _line(task, room), *(f"    {proof}" for proof in _proofs(task))]
        return lines or [await _came(what, room)]

    _print(tracing.with_room(data, database_url, ask))


@app.command()
def queue(data: Data = None, database_url: Database = None) -> None:
    """Mails that have not left: since when, how often tried, the last answer; then those that gave up."""

    from hub.flows import deliver

    async def ask(room: Room) -> list[str]:
        waiting, parked = await room.store.waiting(), await room.store.parked()
        return [await _queued(one, state, room) for state, rows in (("attend", waiting), ("abandonné", parked))
                for one in rows if one.work.consumer == deliver.CONSUMER]  # fmt: skip

    _print(tracing.with_room(data, database_url, ask) or ["rien n'attend"])


@app.command()
def triage(data: Data = None, database_url: Database = None) -> None:
    """Mails of known mailboxes that found no conversation: entry, when, who, why, and their sender's conversations."""

    from hub.flows import mail_in

    async def ask(room: Room) -> list[str]:
        return [await _held(one, room) for one in await room.store.journal_list(200, mail_in.HELD)]

    _print(tracing.with_room(data, database_url, ask) or ["rien à rattacher"])


@app.command()
def attach(entry: str, conversation: str, data: Data = None, database_url: Database = None) -> None:
    """Post a held mail into the conversation of this number, as its sender, who must be a member."""
    from hub.flows import mail_in

    tracing.with_room(data, database_url, lambda room: mail_in.attach(entry, conversation, room))
    typer.echo("rattaché")


@app.command()
def drop(entry: str, cause: str, data: Data = None, database_url: Database = None) -> None:
    """Take a mail off the list of those to attach, with the reason; it stays in the journal."""
    from hub.flows import mail_in

    tracing.with_room(data, database_url, lambda room: mail_in.drop(entry, cause, room))
    typer.echo("écarté")


@app.command()
def revoke(conversation: str, mailbox: str, data: Data = None, database_url: Database = None) -> None:
    """Replace the reply address of a member, one that leaked for instance: mails to the old one are refused."""

    async def ask(room: Room) -> None:
        header = await _header(conversation, room)
        role = await people.by_mailbox(mailbox, room)
        if header is None or role is None:
            raise errors.NotFound("conversation ou boîte inconnue", at="conversation")
        await reply_tokens.revoke(header, f"PractitionerRole/{role['id']}", room)

    tracing.with_room(data, database_url, ask)
    typer.echo("adresse remplacée")


async def _deliveries(what: str, room: Room) -> list[Resource]:
    """By conversation number, else by the delivery's id, which is the left part of its Message-ID."""
    if header := await _header(what, room):
        return await room.find("Task", based_on=f"Communication/{header['id']}", code=f"{systems.TASK}|deliver")
    try:
        task = await room.read(f"Task/{what.partition('@')[0].removeprefix('Task/')}")
    except errors.HubError:
        return []
    return [task] if conversations.has_code(task.get("code"), systems.TASK, "deliver") else []


async def _header(number: str, room: Room) -> Resource | None:
    found = await room.find("Communication", identifier=f"{systems.CONVERSATION}|{number.strip('#[]').upper()}")
    return found[0] if found else None


async def _line(task: Resource, room: Room) -> str:
    header = await room.read(task["basedOn"][0]["reference"])
    to = conversations.mailbox(await room.read(task["owner"]["reference"])) or "sans boîte"
    reason = task.get("statusReason", {}).get("text", "")
    state = ledger.code_of(task) or "attend"
    return f"{task['authoredOn']}  {task['id']}  {state:8} {to}  [#{conversations.number(header)}]  {reason}".rstrip()


def _proofs(task: Resource) -> list[str]:
    return [f"{one['type']['text']:8} {one['valueString']}" for one in task.get("output", ())]


async def _queued(row: store.Parked, state: str, room: Room) -> str:
    work = row.work
    task = await room.read(f"Task/{work.id}")
    # A mail about an account has no conversation, and its private address is not shown.
    line = await _line(task, room) if "basedOn" in task else f"{task['authoredOn']}  {task['id']}  compte"
    return f"{line}\n    {state}, {work.attempts} essais : {row.error or 'pas encore essayé'}"


async def _held(entry: store.JournalEntry, room: Room) -> str:
    """A held mail, with the numbers of the conversations that its sender is a member of, the latest first."""
    from mss import letter

    sender = letter.read(entry.raw).sender.address
    role = await people.by_mailbox(sender, room)
    theirs = await room.find("Task", owner=f"PractitionerRole/{role['id']}", code="inbox") if role else []
    headers = [await room.read(one["focus"]["reference"]) for one in theirs[:5]]
    numbers = " ".join(f"#{conversations.number(one)}" for one in headers)
    return f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.id}  {sender}  {entry.cause}  {numbers}".rstrip()


async def _came(what: str, room: Room) -> str:
    """A mail that came in, by its journal entry. Raises NotFound."""
    entry = await room.store.journal_read(what)
    return f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.id}  {entry.state:8} {entry.answer.decode()}  {entry.cause}"


def _print(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
