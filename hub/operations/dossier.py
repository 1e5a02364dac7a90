"""What is in this patient's dossier, for this caller? (MODEL-06)

`GET [base]/Patient/[id]/$dossier`: a dossier is no resource, it is what shares a patient: each search runs with the
caller's rights, so that two callers get two bundles. References to what a caller may not see are not followed.
"""

from __future__ import annotations

import msgspec

from fhir_server import operations, query
from fhir_server.changes import Stored
from hub.room import Resource

PARTS = (
    "Consent",
    "CareTeam",
    "EpisodeOfCare",
    "DocumentReference",
    "Task",
    "Appointment",
    "QuestionnaireResponse",
    "CarePlan",
    "Encounter",
    "Flag",
    "Communication",
)
MOST_OF_A_KIND = 1000  # more of one kind than anybody reads at once; a search pages through them


async def run(request: operations.OperationRequest) -> Resource:
    """A searchset Bundle of the patient and all that the caller may see of the dossier, newest first in each kind.

    Raises NotFound when the caller may not know the patient.
    """
    assert request.id is not None
    record = request.store
    rows = [await record.read("Patient", request.id, caller=request.caller)]
    for kind in PARTS:
        params = [("patient", request.id), ("_count", str(MOST_OF_A_KIND))]
        if kind == "Communication":
            params.append(("part-of:missing", "true"))
        parsed = query.parse(kind, params, record.definitions.search, now=record.now())
        rows += (await record.search(parsed.query, caller=request.caller)).rows
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(rows),
        "entry": [_entry(row, request.base) for row in rows],
    }


def _entry(row: Stored, base: str) -> Resource:
    resource = msgspec.json.decode(row.body)
    return {"fullUrl": f"{base}/{row.ref}", "resource": resource, "search": {"mode": "match"}}


operation = operations.Operation("instance", "Patient", "dossier", run)
