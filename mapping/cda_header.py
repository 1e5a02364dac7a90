"""Who wrote this CDA about whom, when, and what does it replace? The header as dataclasses.

HL7 CDA R2 header, CI-SIS "Structuration minimale". `nullFlavor` is absence. Times are FHIR dateTimes, "" for unknown
or unreadable (one official sample writes the offset `+100`). Sample: fr-doc/v2.0_mdm_T02_init_expected_cda.xml.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from mapping import systems, times
from mapping.v2_types import Coded

NS = "{urn:hl7-org:v3}"
CONFIDENTIALITY = {"N": "Normal", "R": "Restreint", "V": "Très restreint"}  # what a header may say


@dataclass(frozen=True, slots=True)
class Id:
    """II: root OID and extension ("" when the root alone identifies). For a number that only its sender
    understands the root is a URI of ours (`document_ids`).
    """

    root: str
    extension: str = ""


@dataclass(frozen=True, slots=True)
class Organization:
    """A structure; `setting` is its practice setting (TRE_A01)."""

    id: Id | None
    name: str
    setting: Coded | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """An author or authenticator; `role` is profession and know-how in one code (`G15_10/SM26`)."""

    id: Id | None
    family: str
    given: str
    prefix: str
    suffix: str
    role: Coded | None
    device: str
    organization: Organization | None
    time: str
    function: str = ""  # the role in this document, as written ("Médecin référent")


@dataclass(frozen=True, slots=True)
class Patient:
    """recordTarget. `given` is the first birth given name, `birth_given` the list of the birth certificate.

    `birth_place` is a COG code; the names in use are "" when they are not said.
    """

    ids: tuple[Id, ...]
    family: str
    given: str
    birth_given: str
    birth_date: str
    gender: str  # F, M, UN
    used_family: str = ""
    used_given: str = ""
    birth_place: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """documentationOf/serviceEvent."""

    code: Coded | None
    start: str
    end: str
    setting: Coded | None


@dataclass(frozen=True, slots=True)
class Encounter:
    """componentOf/encompassingEncounter."""

    id: Id | None
    start: str
    end: str
    facility: Coded | None


@dataclass(frozen=True, slots=True)
class Parent:
    """relatedDocument: RPLC replaces, APND completes, XFRM transforms."""

    relation: str
    id: Id | None
    set_id: Id | None


@dataclass(frozen=True, slots=True)
class Header:
    """A CDA header; systems of codes are FHIR URLs."""

    id: Id | None
    set_id: Id | None
    version: str
    templates: tuple[str, ...]
    code: Coded | None
    title: str
    written: str
    confidentiality: str
    language: str
    patient: Patient
    authors: tuple[Person, ...]
    legal_authenticator: Person | None
    custodian: Organization | None
    events: tuple[Event, ...]
    encounter: Encounter | None
    parents: tuple[Parent, ...]


def read(root: etree._Element) -> Header:
    """The header of a ClinicalDocument element."""
    return Header(
        id=_id(root.find(f"{NS}id")),
        set_id=_id(root.find(f"{NS}setId")),
        version=_value(root, "versionNumber"),
        templates=tuple(root_ for found in root.findall(f"{NS}templateId") if (root_ := found.get("root", ""))),
        code=_coded(root.find(f"{NS}code")),
        title=_text(root.find(f"{NS}title")),
        written=times.date_time(_value(root, "effectiveTime")),
        confidentiality=_code(root.find(f"{NS}confidentialityCode")),
        language=_code(root.find(f"{NS}languageCode")),
        patient=_patient(root.find(f"{NS}recordTarget/{NS}patientRole")),
        authors=tuple(_person(found, "assignedAuthor") for found in root.findall(f"{NS}author")),
        legal_authenticator=_first_person(root.find(f"{NS}legalAuthenticator")),
        custodian=_organization(root.find(f"{NS}custodian/{NS}assignedCustodian/{NS}representedCustodianOrganization")),
        events=tuple(_event(found) for found in root.findall(f"{NS}documentationOf/{NS}serviceEvent")),
        encounter=_encounter(root.find(f"{NS}componentOf/{NS}encompassingEncounter")),
        parents=tuple(_parent(found) for found in root.findall(f"{NS}relatedDocument")),
    )


def _patient(role: etree._Element | None) -> Patient:
    if role is None:
        return Patient((), "", "", "", "", "")
    ids = tuple(found for element in role.findall(f"{NS}id") if (found := _id(element)))
    name = role.find(f"{NS}patient/{NS}name")
    families = _parts(name, "family")
    givens = _parts(name, "given")
    return Patient(
        ids=ids,
        family=families.get("BR") or next(iter(families.values()), ""),
        given=givens.get("BR") or next(iter(givens.values()), ""),
        birth_given=givens.get("", ""),
        birth_date=times.date(_value(role.find(f"{NS}patient"), "birthTime")),
        gender=_code(role.find(f"{NS}patient/{NS}administrativeGenderCode")),
        used_family=families.get("CL", ""),
        used_given=givens.get("CL", ""),
        birth_place=_text(role.find(f"{NS}patient/{NS}birthplace/{NS}place/{NS}addr/{NS}county")),
    )


def _person(participation: etree._Element, entity: str) -> Person:
    assigned, function = participation.find(f"{NS}{entity}"), participation.find(f"{NS}functionCode")
    name = None if assigned is None else assigned.find(f"{NS}assignedPerson/{NS}name")
    device = None if assigned is None else assigned.find(f"{NS}assignedAuthoringDevice")
    names = (device.find(f"{NS}softwareName"), device.find(f"{NS}manufacturerModelName")) if device is not None else ()
    return Person(
        id=None if assigned is None else _id(assigned.find(f"{NS}id")),
        family=next(iter(_parts(name, "family").values()), ""),
        given=next(iter(_parts(name, "given").values()), ""),
        prefix=next(iter(_parts(name, "prefix").values()), ""),
        suffix=next(iter(_parts(name, "suffix").values()), ""),
        role=None if assigned is None else _coded(assigned.find(f"{NS}code")),
        device=next((text for found in names if (text := _text(found))), ""),
        organization=None if assigned is None else _organization(assigned.find(f"{NS}representedOrganization")),
        time=times.date_time(_value(participation, "time")),
        function="" if function is None else function.get("displayName", "").strip(),
    )


def _first_person(participation: etree._Element | None) -> Person | None:
    return None if participation is None else _person(participation, "assignedEntity")


def _organization(element: etree._Element | None) -> Organization | None:
    if element is None:
        return None
    setting = _coded(element.find(f"{NS}standardIndustryClassCode"))
    return Organization(_id(element.find(f"{NS}id")), _text(element.find(f"{NS}name")), setting)


def _event(element: etree._Element) -> Event:
    period = element.find(f"{NS}effectiveTime")
    performer = element.find(f"{NS}performer/{NS}assignedEntity/{NS}representedOrganization")
    place = _organization(performer)
    return Event(_coded(element.find(f"{NS}code")), *_period(period), place.setting if place else None)


def _encounter(element: etree._Element | None) -> Encounter | None:
    if element is None:
        return None
    facility = _coded(element.find(f"{NS}location/{NS}healthCareFacility/{NS}code"))
    return Encounter(_id(element.find(f"{NS}id")), *_period(element.find(f"{NS}effectiveTime")), facility)


def _parent(element: etree._Element) -> Parent:
    document = element.find(f"{NS}parentDocument")
    if document is None:
        return Parent(element.get("typeCode", ""), None, None)
    return Parent(element.get("typeCode", ""), _id(document.find(f"{NS}id")), _id(document.find(f"{NS}setId")))


def _period(element: etree._Element | None) -> tuple[str, str]:
    if element is None:
        return "", ""
    start = _value(element, "low") or element.get("value", "")
    return times.date_time(start), times.date_time(_value(element, "high"))


def _id(element: etree._Element | None) -> Id | None:
    root = "" if element is None or element.get("nullFlavor") else element.get("root", "").strip()
    return Id(root, element.get("extension", "").strip()) if element is not None and root else None


def _coded(element: etree._Element | None) -> Coded | None:
    code = _code(element)
    if element is None or not code:
        return None
    return Coded(code, systems.of_code(element.get("codeSystem", "").strip()), element.get("displayName", "").strip())


def _code(element: etree._Element | None) -> str:
    return "" if element is None or element.get("nullFlavor") else element.get("code", "").strip()


def _value(element: etree._Element | None, name: str) -> str:
    found = None if element is None else element.find(f"{NS}{name}")
    return "" if found is None else found.get("value", "").strip()


def _text(element: etree._Element | None) -> str:
    return "" if element is None else " ".join("".join(map(str, element.itertext())).split())


def _parts(name: etree._Element | None, part: str) -> dict[str, str]:
    """The parts of a name by qualifier, the first of each; an unqualified given name is the birth list."""
    found: dict[str, str] = {}
    for element in () if name is None else name.findall(f"{NS}{part}"):
        if text := _text(element):
            found.setdefault(element.get("qualifier", ""), text)
    return found
