"""Is this code right? `ValueSet/$validate-code` and `CodeSystem/$validate-code`

https://hl7.org/fhir/R4/valueset-operation-validate-code.html, codesystem-operation-validate-code.html. A code of a
system that nobody here knows is not called right: `result` is false and `message` says why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fhir_server import plain_text
from fhir_server.operations import Operation, OperationRequest
from fhir_server.terminology import asked
from fhir_server.terminology.asked import Asked, Kind
from fhir_server.terminology.library import Library
from fhir_server.terminology.members import Answer, Members
from fhir_server.terminology.systems import Concept, System

Resource = dict[str, Any]
_COMMON: dict[str, Kind] = {
    "url": "text",
    "code": "text",
    "display": "text",
    "coding": "Coding",
    "codeableConcept": "CodeableConcept",
    "date": "text",
    "abstract": "flag",
    "displayLanguage": "text",
}
_OF_VALUE_SET: dict[str, Kind] = {
    **_COMMON,
    "valueSet": "resource",
    "valueSetVersion": "text",
    "system": "text",
    "systemVersion": "text",
}
_OF_CODE_SYSTEM: dict[str, Kind] = {**_COMMON, "codeSystem": "resource", "version": "text"}
Has = Callable[[str | None, str], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is said of one code."""

    result: bool
    message: str = ""
    display: str = ""


async def in_value_set(call: OperationRequest) -> Resource:
    """Whether the code is in the value set. Raises NotFound for an unknown value set, Unreadable without a code."""
    given = asked.read(call, _OF_VALUE_SET)
    library = Library(call.store, call.caller)
    value_set = await asked.value_set(call, given, library)
    members = Members(library)

    async def has(system: str | None, code: str) -> Answer:
        return await members.has(value_set, system, code)

    verdicts = []
    for coding in _codings(given, given.text("system")):
        if "system" not in coding and (system := await _only_system(value_set, coding["code"], has)):
            coding = {**coding, "system": system}
        names = _listed_names(value_set, coding)
        verdicts.append(await _verdict(coding, given, members, has, names=names))
    return _answer(verdicts)


async def in_code_system(call: OperationRequest) -> Resource:
    """Whether the code system has the code. Raises NotFound for an unknown system, Unreadable without a code."""
    given = asked.read(call, _OF_CODE_SYSTEM)
    library = Library(call.store, call.caller)
    canonical = given.canonical("url", "version")
    if call.id is not None:
        library.given.append(await library.instance("CodeSystem", call.id))
    elif brought := given.part("codeSystem"):
        library.given.append(asked.checked(call, brought, "CodeSystem"))
    if library.given:
        canonical = str(library.given[0].get("url", ""))
    codings = _codings(given, canonical.partition("|")[0])
    canonical = canonical or str(codings[0].get("system", ""))
    if not canonical:
        raise asked.refused("Donnez url, ou un coding avec system", "url", "required")
    members = Members(library)

    async def has(system: str | None, code: str) -> Answer:
        if system != canonical.partition("|")[0]:
            return False
        return await members.in_system(canonical, code)

    if await library.system(canonical) is None and await members.in_system(canonical, "") is None:
        raise asked.unknown("Système de codes", canonical)
    return _answer([await _verdict(one, given, members, has) for one in codings])


def _codings(given: Asked, system: str) -> list[Resource]:
    """The codes to look at. Raises Unreadable when there is not exactly one way in which they are given."""
    ways = [name for name in ("code", "coding", "codeableConcept") if given.has(name)]
    if len(ways) != 1:
        raise asked.refused("Donnez code, ou coding, ou codeableConcept", "code", "required")
    if ways == ["code"]:
        found: list[Resource] = [{"code": given.text("code"), "display": given.text("display")}]
        if system:
            found[0]["system"] = system
    else:
        part = given.part(ways[0]) or {}
        found = [part] if ways == ["coding"] else list(part.get("coding", ()))
    codings = [one for one in found if one.get("code")]
    if not codings:
        raise asked.refused("Aucun code à vérifier", ways[0], "required")
    return codings


async def _only_system(value_set: Resource, code: str, has: Has) -> str | None:
    """The system that a bare code is from, when it is one that the value set names itself."""
    named = dict.fromkeys(str(one.get("system", "")) for one in value_set.get("compose", {}).get("include", ()))
    for one in named:
        if one and await has(one, code):
            return one
    return None


def _listed_names(value_set: Resource, coding: Resource) -> list[str]:
    """What the value set itself calls a code that it lists."""
    includes = value_set.get("compose", {}).get("include", ())
    mine = [one for one in includes if coding.get("system") in (None, one.get("system"))]
    listed = [one for include in mine for one in include.get("concept", ()) if one["code"] == coding["code"]]
    names = [str(one["display"]) for one in listed if "display" in one]
    return names + [str(other["value"]) for one in listed for other in one.get("designation", ())]


async def _verdict(
    coding: Resource, given: Asked, members: Members, has: Has, *, names: list[str] | None = None
) -> _Verdict:
    url, code = coding.get("system"), str(coding["code"])
    answer = await has(url, code)
    if answer is None:
        return _Verdict(False, f"Impossible à vérifier : les codes de {_names(members)} ne sont pas connus ici")
    if not answer:
        return _Verdict(False, f"Le code {_shown(url, code)} n'en fait pas partie")
    system = await members.library.system(url) if url else None
    concept = system.find(code) if system else None
    if system is None or concept is None:
        return _Verdict(True, "", names[0] if names else "")
    display = str(coding.get("display", ""))
    if names and plain_text.fold(display) in map(plain_text.fold, names):
        display = ""
    return _named(system, concept, display, given)


def _named(system: System, concept: Concept, display: str, given: Asked) -> _Verdict:
    proper = concept.name(given.text("displayLanguage"))
    if given.flag("abstract") is False and concept.is_abstract:
        return _Verdict(False, f"Le code {concept.code} est abstrait : il sert à chercher, pas à coder", proper)
    if display and not system.has_name(concept, display):
        return _Verdict(False, f"Le libellé « {display[:200]} » n'est pas celui du code {concept.code}", proper)
    if concept.is_inactive:
        return _Verdict(True, f"Le code {concept.code} n'est plus en usage", proper)
    return _Verdict(True, "", proper)


def _answer(verdicts: list[_Verdict]) -> Resource:
    """The first that is right, else all that is wrong (a concept is right when one of its codings is)."""
    right = next((one for one in verdicts if one.result), None)
    if right is not None:
        return asked.answer(
            ("result", "valueBoolean", True),
            ("message", "valueString", right.message),
            ("display", "valueString", right.display),
        )
    return asked.answer(
        ("result", "valueBoolean", False),
        ("message", "valueString", " ; ".join(dict.fromkeys(one.message for one in verdicts))),
        ("display", "valueString", next((one.display for one in verdicts if one.display), "")),
    )


def _names(members: Members) -> str:
    return ", ".join(one[:200] for one in members.unknown) or "ce système"


def _shown(url: str | None, code: str) -> str:
    return f"{code[:100]} ({url[:200]})" if url else code[:100]


_VALUE_SET = "http://hl7.org/fhir/OperationDefinition/ValueSet-validate-code"
_CODE_SYSTEM = "http://hl7.org/fhir/OperationDefinition/CodeSystem-validate-code"
OPERATIONS = (
    Operation("type", "ValueSet", "validate-code", in_value_set, definition=_VALUE_SET),
    Operation("instance", "ValueSet", "validate-code", in_value_set, definition=_VALUE_SET),
    Operation("type", "CodeSystem", "validate-code", in_code_system, definition=_CODE_SYSTEM),
    Operation("instance", "CodeSystem", "validate-code", in_code_system, definition=_CODE_SYSTEM),
)
