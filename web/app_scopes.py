"""What does an app ask for, in words that a person can weigh?

SMART scopes (`user/Observation.rs`): whose data, of which kind, to read or to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SCOPE = re.compile(r"(user|patient)/([A-Za-z]+|\*)\.([a-z]+)(\?.*)?")
_WHOSE = {"patient": "de ce patient", "user": "de tous les patients que vous suivez"}
_DIRECTORY = frozenset({"Practitioner", "PractitionerRole", "Organization", "HealthcareService", "Location"})
_WHAT = {
    "*": "toutes les données",
    "Patient": "l'identité",
    "Communication": "les conversations",
    "Observation": "les mesures et résultats d'analyses",
    "Condition": "les problèmes de santé",
    "DocumentReference": "les documents",
    "Binary": "le contenu des documents",
    "MedicationStatement": "les traitements",
    "MedicationRequest": "les prescriptions",
    "AllergyIntolerance": "les allergies",
    "Immunization": "les vaccinations",
    "CarePlan": "les plans de soins",
    "CareTeam": "le cercle de soins",
    "Encounter": "les venues et séjours",
    "Consent": "les consentements",
    "Task": "les tâches",
    "QuestionnaireResponse": "les formulaires remplis",
}


def words(scopes: Iterable[str]) -> list[str]:
    """One sentence for each scope of data, in their order, each once; what gives no data says nothing."""
    found = [_sentence(*scope.groups()) for one in scopes if (scope := _SCOPE.fullmatch(one))]
    return list(dict.fromkeys(found))


def _sentence(whose: str, type: str, letters: str, query: str | None) -> str:
    reads, writes = bool({*letters} & {*"rs"}), bool({*letters} & {*"cud"})
    verb = "Lire et modifier" if reads and writes else "Modifier" if writes else "Lire"
    if type in _DIRECTORY:
        return f"{verb} l'annuaire des professionnels et des structures"
    part = f" (seulement : {query[1:]})" if query else ""
    return f"{verb} {_WHAT.get(type, f'les données « {type} »')} {_WHOSE[whose]}{part}"
