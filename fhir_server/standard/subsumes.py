"""Which of two codes is the wider one? `CodeSystem/$subsumes`

https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from __future__ import annotations

from typing import Any

from common import errors
from fhir_server.operations import Operation, OperationRequest
from fhir_server.terminology import asked
from fhir_server.terminology.asked import Asked, Kind
from fhir_server.terminology.library import Library
from fhir_server.terminology.systems import System

Resource = dict[str, Any]
DEFINITION = "http://hl7.org/fhir/OperationDefinition/CodeSystem-subsumes"
_KINDS: dict[str, Kind] = {
    "codeA": "text",
    "codeB": "text",
    "system": "text",
    "version": "text",
    "codingA": "Coding",
    "codingB": "Coding",
}


async def run(call: OperationRequest) -> Resource:
    """equivalent, subsumes (A is wider), subsumed-by or not-subsumed. Raises NotFound for an unknown system or code."""
    given = asked.read(call, _KINDS)
    codings = [given.part(name) or {} for name in ("codingA", "codingB")]
    codes = [given.text(f"code{end}") or coding.get("code", "") for end, coding in zip("AB", codings, strict=True)]
    if not all(codes):
        raise asked.refused("Donnez codeA et codeB, ou codingA et codingB", "codeA", "required")
    system = await _system(call, given, codings)
    a, b = (_known(system, one) for one in codes)
    if a == b:
        outcome = "equivalent"
    elif b in system.below(a):
        outcome = "subsumes"
    else:
        outcome = "subsumed-by" if a in system.below(b) else "not-subsumed"
    return asked.answer(("outcome", "valueCode", outcome))


async def _system(call: OperationRequest, given: Asked, codings: list[Resource]) -> System:
    library = Library(call.store, call.caller)
    if call.id is not None:
        return System(await library.instance("CodeSystem", call.id))
    named = dict.fromkeys(one for one in (given.text("system"), *(c.get("system") for c in codings)) if one)
    if len(named) > 1:
        raise asked.refused("Les deux codes doivent être du même système", "system")
    if not named:
        raise asked.refused("Donnez system", "system", "required")
    version = given.text("version")
    return await asked.system(library, f"{next(iter(named))}|{version}" if version else next(iter(named)))


def _known(system: System, code: str) -> str:
    found = system.find(code)
    if found is None:
        raise errors.NotFound(f"Code inconnu dans {system.url[:200]} : {code[:100]}")
    return found.code


OPERATIONS = (
    Operation("type", "CodeSystem", "subsumes", run, definition=DEFINITION),
    Operation("instance", "CodeSystem", "subsumes", run, definition=DEFINITION),
)
