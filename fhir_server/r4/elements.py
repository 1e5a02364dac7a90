"""What may stand in a resource, in which order, how often, and of which type?

Tables compiled from the snapshots of the R4 StructureDefinitions (https://hl7.org/fhir/R4/structuredefinition.html),
for the validator, the XML codec and the search parameters. Plain values only, so that the tables can be cached.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

SPECIFICATION = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = SPECIFICATION + "structuredefinition-fhir-type"

Kind = Literal["resource", "abstract", "complex", "primitive", "backbone"]
_KINDS: dict[str, Kind] = {"resource": "resource", "complex-type": "complex", "primitive-type": "primitive"}


class Type(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One type an element may have.

    `code` is what the name of a choice ends with (`Quantity` in `valueQuantity`), or the path of a backbone element.
    `structure` is the key of its table; it differs from `code` only for SimpleQuantity. `targets` are the resource
    types a Reference or canonical may point to, empty for any.
    """

    code: str
    structure: str
    targets: tuple[str, ...] = ()


class Element(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One child of a structure.

    `name` is without `[x]`; `choice` says that the type is part of the JSON name. `many` makes it a JSON array.
    `binding` is the canonical URL (without version) of a value set whose codes are required, else empty.
    `attribute` is the XML form, `summary` and `modifier` what `_summary` and `_elements` need.
    """

    name: str
    min: int
    many: bool
    types: tuple[Type, ...]
    choice: bool = False
    binding: str = ""
    summary: bool = False
    modifier: bool = False
    attribute: bool = False


class Structure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A resource type, a data type, or a backbone element (`Patient.contact`), with its children in XML order."""

    name: str
    kind: Kind
    elements: tuple[Element, ...]


Structures = dict[str, Structure]


def compile(definitions: Iterable[dict[str, Any]]) -> Structures:
    """Tables of every R4 type from its StructureDefinition, keyed by type name or backbone path.

    Profiles and logical models are left out, except SimpleQuantity and MoneyQuantity, which the specification uses as
    types of their own.
    """
    tables: Structures = {}
    for definition in definitions:
        if is_table(definition):
            tables.update(_structures(definition))
    return tables


def is_table(definition: dict[str, Any]) -> bool:
    """Whether a StructureDefinition has a table here: a type, not a profile or a logical model."""
    return definition["kind"] in _KINDS and (_is_type(definition) or _is_quantity(definition))


class Shape:
    """A structure as the validator and the XML codec look at it, worked out once.

    `names` gives for each JSON name the element and its type, `twins` the names that may have a `_name` beside them
    (https://hl7.org/fhir/R4/json.html#primitive: primitives except ids, the `url` of an extension, and the narrative),
    `groups` the JSON names of each element, `ranks` the place of each name in XML.
    """

    __slots__ = ("groups", "kind", "name", "names", "ranks", "twins")

    def __init__(self, table: Structure, tables: Structures) -> None:
        self.name, self.kind = table.name, table.kind
        self.names = {name: (one, kind) for one in table.elements for name, kind in json_names(one)}
        self.groups = tuple((one, tuple(name for name, _ in json_names(one))) for one in table.elements)
        self.ranks = {name: rank for rank, (_, names) in enumerate(self.groups) for name in names}
        self.twins = frozenset(name for name, (one, kind) in self.names.items() if _may_have_twin(one, kind, tables))


class Shapes:
    """The shapes of all structures, each made when first asked for."""

    def __init__(self, tables: Structures) -> None:
        self.tables = tables
        self._made: dict[str, Shape] = {}

    def __getitem__(self, name: str) -> Shape:
        if name not in self._made:
            self._made[name] = Shape(self.tables[name], self.tables)
        return self._made[name]

    def is_primitive(self, kind: Type) -> bool:
        """Whether the type is a primitive, which XML writes as an attribute and JSON as a plain value."""
        return self.tables[kind.structure].kind == "primitive"


def json_names(element: Element) -> list[tuple[str, Type]]:
    """The names this element may have in JSON and XML, with the type each of them means."""
    if not element.choice:
        return [(element.name, element.types[0])]
    return [(element.name + kind.code[0].upper() + kind.code[1:], kind) for kind in element.types]


def nests(parent: str, kind: Type) -> bool:
    """Whether a child of this type can contain its parent again, so that its depth has to be limited.

    True on one edge at least of every cycle: an Extension, a Resource, `Questionnaire.item.item`, and the Identifier
    of a Reference.
    """
    child = kind.structure
    if child == "Identifier":
        return parent == "Reference"
    return child in ("Extension", "Resource") or ("." in child and child.rpartition(".")[0] != parent)


def _may_have_twin(element: Element, kind: Type, tables: Structures) -> bool:
    primitive = tables[kind.structure].kind == "primitive"
    return primitive and not element.attribute and element.name != "id" and kind.code != "xhtml"


def _is_type(definition: dict[str, Any]) -> bool:
    return str(definition.get("derivation", "specialization")) == "specialization"


def _is_quantity(definition: dict[str, Any]) -> bool:
    return definition["name"] in ("SimpleQuantity", "MoneyQuantity")


def _structures(definition: dict[str, Any]) -> Structures:
    root, *rows = definition["snapshot"]["element"]
    name, prefix = definition["name"], root["path"] + "."
    kind: Kind = _KINDS[definition["kind"]]
    if definition["abstract"] and kind == "resource":
        kind = "abstract"
    children: dict[str, list[Element]] = {name: []}
    for row in rows:
        path = name + "." + row["path"].removeprefix(prefix)
        parent, _, last = path.rpartition(".")
        if row["max"] == "0" or (kind == "primitive" and last == "value"):
            continue  # forbidden here (SimpleQuantity.comparator), or the value itself
        if _is_backbone(row):
            children[path] = []
        children[parent].append(_element(row, path, last, is_resource=kind in ("resource", "abstract")))
    return {key: Structure(key, kind if key == name else "backbone", tuple(found)) for key, found in children.items()}


def _is_backbone(row: dict[str, Any]) -> bool:
    return [kind["code"] for kind in row.get("type", ())] in (["BackboneElement"], ["Element"])


def _element(row: dict[str, Any], path: str, last: str, *, is_resource: bool) -> Element:
    if "contentReference" in row:
        target = row["contentReference"].removeprefix("#")
        types: tuple[Type, ...] = (Type(target, target),)
    elif _is_backbone(row):
        types = (Type(path, path),)
    else:
        types = tuple(_type(kind) for kind in row["type"])
    if is_resource and last == "id" and path.count(".") == 1:
        types = (Type("id", "id"),)  # the package types Resource.id as a plain string; its text says it is an id
    binding = row.get("binding", {})
    return Element(
        name=last.removesuffix("[x]"),
        min=row["min"],
        many=row["max"] != "1",
        types=types,
        choice=last.endswith("[x]"),
        binding=binding.get("valueSet", "").partition("|")[0] if binding.get("strength") == "required" else "",
        summary=row.get("isSummary", False),
        modifier=row.get("isModifier", False),
        attribute="xmlAttr" in row.get("representation", ()),
    )


def _type(kind: dict[str, Any]) -> Type:
    code = next((one["valueUrl"] for one in kind.get("extension", ()) if one["url"] == FHIR_TYPE), kind["code"])
    if code.startswith("http://hl7.org/fhirpath/"):
        code = "string"  # xhtml.id, the only one without the extension
    profiles = [one.removeprefix(SPECIFICATION) for one in kind.get("profile", ())]
    targets = [one.removeprefix(SPECIFICATION) for one in kind.get("targetProfile", ())]
    return Type(code, profiles[0] if profiles else code, tuple(one for one in targets if one != "Resource"))
