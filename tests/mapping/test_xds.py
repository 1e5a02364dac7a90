"""Does METADATA.XML say what the document says, and do the public packages agree with our rules?"""

from __future__ import annotations

import io
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from common import errors
from mapping import cda, xds, xds_write
from tests.builders_hl7 import a_cda
from tests.mapping import samples
from tests.mss.packages import a_submission

# What the public packages say otherwise than the rules, and why that is theirs: (package, attribute).
EXPLAINED = {
    **{
        (name, "format_code"): "the code is the same, its scheme another national one"
        for name in (
            "BIO-CR-BIO_2021.01_Microbiologie_V1",
            "BIO-CR-BIO_2024.01_TSH_date_1",
            "BIO-TROD_2024.01_Angine",
            "BIO-TROD_2024.01_Cystite",
            "CSE-CS24_2025.01",
            "CSE-CS8_2024.01",
            "DOC_NON_STRUCTURE_CDA-R2-N1",
        )
    },
    ("CARD-F-PRC-AVK_2022.01", "action"): "an action is said by the mail alone, no CDA has it",
    ("CSE-CS24_2025.01", "source_patient_id"): "a number of an unverified INS domain given as a local one",
    ("OBP-SCM_2024.01", "class_code"): "filed as a report, where ASS_X04 has a synthesis",
    ("OBP-SCM_2024.01", "format_code"): "the code of the edition of 2012 for the template of 2023",
    ("VAC_2023.01", "legal_authenticator"): "a patient's number given the type of a professional's",
}
PACKAGES = samples.files("mssante/xdm/*.ZIP")


def bare(value: Any) -> Any:
    """A code without its label; strings without the blank that samples leave after a first name."""
    if isinstance(value, xds.Code):
        return value.code, value.scheme
    if isinstance(value, xds.Author):
        return tuple(bare(getattr(value, one.name)) for one in fields(value))
    return tuple(map(bare, value)) if isinstance(value, tuple) else str(value).replace(" ^", "^")


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.name)
def test_a_public_package_says_of_its_document_what_our_rules_derive_from_it(path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    (said,) = xds.read(archive.read("IHE_XDM/SUBSET01/METADATA.XML")).entries
    raw = archive.read("IHE_XDM/SUBSET01/DOC0001.XML")
    derived = xds.of_cda(raw, cda.read(raw, max_bytes=2**25), uri="DOC0001.XML", entry_uuid=said.entry_uuid)
    differing = {one.name for one in fields(said) if bare(getattr(said, one.name)) != bare(getattr(derived, one.name))}
    name = path.name.removesuffix(".IHE_XDM.ZIP")
    assert differing == {attribute for package, attribute in EXPLAINED if package == name}


def test_what_is_written_reads_back_the_same() -> None:
    submission = a_submission(a_cda("D1"), a_cda("D2"), action="C")
    assert xds.read(xds_write.write(submission)) == submission


def test_the_entry_of_a_document() -> None:
    raw = a_cda("D1")
    (entry,) = a_submission(raw).entries
    assert (entry.size, entry.hash) == (len(raw), xds.digest(raw))
    assert entry.unique_id == "1.2.250.1.71.4.2.2.129900040.1^D1"
    assert entry.service_stop == "20261120130000", "14:00 in France is 13:00 UTC"
    assert entry.patient_id == "248051220200170^^^&1.2.250.1.213.1.4.10&ISO^NH"
    assert entry.type_code
    assert (entry.type_code.code, entry.type_code.scheme) == ("34112-3", "2.16.840.1.113883.6.1")
    assert "PID-7|19480512" in entry.source_patient_info


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<a/>",
        b"not xml",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<a>" * 5000,
        xds_write.write(a_submission(a_cda("D1"))).replace(b"ExtrinsicObject", b"Other"),
    ],
)
def test_what_is_no_submission_is_refused_with_its_place(raw: bytes) -> None:
    with pytest.raises(errors.Invalid) as refused:
        xds.read(raw)
    assert refused.value.at == "METADATA.XML"
