"""Who lives in the small demo region?

The fixed cast of the demo journeys. Every name is invented, every INS carries the test OID; dates are relative to
today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common import clock, errors
from fhir_server import access, changes, store
from fhir_server.rights import facts
from hub import conversations
from hub.rules import circle, consent
from mapping import systems

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Persona:
    """One of the cast. `actor` is who they act as, `practitioner` who they are; `mailbox` their MSSanté address."""

    name: str
    display: str
    actor: str
    title: str = ""
    given: str = ""
    family: str = ""
    profession: str = ""
    code: str = ""  # TRE-G15 profession
    national_id: str = ""
    mailbox: str = ""
    channel: str = "app"
    organization: str = "Organization/cabinet-rodez"
    office: str = ""  # what they do for others besides (systems.OFFICE)

    @property
    def practitioner(self) -> str:
        """`Practitioner/x`, empty for a structure."""
        return f"Practitioner/{self.name}" if self.family else ""


def _person(name: str, given: str, family: str, profession: str, *, title: str = "", **more: str) -> Persona:
    display = " ".join(part for part in (title, given, family) if part)
    return Persona(name, display, f"PractitionerRole/{name}", title, given, family, profession, **more)


PERSONAS = {
    one.name: one
    for one in (
        _person("nadia", "Nadia", "Roux", "infirmière libérale", code="60", national_id="899700000018"),
        _person(
            "lefebvre",
            "Paul",
            "Lefebvre",
            "médecin généraliste",
            title="Dr",
            code="10",
            national_id="899700000026",
            mailbox="paul.lefebvre@demo.mssante.fr",
            channel="mssante",
        ),
        _person(
            "claire",
            "Claire",
            "Fabre",
            "coordinatrice",
            code="330",
            national_id="",
            organization="Organization/dac-12",
            office="account-agent",
        ),
        _person("karim", "Karim", "Benali", "assistant social", code="41", organization="Organization/dac-12"),
        _person(
            "lgc",
            "Hélène",
            "Moreau",
            "médecin généraliste",
            title="Dr",
            code="10",
            national_id="899700000034",
            mailbox="cabinet.demonstration@demo.mssante.fr",
            organization="Organization/cabinet-demonstration",
        ),
        _person("operateur", "Olivier", "Garnier", "opérateur du hub", organization="Organization/dac-12"),
        Persona("hopital", "Service de cardiologie", "Organization/hopital"),
    )
}

# name, FINESS, city; invented
_ORGANIZATIONS = (
    ("cabinet-rodez", "Cabinet des Embergues", "129900016", "Rodez"),
    ("cabinet-demonstration", "Cabinet de démonstration", "129900024", "Rodez"),
    ("dac-12", "DAC 12 de démonstration", "129900032", "Rodez"),
    ("hopital", "Service de cardiologie, centre hospitalier de démonstration", "129900040", "Rodez"),
)

# id, given, family, gender, birth date, INS (test OID; keys are right)
_PATIENTS = (
    ("delmas-jeanne", "Jeanne", "DELMAS", "female", "1948-05-12", "248051220200170"),
    ("delmas-jean", "Jean", "DELMAS", "male", "1948-05-21", "148051220200222"),
    ("vidal-rose", "Rose", "VIDAL", "female", "1935-02-03", "235021220200375"),
    ("costes-marcel", "Marcel", "COSTES", "male", "1940-11-30", "140111220200423"),
    ("bonnet-lucie", "Lucie", "BONNET", "female", "2015-07-14", "215071220200566"),
    ("rey-andre", "André", "REY", "male", "1952-09-08", "152091220200680"),
)


def tiles() -> list[tuple[str, str, str]]:
    """Who can sign in with one tap in the demo: name, label, what they do. The doctor with only a mailbox cannot."""
    people = [one for one in PERSONAS.values() if one.family and one.channel == "app"]
    return [(one.name, one.display, one.profession) for one in people]


async def fill(record: store.Store, now: datetime) -> bool:
    """Put the region into the record, once. False when it was there already."""
    try:
        await record.read("Organization", "hopital", caller=access.SYSTEM)
        return False
    except errors.NotFound:
        pass
    directory = [changes.Create(body["resourceType"], body["id"], body) for body in (*_directory(), *_patients())]
    await record.commit(directory, caller=access.SYSTEM, cause="seed")
    for patient in ("delmas-jeanne", "vidal-rose"):
        await record.commit(_dossier(patient, record, now), caller=access.SYSTEM, cause="seed")
    await _story(record, now)
    return True


async def _story(record: store.Store, now: datetime) -> None:
    """Nadia asks the GP, who has only a mailbox, about a wound: the first mail of the demo leaves at once."""
    nadia = access.person("PractitionerRole/nadia", "Practitioner/nadia", client="web")
    header = conversations.header(
        "Plaie au talon",
        patient="Patient/vidal-rose",
        members=["PractitionerRole/nadia", "PractitionerRole/lefebvre", "PractitionerRole/claire"],
        category="patient",
    )
    id = record.new_id("Communication", header)
    text = "Bonjour Docteur, la plaie du talon gauche suinte depuis hier, sans fièvre. Faut-il changer le pansement ?"
    first = conversations.message(
        f"Communication/{id}", sender="PractitionerRole/nadia", sent=now, text=text, documents=[], medium="app"
    )
    first["subject"] = header["subject"]
    share = changes.Share("Patient", "vidal-rose", frozenset({"PractitionerRole/nadia"}))
    await record.commit([share], caller=access.SYSTEM, cause="seed")
    opened = changes.Create("Communication", id, header)
    asked = changes.Create("Communication", record.new_id("Communication", first), first)
    await record.commit([opened, asked], caller=nadia, cause="seed")


def _directory() -> Iterator[Resource]:
    for id, name, finess, city in _ORGANIZATIONS:
        yield {
            "resourceType": "Organization",
            "id": id,
            "identifier": [{"system": systems.FINESS, "value": finess}],
            "active": True,
            "name": name,
            "address": [{"city": city, "postalCode": "12000", "country": "FRA"}],
        }
    for persona in PERSONAS.values():
        if persona.practitioner:
            yield _practitioner(persona)
            yield _role(persona)


def _practitioner(persona: Persona) -> Resource:
    name: Resource = {"family": persona.family, "given": [persona.given], "text": persona.display}
    if persona.title:
        name["suffix"] = [persona.title.upper()]
    resource: Resource = {"resourceType": "Practitioner", "id": persona.name, "active": True, "name": [name]}
    if persona.national_id:
        resource["identifier"] = [{"system": f"urn:oid:{systems.PROFESSIONALS}", "value": persona.national_id}]
    return resource


def _role(persona: Persona) -> Resource:
    profession: Resource = {"text": persona.profession}
    if persona.code:
        profession["coding"] = [{"system": systems.PROFESSION, "code": persona.code, "display": persona.profession}]
    resource: Resource = {
        "resourceType": "PractitionerRole",
        "id": persona.name,
        "extension": [{"url": systems.PREFERRED_CHANNEL, "valueCode": persona.channel}],
        "active": True,
        "practitioner": {"reference": persona.practitioner, "display": persona.display},
        "organization": {"reference": persona.organization},
        "code": [profession],
    }
    if persona.office:
        resource["code"].append(conversations.concept(systems.OFFICE, persona.office))
    if persona.mailbox:
        resource["telecom"] = [conversations.mssante(persona.mailbox)]
    return resource


def _patients() -> Iterator[Resource]:
    for id, given, family, gender, born, ins in _PATIENTS:
        yield {
            "resourceType": "Patient",
            "id": id,
            "identifier": [{"use": "official", "system": f"urn:oid:{systems.INS_TEST}", "value": ins}],
            "active": True,
            "name": [{"use": "official", "family": family, "given": [given]}],
            "gender": gender,
            "birthDate": born,
        }


def _dossier(patient: str, record: store.Store, now: datetime) -> list[changes.Change]:
    """The patient's consent, which the coordinator heard, and the circle of care."""
    said = consent.recorded(
        f"Patient/{patient}", category=facts.DOSSIER, by="PractitionerRole/claire", at=clock.instant(now)
    )
    said["organization"] = [conversations.reference("Organization/dac-12")]
    team = _circle(patient, now)
    id = record.new_id("CareTeam", team)
    return [
        changes.Create("Consent", record.new_id("Consent", said), said),
        changes.Create("CareTeam", id, team),
        circle.claim(f"Patient/{patient}", id),
    ]


def _circle(patient: str, now: datetime) -> Resource:
    since = clock.instant(now)[:10]
    return {
        "resourceType": "CareTeam",
        "identifier": [{"system": f"{systems.HUB}/NamingSystem/circle", "value": patient}],
        "status": "active",
        "name": "Cercle de soins",
        "subject": conversations.reference(f"Patient/{patient}"),
        "period": {"start": since},
        "participant": [
            {"member": conversations.reference(f"PractitionerRole/{name}"), "period": {"start": since}}
            for name in ("nadia", "lefebvre", "claire", "lgc")
        ],
    }
