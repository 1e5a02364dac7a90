"""Which requests does a benchmark of the record send?

Invented patients with nine observations each, and for every case the calls that exercise it. The same seed gives the
same calls, so that the hub, a peer and the baseline are asked the same things. Values in `Known` come from what the
server answered when the data was loaded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

IDENTIFIERS = "urn:oid:1.2.250.1.999.1.1"  # an invented hospital's patient numbers
LOINC = "http://loinc.org"
OBSERVATIONS_PER_PATIENT = 9
BUNDLE = 50
PER_BUNDLE = BUNDLE // (1 + OBSERVATIONS_PER_PATIENT)

_FAMILIES = "BERTIN COSTES DALLE ESTEVE FABRE GINESTE HUGON JALABERT LAGARDE MAZARS NOUVEL PUECH RIVIERE VIALA".split()
_GIVEN = "Alice Basile Colette Denis Elise Firmin Gisele Henri Irene Jules Karine Leon Mireille Noe Odile Paul".split()
# LOINC code, display, UCUM unit, lowest and highest value
_MEASURES = (
    ("8480-6", "Systolic blood pressure", "mm[Hg]", 95, 185),
    ("8462-4", "Diastolic blood pressure", "mm[Hg]", 55, 110),
    ("8867-4", "Heart rate", "/min", 48, 120),
    ("29463-7", "Body weight", "kg", 42, 118),
    ("8310-5", "Body temperature", "Cel", 36, 40),
    ("2708-6", "Oxygen saturation", "%", 86, 100),
)
_OTHERS = 10_000_000  # numbers of patients that no search looks for
_START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request: its method, the target below the FHIR base, and a JSON body or nothing."""

    method: str
    target: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Known:
    """What is on the server: `patients` and `observations` are ids, `identifiers` and `families` search values."""

    patients: tuple[str, ...]
    observations: tuple[str, ...]
    identifiers: tuple[str, ...]
    families: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Keep it as JSON, for the process that makes the load."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Known:
        """The inverse of `write`."""
        return cls(**{name: tuple(values) for name, values in json.loads(path.read_text()).items()})


def patient(number: int) -> Resource:
    """Patient `number` of the invented population."""
    chance = random.Random(number)
    born = datetime(1930, 1, 1, tzinfo=UTC) + timedelta(days=chance.randrange(90 * 365))
    return {
        "resourceType": "Patient",
        "identifier": [{"system": IDENTIFIERS, "value": f"{number:09d}"}],
        "active": True,
        "name": [{"use": "official", "family": _family(number), "given": [chance.choice(_GIVEN)]}],
        "telecom": [{"system": "phone", "value": f"0{chance.randrange(10**8, 10**9)}", "use": "home"}],
        "gender": chance.choice(("female", "male")),
        "birthDate": f"{born:%Y-%m-%d}",
        "address": [{"line": [f"{chance.randrange(1, 99)} rue du Test"], "city": "Rodez", "postalCode": "12000"}],
    }


def observation(chance: random.Random, subject: str) -> Resource:
    """A vital sign of the patient that `subject` refers to."""
    code, display, unit, low, high = chance.choice(_MEASURES)
    when = _START + timedelta(minutes=chance.randrange(2 * 365 * 24 * 60))
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": f"{_TERMINOLOGY}/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": display}], "text": display},
        "subject": {"reference": subject},
        "effectiveDateTime": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "valueQuantity": {"value": chance.randint(low, high), "unit": unit, "system": _UCUM, "code": unit},
    }


def loading(patients: int) -> Iterator[Call]:
    """The transactions that load the population: 5 patients with their observations in each, 50 resources."""
    for first in range(0, patients, PER_BUNDLE):
        entries = []
        for number in range(first, min(first + PER_BUNDLE, patients)):
            chance = random.Random(-number - 1)
            own = f"urn:uuid:00000000-0000-4000-8000-{number:012d}"
            entries.append(_entry(patient(number), own))
            entries += [_entry(observation(chance, own)) for _ in range(OBSERVATIONS_PER_PATIENT)]
        yield _transaction(entries)


def lines(patients: int) -> Iterator[bytes]:
    """Another population for a bulk load, with ids of its own: one resource per line, 10 for each patient."""
    for number in range(_OTHERS, _OTHERS + patients):
        chance = random.Random(-number - 1)
        yield _json({**patient(number), "id": f"b{number}"}) + b"\n"
        for n in range(OBSERVATIONS_PER_PATIENT):
            yield _json({**observation(chance, f"Patient/b{number}"), "id": f"b{number}-{n}"}) + b"\n"


def known(patients: int, answers: list[Resource]) -> Known:
    """What was loaded, from the transaction responses."""
    places = [one["response"]["location"].split("/_history/")[0] for bundle in answers for one in bundle["entry"]]
    ids: dict[str, list[str]] = {"Patient": [], "Observation": []}
    for place in places:
        kind, id = place.split("/")[-2:]
        ids[kind].append(id)
    return Known(
        patients=tuple(ids["Patient"]),
        observations=tuple(ids["Observation"]),
        identifiers=tuple(f"{IDENTIFIERS}|{number:09d}" for number in range(patients)),
        families=tuple(sorted({_family(number) for number in range(patients)})),
    )


def calls(case: str, there: Known, *, count: int, seed: int) -> list[Call]:
    """`count` calls of one case, spread over what is on the server."""
    chance = random.Random(f"{case} {seed}")
    return [_CASES[case](there, chance) for _ in range(count)]


def _read(there: Known, chance: random.Random) -> Call:
    return Call("GET", f"/Observation/{chance.choice(there.observations)}")


def _search_identifier(there: Known, chance: random.Random) -> Call:
    return Call("GET", f"/Patient?identifier={chance.choice(there.identifiers).replace('|', '%7C')}")


def _search_patient_newest(there: Known, chance: random.Random) -> Call:
    return Call("GET", f"/Observation?patient={chance.choice(there.patients)}&_sort=-date&_count=20")


def _search_code_newest(there: Known, chance: random.Random) -> Call:
    return Call("GET", f"/Observation?code={LOINC}%7C{chance.choice(_MEASURES)[0]}&_sort=-date&_count=20")


def _search_name(there: Known, chance: random.Random) -> Call:
    return Call("GET", f"/Patient?family={chance.choice(there.families)}&_sort=family&_count=20")


def _include(there: Known, chance: random.Random) -> Call:
    target = f"/Observation?patient={chance.choice(there.patients)}&_include=Observation:subject&_count=20"
    return Call("GET", target)


def _chain(there: Known, chance: random.Random) -> Call:
    family = chance.choice(there.families)
    return Call("GET", f"/Observation?subject:Patient.family={family}&_sort=-date&_count=20")


def _has(there: Known, chance: random.Random) -> Call:
    code = f"{LOINC}%7C{chance.choice(_MEASURES)[0]}"
    return Call(
        "GET", f"/Patient?_has:Observation:patient:code={code}&family={chance.choice(there.families)}&_count=20"
    )


def _create(there: Known, chance: random.Random) -> Call:
    return Call("POST", "/Observation", _json(observation(chance, f"Patient/{chance.choice(there.patients)}")))


def _update(there: Known, chance: random.Random) -> Call:
    # `known` keeps the order of loading: nine observations for each patient.
    place = chance.randrange(len(there.observations))
    subject = f"Patient/{there.patients[place // OBSERVATIONS_PER_PATIENT]}"
    body = {"id": there.observations[place], **observation(chance, subject)}
    return Call("PUT", f"/Observation/{there.observations[place]}", _json(body))


def _transaction_50(there: Known, chance: random.Random) -> Call:
    subject = f"Patient/{chance.choice(there.patients)}"
    return _transaction([_entry(observation(chance, subject)) for _ in range(BUNDLE)])


_CASES: dict[str, Callable[[Known, random.Random], Call]] = {
    "read": _read,
    "search_identifier": _search_identifier,
    "search_patient_newest": _search_patient_newest,
    "search_code_newest": _search_code_newest,
    "search_name": _search_name,
    "include": _include,
    "chain": _chain,
    "has": _has,
    "create": _create,
    "update": _update,
    "transaction_50": _transaction_50,
}
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_UCUM = "http://unitsofmeasure.org"


def _family(number: int) -> str:
    # Seven patients share a name, as in a region: a search by name fills part of a page.
    rank = number // 7
    count = len(_FAMILIES)
    return f"{_FAMILIES[rank % count]}-{_FAMILIES[rank // count % count]}{rank // count**2 or ''}"


def _entry(resource: Resource, full_url: str = "") -> Resource:
    request = {"method": "POST", "url": resource["resourceType"]}
    return {**({"fullUrl": full_url} if full_url else {}), "resource": resource, "request": request}


def _transaction(entries: list[Resource]) -> Call:
    return Call("POST", "", _json({"resourceType": "Bundle", "type": "transaction", "entry": entries}))


def _json(value: Resource) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
