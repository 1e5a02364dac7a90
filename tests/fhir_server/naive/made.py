"""Made-up resources whose values are the ones that tell a right search from a wrong one, with many near misses.

The same seed gives the same resources. The pools below serve the queries too (`asked.py`).
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

Resource = dict[str, Any]

UCUM = "http://unitsofmeasure.org"
TYPES = (
    "Patient", "Observation", "Encounter", "Condition", "Organization", "Practitioner", "MedicationRequest", "ValueSet",
    "RiskAssessment", "ChargeItem",
)  # fmt: skip
FEW = 8  # resources of each type, twice as many of the first two
SYSTEMS = ("http://loinc.org", "urn:oid:1.2.250.1", None)
CODES = ("8480-6", "8462-4", "a", "A", "x,y", "m$n", "b\\c", "two words")
IDENTIFIERS = ("1234", "1234 ", "00-12", "p|q", "a,b")
WORDS = (
    "Lefèvre", "LEFEVRE", "Lefort", "Jean-Pierre", "Jean Pierre", "jean", "Müller", "Richard,Muller", "O'Neil", "Œuf",
    "Straße", "Zoé", "a|b", "Lef",
)  # fmt: skip
DATES = (
    "2019", "2020", "2020-01", "2020-01-10", "2020-01-11", "2019-12-31", "2020-07-01", "2021-03-28",
)  # fmt: skip
TIMES = (
    "2020-01-10T12:00:00Z", "2020-01-10T12:00:00.500+01:00", "2019-12-31T23:30:00Z", "2020-01-10T23:59:59+01:00",
    "2020-01-10T12:00:00.5Z", "2021-03-28T01:30:00Z",
)  # fmt: skip
NUMBERS = ("5.4", "5.36", "5.40", "5.45", "100", "99.5", "100.4", "0", "-3", "0.0054", "5400", "0.1", "120")
UNITS: tuple[dict[str, str], ...] = (
    {"unit": "mg", "system": UCUM, "code": "mg"},
    {"unit": "gramme", "system": UCUM, "code": "g"},
    {"system": UCUM, "code": "kg"},
    {"unit": "mm[Hg]", "system": UCUM, "code": "mm[Hg]"},
    {"unit": "mg"},
    {"system": "urn:oid:1.2.250.1", "code": "mg"},
    {},
)
URIS = ("http://a.test/vs", "http://a.test/vs/b", "http://a.test/vsx", "http://a.test/vs/b/c", "urn:oid:1.2.3")
VERSIONS = ("1.0", "1.0.2", "10")
PHONES = ("+33 6 12 34 56 78", "06 12 34 56 78", "0612345678", "zoe@Mail.test")
BASE = "http://hub.test/fhir"


class Maker:
    """Makes the resources of one world."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)

    def world(self) -> list[Resource]:
        """Resources of all types, in the order in which they are to be created."""
        found = []
        for type in TYPES:
            for number in range(FEW * (2 if type in TYPES[:2] else 1)):
                made = {
                    "resourceType": type,
                    "id": f"{type[:3].lower()}{number}",
                    **getattr(self, f"_{type.lower()}")(),
                }
                found.append(
                    {name: value for name, value in (made | self._meta()).items() if value not in (None, [], {})}
                )
        self._chance.shuffle(found)
        return found

    # ---- types ---------------------------------------------------------------------------------------------------

    def _meta(self) -> Resource:
        meta = {"tag": self._some(self._coding), "security": self._some(self._coding)}
        meta["profile"] = self._some(self._canonical)
        meta["source"] = self._maybe(lambda: self._of(URIS))
        return {"meta": {name: one for name, one in meta.items() if one}}

    def _patient(self) -> Resource:
        dead = self._of(({}, {"deceasedBoolean": False}, {"deceasedBoolean": True}, {"deceasedDateTime": "2020-01"}))
        return {
            "active": self._of((True, False, None)),
            "name": self._some(self._name),
            "telecom": self._some(self._telecom),
            "gender": self._of(("male", "female", "unknown", None)),
            "birthDate": self._of((*DATES, None)),
            "address": self._some(self._address),
            "identifier": self._some(self._identifier),
            "generalPractitioner": self._some(lambda: self._to("Practitioner", "Organization")),
            "managingOrganization": self._maybe(lambda: self._to("Organization")),
            "link": self._some(lambda: {"other": self._to("Patient"), "type": "seealso"}),
            **dead,
        }

    def _practitioner(self) -> Resource:
        return {
            "active": self._of((True, False, None)),
            "name": self._some(self._name),
            "identifier": self._some(self._identifier),
            "gender": self._of(("male", "female", None)),
            "telecom": self._some(self._telecom),
            "communication": self._some(self._concept),
        }

    def _organization(self) -> Resource:
        return {
            "identifier": [self._identifier()],
            "name": self._of((*WORDS,)),
            "alias": [self._of(WORDS) for _ in range(self._chance.randrange(3))],
            "address": self._some(lambda: self._address("work", "temp")),
            "type": self._some(self._concept),
            "partOf": self._maybe(lambda: self._to("Organization")),
        }

    def _encounter(self) -> Resource:
        return {
            "status": self._of(("planned", "in-progress", "finished")),
            "class": self._coding(),
            "type": self._some(self._concept),
            "subject": self._maybe(lambda: self._to("Patient", "Group")),
            "period": self._maybe(self._period),
            "length": self._maybe(self._duration),
            "participant": self._some(self._participant),
            "location": self._some(lambda: {"location": self._to("Location")}),
            "serviceProvider": self._maybe(lambda: self._to("Organization")),
            "partOf": self._maybe(lambda: self._to("Encounter")),
            "reasonCode": self._some(self._concept),
        }

    def _participant(self) -> Resource:
        who = self._maybe(lambda: self._to("Practitioner"))
        return self._without(individual=who, type=[self._concept()], period=self._maybe(self._period))

    def _condition(self) -> Resource:
        clinical = {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
        onset = self._of((
            {}, {"onsetDateTime": self._when()}, {"onsetPeriod": self._period()}, {"onsetString": self._of(WORDS)},
            {"onsetAge": {"value": Decimal(self._of(NUMBERS[:3])), "system": UCUM, "code": "a"}},
        ))  # fmt: skip
        return {
            "clinicalStatus": {"coding": [clinical]},
            "code": self._maybe(self._concept),
            "category": self._some(self._concept),
            "subject": self._to("Patient", "Group"),
            "encounter": self._maybe(lambda: self._to("Encounter")),
            "asserter": self._maybe(lambda: self._to("Practitioner", "Patient")),
            "recordedDate": self._of((*DATES, *TIMES, None)),
            "evidence": self._some(lambda: self._without(code=[self._concept()], detail=[self._to("Observation")])),
            **onset,
        }

    def _observation(self) -> Resource:
        effective = self._of((
            {}, {"effectiveDateTime": self._when()}, {"effectivePeriod": self._period()},
            {"effectiveInstant": self._of(TIMES)},
            {"effectiveTiming": {"event": [self._when(), self._when()]}},
        ))  # fmt: skip
        code, measured = self._concept(), self._measured()
        components = self._some(lambda: {"code": self._concept(), **self._measured()})
        return {
            "status": self._of(("final", "preliminary", "amended")),
            "code": code,
            "category": self._some(self._concept),
            "identifier": self._some(self._identifier),
            "subject": self._maybe(lambda: self._to("Patient", "Group", "Device")),
            "encounter": self._maybe(lambda: self._to("Encounter")),
            "performer": self._some(lambda: self._to("Practitioner", "Organization", "Patient")),
            "hasMember": self._some(lambda: self._to("Observation")),
            "component": [one for one in components if not measured or not _share(one["code"], code)],  # obs-7
            **effective,
            **measured,
        }

    def _measured(self) -> Resource:
        return self._of((
            {}, {"valueQuantity": self._quantity()}, {"valueQuantity": self._quantity()},
            {"valueCodeableConcept": self._concept()}, {"valueString": self._of(WORDS)},
            {"valueDateTime": self._when()}, {"valuePeriod": self._period()}, {"valueBoolean": True},
        ))  # fmt: skip

    def _medicationrequest(self) -> Resource:
        medicine = self._of((
            {"medicationCodeableConcept": self._concept()}, {"medicationReference": self._to("Medication")},
        ))  # fmt: skip
        return {
            "identifier": self._some(self._identifier),
            "status": self._of(("active", "stopped", "completed")),
            "intent": self._of(("order", "plan")),
            "priority": self._of(("routine", "stat", None)),
            "subject": self._to("Patient"),
            "encounter": self._maybe(lambda: self._to("Encounter")),
            "requester": self._maybe(lambda: self._to("Practitioner", "Organization")),
            "authoredOn": self._of((*DATES, *TIMES, None)),
            "dosageInstruction": self._some(lambda: {"timing": {"event": [self._when()]}}),
            **medicine,
        }

    def _valueset(self) -> Resource:
        use = lambda: {"code": self._coding(), **self._of((  # noqa: E731
            {"valueCodeableConcept": self._concept()}, {"valueQuantity": self._quantity()},
        ))}  # fmt: skip
        return {
            "url": self._of((*URIS, None)),
            "version": self._of((*VERSIONS, None)),
            "name": self._of(WORDS),
            "title": self._of(WORDS),
            "status": self._of(("draft", "active")),
            "date": self._of((*DATES, None)),
            "publisher": self._of((*WORDS, None)),
            "jurisdiction": self._some(self._concept),
            "identifier": self._some(self._identifier),
            "useContext": self._some(use),
            "description": self._of((*WORDS, None)),
            "compose": self._maybe(lambda: {"include": [{"system": self._of(URIS)}]}),
        }

    def _riskassessment(self) -> Resource:
        likely = lambda: self._of((  # noqa: E731
            {}, {"probabilityDecimal": Decimal(self._of(("5.4", "5.36", "0", "0.1", "99.5", "100")))},
            {"probabilityRange": {"low": {"value": Decimal("0.1")}, "high": {"value": Decimal("5.4")}}},
        ))  # fmt: skip
        return {
            "identifier": self._some(self._identifier),
            "status": "final",
            "subject": self._to("Patient", "Group"),
            "occurrencePeriod": self._maybe(self._period),
            "prediction": self._some(lambda: {"outcome": self._concept(), **likely()}),
            "method": self._maybe(self._concept),
        }

    def _chargeitem(self) -> Resource:
        price = {"value": Decimal(self._of(NUMBERS)), "currency": self._of(("EUR", "USD"))}
        return {
            "status": "billable",
            "code": self._concept(),
            "subject": self._to("Patient"),
            "quantity": self._maybe(self._quantity_only),
            "factorOverride": self._of((Decimal("5.4"), Decimal("5.36"), Decimal("0.1"), 100, 0, None)),
            "priceOverride": self._of((price, None)),
            "enteredDate": self._of((*DATES, *TIMES, None)),
        }

    # ---- data types ----------------------------------------------------------------------------------------------

    def _coding(self) -> Resource:
        code = {
            "system": self._of(SYSTEMS),
            "code": self._of((*CODES, *CODES[:4])),
            "display": self._of((*WORDS, None)),
        }
        return self._without(**code)

    def _concept(self) -> Resource:
        codings = [self._coding() for _ in range(self._chance.choice((1, 1, 1, 2)))]
        return self._without(coding=codings, text=self._of((*WORDS[:3], None)))

    def _identifier(self) -> Resource:
        kind = self._maybe(lambda: {"coding": [self._coding()]})
        return self._without(system=self._of(SYSTEMS), value=self._of(IDENTIFIERS).strip(), type=kind)

    def _name(self) -> Resource:
        return self._without(
            family=self._of((*WORDS, None)), given=[self._of(WORDS)], prefix=self._of((["Dr"], None)),
            text=self._of((*WORDS, None)),
        )  # fmt: skip

    def _telecom(self) -> Resource:
        number = self._of(PHONES)
        kind = "email" if "@" in number else "phone"
        return self._without(system=kind, value=number, use=self._of(("home", "work", None)))

    def _address(self, *uses: str) -> Resource:
        return self._without(
            use=self._of(uses or ("home", "work", None)), line=[self._of(WORDS)], city=self._of((*WORDS, None)),
            postalCode=self._of(("59000", "59 000", "5", None)), country=self._of(("FR", "fr", None)),
        )  # fmt: skip

    def _canonical(self) -> str:
        return self._of((*URIS, *(f"{URIS[0]}|{version}" for version in VERSIONS)))

    def _period(self) -> Resource:
        start, end = sorted((str(self._of(DATES)), self._when()))
        return self._of(({"start": start, "end": end}, {"start": start}, {"end": end}))

    def _quantity(self) -> Resource:
        comparator = {"comparator": self._of(("<", "<=", ">", ">="))} if self._chance.random() < 0.2 else {}
        return {**comparator, **self._quantity_only()}

    def _quantity_only(self) -> Resource:
        return {"value": Decimal(self._of(NUMBERS)), **self._of(UNITS)}

    def _duration(self) -> Resource:
        return {"value": Decimal(self._of(NUMBERS)), "system": UCUM, "code": self._of(("min", "h"))}

    def _to(self, *types: str) -> Resource:
        """A reference to one that is there, or not; as it may be written."""
        type = self._of(types)
        target = f"{type}/{type[:3].lower()}{self._chance.randrange(FEW)}"
        return self._of((
            {"reference": target}, {"reference": target}, {"reference": target}, {"reference": f"{BASE}/{target}"},
            {"reference": f"{target}/_history/1"}, {"reference": f"http://other.test/fhir/{target}"},
            {"reference": target, "identifier": self._identifier()}, {"display": self._of(WORDS)},
        ))  # fmt: skip

    # ---- chance --------------------------------------------------------------------------------------------------

    def _of(self, some: Any) -> Any:
        return self._chance.choice(some)

    def _maybe(self, make: Any) -> Any:
        return make() if self._chance.random() < 0.7 else None

    def _some(self, make: Any) -> list[Any]:
        return [make() for _ in range(self._chance.choice((0, 1, 1, 2)))]

    def _when(self) -> str:
        return str(self._of(DATES + TIMES))

    def _without(self, **elements: Any) -> Resource:
        return {name: one for name, one in elements.items() if one not in (None, [], {})}


def _share(one: Resource, other: Resource) -> bool:
    """Two concepts have a coding in common."""
    pairs = ({(c.get("system"), c.get("code")) for c in concept["coding"]} for concept in (one, other))
    return bool(set.intersection(*pairs))
