"""What does a METADATA.XML say of its documents? SubmissionSet and DocumentEntry, read and derived.

IHE XDS in ebRIM 3.0 as the MSSanté package and the DMP carry it (ITI TF-3 4.2; the national model of the archive).
`read` binds by containment and by the fixed UUIDs alone: official samples point `classifiedObject` and
`registryObject` at other objects. `of_cda` derives the same entry from the document itself, which is the only rule
for what we write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lxml import etree

from common import errors
from mapping import cda, cda_header, codes, systems
from mapping.v2_types import Coded

RIM = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"
ACTION = "urn:action:extraMetadataSlot"  # C replaces an earlier document, D deletes this one
MIME_TYPE = "text/xml"


@dataclass(frozen=True, slots=True)
class Scheme:
    """The fixed UUIDs of one kind of object: attribute -> classification or identification scheme."""

    author: str
    patient_id: str
    unique_id: str
    codes: dict[str, str] = field(default_factory=dict)


ENTRY = Scheme(
    author="urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d",
    patient_id="urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427",
    unique_id="urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab",
    codes={
        "class_code": "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a",
        "confidentiality": "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f",
        "events": "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4",
        "format_code": "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d",
        "facility": "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1",
        "practice": "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead",
        "type_code": "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983",
    },
)
SET = Scheme(
    author="urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d",
    patient_id="urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446",
    unique_id="urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8",
    codes={"content_type": "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500"},
)
SOURCE_ID = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"


@dataclass(frozen=True, slots=True)
class Code:
    """A code with the OID of its system."""

    code: str
    scheme: str
    display: str = ""


@dataclass(frozen=True, slots=True)
class Author:
    """One author: person (XCN), institutions (XON), roles, specialties (`code^label^OID`)."""

    person: str
    institution: str = ""
    role: str = ""
    specialty: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEntry:
    """A fiche. Times are HL7 `YYYYMMDDHHMMSS` in UTC, `hash` SHA-1 in upper case hexadecimal, `size` in bytes.

    `action`: "" first sending, C, D. A code that the source lacks is None.
    """

    entry_uuid: str
    unique_id: str
    uri: str
    mime_type: str
    hash: str
    size: int
    title: str
    language: str
    creation: str
    service_start: str
    service_stop: str
    patient_id: str
    source_patient_id: str
    source_patient_info: tuple[str, ...]
    legal_authenticator: str
    authors: tuple[Author, ...]
    type_code: Code | None
    class_code: Code | None
    format_code: Code | None
    facility: Code | None
    practice: Code | None
    confidentiality: tuple[Code, ...]
    events: tuple[Code, ...] = ()
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionSet:
    """A lot de soumission."""

    entry_uuid: str
    unique_id: str
    source_id: str
    patient_id: str
    submission_time: str
    title: str
    content_type: Code | None
    authors: tuple[Author, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """A METADATA.XML: one set, its entries in order."""

    set: SubmissionSet
    entries: tuple[DocumentEntry, ...]


def read(raw: bytes, *, max_bytes: int = 5 * 2**20) -> Submission:
    """Raises errors.Invalid (or TooLarge) at METADATA.XML when it is no submission of at least one document."""
    root = cda.parse(raw, max_bytes=max_bytes, at="METADATA.XML")
    packages = list(root.iter(f"{RIM}RegistryPackage"))
    entries = tuple(_entry(one) for one in root.iter(f"{RIM}ExtrinsicObject"))
    if not packages or not entries:
        raise errors.Invalid("METADATA.XML ne décrit pas un lot et ses documents", at="METADATA.XML")
    return Submission(_set(packages[0]), entries)


def of_cda(
    raw: bytes, document: cda.Cda, *, uri: str, entry_uuid: str, action: str = "", masks: tuple[Code, ...] = ()
) -> DocumentEntry:
    """The entry that this CDA calls for, attribute by attribute from its header.

    `masks` (TRE_A07) are not in a CDA: further occurrences of confidentialityCode.
    """
    header = document.header
    event = header.events[0] if header.events else None
    settings = [one.setting for one in header.events if one.setting]
    ids = patient_ids(header.patient)
    return DocumentEntry(
        entry_uuid=entry_uuid,
        unique_id=unique_id(header.id),
        uri=uri,
        mime_type=MIME_TYPE,
        hash=digest(raw),
        size=len(raw),
        title=header.title,
        language=header.language,
        creation=utc(header.written),
        service_start=utc(event.start) if event else "",
        service_stop=utc(event.end) if event else "",
        patient_id=ids[0],
        source_patient_id=ids[1],
        source_patient_info=tuple(_patient_info(header.patient)),
        legal_authenticator=_xcn(header.legal_authenticator) if header.legal_authenticator else "",
        authors=tuple(author(one) for one in header.authors),
        type_code=_code(header.code),
        class_code=_class(header.code),
        format_code=_format(document),
        facility=_code(header.encounter.facility) if header.encounter else None,
        practice=_code(settings[0]) if settings else None,
        confidentiality=(_confidentiality(header.confidentiality), *masks),
        events=tuple(found for one in header.events if (found := _code(one.code))),
        action=action,
    )


def digest(raw: bytes) -> str:
    """The hash of a document's bytes as XDS writes it."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest().upper()


def utc(date_time: str) -> str:
    """A FHIR dateTime as XDS writes it: a time in UTC to the second, a date as it is; "" from ""."""
    if "T" not in date_time:
        return date_time.replace("-", "")
    return datetime.fromisoformat(date_time).astimezone(UTC).strftime("%Y%m%d%H%M%S")


def patient_ids(patient: cda_header.Patient) -> tuple[str, str]:
    """patientId and sourcePatientId (CX): the INS where there is one, and the local number where there is one."""
    ins = next((one for one in patient.ids if one.root in systems.INS_ALL), None)
    own = next((one for one in patient.ids if not one.root.startswith("1.2.250.1.213.1.4.")), None)
    first = ins or own
    if first is None:
        return "", ""
    second = own or first
    return _cx(first, "NH" if first is ins else "PI"), _cx(second, "NH" if second is ins else "PI")


def unique_id(id: cda_header.Id | None) -> str:
    """A document's id as XDS writes it: the root, and `^extension` where there is one."""
    return "" if id is None else "^".join(filter(None, (id.root, id.extension)))


def author(person: cda_header.Person) -> Author:
    """An author of a document, or the sender of the set."""
    place, role = person.organization, person.role
    return Author(
        person=_xcn(person),
        institution=_xon(place) if place else "",
        role=person.function,
        specialty="^".join((role.code, role.display, systems.oid_of(role.system))) if role else "",
    )


def _cx(id: cda_header.Id, kind: str) -> str:
    return f"{id.extension}^^^&{id.root}&ISO^{kind}"


def _xcn(person: cda_header.Person) -> str:
    """A professional by national number, a device by its own."""
    id = person.id or cda_header.Id("")
    if person.device:
        return f"{id.extension or id.root}^{person.device}^^^^^^^&{id.root}&ISO^U^^^RI"
    national = id.root == systems.PROFESSIONALS
    return f"{id.extension}^{person.family}^{person.given}^^^^^^&{id.root}&ISO^D^^^{'IDNPS' if national else 'RI'}"


def _xon(place: cda_header.Organization) -> str:
    id = place.id or cda_header.Id("")
    return f"{place.name}^^^^^&{id.root}&ISO^IDNST^^^{id.extension}"


def _patient_info(patient: cda_header.Patient) -> Iterator[str]:
    yield f"PID-5|{patient.family}^{patient.given}^{patient.birth_given}^^^^L"
    if patient.used_family or patient.used_given:
        yield f"PID-5|{patient.used_family}^{patient.used_given}^^^^^D"
    if patient.birth_date:
        yield f"PID-7|{patient.birth_date.replace('-', '')}"
    if patient.gender:
        yield f"PID-8|{patient.gender}"
    if patient.birth_place:
        yield f"PID-11|^^^^^^BDL^^{patient.birth_place}"


def _code(coded: Coded | None) -> Code | None:
    return None if coded is None else Code(coded.code, systems.oid_of(coded.system), coded.display or coded.code)


def _confidentiality(code: str) -> Code:
    """Normal unless the document says otherwise (CI-SIS)."""
    code = code if code in cda_header.CONFIDENTIALITY else "N"
    return Code(code, systems.oid_of(systems.CONFIDENTIALITY), cda_header.CONFIDENTIALITY[code])


def _class(type: Coded | None) -> Code | None:
    """ASS_X04; a type without a line is filed as a report."""
    row = codes.find("document_class", type.code, type.system) if type else None
    system = systems.oid_of("https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument")
    return Code(row.target_code, system, row.note) if row else Code("10", system, "Compte rendu")


def _format(document: cda.Cda) -> Code | None:
    """ASS_A11 by template, ASS_A12 by the media type of a level 1."""
    rows = [codes.find("document_format", template) for template in reversed(document.header.templates)]
    if document.level == 1 and document.body:
        rows = [codes.find("unstructured_format", document.body.media_type)]
    row = next((one for one in rows if one), None)
    return Code(row.target_code, systems.oid_of(row.target_system), row.target_code) if row else None


def _entry(found: etree._Element) -> DocumentEntry:
    slots, coded = _slots(found), _codes(found)
    first = {name: next(iter(coded.get(uuid, ())), None) for name, uuid in ENTRY.codes.items()}
    size = _one(slots, "size")
    return DocumentEntry(
        entry_uuid=found.get("id", ""),
        unique_id=_external(found, ENTRY.unique_id),
        uri=_one(slots, "URI"),
        mime_type=found.get("mimeType", ""),
        hash=_one(slots, "hash").upper(),
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 12 else -1,
        title=_name(found),
        language=_one(slots, "languageCode"),
        creation=_one(slots, "creationTime"),
        service_start=_one(slots, "serviceStartTime"),
        service_stop=_one(slots, "serviceStopTime"),
        patient_id=_external(found, ENTRY.patient_id),
        source_patient_id=_one(slots, "sourcePatientId"),
        source_patient_info=slots.get("sourcePatientInfo", ()),
        legal_authenticator=_one(slots, "legalAuthenticator"),
        authors=_authors(found, ENTRY),
        type_code=first["type_code"],
        class_code=first["class_code"],
        format_code=first["format_code"],
        facility=first["facility"],
        practice=first["practice"],
        confidentiality=coded.get(ENTRY.codes["confidentiality"], ()),
        events=coded.get(ENTRY.codes["events"], ()),
        action=_one(slots, ACTION).upper(),
    )


def _set(found: etree._Element) -> SubmissionSet:
    slots, coded = _slots(found), _codes(found)
    return SubmissionSet(
        entry_uuid=found.get("id", ""),
        unique_id=_external(found, SET.unique_id),
        source_id=_external(found, SOURCE_ID),
        patient_id=_external(found, SET.patient_id),
        submission_time=_one(slots, "submissionTime"),
        title=_name(found),
        content_type=next(iter(coded.get(SET.codes["content_type"], ())), None),
        authors=_authors(found, SET),
    )


def _slots(found: etree._Element) -> dict[str, tuple[str, ...]]:
    return {
        slot.get("name", ""): tuple(
            text for value in slot.findall(f"{RIM}ValueList/{RIM}Value") if (text := (value.text or "").strip())
        )
        for slot in found.findall(f"{RIM}Slot")
    }


def _one(slots: dict[str, tuple[str, ...]], name: str) -> str:
    return next(iter(slots.get(name, ())), "")


def _codes(found: etree._Element) -> dict[str, tuple[Code, ...]]:
    result: dict[str, tuple[Code, ...]] = {}
    for one in found.findall(f"{RIM}Classification"):
        code = Code(one.get("nodeRepresentation", ""), _one(_slots(one), "codingScheme"), _name(one))
        uuid = one.get("classificationScheme", "").lower()
        if code.code:
            result[uuid] = (*result.get(uuid, ()), code)
    return result


def _authors(found: etree._Element, scheme: Scheme) -> tuple[Author, ...]:
    return tuple(
        Author(*(_one(slots, f"author{part}") for part in ("Person", "Institution", "Role", "Specialty")))
        for one in found.findall(f"{RIM}Classification")
        if one.get("classificationScheme", "").lower() == scheme.author
        for slots in [_slots(one)]
    )


def _external(found: etree._Element, scheme: str) -> str:
    for one in found.findall(f"{RIM}ExternalIdentifier"):
        if one.get("identificationScheme", "").lower() == scheme:
            return one.get("value", "").strip()
    return ""


def _name(found: etree._Element) -> str:
    text = found.find(f"{RIM}Name/{RIM}LocalizedString")
    return "" if text is None else " ".join(text.get("value", "").split())
