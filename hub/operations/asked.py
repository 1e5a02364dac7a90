"""What was an operation about a patient asked, and by whom?"""

from __future__ import annotations

from common import errors
from fhir_server import access, operations
from fhir_server.rights import standing


async def member_of_circle(request: operations.OperationRequest) -> str:
    """`Patient/x`, which the caller knows as a member of its circle.

    Raises NotFound when they may not know the patient, Forbidden when they are not of the circle.
    """
    assert request.id is not None
    await request.store.read("Patient", request.id, caller=request.caller)
    patient = f"Patient/{request.id}"
    if request.caller.memberships is not None:
        bits = await request.store.bits(patient, request.caller.circles)
        if not (bits & standing.CIRCLE and standing.sees_shared(bits)):
            raise errors.Forbidden("réservé au cercle de soins du patient")
    return patient


def several(request: operations.OperationRequest, name: str) -> list[str]:
    """All values of a parameter, from the address or from the Parameters that were posted."""
    found = [value for key, value in request.params if key == name]
    for part in (request.body or {}).get("parameter", ()):
        if part["name"] == name:
            found += [_text(value) for key, value in part.items() if key.startswith("value")]
    return found


def _text(value: object) -> str:
    return str(value["reference"]) if isinstance(value, dict) and "reference" in value else str(value)


def one(request: operations.OperationRequest, name: str, *, missing: str | None = None) -> str:
    """The value of a parameter; `missing` when it is not there. Raises Unreadable without one, or with two."""
    found = several(request, name)
    if len(found) > 1 or (not found and missing is None):
        raise errors.Unreadable(f"{name} : une valeur, et une seule", at=name)
    return found[0] if found else missing or ""


def as_person(request: operations.OperationRequest) -> str:
    """The hat of the caller. Raises Forbidden for software on its own."""
    if request.caller.actor is None or request.caller.memberships is None:
        raise errors.Forbidden("réservé à une personne connectée")
    access.may(request.caller, "c", "Task")
    return request.caller.actor
