"""Health packages for measurements: a document of about a megabyte, with METADATA.XML, in a mail of a doctor."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from mapping import cda, cda_header, cda_write, xds
from mapping.v2_types import Coded
from mss import compose, xdm

PATIENT, INS = "Patient/delmas-jeanne", "248051220200170"  # of the small region
_WHEN = "2026-11-23T10:00:00+01:00"
_PLACE = cda_header.Organization(cda_header.Id("1.2.250.1.71.4.2.2", "1129900016"), "Cabinet de mesure")
_DOCTOR = cda_header.Person(
    id=cda_header.Id("1.2.250.1.71.4.2.1", "899700000026"),
    family="LEFEBVRE",
    given="Paul",
    prefix="",
    suffix="DR",
    role=None,
    device="",
    organization=_PLACE,
    time=_WHEN,
)
_PERSON = cda_header.Patient((cda_header.Id("1.2.250.1.213.1.4.10", INS),), "DELMAS", "JEANNE", "", "1948-05-12", "F")
_SENDER = xdm.Sender("DR LEFEBVRE Paul", _PLACE.name, "Mesure", "1", "Mesure")


def package(number: int, size: int) -> bytes:
    """An IHE_XDM.zip whose document is a PDF of `size` bytes that does not shrink."""
    id = cda_header.Id(f"2.25.{number}")
    header = cda_header.Header(
        id=id,
        set_id=id,
        version="1",
        templates=cda_write.TEMPLATES,
        code=Coded("11488-4", "http://loinc.org", "CR de consultation"),
        title="Compte rendu",
        written=_WHEN,
        confidentiality="N",
        language="fr-FR",
        patient=_PERSON,
        authors=(_DOCTOR,),
        legal_authenticator=_DOCTOR,
        custodian=_PLACE,
        events=(cda_header.Event(None, _WHEN, "", None),),
        encounter=None,
        parents=(),
    )
    raw = cda_write.write(header, cda.Body("application/pdf", b"%PDF-1.4\n" + os.urandom(size)))
    entry = xds.of_cda(
        raw,
        cda.read(raw, max_bytes=2**25),
        uri="DOC0001.XML",
        entry_uuid=f"urn:uuid:00000000-0000-4000-8000-{number % 10**12:012}",
    )
    lot = xds.SubmissionSet(
        entry_uuid="urn:uuid:00000000-0000-4000-8000-000000000000",
        unique_id=f"2.25.9.{number}",
        source_id="2.25.9",
        patient_id=entry.patient_id,
        submission_time="20261123090000",
        title=entry.title,
        content_type=None,
        authors=entry.authors,
    )
    return xdm.pack(xds.Submission(lot, (entry,)), [raw], _SENDER, moment=datetime(2026, 11, 23, 9, tzinfo=UTC))


def mail(number: int, size: int, *, sender: str, mailbox: str, tag: str) -> bytes:
    """A doctor's mail with it."""
    return compose.mail(
        compose.Outgoing(
            delivery=f"mesure-{number}",
            mailbox=sender,
            author="Paul Lefebvre",
            recipient=mailbox,
            subject="Compte rendu",
            tag=tag,
            text=f"Voici le compte rendu {number}.",
            date=datetime(2026, 11, 23, 9, tzinfo=UTC),
            attachments=(compose.file(xdm.FILENAME, "application/zip", package(number, size)),),
        )
    )
