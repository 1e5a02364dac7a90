"""How is a health package (IHE_XDM.zip) opened, and how is one made?

IHE XDM (ITI TF-1 16, TF-2 3.32) as MSSanté asks for it: README.TXT, INDEX.HTM, and one `IHE_XDM/SUBSET01` with
METADATA.XML and its documents. Whoever sent it, an archive is judged by its directory before anything is unpacked, and
a document whose bytes are not those that its entry announces refuses the whole: half a package is none.
"""

from __future__ import annotations

import io
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from common import errors
from mapping import cda, xds, xds_write

FILENAME = "IHE_XDM.zip"
MAX_ENTRIES, MAX_UNPACKED, MAX_RATIO = 500, 200 * 2**20, 100
# Small files may shrink a lot without harm: blanks in METADATA.XML do.
_RATIO_FROM = 10 * 2**20
_AT = "IHE_XDM.zip"
_FOLDER = "IHE_XDM/SUBSET01/"


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the package: its bytes, what its entry says, what it says itself."""

    raw: bytes
    entry: xds.DocumentEntry
    content: cda.Cda


@dataclass(frozen=True, slots=True)
class Package:
    """An opened package: one patient, at least one document."""

    set: xds.SubmissionSet
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Sender:
    """What README.TXT and INDEX.HTM say of who made the package."""

    name: str
    organization: str
    software: str
    version: str
    editor: str
    address: str = ""
    phone: str = ""


def is_package(filename: str, data: bytes) -> bool:
    """Whether a file of a mail is a health package, by its name or by the METADATA.XML in it."""
    if not data.startswith(b"PK\x03\x04"):
        return False
    if filename.upper() == FILENAME.upper():
        return True
    try:
        return _metadata(zipfile.ZipFile(io.BytesIO(data)).namelist()) is not None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return False


def open(data: bytes) -> Package:
    """The package in these bytes.

    Raises errors.Invalid or errors.TooLarge with a French reason: not a zip, unsafe names, too much inside, no
    METADATA.XML, an entry whose document is missing or altered, no CDA, several patients.
    """
    archive = _archive(data)
    names = {one.filename.replace("\\", "/").upper(): one for one in archive.infolist() if not one.is_dir()}
    metadata = _metadata(list(names))
    if metadata is None:
        raise errors.Invalid("le paquet de santé n'a pas de METADATA.XML", at=_AT)
    submission = xds.read(_content(archive, names[metadata]))
    folder = posixpath.dirname(metadata)
    documents = tuple(_document(archive, names, folder, entry) for entry in submission.entries)
    if len({one.content.header.patient.ids for one in documents}) > 1 or len(_patients(submission)) > 1:
        raise errors.Invalid("le paquet de santé concerne plusieurs patients : un seul par courriel", at=_AT)
    return Package(submission.set, documents)


def pack(submission: xds.Submission, documents: Sequence[bytes], sender: Sender, *, moment: datetime) -> bytes:
    """The archive of these documents, in the order of the submission's entries. The same input gives the same bytes."""
    files = [(entry.uri, raw) for entry, raw in zip(submission.entries, documents, strict=True)]
    buffer = io.BytesIO()
    stamp = moment.timetuple()[:6]
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in [
            ("INDEX.HTM", _index(sender)),
            ("README.TXT", _readme(sender, [name for name, _ in files])),
            ("IHE_XDM/", b""),
            (_FOLDER, b""),
            *((_FOLDER + name, raw) for name, raw in files),
            (f"{_FOLDER}METADATA.XML", xds_write.write(submission)),
        ]:
            info = zipfile.ZipInfo(name, stamp)
            info.compress_type = zipfile.ZIP_DEFLATED if content else zipfile.ZIP_STORED
            info.external_attr = (0o755 | stat.S_IFDIR if name.endswith("/") else 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def _archive(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        raise errors.Invalid("le paquet de santé n'est pas une archive zip lisible", at=_AT) from None
    if len(entries) > MAX_ENTRIES:
        raise errors.TooLarge(f"le paquet de santé contient plus de {MAX_ENTRIES} fichiers", at=_AT)
    unpacked = sum(one.file_size for one in entries)
    if unpacked > MAX_UNPACKED or unpacked > max(MAX_RATIO * len(data), _RATIO_FROM):
        raise errors.TooLarge("le paquet de santé est trop volumineux une fois ouvert", at=_AT)
    for one in entries:
        name = one.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or ":" in name:
            raise errors.Invalid("le paquet de santé contient un nom de fichier dangereux", at=_AT)
        if one.flag_bits & 0x1:
            raise errors.Invalid("le paquet de santé est protégé par un mot de passe", at=_AT)
        if stat.S_ISLNK(one.external_attr >> 16):
            raise errors.Invalid("le paquet de santé contient un lien", at=_AT)
    return archive


def _metadata(names: Sequence[str]) -> str | None:
    """Whatever folder it is in: `IHE_XDM/SUBSET01`, another subset, a folder around."""
    found = sorted(name for name in names if name.replace("\\", "/").upper().split("/")[-1] == "METADATA.XML")
    return found[0] if found else None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """At most what the directory announced: a directory that lies about sizes gains nothing."""
    try:
        with archive.open(entry) as stream:
            content = stream.read(entry.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError):
        raise errors.Invalid("le paquet de santé est abîmé : un fichier ne s'ouvre pas", at=_AT) from None
    if len(content) > entry.file_size:
        raise errors.Invalid("le paquet de santé ment sur la taille d'un fichier", at=_AT)
    return content


def _document(
    archive: zipfile.ZipFile, names: dict[str, zipfile.ZipInfo], folder: str, entry: xds.DocumentEntry
) -> Document:
    path = posixpath.normpath(posixpath.join(folder, entry.uri.replace("\\", "/").upper()))
    if not entry.uri or path not in names:
        raise errors.Invalid("le paquet de santé n'a pas le document que METADATA.XML annonce", at="METADATA.XML")
    raw = _content(archive, names[path])
    if entry.size != len(raw):
        raise errors.Invalid("la taille du document n'est pas celle que METADATA.XML annonce", at=entry.uri)
    if entry.hash != xds.digest(raw):
        raise errors.Invalid("l'empreinte du document n'est pas celle que METADATA.XML annonce", at=entry.uri)
    content = cda.read(raw, max_bytes=MAX_UNPACKED, at=entry.uri)
    if entry.unique_id and content.header.id and entry.unique_id != xds.unique_id(content.header.id):
        raise errors.Invalid("l'identifiant du document n'est pas celui que METADATA.XML annonce", at=entry.uri)
    return Document(raw, entry, content)


def _patients(submission: xds.Submission) -> set[str]:
    """By number alone: samples and senders differ in the rest of the CX."""
    ids = (submission.set.patient_id, *(one.patient_id for one in submission.entries))
    return {one.partition("^")[0] for one in ids if one}


def _index(sender: Sender) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">'
        '\r\n<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="fr">'
        "<head><title>Documents de santé</title></head>\r\n"
        f"<body><p>Emetteur : {escape(sender.organization)}</p>\r\n"
        '<p>Voir le fichier <a href="README.TXT">README.TXT</a></p></body></html>\r\n'
    ).encode()


def _readme(sender: Sender, names: Sequence[str]) -> bytes:
    lines = [
        "Emetteur :",
        "=============",
        f"    . Nom : {sender.name}",
        f"    . Organisme : {sender.organization}",
        f"    . Adresse : {sender.address}",
        f"    . Téléphone : {sender.phone}",
        "",
        "Application de l'emetteur :",
        "=========================",
        f"    . Nom : {sender.software}",
        f"    . Version : {sender.version}",
        f"    . Editeur : {sender.editor}",
        "",
        "Instructions :",
        "=============",
        "    . Ouvrez ces documents avec votre logiciel de professionnel de santé.",
        "",
        "Arborescence :",
        "============",
        "    README.TXT",
        "    INDEX.HTM",
        "    IHE_XDM",
        "        SUBSET01",
        "            METADATA.XML",
        *(f"            {name}" for name in names),
        "",
    ]
    return "\r\n".join(lines).encode()
