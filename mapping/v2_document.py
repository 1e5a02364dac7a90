"""Which document does this MDM carry, for whom, and what should become of it?

National profiles CISIS_CDA_HL7_V2 1.2, 2.0, 2.1 and CISIS_CDA_HL7_LPS 1.0, 1.1 (MDM^T02 new, T10 replace, T04 delete).
Golden cases: mdm_t02_cda_n1, mdm_t02_cda_n3, mdm_t02_pdf, mdm_t02_stub, mdm_t10_replace, mdm_t04_delete, mdm_lps.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mapping import (
    cda,
    cda_header,
    codes,
    document_ids,
    document_to_fhir,
    er7,
    refusals,
    systems,
    times,
    v2_content,
    v2_identity,
    v2_metadata,
    v2_participants,
)
from mapping.tolerance import Tolerance, note
from mapping.v2_participants import Party as Party
from mapping.v2_types import Coded, coded

MAX_BYTES = 25 * 2**20
# Trigger -> operation, ORC-1, OBX-11 of the document: the three must say the same (profile 2.1, triggers).
_OPERATIONS = {"T02": ("create", "NW", "F"), "T10": ("replace", "RO", "C"), "T04": ("delete", "CA", "D")}


@dataclass(frozen=True, slots=True)
class Document:
    """A document with everything the message says about it. Times are FHIR dateTimes, systems FHIR URLs."""

    operation: str  # create, replace, delete
    patient: v2_identity.PatientIdentity
    stay: v2_identity.Stay
    type: Coded
    title: str
    written: str
    unique_id: cda_header.Id
    parent_id: cda_header.Id | None  # the version that it replaces
    content: bytes  # b"" only for a delete
    media_type: str  # text/xml for a CDA
    cda: cda.Cda | None
    readable: document_to_fhir.File | None  # what a person reads inside a CDA, or the content itself
    confidentiality: str  # N, R, V
    people: v2_participants.Participants
    labels: frozenset[str]
    routes: frozenset[str]
    acks: frozenset[str]
    mail: v2_metadata.Mail
    tolerances: tuple[Tolerance, ...]

    @property
    def header(self) -> cda_header.Header | None:
        """The header of the CDA."""
        return self.cda.header if self.cda else None

    @property
    def pdf(self) -> bytes | None:
        """The PDF, alone or inside the CDA."""
        return self.readable.data if self.readable and self.readable.media_type == v2_content.PDF else None

    @property
    def sender(self) -> Party | None:
        return self.people.sender

    @property
    def recipients(self) -> tuple[Party, ...]:
        return self.people.recipients

    @property
    def reply_to(self) -> tuple[Party, ...]:
        return self.people.reply_to

    @property
    def hash(self) -> str:
        """SHA-1 of the content in Base64, as a FHIR attachment carries it."""
        return base64.b64encode(hashlib.sha1(self.content, usedforsecurity=False).digest()).decode("ascii")


def read(
    message: er7.Message,
    *,
    ins_authorities: frozenset[str] = systems.INS_PRODUCTION,
    max_bytes: int = MAX_BYTES,
) -> Document:
    """The document of an MDM. Deviations of older profiles are accepted and listed in `tolerances`.

    Raises the kinds of `refusals`, errors.Invalid and errors.TooLarge, each with its place. Whether the document
    belongs to the patient, and may go where it should, is judged in `v2_checks`.
    """
    operation = _operation(message)
    pid, txa = _required(message, "PID"), _required(message, "TXA")
    identity = v2_identity.read(pid, ins_authorities=ins_authorities)
    document, others = _split(v2_metadata.observations(message), operation)
    notes = [*message.tolerances, *identity.tolerances, *_coherence(message, operation, document)]
    content = _content(document, operation, max_bytes, notes)
    header = content.cda.header if content and content.cda else None
    people = v2_participants.read([segment for segment in document.followers if segment.name == "PRT"])
    wishes = v2_metadata.read(others)
    notes += [*people.tolerances, *wishes.tolerances]
    kind = _type(txa, document, header, notes)
    unique_id, parent_id = _ids(message, txa, header, operation=operation, notes=notes)
    return Document(
        operation=operation,
        patient=identity,
        stay=v2_identity.stay(message.segment("PV1")),
        type=kind,
        title=(header.title if header else "") or kind.display or kind.code,
        written=_written(message, txa, header),
        unique_id=unique_id,
        parent_id=parent_id,
        content=content.data if content else b"",
        media_type=content.media_type if content else "",
        cda=content.cda if content else None,
        readable=_readable(content, document, notes),
        confidentiality=_confidentiality(txa, header),
        people=people,
        labels=wishes.labels,
        routes=wishes.routes,
        acks=wishes.acks,
        mail=wishes.mail,
        tolerances=tuple(notes),
    )


def paper(document: Document) -> document_to_fhir.Paper:
    """The document as `document_to_fhir` files it; not for a delete, which only names one."""
    files = [document_to_fhir.File(document.media_type, document.content)]
    if document.readable and document.media_type == v2_content.CDA:
        files.insert(0, document.readable)
    said = v2_identity.to_fhir(document.patient)
    return document_to_fhir.Paper(
        type=document.type,
        title=document.title,
        written=document.written,
        unique_id=document.unique_id,
        confidentiality=document.confidentiality,
        files=tuple(files),
        labels=document.labels,
        header=document.header,
        level=document.cda.level if document.cda else 0,
        parent_id=document.parent_id,
        patient={key: value for key, value in said.items() if key != "meta"},
        sender=document.sender,
    )


def to_fhir(
    document: Document,
    *,
    patient: str,
    conversation: str = "",
    author: str | None = None,
    custodian: str | None = None,
    replaces: str | None = None,
    new_id: document_to_fhir.NewId,
    now: datetime,
) -> list[tuple[str, str, dict[str, Any]]]:
    """The resources of a new or replacing document: `document_to_fhir.to_fhir` of its paper."""
    return document_to_fhir.to_fhir(
        paper(document),
        patient=patient,
        conversation=conversation,
        author=author,
        custodian=custodian,
        replaces=replaces,
        new_id=new_id,
        now=now,
    )


def _operation(message: er7.Message) -> str:
    if message.type != "MDM":
        raise refusals.UnsupportedType("seuls les messages MDM sont lus par cette porte", at="MSH-9.1")
    if message.trigger not in _OPERATIONS:
        raise refusals.UnsupportedEvent("événement MDM non pris en charge : T02, T10 ou T04 attendu", at="MSH-9.2")
    if not message.version.startswith("2."):
        raise refusals.UnsupportedVersion("version HL7 non prise en charge : 2.x attendu", at="MSH-12")
    if not message.control_id:
        raise refusals.Missing("le message n'a pas d'identifiant", at="MSH-10")
    return _OPERATIONS[message.trigger][0]


def _required(message: er7.Message, name: str) -> er7.Segment:
    segment = message.segment(name)
    if segment is None:
        raise refusals.MissingSegment(f"segment {name} absent", at=name)
    return segment


def _split(
    found: list[v2_metadata.Observation], operation: str
) -> tuple[v2_metadata.Observation, list[v2_metadata.Observation]]:
    """The document's observation, the first file, and the rest. A delete may name its document without sending it."""
    document = next((one for one in found if one.is_file), found[0] if found and operation == "delete" else None)
    if document is None:
        raise refusals.Missing("le message ne porte pas de document (OBX de type ED)", at="OBX-2")
    return document, [one for one in found if one is not document]


def _coherence(message: er7.Message, operation: str, document: v2_metadata.Observation) -> list[Tolerance]:
    """Trigger, ORC-1 and OBX-11 say the same, or the message is refused."""
    _, order, status = _OPERATIONS[message.trigger]
    notes = []
    said = message.text("ORC-1")
    if not said:
        notes.append(note("order-missing", "ORC-1"))  # profile 2.0 sends MDM without ORC
    elif said == "SC":
        notes.append(note("order-status-only", "ORC-1"))  # profile 1.2, every operation
    elif said != order:
        raise refusals.Incoherent(
            f"ORC-1 « {said} » contredit l'événement {message.trigger} ({order} attendu)", at="ORC-1"
        )
    result = document.obx.text(11)
    if not result:
        notes.append(note("result-status-missing", document.obx.at(11)))
    elif result != status:
        raise refusals.Incoherent(
            f"OBX-11 « {result} » contredit l'événement {message.trigger} ({status} attendu)", at=document.obx.at(11)
        )
    return notes


def _content(
    document: v2_metadata.Observation, operation: str, max_bytes: int, notes: list[Tolerance]
) -> v2_content.Content | None:
    if operation == "delete" and v2_content.is_empty(document.obx):
        notes.append(note("delete-without-content", document.obx.at(5)))
        return None
    content = v2_content.read(document.obx, max_bytes=max_bytes)
    notes += content.tolerances
    return content


def _type(
    txa: er7.Segment, document: v2_metadata.Observation, header: cda_header.Header | None, notes: list[Tolerance]
) -> Coded:
    """The CDA's own code wins; else OBX-3, whose system profile 1.2 leaves out."""
    said = coded(document.obx.first(3))
    if txa.text(2) and said.code and txa.text(2) != said.code:
        notes.append(note("type-differs", txa.at(2)))
    if header and header.code:
        if said.code != header.code.code:
            notes.append(note("type-differs-from-cda", document.obx.at(3)))
        return header.code
    code = said.code or txa.text(2)
    if not code:
        raise refusals.Missing("type de document absent", at=document.obx.at(3))
    row = codes.find("document_class", code)
    return Coded(code, said.system or (row.source_system if row else ""), said.display)


def _ids(
    message: er7.Message, txa: er7.Segment, header: cda_header.Header | None, *, operation: str, notes: list[Tolerance]
) -> tuple[cda_header.Id, cda_header.Id | None]:
    """Identity of the document and of the one it replaces: the CDA's, else TXA-12 and TXA-13."""
    local = systems.local("document", message.sending_facility, message.sending_application)
    said = document_ids.read(txa.first(12), local=local)
    own = (header.id if header else None) or said
    if own is None:
        raise refusals.Missing("identifiant unique du document absent", at="TXA-12")
    if said and said != own:
        notes.append(note("unique-id-differs", "TXA-12"))  # fr-lps/v1.0_lps_mdm_doc_base64.hl7 writes `2638`
    replaced = next((parent for parent in header.parents if parent.relation == "RPLC"), None) if header else None
    if operation == "create" and replaced:
        raise refusals.Incoherent("le CDA remplace un document alors que l'événement est T02", at="MSH-9.2")
    parent = (replaced.id if replaced else None) or document_ids.read(txa.first(13), local=local)
    if operation == "replace" and parent is None:
        raise refusals.Missing("identifiant du document remplacé absent", at="TXA-13")
    if operation == "replace" and parent == own:
        notes.append(note("replaces-itself", "TXA-13"))  # mssante/lps-v1.0_MDM-T10_replace_short.er7
    if operation == "replace" and header and replaced is None:
        # XDM sample CARD-F-PRC-AVK_2022.01: a replacement whose CDA says nothing of it. TXA-13 is clear enough.
        notes.append(note("replacement-unsaid-by-cda", "TXA-13"))
    return own, parent if operation == "replace" else None


def _readable(
    content: v2_content.Content | None, document: v2_metadata.Observation, notes: list[Tolerance]
) -> document_to_fhir.File | None:
    if content is None:
        return None
    if content.cda is None:
        return document_to_fhir.File(content.media_type, content.data)
    body = content.cda.body
    if body is None or not body.data:
        return None
    if body.media_type == v2_content.PDF and not v2_content.is_pdf(body.data):
        notes.append(note("embedded-pdf-broken", document.obx.at(5)))
        return document_to_fhir.File("application/octet-stream", body.data)
    return document_to_fhir.File(body.media_type, body.data)


def _written(message: er7.Message, txa: er7.Segment, header: cda_header.Header | None) -> str:
    stated = (times.date_time(text) for text in (txa.text(6), txa.text(4), message.sent))
    return (header.written if header else "") or next((moment for moment in stated if moment), "")


def _confidentiality(txa: er7.Segment, header: cda_header.Header | None) -> str:
    for code in (header.confidentiality if header else "", txa.text(18)):
        if row := codes.find("confidentiality", code):
            return row.target_code
    return "N"
