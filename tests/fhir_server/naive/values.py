"""Which values does a search parameter have in a resource? By its own expression, as the R4 package states it.

The expression is evaluated with FHIRPath on the whole resource: nothing of the compiled paths of `r4/extract.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from fhir_server.fhirpath import evaluate
from fhir_server.fhirpath.nodes import Node
from fhir_server.r4 import load

Resource = dict[str, Any]


class Value(NamedTuple):
    """An element that a parameter points to: its FHIR type, its JSON, and the name of its element."""

    type: str
    json: Any
    element: str


@dataclass(frozen=True)
class Parameter:
    """A SearchParameter as it is published. `components`: definition and expression of each part of a composite."""

    code: str
    kind: str
    expression: str
    targets: tuple[str, ...]
    components: tuple[tuple[str, str], ...]


def _raw(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    wanted = ("id", "url", "code", "type", "base", "expression", "target", "component")
    return [{name: one[name] for name in wanted if name in one} for one in found["SearchParameter"]]


def _meant(expression: str) -> str:
    """As it was meant: `as` takes one item only, and a type that FHIRPath itself has stands for FHIR's."""
    expression = re.sub(r"([\w.]+) as (\w+)", r"\1.ofType(\2)", expression).replace(".as(", ".ofType(")
    return expression.replace("(DateTime)", "(dateTime)")


@cache
def published() -> tuple[dict[tuple[str, str], Parameter], dict[str, Parameter]]:
    """All parameters: by base type and code, and by address."""
    by_name, by_url = {}, {}
    for one in load.kept("naive", list[dict[str, Any]], _raw, None):
        if one["id"].startswith("example"):
            continue
        parts = tuple((part["definition"], _meant(part["expression"])) for part in one.get("component", ()))
        if one["code"] == "code-value-string":
            # R4 contradicts itself: the part's expression is narrower than its definition, which reads the text of a
            # CodeableConcept too. The server takes the definition.
            parts = (parts[0], (parts[1][0], "value.ofType(string) | value.ofType(CodeableConcept).text"))
        made = Parameter(
            one["code"], one["type"], _meant(one.get("expression", "")), tuple(one.get("target", ())), parts
        )
        by_url[one["url"]] = made
        by_name.update({(base, one["code"]): made for base in one.get("base", ())})
    return by_name, by_url


def _raw_compartments(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{name: one[name] for name in ("id", "code", "resource")} for one in found["CompartmentDefinition"]]


@cache
def compartments() -> dict[tuple[str, str], tuple[str, ...]]:
    """The parameters that put a type into a compartment, by compartment and type."""
    found = {}
    for one in load.kept("naive-compartments", list[dict[str, Any]], _raw_compartments, None):
        if "example" not in one["id"]:
            found.update({(one["code"], each["code"]): tuple(each.get("param", ())) for each in one["resource"]})
    return found


def parameter(type: str, code: str) -> Parameter | None:
    """The parameter of a type, those of every resource included."""
    known = published()[0]
    return next((known[base, code] for base in (type, "DomainResource", "Resource") if (base, code) in known), None)


def component(url: str) -> Parameter:
    """The parameter that is a part of a composite."""
    return published()[1][url]


def _stub(reference: str) -> Resource | None:
    """What a reference resolves to, as far as its text tells: `resolve() is Patient` needs no more."""
    pieces = reference.partition("/_history/")[0].split("/")
    if len(pieces) < 2 or not pieces[-2][:1].isupper():
        return None
    return {"resourceType": pieces[-2], "id": pieces[-1]}


class Reader:
    """Reads values, and remembers what it read: resources are told apart by being the same object."""

    def __init__(self, definitions: load.Definitions) -> None:
        self._model = evaluate.model(definitions)
        self._known: dict[tuple[int, str], list[Any]] = {}
        self._kept: list[Resource] = []  # so that no other object takes the place of one that is remembered

    def values(self, resource: Resource, expression: str) -> list[Value]:
        """What the expression gives."""
        return [_value(one) for one in self._nodes(resource, expression)]

    def composite(self, resource: Resource, found: Parameter) -> list[list[list[Value]]]:
        """The elements of a composite, of each the values of its parts."""
        name = (id(resource), found.code)
        if name not in self._known:
            rows = []
            for element in self._nodes(resource, found.expression):
                rows.append([self._from(resource, element, expression) for _, expression in found.components])
            self._known[name] = rows
        return self._known[name]

    def _nodes(self, resource: Resource, expression: str) -> list[Any]:
        name = (id(resource), expression)
        if name not in self._known:
            self._kept.append(resource)
            root = self._model.root(resource)
            run = evaluate.run(root, self._model, resolve=_stub)
            self._known[name] = evaluate.compile(expression).nodes(root, run)
        return self._known[name]

    def _from(self, resource: Resource, element: Any, expression: str) -> list[Value]:
        run = evaluate.run(self._model.root(resource), self._model, resolve=_stub)
        return [_value(one) for one in evaluate.compile(expression).nodes(element, run)]


def _value(item: Any) -> Value:
    if isinstance(item, Node):
        place = f"{item.key}"
        return Value(item.type, item.value, place)
    return Value("boolean" if isinstance(item, bool) else type(item).__name__, item, "")
