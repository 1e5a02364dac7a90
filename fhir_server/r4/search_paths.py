"""Which JSON paths does a SearchParameter expression stand for?

The expressions of R4 (https://hl7.org/fhir/R4/searchparameter-registry.html) use a small part of FHIRPath: paths, `|`,
`as`, `ofType`, `where(resolve() is X)`, `where(a='b')`, `extension()`, `hasExtension()`, `[n]`. Each becomes a list of
paths, a path being plain tuples, so that it can be kept in a file:

    (("get", "telecom"), ("eq", "system", "phone"))      values of type ContactPoint

A choice of types is unfolded here (`Observation.value as Quantity` is `get valueQuantity`), so that walking needs no
definitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from fhir_server.r4 import elements

Step = tuple[str, ...]


class Path(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Steps from the resource to values of one FHIR type; `system` is what a `code` found there implies."""

    steps: tuple[Step, ...]
    type: str
    system: str | None = None


class World(NamedTuple):
    """What is known about the elements, and the code system of the value sets that draw on one alone."""

    structures: elements.Structures
    systems: Mapping[str, str]


class Unsupported(ValueError):
    """The expression uses what is not compiled, or names an element that does not exist."""


def paths(expression: str, type: str, world: World) -> list[Path]:
    """The paths of an expression that start at `type`; alternatives for other types are left out.

    Raises Unsupported.
    """
    found: list[Path] = []
    for alternative in expression.split("|"):
        steps = list(_steps(alternative.strip()))
        head = steps[0][1]
        if head in (type, "Resource", "DomainResource"):
            found += _unfold(type, steps[1:], world)
        elif head[0].islower():  # InsurancePlan's `name | alias` leave the type out
            found += _unfold(type, steps, world)
    return found


# ---- reading the expression --------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\.?(?:(?:as|ofType)\((?P<as>\w+)\)"
    r"|where\(resolve\(\) is (?P<is>\w+)\)"
    r"|where\((?P<field>\w+)\s*=\s*'(?P<value>[^']*)'\)"
    r"|where\(hasExtension\('(?P<has>[^']*)'\)\)"
    r"|extension\('(?P<extension>[^']*)'\)"
    r"|\[(?P<index>\d+)\]"
    r"|(?P<name>\w+))"
)
_CAST = re.compile(r"^\((?P<path>[^()]+?) as (?P<type>\w+)\)(?P<rest>.*)$")


def _steps(text: str) -> Iterator[Step]:
    """`(A.b as T).c` and `A.b.as(T).c` give the same steps."""
    if cast := _CAST.match(text):
        text = f"{cast['path']}.as({cast['type']}){cast['rest']}"
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise Unsupported(f"{text!r} at {place}")
        place = found.end()
        yield _step(found)


def _step(found: re.Match[str]) -> Step:
    match found.lastgroup:
        case "value":
            return ("eq", found["field"], found["value"])
        case "extension":
            return ("extension", found["extension"])
        case str(kind):
            return (kind, found[kind])
    raise Unsupported(found[0])


# ---- following the definitions -------------------------------------------------------------------------------------

# What a search may need of Extension.value[x]; every other type of value is no search value.
_EXTENSION_VALUES = (
    "boolean code string uri id date dateTime instant integer decimal canonical Coding CodeableConcept Identifier "
    "ContactPoint Reference Period Quantity HumanName Address"
).split()


def _unfold(at: str, steps: list[Step], world: World) -> list[Path]:
    """`at` is the structure whose children come next: a type, or a backbone element such as `Patient.contact`."""
    if not steps:
        return [Path((), at)]
    step, rest = steps[0], steps[1:]
    if step[0] == "name":
        return _follow(at, step[1], rest, world)
    if step[0] == "extension":
        if rest:
            raise Unsupported(f"a path after extension({step[1]})")
        into = (("get", "extension"), ("eq", "url", step[1]))
        return [Path((*into, ("get", "value" + type[0].upper() + type[1:])), type) for type in _EXTENSION_VALUES]
    return [Path((step, *path.steps), path.type, path.system) for path in _unfold(at, rest, world)]


def _follow(at: str, name: str, rest: list[Step], world: World) -> list[Path]:
    element = next((one for one in world.structures[at].elements if one.name == name), None)
    if element is None:
        raise Unsupported(f"no element {at}.{name}")
    choices = elements.json_names(element)
    if rest and rest[0][0] == "as":
        choices, rest = [one for one in choices if one[1].code == rest[0][1]], rest[1:]
        if not choices:
            raise Unsupported(f"{at}.{name} is never of that type")
    system = world.systems.get(element.binding)
    found = []
    for json_name, kind in choices:
        for path in _unfold(kind.structure, rest, world):
            implied = system if kind.code == "code" else path.system
            found.append(Path((("get", json_name), *path.steps), path.type, implied))
    return found
