"""What does a GraphQL query give?

https://hl7.org/fhir/R4/graphql.html: fields under their JSON names, list navigation, references and reverse references,
and the directives that re-organise the answer. An element without value is left out, as the examples there do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fhir_server.changes import Resource
from fhir_server.fhirpath import evaluate
from fhir_server.fhirpath.nodes import Node
from fhir_server.fhirpath.parse import Unusable
from fhir_server.fhirpath.running import Budget, Run
from fhir_server.graphql.document import Field, Selection, Wrong
from fhir_server.graphql.lookups import Lookups, whole
from fhir_server.operations import OperationRequest

MOST_VALUES = 200_000
MOST_SECONDS_OF_FHIRPATH = 0.5  # it runs in the event loop, where everybody waits for it

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Spot:
    """One value: its JSON, the key of its table, and the resource that it is in."""

    value: Any
    type: str
    resource: Resource


@dataclass(slots=True)
class _Output:
    """An object of the answer while its fields come together, lists or not."""

    values: dict[str, list[Any]] = field(default_factory=dict)
    singles: set[str] = field(default_factory=set)

    def add(self, name: str, values: Sequence[Any], chosen: Field, *, is_list: bool) -> None:
        """Put values under a name, if there are any. Raises Wrong for a second value of what is no list."""
        if not values:
            return
        kept = self.values.setdefault(name, [])
        kept += values
        if not is_list:
            self.singles.add(name)
            if len(kept) > 1:
                raise Wrong(f"{name} : plusieurs valeurs pour un champ qui n'est pas une liste", chosen.place)

    def show(self, name: str) -> None:
        """A list that is shown even when it is empty."""
        self.values.setdefault(name, [])

    def done(self) -> dict[str, Any]:
        """As JSON."""
        return {name: found[0] if name in self.singles else found for name, found in self.values.items()}


@dataclass(frozen=True, slots=True)
class _Way:
    """What the fields above one mean for its place in the answer: a suffix (@slice), and lists (@flatten)."""

    suffix: str = ""
    is_list: bool = False


class Execution:
    """One query."""

    def __init__(self, request: OperationRequest) -> None:
        definitions = request.server.definitions
        self._request = request
        self._types = request.server.types
        self._shapes = definitions.shapes
        self._model = evaluate.model(definitions)
        self._lookups = Lookups(request)
        self._budget = Budget(MOST_SECONDS_OF_FHIRPATH)
        self._values = MOST_VALUES

    async def system(self, selections: Sequence[Selection]) -> dict[str, Any]:
        """`[base]/$graphql`: the root selects resources. Raises Wrong, and what the store raises."""
        output = _Output()
        for one in _unfolded(selections, lambda type: type in (None, "Query")):
            if one.name == "__typename":
                output.add(one.alias, ["Query"], one, is_list=False)
            elif one.name in self._types:
                resource = await self._lookups.read(one.name, one)
                output.add(one.alias, [await self._resource(resource, one)], one, is_list=False)
            elif not await self._search(output, one, "", _Way()):
                raise Wrong(f"champ inconnu à la racine : {one.name[:60]}", one.place)
        return output.done()

    async def instance(self, resource: Resource, selections: Sequence[Selection]) -> dict[str, Any]:
        """`[base]/Type/id/$graphql`: the root is the resource. Raises Wrong, and what the store raises."""
        output = _Output()
        await self._fields(output, _Spot(resource, resource["resourceType"], resource), selections, _Way())
        return output.done()

    # Objects

    async def _resource(self, resource: Resource, chosen: Field) -> dict[str, Any]:
        return await self._object(_Spot(resource, resource["resourceType"], resource), chosen)

    async def _object(self, spot: _Spot, chosen: Field) -> dict[str, Any]:
        if chosen.selections is None:
            raise Wrong(f"{chosen.name} : choisissez ses champs entre accolades", chosen.place)
        output = _Output()
        await self._fields(output, spot, chosen.selections, _Way())
        return output.done()

    async def _fields(self, output: _Output, spot: _Spot, selections: Sequence[Selection], way: _Way) -> None:
        node = Node(spot.value, spot.type)

        def is_meant(type: str | None) -> bool:
            return type is None or self._model.is_type(node, f"FHIR.{type}")

        for one in _unfolded(selections, is_meant):
            await self._field(output, spot, one, way)

    async def _field(self, output: _Output, spot: _Spot, chosen: Field, way: _Way) -> None:
        is_resource = spot.type in self._types
        shape = self._shapes[spot.type]
        name = chosen.name.removeprefix("_") if chosen.name.removeprefix("_") in shape.twins else chosen.name
        if chosen.name == "__typename" or (chosen.name == "resourceType" and is_resource):
            output.add(chosen.alias + way.suffix, [spot.type], chosen, is_list=way.is_list)
        elif chosen.name == "resource" and spot.type == "Reference":
            await self._referenced(output, spot, chosen, way)
        elif name in shape.names:
            await self._element(output, spot, chosen, way)
        elif not (is_resource and await self._search(output, chosen, _reference_of(spot.value), way)):
            raise Wrong(f"{spot.type} n'a pas de champ « {chosen.name[:60]} »", chosen.place)

    # Elements

    async def _element(self, output: _Output, spot: _Spot, chosen: Field, way: _Way) -> None:
        shape = self._shapes[spot.type]
        is_twin = chosen.name not in shape.names
        element, kind = shape.names[chosen.name.removeprefix("_") if is_twin else chosen.name]
        is_primitive = self._shapes.is_primitive(kind) and not is_twin
        if is_primitive and (chosen.arguments or chosen.selections):
            raise Wrong(f"{chosen.name} est un type primitif : ni argument, ni champ", chosen.place)
        found = spot.value.get(chosen.name)
        values = [] if found is None else found if isinstance(found, list) else [found]
        structure = "Element" if is_twin else kind.structure
        spots = [_Spot(one, _type_of(one, structure), spot.resource) for one in values if one is not None]
        is_first = "first" in chosen.directives
        if not is_primitive:
            spots = self._selected(spots, chosen)
        spots = spots[:1] if is_first else spots
        await self._put(output, spots, chosen, way, is_list=element.many and not is_first)

    async def _put(self, output: _Output, spots: list[_Spot], chosen: Field, way: _Way, *, is_list: bool) -> None:
        """Values into the answer: under the field's own name, or their children in its place (@flatten)."""
        self._spend(len(spots))
        run = self._run(spots[0].resource) if spots and "slice" in chosen.directives else None
        made: list[tuple[str, Coroutine[Any, Any, Any]]] = []
        for index, one in enumerate(spots):
            suffix = way.suffix + (self._slice(one, index, chosen, run) if run is not None else "")
            is_object = isinstance(one.value, dict)
            if "flatten" in chosen.directives:
                if not is_object or chosen.selections is None:
                    raise Wrong("@flatten va sur un champ qui en contient d'autres", chosen.place)
                below = _Way(suffix, way.is_list or is_list)
                await self._fields(output, one, chosen.selections, below)
                continue
            made.append((chosen.alias + suffix, self._object(one, chosen) if is_object else _given(one.value)))
        many = (way.is_list or is_list) and "singleton" not in chosen.directives
        # Side by side only where there may be something to look up: a task costs more than most elements do.
        if spots and spots[0].type in self._types:
            results = await together(work for _, work in made)
        else:
            results = [await work for _, work in made]
        for (name, _), result in zip(made, results, strict=True):
            output.add(name, [result], chosen, is_list=many)

    def _selected(self, spots: list[_Spot], chosen: Field) -> list[_Spot]:
        """Those that the arguments of a complex field leave."""
        for name, value in chosen.arguments.items():
            if name == "fhirpath":
                spots = self._filtered(spots, value, chosen)
            elif name not in ("_count", "_offset"):
                spots = self._matching(spots, name, value, chosen)
        offset, count = whole(chosen, "_offset") or 0, whole(chosen, "_count")
        return spots[offset:] if count is None else spots[offset : offset + count]

    def _matching(self, spots: list[_Spot], name: str, value: Any, chosen: Field) -> list[_Spot]:
        wanted = _plain(value)
        for one in spots:
            if name not in self._shapes[one.type].names:
                raise Wrong(f"{chosen.name} : argument inconnu « {name[:60]} »", chosen.place)
        return [one for one in spots if wanted in _texts(one.value.get(name))]

    def _filtered(self, spots: list[_Spot], expression: Any, chosen: Field) -> list[_Spot]:
        if not isinstance(expression, str):
            raise Wrong("fhirpath : un texte est attendu", chosen.place)
        kept = []
        try:
            compiled = evaluate.compile(expression)
            for index, one in enumerate(spots):
                run = self._run(one.resource)
                found = compiled.nodes(Node(one.value, one.type), run, index=index)
                if evaluate.holds(found, self._model):
                    kept.append(one)
        except Unusable as problem:
            raise Wrong(problem.message, chosen.place, code=problem.issues[0].code) from None
        return kept

    def _slice(self, spot: _Spot, index: int, chosen: Field, run: Run) -> str:
        given = chosen.directives["slice"]
        path = given.get("path", given.get("fhirpath"))
        if not isinstance(path, str):
            raise Wrong("@slice demande « path »", chosen.place)
        try:
            found = evaluate.compile(path).nodes(Node(spot.value, spot.type), run, index=index)
        except Unusable as problem:
            raise Wrong(problem.message, chosen.place, code=problem.issues[0].code) from None
        plain = [self._model.plain(one) for one in found]
        if len(plain) > 1 or any(isinstance(one, Node) for one in plain):
            raise Wrong("@slice : le chemin donne une valeur simple, une seule", chosen.place)
        return f".{_plain(plain[0])}" if plain else ""

    def _run(self, resource: Resource) -> Run:
        root = self._model.root(resource)
        return evaluate.run(root, self._model, now=self._request.server.now(), budget=self._budget)

    def _spend(self, values: int) -> None:
        self._values -= values
        if self._values < 0:
            raise Wrong(f"plus de {MOST_VALUES} valeurs dans la réponse", code="too-costly")

    # References and searches

    async def _referenced(self, output: _Output, spot: _Spot, chosen: Field, way: _Way) -> None:
        if not chosen.arguments.keys() <= {"optional", "type"}:
            raise Wrong("resource : arguments possibles : optional, type", chosen.place)
        type = chosen.arguments.get("type")
        if type is not None and type not in self._types:
            raise Wrong(f"type de ressource inconnu : {str(type)[:60]}", chosen.place)
        resource = await self._resolved(spot)
        if resource is None:
            if chosen.arguments.get("optional") is True or "reference" not in spot.value:
                return
            raise Wrong("une référence ne mène à rien de visible ; « optional: true » l'accepte", chosen.place,
                        code="not-found")  # fmt: skip
        if type in (None, resource["resourceType"]):
            found = _Spot(resource, resource["resourceType"], resource)
            await self._put(output, [found], chosen, way, is_list=False)

    async def _resolved(self, spot: _Spot) -> Resource | None:
        written = spot.value.get("reference")
        if not isinstance(written, str):
            return None
        if written == "#":
            return spot.resource
        if written.startswith("#"):
            inside = spot.resource.get("contained", ())
            return next((one for one in inside if one.get("id") == written[1:]), None)
        return await self._lookups.reference(written)

    async def _search(self, output: _Output, chosen: Field, focus: str, way: _Way) -> bool:
        """`TypeList` or `TypeConnection`; False when the field is none."""
        for ending in ("List", "Connection"):
            type = chosen.name.removesuffix(ending)
            if chosen.name.endswith(ending) and type in self._types:
                break
        else:
            return False
        if ending == "Connection":
            made = await self._connection(type, chosen, focus)
            output.add(chosen.alias + way.suffix, [made], chosen, is_list=way.is_list)
            return True
        resources = await self._lookups.search(type, chosen, focus)
        spots = [_Spot(one, one["resourceType"], one) for one in resources]
        if "fhirpath" in chosen.arguments:
            spots = self._filtered(spots, chosen.arguments["fhirpath"], chosen)
        is_first = "first" in chosen.directives
        if not is_first and "flatten" not in chosen.directives:
            output.show(chosen.alias + way.suffix)
        await self._put(output, spots[:1] if is_first else spots, chosen, way, is_list=not is_first)
        return True

    async def _connection(self, type: str, chosen: Field, focus: str) -> dict[str, Any]:
        fields = list(_unfolded(chosen.selections or (), lambda on: on in (None, f"{type}Connection")))
        with_total = any(one.name == "count" for one in fields)
        found = await self._lookups.connection(type, chosen, focus, with_total=with_total)
        said = {
            "count": found.total,
            "offset": found.offset,
            "pagesize": found.size,
            "first": found.first,
            "next": found.next,
            "__typename": f"{type}Connection",
        }
        resources = found.resources
        if "fhirpath" in chosen.arguments:
            spots = [_Spot(one, type, one) for one in resources]
            kept = self._filtered(spots, chosen.arguments["fhirpath"], chosen)
            resources = [one.resource for one in kept]
        made: dict[str, Any] = {}
        for one in fields:
            if one.name == "edges":
                made[one.alias] = await together(self._edge(each, one) for each in resources)
            else:  # previous and last stay null: pages are found by key, forwards
                made[one.alias] = said.get(one.name)
        return made

    async def _edge(self, resource: Resource, chosen: Field) -> dict[str, Any]:
        type = resource["resourceType"]
        made: dict[str, Any] = {}
        for one in _unfolded(chosen.selections or (), lambda on: on in (None, f"{type}Edge")):
            if one.name == "resource":
                made[one.alias] = await self._resource(resource, one)
            else:
                made[one.alias] = {"mode": "match", "__typename": f"{type}Edge"}.get(one.name)
        return made


async def together(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order, worked out side by side; the first failure ends them all."""
    tasks = [asyncio.ensure_future(one) for one in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for one in tasks:
            one.cancel()
        raise


def _unfolded(selections: Sequence[Selection], is_meant: Callable[[str | None], bool]) -> Iterator[Field]:
    """The fields, those of fragments for this type included."""
    for one in selections:
        if isinstance(one, Field):
            yield one
        elif is_meant(one.type):
            yield from _unfolded(one.selections, is_meant)


async def _given(value: Any) -> Any:
    return value


def _type_of(value: Any, structure: str) -> str:
    """The table of a value; of a resource inside another one, its own."""
    if structure == "Resource" and isinstance(value, dict):
        return str(value.get("resourceType"))
    return structure


def _reference_of(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"


def _plain(value: Any) -> str:
    """A value as the text that it is compared or named with."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _texts(value: Any) -> list[str]:
    return [_plain(one) for one in (value if isinstance(value, list) else [value]) if one is not None]
