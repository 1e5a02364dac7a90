"""What does a FHIRPath Patch make of a resource?

R4 fhirpatch.html: a Parameters with one `operation` for each change (add, insert, delete, replace, move). A path names
one element; a delete may name none. Values keep their extensions, and those of primitives move with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from common import errors
from fhir_server import json_patch, patch_syntax
from fhir_server.changes import Resource
from fhir_server.patch_places import Finder, Pair, Place, pairs, put_pairs, refused
from fhir_server.r4 import elements

_PARTS = {
    "add": ("path", "name", "value"),
    "insert": ("path", "value", "index"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}


@dataclass(slots=True)
class Operation:
    """One operation: `number` is its place in the Parameters, `parts` what was sent, by name."""

    number: int
    kind: str
    path: patch_syntax.Path
    parts: dict[str, dict[str, Any]]

    @property
    def at(self) -> str:
        """Where it stands."""
        return f"Parameters.parameter[{self.number}]"

    def text(self, name: str) -> str:
        """A part that is a text. Raises Unreadable."""
        return _text(self.parts.get(name, {}), f"{self.at} ({name})")

    def whole(self, name: str) -> int:
        """A part that is a whole number from 0. Raises Unreadable."""
        part = self.parts.get(name, {})
        value = next(
            (part[key] for key in ("valueInteger", "valueUnsignedInt", "valuePositiveInt") if key in part), None
        )
        if type(value) is not int or value < 0:
            raise errors.Unreadable(f"{name} : un nombre entier à partir de 0 est attendu", at=self.at)
        return value


def read(parameters: Resource) -> list[Operation]:
    """The operations of a Parameters. Raises Unreadable or Invalid with every problem, TooLarge."""
    sent = parameters.get("parameter", [])
    if not isinstance(sent, list):
        raise errors.Unreadable("parameter : une liste d'opérations est attendue", at="Parameters.parameter")
    if len(sent) > json_patch.MOST_OPERATIONS:
        raise errors.TooLarge(f"FHIRPath Patch : {json_patch.MOST_OPERATIONS} opérations au plus", at="Parameters")
    found: list[Operation] = []
    issues: list[errors.Issue] = []
    for number, one in enumerate(sent):
        at = f"Parameters.parameter[{number}]"
        try:
            found.append(_operation(number, one, at))
        except (errors.Unreadable, errors.Invalid) as problem:
            issues += [replace(issue, expression=issue.expression or at) for issue in problem.issues]
    if issues:
        raise errors.Unreadable(issues[0].text, at=issues[0].expression, issues=tuple(issues))
    return found


def apply(resource: Resource, operations: list[Operation], structures: elements.Structures) -> Resource:
    """`resource` changed in place by all operations in turn, and given back. Raises Invalid, Unreadable, TooLarge."""
    finder = Finder(resource, structures)
    for one in operations:
        try:
            _DO[one.kind](finder, one)
        except errors.Invalid as problem:
            text = f"FHIRPath Patch, opération {one.number} ({one.kind}) : {problem.message}"
            raise errors.Invalid(text, at=one.at, issues=(errors.Issue(text, one.at, "processing"),)) from None
    json_patch.weigh(resource, None)
    return resource


def _operation(number: int, sent: Any, at: str) -> Operation:
    if not isinstance(sent, dict) or sent.get("name") != "operation" or not isinstance(given := sent.get("part"), list):
        raise errors.Unreadable("FHIRPath Patch : des paramètres « operation » avec leurs part sont attendus", at=at)
    parts: dict[str, dict[str, Any]] = {}
    for part in given:
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str) or name in parts:
            raise errors.Unreadable("FHIRPath Patch : chaque part a un nom, et chaque nom une fois", at=at)
        parts[name] = part
    kind = _text(parts.pop("type", {}), f"{at} (type)")
    if kind not in _PARTS:
        raise errors.Unreadable(f"type attendu parmi {', '.join(_PARTS)}", at=at)
    wanted = _PARTS[kind]
    if wrong := sorted(set(wanted) ^ set(parts)):
        raise errors.Unreadable(f"{kind} : {', '.join(wrong)[:100]} manque ou est de trop", at=at)
    one = Operation(number, kind, patch_syntax.read(_text(parts["path"], f"{at} (path)")), parts)
    for name in ("index", "source", "destination"):
        if name in wanted:
            one.whole(name)
    return one


def _text(part: dict[str, Any], where: str) -> str:
    value = next((part[key] for key in ("valueString", "valueCode", "valueId") if key in part), None)
    if not isinstance(value, str):
        raise errors.Unreadable(f"{where} : valueString ou valueCode attendu", at=where.partition(" ")[0])
    return value


def _add(finder: Finder, one: Operation) -> None:
    place = _one(finder, one)
    element = finder.element(place, one.text("name"))
    name, pair = _value(finder, element, one.parts["value"])
    if (holder := finder.inside(place)) is None:
        holder = {}
        place.put(place.value, holder) if finder.is_primitive(place.type) else place.put(holder, None)
    if element.many:
        put_pairs(holder, name, [*pairs(holder, name), pair])
    elif finder.children(place, element.name):
        raise refused(f"« {element.name} » existe déjà et ne se répète pas : remplacez-le")
    else:
        _put_single(holder, name, pair)


def _insert(finder: Finder, one: Operation) -> None:
    holder, element, make = _collection(finder, one)
    name, pair = _value(finder, element, one.parts["value"])
    several = pairs(holder, name)
    if (place := one.whole("index")) > len(several):
        raise refused(f"index {place} : la liste a {len(several)} éléments")
    several.insert(place, pair)
    make()
    put_pairs(holder, name, several)


def _delete(finder: Finder, one: Operation) -> None:
    found = finder.find(one.path)
    if len(found) > 1:
        raise refused("il désigne plusieurs éléments, un seul se supprime à la fois")
    if found:
        _drop(finder, found[0])


def _replace(finder: Finder, one: Operation) -> None:
    place = _one(finder, one)
    if place.element is None:
        raise refused("la ressource entière ne se remplace pas par un patch")
    name, pair = _value(finder, place.element, one.parts["value"])
    if name == place.name:
        place.put(*pair)
    else:  # another type of a choice
        place.put(None, None)
        _put_single(place.holder, name, pair)


def _move(finder: Finder, one: Operation) -> None:
    holder, element, _ = _collection(finder, one)
    several = pairs(holder, element.name)
    source, destination = one.whole("source"), one.whole("destination")
    if max(source, destination) >= len(several):
        raise refused(f"de {source} à {destination} : la liste a {len(several)} éléments")
    several.insert(destination, several.pop(source))
    put_pairs(holder, element.name, several)


def _one(finder: Finder, one: Operation) -> Place:
    found = finder.find(one.path)
    if len(found) != 1:
        raise refused(
            "il ne désigne aucun élément" if not found else "il désigne plusieurs éléments, un seul est attendu"
        )
    return found[0]


def _collection(finder: Finder, one: Operation) -> tuple[dict[str, Any], elements.Element, Callable[[], None]]:
    """The list that a path ends with: what holds it, its element, and what puts the holder there if it is new."""
    *before, last = one.path.steps
    if not isinstance(last, patch_syntax.Child):
        raise refused("il désigne une liste, et finit donc par le nom d'un élément")
    found = finder.find(patch_syntax.Path(tuple(before)))
    if len(found) != 1:
        raise refused("la liste désignée n'est pas dans un seul élément")
    [place] = found
    element = finder.element(place, last.name)
    if not element.many:
        raise refused(f"« {last.name} » n'est pas une liste")
    if (holder := finder.inside(place)) is not None:
        return holder, element, lambda: None
    fresh: dict[str, Any] = {}
    return fresh, element, lambda: place.put(place.value, fresh)


def _drop(finder: Finder, place: Place) -> None:
    """Take an element out, and what it leaves empty."""
    if place.up is None:
        raise refused("la ressource entière ne se supprime pas par un patch")
    if place.index is None:
        place.put(None, None)
    else:
        several = pairs(place.holder, place.name)
        del several[place.index]
        put_pairs(place.holder, place.name, several)
    if not place.holder and place.up.up is not None:
        if finder.is_primitive(place.up.type) and place.up.value is not None:
            place.up.put(place.up.value, None)
        else:
            _drop(finder, place.up)


def _put_single(holder: dict[str, Any], name: str, pair: Pair) -> None:
    for key, value in ((name, pair[0]), (f"_{name}", pair[1])):
        if value is not None:
            holder[key] = value


def _value(finder: Finder, element: elements.Element, part: dict[str, Any]) -> tuple[str, Pair]:
    """The JSON name under which a value is put for an element, and the value with what stands beside it."""
    if isinstance(several := part.get("part"), list):
        if element.choice:
            raise refused(f"{element.name}[x] : donnez value[x], non des part")
        return element.name, (_built(finder, element.types[0].structure, several), None)
    if isinstance(resource := part.get("resource"), dict):
        return element.name, (json_patch.copied(resource), None)
    names = {key.removeprefix("_") for key in part if key.startswith(("value", "_value"))}
    if len(names) != 1:
        raise refused("une valeur est attendue (value[x], resource ou part)")
    [given] = names
    name = element.name + given.removeprefix("value") if element.choice else element.name
    if element.choice and name not in {one for one, _ in elements.json_names(element)}:
        raise refused(f"{element.name}[x] n'a pas le type {given.removeprefix('value')[:40]}")
    return name, (json_patch.copied(part.get(given)), json_patch.copied(part.get(f"_{given}")))


def _built(finder: Finder, structure: str, several: list[Any]) -> dict[str, Any]:
    """An element that no value[x] can carry (`Patient.contact`), from its children as parts."""
    built: dict[str, Any] = {}
    for part in several:
        if not isinstance(part, dict) or not isinstance(named := part.get("name"), str):
            raise refused("chaque part porte le nom d'un élément")
        element = finder.child_of(structure, named)
        name, pair = _value(finder, element, part)
        if element.many:
            put_pairs(built, name, [*pairs(built, name), pair])
        elif any(one in built or f"_{one}" in built for one, _ in elements.json_names(element)):
            raise refused(f"« {named[:60]} » ne se répète pas")
        else:
            _put_single(built, name, pair)
    return built


_DO: dict[str, Callable[[Finder, Operation], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
