"""Does a GraphQL query ask only for what exists?

https://hl7.org/fhir/R4/graphql.html#conformance: what is not valid is an error, also where there happens to be no data.
What a reference leads to is known only while it runs: there, `execute.py` checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_server.graphql.document import Field, On, Selection, Wrong
from fhir_server.r4 import elements

_CONNECTION = frozenset("count offset pagesize first previous next last edges __typename".split())
_EDGE = frozenset("mode score resource __typename".split())
_ABSTRACT = frozenset({"Resource", "DomainResource", "BackboneElement"})
_ENDINGS = ("List", "Connection")


class Checker:
    """The check of one query against the tables."""

    def __init__(self, shapes: elements.Shapes, types: frozenset[str]) -> None:
        self._shapes = shapes
        self._types = types

    def system(self, selections: Sequence[Selection]) -> None:
        """A query at `[base]/$graphql`. Raises Wrong."""
        for one in self._fields(selections):
            if one.name in self._types:
                self._object(one, one.name)
            elif one.name != "__typename" and not self._search(one):
                raise Wrong(f"champ inconnu à la racine : {one.name[:60]}", one.place)

    def of(self, type: str, selections: Sequence[Selection]) -> None:
        """Selections on a structure; `Resource` is any resource. Raises Wrong."""
        for one in selections:
            if isinstance(one, On):
                self._type_known(one)
                is_narrower = one.type is not None and one.type not in _ABSTRACT
                self.of(str(one.type) if is_narrower else type, one.selections)
            elif type in _ABSTRACT:
                continue  # known when it runs
            else:
                self._field(type, one)

    def _field(self, type: str, one: Field) -> None:
        shape = self._shapes[type]
        name = one.name.removeprefix("_")
        if one.name in ("__typename", "resourceType") or (one.name == "resource" and type == "Reference"):
            if one.name == "resource":
                self._object(one, str(one.arguments.get("type") or "Resource"))
        elif name in shape.names and (one.name == name or name in shape.twins):
            kind = shape.names[name][1]
            if one.name != name:
                self._object(one, "Element")
            elif self._shapes.is_primitive(kind):
                if one.arguments or one.selections is not None:
                    raise Wrong(f"{one.name} est un type primitif : ni argument, ni champ", one.place)
            else:
                self._object(one, kind.structure)
        elif type not in self._types or not self._search(one):
            raise Wrong(f"{type} n'a pas de champ « {one.name[:60]} »", one.place)

    def _search(self, one: Field) -> bool:
        ending = next((each for each in _ENDINGS if one.name.endswith(each)), "")
        type = one.name.removesuffix(ending)
        if not ending or type not in self._types:
            return False
        if ending == "List":
            self._object(one, type)
            return True
        self._only(one, _CONNECTION)
        for each in self._fields(one.selections or ()):
            if each.name == "edges":
                self._only(each, _EDGE)
                for edge in self._fields(each.selections or ()):
                    if edge.name == "resource":
                        self._object(edge, type)
        return True

    def _object(self, one: Field, type: str) -> None:
        if not one.selections:
            raise Wrong(f"{one.name} : choisissez ses champs entre accolades", one.place)
        if type not in self._shapes.tables:
            raise Wrong(f"type inconnu : {type[:60]}", one.place)
        self.of(type, one.selections)

    def _only(self, one: Field, names: frozenset[str]) -> None:
        if not one.selections:
            raise Wrong(f"{one.name} : choisissez ses champs entre accolades", one.place)
        for each in self._fields(one.selections):
            if each.name not in names:
                raise Wrong(f"{one.name} n'a pas de champ « {each.name[:60]} »", each.place)

    def _fields(self, selections: Sequence[Selection]) -> Iterable[Field]:
        for one in selections:
            if isinstance(one, Field):
                yield one
            else:
                yield from self._fields(one.selections)

    def _type_known(self, one: On) -> None:
        if one.type is not None and one.type not in self._shapes.tables:
            raise Wrong(f"type inconnu : {one.type[:60]}")
