"""Which elements does a resource have, of which types, and where do they stand in its JSON?

https://hl7.org/fhir/R4/fhirpath.html#polymorphism: an element of a choice has the name before `[x]`, a primitive keeps
its extensions (`_name` beside it). Typed by the compiled R4 tables; nothing of the resource is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from fhir_server.fhirpath import units, values
from fhir_server.r4 import elements

UCUM = "http://unitsofmeasure.org"

_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode

# What stands above a type; the tables do not say it.
_ABOVE = {
    "code": "string", "id": "string", "markdown": "string",
    "url": "uri", "canonical": "uri", "uuid": "uri", "oid": "uri",
    "positiveInt": "integer", "unsignedInt": "integer",
    "Age": "Quantity", "Count": "Quantity", "Distance": "Quantity", "Duration": "Quantity",
    "MoneyQuantity": "Quantity", "SimpleQuantity": "Quantity",
    "Dosage": "BackboneElement", "Timing": "BackboneElement", "ElementDefinition": "BackboneElement",
    "Binary": "Resource", "Bundle": "Resource", "Parameters": "Resource", "DomainResource": "Resource",
    "BackboneElement": "Element",
}  # fmt: skip
_SYSTEM = frozenset("Boolean Integer Decimal String Date DateTime Time Quantity Any".split())


class Node:
    """One element: its JSON, the key of its table, and its place.

    `value` is the JSON (None for a primitive that has extensions only), `extra` the `_name` object beside a primitive.
    `holder[key]`, or `holder[key][index]` for one of a list, is where it stands; the root has no holder.
    """

    __slots__ = ("extra", "holder", "index", "key", "type", "value")

    def __init__(
        self, value: Any, type: str, *, extra: Any = None, holder: Any = None, key: str = "", index: int | None = None
    ) -> None:
        self.value = value
        self.type = type
        self.extra = extra
        self.holder = holder
        self.key = key
        self.index = index


Item = Node | values.Value
Items = list[Item]


class _Child(NamedTuple):
    """One JSON name of an element, and the table of its type."""

    key: str
    structure: str


class Model:
    """The elements of R4 as FHIRPath sees them; made by `evaluate.model`."""

    def __init__(self, tables: elements.Structures) -> None:
        self._tables = tables
        # What `type()` gives has elements too.
        info: dict[str, tuple[_Child, ...]] = {name: (_Child(name, "string"),) for name in ("namespace", "name")}
        self._children: dict[str, dict[str, tuple[_Child, ...]]] = {"TypeInfo": info}

    def root(self, resource: dict[str, Any]) -> Node:
        """A resource as a node."""
        return Node(resource, self._resource_type(resource))

    def child(self, node: Node, name: str) -> list[Node]:
        """The children of that name, in order; none where the type has no such element."""
        found = self._names(node.type).get(name)
        inside = self._inside(node)
        if found is None or inside is None:
            return []
        for one in found:
            if one.key in inside or "_" + one.key in inside:
                return list(self._nodes(inside, one))
        return []

    def children(self, node: Node) -> list[Node]:
        """All children, in the order of the tables."""
        return [child for _, child in self.named(node)]

    def named(self, node: Node) -> Iterator[tuple[str, Node]]:
        """All children with the names of their elements (`value` for `valueQuantity`), in the order of the tables."""
        inside = self._inside(node)
        if inside is None:
            return
        for name, group in self._names(node.type).items():
            for one in group:
                if one.key in inside or "_" + one.key in inside:
                    for child in self._nodes(inside, one):
                        yield name, child

    def is_primitive(self, node: Node) -> bool:
        """Whether the element is a primitive, which has a value of its own."""
        table = self._tables.get(node.type)
        return table is not None and table.kind == "primitive"

    def plain(self, item: Item) -> Item:
        """A primitive or a Quantity as the value it stands for; anything else as it is."""
        if not isinstance(item, Node):
            return item
        if item.value is None:
            return item
        if isinstance(item.value, dict):
            return self._quantity(item) if self.is_type(item, "FHIR.Quantity") else item
        return _value(item.value, item.type)

    def key(self, item: Item) -> Any:
        """A hashable that two items share when they are equal (`=` is true)."""
        item = self.plain(item)
        if isinstance(item, Node):
            return ("node", _encode([item.value, item.extra]))
        if isinstance(item, values.Quantity):
            scale = units.scale(item.unit)
            return ("quantity", *((scale[0], item.value * scale[1]) if scale else (item.unit, item.value)))
        if isinstance(item, values.Moment):
            return ("moment", values.in_utc(item))
        return (values.is_number(item) or type(item).__name__, item)

    def type_name(self, item: Item) -> tuple[str, str]:
        """Namespace and name of the type of an item."""
        if isinstance(item, Node):
            table = self._tables.get(item.type)
            name = "BackboneElement" if table is not None and table.kind == "backbone" else item.type
            return "FHIR", name
        return "System", values.type_name(item)

    def is_known_type(self, name: str) -> bool:
        """Whether a type specifier names a type of FHIR or of FHIRPath."""
        namespace, dot, last = name.rpartition(".")
        if dot and namespace == "System":
            return True  # nothing is of a System type that does not exist
        return (last in self._tables and (namespace in ("", "FHIR"))) or (not dot and last in _SYSTEM)

    def is_type(self, item: Item, name: str) -> bool:
        """Whether an item is of a type or of one below it. Without a namespace FHIR goes before System."""
        namespace, _, last = name.rpartition(".")
        own_space, own = self.type_name(item)
        wanted = namespace or ("FHIR" if last in self._tables else "System")
        if own_space != wanted:
            return not namespace and own_space == "System" and own == last  # Quantity is a type of both
        return own == last or (wanted == "FHIR" and last in self._above(own))

    def is_exact(self, item: Item, name: str) -> bool:
        """Whether an item is no FHIR primitive, or is of this very type."""
        return not isinstance(item, Node) or not self.is_primitive(item) or item.type == name.rpartition(".")[2]

    def _above(self, type: str) -> Iterator[str]:
        while type not in ("Resource", "Element"):
            kind = self._tables[type].kind if type in self._tables else "complex"
            type = _ABOVE.get(type) or ("DomainResource" if kind == "resource" else "Element")
            yield type

    def _names(self, type: str) -> dict[str, tuple[_Child, ...]]:
        if type not in self._children:
            table = self._tables.get(type)
            self._children[type] = {
                one.name: tuple(_Child(key, kind.structure) for key, kind in elements.json_names(one))
                for one in (table.elements if table is not None else ())
            }
        return self._children[type]

    def _inside(self, node: Node) -> dict[str, Any] | None:
        """The JSON object that holds the children."""
        for one in (node.value, node.extra):
            if isinstance(one, dict):
                return one
        return None

    def _nodes(self, holder: dict[str, Any], child: _Child) -> Iterator[Node]:
        value, extra = holder.get(child.key), holder.get("_" + child.key)
        if isinstance(value, list) or isinstance(extra, list):
            many = value if isinstance(value, list) else []
            extras = extra if isinstance(extra, list) else []
            for index in range(max(len(many), len(extras))):
                one = many[index] if index < len(many) else None
                beside = extras[index] if index < len(extras) else None
                if one is not None or beside is not None:
                    yield self._node(one, child, beside, (holder, index))
        elif value is not None or extra is not None:
            yield self._node(value, child, extra, (holder, None))

    def _node(self, value: Any, child: _Child, extra: Any, place: tuple[Any, int | None]) -> Node:
        type = child.structure
        if type == "Resource" and isinstance(value, dict):
            type = self._resource_type(value)
        return Node(value, type, extra=extra, holder=place[0], key=child.key, index=place[1])

    def _resource_type(self, resource: dict[str, Any]) -> str:
        named = resource.get("resourceType")
        return named if isinstance(named, str) and named in self._tables else "Resource"

    def _quantity(self, node: Node) -> Item:
        value, unit = node.value.get("value"), node.value.get("code") or node.value.get("unit") or "1"
        if not values.is_number(value) or not isinstance(unit, str):
            return node
        return values.Quantity(Decimal(value), unit)


def _value(value: Any, type: str) -> Item:
    """The System value of a FHIR primitive."""
    if type in ("date", "dateTime", "instant", "time") and isinstance(value, str):
        return values.moment(value, type) or value
    if type == "decimal" and isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    found: Item = value
    return found
