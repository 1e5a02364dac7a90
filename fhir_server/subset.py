"""What is left of a resource when only parts of it are asked for?

`_elements` and `_summary`, R4 search.html#elements and #summary, on everything that gives resources out. Driven by the
element tables (isSummary, isModifier, cardinality). Only the top level of the stored bytes is split; what is kept goes
out byte for byte, unless something further inside has to go. Such a copy is tagged SUBSETTED, so that nobody takes it
for the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import msgspec

from common import errors
from fhir_server.changes import Resource, Stored
from fhir_server.exchange import Params, Request
from fhir_server.r4 import elements

PARAMETERS = frozenset({"_elements", "_summary"})
TAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}

Summary = Literal["true", "text", "data", "false", "count", ""]
# JSON name -> the structure to prune further, "" for what is kept as it is.
Plan = dict[str, str]

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_ALWAYS = ("resourceType", "id", "meta")


class Subsets:
    """The plans of all types and forms, each made when first asked for."""

    def __init__(self, tables: elements.Structures) -> None:
        self.tables = tables
        self._summaries: dict[str, Plan] = {}
        self._prunes: dict[str, bool] = {}

    def summary(self, structure: str) -> Plan:
        """What `_summary=true` keeps of a structure: summary elements, and what no copy may lack.

        Below the top level extensions stay: they qualify the value that they are part of.
        """
        plan = self._summaries.get(structure)
        if plan is None:
            plan = self._summaries[structure] = dict.fromkeys(_ALWAYS, "")
            for element in self.tables[structure].elements:
                if self._is_kept(structure, element):
                    for name, kind in elements.json_names(element):
                        plan[name] = kind.structure if self._is_pruned(kind.structure) else ""
                        plan[f"_{name}"] = ""
        return plan

    def named(self, type: str, names: Iterable[str]) -> Plan:
        """What `_elements` keeps of a type: the elements named, and those that no copy may lack."""
        wanted = set(names)
        return self._top(type, lambda one: one.name in wanted or one.min > 0 or one.modifier)

    def text(self, type: str) -> Plan:
        """What `_summary=text` keeps."""
        return self._top(type, lambda one: one.name == "text" or one.min > 0)

    def has(self, type: str, name: str) -> bool:
        """Has the type such an element, at its top level?"""
        return any(one.name == name for one in self.tables[type].elements)

    def _top(self, type: str, is_kept: Any) -> Plan:
        kept = [name for one in self.tables[type].elements if is_kept(one) for name, _ in elements.json_names(one)]
        return dict.fromkeys([*_ALWAYS, *kept, *(f"_{name}" for name in kept)], "")

    def _is_kept(self, structure: str, one: elements.Element) -> bool:
        inside = self.tables[structure].kind in ("complex", "backbone") and one.name in ("id", "extension")
        return one.summary or one.modifier or one.min > 0 or inside

    def _is_pruned(self, structure: str) -> bool:
        """Does `_summary=true` take anything out of such a value?"""
        found = self._prunes.get(structure)
        if found is None:
            self._prunes[structure] = False  # what contains itself adds nothing by that
            table = self.tables[structure]
            found = table.kind in ("complex", "backbone") and any(
                not self._is_kept(structure, one)
                or any(self._is_pruned(kind.structure) for _, kind in elements.json_names(one))
                for one in table.elements
            )
            self._prunes[structure] = found
        return found


@dataclass(slots=True)
class Subset:
    """One wish, for resources of any type. `types` are those that unqualified element names speak of."""

    subsets: Subsets
    summary: Summary
    names: dict[str, set[str]]
    types: frozenset[str]
    plans: dict[str, Plan | None]

    def row(self, row: Stored) -> Stored:
        """The same version with what is left of its body."""
        return replace(row, body=self.body(row.type, row.body))

    def body(self, type: str, body: bytes) -> bytes:
        """What is left of a resource."""
        if type not in self.plans:
            self.plans[type] = self._plan(type)
        plan = self.plans[type]
        if plan is None:
            return body
        found: dict[str, Any] = _split(body)
        if self.summary == "data":
            found.pop("text", None)
            kept = found
        else:
            kept = {name: value for name, value in found.items() if name in plan}
            for name in [name for name in kept if plan[name]]:
                rest = _prune(self.subsets, plan[name], _decode(kept[name]))
                if rest:
                    kept[name] = msgspec.Raw(_encode(rest))
                else:
                    del kept[name]
        kept["meta"] = _tagged(kept.get("meta"))
        return _encode(kept)

    def _plan(self, type: str) -> Plan | None:
        if self.summary == "true":
            return self.subsets.summary(type)
        if self.summary == "text":
            return self.subsets.text(type)
        if self.summary == "data":
            return {}
        named = self.names.get(type, set()) | (self.names.get("", set()) if type in self.types else set())
        return self.subsets.named(type, named) if named else None


def asked(subsets: Subsets, request: Request, types: tuple[str, ...]) -> Subset | None:
    """What the parameters of a read or a history of these types ask for, None for all of it. Raises Unreadable."""
    return wanted(subsets, request, request.params, types) if request.params else None


def wanted(subsets: Subsets, request: Request, params: Params, types: Collection[str]) -> Subset | None:
    """The same of parameters that came in another way. Raises Unreadable."""
    summary = _once(params, "_summary")
    if summary not in ("", "true", "text", "data", "false"):
        raise errors.Unreadable("_summary : attendu true, text, data ou false", at="http._summary")
    names = [one for one in _once(params, "_elements").split(",") if one]
    return make(subsets, summary, names, types, lenient=request.prefer.lenient)  # type: ignore[arg-type]


def make(
    subsets: Subsets, summary: Summary, names: Iterable[str], types: Collection[str], *, lenient: bool = False
) -> Subset | None:
    """The wish for resources of `types`, None when it is for all of them.

    Element names may be qualified (`Patient.name`), which is also how those of included resources are named. Raises
    Unreadable for a name that no such type has, unless `lenient`, and for both parameters at once.
    """
    by_type: dict[str, set[str]] = {}
    for one in names:
        type, _, name = one.rpartition(".")
        if is_known(subsets, one, types):
            by_type.setdefault(type, set()).add(name)
        elif not lenient:
            raise errors.Unreadable(f"_elements : « {one[:60]} » n'est pas un élément ici", at="http._elements")
    if by_type and summary not in ("", "false"):
        raise errors.Unreadable("_elements et _summary : un seul des deux", at="http._summary")
    if not by_type and summary in ("", "false", "count"):
        return None
    return Subset(subsets, summary, by_type, frozenset(types), {})


def is_known(subsets: Subsets, one: str, types: Collection[str]) -> bool:
    """Has one of the types, or the type that it is qualified by, an element of this name?"""
    type, _, name = one.rpartition(".")
    if type and (type not in subsets.tables or subsets.tables[type].kind != "resource"):
        return False
    return any(subsets.has(place, name) for place in ([type] if type else types))


def _once(params: Params, name: str) -> str:
    values = {value for one, value in params if one == name}
    if len(values) > 1:
        raise errors.Unreadable(f"{name} est donné deux fois avec des valeurs différentes", at=f"http.{name}")
    return values.pop() if values else ""


def _prune(subsets: Subsets, structure: str, value: Any) -> Any:
    """A value without what `_summary=true` leaves out; None or [] when nothing is left."""
    if isinstance(value, list):
        return [rest for rest in map(partial(_prune, subsets, structure), value) if rest]
    plan = subsets.summary(structure)
    kept: Resource = {}
    for name, one in value.items():
        if (below := plan.get(name)) is None:
            continue
        rest = _prune(subsets, below, one) if below else one
        if not below or rest:
            kept[name] = rest
    return kept


def _tagged(meta: msgspec.Raw | None) -> Resource:
    found: Resource = _decode(meta) if meta is not None else {}
    tags = [one for one in found.get("tag", ()) if one.get("code") != TAG["code"] or one.get("system") != TAG["system"]]
    return {**found, "tag": [*tags, TAG]}
