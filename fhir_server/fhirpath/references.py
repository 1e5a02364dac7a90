"""What does a reference lead to, and what else does FHIR add to FHIRPath?

https://hl7.org/fhir/R4/fhirpath.html#functions (resolve, htmlChecks), and the keys of SQL on FHIR
(https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html): getResourceKey, getReferenceKey.
"""

from __future__ import annotations

import re
from typing import Any

from fhir_server.fhirpath.nodes import Items, Node
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Run, Scope, Step
from fhir_server.r4 import elements, narrative

_LITERAL = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")


def resolve(run: Run, focus: Items) -> Items:
    """The resources that references (or their text) name: contained, in the same Bundle, or given from outside."""
    found: Items = []
    for one in focus:
        text = _reference(one)
        node = _named(run, text) if text else None
        if node is not None:
            found.append(node)
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


def _named(run: Run, text: str) -> Node | None:
    """The node of a reference, with its place where it is inside the resource."""
    if text.startswith("#"):
        [container] = run.known["rootResource"]
        assert isinstance(container, Node)
        if text == "#":
            return container
        inside = run.model.child(container, "contained")
        return next((one for one in inside if isinstance(one.value, dict) and one.value.get("id") == text[1:]), None)
    if run.root.type == "Bundle":
        for entry in run.model.child(run.root, "entry"):
            url = entry.value.get("fullUrl") if isinstance(entry.value, dict) else None
            if isinstance(url, str) and (url == text or url.endswith("/" + text)):
                return next(iter(run.model.child(entry, "resource")), None)
    resource = run.resolve(text) if run.resolve else None
    return run.model.root(resource) if resource is not None else None


def conforms_to(run: Run, focus: Items, url: str | None) -> Items:
    """Whether a resource is of a type of R4. Raises Unusable for any other profile: they are not known here."""
    if len(focus) != 1 or url is None:
        return []
    name = url.partition("|")[0].removeprefix(elements.SPECIFICATION)
    if not url.startswith(elements.SPECIFICATION) or not run.model.is_known_type(f"FHIR.{name}"):
        raise Unusable(f"conformsTo : profil inconnu : {url[:100]}", code="not-supported")
    return [run.model.is_type(focus[0], f"FHIR.{name}")]
