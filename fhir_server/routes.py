"""Which interaction does a path and a method mean?

R4 http.html#summary. The table below is all there is; the CapabilityStatement and the `Allow` header are made from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from common import errors
from fhir_server import bundle, capability, history, operations, patch, read, search, transaction, write
from fhir_server.audit import trace
from fhir_server.exchange import Answer, Request, Server
from fhir_server.jobs import door

Shape = Literal[
    "system", "metadata", "system-history", "system-search", "type", "type-search", "type-history",
    "instance", "instance-history", "version", "compartment", "compartment-search", "operation", "job", "job-file",
]  # fmt: skip


async def run(server: Server, request: Request) -> Answer:
    """Run the interaction that a request asks for.

    Raises NotFound for a type or path that R4 does not know, NotAllowed for what it knows and this server does not do.
    """
    segments = request.segments
    where = shape(segments)
    if len(segments) > 1 and where not in _NO_TYPE:
        _check_id(request)
    is_known = where in _SYSTEM or segments[0] in server.types or segments[0].startswith("$")
    if not is_known and not (where == "operation" and server.operations.knows(segments[0])):
        raise errors.NotFound(f"Type de ressource inconnu : {segments[0][:60]}")
    method = "GET" if request.method == "HEAD" else request.method
    interaction = _TABLE.get((where, method))
    is_trace = segments[:1] == ["AuditEvent"] and method in ("PUT", "PATCH", "DELETE")
    if interaction is None or is_trace:  # ITI-20: a trace is neither changed nor taken back
        raise errors.NotAllowed(f"{request.method} n'est pas disponible à cette adresse", at="http.method")
    if (traced := trace.current()) and not traced.what:
        traced.what = _said(where, method, request)
    if request.prefer.is_async and door.may_wait(server, where, request):
        return await door.accept(server, request, where)
    return await interaction(server, request)


def _said(where: Shape, method: str, request: Request) -> str:
    """The interaction in FHIR's own word (restful-interaction)."""
    if where == "operation":
        return f"operation {request.segments[-1]}"
    return _WORDS.get((where, method), "operation")


def shape(segments: list[str]) -> Shape:
    """What kind of address this is. Raises NotFound for one that FHIR does not have."""
    match segments:
        case ["$job", _]:
            return "job"
        case ["$job", _, _]:
            return "job-file"
        case [_, id] if id[:1] not in ("_", "$"):
            return "instance"
        case []:
            return "system"
        case [one]:
            return _SINGLE.get(one, "operation" if one.startswith("$") else "type")
        case [_, "_search"]:
            return "type-search"
        case [_, "_history"]:
            return "type-history"
        case [_, _, "_history"]:
            return "instance-history"
        case [_, _, "_history", _]:
            return "version"
        case [_, last] | [_, _, last] if last.startswith("$"):
            return "operation"
        case [_, _, last] if last[:1].isupper() or last == "*":
            return "compartment"
        case [_, _, last, "_search"] if last[:1].isupper() or last == "*":
            return "compartment-search"
    raise errors.NotFound("Adresse inconnue")


def allowed(server: Server, segments: list[str]) -> str:
    """The methods that an address knows, for the `Allow` header."""
    where = shape(segments)
    if where == "operation":
        return operations.allowed(server, segments)
    methods = [method for place, method in _TABLE if place == where]
    return ", ".join(["HEAD", *methods] if "GET" in methods else methods)


def _check_id(request: Request) -> None:
    if not write.ID.fullmatch(request.segments[1]) and request.segments[1][:1] != "_":
        if request.method == "PUT":
            write.refuse_other_id({}, *request.segments[:2])
        raise errors.NotFound(f"{request.segments[0][:60]} : identifiant inconnu")


async def _bundle(server: Server, request: Request) -> Answer:
    kind, raw = bundle.read(server, request)
    if traced := trace.current():
        traced.what = kind
    return await (transaction.run if kind == "transaction" else bundle.batch)(server, request, raw, run)


_SINGLE: dict[str, Shape] = {"metadata": "metadata", "_history": "system-history", "_search": "system-search"}
_NO_TYPE = frozenset({"operation", "job", "job-file"})
_SYSTEM = frozenset({"system", "metadata", "system-history", "system-search"})

_TABLE: dict[tuple[Shape, str], Callable[[Server, Request], Awaitable[Answer]]] = {
    ("instance", "GET"): read.read,
    ("instance", "PUT"): write.update,
    ("instance", "PATCH"): patch.patch,
    ("instance", "DELETE"): write.delete,
    ("version", "GET"): read.vread,
    ("instance-history", "GET"): history.of_one,
    ("type-history", "GET"): history.of_type,
    ("system-history", "GET"): history.of_system,
    ("type", "GET"): search.by_url,
    ("type", "POST"): write.create,
    ("type", "PUT"): write.update,
    ("type", "PATCH"): patch.patch,
    ("type", "DELETE"): write.delete,
    ("type-search", "POST"): search.by_form,
    ("compartment", "GET"): search.of_compartment,
    ("compartment-search", "POST"): search.of_compartment_by_form,
    ("system", "GET"): search.of_system,
    ("system-search", "POST"): search.of_system_by_form,
    ("system", "POST"): _bundle,
    ("metadata", "GET"): capability.metadata,
    ("operation", "GET"): operations.run,
    ("operation", "POST"): operations.run,
    ("job", "GET"): door.status,
    ("job", "DELETE"): door.cancel,
    ("job-file", "GET"): door.file,
}

_FOUND: tuple[Shape, ...] = ("type-search", "compartment", "compartment-search")
_WORDS: dict[tuple[Shape, str], str] = {
    ("instance", "GET"): "read", ("version", "GET"): "vread", ("instance", "PUT"): "update", ("type", "POST"): "create",
    ("instance", "PATCH"): "patch", ("instance", "DELETE"): "delete", ("type", "PUT"): "update",
    ("type", "PATCH"): "patch", ("type", "DELETE"): "delete", ("instance-history", "GET"): "history-instance",
    ("type-history", "GET"): "history-type", ("system-history", "GET"): "history-system",
    ("system", "POST"): "transaction", ("system", "GET"): "search-system", ("system-search", "POST"): "search-system",
    ("metadata", "GET"): "capabilities",
    **{(one, method): "search-type" for one in _FOUND for method in ("GET", "POST")},
    ("type", "GET"): "search-type",
}  # fmt: skip

# The same table in the words of the CapabilityStatement: for each resource type, and for the whole server.
OF_TYPE: dict[str, tuple[Shape, str]] = {
    "read": ("instance", "GET"),
    "vread": ("version", "GET"),
    "update": ("instance", "PUT"),
    "patch": ("instance", "PATCH"),
    "delete": ("instance", "DELETE"),
    "history-instance": ("instance-history", "GET"),
    "history-type": ("type-history", "GET"),
    "create": ("type", "POST"),
    "search-type": ("type", "GET"),
}
OF_SYSTEM: dict[str, tuple[Shape, str]] = {
    "transaction": ("system", "POST"),
    "batch": ("system", "POST"),
    "search-system": ("system", "GET"),
    "history-system": ("system-history", "GET"),
}


def interactions(named: Mapping[str, tuple[Shape, str]]) -> list[str]:
    """Those of the named interactions that are registered."""
    return [code for code, place in named.items() if place in _TABLE]
