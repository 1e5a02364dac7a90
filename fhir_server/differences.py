"""What must be done to one resource to make it another?

The operations of FHIRPath Patch (R4 fhirpatch.html), as a Parameters resource: readable, and fit to be sent as a PATCH.
They are meant to be carried out one after the other, so that those on a list go from its end to its beginning and no
index shifts under the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import msgspec

from fhir_server.changes import Resource
from fhir_server.r4 import elements

_MOST_COMPARED = 500  # items of a list that are aligned; longer ones are compared place by place
_key = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_IDENTITY = ("resourceType", "id")
_OF_THE_SERVER = ("versionId", "lastUpdated")


@dataclass(frozen=True, slots=True)
class _Value:
    """One value as JSON writes it: the item, and what stands beside a primitive (`_name`)."""

    item: Any
    extra: Any = None

    @property
    def key(self) -> bytes:
        """Equal for equal values."""
        return _key((self.item, self.extra))


def between(old: Resource, new: Resource, shapes: elements.Shapes) -> Resource:
    """The Parameters that turn `old` into `new`, both of one type; identity and version are not compared."""
    type = old["resourceType"]
    found = _Differences(shapes).structure(_comparable(old), _comparable(new), shapes[type], type)
    parameters = [{"name": "operation", "part": parts} for parts in found]
    return {"resourceType": "Parameters", **({"parameter": parameters} if parameters else {})}


def _comparable(resource: Resource) -> Resource:
    found = {name: value for name, value in resource.items() if name not in _IDENTITY}
    meta = {name: value for name, value in found.pop("meta", {}).items() if name not in _OF_THE_SERVER}
    return {**found, "meta": meta} if meta else found


Parts = list[Resource]


class _Differences:
    """Walks two values side by side."""

    def __init__(self, shapes: elements.Shapes) -> None:
        self._shapes = shapes
        open_type = next(one for one in shapes.tables["Parameters.parameter"].elements if one.name == "value")
        self._simple = {kind.code for kind in open_type.types}

    def structure(self, old: Resource, new: Resource, shape: elements.Shape, path: str) -> Iterator[Parts]:
        """The operations on the children of a value; what goes away goes first, a choice may change its type."""
        pairs = [
            (element, kind, _values(old, name, element), _values(new, name, element))
            for name, (element, kind) in shape.names.items()
            if {name, f"_{name}"} & (old.keys() | new.keys())
        ]
        pairs.sort(key=lambda pair: bool(pair[3]))
        for element, kind, before, after in pairs:
            place = f"{path}.{element.name}"
            if element.many:
                yield from self._list(before, after, (path, element, kind))
            elif not after:
                yield _operation("delete", place)
            elif not before:
                yield _operation("add", path, element.name, value=self._value("value", after[0], kind))
            else:
                yield from self._one(before[0], after[0], kind, place)

    def _one(self, old: _Value, new: _Value, kind: elements.Type, path: str) -> Iterator[Parts]:
        if old.key == new.key:
            return
        table = self._shapes.tables[kind.structure]
        if table.kind in ("complex", "backbone"):
            yield from self.structure(old.item, new.item, self._shapes[kind.structure], path)
        else:
            yield _operation("replace", path, value=self._value("value", new, kind))

    def _list(
        self, old: list[_Value], new: list[_Value], place: tuple[str, elements.Element, elements.Type]
    ) -> Iterator[Parts]:
        parent, element, kind = place
        path = f"{parent}.{element.name}"
        for start, end, first, last in reversed(_aligned(old, new)):
            both = min(end - start, last - first)
            for n in reversed(range(start + both, end)):
                yield _operation("delete", f"{path}[{n}]")
            at = start + both
            more = new[first + both : last]
            if at == len(old) and end - start == both:
                for one in more:
                    yield _operation("add", parent, element.name, value=self._value("value", one, kind))
            else:
                for one in reversed(more):
                    yield _operation("insert", path, index=at, value=self._value("value", one, kind))
            for n in reversed(range(both)):
                yield from self._one(old[start + n], new[first + n], kind, f"{path}[{start + n}]")

    def _value(self, name: str, value: _Value, kind: elements.Type) -> Resource:
        """A value as a part; what Parameters cannot hold as a datatype is spelled out in parts of its own."""
        if kind.code == "Resource":
            return {"name": name, "resource": value.item}
        code = "string" if kind.code == "xhtml" else kind.code
        if code in self._simple:
            typed = f"value{code[0].upper()}{code[1:]}"
            beside = {f"_{typed}": value.extra} if value.extra else {}
            return {"name": name, **({typed: value.item} if value.item is not None else {}), **beside}
        parts = [
            self._value(element.name, one, below)
            for child, (element, below) in self._shapes[kind.structure].names.items()
            for one in _values(value.item, child, element)
        ]
        return {"name": name, "part": parts}


def _values(holder: Resource, name: str, element: elements.Element) -> list[_Value]:
    item, extra = holder.get(name), holder.get(f"_{name}")
    if item is None and extra is None:
        return []
    if not element.many:
        return [_Value(item, extra)]
    length = len(item if item is not None else extra or ())
    items, extras = item or [None] * length, extra or [None] * length
    return [_Value(*pair) for pair in zip(items, extras, strict=True)]


def _aligned(old: list[_Value], new: list[_Value]) -> list[tuple[int, int, int, int]]:
    """The stretches that differ: of the old list and of the new one."""
    if max(len(old), len(new)) > _MOST_COMPARED:
        return [(0, len(old), 0, len(new))]
    keys = [one.key for one in old], [one.key for one in new]
    codes = SequenceMatcher(None, *keys, autojunk=False).get_opcodes()
    return [(start, end, first, last) for kind, start, end, first, last in codes if kind != "equal"]


def _operation(
    type: str, path: str, name: str = "", *, index: int | None = None, value: Resource | None = None
) -> Parts:
    parts: Parts = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    if name:
        parts.append({"name": "name", "valueString": name})
    if index is not None:
        parts.append({"name": "index", "valueInteger": index})
    if value is not None:
        parts.append(value)
    return parts
