"""Is this JSON value a legal FHIR date, code, decimal, …?

https://hl7.org/fhir/R4/datatypes.html#primitive. Each check is one C call where that is possible, so it may raise
TypeError when the JSON type is wrong: `holds` is the safe form. Dates are checked against the calendar, not only by
shape: 30 February does not pass.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from fhir_server.r4 import narrative

# Numbers outside are legal JSON, but no measure of anything, and arithmetic on them can take hours.
MAX_EXPONENT = 300
MAX_STRING = 1_048_576  # characters: https://hl7.org/fhir/R4/datatypes.html#string


class Primitive(NamedTuple):
    """`accepts` is truthy for a legal value; `json` says which JSON type it has, `wanted` what a person reads."""

    accepts: Callable[[Any], object]
    json: tuple[type, ...]
    wanted: str


def holds(accepts: Callable[[Any], object], value: Any) -> bool:
    """Whether `accepts` takes the value, False too when it has another JSON type."""
    try:
        return bool(accepts(value))
    except TypeError:
        return False


def _boolean(value: Any) -> bool:
    return value is True or value is False


def _integer(low: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value < 2**31


def _decimal(value: Any) -> bool:
    if type(value) is Decimal:
        return value.is_finite() and abs(value.adjusted()) <= MAX_EXPONENT
    return type(value) is int and abs(value) < 10**MAX_EXPONENT


def _base64(value: Any) -> bool:
    """Base64 with its padding; white space is allowed. binascii is 50 times faster than a pattern on a document."""
    if not value:
        return False
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        packed = "".join(value.split())
        return packed != value and _base64(packed)
    return True


# No control characters: https://hl7.org/fhir/R4/datatypes.html#string. The rest of the class cannot stand in XML.
_TEXT = "[^\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
_WORD = r"[^\s\x00-\x1f\ud800-\udfff\ufffe\uffff]+"
_YEAR = r"(?!0000)\d{4}"
_LEAP = r"(?!0000)(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DAY = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    rf"|02-(?:0[1-9]|1\d|2[0-8]))|{_LEAP}-02-29)"
)
_PARTIAL = rf"{_YEAR}(?:-(?:0[1-9]|1[0-2]))?"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_ZONE = r"(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"


def _matches(pattern: str, flags: re.RegexFlag = re.ASCII) -> Callable[[Any], object]:
    return re.compile(pattern, flags).fullmatch


# Unicode here: a string of non-breaking spaces says nothing either.
_string = _matches(rf"(?=\s*\S){_TEXT}{{1,{MAX_STRING}}}", re.UNICODE)
_uri = _matches(_WORD, re.UNICODE)
_STR = (str,)
_INT = (int,)

PRIMITIVES: dict[str, Primitive] = {
    "base64Binary": Primitive(_base64, _STR, "un contenu en base64 complet"),
    "boolean": Primitive(_boolean, (bool,), "true ou false, sans guillemets"),
    "canonical": Primitive(_uri, _STR, "une URL canonique sans espace"),
    "code": Primitive(
        _matches(rf"{_WORD}(?: {_WORD})*", re.UNICODE),
        _STR,
        "un code sans espace au début, à la fin ni en double",
    ),
    "date": Primitive(_matches(f"{_DAY}|{_PARTIAL}"), _STR, "une date du calendrier AAAA, AAAA-MM ou AAAA-MM-JJ"),
    "dateTime": Primitive(
        _matches(f"{_DAY}(?:T{_TIME}{_ZONE})?|{_PARTIAL}"),
        _STR,
        "une date du calendrier, ou date et heure avec secondes et fuseau (2026-01-31T08:05:00+01:00)",
    ),
    "decimal": Primitive(_decimal, (int, Decimal), "un nombre exact, sans guillemets"),
    "id": Primitive(_matches(r"[A-Za-z0-9\-.]{1,64}"), _STR, "de 1 à 64 lettres sans accent, chiffres, « - » ou « . »"),
    "instant": Primitive(
        _matches(f"{_DAY}T{_TIME}{_ZONE}"),
        _STR,
        "une date et heure avec secondes et fuseau (2026-01-31T08:05:00+01:00)",
    ),
    "integer": Primitive(_integer(-(2**31)), _INT, "un nombre entier sur 32 bits"),
    "markdown": Primitive(_string, _STR, "un texte non vide, sans caractère de contrôle"),
    "oid": Primitive(_matches(r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+"), _STR, "un OID de la forme urn:oid:1.2.3"),
    "positiveInt": Primitive(_integer(1), _INT, "un nombre entier à partir de 1"),
    "string": Primitive(_string, _STR, "un texte non vide, sans caractère de contrôle"),
    "time": Primitive(_matches(_TIME), _STR, "une heure HH:MM:SS"),
    "unsignedInt": Primitive(_integer(0), _INT, "un nombre entier à partir de 0"),
    "uri": Primitive(_uri, _STR, "une URI sans espace"),
    "url": Primitive(_uri, _STR, "une URL sans espace"),
    "uuid": Primitive(
        _matches(r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), _STR, "un UUID en minuscules, urn:uuid:…"
    ),
    "xhtml": Primitive(narrative.is_safe, _STR, "un fragment XHTML : un <div> autorisé et non vide"),
}
