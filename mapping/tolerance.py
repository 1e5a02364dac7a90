"""Which deviation was accepted, and where?

Accepting is good, accepting without counting is not: each tolerance is a line of `tables/tolerance.csv` with the text
for the channel's page and the sample that forced it. Callers count by `code`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapping import codes


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A deviation that was read all the same: stable code, place as in ERR-2 (`OBX[2]-5`), French text."""

    code: str
    at: str
    text: str


def note(code: str, at: str = "") -> Tolerance:
    """A tolerance with its text from the table. Raises codes.Unmapped for a code without a line."""
    return Tolerance(code, at, codes.translate("tolerance", code))
