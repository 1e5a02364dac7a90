"""What is this code called elsewhere? `ConceptMap/$translate`

https://hl7.org/fhir/R4/conceptmap-operation-translate.html. Without a map in the call, every map between the two value
sets or systems is asked. Maps that depend on other values are not followed: such a target is left out unless its
dependencies are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fhir_server.operations import Operation, OperationRequest
from fhir_server.terminology import asked
from fhir_server.terminology.asked import Asked, Kind
from fhir_server.terminology.library import Library

Resource = dict[str, Any]
DEFINITION = "http://hl7.org/fhir/OperationDefinition/ConceptMap-translate"
_KINDS: dict[str, Kind] = {
    "url": "text",
    "conceptMap": "resource",
    "conceptMapVersion": "text",
    "code": "text",
    "system": "text",
    "version": "text",
    "source": "text",
    "coding": "Coding",
    "codeableConcept": "CodeableConcept",
    "target": "text",
    "targetsystem": "text",
    "reverse": "flag",
}
_NO_MATCH = frozenset(("unmatched", "disjoint"))
# What a relation is when it is read from the other end.
_REVERSED = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}
_DEEPEST = 5  # maps that hand over to another map


@dataclass(frozen=True, slots=True)
class _Match:
    """One translation; `map` is the address of the map that says so."""

    equivalence: str
    concept: Resource
    map: str


@dataclass(frozen=True, slots=True)
class _Way:
    """How to translate: into which system ("" for any), and from which end of the maps."""

    library: Library
    target: str
    reverse: bool


async def run(call: OperationRequest) -> Resource:
    """All translations. `result` is true when one of them is a real one. Raises NotFound, Unreadable."""
    given = asked.read(call, _KINDS)
    library = Library(call.store, call.caller)
    codings = _codings(given)
    maps = await _maps(call, given, library)
    way = _Way(library, given.text("targetsystem"), bool(given.flag("reverse")))
    found: dict[_Key, _Match] = {}
    for one in maps:
        for coding in codings:
            for match in await _translated(way, one, coding):
                found.setdefault(_key(match), match)
    return _answer(list(found.values()))


_Key = tuple[str, str, str, str]


def _key(match: _Match) -> _Key:
    return match.equivalence, match.concept.get("system", ""), match.concept.get("code", ""), match.map


def _codings(given: Asked) -> list[Resource]:
    if coding := given.part("coding"):
        codings = [coding]
    elif concept := given.part("codeableConcept"):
        codings = list(concept.get("coding", ()))
    else:
        codings = [{"system": given.text("system"), "code": given.text("code")}]
    codings = [one for one in codings if one.get("code")]
    if not codings:
        raise asked.refused("Donnez code et system, ou coding, ou codeableConcept", "code", "required")
    if not all(one.get("system") for one in codings):
        raise asked.refused("Donnez le système du code à traduire", "system", "required")
    return codings


async def _maps(call: OperationRequest, given: Asked, library: Library) -> list[Resource]:
    if call.id is not None:
        return [await library.instance("ConceptMap", call.id)]
    if brought := given.part("conceptMap"):
        return [asked.checked(call, brought, "ConceptMap")]
    if canonical := given.canonical("url", "conceptMapVersion"):
        found = await library.concept_map(canonical)
        if found is None:
            raise asked.unknown("Table de correspondance", canonical)
        return [found]
    if not (given.has("target") or given.has("targetsystem") or given.has("source")):
        raise asked.refused("Donnez url, conceptMap, source, target ou targetsystem", "url", "required")
    ends = ("target", "source") if given.flag("reverse") else ("source", "target")
    wanted = {end: given.text(name) for name, end in zip(("source", "target"), ends, strict=True)}
    return [one for one in await library.maps() if all(_is_end(one, end, url) for end, url in wanted.items() if url)]


def _is_end(map: Resource, end: str, url: str) -> bool:
    stated = str(map.get(f"{end}Uri") or map.get(f"{end}Canonical") or "")
    return url.partition("|")[0] == stated.partition("|")[0]


async def _translated(way: _Way, map: Resource, coding: Resource, depth: int = 0) -> list[_Match]:
    found: list[_Match] = []
    address = str(map.get("url", ""))
    ends = ("target", "source") if way.reverse else ("source", "target")
    for group in map.get("group", ()):
        if group.get(ends[0]) != coding["system"] or way.target not in ("", group.get(ends[1])):
            continue
        if way.reverse:
            found += _backwards(group, coding, address)
            continue
        elements = [one for one in group.get("element", ()) if one.get("code") == coding["code"]]
        found += _forwards(group, elements, address)
        rule = group.get("unmapped", {"mode": ""}) if not elements else {"mode": ""}
        if rule["mode"] == "provided":
            found.append(_Match("equal", _coding(group.get("target"), {"code": coding["code"]}, group), address))
        elif rule["mode"] == "fixed":
            found.append(_Match("inexact", _coding(group.get("target"), rule, group), address))
        elif rule["mode"] == "other-map" and depth < _DEEPEST:
            other = await way.library.concept_map(str(rule.get("url", "")))
            found += await _translated(way, other, coding, depth + 1) if other else []
    return found


def _forwards(group: Resource, elements: Iterable[Resource], address: str) -> Iterator[_Match]:
    for element in elements:
        for target in element.get("target", ()):
            if not target.get("dependsOn"):
                yield _Match(target["equivalence"], _coding(group.get("target"), target, group), address)


def _backwards(group: Resource, coding: Resource, address: str) -> Iterator[_Match]:
    for element in group.get("element", ()):
        for target in element.get("target", ()):
            if target.get("code") == coding["code"] and not target.get("dependsOn"):
                relation = _REVERSED.get(target["equivalence"], target["equivalence"])
                yield _Match(relation, _coding(group.get("source"), element, {}), address)


def _coding(system: str | None, one: Resource, group: Resource) -> Resource:
    found: Resource = {"system": system} if system else {}
    if version := group.get("targetVersion"):
        found["version"] = version
    return found | {name: one[name] for name in ("code", "display") if name in one}


def _answer(found: list[_Match]) -> Resource:
    result = any(one.equivalence not in _NO_MATCH for one in found)
    message = "" if result else "Aucune correspondance pour ce code"
    told = asked.answer(("result", "valueBoolean", result), ("message", "valueString", message))
    for one in found:
        parts: list[Resource] = [{"name": "equivalence", "valueCode": one.equivalence}]
        if "code" in one.concept:
            parts.append({"name": "concept", "valueCoding": one.concept})
        if one.map:
            parts.append({"name": "source", "valueUri": one.map})
        told["parameter"].append({"name": "match", "part": parts})
    return told


OPERATIONS = (
    Operation("type", "ConceptMap", "translate", run, definition=DEFINITION),
    Operation("instance", "ConceptMap", "translate", run, definition=DEFINITION),
)
