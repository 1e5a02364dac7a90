"""Which national number did somebody type, and where would the directory hold it?

RPPS (11 digits), ADELI (9 characters), FINESS (9) and SIRET (14), with or without the digit that the national
identifier puts in front (IDNPS: 8 RPPS, 0 ADELI; IDNST: 1 FINESS, 3 SIRET). Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mapping import systems

_PROFESSIONALS, _STRUCTURES = f"urn:oid:{systems.PROFESSIONALS}", f"urn:oid:{systems.STRUCTURES}"
_NINE = re.compile(r"\A(?:\d{2}|2[AB])\d{7}\Z")  # ADELI, FINESS: a département, 2A and 2B in Corsica, then digits


@dataclass(frozen=True, slots=True)
class Number:
    """A number as typed, without blanks: the `system|value` under which a person or a structure may hold it."""

    text: str
    person: tuple[str, ...] = ()
    structure: tuple[str, ...] = ()


def read(text: str) -> Number | None:
    """The number, or None when it has the form of none."""
    given = re.sub(r"[\s.-]", "", text).upper()
    if given.isascii() and given.isdigit():
        if len(given) == 11:
            return Number(given, _rpps(given))
        if len(given) == 12 and given[0] == "8":
            return Number(given, _rpps(given[1:]))
        if len(given) == 14:
            return Number(given, structure=_siret(given))
    if _NINE.match(given):
        return Number(given, _adeli(given), finess(given))
    if len(given) == 10 and given[0] in "01" and _NINE.match(given[1:]):
        return Number(given, _adeli(given[1:])) if given[0] == "0" else Number(given, structure=finess(given[1:]))
    return None


def is_registration(number: str) -> bool:
    """Is it a national number (IDNPS) of the register, RPPS or ADELI, and not one that a structure gave?"""
    found = read(number)
    return found is not None and bool(found.person) and number[0] in "80" and len(number) in (10, 12)


def finess(number: str) -> tuple[str, ...]:
    """Where an Organization may hold a FINESS number."""
    return f"{systems.FINESS}|{number}", f"{_STRUCTURES}|1{number}"


def _rpps(number: str) -> tuple[str, ...]:
    return f"{systems.RPPS}|{number}", f"{_PROFESSIONALS}|8{number}"


def _adeli(number: str) -> tuple[str, ...]:
    return (f"{_PROFESSIONALS}|0{number}",)


def _siret(number: str) -> tuple[str, ...]:
    return f"{systems.SIRENE}|{number}", f"{_STRUCTURES}|3{number}"
