"""Which patient does this PID describe, and how sure is the hospital?

IHE PAM France 2.11.2, PID; INS rules: the number counts only when PID-32 says VALI, the OID decides and not the type
code, a test number never enters a production domain. Golden case: mdm_t02_cda_n1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mapping import codes, er7, systems, times, v2_types
from mapping.tolerance import Tolerance, note


@dataclass(frozen=True, slots=True)
class Identifier:
    """A number with its FHIR system and type."""

    value: str
    system: str
    type_code: str
    type_system: str
    use: str
    assigner: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """A name with its FHIR use; `birth_given` is the full list of the birth certificate."""

    use: str
    family: str
    given: str
    birth_given: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class BirthPlace:
    """INSEE code of the municipality (or 99xxx for a country), and what else was said."""

    insee: str
    city: str
    country: str


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """The person of a PID. `identifiers` holds the INS only when it was accepted; `account` is PID-18.

    `numbers` are all the numbers of PID-3 as (authority OID, value), accepted or not: only for comparing with the
    document that the message carries, never for finding or storing a patient.
    """

    identifiers: tuple[Identifier, ...]
    ins: Identifier | None
    names: tuple[Name, ...]
    birth_date: str
    gender: str
    addresses: tuple[v2_types.Address, ...]
    birth_place: BirthPlace | None
    telecoms: tuple[v2_types.Telecom, ...]
    reliability: tuple[str, ...]
    account: Identifier | None
    numbers: tuple[tuple[str, str], ...]
    tolerances: tuple[Tolerance, ...]

    @property
    def local(self) -> tuple[Identifier, ...]:
        """The hospital's own patient numbers (IPP)."""
        return tuple(identifier for identifier in self.identifiers if identifier.type_code == "PI")

    @property
    def birth_name(self) -> str:
        """Family name at birth, else the first family name there is."""
        families = [name.family for name in self.names if name.use == "official"] + [n.family for n in self.names]
        return families[0] if families else ""


@dataclass(frozen=True, slots=True)
class Stay:
    """The visit of a PV1: its class (E, I, N, O, R, V) and its number, the key of the stay."""

    kind: str
    number: Identifier | None


def read(pid: er7.Segment, *, ins_authorities: frozenset[str] = systems.INS_PRODUCTION) -> PatientIdentity:
    """The identity of a PID segment; `ins_authorities` are the OIDs of the INS numbers that this hub accepts."""
    notes: list[Tolerance] = []
    reliability = tuple(value.text() for value in pid.repetitions(32) if value.text())
    identifiers, ins = _identifiers(pid, "VALI" in reliability, ins_authorities, notes)
    addresses = tuple(v2_types.address(value) for value in pid.repetitions(11))
    return PatientIdentity(
        identifiers=identifiers,
        ins=ins,
        names=_names(pid),
        birth_date=_birth_date(pid, notes),
        gender=_gender(pid, notes),
        addresses=tuple(address for address in addresses if address.type != "BDL"),
        birth_place=next((_birth_place(address) for address in addresses if address.type == "BDL"), None),
        telecoms=tuple(found for value in pid.repetitions(13) if (found := v2_types.telecom(value))),
        reliability=reliability,
        account=next((_local(v2_types.number(value), "AN") for value in pid.repetitions(18)), None),
        numbers=_numbers(pid),
        tolerances=tuple(notes),
    )


def to_fhir(identity: PatientIdentity) -> dict[str, Any]:
    """A Patient without id, FR Core shape. Claims the INS profile only when it can hold what that one asks for."""
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "meta": {"profile": [systems.FR_PATIENT_INS if _is_qualified(identity) else systems.FR_PATIENT]},
        "extension": [*_reliability_extension(identity), *_birth_place_extension(identity)],
        "identifier": [identifier_to_fhir(identifier) for identifier in identity.identifiers],
        "name": [_name_to_fhir(name) for name in identity.names],
        "telecom": [_telecom_to_fhir(telecom) for telecom in identity.telecoms],
        "gender": identity.gender,
        "birthDate": identity.birth_date,
        "address": [_address_to_fhir(address) for address in identity.addresses],
    }
    return {key: value for key, value in patient.items() if value}


def identifier_to_fhir(identifier: Identifier) -> dict[str, Any]:
    """A FHIR Identifier."""
    found: dict[str, Any] = {"use": identifier.use}
    if identifier.type_code:
        found["type"] = {"coding": [{"system": identifier.type_system, "code": identifier.type_code}]}
    if identifier.system:
        found["system"] = identifier.system
    found["value"] = identifier.value
    if identifier.assigner:
        found["assigner"] = {"display": identifier.assigner}
    return found


def stay(pv1: er7.Segment | None) -> Stay:
    """PV1-2 and PV1-19."""
    if pv1 is None:
        return Stay("", None)
    return Stay(pv1.text(2), _local(v2_types.number(pv1.first(19)), "VN"))


def _identifiers(
    pid: er7.Segment, is_validated: bool, accepted: frozenset[str], notes: list[Tolerance]
) -> tuple[tuple[Identifier, ...], Identifier | None]:
    local: list[Identifier] = []
    national: list[Identifier] = []
    for turn, value in enumerate(pid.repetitions(3), 1):
        number = v2_types.number(value)
        if not number.value:
            continue
        if number.authority.oid in systems.INS_ALL and number.type != "NH":
            national += _ins(number, is_validated, accepted, notes=notes, at=pid.at(3, repetition=turn))
        elif number.type in ("INS", "INS-NIR", "INS-NIA"):
            notes.append(note("ins-malformed", pid.at(3, repetition=turn)))  # the OID decides, and it is not one
        elif found := _local(number, "PI"):
            local.append(found)
    # NIA and NIR together: the NIR is the one that stays (INS rules, attribution of a NIR).
    ins = min(national, key=lambda identifier: identifier.use == "temp", default=None)
    return (*((ins,) if ins else ()), *local), ins


def _numbers(pid: er7.Segment) -> tuple[tuple[str, str], ...]:
    """Without the billing number: it shares the OID of the INS and may be a parent's."""
    numbers = [v2_types.number(value) for value in pid.repetitions(3)]
    return tuple((one.authority.oid, one.value) for one in numbers if one.authority.oid and one.type != "NH")


def _ins(
    number: v2_types.Number, is_validated: bool, accepted: frozenset[str], *, notes: list[Tolerance], at: str
) -> list[Identifier]:
    if number.has_dates:
        # Every official sample fills CX-8 of the INS although PAM France wants CX-7 and CX-8 empty.
        notes.append(note("ins-with-dates", at))
    if not is_validated:
        notes.append(note("ins-not-validated", at))
        return []
    if number.authority.oid not in accepted:
        notes.append(note("ins-not-accepted", at))
        return []
    row = codes.find("identifier", number.authority.oid)
    if row is None or not _is_ins(number.value):
        notes.append(note("ins-malformed", at))
        return []
    return [Identifier(number.value, row.target_system, row.target_code, systems.FR_IDENTIFIER_TYPE, row.note)]


def _is_ins(value: str) -> bool:
    """15 digits, but for the departments of Corsica (2A, 2B) in sixth and seventh place."""
    digits = value[:5] + "20" + value[7:] if value[5:7] in ("2A", "2B") else value
    return len(value) == 15 and digits.isascii() and digits.isdigit()


def _local(number: v2_types.Number, kind: str) -> Identifier | None:
    if not number.value:
        return None
    code = number.type or kind
    row = codes.find("identifier", number.authority.oid) if number.authority.oid else None
    if row and code != "NH":
        return Identifier(number.value, row.target_system, row.target_code, systems.FR_IDENTIFIER_TYPE, row.note)
    use = "usual" if code in ("PI", "AN", "VN") else "official" if code == "NH" else "secondary"
    system = number.authority.system(code)
    return Identifier(number.value, system, code, systems.V2_IDENTIFIER_TYPE, use, number.authority.name)


def _names(pid: er7.Segment) -> tuple[Name, ...]:
    names = []
    for value in pid.repetitions(5):
        name = v2_types.person_name(value)
        if not name.family and not name.given:
            continue
        row = codes.find("name_use", name.type)
        # A lone name without a type is what the person is called; only L is the birth name.
        use = row.target_code if row else "usual"
        birth_given = name.all_given if use == "official" else ""
        names.append(Name(use, name.family, name.given or name.all_given.split(" ")[0], birth_given, name.prefix))
    return tuple(names)


def _birth_date(pid: er7.Segment, notes: list[Tolerance]) -> str:
    date = times.date(pid.text(7))
    if pid.text(7) and not date:
        notes.append(note("birth-date-unreadable", pid.at(7)))
    return date


def _gender(pid: er7.Segment, notes: list[Tolerance]) -> str:
    code = pid.text(8)
    row = codes.find("gender", code) if code else None
    if code and row is None:
        notes.append(note("gender-unmapped", pid.at(8)))
    return row.target_code if row else ""


def _birth_place(address: v2_types.Address) -> BirthPlace:
    return BirthPlace(address.insee, address.city, address.country)


def _is_qualified(identity: PatientIdentity) -> bool:
    official = [name for name in identity.names if name.use == "official"]
    return bool(
        identity.ins
        and identity.gender
        and len(identity.birth_date) == 10
        and identity.birth_place
        and identity.birth_place.insee
        and len(official) == 1
        and official[0].family
        and official[0].birth_given
    )


def _reliability_extension(identity: PatientIdentity) -> list[dict[str, Any]]:
    """The v2 code VALI means qualified in FR Core: without an INS the identity is written as provisional."""
    found = []
    for code in identity.reliability:
        if codes.find("reliability", code) is None:
            continue
        status = "PROV" if code == "VALI" and identity.ins is None else code
        coding = {"system": systems.FR_RELIABILITY, "code": status}
        found.append(
            {
                "url": systems.FR_IDENTITY_RELIABILITY,
                "extension": [{"url": "identityStatus", "valueCoding": coding}],
            }
        )
    return found


def _birth_place_extension(identity: PatientIdentity) -> list[dict[str, Any]]:
    place = identity.birth_place
    if place is None or not (place.insee or place.city or place.country):
        return []
    address: dict[str, Any] = {}
    if place.insee:
        coding = {"system": systems.MUNICIPALITY, "code": place.insee}
        address["extension"] = [{"url": systems.FR_INSEE_CODE, "valueCoding": coding}]
    if place.city:
        address["city"] = place.city
    if place.country:
        address["country"] = place.country
    return [{"url": systems.BIRTH_PLACE, "valueAddress": address}]


def _name_to_fhir(name: Name) -> dict[str, Any]:
    found: dict[str, Any] = {"use": name.use}
    if name.birth_given:
        found["extension"] = [{"url": systems.FR_BIRTH_LIST_GIVEN, "valueString": name.birth_given}]
    if name.family:
        found["family"] = name.family
    if name.given:
        found["given"] = [name.given]
    if name.prefix:
        found["prefix"] = [name.prefix]
    return found


def _address_to_fhir(address: v2_types.Address) -> dict[str, Any]:
    row = codes.find("address_use", address.type)
    found: dict[str, Any] = {"use": row.target_code} if row else {}
    if address.insee:
        coding = {"system": systems.MUNICIPALITY, "code": address.insee}
        found["extension"] = [{"url": systems.FR_INSEE_CODE, "valueCoding": coding}]
    parts: Iterable[tuple[str, Any]] = (
        ("line", list(address.lines)),
        ("city", address.city),
        ("postalCode", address.postal_code),
        ("country", address.country),
    )
    return found | {key: value for key, value in parts if value}


def _telecom_to_fhir(telecom: v2_types.Telecom) -> dict[str, str]:
    found = {"system": telecom.system, "value": telecom.value}
    return found | ({"use": telecom.use} if telecom.use else {})
