"""Who sees what, said a second time: by the facts of a region, rule by rule, as one would tell a patient.

Nothing here is shared with the record: neither its tables of bits nor its SQL.
"""

from __future__ import annotations

from tests.fhir_server.rights.facts import Patient, Person, Region, Thing

HEALTH, SOCIAL = {"10", "60"}, {"41"}
# The matrix of professions, as a person reads it.
READS = {
    "10": {"identite", "coordination", "liaison", "medical", "traitement", "biologie", "social", "formulaire"},
    "60": {"identite", "coordination", "liaison", "medical", "traitement", "biologie", "social", "formulaire"},
    "41": {"identite", "coordination", "liaison", "social", "formulaire"},
    "999": {"identite", "coordination", "liaison"},
}


def sees(region: Region, person: Person, thing: Thing) -> bool:
    """May this person see this thing now?"""
    patient = region.patients.get(thing.patient or "")
    if patient is None:
        to_structure = thing.level == "structure" and _same_structure(person, thing)
        return _is_mine(person, thing) or _is_sent_to(person, thing) or to_structure
    now = region.now
    if _is_unwanted(person, patient, now):
        return False
    if _is_mine(person, thing):
        return True
    if _is_against_all(patient, now):
        return False
    in_emergency = any(who == person.role and span.holds(now) for who, span in patient.emergencies)
    if _is_sent_to(person, thing) or (thing.level == "structure" and _same_structure(person, thing)):
        return in_emergency or not _has_withdrawn(patient, now)
    if thing.level not in ("partage", "public") or _corps(person) in thing.hidden_from:
        return False
    if thing.level == "partage" and thing.kind not in READS[person.profession]:
        return False
    in_circle = any(member in person.names and span.holds(now) for member, span in patient.circle)
    return in_emergency or (in_circle and _shares(patient, now))


def _is_mine(person: Person, thing: Thing) -> bool:
    return thing.author is not None and thing.author.role == person.role


def _is_sent_to(person: Person, thing: Thing) -> bool:
    return person.role in thing.named or person.person in thing.named


def _same_structure(person: Person, thing: Thing) -> bool:
    return thing.author is not None and thing.author.structure == person.structure


def _is_unwanted(person: Person, patient: Patient, now: float) -> bool:
    return any(
        one.kind == "against-some" and one.state == "active" and one.span.holds(now) and one.whom & person.names
        for one in patient.decisions
    )


def _is_against_all(patient: Patient, now: float) -> bool:
    return any(one.kind == "against-all" and one.state == "active" and one.span.holds(now) for one in patient.decisions)


def _shares(patient: Patient, now: float) -> bool:
    return any(one.kind == "share" and one.state == "active" and one.span.holds(now) for one in patient.decisions)


def _has_withdrawn(patient: Patient, now: float) -> bool:
    ended = any(one.kind == "share" and one.state == "ended" for one in patient.decisions)
    return ended and not _shares(patient, now)


def _corps(person: Person) -> str:
    return "health" if person.profession in HEALTH else "social" if person.profession in SOCIAL else "third"
