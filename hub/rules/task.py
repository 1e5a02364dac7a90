"""Who may change an inbox entry, a line of the delivery ledger, a request for an account? (MODEL-03, MODEL-04)

The hub writes both itself; a member changes only how their own entry stands: read, to handle, favourite.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, store
from fhir_server.rights import sharing
from hub import conversations
from hub.joining import request
from hub.rules import draft
from mapping import systems

KEPT = ("inbox", "deliver", "acknowledge", sharing.EMERGENCY, request.CODE, request.NOTICE)
OWN = frozenset({"status", "businessStatus", "priority", "extension", "lastModified", "note", "meta", "text"})


def rule() -> store.Rule:
    """The rule for Tasks that the hub keeps."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        if caller.memberships is None:
            return wanted
        room = draft.Draft(wanted, caller, view)
        for change in wanted:
            if isinstance(change, changes.Create) and change.type == "Task" and _is_kept(change.body):
                raise errors.Forbidden("cette tâche est tenue par le hub", at="Task.code")
            if isinstance(change, changes.Update | changes.Delete) and change.type == "Task":
                await _guard(change, room)
        return wanted

    return store.Rule(frozenset({"Task"}), run)


async def _guard(change: changes.Update | changes.Delete, room: draft.Draft) -> None:
    for _, before in (await room.stored([f"Task/{change.id}"])).values():
        if isinstance(change, changes.Update) and _is_kept(before) != _is_kept(change.body):
            raise errors.Forbidden("une tâche tenue par le hub le reste, et nulle autre ne le devient", at="Task.code")
        if not _is_kept(before):
            return
        owner = before.get("owner", {}).get("reference")
        if isinstance(change, changes.Delete) or not _is_inbox(before) or owner != room.caller.actor:
            raise errors.Forbidden("cette tâche est tenue par le hub", at="Task")
        for name in before.keys() | change.body.keys():
            if name not in OWN and before.get(name) != change.body.get(name):
                raise errors.Forbidden(f"{name} : ne change pas dans une entrée de boîte", at=f"Task.{name}")


def _is_inbox(task: conversations.Resource) -> bool:
    return conversations.has_code(task.get("code"), systems.TASK, "inbox")


def _is_kept(task: conversations.Resource) -> bool:
    return any(conversations.has_code(task.get("code"), systems.TASK, one) for one in KEPT)
