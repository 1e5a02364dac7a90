"""Is a package opened whole or not at all, whoever made it, and do others find in ours what they need?"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from mss import xdm
from tests.builders_hl7 import a_cda, a_pdf
from tests.mapping import samples
from tests.mss.packages import MOMENT, SENDER, a_package, a_submission, changed

DOCUMENT = "IHE_XDM/SUBSET01/DOC0001.XML"
METADATA = "IHE_XDM/SUBSET01/METADATA.XML"
PACKAGE = a_package()


@pytest.mark.parametrize("path", samples.files("mssante/xdm/*.ZIP"), ids=lambda path: path.name)
def test_every_public_package_opens(path: Path) -> None:
    (document,) = xdm.open(path.read_bytes()).documents
    assert document.content.header.patient.ids
    assert document.entry.title == document.content.header.title


def test_our_package_has_the_prescribed_layout() -> None:
    names = zipfile.ZipFile(io.BytesIO(PACKAGE)).namelist()
    assert names == ["INDEX.HTM", "README.TXT", "IHE_XDM/", "IHE_XDM/SUBSET01/", DOCUMENT, METADATA]


def test_what_we_pack_opens_again_byte_for_byte() -> None:
    documents = a_cda("D1", pdf=a_pdf()), a_cda("D2")
    submission = a_submission(*documents)
    package = xdm.open(xdm.pack(submission, documents, SENDER, moment=MOMENT))
    assert tuple(one.raw for one in package.documents) == documents
    assert (package.set, tuple(one.entry for one in package.documents)) == (submission.set, submission.entries)


def test_names_are_found_whatever_their_case_and_folder() -> None:
    archive, buffer = zipfile.ZipFile(io.BytesIO(PACKAGE)), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as copy:
        for name in archive.namelist():
            copy.writestr(f"envoi/{name.lower().replace('subset01', 'subset02')}", archive.read(name))
    assert xdm.open(buffer.getvalue()).documents == xdm.open(PACKAGE).documents
    assert xdm.is_package("autre.zip", buffer.getvalue())


def _altered(package: bytes) -> bytes:
    raw = zipfile.ZipFile(io.BytesIO(package)).read(DOCUMENT)
    return changed(package, {DOCUMENT: raw.replace(b"DELMAS", b"DELMOS", 1)})


def _cut(package: bytes) -> bytes:
    return changed(package, {DOCUMENT: zipfile.ZipFile(io.BytesIO(package)).read(DOCUMENT)[:-1]})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_altered, "empreinte"),
        (_cut, "taille"),
        (lambda package: changed(package, {METADATA: b"<a/>"}), "METADATA.XML"),
        (lambda package: changed(package, {"../../etc/passwd": b"x"}), "dangereux"),
        (lambda package: changed(package, {"/absolu": b"x"}), "dangereux"),
        (lambda package: changed(package, {f"f{n}": b"" for n in range(501)}), "plus de 500"),
        (lambda package: changed(package, {"bombe": b"0" * (11 * 2**20)}), "volumineux"),
        (lambda package: package[: len(package) // 2], "zip lisible"),
        (lambda package: changed(package, {METADATA: b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}), "DTD"),
        (lambda _: b"PK\x03\x04", "zip lisible"),
    ],
)
def test_a_spoilt_package_is_refused_with_a_reason(spoil: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises((errors.Invalid, errors.TooLarge)) as refused:
        xdm.open(spoil(PACKAGE))
    assert reason in refused.value.message


def test_a_missing_document_is_refused() -> None:
    archive = zipfile.ZipFile(io.BytesIO(PACKAGE))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as copy:
        copy.writestr(METADATA, archive.read(METADATA))
    with pytest.raises(errors.Invalid, match="annonce"):
        xdm.open(buffer.getvalue())


def test_two_patients_are_refused() -> None:
    package = a_package(a_cda("D1"), a_cda("D2").replace(b"248051220200170", b"255069912345671"))
    with pytest.raises(errors.Invalid, match="plusieurs patients"):
        xdm.open(package)


@given(at=st.integers(0, len(PACKAGE) - 1), noise=st.binary(min_size=1, max_size=8))
def test_any_damage_gives_the_package_or_a_refusal(at: int, noise: bytes) -> None:
    try:
        package = xdm.open(PACKAGE[:at] + noise + PACKAGE[at + len(noise) :])
    except errors.HubError:
        pass
    else:
        assert [one.raw for one in package.documents] == [one.raw for one in xdm.open(PACKAGE).documents]
