"""What does every step of an evaluation share?

The budget, the variables, and how a collection is read as one value (http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from fhir_server.fhirpath import values
from fhir_server.fhirpath.nodes import Item, Items, Model, Node
from fhir_server.fhirpath.parse import Unusable

MOST_STEPS = 2_000_000
MOST_SECONDS = 2.0
MOST_ITEMS = 100_000
MOST_TEXT = 1_000_000
_STEPS_BETWEEN_LOOKS = 2000

_VALUE_SET = "http://hl7.org/fhir/ValueSet/"
_EXTENSION = "http://hl7.org/fhir/StructureDefinition/"
_KNOWN: dict[str, str] = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}


class Budget:
    """How much one evaluation may still cost."""

    __slots__ = ("_end", "_next_look", "_steps")

    def __init__(self, seconds: float = MOST_SECONDS) -> None:
        self._steps = 0
        self._next_look = _STEPS_BETWEEN_LOOKS
        self._end = time.monotonic() + seconds

    def spend(self, steps: int) -> None:
        """Count what was done. Raises Unusable when it is too much, or takes too long."""
        self._steps += steps
        if self._steps >= self._next_look:
            self._next_look = self._steps + _STEPS_BETWEEN_LOOKS
            if self._steps > MOST_STEPS or time.monotonic() > self._end:
                raise Unusable("évaluation trop longue : simplifiez l'expression", code="too-costly")


class Run:
    """The evaluation of expressions on one resource: its model, its variables, its budget."""

    __slots__ = ("budget", "is_trusted", "known", "model", "now", "resolve", "root", "spend")

    def __init__(
        self,
        model: Model,
        root: Node,
        known: dict[str, Items],
        *,
        now: datetime,
        resolve: Callable[[str], dict[str, Any] | None] | None,
        is_trusted: bool,
        budget: Budget | None = None,
    ) -> None:
        self.model = model
        self.root = root
        self.known = known
        self.now = now
        self.resolve = resolve
        self.is_trusted = is_trusted
        self.budget = budget or Budget()
        self.spend = self.budget.spend

    def inside(self, known: dict[str, Items]) -> Run:
        """The same evaluation with other variables."""
        return Run(
            self.model,
            self.root,
            known,
            now=self.now,
            resolve=self.resolve,
            is_trusted=self.is_trusted,
            budget=self.budget,
        )


class Scope:
    """What `$this`, `$index` and `$total` mean at one place of an expression."""

    __slots__ = ("index", "run", "this", "total")

    def __init__(self, run: Run, this: Items, index: int | None = None, total: Items | None = None) -> None:
        self.run = run
        self.this = this
        self.index = index
        self.total = total


Step = Callable[[Scope, Items], Items]  # the collection before the step -> the one after


def children_named(name: str) -> Step:
    """`.name`."""

    def go(scope: Scope, focus: Items) -> Items:
        child = scope.run.model.child
        return [found for one in focus if isinstance(one, Node) for found in child(one, name)]

    return go


def first_name(name: str) -> Step:
    """A name at the start of a path: a child, or the type of the focus itself (`Patient.name`)."""
    go = children_named(name)
    if not name[:1].isupper():
        return go

    def start(scope: Scope, focus: Items) -> Items:
        if scope.run.model.is_known_type(name):
            return [one for one in focus if isinstance(one, Node) and scope.run.model.is_type(one, f"FHIR.{name}")]
        return go(scope, focus)

    return start


def special(name: str) -> Step:
    """`$this`, `$index`, `$total`."""

    def go(scope: Scope, focus: Items) -> Items:
        if name == "this":
            return scope.this
        if name == "index":
            return [] if scope.index is None else [scope.index]
        return scope.total or []

    return go


def external(name: str) -> Step:
    """`%name`. Raises Unusable for a variable that is not defined."""

    def go(scope: Scope, focus: Items) -> Items:
        if name in scope.run.known:
            return scope.run.known[name]
        if name in _KNOWN:
            return [_KNOWN[name]]
        if name.startswith("vs-"):
            return [_VALUE_SET + name[3:]]
        if name.startswith("ext-"):
            return [_EXTENSION + name[4:]]
        raise Unusable(f"variable inconnue : %{name[:40]}")

    return go


def single(items: Items, what: str = "") -> Item | None:
    """The only item, None for none. Raises Unusable for several."""
    if len(items) > 1:
        raise Unusable(f"{what or 'une seule valeur'} attendue, {len(items)} trouvées")
    return items[0] if items else None


def truth(items: Items, model: Model) -> bool | None:
    """A collection as a condition; None for empty, true for a single value that is no boolean."""
    one = single(items)
    if one is None:
        return None
    value = model.plain(one)
    return value if isinstance(value, bool) else True


def text(items: Items, model: Model) -> str | None:
    """The only item as a string, None for none. Raises Unusable when it is something else."""
    one = single(items)
    if one is None:
        return None
    value = model.plain(one)
    if isinstance(value, (str, values.Moment)):
        return str(value)
    if isinstance(value, Node) and value.value is None:
        return None
    raise Unusable("un texte est attendu")


def integer(items: Items, model: Model) -> int | None:
    """The only item as an integer, None for none. Raises Unusable when it is something else."""
    one = single(items)
    if one is None:
        return None
    value = model.plain(one)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Unusable("un nombre entier est attendu")


def number(items: Items, model: Model) -> int | Decimal | None:
    """The only item as a number, None for none. Raises Unusable when it is something else."""
    one = single(items)
    if one is None:
        return None
    value = model.plain(one)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return value
    raise Unusable("un nombre est attendu")


def short(value: str) -> str:
    """Refuses a text that grew too long."""
    if len(value) > MOST_TEXT:
        raise Unusable("texte calculé trop long", code="too-costly")
    return value


def as_json(item: Item) -> Any:
    """An item as plain JSON."""
    if isinstance(item, Node):
        return item.value
    if isinstance(item, values.Quantity):
        return {"value": item.value, "unit": item.unit}
    return str(item) if isinstance(item, values.Moment) else item
