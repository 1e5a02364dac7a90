"""Health packages made in code: one CDA around a PDF, with what METADATA.XML then says."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime

from mapping import cda, xds
from mss import xdm
from tests.builders_hl7 import a_cda, a_pdf

MOMENT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SENDER = xdm.Sender("DR SOULIE Anne", "CH de démonstration", "Spico Hub", "1", "Spico Hub")


def a_submission(*documents: bytes, action: str = "") -> xds.Submission:
    """What METADATA.XML must say of these CDA."""
    entries = tuple(
        xds.of_cda(
            raw,
            cda.read(raw, max_bytes=2**25),
            uri=f"DOC{place:04}.XML",
            entry_uuid=f"urn:uuid:00000000-0000-4000-8000-{place:012}",
            action=action,
        )
        for place, raw in enumerate(documents, 1)
    )
    lot = xds.SubmissionSet(
        entry_uuid="urn:uuid:00000000-0000-4000-8000-000000000000",
        unique_id="1.2.250.1.71.4.2.2.129900040.9.1",
        source_id="1.2.250.1.71.4.2.2.129900040",
        patient_id=entries[0].patient_id,
        submission_time="20261120093000",
        title=entries[0].title,
        content_type=entries[0].facility,
        authors=entries[0].authors,
    )
    return xds.Submission(lot, entries)


def a_package(*documents: bytes, action: str = "") -> bytes:
    """An IHE_XDM.zip."""
    documents = documents or (a_cda("D1", pdf=a_pdf()),)
    return xdm.pack(a_submission(*documents, action=action), documents, SENDER, moment=MOMENT)


def changed(package: bytes, replaced: Mapping[str, bytes]) -> bytes:
    """The same archive with other bytes under some names; new names are added."""
    archive, buffer = zipfile.ZipFile(io.BytesIO(package)), io.BytesIO()
    files = {name: archive.read(name) for name in archive.namelist()} | dict(replaced)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as copy:
        for name, content in files.items():
            copy.writestr(name, content)
    return buffer.getvalue()
