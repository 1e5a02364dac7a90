"""Which codes are in this value set? `ValueSet/$expand`

https://hl7.org/fhir/R4/valueset-operation-expand.html. The list is flat unless `excludeNested=false` asks for the order
of its code system; a list that cannot be complete is refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from common import clock
from fhir_server import plain_text
from fhir_server.operations import Operation, OperationRequest
from fhir_server.terminology import asked, expand
from fhir_server.terminology.asked import Asked, Kind
from fhir_server.terminology.expand import Expansion, Member
from fhir_server.terminology.library import Library
from fhir_server.terminology.systems import speaks

Resource = dict[str, Any]
DEFINITION = "http://hl7.org/fhir/OperationDefinition/ValueSet-expand"
_KINDS: dict[str, Kind] = {
    "url": "text",
    "valueSet": "resource",
    "valueSetVersion": "text",
    "filter": "text",
    "offset": "number",
    "count": "number",
    "includeDesignations": "flag",
    "designation": "text",
    "includeDefinition": "flag",
    "activeOnly": "flag",
    "excludeNested": "flag",
    "excludeNotForUI": "flag",
    "displayLanguage": "text",
}
_SAID = ("filter", "activeOnly", "excludeNested", "includeDesignations", "displayLanguage", "offset", "count")
_UNCLOSED = "http://hl7.org/fhir/StructureDefinition/valueset-unclosed"
_NOT_TOLD = frozenset(("text", "compose", "expansion"))


async def run(call: OperationRequest) -> Resource:
    """The value set with its expansion.

    Raises NotFound for an unknown value set, TooLarge for too many codes, Invalid for one that cannot be expanded.
    """
    given = asked.read(call, _KINDS, bare="valueSet")
    library = Library(call.store, call.caller)
    value_set = await asked.value_set(call, given, library)
    found = await expand.expand(library, value_set)
    members = _chosen(found, given)
    offset, count = given.number("offset") or 0, given.number("count")
    if count is None and len(members) - offset > expand.MOST_CODES:
        raise expand.too_costly()
    page = members[offset:] if count is None else members[offset : offset + min(count, expand.MOST_CODES)]
    told = {name: value for name, value in value_set.items() if name not in _NOT_TOLD}
    if given.flag("includeDefinition") and "compose" in value_set:
        told["compose"] = value_set["compose"]
    told["expansion"] = {
        "identifier": f"urn:uuid:{uuid.uuid4()}",
        "timestamp": clock.instant(call.server.now()),
        "total": len(members),
        "offset": offset,
        "parameter": _parameters(given, found),
        "contains": _contains(page, given, nested=given.flag("excludeNested") is False and len(page) == len(members)),
    }
    if found.is_open:
        told["expansion"] = {"extension": [{"url": _UNCLOSED, "valueBoolean": True}], **told["expansion"]}
    if not told["expansion"]["contains"]:
        del told["expansion"]["contains"]
    if not told["expansion"]["parameter"]:
        del told["expansion"]["parameter"]
    if offset == 0 and count is None:
        del told["expansion"]["offset"]  # valueset.html: only when the answer is a page
    return told


def _chosen(found: Expansion, given: Asked) -> list[Member]:
    members = list(found.members.values())
    if given.flag("activeOnly"):
        members = [one for one in members if not one.is_inactive]
    if given.flag("excludeNotForUI"):
        members = [one for one in members if one.concept is None or not one.concept.is_abstract]
    if words := plain_text.words(given.text("filter")):
        members = [one for one in members if _meets(one, words)]
    return members


def _meets(member: Member, words: Sequence[str]) -> bool:
    """Each word begins a word of the code or of one of its names."""
    names = " ".join([member.code, member.display, *(str(one["value"]) for one in member.designations)])
    there = plain_text.words(names)
    return all(any(one.startswith(word) for one in there) for word in words)


def _parameters(given: Asked, found: Expansion) -> list[Resource]:
    said: list[Resource] = []
    for name in _SAID:
        if not given.has(name):
            continue
        if _KINDS[name] == "text":
            said.append({"name": name, "valueCode" if name == "displayLanguage" else "valueString": given.text(name)})
        elif _KINDS[name] == "flag":
            said.append({"name": name, "valueBoolean": given.flag(name)})
        else:
            said.append({"name": name, "valueInteger": given.number(name)})
    return said + [{"name": "version", "valueUri": one} for one in found.versions]


def _contains(page: list[Member], given: Asked, *, nested: bool) -> list[Resource]:
    told = {(one.system, one.code): _told(one, given) for one in page}
    if not nested:
        return list(told.values())
    roots: list[Resource] = []
    for one in page:
        parents = one.concept.parents if one.concept else []
        above = next((told[one.system, code] for code in parents if (one.system, code) in told), None)
        # A hierarchy may lead in a circle: who is above must come before.
        if above is None or parents[0] == one.code:
            roots.append(told[one.system, one.code])
        else:
            above.setdefault("contains", []).append(told[one.system, one.code])
    return roots


def _told(member: Member, given: Asked) -> Resource:
    language = given.text("displayLanguage")
    found: Resource = {"system": member.system} if member.system else {}
    if member.concept is not None and member.concept.is_abstract:
        found["abstract"] = True
    if member.is_inactive:
        found["inactive"] = True
    if member.version:
        found["version"] = member.version
    found["code"] = member.code
    named = next((one["value"] for one in member.designations if speaks(one.get("language", ""), language)), None)
    if display := (named if language and named else member.display):
        found["display"] = display
    wanted = given.texts("designation")
    shown = [one for one in member.designations if not wanted or _is_wanted(one, wanted)]
    if shown and (given.flag("includeDesignations") or wanted):
        found["designation"] = shown
    return found


def _is_wanted(designation: Resource, wanted: Sequence[str]) -> bool:
    """`system|code` is a use or a language, as R4 has it."""
    use = designation.get("use", {})
    forms = {f"{use.get('system', '')}|{use.get('code', '')}", f"urn:ietf:bcp:47|{designation.get('language', '')}"}
    return not forms.isdisjoint(wanted)


OPERATIONS = (
    Operation("type", "ValueSet", "expand", run, definition=DEFINITION),
    Operation("instance", "ValueSet", "expand", run, definition=DEFINITION),
)
