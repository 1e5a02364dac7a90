"""Which values of a resource can be searched for?

The paths of a type's search parameters are woven into one tree of small functions, so that a resource is walked once
and only where it has elements. FHIR R4 search, https://hl7.org/fhir/R4/search.html#ptypes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fhir_server.r4 import composites, search_leaves
from fhir_server.r4.search_leaves import Sink
from fhir_server.r4.search_params import Kind, Param, SearchTables
from fhir_server.r4.search_paths import Path

Resource = dict[str, Any]
Visit = Callable[[Any, Sink], None]

ALL_KINDS: frozenset[Kind] = frozenset(
    ("token", "reference", "string", "date", "uri", "number", "quantity", "composite", "special")
)


class Extractor:
    """Search values by type; the functions of a type are made when the first resource of that type comes.

    `base` is the server's own public address: absolute references on it become relative ones. `kinds` are the kinds of
    parameter whose values are wanted.
    """

    def __init__(self, tables: SearchTables, *, base: str = "", kinds: frozenset[Kind] = ALL_KINDS) -> None:
        self._tables = tables
        self._base = base
        self._kinds = kinds
        self._visits: dict[tuple[str, str | None], Visit] = {}

    def values(self, resource: Resource, *, only: str | None = None) -> Sink:
        """The values of all parameters, or of the parameter `only`. The resource is trusted to be valid.

        Those that are the sum of others are left out unless asked for.
        """
        known = (resource["resourceType"], only)
        visit = self._visits.get(known)
        if visit is None:
            visit = self._visits[known] = self._visit(*known)
        found = Sink(resource, self._base)
        visit(resource, found)
        return found

    def _visit(self, type: str, only: str | None) -> Visit:
        params = self._tables.params(type) if only is None else [self._tables.param(type, only)]
        root = _Node()
        for param in params:
            if param and param.kind in self._kinds and not (param.union and only is None):
                for path in param.paths:
                    leaf = self._together(param, path) if param.kind == "composite" else _leaf(param, path)
                    _plant(root, path, leaf)
        return _visitor(root)

    def _together(self, param: Param, element: Path) -> Visit:
        """Reads the parts of a composite from one element at a time."""
        reads = []
        for code in reversed(param.parts):  # the value first: it is the part that is missing most often
            part = self._tables.by_type[param.type][code]
            paths, within = composites.inside(part, element)
            root = _Node()
            for path in paths:
                _plant(root, path, _leaf(part, path))
            reads.append((_visitor(root), within))

        def visit(value: Any, sink: Sink) -> None:
            found = []
            for read, within in reads:
                own = Sink(sink.resource, sink.base)
                read(value if within else sink.resource, own)
                if not (own.tokens or own.quantities or own.references or own.numbers):
                    return
                found.append(own)
            sink.composites.append((param, tuple(reversed(found))))

        return visit


@dataclass(slots=True)
class _Node:
    """What to do with a JSON value: hand it to leaves, look at its fields, or go on when a test holds."""

    leaves: list[Visit] = field(default_factory=list)
    fields: dict[str, _Node] = field(default_factory=dict)
    firsts: dict[str, _Node] = field(default_factory=dict)  # fields of which only the first item counts
    tests: dict[tuple[str, ...], _Node] = field(default_factory=dict)


def _leaf(param: Param, path: Path) -> Visit:
    return partial(search_leaves.leaf(param, path.type), param, path.system)


def _plant(root: _Node, path: Path, leaf: Visit) -> None:
    node = root
    steps = list(path.steps)
    while steps:
        step = steps.pop(0)
        if step[0] != "get":
            node = node.tests.setdefault(step, _Node())
        elif steps and steps[0] == ("index", "0"):
            del steps[0]
            node = node.firsts.setdefault(step[1], _Node())
        else:
            node = node.fields.setdefault(step[1], _Node())
    node.leaves.append(leaf)


def _visitor(node: _Node) -> Visit:
    visits = list(node.leaves)
    visits += [_when(_TESTS[step[0]](*step[1:]), _visitor(then)) for step, then in node.tests.items()]
    visits += [_first(name, _visitor(then)) for name, then in node.firsts.items()]
    if node.fields:
        visits.append(_fields({name: _visitor(then) for name, then in node.fields.items()}))
    if len(visits) == 1:
        return visits[0]
    every = tuple(visits)

    def visit(value: Any, sink: Sink) -> None:
        for one in every:
            one(value, sink)

    return visit


def _fields(visits: dict[str, Visit]) -> Visit:
    find = visits.get

    def visit(value: Any, sink: Sink) -> None:
        for name, child in value.items():
            into = find(name)
            if into is None:
                continue
            if type(child) is list:
                for one in child:
                    if one is not None:  # a primitive that has only an extension
                        into(one, sink)
            else:
                into(child, sink)

    return visit


def _first(name: str, into: Visit) -> Visit:
    def visit(value: Any, sink: Sink) -> None:
        if children := value.get(name):
            into(children[0], sink)

    return visit


# ---- where(...) ----------------------------------------------------------------------------------------------------

Test = Callable[[Any, Sink], bool]


def _when(test: Test, into: Visit) -> Visit:
    def visit(value: Any, sink: Sink) -> None:
        if test(value, sink):
            into(value, sink)

    return visit


def _equals(name: str, wanted: str) -> Test:
    return lambda value, sink: value.get(name) == wanted


def _has_extension(url: str) -> Test:
    return lambda value, sink: any(one.get("url") == url for one in value.get("extension", ()))


def _resolves_to(wanted: str) -> Test:
    """`resolve() is X`, told from the reference itself: what it points to is never loaded."""
    relative, absolute = wanted + "/", f"/{wanted}/"

    def test(value: Any, sink: Sink) -> bool:
        reference = value.get("reference")
        if reference is None or (":" in reference and "/" not in reference):  # an identifier alone, urn:uuid:…
            return bool(value.get("type") == wanted)
        if reference.startswith("#"):
            return _contained_type(sink.resource, reference[1:]) == wanted
        return bool(reference.startswith(relative)) or absolute in reference

    return test


def _contained_type(resource: Resource, id: str) -> str | None:
    if not id:
        return str(resource["resourceType"])  # `#` alone is the resource itself
    return next((one["resourceType"] for one in resource.get("contained", ()) if one.get("id") == id), None)


_TESTS: dict[str, Callable[..., Test]] = {"eq": _equals, "has": _has_extension, "is": _resolves_to}


# ---- references ----------------------------------------------------------------------------------------------------

_LOCAL = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}", re.ASCII)


def is_local(reference: str) -> bool:
    """Is it `Type/id`, an address on this server?"""
    return _LOCAL.fullmatch(reference) is not None


def local(references: Iterable[str | None]) -> list[str]:
    """Those of the references that are `Type/id` on this server, each once, in their order."""
    return list(dict.fromkeys(one for one in references if one and is_local(one)))
