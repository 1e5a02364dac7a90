"""Which places of a resource does the path of a FHIRPath Patch name?

R4 fhirpatch.html wants paths that stay inside the resource: names, indexes and the functions of `_FUNCTIONS`. A place
knows what holds it, so that it can be changed; that is what general FHIRPath does not give. `patch_syntax.py` reads
the text of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from common import errors
from fhir_server import json_patch
from fhir_server.patch_syntax import Call, Child, Expression, Index, Literal, Logic, Path, Step
from fhir_server.r4 import elements

# Places looked at by one patch: enough for any real one, and a bound for `where` in `where` over long lists.
MOST_LOOKS = 200_000

Pair = tuple[Any, Any]


@dataclass(slots=True)
class Place:
    """`holder[name]`, or one item of the list there, with its element and type. `up` is None for the resource."""

    up: Place | None
    holder: dict[str, Any]
    name: str
    index: int | None
    element: elements.Element | None
    type: elements.Type

    @property
    def value(self) -> Any:
        """What stands there; None for a primitive that only has extensions."""
        return self._of(self.name)

    @property
    def twin(self) -> Any:
        """The id and extensions of a primitive (`_name`), None without."""
        return self._of(f"_{self.name}")

    @property
    def structure(self) -> str:
        """The table of its children."""
        if self.type.structure == "Resource" and isinstance(self.value, dict):
            return str(self.value.get("resourceType"))
        return self.type.structure

    def put(self, value: Any, twin: Any) -> None:
        """Put something else in its place."""
        if self.index is None:
            _set(self.holder, self.name, value)
            _set(self.holder, f"_{self.name}", twin)
        else:
            several = pairs(self.holder, self.name)
            several[self.index] = (value, twin)
            put_pairs(self.holder, self.name, several)

    def _of(self, name: str) -> Any:
        found = self.holder.get(name)
        if self.index is None:
            return found
        return found[self.index] if isinstance(found, list) and self.index < len(found) else None


class Finder:
    """Finds places in one resource, and counts what it looks at."""

    def __init__(self, resource: dict[str, Any], structures: elements.Structures) -> None:
        self._structures = structures
        self._looks = 0
        self.root = Place(None, {"": resource}, "", None, None, elements.Type("Resource", "Resource"))

    def find(self, path: Path) -> list[Place]:
        """The places that a path names. Raises Invalid for a path that means nothing here, TooLarge."""
        found = self._path(path, self.root)
        if not all(isinstance(one, Place) for one in found):
            raise refused("il désigne une valeur calculée, pas un élément")
        return found

    def element(self, place: Place, name: str) -> elements.Element:
        """A child of a place, by its FHIRPath name. Raises Invalid."""
        return self.child_of(place.structure, name)

    def child_of(self, structure: str, name: str) -> elements.Element:
        """A child of a structure, by its FHIRPath name. Raises Invalid."""
        table = self._structures.get(structure)
        for one in table.elements if table else ():
            if one.name == name:
                return one
        raise refused(f"« {name[:60]} » n'est pas un élément de {structure}")

    def is_primitive(self, type: elements.Type) -> bool:
        """Written in JSON as a plain value, with its extensions beside it."""
        table = self._structures.get(type.structure)
        return table is not None and table.kind == "primitive"

    def inside(self, place: Place) -> dict[str, Any] | None:
        """The object with the children of a place; for a primitive that beside it, None when it has none."""
        found = place.twin if self.is_primitive(place.type) else place.value
        return found if isinstance(found, dict) else None

    def children(self, place: Place, name: str) -> list[Place]:
        """The places of one child, whatever the type of a choice."""
        element = self.element(place, name)
        if (holder := self.inside(place)) is None:
            return []
        found: list[Place] = []
        for json_name, type in elements.json_names(element):
            if json_name in holder or f"_{json_name}" in holder:
                count = len(pairs(holder, json_name)) if element.many else 0
                several: Sequence[int | None] = range(count) if element.many else (None,)
                found += [Place(place, holder, json_name, index, element, type) for index in several]
        self._looks += 1 + len(found)
        if self._looks > MOST_LOOKS:
            raise errors.TooLarge("FHIRPath Patch : chemins trop coûteux à évaluer", at=json_patch.AT)
        return found

    def _path(self, path: Path, this: Place) -> list[Any]:
        found: list[Any] = [this]
        steps = list(path.steps)
        if steps and isinstance(steps[0], Child) and steps[0].name in self._root_names(this):
            steps.pop(0)
        for step in steps:
            found = self._step(step, found)
        return found

    def _root_names(self, this: Place) -> tuple[str, ...]:
        return (this.structure, "Resource", "DomainResource", "$this", "%resource") if this is self.root else ("$this",)

    def _step(self, step: Step, found: list[Any]) -> list[Any]:
        if isinstance(step, Child):
            return [child for one in found for child in self.children(_place(one), step.name)]
        if isinstance(step, Index):
            return found[step.number : step.number + 1]
        if step.name not in _FUNCTIONS:
            raise refused(f"{step.name[:40]}() n'est pas utilisable dans un chemin de patch")
        return _FUNCTIONS[step.name](self, found, step)

    def _holds(self, criterion: Expression, place: Place) -> bool:
        return _truth(self._value(criterion, place))

    def _value(self, one: Expression, this: Place) -> list[Any]:
        if isinstance(one, Literal):
            return [one.value]
        if isinstance(one, Path):
            return self._path(one, this)
        if isinstance(one, Logic):
            results = (self._holds(part, this) for part in one.parts)
            return [all(results) if one.word == "and" else any(results)]
        left, right = _plain(self._value(one.left, this)), _plain(self._value(one.right, this))
        if not left or not right:
            return []
        return [json_patch.same(left, right) is not one.differs]

    def where(self, found: list[Any], call: Call) -> list[Any]:
        """`where(criterion)`."""
        return [one for one in found if self._holds(_argument(call), _place(one))]

    def of_type(self, found: list[Any], call: Call) -> list[Any]:
        """`ofType(Quantity)`, `as(Quantity)`."""
        wanted = _type_name(_argument(call))
        places = [_place(one) for one in found]
        return [one for one in places if wanted in (one.type.code, one.structure)]

    def extension(self, found: list[Any], call: Call) -> list[Any]:
        """`extension('url')`."""
        url = _text(call)
        places = self._step(Child("extension"), found)
        return [one for one in places if isinstance(one.value, dict) and one.value.get("url") == url]

    def exists(self, found: list[Any], call: Call) -> list[Any]:
        """`exists()`, `exists(criterion)`."""
        return [bool(self.where(found, call) if call.arguments else found)]


def pairs(holder: dict[str, Any], name: str) -> list[Pair]:
    """The items of a list, each with what stands beside it in `_name`."""
    values, twins = (_listed(holder.get(key)) for key in (name, f"_{name}"))
    count = max(len(values), len(twins))
    return [(_at(values, place), _at(twins, place)) for place in range(count)]


def put_pairs(holder: dict[str, Any], name: str, several: list[Pair]) -> None:
    """The inverse of `pairs`; an empty list goes away."""
    for key, values in ((name, [one for one, _ in several]), (f"_{name}", [one for _, one in several])):
        _set(holder, key, values if any(one is not None for one in values) else None)


def refused(why: str) -> errors.Invalid:
    """A path that cannot be followed."""
    return errors.Invalid(f"chemin du patch : {why}", issues=(errors.Issue(f"chemin du patch : {why}", "", "invalid"),))


def _set(holder: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        holder.pop(name, None)
    else:
        holder[name] = value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else None


def _place(one: Any) -> Place:
    if not isinstance(one, Place):
        raise refused("une valeur calculée n'a pas d'éléments")
    return one


def _plain(found: list[Any]) -> list[Any]:
    values = [one.value if isinstance(one, Place) else one for one in found]
    return [one for one in values if one is not None]


def _truth(found: list[Any]) -> bool:
    """FHIRPath's singleton rule: nothing is false, one value that is no boolean is true."""
    if len(found) > 1:
        raise refused("le critère donne plusieurs valeurs")
    values = _plain(found)
    return bool(found) and (values[0] if values and isinstance(values[0], bool) else True)


def _argument(call: Call) -> Expression:
    if len(call.arguments) != 1:
        raise refused(f"{call.name}() attend un argument")
    return call.arguments[0]


def _literal(call: Call, wanted: type) -> Any:
    argument = _argument(call)
    if not isinstance(argument, Literal) or type(argument.value) is not wanted:
        raise refused(f"{call.name}() attend {'un texte' if wanted is str else 'un nombre entier'}")
    return argument.value


def _text(call: Call) -> str:
    return str(_literal(call, str))


def _type_name(argument: Expression) -> str:
    names = [one.name for one in argument.steps if isinstance(one, Child)] if isinstance(argument, Path) else []
    return names[-1] if names and names[:-1] in ([], ["FHIR"]) else ""


def _compared(test: Callable[[str, str], bool]) -> Callable[[Finder, list[Any], Call], list[Any]]:
    def run(finder: Finder, found: list[Any], call: Call) -> list[Any]:
        return [test(one, _text(call)) for one in _plain(found)[:1] if isinstance(one, str)]

    return run


_FUNCTIONS: dict[str, Callable[[Finder, list[Any], Call], list[Any]]] = {
    "where": Finder.where,
    "ofType": Finder.of_type,
    "as": Finder.of_type,
    "extension": Finder.extension,
    "exists": Finder.exists,
    "empty": lambda finder, found, call: [not found],
    "not": lambda finder, found, call: [not _truth(found)] if found else [],
    "count": lambda finder, found, call: [len(found)],
    "first": lambda finder, found, call: found[:1],
    "last": lambda finder, found, call: found[-1:],
    "tail": lambda finder, found, call: found[1:],
    "single": lambda finder, found, call: found,
    "skip": lambda finder, found, call: found[max(_literal(call, int), 0) :],
    "take": lambda finder, found, call: found[: max(_literal(call, int), 0)],
    "startsWith": _compared(str.startswith),
    "endsWith": _compared(str.endswith),
    "contains": _compared(str.__contains__),
}
