"""Which published names (code systems, identifier systems, extensions) does the app read and write?

The app is a client like any other: it knows the hub's public names, as an editor's software does. A test holds them
equal to those of the record's mapping.
"""

from __future__ import annotations

from typing import Any

HUB = "https://spico-hub.example/fhir"
TASK = f"{HUB}/CodeSystem/task"
INBOX_STATUS = f"{HUB}/CodeSystem/inbox-status"
DELIVERY_STATUS = f"{HUB}/CodeSystem/delivery-status"
MEDIUM = f"{HUB}/CodeSystem/medium"
PREPARED_BY = f"{HUB}/StructureDefinition/prepared-by"
ACCOUNT_STATUS = f"{HUB}/CodeSystem/account-status"
PROFESSION = "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
URI = "urn:ietf:rfc:3986"

Resource = dict[str, Any]


def concept(system: str, code: str) -> Resource:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code}]}


def code(element: Resource | None, system: str) -> str:
    """The code of this system in a CodeableConcept, or an empty string."""
    return next((one.get("code", "") for one in (element or {}).get("coding", ()) if one.get("system") == system), "")


def reference(element: Resource | None) -> str:
    """The literal reference of a Reference without its version, `Type/id`, or an empty string."""
    return str((element or {}).get("reference", "")).partition("/_history/")[0]
