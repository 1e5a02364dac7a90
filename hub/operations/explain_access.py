"""Why does somebody see this, or not, and who would? (CONS-04, CONS-06)

`GET [base]/Patient/[id]/$explain-access?actor=PractitionerRole/x[&resource=Type/id]` gives rule by rule why that person
sees the patient's data, or that resource, or does not. `GET [base]/Patient/[id]/$who-sees?level=partage&kind=medical`
tells before depositing who of the circle would see it. Both are for members of the circle: nobody else may know who
takes part, or whom the patient does not want.
"""

from __future__ import annotations

from functools import partial

from common import clock, errors
from fhir_server import access, operations
from fhir_server.rights import facts, sharing, standing
from hub.operations.asked import member_of_circle, one, several
from hub.rights import verdict, worn
from hub.room import Resource
from identity import tokens


def all(hats: worn.Hats) -> tuple[operations.Operation, ...]:
    """The two operations; `hats` know who works where and as what."""
    return (
        operations.Operation("instance", "Patient", "explain-access", partial(_explain, hats)),
        operations.Operation("instance", "Patient", "who-sees", partial(_who_sees, hats)),
    )


async def _explain(hats: worn.Hats, request: operations.OperationRequest) -> Resource:
    """Parameters: `sees`, and for each rule `reason` (rule, holds, text, source).

    Raises NotFound for who may not know the patient, Forbidden outside the circle, Invalid for an unknown actor.
    """
    patient = await member_of_circle(request)
    actor = one(request, "actor")
    known = actor in await request.store.many([actor], caller=access.SYSTEM)
    if not known or not actor.startswith("PractitionerRole/"):
        raise errors.Invalid("situation d'exercice inconnue : PractitionerRole/…", at="actor")
    asked = await as_caller(actor, hats, request)
    ref = one(request, "resource", missing="")
    if ref:
        return _written(await _of_resource(ref, patient, asked, request))
    bits, reasons = await verdict.bits_and_reasons(patient, asked, request.store)
    parts = [
        {"name": name, "valueBoolean": table(bits)}
        for name, table in (
            ("sees-shared", standing.sees_shared),
            ("sees-sent", standing.sees_named),
            ("sees-own", standing.sees_own),
        )
    ]
    kinds = [kind for n, kind in enumerate(sharing.KINDS) if kind and asked.kinds >> n & 1]
    parts += [{"name": "kind", "valueCode": kind} for kind in kinds]
    return {"resourceType": "Parameters", "parameter": [*parts, *map(_part, reasons)]}


async def _of_resource(
    ref: str, patient: str, asked: access.Caller, request: operations.OperationRequest
) -> verdict.Verdict:
    """Only of what the one who asks sees themself."""
    if ref not in await request.store.many([ref], caller=request.caller):
        raise errors.NotFound(f"{ref} n'existe pas")
    row = (await request.store.rows([ref]))[ref]
    return await verdict.of_row(row, patient, asked, request.store)


async def _who_sees(hats: worn.Hats, request: operations.OperationRequest) -> Resource:
    """Parameters: for each member of the circle `member` (who, sees)."""
    patient = await member_of_circle(request)
    level, kind = one(request, "level"), one(request, "kind")
    if level not in sharing.LEVELS or kind not in sharing.KINDS[1:]:
        text = f"level : {', '.join(sharing.LEVELS)} ; kind : {', '.join(sharing.KINDS[1:])}"
        raise errors.Unreadable(text, at="level")
    masks = sharing.masks({"resourceType": "DocumentReference", "securityLabel": _labels(several(request, "mask"))})
    code = sharing.coded(level, kind, masks)
    members = await _members(patient, request)
    parts = []
    for ref in members:
        asked = await as_caller(ref, hats, request)
        bits = await request.store.bits(patient, asked.circles)
        of_structure = level == sharing.STRUCTURE and asked.structure == request.caller.structure != 0
        sees = verdict.of_shared(code, bits, asked) or (of_structure and standing.sees_named(bits))
        sees = sees or (ref == request.caller.actor and standing.sees_own(bits))
        parts.append(_member(ref, sees))
    return {"resourceType": "Parameters", "parameter": parts}


async def as_caller(actor: str, hats: worn.Hats, request: operations.OperationRequest) -> access.Caller:
    """Somebody as the record would see them, were they to ask under this hat."""
    practitioner = ""
    if actor.startswith("PractitionerRole/"):
        practitioner = (await hats.resource(actor)).get("practitioner", {}).get("reference", "")
    also = (practitioner,) if practitioner else ()
    return await hats.caller(tokens.Identity("person", actor, also))


async def _members(patient: str, request: operations.OperationRequest) -> list[str]:
    """Who is in the circle now, each once."""
    teams = await verdict.telling(patient, request.store, ("CareTeam",))
    return facts.present(teams, clock.micros(request.store.now()))


def _labels(masks: list[str]) -> list[Resource]:
    return [{"coding": [{"system": sharing.VISIBILITY, "code": one}]} for one in masks]


def _member(ref: str, sees: bool) -> Resource:
    parts = [{"name": "who", "valueReference": {"reference": ref}}, {"name": "sees", "valueBoolean": sees}]
    return {"name": "member", "part": parts}


def _written(found: verdict.Verdict) -> Resource:
    sees = {"name": "sees", "valueBoolean": found.sees}
    return {"resourceType": "Parameters", "parameter": [sees, *map(_part, found.reasons)]}


def _part(reason: verdict.Reason) -> Resource:
    parts: list[Resource] = [
        {"name": "rule", "valueCode": reason.rule},
        {"name": "holds", "valueBoolean": reason.holds},
        {"name": "text", "valueString": reason.text},
    ]
    if reason.source:
        parts.append({"name": "source", "valueReference": {"reference": reason.source}})
    return {"name": "reason", "part": parts}
