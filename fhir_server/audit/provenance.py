"""Who wrote this, and when? Each write as a Provenance, made from its trace when asked for (MODEL-08).

`GET [base]/Provenance?target=Type/id`, `_revinclude=Provenance:target` and `GET [base]/Provenance/{id}`: for whoever
sees the resource, or saw it before it was deleted. A trace that wrote several resources is a Provenance of each, since
one may be new and another not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server import access, dates, exchange, keys, media, presence
from fhir_server.access import Caller
from fhir_server.audit import door, events, trace
from fhir_server.audit.trace import Kept
from fhir_server.exchange import Answer, Params, Request, Server

Resource = dict[str, Any]

_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_DONE = {"POST": "CREATE", "PUT": "UPDATE", "DELETE": "DELETE"}
_MOST_VERSIONS = 500
_PARAMETERS = frozenset({"target", "patient", "agent", "recorded"})
MOST_INCLUDED = 500


async def search(server: Server, request: Request, params: Params) -> list[bytes]:
    """Those of a search that names its targets, as entries, newest first; on its first page alone, there are few.

    Raises Unreadable for a date that is none.
    """
    targets = _targets(params)
    about = [name for name, _ in params if not name.startswith("_")]
    if not targets or not _PARAMETERS.issuperset(about) or any(name == "_after" for name, _ in params):
        return []
    lo, hi = door.span([value for name, value in params if name == "recorded"], at="recorded")
    agents = {one for name, value in params if name == "agent" for one in value.split(",")}
    refs = dict.fromkeys(one.removeprefix(f"{request.base}/") for one in targets)
    found = [one for ref in refs for one in await _of(server, request.caller, ref, (lo, hi))]
    shown = [told for _, told in sorted(found, key=lambda one: -one[0])]
    return [door.entry(request, one) for one in shown if not agents or _who(one) in agents]


def remark(params: Params) -> str:
    """What is to be said of a search that names no target: what was written here is found by its target."""
    names = {name for name, _ in params}
    is_asked = names & {"agent", "recorded"} and not _targets(params)
    return "Les Provenance des écritures d'ici se cherchent par target ou patient" if is_asked else ""


async def included(server: Server, request: Request, refs: Iterable[str]) -> tuple[list[bytes], bool]:
    """Those of resources that were found (`_revinclude=Provenance:target`), as entries; were there too many?"""
    found: list[bytes] = []
    if not access.can(request.caller, "r", "Provenance"):
        return found, False
    for ref in refs:
        some = await _of(server, request.caller, ref, (dates.BEGINNING, dates.END))
        found += [door.entry(request, told, "include") for _, told in some]
        if len(found) > MOST_INCLUDED:
            return found[:MOST_INCLUDED], True
    return found, False


def _targets(params: Params) -> list[str]:
    """Of what the Provenance is asked for."""
    found = [one for name, value in params if name == "target" for one in value.split(",")]
    patients = [one for name, value in params if name == "patient" for one in value.split(",")]
    return found + [one if "/" in one else f"Patient/{one}" for one in patients]


async def _of(server: Server, caller: Caller, ref: str, span: tuple[int, int]) -> list[tuple[int, Resource]]:
    """Those of one resource that the caller sees, each with its time, newest first."""
    rows = await door.rows(server, keys.key(ref), span) if await _is_seen(server, caller, ref) else []
    methods = await _methods(server, ref) if rows else {}
    return [(one.values["at"], _told(one, k, methods)) for one in rows for k in _places(one, ref)]


async def read(server: Server, request: Request, place: tuple[int, int, int]) -> Answer:
    """One of them. Raises NotFound, also for that of a resource that the caller does not see."""
    chain, n, k = place
    rows = await server.store.traces.kept.rows(chain, [n])
    one = trace.kept(chain, n, rows[0].body) if rows else None
    names = one.values["given"] if one and events.is_write(one) else []
    if one is None or k >= len(names):
        raise presence.unknown("Provenance", request.segments[1])
    ref = _resource(names[k])
    if not await _is_seen(server, request.caller, ref):
        raise presence.unknown("Provenance", request.segments[1])
    return Answer(200, media.encode(_told(one, k, await _methods(server, ref))))


def place(id: str) -> tuple[int, int, int] | None:
    """Chain, number and which of the resources that were written; None for a Provenance that somebody sent."""
    head, _, last = id.rpartition("-")
    whole = exchange.whole_number(last)
    found = events.place(head)
    return (*found, whole) if found and whole is not None else None


async def _is_seen(server: Server, caller: Caller, ref: str) -> bool:
    type, _, id = ref.partition("/")
    return access.can(caller, "r", type) and await server.store.state(type, id, caller=caller) != "unknown"


async def _methods(server: Server, ref: str) -> dict[int, str]:
    """By which method each version came to be."""
    type, _, id = ref.partition("/")
    versions = await server.store.history(type, id, caller=access.SYSTEM, count=_MOST_VERSIONS)
    return {one.version: one.method for one in versions}


def _places(kept: Kept, ref: str) -> list[int]:
    if not events.is_write(kept):
        return []
    return [k for k, name in enumerate(kept.values["given"]) if _resource(name) == ref]


def _resource(name: str) -> str:
    return name.partition("/_history/")[0]


def _told(kept: Kept, k: int, methods: Mapping[int, str]) -> Resource:
    said, when = kept.values, events.instant(kept.values["at"])
    name = said["given"][k]
    version = name.rpartition("/_history/")[2]
    done = "POST" if version == "1" else methods.get(int(version), "PUT") if version.isdigit() else "PUT"
    agent: Resource = {"who": events.who(said)}
    if said["on_behalf"]:
        agent["onBehalfOf"] = {"reference": said["on_behalf"]}
    return {
        "resourceType": "Provenance",
        "id": f"{events.id_of(kept.chain, kept.n)}-{k}",
        "target": [{"reference": name}],
        "recorded": when,
        "activity": {"coding": [{"system": _OPERATION, "code": _DONE[done]}]},
        "agent": [agent],
    }


def _who(provenance: Resource) -> str:
    return str(provenance["agent"][0]["who"].get("reference", ""))
