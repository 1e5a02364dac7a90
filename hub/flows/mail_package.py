"""A mail brings a health package: which documents does it file, replace or withdraw?

The patient is read from the package and must be the one of the conversation (MSSanté client reference 2.1.2); anything
that a person must judge raises NeedsPerson, and the mail is held. Replacing and withdrawing follow the action slot of
METADATA.XML and the CDA's own link together, and touch only what the same sender filed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from common import errors
from fhir_server import changes
from hub import conversations, people
from hub.room import Resource, Room
from mapping import cda_header, cda_to_fhir, codes, contained, document_to_fhir, refusals, systems
from mss import letter, xdm

LARGE = 1_000_000  # bytes; opening more would hold up the other doors
# The label that HL7 v2 has for each code that METADATA.XML has (TRE_A07).
_LABELS = {row.target_code: row.source_code for row in codes.rows("visibility")}


class NeedsPerson(errors.Conflict):
    """The package is sound, and what to do with it is not the hub's to decide."""

    code = "package-needs-person"


@dataclass(frozen=True, slots=True)
class Filed:
    """What the packages of a mail write.

    `documents` are the references that the message brings, `rest` the attachments that are no package nor the PDF copy
    of a packaged document, `text` what a mail without words of its own says.
    """

    documents: tuple[str, ...]
    changes: tuple[changes.Change, ...]
    rest: tuple[letter.Attachment, ...]
    text: str


async def file(mail: letter.Letter, header: Resource, member: str, room: Room) -> Filed:
    """Raises errors.Invalid or TooLarge for a spoilt package, NeedsPerson for one that a person must judge."""
    rest: list[letter.Attachment] = []
    found: list[xdm.Document] = []
    for one in mail.attachments:
        if not xdm.is_package(one.filename, one.data):
            rest.append(one)
            continue
        small = len(one.data) < LARGE
        package = xdm.open(one.data) if small else await asyncio.to_thread(xdm.open, one.data)
        found += package.documents
    copies = {sha256(one.content.body.data).hexdigest() for one in found if one.content.body}
    documents: list[str] = []
    wanted: list[changes.Change] = []
    words: list[str] = []
    for document in found:
        patient = await _patient(document.content.header.patient, header, room)
        written, ref = await _one(document, patient, header, room, member=member)
        wanted += written
        documents += [ref] if ref else []
        title = document.content.header.title
        words.append(title if ref else f"Document retiré : {title}")
    return Filed(
        tuple(documents), tuple(wanted), tuple(one for one in rest if one.sha256 not in copies), "\n".join(words)
    )


async def _patient(named: cda_header.Patient, header: Resource, room: Room) -> str:
    """The conversation's patient, when the package names that person by INS."""
    subject = str(header.get("subject", {}).get("reference", ""))
    allowed = systems.INS_WITH_TEST if room.settings.demo else systems.INS_PRODUCTION
    numbers = [f"urn:oid:{one.root}|{one.extension}" for one in named.ids if one.root in allowed]
    if not subject:
        raise NeedsPerson("paquet de santé dans une conversation sans patient", at="patientId")
    if not numbers:
        raise NeedsPerson("903 : INS non présent dans le document", at="patientId")
    known = {ref for number in numbers for ref in await people.known_by(number, room)}
    if known != {subject}:
        raise NeedsPerson("902 : l'INS du document n'est pas celui du patient de la conversation", at="patientId")
    try:
        people.same_person(await room.read(subject), contained.patient(named) or {})
    except refusals.PatientMismatch as mismatch:
        raise NeedsPerson(f"904 : {mismatch.message}", at="patientId") from None
    return subject


async def _one(
    document: xdm.Document, patient: str, header: Resource, room: Room, *, member: str
) -> tuple[list[changes.Change], str]:
    """The changes for one document and the reference that the message brings, "" when it is withdrawn."""
    labels = frozenset(_LABELS[one.code] for one in document.entry.confidentiality if one.code in _LABELS)
    paper = cda_to_fhir.paper(document.raw, document.content, labels=labels)
    same = await _held(paper.unique_id, patient, member, room)
    if document.entry.action == "D":
        return _withdrawn(same), ""
    if same:
        return [], _repeated(same, document)
    before = await _held(paper.parent_id, patient, member, room)
    if before and before["status"] != "current":
        raise NeedsPerson("900 : le document à remplacer n'est plus la version en cours", at="relatedDocument")
    # Both signals, or none is followed: a link without the slot may be history, a slot without a link has no target.
    replaces = f"DocumentReference/{before['id']}" if before and document.entry.action == "C" else None
    if before and not replaces:
        raise NeedsPerson("le document dit en remplacer un autre, le paquet ne le dit pas", at="relatedDocument")
    filed = document_to_fhir.to_fhir(
        paper,
        patient=patient,
        conversation=f"Communication/{header['id']}",
        replaces=replaces,
        new_id=room.store.new_id,
        now=room.now(),
    )
    *_, (_, id, body) = filed
    _deposit(body, member)
    claims = [changes.Claim(key, "DocumentReference", id) for key in _keys(paper.unique_id, patient, member)]
    return [*(changes.Create(*one) for one in filed), *claims], f"DocumentReference/{id}"


def _deposit(body: Resource, member: str) -> None:
    """A document by mail stands on its sender's word: named after its authors, and no custodian vouches for it."""
    body.setdefault("author", []).append(conversations.reference(member))
    body.pop("custodian", None)


def _withdrawn(held: Resource | None) -> list[changes.Change]:
    """Entered in error, never purged."""
    if held is None or held["status"] == "entered-in-error":
        raise NeedsPerson("900 : le document à supprimer n'a pas été reçu de cet expéditeur", at="ClinicalDocument/id")
    version = int(held["meta"]["versionId"])
    return [changes.Update("DocumentReference", held["id"], document_to_fhir.withdrawn(held), version)]


def _repeated(held: Resource, document: xdm.Document) -> str:
    """The same document again brings the one that is there; the same id on other bytes is nobody's to choose."""
    if document_to_fhir.digest(document.raw) not in {one["attachment"].get("hash") for one in held["content"]}:
        raise NeedsPerson("un autre document porte déjà cet identifiant", at="ClinicalDocument/id")
    return f"DocumentReference/{held['id']}"


async def _held(id: cda_header.Id | None, patient: str, member: str, room: Room) -> Resource | None:
    for key in _keys(id, patient, member):
        if owner := await room.store.owner(key):
            return await room.read(owner)
    return None


def _keys(id: cda_header.Id | None, patient: str, member: str) -> Iterable[str]:
    """Claims of one sender: what others filed under the same id is out of their reach, and not told (901)."""
    return [f"mail-document|{member}|{patient}|{token}" for token in document_to_fhir.search_tokens(id)] if id else []
