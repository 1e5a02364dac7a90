"""What does a reference lead to, and what else does FHIR add to FHIRPath?

https://hl7.org/fhir/R4/fhirpath.html#functions (resolve, htmlChecks), and the keys of SQL on FHIR
(https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html): getResourceKey, getReferenceKey.
"""

from __future__ import annotations

import re
from typing import Any

from fhir_server.fhirpath.nodes import Items, Node
from fhir_server.fhirpath.running import Run, Scope, Step
from fhir_server.r4 import narrative

_LITERAL = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")


def resolve(run: Run, focus: Items) -> Items:
    """The resources that references (or their text) name: contained, in the same Bundle, or given from outside."""
    found: Items = []
    for one in focus:
        text = _reference(one)
        resource = _named(run, text) if text else None
        if resource is not None:
            found.append(run.model.root(resource))
    return found


def html_checks(run: Run, focus: Items) -> Items:
    """Whether a narrative keeps to what FHIR allows; nothing for no narrative."""
    return [not narrative.problem(one.value) for one in focus if isinstance(one, Node) and isinstance(one.value, str)]


def resource_key(focus: Items) -> Items:
    """The key of a resource in tables: its id."""
    return [
        str(one.value["id"])
        for one in focus
        if isinstance(one, Node) and isinstance(one.value, dict) and "resourceType" in one.value and "id" in one.value
    ]


def reference_key(type: str) -> Step:
    """The key of the resource that a Reference names; with `type`, nothing when it is of another one."""

    def go(scope: Scope, focus: Items) -> Items:
        texts = [_reference(one) for one in focus]
        matches = [_LITERAL.fullmatch(text) for text in texts if text]
        return [one[2] for one in matches if one and type.rpartition(".")[2] in ("", one[1])]

    return go


def _reference(one: Any) -> str:
    if isinstance(one, str):
        return one
    value = one.value if isinstance(one, Node) else None
    if isinstance(value, dict):
        value = value.get("reference")
    return value if isinstance(value, str) else ""


def _named(run: Run, text: str) -> dict[str, Any] | None:
    root = run.root.value
    if text.startswith("#"):
        if text == "#":
            found: dict[str, Any] | None = root
            return found
        inside = root.get("contained")
        return next((one for one in inside or () if isinstance(one, dict) and one.get("id") == text[1:]), None)
    if root.get("resourceType") == "Bundle":
        for entry in root.get("entry", ()):
            url = entry.get("fullUrl") if isinstance(entry, dict) else None
            if isinstance(url, str) and (url == text or url.endswith("/" + text)) and "resource" in entry:
                resource: dict[str, Any] = entry["resource"]
                return resource
    return run.resolve(text) if run.resolve else None
