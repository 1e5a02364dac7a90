"""Does the patch between two resources make one the other?"""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import bodies, differences
from fhir_server.r4 import elements, load
from tests.fhir_server import filled

Json = dict[str, Any]
STEP = re.compile(r"(\w+)(?:\[(\d+)\])?")


class Patched:
    """A resource to which operations are applied one after the other, by the words of R4's fhirpatch.html."""

    def __init__(self, resource: Json, shapes: elements.Shapes) -> None:
        self.root, self.shapes = resource, shapes

    def apply(self, operation: Json) -> None:
        parts = {one["name"]: one for one in operation["part"]}
        kind, path = parts["type"]["valueCode"], parts["path"]["valueString"]
        if kind == "add":
            holder, shape = self.at(path)
            self.put(holder, shape, parts["name"]["valueString"], value=parts["value"], index=None)
            return
        parent, _, last = path.rpartition(".")
        holder, shape = self.at(parent)
        name, index = STEP.fullmatch(last).groups()  # type: ignore[union-attr]
        if kind == "delete":
            self.drop(holder, shape, name, index)
        elif kind == "insert":
            self.put(holder, shape, name, value=parts["value"], index=parts["index"]["valueInteger"])
        else:
            assert kind == "replace"
            self.drop(holder, shape, name, index, keep=index is not None)
            self.put(holder, shape, name, value=parts["value"], index=None if index is None else int(index), over=True)

    def at(self, path: str) -> tuple[Json, elements.Shape]:
        node: Any = self.root
        shape = self.shapes[self.root["resourceType"]]
        for name, index in STEP.findall(path)[1:]:
            found = next(one for one in self.names(shape, name) if one in node)
            node, shape = node[found], self.shapes[shape.names[found][1].structure]
            if index:
                node = node[int(index)]
        return node, shape

    def names(self, shape: elements.Shape, name: str) -> list[str]:
        return [one for one, (element, _) in shape.names.items() if element.name == name]

    def drop(self, holder: Json, shape: elements.Shape, name: str, index: str | None, *, keep: bool = False) -> None:
        for one in self.names(shape, name):
            for key in (one, f"_{one}"):
                if index is None:
                    holder.pop(key, None)
                elif key in holder and not keep:
                    del holder[key][int(index)]
                    if not holder[key]:
                        del holder[key]

    def put(
        self, holder: Json, shape: elements.Shape, name: str, *, value: Json, index: int | None, over: bool = False
    ) -> None:
        key, item = self.value(value, shape, name)
        if not shape.names[key][0].many:
            holder[key] = item
            return
        some = holder.setdefault(key, [])
        if over and index is not None:
            some[index] = item
        else:
            some.insert(len(some) if index is None else index, item)

    def value(self, part: Json, shape: elements.Shape, name: str) -> tuple[str, Any]:
        """The JSON name and the value that a part stands for."""
        candidates = self.names(shape, name)
        if "resource" in part:
            return candidates[0], part["resource"]
        if "part" in part:
            key = candidates[0]
            below = self.shapes[shape.names[key][1].structure]
            made: Json = {}
            for one in part["part"]:
                child, item = self.value(one, below, one["name"])
                if below.names[child][0].many:
                    made.setdefault(child, []).append(item)
                else:
                    made[child] = item
            return key, made
        typed = next(one for one in part if one.startswith("value"))
        key = next((one for one in candidates if one.lower() == (name + typed[5:]).lower()), candidates[0])
        return key, part[typed]


def patched(old: Json, new: Json, shapes: elements.Shapes) -> Json:
    """`old` after the operations of the patch."""
    found = Patched(bodies.decode(bodies.encode(old)), shapes)
    for operation in differences.between(old, new, shapes).get("parameter", ()):
        found.apply(operation)
    return found.root


def plain(resource: Json) -> Json:
    """What a client writes: without what the server gives."""
    found = bodies.decode(bodies.encode({name: value for name, value in resource.items() if name != "id"}))
    meta = {name: value for name, value in found.pop("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return {**found, "meta": meta} if meta else found


def test_the_patch_between_any_two_resources_of_any_type_makes_one_the_other(definitions: load.Definitions) -> None:
    shapes = definitions.shapes
    for type in definitions.types:
        some = [filled.resource(definitions, type, variant) for variant in (0, 1)]
        bare = {"resourceType": type, "id": "x"}
        for old, new in ((some[0], some[1]), (some[1], some[0]), (bare, some[0]), (some[0], bare)):
            assert plain(patched(old, new, shapes)) == plain(new)
            assert differences.between(new, new, shapes) == {"resourceType": "Parameters"}


@settings(max_examples=150, deadline=None)
@given(*[st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), max_size=6)] * 2)
def test_lists_are_patched_item_by_item(
    definitions: load.Definitions, before: list[list[str]], after: list[list[str]]
) -> None:
    def patient(names: list[list[str]]) -> Json:
        found: Json = {"resourceType": "Patient", "id": "x"}
        return {**found, "name": [{"given": one} for one in names]} if names else found

    old, new = patient(before), patient(after)
    assert plain(patched(old, new, definitions.shapes)) == plain(new)


def test_a_change_inside_is_told_where_it_is(definitions: load.Definitions) -> None:
    old = {"resourceType": "Patient", "name": [{"family": "A"}, {"family": "B"}], "active": True}
    new = {"resourceType": "Patient", "name": [{"family": "A"}, {"family": "C"}], "birthDate": "1980"}
    told = differences.between(old, new, definitions.shapes)["parameter"]
    assert [[next(iter(list(one.values())[1:])) for one in each["part"]] for each in told] == [
        ["delete", "Patient.active"],
        ["replace", "Patient.name[1].family", "C"],
        ["add", "Patient", "birthDate", "1980"],
    ]
