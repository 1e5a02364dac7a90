"""Under which identifier is this document known, and how is it found again?

Profile 2.1, TXA-12: `ext^^root^ISO` when the CDA id has an extension, else the root alone. FHIR: a root is
urn:ietf:rfc:3986|urn:oid:root; with an extension the root is the system. XDS writes `root^extension`; kept beside.
"""

from __future__ import annotations

import re
from typing import Any

from mapping import er7, systems
from mapping.cda_header import Id

_GLUED = re.compile(r"((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+)\.?([A-Za-z].*)", re.ASCII)


def read(value: er7.Repetition, *, local: str) -> Id | None:
    """The id of TXA-12 or TXA-13. Without any OID the root is `local`, a URI that names the sender.

    Official samples glue root and extension, with or without a dot (`1.2.250.…789.A71`, `1.2.250.…789A71`), where
    their CDA has them apart: cut at the first letter.
    """
    first, root = value.text(1, 1), value.text(3)
    if systems.is_oid(root) and first:
        return Id(root, first)
    if not first:
        return None
    if systems.is_oid(first):
        return Id(first)
    glued = _GLUED.fullmatch(first)
    return Id(glued[1], glued[2]) if glued and systems.is_oid(glued[1]) else Id(local, first)


def master(unique: Id) -> dict[str, Any]:
    """The DocumentReference.masterIdentifier."""
    system, value = system_and_value(unique)
    unique_id = {"coding": [{"system": systems.MHD_IDENTIFIER_TYPE, "code": "uniqueId"}]}
    return {"type": unique_id, "system": system, "value": value}


def further(unique: Id, set_id: Id | None) -> list[dict[str, Any]]:
    """DocumentReference.identifier: the XDS form of an id with an extension, and the set that chains the versions."""
    found = []
    if unique.extension and systems.is_oid(unique.root):
        found.append({"system": systems.URI, "value": f"urn:oid:{unique.root}^{unique.extension}"})
    if set_id:
        system, value = system_and_value(set_id)
        found.append({"system": system, "value": value})
    return found


def system_and_value(unique: Id) -> tuple[str, str]:
    """The FHIR system and value of an id."""
    if not unique.extension:
        return systems.URI, f"urn:oid:{unique.root}"
    return (f"urn:oid:{unique.root}" if systems.is_oid(unique.root) else unique.root), unique.extension
