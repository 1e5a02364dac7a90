"""How is a submission written as METADATA.XML? The counterpart of `xds.read`: correct where samples are not.

ebRIM 3.0; within an object Slots, Name, Description, Classifications, ExternalIdentifiers (schema order). Ids of inner
objects are derived from their owner, so that the same submission gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID, uuid5

from lxml import etree

from mapping import xds

_LCM = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
_RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
_APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
_STABLE = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
_SUBMISSION_SET = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
_HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def write(submission: xds.Submission) -> bytes:
    """The bytes of METADATA.XML, UTF-8."""
    root = etree.Element(f"{{{_LCM}}}SubmitObjectsRequest", nsmap={"lcm": _LCM, "rim": _RIM})
    objects = _add(root, "RegistryObjectList")
    _set(objects, submission.set)
    for entry in submission.entries:
        _entry(objects, entry)
    for entry in submission.entries:
        _member(objects, submission.set.entry_uuid, entry.entry_uuid)
    written: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return written


def _set(objects: etree._Element, given: xds.SubmissionSet) -> None:
    owner = given.entry_uuid
    found = _add(objects, "RegistryPackage", id=owner, status=_APPROVED)
    _slot(found, "submissionTime", given.submission_time)
    _named(found, given.title)
    # The schema wants classificationNode alone here; it marks the package as a submission set.
    _add(found, "Classification", id=_inner(owner, "set"), classifiedObject=owner, classificationNode=_SUBMISSION_SET)
    _authors(found, owner, xds.SET.author, given.authors)
    _codes(found, owner, xds.SET.codes["content_type"], (given.content_type,))
    _external(found, owner, xds.SET.patient_id, "XDSSubmissionSet.patientId", value=given.patient_id)
    _external(found, owner, xds.SOURCE_ID, "XDSSubmissionSet.sourceId", value=given.source_id)
    _external(found, owner, xds.SET.unique_id, "XDSSubmissionSet.uniqueId", value=given.unique_id)


def _entry(objects: etree._Element, given: xds.DocumentEntry) -> None:
    owner = given.entry_uuid
    found = _add(objects, "ExtrinsicObject", id=owner, mimeType=given.mime_type, objectType=_STABLE, status=_APPROVED)
    for name, value in [
        ("creationTime", given.creation),
        ("hash", given.hash),
        ("languageCode", given.language),
        ("legalAuthenticator", given.legal_authenticator),
        ("serviceStartTime", given.service_start),
        ("serviceStopTime", given.service_stop),
        ("size", str(given.size)),
        ("sourcePatientId", given.source_patient_id),
        ("URI", given.uri),
        (xds.ACTION, given.action),
    ]:
        _slot(found, name, value)
    _slot(found, "sourcePatientInfo", *given.source_patient_info)
    _named(found, given.title)
    _authors(found, owner, xds.ENTRY.author, given.authors)
    for name, uuid in xds.ENTRY.codes.items():
        value = getattr(given, name)
        _codes(found, owner, uuid, value if isinstance(value, tuple) else (value,))
    _external(found, owner, xds.ENTRY.patient_id, "XDSDocumentEntry.patientId", value=given.patient_id)
    _external(found, owner, xds.ENTRY.unique_id, "XDSDocumentEntry.uniqueId", value=given.unique_id)


def _member(objects: etree._Element, owner: str, entry: str) -> None:
    found = _add(
        objects,
        "Association",
        id=_inner(owner, entry),
        associationType=_HAS_MEMBER,
        sourceObject=owner,
        targetObject=entry,
    )
    _slot(found, "SubmissionSetStatus", "Original")


def _authors(parent: etree._Element, owner: str, scheme: str, authors: Iterable[xds.Author]) -> None:
    for place, author in enumerate(authors):
        found = _classification(parent, owner, scheme, "", place=place)
        _slot(found, "authorInstitution", author.institution)
        _slot(found, "authorPerson", author.person)
        _slot(found, "authorRole", author.role)
        _slot(found, "authorSpecialty", author.specialty)


def _codes(parent: etree._Element, owner: str, scheme: str, codes: Iterable[xds.Code | None]) -> None:
    for place, code in enumerate(codes):
        if code is not None:
            found = _classification(parent, owner, scheme, code.code, place=place)
            _slot(found, "codingScheme", code.scheme)
            _named(found, code.display or code.code)


def _classification(parent: etree._Element, owner: str, scheme: str, code: str, *, place: int) -> etree._Element:
    return _add(
        parent,
        "Classification",
        id=_inner(owner, f"{scheme}/{place}"),
        classificationScheme=scheme,
        classifiedObject=owner,
        nodeRepresentation=code,
    )


def _external(parent: etree._Element, owner: str, scheme: str, name: str, *, value: str) -> None:
    found = _add(
        parent,
        "ExternalIdentifier",
        id=_inner(owner, scheme),
        identificationScheme=scheme,
        registryObject=owner,
        value=value,
    )
    _named(found, name)


def _slot(parent: etree._Element, name: str, *values: str) -> None:
    if any(values):
        listed = _add(_add(parent, "Slot", name=name), "ValueList")
        for value in values:
            _add(listed, "Value").text = value


def _named(parent: etree._Element, text: str) -> None:
    if text:
        name = _add(_add(parent, "Name"), "LocalizedString", charset="UTF-8", value=text)
        name.set(_LANG, "fr-FR")


def _add(parent: etree._Element, tag: str, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{_RIM}}}{tag}", attributes)


def _inner(owner: str, name: str) -> str:
    """An id for an object inside another, always the same."""
    return f"urn:uuid:{uuid5(UUID(owner), name)}"
