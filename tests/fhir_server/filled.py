"""A resource with everything in it: each element of a type filled once, whichever way the definitions allow.

`variant` turns the choices: which type of a choice, which target of a reference, which code of a value set. Only the
shape is right, so it serves to test what reads structure, not what judges content.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fhir_server.r4 import elements, load

DEEPEST = 6
_LEFT_OUT = {"id", "extension", "modifierExtension", "contained", "implicitRules"}

_SAMPLES: dict[str, Any] = {
    "boolean": True,
    "integer": 3,
    "positiveInt": 3,
    "unsignedInt": 3,
    "decimal": Decimal("3.10"),
    "date": "2026-05-11",
    "dateTime": "2026-05-11T08:00:00+02:00",
    "instant": "2026-05-11T08:00:00.123Z",
    "time": "08:00:00",
    "base64Binary": "AA==",
    "uri": "urn:oid:1.2.250.1.213.1.4.10",
    "url": "https://url.example/a,b",
    "canonical": "https://canonical.example/Q|1.0",
    "oid": "urn:oid:1.2.3",
    "uuid": "urn:uuid:0b1c8a4e-0000-4000-8000-000000000000",
    "id": "some-id",
}


def resource(definitions: load.Definitions, type: str, variant: int = 0) -> dict[str, Any]:
    """One resource of this type."""
    return _Filler(definitions, variant).resource(type)


class _Filler:
    def __init__(self, definitions: load.Definitions, variant: int) -> None:
        self._definitions = definitions
        self._variant = variant

    def resource(self, type: str) -> dict[str, Any]:
        return {"resourceType": type, "id": f"{type.lower()}-{self._variant}", **self._structure(type, ())}

    def _structure(self, name: str, inside: tuple[str, ...]) -> dict[str, Any]:
        made = {}
        for element in self._definitions.elements[name].elements:
            if element.name in _LEFT_OUT or element.name.startswith("_"):
                continue
            choices = elements.json_names(element)
            json_name, kind = choices[self._variant % len(choices)]
            value = self._value(kind, element, (*inside, name))
            if value is not None:
                made[json_name] = [value] if element.many else value
        return made

    def _value(self, kind: elements.Type, element: elements.Element, inside: tuple[str, ...]) -> Any:
        if kind.code == "code":
            return self._code(element.binding)
        if kind.code in ("Reference", "canonical") and kind.targets:
            target = kind.targets[self._variant % len(kind.targets)]
            return (
                {"reference": f"{target}/x", **self._identifier()}
                if kind.code == "Reference"
                else _SAMPLES["canonical"]
            )
        if kind.code == "Reference":
            return {"reference": "Patient/x", **self._identifier()}
        if kind.code == "Resource":
            return {"resourceType": ("Composition", "MessageHeader")[self._variant % 2], "id": "x"}
        if self._definitions.elements[kind.structure].kind == "primitive":
            return _SAMPLES.get(kind.code, f"Été, l’«{element.name}» | $1\\2")
        if kind.code == "Narrative" or kind.structure in inside or len(inside) > DEEPEST:
            return None
        return self._structure(kind.structure, inside) or None

    def _code(self, binding: str) -> str:
        systems = self._definitions.value_sets.get(binding, {"": frozenset({"a-code"})})
        codes = sorted(code for codes in systems.values() for code in codes)
        return codes[self._variant % len(codes)]

    def _identifier(self) -> dict[str, Any]:
        return {"identifier": {"system": "urn:oid:1.2.3", "value": "n,o|p"}}
