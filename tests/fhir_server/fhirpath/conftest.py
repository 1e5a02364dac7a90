"""What the expressions are tried on: an invented patient and an observation, with the compiled R4 definitions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhirpath import evaluate
from fhir_server.r4 import load

NOW = datetime(2026, 11, 25, 10, 30, 15, 250_000, tzinfo=UTC)

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "essai",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinique des Essais"}],
    "active": True,
    "name": [
        {
            "use": "official",
            "family": "PAT-UN",
            "given": ["Ana", "Lou"],
            "_given": [None, {"extension": [{"url": "http://x.test/q", "valueCode": "second"}]}],
        },
        {"use": "usual", "given": ["Nana"]},
    ],
    "telecom": [
        {"system": "phone", "value": "0102030405", "rank": 2},
        {"system": "email", "value": "ana@x.test", "rank": 1},
    ],
    "gender": "female",
    "birthDate": "1980-05-11",
    "_birthDate": {"extension": [{"url": "http://x.test/time", "valueDateTime": "1980-05-11T10:00:00+02:00"}]},
    "deceasedBoolean": False,
    "multipleBirthInteger": 2,
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/abc"}, {"reference": "PractitionerRole/def/_history/3"}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "mesure",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}], "text": "Poids"},
    "subject": {"reference": "Patient/essai"},
    "effectiveDateTime": "2026-03-01T08:00:00+01:00",
    "valueQuantity": {"value": Decimal("72.50"), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    "component": [
        {"code": {"text": "a"}, "valueInteger": 1},
        {"code": {"text": "b"}, "valueString": "deux"},
        {"code": {"text": "c"}, "valueQuantity": {"value": Decimal(500), "code": "g"}},
    ],
}

Ask = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def ask(definitions: load.Definitions) -> Ask:
    """The collection that an expression gives on the patient, or on another resource."""

    def run(expression: str, resource: dict[str, Any] = PATIENT, **options: Any) -> list[Any]:
        return evaluate.evaluate(expression, resource, definitions, now=NOW, **options)

    return run
