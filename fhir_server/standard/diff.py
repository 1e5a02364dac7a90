"""What changed between two versions of a resource, or between two resources of one type?

`$diff`, not one of R4's operations: peers offer it under this name. The answer is a FHIRPath Patch
(`differences.py`). Both sides are read with the caller's rights.
"""

from __future__ import annotations

import re

from common import errors
from fhir_server import bodies, differences, exchange, operations
from fhir_server.changes import Resource, Stored
from fhir_server.operations import OperationRequest
from fhir_server.standard import parameters

_REFERENCE = re.compile(r"([A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/(\d{1,9}))?", re.ASCII)


async def of_versions(call: OperationRequest) -> Resource:
    """`[base]/Type/id/$diff?fromVersion&toVersion`, or `from`, `to`.

    Without `to` the current version, without `from` the one before it (of version 1: itself). Raises NotFound, Gone,
    Unreadable.
    """
    values = parameters.inputs(call, ("fromVersion", "toVersion", "from", "to"))
    current = await call.store.read(str(call.type), str(call.id), caller=call.caller)
    last = await _version(call, _given(values, "to"), current)
    first = await _version(call, _given(values, "from") or str(max(last.version - 1, 1)), current)
    return _between(call, first, last)


async def of_resources(call: OperationRequest) -> Resource:
    """`[base]/$diff?from=Type/id[/_history/n]&to=Type/id[/_history/n]`. Raises NotFound, Gone, Unreadable."""
    values = parameters.inputs(call, ("from", "to"))
    first, last = [await _referred(call, parameters.text(values, name), name) for name in ("from", "to")]
    if first.type != last.type:
        raise errors.Unreadable("from et to : deux ressources du même type sont attendues", at="http.to")
    return _between(call, first, last)


def _given(values: parameters.Values, name: str) -> str:
    return parameters.text(values, f"{name}Version") or parameters.text(values, name).rpartition("/")[2]


async def _version(call: OperationRequest, text: str, current: Stored) -> Stored:
    if not text:
        return current
    if (number := exchange.whole_number(text)) is None:
        raise errors.Unreadable("un numéro de version est attendu", at="http.fromVersion")
    return await call.store.vread(current.type, current.id, number, caller=call.caller)


async def _referred(call: OperationRequest, text: str, name: str) -> Stored:
    found = _REFERENCE.fullmatch(text.removeprefix(f"{call.base}/"))
    if found is None or found[1] not in call.server.types:
        raise errors.Unreadable(f"{name} : Type/id ou Type/id/_history/version est attendu", at=f"http.{name}")
    if found[3]:
        return await call.store.vread(found[1], found[2], int(found[3]), caller=call.caller)
    return await call.store.read(found[1], found[2], caller=call.caller)


def _between(call: OperationRequest, first: Stored, last: Stored) -> Resource:
    shapes = call.server.definitions.shapes
    return differences.between(bodies.decode(first.body), bodies.decode(last.body), shapes)


OPERATIONS = (
    operations.Operation("instance", None, "diff", of_versions),
    operations.Operation("system", None, "diff", of_resources),
)
