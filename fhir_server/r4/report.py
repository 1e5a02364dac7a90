"""What exactly is wrong with this resource, and where?

The slow pass: run only when `quick.py` could not say yes. It walks the resource along the same tables with the same
tests, and collects every problem with the FHIRPath of its place. It also knows what needs the whole resource: contained
resources (dom-2 to dom-5) and local references (ref-1), https://hl7.org/fhir/R4/references.html#contained.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from common import errors
from fhir_server.r4 import elements, invariants, narrative, primitives, quick, references, texts
from fhir_server.r4.bindings import Bindings

MAX_ISSUES = 200  # a hostile body must not become a larger answer


@dataclass(slots=True)
class _Container:
    """The resource that `#id` is resolved in: its contained resources by id, and the ids that something points to."""

    types: dict[str, str]
    used: set[str] = field(default_factory=set)
    inside: str | None = None  # the contained resource being looked at


@dataclass(frozen=True, slots=True)
class _Spot:
    """One element of the resource: what the tables say about it, where it is, and how deep."""

    element: elements.Element
    kind: elements.Type
    path: str
    level: int

    @classmethod
    def of(cls, shape: elements.Shape, name: str, path: str, level: int) -> _Spot:
        """The child `name` of a structure at `path`."""
        element, kind = shape.names[name]
        return cls(element, kind, f"{path}.{element.name}", level + elements.nests(shape.name, kind))

    def at(self, index: int) -> _Spot:
        """One value of a list."""
        return _Spot(self.element, self.kind, f"{self.path}[{index}]", self.level)


class _Enough(Exception):
    """MAX_ISSUES is reached."""


class Report:
    """One slow pass over one resource."""

    def __init__(self, types: frozenset[str], shapes: elements.Shapes, bindings: Bindings) -> None:
        self._types = types
        self._shapes = shapes
        self._bindings = bindings
        self._issues: list[errors.Issue] = []
        self._containers: list[_Container] = []
        self._may_be_conditional = False

    def run(self, resource: Any) -> list[errors.Issue]:
        """Every problem of the resource in document order, at most MAX_ISSUES; empty when it is valid."""
        try:
            type = resource.get("resourceType") if isinstance(resource, dict) else None
            self._may_be_conditional = type == "Bundle" and resource.get("type") in ("transaction", "batch")
            self._resource(resource, type if isinstance(type, str) and type in self._types else "", level=0)
        except _Enough:
            pass
        return self._issues

    def _add(self, text: str, path: str, code: str) -> None:
        self._issues.append(errors.Issue(text, path, code))
        if len(self._issues) >= MAX_ISSUES:
            raise _Enough

    # Resources

    def _resource(self, value: Any, path: str, *, level: int) -> None:
        """A resource that is its own container: the root, or one in a Bundle or Parameters."""
        if not self._is_resource(value, path):
            return
        self._containers.append(_Container(_contained_types(value)))
        self._walk(value, value["resourceType"], path, level)
        self._contained_used(value, path, self._containers.pop())

    def _is_resource(self, value: Any, path: str) -> bool:
        if not isinstance(value, dict):
            self._add(texts.expected("resource", "un objet", value), path, "structure")
        elif "resourceType" not in value:
            self._add("« resourceType » manque : indiquez le type de la ressource", path, "structure")
        elif not isinstance(value["resourceType"], str) or value["resourceType"] not in self._types:
            self._add("« resourceType » n'est pas un type de ressource de FHIR R4", path, "structure")
        else:
            return True
        return False

    def _contained(self, value: Any, path: str, level: int) -> None:
        container = self._containers[-1]
        if container.inside is not None:
            self._add("dom-2 : une ressource contenue n'en contient pas d'autre", path, "invariant")
            return
        if not self._is_resource(value, path):
            return
        meta = value.get("meta")
        if isinstance(meta, dict) and not meta.keys().isdisjoint(("versionId", "lastUpdated")):
            self._add("dom-4 : retirez « versionId » et « lastUpdated » de la ressource contenue", path, "invariant")
        if isinstance(meta, dict) and "security" in meta:
            self._add("dom-5 : retirez « security » de la ressource contenue", path, "invariant")
        container.inside = str(value.get("id", ""))
        self._walk(value, value["resourceType"], path, level)
        container.inside = None

    def _contained_used(self, value: dict[str, Any], path: str, container: _Container) -> None:
        for index, each in enumerate(_dicts(value.get("contained"))):
            if each.get("id") not in container.used:
                where = f"{path}.contained[{index}]"
                self._add(
                    "dom-3 : rien ne désigne la ressource contenue : ajoutez « #id » ou retirez-la", where, "invariant"
                )

    # Structures

    def _walk(self, value: Any, name: str, path: str, level: int, *, may_be_hollow: bool = False) -> None:
        """An object against the table of its structure; then, when its parts are sound, against its invariants."""
        if level > quick.MAX_NESTING:
            self._add(f"imbrication de plus de {quick.MAX_NESTING} niveaux : simplifiez", path, "structure")
        elif not isinstance(value, dict):
            self._add(texts.expected(_last(path), "un objet", value), path, "structure")
        elif not value:
            self._add("objet vide : retirez-le ou complétez-le", path, "structure")
        else:
            before = len(self._issues)
            self._children(value, self._shapes[name], path, level)
            if self._shapes[name].kind != "resource" and not may_be_hollow and value.keys() == {"id"}:
                self._add("ele-1 : l'« id » seul ne dit rien : ajoutez une valeur ou une extension", path, "invariant")
            if len(self._issues) == before:
                for rule in invariants.RULES.get(name, ()):
                    if not rule.holds(value):
                        self._add(f"{rule.key} : {rule.text}", path, "invariant")

    def _children(self, value: dict[str, Any], shape: elements.Shape, path: str, level: int) -> None:
        for key in value:
            name = key.removeprefix("_")
            if key == "resourceType" and shape.kind == "resource":
                continue
            if name not in shape.names or (key != name and name not in shape.twins):
                where = f"{path}.{key}" if key.isidentifier() and len(key) <= 64 else path
                self._add(texts.unknown(key, shape.name, shape.names), where, "structure")
            elif key == name or name not in value:
                self._element(value, name, _Spot.of(shape, name, path, level))
        self._cardinality(value, shape, path)

    def _cardinality(self, value: dict[str, Any], shape: elements.Shape, path: str) -> None:
        for element, names in shape.groups:
            if not (element.min or element.choice):
                continue
            present = [name for name in names if name in value or "_" + name in value]
            if element.min and not present:
                self._add(texts.missing(element.name, names), f"{path}.{element.name}", "required")
            elif len(present) > 1:
                text = f"« {element.name}[x] » n'a qu'une valeur : gardez l'un de {texts.listed(present)}"
                self._add(text, f"{path}.{element.name}", "structure")

    # Elements

    def _element(self, value: dict[str, Any], name: str, spot: _Spot) -> None:
        is_primitive = self._shapes.is_primitive(spot.kind)
        for index, item, extra in self._pairs(value, name, spot):
            one = spot if index is None else spot.at(index)
            if is_primitive:
                self._primitive(item, extra, one)
            else:
                self._complex(item, one)

    def _pairs(self, value: dict[str, Any], name: str, spot: _Spot) -> Iterator[tuple[int | None, Any, Any]]:
        """Each value with what stands beside it in `_name`: its index (None for no list), the value, the extra."""
        for key in (name, "_" + name):
            if key in value and (reason := _list_problem(key, value[key], spot.element.many)):
                self._add(reason, spot.path, "structure")
                return
        item, extra = value.get(name), value.get("_" + name)
        if not spot.element.many:
            yield None, item, extra
            return
        if item and extra and len(item) != len(extra):
            text = f"« _{name} » doit avoir autant de valeurs que « {name} » : complétez avec null"
            self._add(text, spot.path, "structure")
            return
        for index in range(len(item or extra or ())):
            yield index, item[index] if item else None, extra[index] if extra else None

    def _primitive(self, item: Any, extra: Any, spot: _Spot) -> None:
        if item is not None:
            self._primitive_value(item, spot)
        elif extra is None:
            self._add("null n'est permis qu'à côté d'une extension : retirez-le", spot.path, "structure")
        elif isinstance(extra, dict) and extra and "extension" not in extra:
            self._add("ele-1 : sans valeur, il faut une extension", spot.path, "invariant")
        if extra is not None:
            self._walk(extra, "Element", spot.path, spot.level, may_be_hollow=True)

    def _primitive_value(self, item: Any, spot: _Spot) -> None:
        name, type = spot.element.name, spot.kind.code
        primitive = primitives.PRIMITIVES[type]
        codes = self._bindings.codes(spot.element.binding)
        if builtins.type(item) not in primitive.json:
            self._add(texts.expected(name, primitive.wanted, item), spot.path, "structure")
        elif type == "xhtml":
            if reason := narrative.problem(item):
                self._add(f"txt-1 : {reason}", spot.path, "invariant")
        elif not primitives.holds(primitive.accepts, item):
            self._add(texts.wrong(name, primitive.wanted), spot.path, "value")
        elif codes is not None and item not in codes:
            self._add(texts.codes(name, codes), spot.path, "code-invalid")
        elif type in ("uri", "url", "canonical") and references.is_local(item):
            self._containers[-1].used.add(item[1:])

    def _complex(self, item: Any, spot: _Spot) -> None:
        if spot.kind.code == "Resource":
            if spot.element.name == "contained":
                self._contained(item, spot.path, spot.level)
            else:
                self._resource(item, spot.path, level=spot.level)
            return
        before = len(self._issues)
        self._walk(item, spot.kind.structure, spot.path, spot.level)
        if len(self._issues) > before:
            return
        if spot.kind.code == "Reference":
            self._reference(item, spot.kind, spot.path)
        if spot.element.binding and not self._bindings.allows(spot.element.binding, item):
            text = f"« {spot.element.name} » demande un code de {spot.element.binding}"
            self._add(text, spot.path, "code-invalid")

    # References

    def _reference(self, value: dict[str, Any], kind: elements.Type, path: str) -> None:
        named = value.get("type")
        if kind.targets and named in self._types and named not in kind.targets:
            self._add(texts.targets("type", kind.targets), f"{path}.type", "value")
            return
        reference = value.get("reference")
        if reference is None:
            return
        type = references.target_type(reference, self._types)
        if references.is_local(reference):
            type = self._local(reference[1:], path)
        elif not (
            references.is_legal(reference) or (self._may_be_conditional and references.is_conditional(reference))
        ):
            text = "« reference » : écrivez Type/id, une URL absolue, urn:uuid:… ou #id"
            self._add(text, f"{path}.reference", "value")
            return
        if type is None:
            return
        if type not in self._types:
            self._add("« reference » : ce type de ressource n'existe pas", f"{path}.reference", "value")
        elif kind.targets and type not in kind.targets:
            self._add(texts.targets("reference", kind.targets), f"{path}.reference", "value")
        elif named in self._types and named != type:
            self._add("« type » et « reference » désignent des types différents", path, "value")

    def _local(self, id: str, path: str) -> str | None:
        """The type of the contained resource that `#id` names; `#` alone names the container."""
        container = self._containers[-1]
        if not id:
            if container.inside is not None:
                container.used.add(container.inside)
            return None
        container.used.add(id)
        if id not in container.types:
            self._add("ref-1 : aucune ressource contenue ne porte cet id", f"{path}.reference", "invariant")
        return container.types.get(id)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _contained_types(value: dict[str, Any]) -> dict[str, str]:
    return {
        one["id"]: one["resourceType"]
        for one in _dicts(value.get("contained"))
        if isinstance(one.get("id"), str) and isinstance(one.get("resourceType"), str)
    }


def _list_problem(key: str, value: Any, many: bool) -> str:
    if value is None:
        return f"« {key} » ne peut pas être null : retirez-le"
    if many and not isinstance(value, list):
        return f"« {key} » est une liste : écrivez [ … ]"
    if not many and isinstance(value, list):
        return f"« {key} » n'est pas une liste : retirez les crochets"
    return f"« {key} » est une liste vide : retirez-la ou complétez-la" if value == [] else ""


def _last(path: str) -> str:
    return path.rpartition(".")[2]
