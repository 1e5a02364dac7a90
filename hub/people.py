"""Who is this patient, sender or recipient, in the record?

Finds, and when nobody is found proposes what to write: the changes go into the caller's own commit, with a claim on
each identifier, so that two messages about the same newcomer cannot make two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from common import clock, errors
from fhir_server import changes
from fhir_server.rights import facts
from hub import conversations
from hub.room import Resource, Room
from mapping import refusals, systems, v2_document, v2_identity
from mss import address


@dataclass(frozen=True, slots=True)
class Found:
    """A reference (`Patient/x`), what must be committed with it, and whether that makes it (`made`)."""

    ref: str
    new: tuple[changes.Change, ...] = ()
    made: bool = False


async def patient(identity: v2_identity.PatientIdentity, room: Room) -> Found:
    """The patient that a hospital message describes: by INS, else by the hospital's own number.

    A local number is trusted only as the claim of an earlier message, never because somebody wrote it on a Patient. An
    unknown patient is created, provisional, unless the settings refuse it. Raises UnknownPatient (902) then, and when
    the message gives no number at all; Conflict when its numbers belong to different patients.
    """
    resource = v2_identity.to_fhir(identity)
    numbers = [f"{one['system']}|{one['value']}" for one in resource.get("identifier", ()) if one.get("system")]
    if not numbers:
        raise errors.UnknownPatient("le message n'identifie pas le patient : donnez INS ou IPP", at="PID-3")
    known = {ref for number in numbers for ref in await known_by(number, room)}
    if len(known) > 1:
        raise errors.Conflict("les numéros du message désignent des patients différents", at="PID-3")
    if not known and room.settings.hospital_unknown_patient != "create":
        raise errors.UnknownPatient("patient inconnu ; envoyez d'abord son identité", at="PID-3")
    ref = known.pop() if known else ""
    if ref:
        same_person(await room.read(ref), resource)
    id = ref.partition("/")[2] or room.store.new_id("Patient", resource)
    claims = [changes.Claim(f"Patient|{number}", "Patient", id) for number in numbers]
    return (
        Found(ref, tuple(claims))
        if ref
        else Found(f"Patient/{id}", (changes.Create("Patient", id, resource), *claims), True)
    )


def same_person(held: Resource, said: Resource) -> None:
    """Raises PatientMismatch (904) when a full birth date or a sex in the message is not that of the known patient."""
    dates = held.get("birthDate", ""), said.get("birthDate", "")
    if all(len(date) == 10 for date in dates) and dates[0] != dates[1]:
        raise refusals.PatientMismatch("la date de naissance n'est pas celle du patient connu", at="PID-7")
    sexes = {held.get("gender"), said.get("gender")} - {None, "unknown", "other"}
    if len(sexes) > 1:
        raise refusals.PatientMismatch("le sexe n'est pas celui du patient connu", at="PID-8")


async def known_by(number: str, room: Room) -> list[str]:
    """Who owns this number: claimed by an earlier message, or an INS, which only the hub writes on a Patient."""
    if owner := await room.store.owner(f"Patient|{number}"):
        return [owner]
    if number.partition("|")[0] in systems.INS_SYSTEMS:
        return [f"Patient/{one['id']}" for one in await room.find("Patient", identifier=number)]
    return []


async def recipient(person: v2_document.Party, room: Room) -> Found:
    """The professional behind a mailbox; an unknown one becomes a directory entry reached by mail."""
    mailbox = (person.mssante or "").lower()
    if known := await by_mailbox(mailbox, room):
        return Found(f"PractitionerRole/{known['id']}")
    practitioner: Resource = {
        "resourceType": "Practitioner",
        "active": True,
        "name": [{"family": person.family or mailbox, **({"given": [person.given]} if person.given else {})}],
    }
    if person.identifier:
        # What a sender says of an addressee: it tells who is meant, and opens no account (`hub.national`).
        number = {"use": "temp", "system": f"urn:oid:{systems.PROFESSIONALS}", "value": person.identifier}
        practitioner["identifier"] = [number]
    practitioner_id = room.store.new_id("Practitioner", practitioner)
    role: Resource = {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": conversations.reference(f"Practitioner/{practitioner_id}"),
        "telecom": [conversations.mssante(mailbox)],
    }
    role_id = room.store.new_id("PractitionerRole", role)
    new = (
        changes.Create("Practitioner", practitioner_id, practitioner),
        changes.Create("PractitionerRole", role_id, role),
        changes.Claim(f"PractitionerRole|{mailbox}", "PractitionerRole", role_id),
    )
    return Found(f"PractitionerRole/{role_id}", new, True)


async def by_mailbox(mailbox: str, room: Room) -> Resource | None:
    """The active PractitionerRole that has this MSSanté mailbox."""
    for role in await room.find("PractitionerRole", email=mailbox.lower()):
        if role.get("active", True) and conversations.mailbox(role) == mailbox.lower():
            return role
    return None


def citizen_mailbox(patient: Resource) -> str:
    """A patient's mailbox in Mon espace santé, built anew each time: a matricule may change (MSS-11).

    Raises errors.Invalid unless the INS is qualified: with another's number the mail would reach somebody else.
    """
    number = qualified_ins(patient)
    if number is None:
        raise errors.Invalid("l'INS de ce patient n'est pas qualifiée : pas d'adresse Mon espace santé", at="Patient")
    return address.citizen(number["value"])


def qualified_ins(patient: Resource) -> Resource | None:
    """The identifier that may leave the hub: the only INS of a validated identity (INS-03), None otherwise."""
    status = {
        part.get("valueCoding", {}).get("code")
        for extension in patient.get("extension", ())
        if extension["url"] == systems.FR_IDENTITY_RELIABILITY
        for part in extension.get("extension", ())
        if part["url"] == "identityStatus"
    }
    numbers: list[Resource] = [one for one in patient.get("identifier", ()) if one.get("system") in systems.INS_SYSTEMS]
    return numbers[0] if status == {"VALI"} and len(numbers) == 1 else None


async def circle(patient: str, room: Room) -> list[str]:
    """The professionals who are in the patient's circle of care now, as PractitionerRole references."""
    teams = await room.find("CareTeam", patient=patient, status="active")
    return facts.present(teams, clock.micros(room.now()))


def display(identity: v2_identity.PatientIdentity) -> str:
    """How a patient is called in a conversation's title: `Jeanne DELMAS`, by the name in use."""
    used = next((one for one in identity.names if one.use == "usual"), None) or next(iter(identity.names), None)
    return " ".join(part for part in (used.given.title(), used.family) if part) if used else "patient sans nom"


async def name(ref: str, room: Room) -> tuple[str, str]:
    """Display name and profession of a PractitionerRole, Practitioner or Organization; empty when unknown."""
    resource = await room.read(ref)
    if resource["resourceType"] == "Organization":
        return str(resource.get("name", "")), ""
    profession = next((str(one.get("text", "")) for one in resource.get("code", ())), "")
    if resource["resourceType"] == "PractitionerRole":
        if "practitioner" not in resource:
            return "", profession
        resource = await room.read(resource["practitioner"]["reference"])
    first: Resource = next(iter(resource.get("name", ())), {})
    parts = [*first.get("prefix", ()), *first.get("suffix", ()), *first.get("given", ()), first.get("family", "")]
    return " ".join(part for part in parts if part), profession
