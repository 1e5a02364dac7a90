"""`$graphql`: a query over what the caller may see, at `[base]` or on one resource.

https://hl7.org/fhir/R4/graphql.html and resource-operation-graphql.html. GET with `query`, POST with the query itself
(`application/graphql`) or as JSON (`query`, `variables`, `operationName`). The answer is 200 with `data`, or the status
of what was wrong with GraphQL's `errors`, each with an OperationOutcome; what is wrong with the request before that
(token, media type, JSON) is an OperationOutcome as everywhere. Read only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from common import errors
from fhir_server import bodies, media, outcome
from fhir_server.changes import Resource
from fhir_server.exchange import Answer
from fhir_server.graphql import check, document, execute
from fhir_server.operations import Operation, OperationRequest

MOST_SECONDS = 20.0

_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-graphql"
_MEDIA = b"application/json; charset=utf-8"
_NAMES = frozenset({"query", "variables", "operationName", "extensions"})


@dataclass(frozen=True, slots=True)
class _Asked:
    query: str
    variables: dict[str, Any]
    operation: str | None


async def run(request: OperationRequest) -> Answer:
    """`{"data": …}`, or `{"data": null, "errors": […]}` with the status of the first error.

    Raises Unreadable and UnsupportedMedia for a request that carries no query, NotFound, Gone and Forbidden for the
    resource that the address names.
    """
    asked = _asked(request)
    resource = await _named(request)
    try:
        async with asyncio.timeout(MOST_SECONDS):
            data = await _data(request, asked, resource)
    except TimeoutError:
        return _failed(document.Wrong("requête trop longue : demandez moins", code="too-costly"), request)
    except errors.HubError as problem:
        return _failed(problem, request)
    return Answer(200, media.encode({"data": data}), media=_MEDIA)


async def _data(request: OperationRequest, asked: _Asked, resource: Resource | None) -> dict[str, Any]:
    selections = document.read(asked.query, asked.variables, asked.operation)
    checker = check.Checker(request.server.definitions.shapes, request.server.types)
    execution = execute.Execution(request)
    if resource is None:
        checker.system(selections)
        return await execution.system(selections)
    checker.of(resource["resourceType"], selections)
    return await execution.instance(resource, selections)


async def _named(request: OperationRequest) -> Resource | None:
    if request.type is None or request.id is None:
        return None
    stored = await request.store.read(request.type, request.id, caller=request.caller)
    return bodies.decode(stored.body)


def _asked(request: OperationRequest) -> _Asked:
    given: dict[str, Any] = {}
    for name, value in request.params:
        if name not in _NAMES or name in given:
            raise errors.Unreadable(f"{name[:60]} : paramètre inconnu, ou donné deux fois", at=f"http.{name[:60]}")
        given[name] = value
    if isinstance(given.get("variables"), str):
        given["variables"] = media.read_json(given["variables"].encode())
    if request.http.body:
        given |= _body(request)
    query, variables, operation = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str) or not query:
        raise errors.Unreadable("« query » manque : une requête GraphQL est attendue", at="query")
    if not isinstance(variables, dict | None) or not isinstance(operation, str | None):
        raise errors.Unreadable("« variables » est un objet, « operationName » un texte", at="variables")
    return _Asked(query, variables or {}, operation)


def _body(request: OperationRequest) -> dict[str, Any]:
    content_type = request.http.header(b"content-type").partition(";")[0].strip().lower()
    if content_type == "application/graphql":
        try:
            return {"query": request.http.body.decode()}
        except UnicodeDecodeError:
            raise errors.Unreadable("La requête n'est pas en UTF-8") from None
    if content_type != "application/json":
        raise errors.UnsupportedMedia(
            f"Content-Type {content_type[:80] or 'absent'} : attendu application/json ou application/graphql",
            at="http.Content-Type",
        )
    found = media.read_json(request.http.body)
    if unknown := found.keys() - _NAMES:
        raise errors.Unreadable(f"clé inconnue : {min(unknown)[:60]}", at="query")
    return found


def _failed(problem: errors.HubError, request: OperationRequest) -> Answer:
    error: dict[str, Any] = {"message": problem.message}
    place = problem.place if isinstance(problem, document.Wrong) else None
    if place is not None:
        error["locations"] = [{"line": place.line, "column": place.column}]
    error["extensions"] = {"resource": outcome.of(problem, request.request_id)}
    return Answer(problem.status, media.encode({"data": None, "errors": [error]}), media=_MEDIA)


operations = (
    Operation("system", None, "graphql", run, definition=_DEFINITION, reads_body=True),
    Operation("instance", None, "graphql", run, definition=_DEFINITION, reads_body=True),
)
