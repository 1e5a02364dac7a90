"""How does an HTTP request reach the record, and how does its answer leave?

R4 http.html. A plain ASGI application for everything under the FHIR base; whatever else arrives goes to the application
mounted behind it. The order is fixed: who asks, in which format, then the body (never read for somebody unknown),
then the interaction. Every refusal leaves as an OperationOutcome with the id of the request.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from common import clock, errors, events
from fhir_server import (
    access,
    capability,
    exchange,
    index,
    links,
    media,
    openapi,
    operations,
    outcome,
    routes,
    subset,
)
from fhir_server.audit import trace
from fhir_server.changes import Resource
from fhir_server.exchange import Answer, Header, Request, Server
from fhir_server.jobs import upload
from fhir_server.r4 import xml
from fhir_server.standard import listed
from fhir_server.store import Store

if TYPE_CHECKING:
    from fhir_server.jobs.runner import Runner

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]
Authenticate = Callable[[str], Awaitable[access.Caller]]

MAX_BODY = 25 * 1024 * 1024

_NOBODY = access.Caller(actor=None, memberships=())
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

# Patients' data: shared caches keep nothing, a browser asks again each time (and may receive a 304).
_ALWAYS: list[Header] = [
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"accept, authorization, prefer"),
    (b"x-content-type-options", b"nosniff"),
]


def log_error(problem: BaseException, request_id: str) -> None:
    """A bug as a log line: its kind and its place, never its text, which may hold data of a patient."""
    last = traceback.extract_tb(problem.__traceback__)[-1:]
    place = f"{last[0].filename}:{last[0].lineno}" if last else ""
    events.emit(events.Events.HUB_004, correlation=request_id, error=type(problem).__name__, place=place)


def build_app(
    store: Store,
    *,
    authenticate: Authenticate,
    operations: Iterable[operations.Operation] = (),
    mount: ASGI | None = None,
    base_path: str = "/fhir",
    public_url: str | None = None,
    max_body: int = MAX_BODY,
    now: clock.Clock = clock.system,
    security: Resource | None = None,
    on_error: exchange.OnError = log_error,
    jobs: Runner | None = None,
    topics: Iterable[str] = (),
    socket: ASGI | None = None,
) -> App:
    """The FHIR surface of `store` as an ASGI application.

    `authenticate` turns a bearer token into a Caller or raises Unauthenticated. `mount` receives the lifespan, every
    path outside `base_path`, and `base_path/.well-known/`. `public_url` (`https://hub.example`) is what links start
    with; without it each request's scheme and Host are. `max_body` is in bytes. `security` is told in the
    CapabilityStatement (rest.security), like `topics` (canonical addresses of subscription topics). `jobs` does what is
    asked asynchronously; whoever made it starts and stops it. `socket` answers WebSocket connections to `base_path/ws`.
    """
    indexer = index.Indexer(store.definitions, base=f"{public_url.rstrip('/')}{base_path}" if public_url else "")
    server = _server(
        store,
        indexer,
        operations,
        now=now,
        security=security,
        on_error=on_error,
        topics=topics,
        has_socket=socket is not None,
    )
    if jobs is not None:
        server.jobs = jobs
        jobs.attach(server)
    behind = mount or _nothing
    made = App(server, authenticate, mount=behind, base=base_path.rstrip("/"), public=public_url, max_body=max_body)
    made.socket = socket
    return made


def _server(
    store: Store,
    indexer: index.Indexer,
    offered: Iterable[operations.Operation],
    *,
    now: clock.Clock,
    security: Resource | None,
    on_error: exchange.OnError,
    topics: Iterable[str],
    has_socket: bool,
) -> Server:
    definitions = store.definitions
    registry = operations.Registry((*listed.OPERATIONS, *offered))
    statement = capability.statement(
        definitions,
        registry.all,
        of_type=routes.interactions(routes.OF_TYPE),
        of_system=routes.interactions(routes.OF_SYSTEM),
        security=security,
        since=now(),
        topics=topics,
        has_socket=has_socket,
    )
    return Server(
        store=store,
        definitions=definitions,
        indexer=indexer,
        operations=registry,
        walker=links.Walker(definitions.elements),
        subsets=subset.Subsets(definitions.elements),
        capability=statement,
        now=now,
        types=frozenset(definitions.types),
        on_error=on_error,
    )


class App:
    """The dispatcher: one call per request."""

    __slots__ = ("_authenticate", "_base", "_max_body", "_mount", "_public", "_server", "_well_known", "socket")

    def __init__(
        self, server: Server, authenticate: Authenticate, *, mount: ASGI, base: str, public: str | None, max_body: int
    ) -> None:
        self._server = server
        self._authenticate = authenticate
        self._mount = mount
        self._base = base
        self._public = public.rstrip("/") + base if public else None
        self._max_body = max_body
        self._well_known = f"{base}/.well-known/"
        self.socket: ASGI | None = None

    def openapi(self) -> Resource:
        """The OpenAPI document of the FHIR surface, made anew at each call."""
        return openapi.document(self._server.definitions, self._server.operations.all, base_path=self._base)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if (other := self._other(scope)) is not None:
            await other(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        format, pretty = media.JSON, False
        traced: trace.Trace | None = None
        try:
            traced = await self._begun(scope, headers, request_id)
            with traced:
                request, format = await self._request(scope, receive, headers, traced)
                answer = await routes.run(self._server, request)
            pretty = ("_pretty", "true") in request.shown
            if request.segments[-1:] == ["_search"]:  # the form may have asked for a format too
                format = _format(request)
            body, content_type = self._rendered(answer, format, pretty)
        except _Disconnected:
            return
        except errors.HubError as problem:
            answer = self._refusal(problem, scope, headers, request_id)
            body, content_type = self._rendered(answer, format, pretty)
        except Exception as problem:  # noqa: BLE001 - a bug: the door answers, tells, and goes on
            self._server.on_error(problem, request_id)
            answer = Answer(500, outcome.encode(outcome.unexpected(request_id)))
            body, content_type = answer.body, media.JSON.content_type
        self._end(traced, answer)
        headers_out = _headers(answer, body, content_type, request_id=request_id)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers_out})
        if answer.stream is not None and traced is not None and scope["method"] != "HEAD":
            await trace.inside(replace(traced, given=[]), partial(self._stream, answer.stream, body, send))
            return
        if answer.file is not None and scope["method"] != "HEAD":
            await upload.give(send, answer.file)
            return
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _other(self, scope: Scope) -> ASGI | None:
        """Who answers what is no request to the FHIR surface."""
        path = scope.get("path", "")
        if scope["type"] == "websocket" and path == f"{self._base}/ws":
            return self.socket or self._mount
        inside = path.startswith(self._base) and path[len(self._base) :][:1] in ("", "/")
        return self._mount if scope["type"] != "http" or not inside or path.startswith(self._well_known) else None

    async def _begun(self, scope: Scope, headers: dict[bytes, bytes], request_id: str) -> trace.Trace:
        """What is to be kept of a request, refused or not, with the address that it went to. Raises Unauthenticated."""
        asked: str = scope["path"][len(self._base) :].strip("/")
        is_open = asked == "metadata" and scope["method"] not in _WITH_BODY
        caller = _NOBODY if is_open else await self._authenticate(_token(headers))
        if scope["query_string"]:
            asked += f"?{scope['query_string'].decode('latin-1')}"
        door = "app" if caller.client in access.OWN_APP else "fhir"
        return trace.Trace(caller, clock.micros(self._server.now()), "", door, asked, request_id)

    def _end(self, traced: trace.Trace | None, answer: Answer) -> None:
        """Nothing of somebody unknown is kept, and what a commit wrote down is."""
        if traced is not None and not traced.wrote and traced.caller is not _NOBODY:
            self._server.store.traces.add(traced, str(answer.status))

    async def _stream(self, pieces: AsyncIterator[bytes], first: bytes, send: Send, traced: trace.Trace) -> None:
        """The rest of an answer as it is made, what each piece gives out as a row of its own.

        A failure leaves it without its end mark: the server breaks the connection, and the client sees that it has not
        everything.
        """
        await send({"type": "http.response.body", "body": first, "more_body": True})
        try:
            async for piece in pieces:
                if traced.given:
                    self._server.store.traces.add(replace(traced), "200")
                    traced.given = []
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except errors.HubError:
            return
        except Exception as problem:  # noqa: BLE001 - a bug: the door tells, and goes on
            self._server.on_error(problem, traced.correlation)
            return
        await send({"type": "http.response.body", "body": b""})

    async def _request(
        self, scope: Scope, receive: Receive, headers: dict[bytes, bytes], traced: trace.Trace
    ) -> tuple[Request, media.Format]:
        method, caller = scope["method"], traced.caller
        rest = scope["path"][len(self._base) :].strip("/")
        segments = rest.split("/") if rest else []
        params = media.parameters(scope["query_string"])
        shown = [pair for pair in params if pair[0] in exchange.GENERAL]
        if shown:
            params = [pair for pair in params if pair[0] not in exchange.GENERAL]
        request = Request(
            method,
            segments,
            params,
            headers,
            caller,
            self._public or _address(scope["scheme"], headers.get(b"host", b"")) + self._base,
            traced.correlation,
            prefer=media.prefer(headers[b"prefer"]) if b"prefer" in headers else _NO_WISH,
            shown=shown,
        )
        format = _format(request)
        if method == "POST" and segments == ["$import"] and media.is_ndjson(request.header(b"content-type")):
            request.upload = await upload.take(receive, self._server, caller)
        elif method in _WITH_BODY:
            request.body = await _read_body(receive, headers, self._max_body)
        return request, format

    def _rendered(self, answer: Answer, format: media.Format, pretty: bool) -> tuple[bytes, bytes]:
        """The body as it leaves, and its content type."""
        if answer.media is not None:
            return answer.body, answer.media
        if not answer.body:
            return b"", b""
        if format.kind == "xml":
            return xml.write(media.read_json(answer.body), self._server.definitions), format.content_type
        return (media.indented(answer.body) if pretty else answer.body), format.content_type

    def _refusal(self, problem: errors.HubError, scope: Scope, headers: dict[bytes, bytes], request_id: str) -> Answer:
        answer = Answer(problem.status, outcome.encode(outcome.of(problem, request_id)))
        if problem.status == 401:
            hint = b', error="invalid_token"' if b"authorization" in headers else b""
            answer.headers.append((b"www-authenticate", b'Bearer realm="fhir"' + hint))
        elif problem.status == 405:
            rest = scope["path"][len(self._base) :].strip("/")
            answer.headers.append((b"allow", routes.allowed(self._server, rest.split("/") if rest else []).encode()))
        elif problem.status in (429, 503):
            answer.headers.append((b"retry-after", b"2"))
        return answer


class _Disconnected(Exception):
    """The client went away before its request was complete: nobody is there to answer."""


_NO_WISH = exchange.Prefer()


def _request_id(headers: dict[bytes, bytes]) -> str:
    sent = headers.get(b"x-request-id")
    return sent.decode() if sent and _REQUEST_ID.fullmatch(sent) else os.urandom(8).hex()


def _token(headers: dict[bytes, bytes]) -> str:
    sent = headers.get(b"authorization", b"")
    if sent[:7].lower() != b"bearer " or not sent[7:].strip():
        raise errors.Unauthenticated("Jeton d'accès attendu : Authorization: Bearer …", at="http.Authorization")
    return sent[7:].strip().decode("latin-1")


def _format(request: Request) -> media.Format:
    """The format of the answer. Raises NotAcceptable, before anything is done that could not be answered."""
    accept = request.headers.get(b"accept", b"")
    if request.segments[-1:] and request.segments[-1] in operations.OWN_FORMATS:
        return media.JSON  # it has formats of its own, and an outcome leaves as JSON
    if request.segments[:1] == ["$job"]:
        return media.JSON if not media.asks_for_fhir(accept, "") else media.negotiate(accept, request.asked_format)
    may_be_raw = request.segments[:1] == ["Binary"] and request.method in ("GET", "HEAD")
    if may_be_raw and not media.asks_for_fhir(accept, request.asked_format):
        return media.JSON  # the content leaves under its own type, an outcome as JSON
    return media.negotiate(accept, request.asked_format)


@lru_cache(maxsize=256)
def _address(scheme: str, host: bytes) -> str:
    """The address the client used. Raises Unreadable for a Host that could not stand in a link."""
    text = host.decode("latin-1")
    if not _HOST.fullmatch(text):
        raise errors.Unreadable("Host : nom de serveur illisible", at="http.Host")
    return f"{scheme}://{text}"


async def _read_body(receive: Receive, headers: dict[bytes, bytes], most: int) -> bytes:
    """The whole body. Raises TooLarge before reading what is declared too large, or as soon as too much has come."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise errors.UnsupportedMedia("Content-Encoding : contenu compressé non lu ici", at="http.Content-Encoding")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > most):
        raise _too_large(most)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most: int) -> errors.TooLarge:
    return errors.TooLarge(f"Contenu trop volumineux : {most} octets au plus")


def _headers(answer: Answer, body: bytes, content_type: bytes, *, request_id: str) -> list[Header]:
    headers = [*_ALWAYS, (b"x-request-id", request_id.encode()), *answer.headers]
    if answer.file is not None:
        headers.append((b"content-length", b"%d" % answer.file.stat().st_size))
    elif answer.status not in (204, 304) and answer.stream is None:
        headers.append((b"content-length", b"%d" % len(body)))
    if content_type:
        headers.append((b"content-type", content_type))
    return headers


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """What stands behind the FHIR surface when nothing is mounted."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    else:
        problem = {"type": "about:blank", "title": "Adresse inconnue", "status": 404, "code": "not-found"}
        headers = [(b"content-type", b"application/problem+json")]
        body = media.encode(problem)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
