"""How is a file put into a CDA of level 1? The counterpart of `cda.read`.

HL7 CDA R2 as constrained by CI-SIS "Structuration minimale de documents de santé" 1.16, body IHE XDS-SD. Elements in
schema order; what is not known is a nullFlavor where the header allows one.
"""

from __future__ import annotations

import base64
from datetime import datetime

from lxml import etree

from mapping import cda, cda_header, systems
from mapping.v2_types import Coded

TEMPLATES = ("2.16.840.1.113883.2.8.2.1", "1.2.250.1.213.1.1.1.1", "1.3.6.1.4.1.19376.1.2.20")
MEDIA_TYPES = frozenset({"application/pdf", "text/plain", "text/rtf", "image/jpeg", "image/tiff"})
_NS = "urn:hl7-org:v3"
_GENDERS = {"F": "Féminin", "M": "Masculin"}
_GENDER = "2.16.840.1.113883.5.1"
_TITLE_LIMIT = 128


def write(header: cda_header.Header, body: cda.Body) -> bytes:
    """The bytes of the document. `header` has an id, a code, an author, a custodian and a legal authenticator."""
    root = etree.Element(f"{{{_NS}}}ClinicalDocument", nsmap={None: _NS})  # type: ignore[dict-item]  # lxml: the default namespace
    _add(root, "realmCode", code="FR")
    _add(root, "typeId", root="2.16.840.1.113883.1.3", extension="POCD_HD000040")
    for template in TEMPLATES:
        _add(root, "templateId", root=template)
    _id(root, header.id)
    _code(root, "code", header.code)
    _add(root, "title").text = header.title[:_TITLE_LIMIT]
    _add(root, "effectiveTime", value=time(header.written))
    _add(
        root,
        "confidentialityCode",
        code=header.confidentiality,
        displayName=cda_header.CONFIDENTIALITY[header.confidentiality],
        codeSystem=systems.oid_of(systems.CONFIDENTIALITY),
    )
    _add(root, "languageCode", code=header.language)
    _id(root, header.set_id, "setId")
    _add(root, "versionNumber", value=header.version)
    _patient(_add(root, "recordTarget"), header.patient)
    for author in header.authors:
        _author(root, author)
    _custodian(root, header.custodian)
    _authenticator(root, header.legal_authenticator)
    for event in header.events:
        _event(root, event, header.authors[0])
    for parent in header.parents:
        _id(_add(_add(root, "relatedDocument", typeCode=parent.relation), "parentDocument"), parent.id)
    _encounter(root, header.encounter)
    text = _add(_add(_add(root, "component"), "nonXMLBody"), "text", mediaType=body.media_type, representation="B64")
    text.text = base64.b64encode(body.data).decode("ascii")
    written: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return written


def time(date_time: str) -> str:
    """A FHIR dateTime as CDA writes it: to the second with its offset, or the date alone."""
    if "T" not in date_time:
        return date_time.replace("-", "")
    return datetime.fromisoformat(date_time).strftime("%Y%m%d%H%M%S%z")


def _patient(target: etree._Element, given: cda_header.Patient) -> None:
    role = _add(target, "patientRole", classCode="PAT")
    for id in given.ids:
        _id(role, id)
    _add(role, "addr", nullFlavor="NAV")
    _add(role, "telecom", nullFlavor="NAV")
    person = _add(role, "patient", classCode="PSN")
    name = _add(person, "name")
    for tag, qualifier, text in [
        ("family", "BR", given.family),
        ("family", "CL", given.used_family),
        ("given", "", given.birth_given),
        ("given", "BR", given.given),
        ("given", "CL", given.used_given),
    ]:
        if text:
            _add(name, tag, **({"qualifier": qualifier} if qualifier else {})).text = text
    shown = _GENDERS.get(given.gender, "Inconnu")
    _add(person, "administrativeGenderCode", code=given.gender or "UN", codeSystem=_GENDER, displayName=shown)
    if given.birth_date:
        _add(person, "birthTime", value=given.birth_date.replace("-", ""))
    else:
        _add(person, "birthTime", nullFlavor="UNK")
    if given.birth_place:
        place = _add(_add(_add(person, "birthplace"), "place"), "addr")
        _add(place, "county").text = given.birth_place


def _author(root: etree._Element, given: cda_header.Person) -> None:
    author = _add(root, "author")
    _add(author, "time", value=time(given.time))
    _assigned(_add(author, "assignedAuthor", classCode="ASSIGNED"), given)


def _custodian(root: etree._Element, given: cda_header.Organization | None) -> None:
    place = _add(_add(_add(root, "custodian"), "assignedCustodian"), "representedCustodianOrganization")
    if given:
        _id(place, given.id)
        _add(place, "name").text = given.name
    _add(place, "telecom", nullFlavor="NAV")
    _add(place, "addr", nullFlavor="NAV")


def _authenticator(root: etree._Element, given: cda_header.Person | None) -> None:
    if given:
        signer = _add(root, "legalAuthenticator")
        _add(signer, "time", value=time(given.time))
        _add(signer, "signatureCode", code="S")
        _assigned(_add(signer, "assignedEntity"), given)


def _event(root: etree._Element, given: cda_header.Event, performer: cda_header.Person) -> None:
    event = _add(_add(root, "documentationOf"), "serviceEvent")
    if given.code:
        _code(event, "code", given.code)
    _period(event, given.start, given.end)
    _assigned(_add(_add(event, "performer", typeCode="PRF"), "assignedEntity"), performer, setting=given.setting)


def _encounter(root: etree._Element, given: cda_header.Encounter | None) -> None:
    if given:
        encounter = _add(_add(root, "componentOf"), "encompassingEncounter")
        _period(encounter, given.start, given.end)
        if given.facility:
            _code(_add(_add(encounter, "location"), "healthCareFacility"), "code", given.facility)


def _assigned(entity: etree._Element, given: cda_header.Person, *, setting: Coded | None = None) -> None:
    _id(entity, given.id)
    if given.role:
        _code(entity, "code", given.role)
    _add(entity, "addr", nullFlavor="NAV")
    _add(entity, "telecom", nullFlavor="NAV")
    name = _add(_add(entity, "assignedPerson"), "name")
    for tag in ("prefix", "given", "family", "suffix"):
        if text := getattr(given, tag):
            _add(name, tag).text = text
    if given.organization:
        place = _add(entity, "representedOrganization")
        _id(place, given.organization.id)
        _add(place, "name").text = given.organization.name
        if setting:
            _code(place, "standardIndustryClassCode", setting)


def _period(parent: etree._Element, start: str, end: str) -> None:
    period = _add(parent, "effectiveTime")
    for tag, moment in (("low", start), ("high", end)):
        if moment:
            _add(period, tag, value=time(moment))


def _code(parent: etree._Element, tag: str, given: Coded | None) -> None:
    if given:
        shown = {"displayName": given.display} if given.display else {}
        _add(parent, tag, code=given.code, codeSystem=systems.oid_of(given.system), **shown)


def _id(parent: etree._Element, given: cda_header.Id | None, tag: str = "id") -> None:
    if given:
        _add(parent, tag, root=given.root, **({"extension": given.extension} if given.extension else {}))


def _add(parent: etree._Element, tag: str, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{_NS}}}{tag}", attributes)
