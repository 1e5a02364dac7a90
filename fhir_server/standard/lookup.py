"""What does this code mean? `CodeSystem/$lookup`

https://hl7.org/fhir/R4/codesystem-operation-lookup.html
"""

from __future__ import annotations

from typing import Any

from common import errors
from fhir_server.operations import Operation, OperationRequest
from fhir_server.terminology import asked
from fhir_server.terminology.asked import Asked, Kind
from fhir_server.terminology.library import Library
from fhir_server.terminology.systems import Concept, System, value_of

Resource = dict[str, Any]
DEFINITION = "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup"
_KINDS: dict[str, Kind] = {
    "code": "text",
    "system": "text",
    "version": "text",
    "coding": "Coding",
    "date": "text",
    "displayLanguage": "text",
    "property": "text",
}
# What is told as a parameter of its own, not as a property (codesystem-operation-lookup.html).
_OF_ITS_OWN = frozenset(("system", "name", "version", "display", "designation"))


async def run(call: OperationRequest) -> Resource:
    """Its display, its other names, its properties. Raises NotFound for an unknown system or code."""
    given = asked.read(call, _KINDS)
    coding = given.part("coding") or {}
    url, code = given.text("system") or coding.get("system", ""), given.text("code") or coding.get("code", "")
    if not url or not code:
        raise asked.refused("Donnez code et system, ou coding", "code", "required")
    version = given.text("version") or coding.get("version", "")
    system = await asked.system(Library(call.store, call.caller), f"{url}|{version}" if version else url)
    concept = system.find(code)
    if concept is None:
        raise errors.NotFound(f"Code inconnu dans {url[:200]} : {code[:100]}")
    return _told(system, concept, given)


def _told(system: System, concept: Concept, given: Asked) -> Resource:
    wanted = frozenset(given.texts("property"))
    told = asked.answer(
        ("name", "valueString", system.name),
        ("version", "valueString", system.version),
        ("display", "valueString", concept.name(given.text("displayLanguage")) or concept.code),
    )
    if not wanted or "designation" in wanted:
        told["parameter"] += [{"name": "designation", "part": _designation(one)} for one in concept.designations]
    for one in system.properties_of(concept):
        if not wanted or one["code"] in wanted or "*" in wanted:
            told["parameter"].append({"name": "property", "part": _property(system, one)})
    return told


def _designation(one: Resource) -> list[Resource]:
    parts: list[Resource] = []
    if "language" in one:
        parts.append({"name": "language", "valueCode": one["language"]})
    if "use" in one:
        parts.append({"name": "use", "valueCoding": one["use"]})
    return [*parts, {"name": "value", "valueString": one["value"]}]


def _property(system: System, one: Resource) -> list[Resource]:
    name = next((key for key in one if key.startswith("value")), "valueString")
    parts = [{"name": "code", "valueCode": one["code"]}, {"name": "value", name: value_of(one)}]
    # The name of a parent or child beside its code.
    if one["code"] in ("parent", "child") and (other := system.find(str(value_of(one)))) and other.display:
        parts.append({"name": "description", "valueString": other.display})
    return parts


OPERATIONS = (Operation("type", "CodeSystem", "lookup", run, definition=DEFINITION),)
