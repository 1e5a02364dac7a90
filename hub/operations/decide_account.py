"""Does this person get an account? (ACC-02)

`POST [base]/Task/[id]/$decide-account` with `decision` (`approve`, `refuse`), `explanation` (to refuse one must) and
`verified`, once for each check that the agent has made themselves. Approving needs every check; it makes the
directory entry of somebody new and sends the link by which they set how they sign in. For agents only, and never for
oneself.
"""

from __future__ import annotations

import asyncio

from common import clock, errors
from fhir_server import access, changes, operations, store
from hub import conversations
from hub.joining import checks, directory, notices, request
from hub.operations import asked
from hub.room import Resource, Room
from identity.accounts import Accounts

LONGEST = 1000
_LASTING = ("organization", "code", "specialty")  # of a PractitionerRole that has ended
APPROVE, REFUSE = "approve", "refuse"


def operation(room: Room, accounts: Accounts) -> operations.Operation:
    """The operation; `accounts` is where people are invited to."""

    async def run(call: operations.OperationRequest) -> Resource:
        return await _run(call, room, accounts)

    return operations.Operation("instance", "Task", "decide-account", run, action="u")


async def _run(call: operations.OperationRequest, room: Room, accounts: Accounts) -> Resource:
    """The request as decided. Raises NotFound, Forbidden, Conflict when it was decided already, Invalid, Unreadable."""
    task, agent = await _of(call, room), asked.as_person(call)
    decision, because = asked.one(call, "decision"), asked.one(call, "explanation", missing="").strip()
    if decision not in (APPROVE, REFUSE):
        raise errors.Unreadable(f"decision : {APPROVE} ou {REFUSE}", at="decision")
    if len(because) > LONGEST or (decision == REFUSE and len(because) < 10):
        raise errors.Invalid(f"expliquez le refus, en 10 à {LONGEST} caractères", at="explanation")
    if request.stage(task) == request.MAIL and decision == APPROVE:
        raise errors.Invalid("l'adresse n'est pas encore confirmée par la personne", at="Task.output")
    if request.stage(task) not in (request.MAIL, request.REVIEW):
        raise errors.Conflict("cette demande est déjà décidée : rechargez la page")
    verified = [_verified(code, call) for code in asked.several(call, "verified")]
    after, wanted = request.checked(task, verified), list[changes.Change]()
    if decision == APPROVE:
        if missing := checks.missing(checks.of_task(after)):
            raise errors.Invalid(f"vérifications qui manquent : {', '.join(missing)}", at="verified")
        after, wanted = await _entry(after, room)
        await _may_be_theirs(after, accounts)
    stage = request.APPROVED if decision == APPROVE else request.REFUSED
    after = request.moved(after, stage, room.now(), because=because, by=agent)
    kind = notices.INVITATION if decision == APPROVE else notices.REFUSED
    wanted += [changes.Update("Task", task["id"], after, int(task["meta"]["versionId"]))]
    wanted += notices.sent(kind, f"Task/{task['id']}", request.typed(task, "mail"), room)
    try:
        await room.store.commit(wanted, caller=access.SYSTEM, cause="account")
    except (errors.Stale, store.Taken):
        raise errors.Conflict("quelqu'un a décidé en même temps : rechargez la page") from None
    return await room.read(f"Task/{task['id']}", caller=call.caller)


async def _of(call: operations.OperationRequest, room: Room) -> Resource:
    """The request, for who may decide on it. Raises NotFound, Forbidden."""
    task = await room.read(f"Task/{call.id}", caller=call.caller)
    if not request.is_request(task):
        raise errors.NotFound("cette tâche n'est pas une demande de compte")
    caller = call.caller
    if caller.memberships is None or access.key(notices.AGENTS) not in caller.memberships:
        raise errors.Forbidden("réservé aux agents qui instruisent les demandes de compte")
    if access.key(task["for"]["reference"]) in caller.circles:
        raise errors.Forbidden("nul ne décide de sa propre demande")
    return task


def _verified(code: str, call: operations.OperationRequest) -> checks.Check:
    """A check that the agent made. Raises Unreadable for one that is none, or that only the person can make."""
    if code not in checks.CODES or code == "mail":
        raise errors.Unreadable("verified : identity, profession, registration ou structure", at="verified")
    return checks.Check(code, checks.PASSED, checks.AGENT, clock.instant(call.store.now()))


async def _entry(task: Resource, room: Room) -> tuple[Resource, list[changes.Change]]:
    """The request about a directory entry, and what makes that entry: of a person, of a first place of work."""
    work = request.drafted(task, request.WORK)
    if work is None:
        return task, await _work(task["for"]["reference"], room)
    person = request.drafted(task, request.PERSON) or {}
    id = room.store.new_id("Practitioner", person)
    ref = f"Practitioner/{id}"
    role = {**work, "active": True, "practitioner": conversations.reference(ref)}
    entry = {**person, "active": True}
    for one in (role, entry):
        del one["id"]
    role_id = room.store.new_id("PractitionerRole", role)
    after = {name: value for name, value in task.items() if name != "contained"}
    after["for"] = conversations.reference(ref)
    after["focus"] = conversations.reference(f"PractitionerRole/{role_id}")
    made = [changes.Create("Practitioner", id, entry), changes.Create("PractitionerRole", role_id, role)]
    return after, list[changes.Change](made)


async def _work(practitioner: str, room: Room) -> list[changes.Change]:
    """A place of work for somebody the directory knows without a present one: their last, as the agent verified it."""
    if await directory.works(practitioner, room):
        return []
    roles = await room.find("PractitionerRole", practitioner=practitioner)
    person = await room.read(practitioner)
    kept = {name: value for name, value in roles[0].items() if name in _LASTING} if roles else {}
    role: Resource = {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": conversations.reference(practitioner),
        "code": [one["code"] for one in person.get("qualification", ())],
        **kept,
    }
    role = {name: value for name, value in role.items() if value}
    return [changes.Create("PractitionerRole", room.store.new_id("PractitionerRole", role), role)]


async def _may_be_theirs(task: Resource, accounts: Accounts) -> None:
    """Raises Conflict when the address is another person's by now, or theirs is another."""
    person, mail = task["for"]["reference"], request.typed(task, "mail")
    if await asyncio.to_thread(accounts.holder, mail) not in ("", person):
        raise errors.Conflict("cette adresse est celle du compte d'une autre personne : refusez la demande")
    held = await asyncio.to_thread(accounts.of, person)
    if held and held.mail != mail:
        raise errors.Conflict("cette personne a déjà un compte, avec une autre adresse : refusez la demande")
