"""Where are the code systems, value sets and concept maps of the R4 package, and how is one of them had quickly?

The 2,500 definitions are ten megabytes of JSON. They are packed once into one file beside the compiled definitions:
each resource compressed by itself, then a table of where each begins. A process holds the table and reads a resource
when somebody asks for it.
"""

from __future__ import annotations

import tarfile
import zlib
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.r4 import load

Resource = dict[str, Any]
KINDS = ("CodeSystem", "ValueSet", "ConceptMap")
_MAGIC = b"spico-terms-1\n"
_LENGTH = 8  # bytes at the end that say how long the table is
# Nobody asks a terminology service for these.
_LEFT_OUT = frozenset(("text", "meta", "contact", "extension"))


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a resource is in the file."""

    version: str
    start: int
    size: int


Table = dict[str, dict[str, Entry]]  # kind -> canonical address -> where


class Package:
    """The terminology of R4 in its packed file."""

    def __init__(self, data: bytes | None, path: Path | None, table: Table) -> None:
        self._data = data
        self._path = path
        self.table = table

    def find(self, kind: str, url: str, version: str = "") -> Resource | None:
        """The definition with this canonical address; with a version, only that one."""
        entry = self.table[kind].get(url)
        if entry is None or (version and version != entry.version):
            return None
        return self._read(entry)

    def maps(self) -> list[str]:
        """The addresses of all concept maps."""
        return sorted(self.table["ConceptMap"])

    def _read(self, entry: Entry) -> Resource:
        if self._data is not None:
            packed = self._data[entry.start : entry.start + entry.size]
        else:
            assert self._path is not None
            with self._path.open("rb") as file:
                file.seek(entry.start)
                packed = file.read(entry.size)
        found: Resource = msgspec.json.decode(zlib.decompress(packed))
        return found


@lru_cache(maxsize=1)
def package() -> Package:
    """The package of this installation: from its file, else packed in a few seconds (call it off the event loop)."""
    return opened(load.user_cache())


def opened(folder: Path) -> Package:
    """The package in `folder`; a file that is damaged or cannot be written costs time only."""
    path = folder / f"terms-{_key()}.bin"
    with suppress(OSError, ValueError, msgspec.DecodeError):
        return Package(None, path, _table(path))
    data, table = _pack()
    try:
        load.write(path, data)
    except OSError:
        return Package(data, None, table)
    return Package(None, path, table)


def _key() -> str:
    digest = blake2b(load.archive_path().read_bytes(), digest_size=12)
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _table(path: Path) -> Table:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("not a file of ours")
        end = file.seek(-_LENGTH, 2)
        length = int.from_bytes(file.read(_LENGTH), "big")
        file.seek(end - length)
        return msgspec.msgpack.decode(file.read(length), type=Table)


def _pack() -> tuple[bytes, Table]:
    data = bytearray(_MAGIC)
    table: Table = {kind: {} for kind in KINDS}
    with tarfile.open(load.archive_path()) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            kind = name.partition("-")[0]
            if folder != "package" or kind not in table or not (content := archive.extractfile(member)):
                continue
            resource = msgspec.json.decode(content.read())
            kept = {name: value for name, value in resource.items() if name not in _LEFT_OUT}
            packed = zlib.compress(msgspec.json.encode(kept))
            table[kind][resource["url"]] = Entry(resource.get("version", ""), len(data), len(packed))
            data += packed
    listed = msgspec.msgpack.encode(table)
    return bytes(data) + listed + len(listed).to_bytes(_LENGTH, "big"), table
