"""Resources of every type made from the tables: right in structure, full of rare forms."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from fhir_server.r4 import elements, load
from tests.fhir_server.r4.samples import DIV, Resource

DEEPEST = 6

_DATES = ("2026", "2026-01", "2026-01-31", "2024-02-29", "0001-01-01")
_TIMES = ("2026-01-31T08:05:00Z", "2026-01-31T08:05:00.120+01:00", "2016-12-31T23:59:60-13:00")
_URIS = (
    "http://example.test/a?b=c|1.0#d",
    "urn:oid:1.2.250.1.213.1.4.10",
    "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
)
_VALUES: dict[str, tuple[Any, ...]] = {
    "base64Binary": ("QUJD", "QQ==", "QU JD\nQQ=="),
    "boolean": (True, False),
    "canonical": _URIS,
    "code": ("a", "A-1.b", "two words"),
    "date": _DATES,
    "dateTime": _DATES + _TIMES,
    "decimal": (0, -1, 12, Decimal("1.00"), Decimal("-0.050"), Decimal("1E+3"), Decimal("1.5E-7")),
    "id": ("a", "A-1.b", "x" * 64),
    "instant": _TIMES,
    "integer": (0, -(2**31), 2**31 - 1),
    "oid": ("urn:oid:1.2.250",),
    "positiveInt": (1, 2**31 - 1),
    "time": ("00:00:00", "23:59:60.123"),
    "unsignedInt": (0, 7),
    "uri": _URIS,
    "url": _URIS,
    "uuid": ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",),
    "xhtml": (DIV,),
}


class Maker:
    """Makes resources: the same seed and texts give the same resource."""

    def __init__(self, definitions: load.Definitions, seed: int, texts: list[str]) -> None:
        self._definitions = definitions
        self._random = Random(seed)
        self._texts = texts

    def resource(self, type: str, depth: int = 0) -> Resource:
        """A resource of that type with its required elements and some of the others."""
        return {"resourceType": type, **self._children(self._definitions.elements[type], depth)}

    def _children(self, table: elements.Structure, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for element in table.elements:
            if element.name == "contained":
                continue  # it has to be pointed to
            if element.min or (depth < DEEPEST and self._random.random() < 0.5 / (depth + 1)):
                name, kind = self._random.choice(elements.json_names(element))
                self._put(found, name, element, kind, depth)
        if not found:  # something has to be there; Parameters, Bundle and Binary have no extension of their own
            some = next((one for one in table.elements if one.name == "extension"), table.elements[0])
            self._put(found, some.name, some, some.types[0], DEEPEST)
        if found.keys() == {"id"} and table.kind not in ("resource", "primitive"):
            found.pop("id")
            return self._children(table, depth)
        return found

    def _put(
        self, found: dict[str, Any], name: str, element: elements.Element, kind: elements.Type, depth: int
    ) -> None:
        count = self._random.choice((1, 1, 2, 3)) if element.many else 1
        if self._definitions.elements[kind.structure].kind != "primitive":
            parts = [self._complex(element, kind, depth + 1) for _ in range(count)]
            found[name] = parts if element.many else parts[0]
            return
        values: list[Any] = [self._primitive(element, kind) for _ in range(count)]
        extras = [self._extra() if self._may_have_extra(element, kind) else None for _ in range(count)]
        pairs = zip(values, extras, strict=True)
        values = [None if extra and self._random.random() < 0.4 else value for value, extra in pairs]
        if element.many:
            found[name] = values
            if any(extras):
                found["_" + name] = extras
            return
        if values[0] is not None:
            found[name] = values[0]
        if extras[0]:
            found["_" + name] = extras[0]

    def _may_have_extra(self, element: elements.Element, kind: elements.Type) -> bool:
        allowed = not element.attribute and element.name != "id" and kind.code != "xhtml"
        return allowed and self._random.random() < 0.15

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"extension": [{"url": "http://example.test/a", "valueString": self._text()}]}
        return {"id": "e", **extra} if self._random.random() < 0.3 else extra

    def _complex(self, element: elements.Element, kind: elements.Type, depth: int) -> dict[str, Any]:
        if kind.code == "Resource":
            types = ("Basic", "Observation", "Patient") if depth < DEEPEST else ("Patient",)
            return self.resource(self._random.choice(types), depth)
        if element.binding in self._definitions.value_sets:
            system, codes = self._random.choice(sorted(self._definitions.value_sets[element.binding].items()))
            return {"coding": [{"system": system, "code": min(codes)}], "text": self._text()}
        if kind.code == "Reference":
            target = self._random.choice(kind.targets or self._definitions.types)
            return {"reference": f"{target}/1", "type": target}
        return self._children(self._definitions.elements[kind.structure], depth)

    def _primitive(self, element: elements.Element, kind: elements.Type) -> Any:
        if element.binding in self._definitions.value_sets:
            codes = frozenset().union(*self._definitions.value_sets[element.binding].values())
            return self._random.choice(sorted(codes))
        return self._random.choice(_VALUES[kind.code]) if kind.code in _VALUES else self._text()

    def _text(self) -> str:
        return self._random.choice(self._texts)


def spoil(resource: Resource, random: Random) -> None:
    """Break something somewhere: take away, replace, rename, repeat."""
    spots: list[tuple[Any, Any]] = []
    waiting: list[Any] = [resource]
    while waiting:
        here = waiting.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        spots += [(here, key) for key in keys]
        waiting += [here[key] for key in keys if isinstance(here[key], dict | list)]
    here, key = random.choice(spots)
    action = random.choice(("drop", "replace", "replace", "wrap", "rename", "repeat"))
    if action == "drop":
        del here[key]
    elif action == "wrap":
        here[key] = random.choice(([here[key]], {"value": here[key]}))
    elif action == "rename" and isinstance(here, dict):
        here[random.choice(("_" + key, key.removeprefix("_"), key + "x", "id", "extension", ""))] = here.pop(key)
    elif action == "repeat" and isinstance(here[key], list):
        here[key] = here[key] * 2
    else:
        odd: tuple[Any, ...] = (
            None,
            "",
            " ",
            "x",
            "#x",
            "2026-02-30",
            0,
            -1,
            1.5,
            Decimal("NaN"),
            True,
            [],
            {},
            [None],
            [[]],
            {"id": "a"},
        )
        here[key] = random.choice(odd)
