"""What does a SMART scope cover?

SMART App Launch 2, "scopes and launch context": `user/Observation.rs`, the older `user/Observation.read`, and scopes
with a query, `user/Observation.rs?category=…`, which cover of that type what the query finds. A query restricts reading
alone; what it means is in `limits.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# `patient/…` means the patient in whose context a software was opened: without one it covers nothing.
_SCOPE = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]+|\*)\.(\*|c?r?u?d?s?|read|write)(?:\?([!-~]{1,500}))?")
OF_PATIENT = "patient/"
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
READING = "rs"


class Limit(NamedTuple):
    """Of a type only what has, in one of the `ways`, one of the equality keys (`index.py`) of each of its members."""

    type: str
    ways: tuple[tuple[tuple[int, ...], ...], ...]


class Scope(NamedTuple):
    """`letters` of `cruds`; `type` is `*` for all; `query` is "" for no restriction."""

    level: str
    type: str
    letters: str
    query: str

    def __str__(self) -> str:
        return f"{self.level}/{self.type}.{self.letters}" + (f"?{self.query}" if self.query else "")


def read(text: str) -> Scope | None:
    """The scope, None for what is none, or covers nothing."""
    found = _SCOPE.fullmatch(text)
    if found is None:
        return None
    level, type, actions, query = found[1], found[2], found[3], found[4] or ""
    letters = _V1.get(actions, actions)
    if query:
        letters = "" if type == "*" else "".join(one for one in letters if one in READING)
    return Scope(level, type, letters, query) if letters else None


def covers(text: str, action: str, type: str, *, has_patient: bool) -> bool:
    """Does it cover the action (a letter of `cruds`) on some resources of the type?"""
    scope = read(text)
    if scope is None or (scope.level == "patient" and not has_patient):
        return False
    return scope.type in ("*", type) and action in scope.letters


def narrowed(text: str, allowed: Iterable[str]) -> list[str]:
    """The scopes that `text` comes to for whoever has `allowed`: what it and each of them cover, in v2 letters.

    Where both have a query, both must hold.
    """
    asked, found = read(text), []
    for one in allowed if asked else ():
        held = read(one)
        if asked and held and asked.level == held.level and (asked.type == held.type or "*" in (asked.type, held.type)):
            type = held.type if asked.type == "*" else asked.type
            letters = "".join(letter for letter in asked.letters if letter in held.letters)
            query = "&".join(dict.fromkeys(one for one in (asked.query, held.query) if one))
            both = Scope(asked.level, type, letters, query)
            if letters and read(str(both)):
                found.append(str(both))
    return found
