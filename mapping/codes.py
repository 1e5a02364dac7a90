"""What does this code mean elsewhere? `tables/*.csv`, one file for each map, one line for each code.

Columns: source system, source code, target system, target code, note. A code without a line is never turned into
"other": `find` says None and the caller keeps the original and counts it, `translate` refuses.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common import errors


class Unmapped(errors.Invalid):
    """No line for this code in this table; add one, with its source."""

    code, fhir = "unmapped-code", "code-invalid"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    source_system: str
    source_code: str
    target_system: str
    target_code: str
    note: str


def find(table: str, code: str, system: str = "") -> Row | None:
    """The line for a code, None when there is none. Without a system the first line with that code counts."""
    return _table(table).get((system, code))


def translate(table: str, code: str, system: str = "") -> str:
    """The target code. Raises Unmapped."""
    row = find(table, code, system)
    if row is None:
        raise Unmapped(f"code inconnu dans la table « {table} »")
    return row.target_code


def rows(table: str) -> tuple[Row, ...]:
    """Every line, in the order of the file."""
    return _lines(table)


@cache
def _lines(table: str) -> tuple[Row, ...]:
    text = resources.files(__package__).joinpath("tables", f"{table}.csv").read_text(encoding="utf-8")
    return tuple(Row(*line) for line in list(csv.reader(text.splitlines()))[1:])


@cache
def _table(table: str) -> Mapping[tuple[str, str], Row]:
    found: dict[tuple[str, str], Row] = {}
    for row in _lines(table):
        found.setdefault((row.source_system, row.source_code), row)
        found.setdefault(("", row.source_code), row)
    return found
