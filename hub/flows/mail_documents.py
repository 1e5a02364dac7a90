"""Which documents of a message travel as a health package, and what is in it?

MSS-07: a document about the patient that has a CDA, or of which one can be made (a typed file whose author has national
numbers), goes into IHE_XDM.zip beside the copy that people read. The INS is in it only when it is qualified (INS-03).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID, uuid5

from common import errors
from hub import people
from hub.room import Resource, Room
from mapping import cda, cda_header, cda_write, codes, document_to_fhir, systems, times, xds
from mapping.v2_types import Coded
from mss import attachments, compose, xdm

ROLES = "urn:oid:1.2.250.1.213.1.1.4.5"  # TRE_A02, profession and know-how in one code
FACILITIES, PRACTICES = "1.2.250.1.71.4.2.4", "1.2.250.1.213.1.1.4.9"  # TRE_R02, TRE_A01
_NAMES = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122 appendix C: names that are OIDs
VERSION = "0.1"  # of the package maker, as README.TXT says it
_TITLES = frozenset({"DR", "PR"})
_MOST_VERSIONS = 50


@dataclass(frozen=True, slots=True)
class Packaged:
    """The file IHE_XDM.zip, and what the mail says of it."""

    file: attachments.Attachment
    says: compose.Package


@dataclass(frozen=True, slots=True)
class _Made:
    """A document ready to be packed: its CDA, whether it replaces another, its masks."""

    raw: bytes
    content: cda.Cda
    action: str
    masks: tuple[xds.Code, ...]


async def package(delivery: Resource, message: Resource, documents: Iterable[str], room: Room) -> Packaged | None:
    """None when no document of the message can travel so. The same for the same delivery at every try."""
    patient_ref = str(message.get("subject", {}).get("reference", ""))
    if not room.settings.mail_packages or not patient_ref.startswith("Patient/"):
        return None
    patient = await room.read(patient_ref)
    made: list[_Made] = []
    for ref in documents:
        document = await room.read(ref)
        if document.get("subject", {}).get("reference") != patient_ref or document["status"] != "current":
            continue
        if found := await _cda(document, patient, room):
            replaces = any(one["code"] == "replaces" for one in document.get("relatesTo", ()))
            made.append(_Made(*found, "C" if replaces else "", _masks(document)))
    return _packed(delivery, message, made) if made else None


def _packed(delivery: Resource, message: Resource, made: list[_Made]) -> Packaged | None:
    entries = tuple(
        xds.of_cda(
            one.raw,
            one.content,
            uri=f"DOC{place:04}.XML",
            entry_uuid=_uuid(delivery["id"], f"entry/{place}"),
            action=one.action,
            masks=one.masks,
        )
        for place, one in enumerate(made, 1)
    )
    if len({one.patient_id for one in entries}) > 1:
        return None  # one patient in one package; a hospital's document may know them by its own number alone
    first = made[0].content.header
    place = next((one.organization for one in first.authors if one.organization), first.custodian)
    sent = datetime.fromisoformat(message["sent"])
    number = place.id.extension if place and place.id else ""
    lot = xds.SubmissionSet(
        entry_uuid=_uuid(delivery["id"], "set"),
        unique_id=_oid(delivery["id"]),
        source_id=f"{systems.STRUCTURES}.{number}" if number.isdigit() else _oid(systems.HUB),
        patient_id=entries[0].patient_id,
        submission_time=xds.utc(sent.isoformat()),
        title=entries[0].title,
        content_type=entries[0].facility,
        authors=entries[0].authors,
    )
    author = first.authors[0] if first.authors else None
    name = " ".join(filter(None, (author.suffix, author.family, author.given))) if author else ""
    sender = xdm.Sender(name, place.name if place else "", "Spico Hub", VERSION, "Spico Hub")
    data = xdm.pack(xds.Submission(lot, entries), [one.raw for one in made], sender, moment=sent)
    return Packaged(compose.file(xdm.FILENAME, "application/zip", data), _says([one.content.header for one in made]))


def _says(headers: list[cda_header.Header]) -> compose.Package:
    patient = headers[0].patient
    born = date.fromisoformat(patient.birth_date) if len(patient.birth_date) == 10 else None
    traits = (patient.family, patient.given, born, patient.gender in ("F", "M"))
    return compose.Package(
        labels=tuple(one.code.display or one.title if one.code else one.title for one in headers),
        codes=tuple(one.code.code for one in headers if one.code),
        birth_name=patient.family,
        given=patient.given,
        born=born,
        qualified=all(traits) and any(one.root in systems.INS_ALL for one in patient.ids),
    )


async def _cda(document: Resource, patient: Resource, room: Room) -> tuple[bytes, cda.Cda] | None:
    """The CDA that the document has, or one made around its file."""
    held = {one["attachment"]["contentType"]: one["attachment"]["url"] for one in document["content"]}
    if document_to_fhir.CDA in held:
        raw = await _bytes(held[document_to_fhir.CDA], room)
        try:
            content = cda.read(raw, max_bytes=xdm.MAX_UNPACKED)
        except errors.HubError:
            return None  # some other XML: it travels as the file that it is
        return (raw, content) if content.header.id and content.header.code else None
    media_type = document["content"][0]["attachment"]["contentType"]
    header = await _header(document, patient, room)
    if header is None or media_type not in cda_write.MEDIA_TYPES:
        return None
    data = await _bytes(document["content"][0]["attachment"]["url"], room)
    body = cda.Body(media_type, data)
    return cda_write.write(header, body), cda.Cda(header, body, 1)


def _labels(document: Resource, system: str) -> list[str]:
    codings = [one for label in document.get("securityLabel", ()) for one in label.get("coding", ())]
    return [one["code"] for one in codings if one.get("system") == system]


def _confidentiality(document: Resource) -> str:
    found = _labels(document, systems.CONFIDENTIALITY)
    return next((one for one in found if one in cda_header.CONFIDENTIALITY), "N")


def _masks(document: Resource) -> tuple[xds.Code, ...]:
    """From whom the document is hidden (TRE_A07): a receiver must know it too."""
    rows = codes.rows("visibility")
    found = {code for row in rows for code in _labels(document, row.target_system)}
    return tuple(
        xds.Code(one.target_code, systems.oid_of(one.target_system), one.note)
        for one in rows
        if one.target_code in found
    )


async def _bytes(url: str, room: Room) -> bytes:
    return b64decode((await room.read(url))["data"])


async def _header(document: Resource, patient: Resource, room: Room) -> cda_header.Header | None:
    """None when the document has no type, or its author no national number: no CDA can be without them."""
    type = _coded(document.get("type"))
    author = await _author(document, room)
    if type is None or author is None:
        return None
    written, context = author.time, document.get("context", {})
    setting = _coded(context.get("practiceSetting")) or Coded(
        room.settings.mail_practice, systems.of_code(PRACTICES), ""
    )
    facility = _coded(context.get("facilityType")) or Coded(
        room.settings.mail_facility, systems.of_code(FACILITIES), ""
    )
    earlier = await _earlier(document, room)
    return cda_header.Header(
        id=_unique(document),
        set_id=_unique(earlier[-1] if earlier else document),
        version=str(len(earlier) + 1),
        templates=cda_write.TEMPLATES,
        code=type,
        title=str(document.get("description") or type.display or "Document"),
        written=written,
        confidentiality=_confidentiality(document),
        language="fr-FR",
        patient=_patient(patient),
        authors=(author,),
        legal_authenticator=author,
        custodian=author.organization,
        events=(cda_header.Event(None, written, "", setting),),
        encounter=cda_header.Encounter(None, written, "", facility),
        parents=(cda_header.Parent("RPLC", _unique(earlier[0]), None),) if earlier else (),
    )


async def _earlier(document: Resource, room: Room) -> list[Resource]:
    """The versions that this one replaces, the latest first."""
    found: list[Resource] = []
    while len(found) < _MOST_VERSIONS:
        targets = [one["target"] for one in document.get("relatesTo", ()) if one["code"] == "replaces"]
        if not targets or "reference" not in targets[0]:
            break
        document = await room.read(targets[0]["reference"])
        found.append(document)
    return found


def _unique(document: Resource) -> cda_header.Id:
    """The document's own OID, else one made of its id (ITU X.667: an OID under 2.25 for each UUID)."""
    value = str(document.get("masterIdentifier", {}).get("value", ""))
    own = value.removeprefix("urn:oid:")
    return cda_header.Id(own if value != own and systems.is_oid(own) else _oid(f"DocumentReference/{document['id']}"))


async def _author(document: Resource, room: Room) -> cda_header.Person | None:
    refs = [str(one.get("reference", "")) for one in document.get("author", ())]
    ref = next((one for one in refs if one.startswith("PractitionerRole/")), "")
    if not ref:
        return None
    role = await room.read(ref)
    person = await room.read(role["practitioner"]["reference"]) if "practitioner" in role else {}
    place = await _organization(role, room)
    numbers = (systems.RPPS, f"urn:oid:{systems.PROFESSIONALS}")
    number = next((one["value"] for one in person.get("identifier", ()) if one.get("system") in numbers), "")
    if not number or place is None:
        return None
    name = person["name"][0]
    titles = [str(one).upper() for one in (*name.get("prefix", ()), *name.get("suffix", ()))]
    return cda_header.Person(
        # RPPS has eleven digits; with its leading 8 it is the number of the national register (PS_IdNat).
        id=cda_header.Id(systems.PROFESSIONALS, f"8{number}" if len(number) == 11 else number),
        family=str(name.get("family", "")).upper(),
        given=next(iter(name.get("given", ())), ""),
        prefix=next((one for one in titles if one not in _TITLES), ""),
        suffix=next((one for one in titles if one in _TITLES), ""),
        role=_role(role),
        device="",
        organization=place,
        time=times.instant(str(document["date"])) if document.get("date") else document["meta"]["lastUpdated"],
    )


async def _organization(role: Resource, room: Room) -> cda_header.Organization | None:
    if "organization" not in role:
        return None
    place = await room.read(role["organization"]["reference"])
    number = next((one["value"] for one in place.get("identifier", ()) if one.get("system") == systems.FINESS), "")
    # Struct_IdNat: 1 before a FINESS number.
    return cda_header.Organization(cda_header.Id(systems.STRUCTURES, f"1{number}"), place["name"]) if number else None


def _role(role: Resource) -> Coded | None:
    codings = [one for concept in role.get("code", ()) for one in concept.get("coding", ())]
    profession = next((one for one in codings if one.get("system") == systems.PROFESSION), None)
    if profession is None:
        return None
    know_how = next((one for one in codings if one.get("system") == systems.KNOW_HOW), None)
    code = f"G15_{profession['code']}" + (f"/{know_how['code']}" if know_how else "")
    shown = " - ".join(str(one["display"]) for one in (profession, know_how) if one and one.get("display"))
    return Coded(code, ROLES, shown)


def _patient(patient: Resource) -> cda_header.Patient:
    official, usual = _name(patient, "official") or next(iter(patient.get("name", ())), {}), _name(patient, "usual")
    ins = people.qualified_ins(patient)
    # The INS first, then our own number (CI-SIS 1.16, patientRole/id).
    ids = [cda_header.Id(ins["system"].removeprefix("urn:oid:"), ins["value"])] if ins else []
    given = next(iter(official.get("given", ())), "")
    listed = _extension(official, systems.FR_BIRTH_LIST_GIVEN).get("valueString", "")
    birth_place = _extension(patient, systems.BIRTH_PLACE).get("valueAddress", {})
    return cda_header.Patient(
        ids=(*ids, cda_header.Id(_oid(systems.HUB), patient["id"])),
        family=str(official.get("family", "")).upper(),
        given=given.upper(),
        birth_given=(listed or " ".join(official.get("given", ()))).upper(),
        birth_date=str(patient.get("birthDate", "")),
        gender={"female": "F", "male": "M"}.get(str(patient.get("gender", "")), "UN"),
        used_family=str(usual.get("family", "")).upper(),
        used_given=next(iter(usual.get("given", ())), "").upper(),
        birth_place=str(_extension(birth_place, systems.FR_INSEE_CODE).get("valueCoding", {}).get("code", "")),
    )


def _name(patient: Resource, use: str) -> Resource:
    found: Resource = next((one for one in patient.get("name", ()) if one.get("use") == use), {})
    return found


def _extension(element: Resource, url: str) -> Resource:
    found: Resource = next((one for one in element.get("extension", ()) if one["url"] == url), {})
    return found


def _coded(concept: Resource | None) -> Coded | None:
    for one in (concept or {}).get("coding", ()):
        if one.get("code") and systems.oid_of(str(one.get("system", ""))):
            return Coded(one["code"], one["system"], str(one.get("display") or (concept or {}).get("text") or ""))
    return None


def _uuid(*names: str) -> str:
    return f"urn:uuid:{uuid5(_NAMES, '/'.join(names))}"


def _oid(name: str) -> str:
    return f"2.25.{uuid5(_NAMES, name).int}"
