"""What does a document look like in the record? One DocumentReference and one Binary for each of its files.

PDSM (IHE MHD) shape: masterIdentifier, class from ASS_X04, format from ASS_A11, confidentiality before visibility,
contained people. The file that a person reads comes first, the CDA around it second. The same for every door: an HL7
message (`v2_document.paper`), an attachment of a mail (`cda_to_fhir.paper`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common import clock
from mapping import cda_header, codes, contained, document_ids, systems, times
from mapping.v2_participants import Party
from mapping.v2_types import Coded

Resource = dict[str, Any]
NewId = Callable[[str, Resource], str]
CDA = "text/xml"
_RELATIONS = {"APND": "appends", "XFRM": "transforms"}


@dataclass(frozen=True, slots=True)
class File:
    """Bytes with their media type."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Paper:
    """A document whatever door it came by. `files`: the readable one first."""

    type: Coded
    title: str
    written: str  # FHIR dateTime, "" unknown
    unique_id: cda_header.Id
    confidentiality: str  # N, R, V
    files: tuple[File, ...]
    labels: frozenset[str] = frozenset()
    header: cda_header.Header | None = None
    level: int = 0  # of the CDA: 1 or 3; 0 without a CDA
    parent_id: cda_header.Id | None = None
    patient: Resource | None = None  # the person as the source describes them
    sender: Party | None = None


@dataclass(frozen=True, slots=True)
class Filing:
    """Where the record puts it, as references; what `to_fhir` was given."""

    patient: str
    conversation: str
    author: str | None
    custodian: str | None
    replaces: str | None


def to_fhir(
    paper: Paper,
    *,
    patient: str,
    conversation: str = "",
    author: str | None = None,
    custodian: str | None = None,
    replaces: str | None = None,
    new_id: NewId,
    now: datetime,
) -> list[tuple[str, str, Resource]]:
    """(type, id, resource) in the order to write: the Binaries, then the DocumentReference that points to them.

    References are `Patient/x` and the like. `author` or `custodian` None: contained, as the document names them.
    `replaces` is the DocumentReference of the earlier version when the record holds it. `new_id(type, body)` is
    called once the body is final.
    """
    filing = Filing(patient, conversation, author, custodian, replaces)
    binaries, contents = _files(paper, patient, new_id)
    document = _document(paper, filing, contents, now)
    return [*binaries, ("DocumentReference", new_id("DocumentReference", document), document)]


def _files(paper: Paper, patient: str, new_id: NewId) -> tuple[list[tuple[str, str, Resource]], list[Resource]]:
    binaries: list[tuple[str, str, Resource]] = []
    contents = []
    for file in dict.fromkeys(paper.files):
        binary = _binary(file, patient)
        id = new_id("Binary", binary)
        binaries.append(("Binary", id, binary))
        contents.append(_content(paper, file, f"Binary/{id}"))
    return binaries, contents


def _document(paper: Paper, filing: Filing, contents: list[Resource], now: datetime) -> Resource:
    shelf = contained.Shelf()
    document: Resource = {
        "masterIdentifier": document_ids.master(paper.unique_id),
        "identifier": document_ids.further(paper.unique_id, paper.header.set_id if paper.header else None),
        "status": "current",
        "docStatus": "final",
        "type": contained.concept(paper.type),
        "category": _category(paper.type),
        "subject": {"reference": filing.patient},
        "date": times.instant(paper.written) or clock.instant(now),
        "author": _authors(paper, filing, shelf),
        "authenticator": _authenticator(paper, shelf),
        "custodian": _custodian(paper, filing, shelf),
        "relatesTo": list(_relations(paper, filing)),
        "description": paper.title,
        "securityLabel": list(_labels(paper)),
        "content": contents,
        "context": _context(paper, filing, shelf),
    }
    body = {"resourceType": "DocumentReference", "contained": shelf.resources} | document
    return {key: value for key, value in body.items() if value}


def superseded(existing: Resource) -> Resource:
    """The earlier version once a newer one replaces it."""
    return existing | {"status": "superseded"}


def withdrawn(existing: Resource) -> Resource:
    """A document its author deleted: kept sealed, shown to nobody as valid."""
    return existing | {"status": "entered-in-error", "docStatus": "entered-in-error"}


def search_tokens(unique: cda_header.Id) -> list[str]:
    """`system|value` forms under which a document with this id may be stored, the usual one first."""
    found = ["|".join(document_ids.system_and_value(unique))]
    return found + [f"{systems.URI}|{other['value']}" for other in document_ids.further(unique, None)]


def digest(data: bytes) -> str:
    """Attachment.hash of these bytes: SHA-1 in Base64 (FHIR R4)."""
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def _binary(file: File, patient: str) -> Resource:
    return {
        "resourceType": "Binary",
        "contentType": file.media_type,
        "securityContext": {"reference": patient},
        "data": base64.b64encode(file.data).decode("ascii"),
    }


def _content(paper: Paper, file: File, url: str) -> Resource:
    attachment = {
        "contentType": file.media_type,
        "language": (paper.header.language if paper.header else "") or "fr-FR",
        "url": url,
        "size": len(file.data),
        "hash": digest(file.data),
        "title": paper.title,
        "creation": paper.written,
    }
    return {"attachment": {key: value for key, value in attachment.items() if value}, "format": _format(paper, file)}


def _format(paper: Paper, file: File) -> dict[str, str]:
    """ASS_A11 for a CDA, from its own template or, for a level 1, from its file; else the media type says all."""
    row = None
    if file.media_type == CDA and paper.header:
        rows = (codes.find("document_format", template) for template in reversed(paper.header.templates))
        row = next((found for found in rows if found), None)
        if row is None and paper.level == 1:
            row = codes.find("unstructured_format", paper.files[0].media_type)
    if row:
        return {"system": row.target_system, "code": row.target_code}
    return {"system": systems.FORMAT, "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient"}


def _category(type: Coded) -> list[Resource]:
    row = codes.find("document_class", type.code, type.system)
    if row is None:
        return []
    return [contained.concept(Coded(row.target_code, row.target_system, row.note))]


def _authors(paper: Paper, filing: Filing, shelf: contained.Shelf) -> list[dict[str, str]]:
    if filing.author:
        return [{"reference": filing.author}]
    people = [contained.person(shelf, found) for found in paper.header.authors] if paper.header else []
    if not any(people) and paper.sender:
        people = [contained.sender(shelf, paper.sender)]
    return [found for found in people if found]


def _authenticator(paper: Paper, shelf: contained.Shelf) -> dict[str, str] | None:
    signer = paper.header.legal_authenticator if paper.header else None
    return contained.person(shelf, signer) if signer and not signer.device else None


def _custodian(paper: Paper, filing: Filing, shelf: contained.Shelf) -> dict[str, str] | None:
    if filing.custodian:
        return {"reference": filing.custodian}
    return contained.organization(shelf, paper.header.custodian) if paper.header else None


def _relations(paper: Paper, filing: Filing) -> Iterable[Resource]:
    """Replaces (by reference, or by identifier when the earlier version never came), appends, transforms."""
    if filing.replaces:
        yield {"code": "replaces", "target": {"reference": filing.replaces}}
    elif paper.parent_id:
        target = {"identifier": document_ids.master(paper.parent_id)}
        yield {"code": "replaces", "target": {"type": "DocumentReference"} | target}
    for parent in paper.header.parents if paper.header else ():
        if parent.relation in _RELATIONS and parent.id:
            target = {"identifier": document_ids.master(parent.id)}
            yield {"code": _RELATIONS[parent.relation], "target": {"type": "DocumentReference"} | target}


def _labels(paper: Paper) -> Iterable[Resource]:
    """Confidentiality first, then the masks: the order of PDSM's slices."""
    yield contained.concept(Coded(paper.confidentiality, systems.CONFIDENTIALITY))
    for label in sorted(paper.labels):
        if row := codes.find("visibility", label):
            yield contained.concept(Coded(row.target_code, row.target_system, row.note))


def _context(paper: Paper, filing: Filing, shelf: contained.Shelf) -> Resource:
    header = paper.header
    event = header.events[0] if header and header.events else None
    encounter = header.encounter if header else None
    settings = [found.setting for found in header.events if found.setting] if header else []
    period = {"start": event.start, "end": event.end} if event else {}
    context: Resource = {
        "event": [contained.concept(found.code) for found in header.events if found.code] if header else [],
        "period": {key: value for key, value in period.items() if value},
        "facilityType": contained.concept(encounter.facility) if encounter and encounter.facility else None,
        "practiceSetting": contained.concept(settings[0]) if settings else None,
        "sourcePatientInfo": shelf.put(paper.patient) if paper.patient else None,
        "related": [{"reference": filing.conversation}] if filing.conversation else [],
    }
    return {key: value for key, value in context.items() if value}
