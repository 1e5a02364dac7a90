"""May I see this now, because a life depends on it? (CONS-08)

`POST [base]/Patient/[id]/$emergency-access` with a `reason`: for some hours the caller sees what the patient's circle
sees, as far as their profession may. It is written down before it opens: a Task that ends by itself, a Task for whoever
reviews it, and a message to the circle. Who the patient does not want, or a patient who is against any sharing, stays
out of reach.
"""

from __future__ import annotations

from datetime import timedelta

from common import clock, errors
from fhir_server import access, changes, operations
from fhir_server.rights import facts, sharing, standing
from hub import conversations
from hub.operations import asked
from hub.rights import verdict
from hub.room import Resource
from mapping import systems

_MEDICAL = sharing.KINDS.index("medical")
LONGEST_REASON = 500


def operation(hours: float) -> operations.Operation:
    """The operation; what it opens stays open for so many hours."""

    async def run(request: operations.OperationRequest) -> Resource:
        return await _run(request, timedelta(hours=hours))

    return operations.Operation("instance", "Patient", "emergency-access", run, action="u")


async def _run(request: operations.OperationRequest, lasts: timedelta) -> Resource:
    """The Task that opens it. Raises Unreadable without a reason, Forbidden, NotFound."""
    actor, patient = asked.as_person(request), f"Patient/{request.id}"
    if request.caller.delegate:
        raise errors.Forbidden("un accès en urgence se déclare en son propre nom")
    reason = asked.one(request, "reason").strip()
    if not 10 <= len(reason) <= LONGEST_REASON:
        raise errors.Unreadable(f"reason : le motif, en 10 à {LONGEST_REASON} caractères", at="reason")
    caller, record = request.caller, request.store
    if not (caller.kinds >> _MEDICAL & 1 and caller.corps == sharing.HEALTH):
        raise errors.Forbidden("l'accès en urgence est réservé aux professions qui soignent")
    bits = await record.bits(patient, caller.circles)
    known = patient in await record.many([patient], caller=access.SYSTEM) and caller.patient in ("", patient)
    if not known or bits & (standing.EXCLUDED | standing.OPPOSED):
        raise errors.NotFound(f"{patient} n'existe pas")
    now = record.now()
    opened = _task(sharing.EMERGENCY, "in-progress", patient, reason=reason, by=actor, at=clock.instant(now))
    opened["owner"] = conversations.reference(actor)
    opened["restriction"] = {"period": {"start": clock.instant(now), "end": clock.instant(now + lasts)}}
    id = record.new_id("Task", opened)
    review = _task("emergency-review", "requested", patient, reason=reason, by=actor, at=clock.instant(now))
    review["focus"] = conversations.reference(f"Task/{id}")
    wanted = [
        changes.Create("Task", id, opened, frozenset({actor})),
        changes.Create("Task", record.new_id("Task", review), review),
        *await _told(patient, actor, reason, request),
    ]
    await record.commit(wanted, caller=access.SYSTEM, cause="emergency")
    return {**opened, "id": id}


def _task(code: str, status: str, patient: str, *, reason: str, by: str, at: str) -> Resource:
    return {
        "resourceType": "Task",
        "status": status,
        "intent": "order",
        "code": conversations.concept(systems.TASK, code),
        "for": conversations.reference(patient),
        "requester": conversations.reference(by),
        "authoredOn": at,
        "reasonCode": {"text": reason},
    }


async def _told(patient: str, actor: str, reason: str, request: operations.OperationRequest) -> list[changes.Change]:
    """A message to the professionals of the circle, from who declared the emergency."""
    record = request.store
    teams = await verdict.telling(patient, record, ("CareTeam",))
    members = [one for one in facts.present(teams, clock.micros(record.now())) if one != actor]
    if not members:
        return []
    header = conversations.header("Accès en urgence", patient=patient, members=[actor, *members], category="patient")
    id = record.new_id("Communication", header)
    text = f"Accès en urgence au dossier. Motif : {reason}"
    first = conversations.message(
        f"Communication/{id}", sender=actor, sent=record.now(), text=text, documents=[], medium="app"
    )
    first["subject"] = header["subject"]
    return [
        changes.Create("Communication", id, header),
        changes.Create("Communication", record.new_id("Communication", first), first),
    ]
