"""How does a resource look in XML, and what does XML say in JSON?

https://hl7.org/fhir/R4/xml.html, driven by the same tables as the validator: order of elements, attributes, types of
primitives. Reading checks what the form needs (names, order, repetition); the rest is for the validator, so that a
wrong value is reported with its place like everywhere else.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from lxml import etree

from common import errors
from fhir_server.r4 import elements, load, narrative

NAMESPACE = "http://hl7.org/fhir"
MAX_BYTES = 64 * 1024 * 1024  # libxml2 itself takes no attribute above 10 MB
MOST_PROBLEMS = 100
MAX_DEPTH = 120  # XML elements in each other; 32 nested extensions need 64

_FHIR = "{" + NAMESPACE + "}"
_DIV = "{" + narrative.NAMESPACE + "}div"
# lxml takes None for the default namespace; its stubs know only prefixes.
_DEFAULT: dict[Any, str] = {None: NAMESPACE}
_DIV_DEFAULT: dict[Any, str] = {None: narrative.NAMESPACE}
_SCHEMA_HINT = "{http://www.w3.org/2001/XMLSchema-instance}"
_LONGEST_WHOLE = 300  # digits: int() of a very long text is slow, and Python refuses it
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,6})?", re.ASCII)

# The declared encoding is overridden: FHIR is UTF-8, and what is searched for DOCTYPE must be what is parsed.
_PARSER = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=False
)

Json = dict[str, Any]


def write(resource: Json, definitions: load.Definitions) -> bytes:
    """A valid resource as an XML document in UTF-8.

    Raises errors.Invalid for an element that its type does not have, or a narrative that is not well-formed.
    """
    shapes = definitions.shapes
    root = etree.Element(_FHIR + resource["resourceType"], nsmap=_DEFAULT)
    _write_children(root, resource, shapes[resource["resourceType"]], shapes)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def read(data: bytes, definitions: load.Definitions) -> Json:
    """The resource of an XML document, as the JSON decoder would give it: decimals as Decimal, `_name` for extensions.

    Raises errors.Unreadable when it is not the XML of a resource, errors.Invalid (with line and FHIRPath) with
    everything in it that its type does not have, errors.TooLarge above MAX_BYTES.
    """
    root, reader = _parse(data), _Reader(definitions)
    found: Json = {}
    try:
        found = reader.resource(root, 0)
    except errors.Invalid as problem:
        reader.problems += problem.issues
    except _TooMany:
        pass
    if reader.problems:
        first = reader.problems[0]
        raise errors.Invalid(first.text, at=first.expression, issues=tuple(reader.problems))
    return found


# Writing


def _write_children(parent: etree._Element, value: Json, shape: elements.Shape, shapes: elements.Shapes) -> None:
    names = {key.removeprefix("_") for key in value}
    if shape.kind == "resource":
        names.discard("resourceType")  # elsewhere it is an element: ExampleScenario.instance.resourceType
    if unknown := names - shape.names.keys():
        raise errors.Invalid(f"{shape.name} n'a pas d'élément « {min(unknown)} »", at=shape.name)
    for name in sorted(names, key=shape.ranks.__getitem__):
        element, kind = shape.names[name]
        item: Any = value.get(name)
        if element.attribute:
            parent.set(name, item)
        elif kind.code == "xhtml":
            parent.append(_narrative(item))
        elif shapes.is_primitive(kind):
            extra: Any = value.get("_" + name)
            if not element.many:
                _write_primitive(etree.SubElement(parent, _FHIR + name), item, extra, shapes)
                continue
            length = len(item or extra)
            for one, beside in zip(item or [None] * length, extra or [None] * length, strict=True):
                _write_primitive(etree.SubElement(parent, _FHIR + name), one, beside, shapes)
        else:
            for one in item if element.many else (item,):
                _write_complex(etree.SubElement(parent, _FHIR + name), one, kind, shapes)


def _write_primitive(node: etree._Element, item: Any, extra: Json | None, shapes: elements.Shapes) -> None:
    if extra:
        _write_children(node, extra, shapes["Element"], shapes)
    if item is not None:
        node.set("value", item if type(item) is str else _text(item))


def _narrative(div: str) -> etree._Element:
    try:
        return narrative.parse(div)
    except ValueError as error:
        raise errors.Invalid(f"« div » : {error}", at="text.div") from error


def _write_complex(node: etree._Element, value: Json, kind: elements.Type, shapes: elements.Shapes) -> None:
    if kind.code == "Resource":
        node, name = etree.SubElement(node, _FHIR + value["resourceType"]), value["resourceType"]
    else:
        name = kind.structure
    _write_children(node, value, shapes[name], shapes)


def _text(value: bool | int | Decimal) -> str:
    if value is True:
        return "true"
    return "false" if value is False else str(value)


# Reading


def _parse(data: bytes) -> etree._Element:
    if len(data) > MAX_BYTES:
        raise errors.TooLarge(f"document XML de plus de {MAX_BYTES // 2**20} Mio")
    try:
        if b"<!DOCTYPE" in data:
            raise errors.Unreadable("XML : DOCTYPE n'est pas accepté, retirez-le")
        data.decode()
        return etree.fromstring(data, _PARSER)
    except UnicodeDecodeError as error:
        raise errors.Unreadable("XML : le document doit être en UTF-8") from error
    except etree.XMLSyntaxError as error:
        raise errors.Unreadable(f"XML mal formé, ligne {error.lineno or 1}, colonne {error.offset or 1}") from error


class _TooMany(Exception):
    """More problems than anybody reads."""


class _Reader:
    """One document being read."""

    def __init__(self, definitions: load.Definitions) -> None:
        self._shapes = definitions.shapes
        self._types = frozenset(definitions.types)
        self.problems: list[errors.Issue] = []

    def resource(self, node: etree._Element, depth: int) -> Json:
        """The resource whose element this is."""
        name = str(node.tag).removeprefix(_FHIR)
        if name == node.tag or name not in self._types:
            problem = self._refusal(f"<{_local(node)}> n'est pas une ressource R4 de l'espace {NAMESPACE}", node)
            raise problem if depth else errors.Unreadable(problem.message, at=problem.at)
        found: Json = {"resourceType": name}
        self._structure(node, self._shapes[name], found, depth)
        return found

    def _structure(self, node: etree._Element, shape: elements.Shape, found: Json, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise errors.Unreadable(f"XML, ligne {node.sourceline} : plus de {MAX_DEPTH} niveaux, simplifiez")
        self._attributes(node, shape, found)
        self._refuse_text(node.text, node)
        names, ranks, rank = shape.names, shape.ranks, 0
        for child in node:
            if child.tail is not None:
                self._refuse_text(child.tail, node)
            if not isinstance(child.tag, str):
                continue  # a comment
            try:
                name = self._name(child, shape)
                if ranks[name] < rank:
                    raise self._refusal(f"<{name}> n'est pas à sa place : suivez l'ordre de la définition", child)
                rank = ranks[name]
                self._put(child, name, names[name], found, depth=depth)
            except errors.Invalid as problem:  # what comes after it may be wrong too
                self.problems += problem.issues
                if len(self.problems) >= MOST_PROBLEMS:
                    raise _TooMany from None

    def _put(
        self, child: etree._Element, name: str, form: tuple[elements.Element, elements.Type], found: Json, *, depth: int
    ) -> None:
        element, kind = form
        if not element.many and (name in found or "_" + name in found):
            raise self._refusal(f"<{name}> ne peut apparaître qu'une fois", child)
        if self._shapes.is_primitive(kind) and kind.code != "xhtml":
            self._primitive(child, name, found, many=element.many, type=kind.code, depth=depth)
        elif element.many:
            found.setdefault(name, []).append(self._complex(child, kind, depth))
        else:
            found[name] = self._complex(child, kind, depth)

    def _attributes(self, node: etree._Element, shape: elements.Shape, found: Json) -> None:
        for key, text in node.items():
            name = str(key)
            if name in shape.names and shape.names[name][0].attribute:
                found[name] = str(text)
            elif not (name == "value" and shape.name == "Element") and not name.startswith(_SCHEMA_HINT):
                raise self._refusal(f"l'attribut « {name} » n'existe pas dans {shape.name}", node)

    def _name(self, child: etree._Element, shape: elements.Shape) -> str:
        tag = str(child.tag)
        is_div = tag == _DIV
        name = "div" if is_div else tag.removeprefix(_FHIR)
        found = shape.names.get(name)
        if name == tag or found is None or found[0].attribute or is_div != (found[1].code == "xhtml"):
            raise self._refusal(f"<{_local(child)}> n'existe pas dans {shape.name}, ou pas dans cet espace", child)
        return name

    def _primitive(self, child: etree._Element, name: str, found: Json, *, many: bool, type: str, depth: int) -> None:
        text = child.get("value")
        item = None if text is None else _value(type, str(text))
        extra: Json = {}
        if len(child) or item is None or len(child.attrib) > 1 or child.text:
            self._structure(child, self._shapes["Element"], extra, depth + 1)
        _put_primitive(found, name, item, extra, many=many)

    def _complex(self, child: etree._Element, kind: elements.Type, depth: int) -> Any:
        if kind.code == "xhtml":
            return _div(child)
        found: Json = {}
        if kind.code != "Resource":
            self._structure(child, self._shapes[kind.structure], found, depth + 1)
            return found
        inner = [one for one in child if isinstance(one.tag, str)]
        self._refuse_text(child.text, child)
        if len(inner) != 1 or child.attrib:
            raise self._refusal("il faut une ressource et une seule ici", child)
        return self.resource(inner[0], depth + 2)

    def _refuse_text(self, text: str | None, node: etree._Element) -> None:
        if text and not text.isspace():
            raise self._refusal("du texte n'est permis que dans la narration : utilisez « value »", node)

    def _refusal(self, text: str, node: etree._Element) -> errors.Invalid:
        at, text = self._path(node), f"XML, ligne {node.sourceline} : {text}"
        return errors.Invalid(text, at=at, issues=(errors.Issue(text, at, "structure"),))

    def _path(self, node: etree._Element) -> str:
        """The FHIRPath of an element, worked out only when it is needed. Its ancestors are known to be right."""
        root, *steps = [*reversed(list(node.iterancestors())), node]
        path = _local(root)
        shape = self._shape(path)
        for step in steps:
            name = _local(step)
            if shape is None or name not in shape.names:  # the resource inside `contained`, or what is wrong
                path, shape = path if name in self._types else f"{path}.{name}", self._shape(name)
                continue
            element, kind = shape.names[name]
            index = f"[{sum(1 for _ in step.itersiblings(step.tag, preceding=True))}]" if element.many else ""
            path = f"{path}.{element.name}{index}"
            shape = self._shape("Element" if self._shapes.is_primitive(kind) else kind.structure)
        return path

    def _shape(self, name: str) -> elements.Shape | None:
        return self._shapes[name] if name in self._shapes.tables and name != "Resource" else None


def _put_primitive(found: Json, name: str, item: Any, extra: Json, *, many: bool) -> None:
    """`name` and `_name` of https://hl7.org/fhir/R4/json.html#primitive; lists get nulls where the other one speaks."""
    beside = "_" + name
    if not many:
        if item is not None:
            found[name] = item
        if extra or item is None:
            found[beside] = extra
        return
    values = found.setdefault(name, [])
    if extra and beside not in found:
        found[beside] = [None] * len(values)
    values.append(item)
    if beside in found:
        found[beside].append(extra or None)


def _value(type: str, text: str) -> Any:
    """The JSON value of an attribute. What is no number or boolean stays text, for the validator to refuse."""
    if type == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if type in ("integer", "positiveInt", "unsignedInt"):
        return int(text) if _INTEGER.fullmatch(text) else text
    if type == "decimal" and (found := _DECIMAL.fullmatch(text)):
        is_whole = found[1] is None and found[2] is None and len(text) <= _LONGEST_WHOLE
        return int(text) if is_whole else Decimal(text)
    return text


def _div(node: etree._Element) -> str:
    """The narrative as its own document, in the default namespace and without the declarations around it."""
    alone = etree.Element(_DIV, nsmap=_DIV_DEFAULT)
    _copy(node, alone)
    return str(etree.tostring(alone, encoding="unicode"))


def _copy(source: etree._Element, target: etree._Element) -> None:
    target.text = source.text
    for key, text in source.items():
        target.set(key, text)
    for child in source:
        if isinstance(child.tag, str):
            copied = etree.SubElement(target, child.tag)
            _copy(child, copied)
            copied.tail = child.tail
        else:
            _add_text(target, child.tail)  # a comment or instruction is dropped, what follows it is not


def _add_text(target: etree._Element, text: str | None) -> None:
    if len(target):
        target[-1].tail = (target[-1].tail or "") + (text or "")
    else:
        target.text = (target.text or "") + (text or "")


def _local(node: etree._Element) -> str:
    return etree.QName(node).localname[:64]
