"""What are the professions of the national register (TRE-G15) called? `professions.csv`, one line for each code."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Names:
    """How a man and a woman of the profession are called."""

    man: str
    woman: str

    @property
    def both(self) -> str:
        """`infirmier, infirmière`; one word when they are the same."""
        return self.man if self.man == self.woman else f"{self.man}, {self.woman}"


@cache
def all() -> Mapping[str, Names]:
    """Every profession, by code."""
    text = resources.files("hub").joinpath("professions.csv").read_text("utf-8")
    return {row["code"]: Names(row["man"], row["woman"]) for row in csv.DictReader(text.splitlines())}
