"""Where does a reference point, and may it?

https://hl7.org/fhir/R4/references.html: relative (`Patient/1`), absolute, `urn:uuid:` inside a Bundle, `#id` of a
contained resource, and, only in a transaction or batch, conditional (`Patient?identifier=…`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

ID = r"[A-Za-z0-9\-.]{1,64}"
_VERSION = rf"(?:/_history/{ID})?"
_RELATIVE = re.compile(rf"([A-Z][A-Za-z]+)/{ID}{_VERSION}(?:#[^\s]*)?")
_REST = re.compile(rf"https?://[^\s?#]+/([A-Z][A-Za-z]+)/{ID}{_VERSION}(?:#[^\s]*)?")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?[^\s]+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s]+")
_LOCAL = re.compile(f"#(?:{ID})?")
_URN = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|urn:oid:[0-2](?:\.\d+)+")


def usual(targets: Collection[str]) -> Callable[[str], object]:
    """A test in one C call for the usual forms to one of the targets; what it does not take may still be legal."""
    names = "|".join(sorted(targets))
    return re.compile(rf"(?:https?://[^\s?#]+/)?(?:{names})/{ID}{_VERSION}|{_URN.pattern}").fullmatch


def usual_to_any(types: Collection[str]) -> Callable[[str], object]:
    """As `usual`, when every resource type may be the target."""
    form = re.compile(rf"(?:https?://[^\s?#]+/)?([A-Z][A-Za-z]+)/{ID}{_VERSION}|{_URN.pattern}").fullmatch

    def check(reference: str) -> object:
        found = form(reference)
        return found and (found[1] is None or found[1] in types)

    return check


def is_local(reference: str) -> bool:
    """Whether the target is a contained resource, or (`#` alone) the one that contains."""
    return reference.startswith("#")


def is_conditional(reference: str) -> bool:
    """Whether the reference is a search that a transaction has to resolve."""
    return _CONDITIONAL.fullmatch(reference) is not None


def is_legal(reference: str) -> bool:
    """Whether the syntax is one of the four forms that may be stored (not the conditional one)."""
    if reference.startswith(("urn:uuid:", "urn:oid:")):
        return _URN.fullmatch(reference) is not None
    return any(form.fullmatch(reference) for form in (_RELATIVE, _ABSOLUTE, _LOCAL))


def target_type(reference: str, types: Collection[str]) -> str | None:
    """The resource type that a reference names, None when its form does not tell (`#x`, `urn:…`, other URLs)."""
    if found := _RELATIVE.fullmatch(reference) or _CONDITIONAL.fullmatch(reference):
        return found[1]
    found = _REST.fullmatch(reference)
    return found[1] if found and found[1] in types else None


def agrees(value: dict[str, Any], types: Collection[str]) -> bool:
    """Whether Reference.type says the same as Reference.reference, when both are there."""
    if "type" not in value or "reference" not in value:
        return True
    return target_type(value["reference"], types) in (None, value["type"])
