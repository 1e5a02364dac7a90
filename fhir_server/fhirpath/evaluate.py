"""What does a FHIRPath expression give on a resource?

http://hl7.org/fhirpath/N1, https://hl7.org/fhir/R4/fhirpath.html. An expression is compiled into nested functions once
and kept; each evaluation has a budget of steps and of time, since a client may have written it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from common import clock
from fhir_server.fhirpath import functions, operators, references, running
from fhir_server.fhirpath import parse as parsing
from fhir_server.fhirpath.nodes import Item, Items, Model, Node
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Run, Scope, Step
from fhir_server.r4 import elements, load

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element stands: `holder[key]`, or `holder[key][index]` for one of a list; the root has no holder.

    What stands beside a primitive is at `holder["_" + key]`, with the same index.
    """

    holder: Resource | None
    key: str
    index: int | None


class Expression:
    """A compiled expression. It may serve many evaluations, one after the other or at the same time."""

    __slots__ = ("_step", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._step = _compiled(parsing.parse(text))

    def nodes(self, focus: Item | Items, run: Run, *, index: int | None = None) -> Items:
        """The items it gives on a focus, `index` being `$index`. Raises Unusable."""
        items = focus if isinstance(focus, list) else [focus]
        try:
            return self._step(Scope(run, items, index), items)
        except RecursionError:
            raise Unusable("expression trop profonde", code="too-costly") from None


@lru_cache(maxsize=2048)
def compile(expression: str) -> Expression:
    """The compiled form of an expression, kept for the next time. Raises Unusable when it cannot be read."""
    return Expression(expression)


def model(definitions: load.Definitions) -> Model:
    """The elements of R4 for FHIRPath, made once for each set of definitions."""
    return _model(definitions.shapes)


@lru_cache(maxsize=8)
def _model(shapes: elements.Shapes) -> Model:
    return Model(shapes.tables)


def run(
    root: Node,
    model: Model,
    *,
    now: datetime | None = None,
    variables: Mapping[str, Any] | None = None,
    resolve: Callable[[str], Resource | None] | None = None,
    is_trusted: bool = False,
    budget: running.Budget | None = None,
) -> Run:
    """What evaluations on one resource share: see `evaluate` for the meaning of the options, `budget` for several.

    `is_trusted`: the expressions come from the specification, not from a client, so that their regular expressions
    need no bound.
    """
    known: dict[str, Items] = {"context": [root], "resource": [root], "rootResource": [root]}
    for name, value in (variables or {}).items():
        known[name] = value if isinstance(value, list) else [value]
    return Run(model, root, known, now=now or clock.system(), resolve=resolve, is_trusted=is_trusted, budget=budget)


def evaluate(
    expression: str,
    resource: Resource,
    definitions: load.Definitions,
    *,
    now: datetime | None = None,
    variables: Mapping[str, Any] | None = None,
    resolve: Callable[[str], Resource | None] | None = None,
) -> list[Any]:
    """The collection that the expression gives on a resource, as plain values.

    Elements are their JSON (dict, str, int, Decimal, bool); calculated dates are text in FHIR's form, calculated
    quantities `{"value", "unit"}`. `variables` are further `%name`s; `resolve` gives the resource of a reference that
    is neither contained nor in the same Bundle, None where there is none. Raises Unusable for an expression that cannot
    be read, is applied to what it does not fit, or costs too much.
    """
    known = model(definitions)
    root = known.root(resource)
    shared = run(root, known, now=now, variables=variables, resolve=resolve)
    return [running.as_json(one) for one in compile(expression).nodes(root, shared)]


def holds(items: Items, known: Model) -> bool | None:
    """A result as a condition: None when it is empty; a single value that is no boolean is true. Raises Unusable."""
    return running.truth(items, known)


def locate(
    expression: str, resource: Resource, definitions: load.Definitions, *, now: datetime | None = None
) -> list[Place]:
    """Where the elements that the expression gives stand in `resource`; the same holders, so that they can be changed.

    Raises Unusable as `evaluate` does, and for a result that is no element of the resource.
    """
    known = model(definitions)
    root = known.root(resource)
    found = compile(expression).nodes(root, run(root, known, now=now))
    places = []
    for one in found:
        if not isinstance(one, Node):
            raise Unusable("l'expression calcule une valeur au lieu de désigner un élément")
        places.append(Place(one.holder, one.key, one.index))
    return places


def _compiled(tree: parsing.Tree) -> Step:
    """The function of a tree."""
    match tree:
        case parsing.Literal(value):
            constant: Items = [] if value is None else [value]
            return lambda scope, focus: constant
        case parsing.Name(text):
            return running.first_name(text)
        case parsing.Path(source, step):
            return _path(_compiled(source), _step(step))
        case parsing.At(source, index):
            return _at(_compiled(source), _compiled(index))
        case parsing.Sign(sign, operand):
            return operators.signed(sign, _compiled(operand))
        case parsing.Binary(sign, left, right):
            return operators.binary(sign, _compiled(left), _compiled(right))
        case parsing.Typed(sign, operand, type):
            return operators.typed(sign, _compiled(operand), type)
        case parsing.External(name):
            return running.external(name)
    return _step(tree)


def _step(tree: parsing.Name | parsing.Special | parsing.Call) -> Step:
    match tree:
        case parsing.Name(text):
            return running.children_named(text)
        case parsing.Special(name):
            return running.special(name)
        case parsing.Call(name, arguments):
            if name in ("is", "as", "ofType") and len(arguments) == 1:
                return operators.typed(name, None, _type_text(arguments[0]))
            if name == "getReferenceKey" and len(arguments) <= 1:
                return references.reference_key(_type_text(arguments[0]) if arguments else "")
            if name == "sort":
                return functions.sort([_criterion(one) for one in arguments])
            return functions.call(name, [_compiled(one) for one in arguments])


def _criterion(tree: parsing.Tree) -> tuple[Step, bool]:
    """A criterion of sort, and whether a minus before it turns the order."""
    if isinstance(tree, parsing.Sign) and tree.sign == "-":
        return _compiled(tree.operand), True
    return _compiled(tree), False


def _path(source: Step, step: Step) -> Step:
    def go(scope: Scope, focus: Items) -> Items:
        found = source(scope, focus)
        scope.run.spend(len(found) + 1)
        return step(scope, found)

    return go


def _at(source: Step, index: Step) -> Step:
    def pick(scope: Scope, focus: Items) -> Items:
        found = source(scope, focus)
        place = running.integer(index(scope, scope.this), scope.run.model)
        return found[place : place + 1] if place is not None and place >= 0 else []

    return pick


def _type_text(tree: parsing.Tree) -> str:
    match tree:
        case parsing.Name(text):
            return text
        case parsing.Path(parsing.Name(namespace), parsing.Name(text)):
            return f"{namespace}.{text}"
    raise Unusable("un nom de type est attendu entre parenthèses")
