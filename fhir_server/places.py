"""Which places are near, and where do they lie on the map?

`Location?near=latitude|longitude|distance|units` (https://hl7.org/fhir/R4/location.html#search). Without a distance 10
km are meant, without units kilometres: R4 leaves both to the server. Units are UCUM codes of length, `kms` and `mi` are
taken too. Distances follow the great circle of a spherical earth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from fhir_server import amounts, ucum
from fhir_server.conditions import Box, Near

DEFAULT_KILOMETRES = "10"
EXPECTED = "attendu latitude|longitude, puis au choix |distance|unité (km par défaut)"
_METRES_OF_A_DEGREE = 111_195.0797
_HALFWAY = 20_015_115.0  # no place is further away
_ALIASES = {"": "km", "kms": "km", "mi": "[mi_i]"}
_DEGREE = 10**9
_MARGIN = 1e-6  # degrees: boxes may be too large, never too small


def near(param: int, pieces: Sequence[str]) -> Near:
    """The condition for a value split at its bars. Raises ValueError with the reason in French."""
    if not 2 <= len(pieces) <= 4:
        raise ValueError(EXPECTED)
    latitude, longitude = _degrees(pieces[0], 90), _degrees(pieces[1], 180)
    distance, units = (*pieces[2:], "", "")[:2]
    metres = _metres(distance or DEFAULT_KILOMETRES, units)
    return Near(param, latitude, longitude, metres, _boxes(latitude, longitude, metres))


def _number(text: str) -> Decimal:
    try:
        return amounts.written(text)
    except (ValueError, OverflowError):
        raise ValueError(EXPECTED) from None


def _degrees(text: str, most: int) -> float:
    number = _number(text)
    if abs(number) > most:
        raise ValueError(f"une latitude va de -90 à 90, une longitude de -180 à 180 ({text} n'y est pas)")
    return float(number)


def _metres(distance: str, units: str) -> float:
    unit = ucum.unit(_ALIASES.get(units, units))
    if unit is None or unit.base != "m1":
        raise ValueError(f"« {units[:20]} » n'est pas une unité de longueur ; par exemple km, m ou [mi_i]")
    number = _number(distance)
    if number < 0:
        raise ValueError("une distance n'est pas négative")
    return float(min(unit.canonical(Fraction(number)), Fraction(_HALFWAY)))


def _boxes(latitude: float, longitude: float, metres: float) -> tuple[Box, ...]:
    """One box, two where it crosses the line of the date; all around the earth when it holds a pole."""
    reach = metres / _METRES_OF_A_DEGREE + _MARGIN
    south, north = latitude - reach, latitude + reach
    if south <= -90 or north >= 90:
        return (_box(max(south, -90.0), min(north, 90.0), -180.0, 180.0),)
    aside = (
        math.degrees(math.asin(min(1.0, math.sin(math.radians(reach)) / math.cos(math.radians(latitude))))) + _MARGIN
    )
    west, east = longitude - aside, longitude + aside
    if west < -180:
        return _box(south, north, -180.0, east), _box(south, north, west + 360, 180.0)
    if east > 180:
        return _box(south, north, west, 180.0), _box(south, north, -180.0, east - 360)
    return (_box(south, north, west, east),)


def _box(south: float, north: float, west: float, east: float) -> Box:
    return (
        math.floor(south * _DEGREE),
        math.ceil(north * _DEGREE),
        math.floor(west * _DEGREE),
        math.ceil(east * _DEGREE),
    )
