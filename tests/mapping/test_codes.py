"""Are the code tables whole, and is an unknown code never turned into another?"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from mapping import codes, systems, tolerance

TABLES = sorted(one.name.removesuffix(".csv") for one in resources.files("mapping").joinpath("tables").iterdir())


@pytest.mark.parametrize("table", TABLES)
def test_every_line_of_a_table_is_complete_and_said_once(table: str) -> None:
    rows = codes.rows(table)
    keys = [(row.source_system, row.source_code) for row in rows]
    assert rows
    assert len(keys) == len(set(keys))
    assert all(row.source_code == row.source_code.strip() for row in rows)
    assert all(row.target_code or row.target_system or table == "charset" for row in rows)


def test_a_code_is_found_with_and_without_its_system() -> None:
    row = codes.find("document_class", "11502-2", systems.LOINC)
    assert row
    assert (row.target_code, row.note) == ("10", "Compte rendu")
    assert codes.find("document_class", "11502-2") == row
    assert codes.find("document_class", "11502-2", "urn:other") is None


def test_an_unknown_code_is_refused_by_name_of_its_table() -> None:
    with pytest.raises(codes.Unmapped, match="gender"):
        codes.translate("gender", "?")


def test_every_tolerance_in_the_code_has_its_text() -> None:
    mapping = Path(str(resources.files("mapping")))
    used = {code for path in mapping.glob("*.py") for code in re.findall(r'\bnote\("([a-z0-9-]+)"', path.read_text())}
    known = {row.source_code for row in codes.rows("tolerance")}
    assert used == known
    assert tolerance.note("order-missing", "ORC-1").text.startswith("Segment ORC absent")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("LN", "http://loinc.org"),
        ("2.16.840.1.113883.6.1", "http://loinc.org"),
        ("1.2.3.4", "urn:oid:1.2.3.4"),
        ("HL70357", "http://terminology.hl7.org/CodeSystem/v2-0357"),
        ("", ""),
        ("maison", f"{systems.HUB}/NamingSystem/code/maison"),
    ],
)
def test_a_code_system_has_one_url(name: str, url: str) -> None:
    assert systems.of_code(name) == url


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1.2.250.1", True),
        ("2.16", True),
        ("1", False),
        ("3.1", False),
        ("1.02", False),
        ("1.2.A7", False),
        ("", False),
        ("1..2", False),
        ("1.²", False),
    ],
)
def test_an_oid_is_recognised(text: str, answer: bool) -> None:
    assert systems.is_oid(text) is answer
