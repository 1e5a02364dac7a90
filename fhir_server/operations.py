"""What can be asked beyond create, read, update, delete and search?

R4 operations.html. The hub hands its `$operations` to `build_app`; this server only finds the one that a URL names,
checks that the caller may use it, and writes down its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from common import errors
from fhir_server import access, media
from fhir_server.changes import Resource
from fhir_server.exchange import Answer, Params, Request, Server

if TYPE_CHECKING:
    from fhir_server.store import Store

Level = Literal["system", "type", "instance"]


# Those that choose the form of their answer themselves, not between JSON and XML: no bundle can hold it.
OWN_FORMATS = frozenset({"$graphql", "$run", "$viewdefinition-run"})


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """One call of an operation.

    `type` and `id` are None above the level they belong to; `params` the query string; `body` the resource that was
    posted (a Parameters, or the bare resource of a single parameter), None without one; `base` the absolute address of
    the server. `server` and `http` are the whole of what an interaction gets, for an operation that is one itself.
    """

    store: Store
    caller: access.Caller
    type: str | None
    id: str | None
    params: Params
    body: Resource | None
    base: str
    request_id: str
    server: Server
    http: Request


Result = Resource | bytes | Answer | None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation `$name` at one level; `type` None at level type or instance means every type.

    `action` is the right it needs on the type (a letter of `cruds`); one that only reads (`r`, `s`) may be called with
    GET. `run` returns a resource, its JSON bytes, a whole Answer, or None for 204; it raises errors.HubError.
    `definition` is the canonical address of its OperationDefinition, for the CapabilityStatement. `reads_body`: the
    content is no FHIR resource, `run` reads it from `http`.
    """

    level: Level
    type: str | None
    name: str
    run: Callable[[OperationRequest], Awaitable[Result]]
    action: str = "r"
    definition: str = ""
    reads_body: bool = False


class Registry:
    """The operations of one server."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.all = tuple(operations)
        self._found = {(one.level, one.type, one.name): one for one in self.all}

    def knows(self, type: str) -> bool:
        """Whether some operation belongs to a type, which R4 itself may not have (ViewDefinition)."""
        return any(one.type == type for one in self.all)

    def find(self, level: Level, type: str | None, name: str) -> Operation:
        """The operation for a URL. Raises NotFound."""
        found = self._found.get((level, type, name)) or self._found.get((level, None, name))
        if found is None:
            raise errors.NotFound(f"${name[:60]} : opération inconnue à cet endroit")
        return found


async def run(server: Server, request: Request) -> Answer:
    """`GET` or `POST [base]/[Type]/[id]/$name`.

    Raises NotFound for an unknown operation, NotAllowed for a GET on one that writes, Forbidden, and what it raises.
    """
    operation = _named(server, request.segments)
    type, id = (*request.segments[:-1], None, None)[:2]
    if request.method != "POST" and operation.action not in "rs":
        raise errors.NotAllowed(f"${operation.name} modifie des données : appelez-la par POST", at="http.method")
    if type in server.types:
        access.may(request.caller, operation.action, type)
    has_content = (request.body or request.resource is not None) and not operation.reads_body
    content = _checked(media.content(server, request)) if has_content else None
    call = OperationRequest(
        store=server.store,
        caller=request.caller,
        type=type,
        id=id,
        params=request.params,
        body=content,
        base=request.base,
        request_id=request.id,
        server=server,
        http=request,
    )
    return _answer(await operation.run(call))


def _checked(content: Resource) -> Resource:
    """A body that is a resource by its form; its parameters, if it is Parameters, have names. Raises Unreadable."""
    type, parts = content.get("resourceType"), content.get("parameter", [])
    if not isinstance(type, str):
        raise errors.Unreadable("resourceType manque : une ressource est attendue", at="resourceType")
    named = isinstance(parts, list) and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in parts)
    if type == "Parameters" and not named:
        raise errors.Unreadable("Parameters.parameter : une liste d'éléments avec name est attendue", at="Parameters")
    return content


def allowed(server: Server, segments: list[str]) -> str:
    """The methods for the operation at this address, for the `Allow` header."""
    try:
        operation = _named(server, segments)
    except errors.NotFound:
        return ""
    return "HEAD, GET, POST" if operation.action in "rs" else "POST"


def reads(server: Server, segments: list[str]) -> bool:
    """Does the operation at this address change nothing? Raises NotFound."""
    return _named(server, segments).action in "rs"


def _named(server: Server, segments: list[str]) -> Operation:
    *place, last = segments
    level: Level = ("system", "type", "instance")[len(place)]
    return server.operations.find(level, place[0] if place else None, last[1:])


def _answer(result: Result) -> Answer:
    if isinstance(result, Answer):
        return result
    if result is None:
        return Answer(204)
    return Answer(200, result if isinstance(result, bytes) else media.encode(result))
