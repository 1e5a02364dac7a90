"""Is this resource certainly valid?

The common case, answered in microseconds: one closure per structure, compiled from the tables when first met, that says
yes or no without knowing where it is. No means "look closer" (`report.py`), not "invalid": contained resources, local
references and rare forms of references are left to the slow pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhir_server.r4 import elements, invariants, primitives, references
from fhir_server.r4.bindings import Bindings

MAX_NESTING = 32  # extensions in extensions, items in items, resources in resources

Check = Callable[[Any], object]  # truthy for yes; may raise TypeError when the JSON type is wrong


class Quick:
    """The compiled checks of all types. One instance serves all threads: a race only compiles a structure twice."""

    def __init__(self, types: frozenset[str], shapes: elements.Shapes, bindings: Bindings) -> None:
        self._types = types
        self._shapes = shapes
        self._bindings = bindings
        self._made: dict[tuple[str, int, tuple[str, ...]], Check] = {}
        self._top = self._resource(0)

    def accepts(self, resource: Any) -> bool:
        """True only when the resource keeps to every rule that the slow pass knows."""
        try:
            return bool(self._top(resource))
        except TypeError:  # a primitive check met another JSON type
            return False

    def _resource(self, level: int) -> Check:
        types, structure = self._types, self._structure

        def check(value: Any) -> object:
            if type(value) is not dict:
                return False
            name = value.get("resourceType")
            return name in types and structure(name, level)(value)

        return check

    def _structure(self, name: str, level: int, targets: tuple[str, ...] = ()) -> Check:
        if level > MAX_NESTING:
            return _never
        key = (name, level, targets)
        if key not in self._made:
            self._made[key] = self._compile(name, level, targets)
        return self._made[key]

    def _compile(self, name: str, level: int, targets: tuple[str, ...]) -> Check:
        """The check of one structure. Its children are compiled at the first value, because types are cyclic."""
        shape = self._shapes[name]
        children: dict[str, Check] = {}
        required = tuple(one.name for one, _ in shape.groups if one.min and not one.choice)
        choices = tuple((frozenset(names), one.min) for one, names in shape.groups if one.choice)
        rules: tuple[Check, ...] = tuple(rule.holds for rule in invariants.RULES.get(name, ()))
        if name == "Reference":
            rules = (lambda value: references.agrees(value, self._types),)
        may_be_hollow = shape.kind != "resource" and not required
        paired = self._paired(shape, level, children, rules)

        def check(value: Any) -> object:
            if type(value) is not dict or not value:
                return False
            if not children:
                children.update(self._children(shape, level, targets))
            for key, item in value.items():
                accepts = children.get(key)
                if accepts is None or not accepts(item):
                    return paired(value, key)
            for key in required:
                if key not in value:
                    return paired(value, "")
            for names, least in choices:
                if not least <= len(names.intersection(value)) <= 1:
                    return paired(value, "")
            if may_be_hollow and len(value) == 1 and "id" in value:
                return False  # ele-1
            for holds in rules:  # noqa: SIM110 - a generator costs a microsecond each
                if not holds(value):
                    return False
            return True

        return check

    def _paired(
        self, shape: elements.Shape, level: int, children: dict[str, Check], rules: tuple[Check, ...]
    ) -> Callable[[dict[str, Any], str], object]:
        """The check of a structure in which primitives may have a `_name` beside them: rarer, so asked second.

        It goes on at the key where the first check stopped; "" when all keys were taken.
        """
        groups = tuple((frozenset(names), one.min) for one, names in shape.groups if one.choice or one.min)
        many = {name: shape.names[name][0].many for name in shape.twins}

        def check(value: dict[str, Any], stopped: str) -> object:
            names = {key[1:] for key in value if key[:1] == "_"}
            if not names or not names <= many.keys():
                return False
            extras = self._structure("Element", level)
            is_new = False
            for key, item in value.items():
                is_new = is_new or key == stopped
                if item is None:
                    return False
                if key[:1] == "_":
                    name = key[1:]
                    test = _twin_lists if many[name] else _twins
                    if not test(value.get(name), item, children[name], extras):
                        return False
                elif is_new and key not in names and ((accepts := children.get(key)) is None or not accepts(item)):
                    return False
            names.update(value)
            right = all(least <= len(group & names) <= 1 for group, least in groups)
            return right and all(holds(value) for holds in rules)

        return check

    def _children(self, shape: elements.Shape, level: int, targets: tuple[str, ...]) -> dict[str, Check]:
        found: dict[str, Check] = {}
        if shape.kind == "resource":
            found["resourceType"] = frozenset({shape.name}).__contains__
        for name, (element, kind) in shape.names.items():
            one = self._value(element, kind, level + elements.nests(shape.name, kind))
            found[name] = _many(one) if element.many else one
        if shape.name == "Reference":
            found["reference"] = references.usual(targets) if targets else references.usual_to_any(self._types)
            found["type"] = (frozenset(targets) or self._types).__contains__
        return found

    def _value(self, element: elements.Element, kind: elements.Type, level: int) -> Check:
        if kind.code == "Resource":
            return _never if element.name == "contained" else self._resource(level)
        if self._shapes.is_primitive(kind):
            codes = self._bindings.codes(element.binding)
            return codes.__contains__ if codes else primitives.PRIMITIVES[kind.code].accepts
        check = self._structure(kind.structure, level, kind.targets if kind.code == "Reference" else ())
        if element.binding:
            return lambda value: check(value) and self._bindings.allows(element.binding, value)
        return check


def _twins(plain: Any, extra: Any, accepts: Check, extras: Check) -> object:
    """A primitive, None when it is not there, and the `_name` beside it."""
    if not extras(extra):
        return False
    return "extension" in extra if plain is None else accepts(plain)


def _twin_lists(plain: Any, extra: Any, accepts: Check, extras: Check) -> bool:
    """A list of primitives and the list beside it, of the same length, with nulls where the other one speaks."""
    if type(extra) is not list or not extra:
        return False
    plain = [None] * len(extra) if plain is None else plain
    if type(plain) is not list or len(plain) != len(extra):
        return False
    for item, beside in zip(plain, extra, strict=True):
        if beside is not None and not extras(beside):
            return False
        if item is None:
            if beside is None or "extension" not in beside:
                return False
        elif not accepts([item]):
            return False
    return True


def _many(one: Check) -> Check:
    def check(value: Any) -> bool:
        if type(value) is not list or not value:
            return False
        for item in value:  # noqa: SIM110 - as above
            if item is None or not one(item):  # null: perhaps `_name` says more
                return False
        return True

    return check


def _never(value: Any) -> bool:
    return False
