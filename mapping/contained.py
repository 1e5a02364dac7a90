"""Who is inside a document, as resources that live in it? PractitionerRole, Organization, Device, Patient.

PDSM: author, authenticator and source patient are contained copies of what the document says; they are never the
record's own resources. FR Core for identifiers; author role TRE_A02 (`G15_10/SM26`) split into profession and
know-how. Source: CI-SIS "Structuration minimale", value set JDV_J01.
"""

from __future__ import annotations

from typing import Any

from mapping import cda_header, codes, systems
from mapping.v2_participants import Party
from mapping.v2_types import Coded

Resource = dict[str, Any]


class Shelf:
    """The contained resources of one document, each kept once."""

    def __init__(self) -> None:
        self.resources: list[Resource] = []

    def put(self, resource: Resource) -> dict[str, str]:
        """A reference to the resource, which gets a local id unless an equal one is already there."""
        for known in self.resources:
            if {key: value for key, value in known.items() if key != "id"} == resource:
                return {"reference": f"#{known['id']}"}
        kind = str(resource["resourceType"]).lower()
        number = 1 + sum(known["resourceType"] == resource["resourceType"] for known in self.resources)
        self.resources.append({"resourceType": resource["resourceType"], "id": f"{kind}-{number}"} | resource)
        return {"reference": f"#{kind}-{number}"}


def person(shelf: Shelf, found: cda_header.Person) -> dict[str, str] | None:
    """A CDA author or authenticator: a role with its person and structure, or a device; None when nothing is said."""
    place = organization(shelf, found.organization) if found.organization else None
    if found.device:
        device: Resource = {"resourceType": "Device"}
        if numbers := identifier(found.id):
            device["identifier"] = numbers
        device["deviceName"] = [{"name": found.device, "type": "user-friendly-name"}]
        return shelf.put(device | ({"owner": place} if place else {}))
    name = _name(found.family, found.given, found.prefix, found.suffix)
    identifiers = identifier(found.id)
    return _role(shelf, name, identifiers, place=place, role=found.role)


def sender(shelf: Shelf, party: Party) -> dict[str, str] | None:
    """The PRT sender as author, where no CDA says better."""
    numbers = identifier(cda_header.Id(systems.PROFESSIONALS, party.identifier)) if party.identifier else []
    place = _party_organization(shelf, party)
    if party.kind == "device" and party.organization:
        name = [{"name": party.organization, "type": "user-friendly-name"}]
        return shelf.put({"resourceType": "Device", "deviceName": name})
    return _role(shelf, _name(party.family, party.given, "", ""), numbers, place=place, role=None)


def organization(shelf: Shelf, found: cda_header.Organization | None) -> dict[str, str] | None:
    """A structure of the CDA; None when it has neither number nor name."""
    if found is None or not (found.id or found.name):
        return None
    return _organization(shelf, identifier(found.id), found.name)


def identifier(id: cda_header.Id | None) -> list[dict[str, Any]]:
    """The FHIR identifiers of a CDA id: the national number, and the RPPS number that it may hold (`8` + RPPS)."""
    if id is None or not id.extension:
        return []
    found: dict[str, Any] = {"system": f"urn:oid:{id.root}", "value": id.extension}
    if row := codes.find("identifier", id.root):
        kind = {"coding": [{"system": systems.FR_IDENTIFIER_TYPE, "code": row.target_code}]}
        found = {"use": row.note, "type": kind} | found
    numbers = [found]
    if id.root == systems.PROFESSIONALS and len(id.extension) == 12 and id.extension[0] == "8":
        kind = {"coding": [{"system": systems.FR_IDENTIFIER_TYPE, "code": "RPPS"}]}
        numbers.append({"use": "official", "type": kind, "system": systems.RPPS, "value": id.extension[1:]})
    return numbers


def patient(found: cda_header.Patient) -> Resource | None:
    """The patient as the CDA names them; None when it says nothing."""
    gender = codes.find("gender", found.gender) if found.gender else None
    name = _name(found.family, found.given, "", "")
    if found.birth_given:
        name["extension"] = [{"url": systems.FR_BIRTH_LIST_GIVEN, "valueString": found.birth_given}]
    resource: Resource = {
        "identifier": [number for id in found.ids for number in identifier(id)],
        "name": [{"use": "official"} | name] if name else [],
        "gender": gender.target_code if gender else "",
        "birthDate": found.birth_date,
    }
    said = {key: value for key, value in resource.items() if value}
    return {"resourceType": "Patient"} | said if said else None


def concept(found: Coded) -> dict[str, Any]:
    """A CodeableConcept with one coding."""
    coding = {"system": found.system, "code": found.code, "display": found.display}
    return {"coding": [{key: value for key, value in coding.items() if value}]}


def _role(
    shelf: Shelf, name: dict[str, Any], numbers: list[dict[str, Any]], *, place: Any, role: Coded | None
) -> dict[str, str] | None:
    if not name and not numbers:
        return place if place else None
    practitioner: Resource = {"resourceType": "Practitioner"}
    if numbers:
        practitioner["identifier"] = numbers
    if name:
        practitioner["name"] = [name]
    resource: Resource = {"resourceType": "PractitionerRole", "practitioner": shelf.put(practitioner)}
    if place:
        resource["organization"] = place
    return shelf.put(resource | _profession(role))


def _profession(role: Coded | None) -> Resource:
    if role is None:
        return {}
    profession, _, know_how = role.code.partition("/")
    codings = [concept(role)["coding"][0]]
    if profession.startswith("G15_"):
        codings.insert(0, {"system": systems.PROFESSION, "code": profession.removeprefix("G15_")})
    found: Resource = {"code": [{"coding": codings} | ({"text": role.display} if role.display else {})]}
    if know_how.startswith("SM"):
        found["specialty"] = [{"coding": [{"system": systems.KNOW_HOW, "code": know_how}]}]
    return found


def _organization(shelf: Shelf, numbers: list[dict[str, Any]], name: str) -> dict[str, str]:
    resource: Resource = {"resourceType": "Organization"}
    if numbers:
        resource["identifier"] = numbers
    return shelf.put(resource | ({"name": name} if name else {}))


def _party_organization(shelf: Shelf, party: Party) -> dict[str, str] | None:
    if party.kind == "device" or not (party.organization or party.organization_id):
        return None
    number: dict[str, Any] = {"value": party.organization_id}
    if party.organization_type in ("FINEG", "FINEJ", "SIREN", "SIRET", "IDNST"):
        number["type"] = {"coding": [{"system": systems.FR_IDENTIFIER_TYPE, "code": party.organization_type}]}
    if party.organization_type in ("FINEG", "FINEJ"):
        number["system"] = systems.FINESS
    elif party.organization_type == "IDNST":
        number["system"] = f"urn:oid:{systems.STRUCTURES}"
    return _organization(shelf, [number] if party.organization_id else [], party.organization)


def _name(family: str, given: str, prefix: str, suffix: str) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "family": family,
        "given": [given] if given else [],
        "prefix": [prefix] if prefix else [],
        "suffix": [suffix] if suffix else [],
    }
    return {key: value for key, value in parts.items() if value} if family or given else {}
