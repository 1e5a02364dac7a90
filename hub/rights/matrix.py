"""Which kinds of data may a profession read and write? (ACC-12)

`matrix.csv` has a line for each profession (TRE-G15 code) and a column for each kind of data of
`fhir_server.rights.sharing.KINDS`; `*` is every other profession. It narrows what a circle of care shares; what was
sent to somebody by name they read whatever they are.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fhir_server.rights import sharing

OTHER = "*"
# Which masks of documents (JDV_J110) mean whom.
_CORPS = {"sante": sharing.HEALTH, "social": sharing.SOCIAL, "autre": sharing.THIRD}


@dataclass(frozen=True, slots=True)
class Line:
    """What a profession may do: bits of kinds to read and to write, and the masks that hide from it."""

    profession: str
    kinds: int
    writes: int
    corps: int

    def may(self, action: str, kind: str) -> bool:
        """`action` is `read` or `write`, `kind` one of `sharing.KINDS`."""
        return bool((self.writes if action == "write" else self.kinds) >> sharing.KINDS.index(kind) & 1)


@cache
def lines() -> dict[str, Line]:
    """The whole matrix, by profession."""
    text = resources.files("hub.rights").joinpath("matrix.csv").read_text("utf-8")
    return {row["profession"]: _line(row) for row in csv.DictReader(text.splitlines())}


def line(profession: str) -> Line:
    """The line of a profession, or that of all others."""
    return lines().get(profession) or lines()[OTHER]


def _line(row: dict[str, str]) -> Line:
    bits = {
        letter: sum(1 << n for n, kind in enumerate(sharing.KINDS) if kind and letter in row[kind]) for letter in "rw"
    }
    everyone = 1 << sharing.OF_EVERYONE
    return Line(row["profession"], bits["r"] | everyone, bits["w"], _CORPS[row["corps"]])
