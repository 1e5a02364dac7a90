"""Is this a code of a system that is a grammar rather than a list?

Media types (RFC 6838) and languages (RFC 5646): what is well-formed counts as a code; whether it is registered, nobody
here knows. Units of UCUM are put together by rule, so that each of them can be told (`units.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fhir_server.terminology import units

LANGUAGES = "urn:ietf:bcp:47"
MEDIA_TYPES = ("urn:ietf:bcp:13", "http://hl7.org/fhir/ValueSet/mimetypes")
UCUM = "http://unitsofmeasure.org"
_LONGEST = 200

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}(?:\s*;\s*[\w.-]+=[^;]+){0,8}")
_LANGUAGE = re.compile(
    r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|\d{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|\d[A-Za-z0-9]{3})){0,8}(?:-[A-WYZa-wyz0-9](?:-[A-Za-z0-9]{2,8}){1,8}){0,8}"
    r"(?:-x(?:-[A-Za-z0-9]{1,8}){1,8})?",
    re.ASCII,
)


def is_well_formed(system: str, code: str) -> bool | None:
    """Whether the code follows the grammar of the system; None for a system that is none of these."""
    test = _TESTS.get(system)
    return None if test is None else test(code) if len(code) <= _LONGEST else False


def _is_media_type(code: str) -> bool:
    return _MEDIA_TYPE.fullmatch(code) is not None


def _is_language(code: str) -> bool:
    return _LANGUAGE.fullmatch(code) is not None


_TESTS: dict[str, Callable[[str], bool | None]] = {
    **dict.fromkeys(MEDIA_TYPES, _is_media_type),
    LANGUAGES: _is_language,
    UCUM: units.is_unit,
}
