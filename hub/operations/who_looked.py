"""Who looked at this dossier? (CONS-07)

`GET [base]/Patient/[id]/$who-looked[?_since=&_count=]` for members of the circle, at the patient's request too: a line
for each request that gave or changed something of the patient, in words, newest first, from the same traces that
AuditEvent tells.
"""

from __future__ import annotations

from common import errors
from fhir_server import dates, exchange, operations
from fhir_server.audit import door, events
from fhir_server.audit.log import EMERGENCY
from fhir_server.audit.trace import Kept
from hub.operations.asked import member_of_circle, one
from hub.room import Resource

MOST, USUAL = 1000, 100
_DID = {
    "read": "a lu",
    "vread": "a lu une version antérieure de",
    "search-type": "a consulté",
    "search-system": "a consulté",
    "create": "a ajouté",
    "update": "a modifié",
    "patch": "a modifié",
    "delete": "a retiré",
    "transaction": "a enregistré",
}
_THINGS = {
    "Patient": "l'identité",
    "Communication": "une conversation",
    "DocumentReference": "un document",
    "Binary": "un fichier",
    "Condition": "un problème de santé",
    "Observation": "une mesure",
    "CareTeam": "le cercle de soins",
    "Consent": "un consentement",
    "Task": "une tâche",
    "CarePlan": "le plan de soins",
    "MedicationStatement": "un traitement",
    "MedicationRequest": "une prescription",
    "EpisodeOfCare": "le suivi",
    "QuestionnaireResponse": "un formulaire",
}
_DOORS = {"app": "dans l'application", "fhir": "par un logiciel", "mssante": "par MSSanté", "hospital": "par l'hôpital"}


async def run(request: operations.OperationRequest) -> Resource:
    """Parameters: `line` parts with `when`, `who`, `text` and `trace` (the AuditEvent).

    Raises NotFound, Forbidden, Unreadable.
    """
    patient = await member_of_circle(request)
    since, count = one(request, "_since", missing=""), one(request, "_count", missing=str(USUAL))
    number = exchange.whole_number(count)
    if number is None:
        raise errors.Unreadable("_count : un nombre entier", at="http._count")
    try:
        first = dates.asked(since)[0] if since else dates.BEGINNING
    except ValueError:
        raise errors.Unreadable("_since : une date", at="http._since") from None
    found = await door.of_patient(request.server, patient, request.caller, since=first, count=min(number, MOST))
    lines = [_line(kept) for kept in found if kept.values["status"] < "4" or events.is_write(kept)]
    return {"resourceType": "Parameters", "parameter": lines}


def _line(kept: Kept) -> Resource:
    event, said = events.audit_event(kept), kept.values
    who = said["name"] or said["actor"] or said["client"]
    what = said["what"].partition(" ")[0]
    kinds = dict.fromkeys(_THINGS.get(ref.partition("/")[0], ref.partition("/")[0]) for ref in said["given"])
    things = ", ".join(list(kinds)[:4]) or "le dossier"
    place = _DOORS.get(said["door"], f"par {said['door']}")
    urgent = ", en urgence" if said["purpose"] == EMERGENCY else ""
    parts: list[Resource] = [
        {"name": "when", "valueInstant": event["recorded"]},
        {"name": "who", "valueString": who},
        {"name": "text", "valueString": f"{who} {_DID.get(what, 'a utilisé')} {things} {place}{urgent}"},
        {"name": "trace", "valueReference": {"reference": f"AuditEvent/{event['id']}"}},
    ]
    if said["actor"]:
        parts.append({"name": "hat", "valueReference": {"reference": said["actor"]}})
    return {"name": "line", "part": parts}


operation = operations.Operation("instance", "Patient", "who-looked", run)
