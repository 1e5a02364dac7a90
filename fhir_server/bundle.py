"""What does a Bundle posted to the base ask for, entry by entry?

R4 http.html#transaction. Both kinds are read here; a batch is also run here, each entry as if it had come alone. What
makes a transaction whole is in `plan.py` and `transaction.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from common import errors
from fhir_server import entries, exchange, media, outcome, page, write
from fhir_server.audit import inner
from fhir_server.changes import Resource
from fhir_server.exchange import Answer, Params, Prefer, Request, Server

Interact = Callable[[Server, Request], Awaitable[Answer]]

MOST_ENTRIES = 10_000
# The entries of a batch run side by side, so that their commits share a flush to disk, but never crowd out others.
AT_ONCE = 16
# Each of these may bring a page as large as a page may be.
SEARCHES_AT_ONCE = 4

# R4's order of processing; the answer keeps the order of the request.
PHASES = (("DELETE",), ("POST",), ("PUT", "PATCH"), ("GET", "HEAD"))
METHODS = frozenset(method for phase in PHASES for method in phase)

_CONDITIONS = {
    "ifNoneMatch": b"if-none-match",
    "ifModifiedSince": b"if-modified-since",
    "ifMatch": b"if-match",
    "ifNoneExist": b"if-none-exist",
}


@dataclass(slots=True)
class Entry:
    """One entry, understood: what to do, where, with what, and under which conditions (as HTTP headers)."""

    index: int
    method: str
    segments: list[str]
    params: Params
    full_url: str
    resource: Resource | None
    headers: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def at(self) -> str:
        """Where it is, as FHIRPath."""
        return f"Bundle.entry[{self.index}]"

    @property
    def ref(self) -> str:
        """`Type/id` of an update, delete or read of one resource; `Type` otherwise."""
        return "/".join(self.segments[:2])

    def request(self, outer: Request, returns: Prefer) -> Request:
        """The entry as an interaction of its own."""
        headers = {b"accept": b"application/fhir+json", **self.headers}
        return Request(
            self.method,
            self.segments,
            [pair for pair in self.params if pair[0] not in exchange.GENERAL],
            headers,
            outer.caller,
            outer.base,
            outer.id,
            resource=self.resource if self.method in ("POST", "PUT", "PATCH") else None,
            prefer=returns,
        )


def preferences(request: Request) -> Prefer:
    """Inside a bundle resources come back only when asked for."""
    return Prefer(request.prefer.returns or "minimal", request.prefer.lenient)


def read(server: Server, request: Request) -> tuple[str, list[Any]]:
    """The kind (transaction or batch) and the raw entries. Raises Unreadable, TooLarge."""
    bundle = media.content(server, request)
    if bundle.get("resourceType") != "Bundle":
        raise errors.Unreadable("Cette adresse reçoit un Bundle ; une autre ressource va à [base]/Type", at="Bundle")
    kind = bundle.get("type")
    if kind not in ("transaction", "batch"):
        raise errors.Unreadable(
            "Bundle.type : transaction ou batch attendu ; un autre Bundle se range à [base]/Bundle", at="Bundle.type"
        )
    raw = bundle.get("entry", [])
    if not isinstance(raw, list):
        raise errors.Unreadable("Bundle.entry : une liste est attendue", at="Bundle.entry")
    if len(raw) > MOST_ENTRIES:
        raise errors.TooLarge(f"Bundle : {MOST_ENTRIES} entrées au plus, {len(raw)} reçues", at="Bundle.entry")
    return kind, raw


def entry(raw: Any, index: int, base: str) -> Entry:
    """Understand one entry. Raises Unreadable, naming the element."""
    at = f"Bundle.entry[{index}]"
    if not isinstance(raw, dict) or not isinstance(asked := raw.get("request"), dict):
        raise errors.Unreadable("request est obligatoire dans chaque entrée", at=f"{at}.request")
    method, url, full_url, resource = (
        asked.get("method"),
        asked.get("url"),
        raw.get("fullUrl", ""),
        raw.get("resource"),
    )
    if method not in METHODS:
        raise errors.Unreadable("request.method : GET, HEAD, POST, PUT, PATCH ou DELETE", at=f"{at}.request.method")
    if not isinstance(url, str) or not url:
        raise errors.Unreadable("request.url est obligatoire", at=f"{at}.request.url")
    if not isinstance(full_url, str):
        raise errors.Unreadable("fullUrl : un texte est attendu", at=f"{at}.fullUrl")
    if resource is not None and not isinstance(resource, dict):
        raise errors.Unreadable("resource : un objet est attendu", at=f"{at}.resource")
    path, _, query = url.partition("?")
    path = path.removeprefix(base).strip("/")
    return Entry(
        index,
        method,
        [unquote(part) for part in path.split("/")] if path else [],
        media.parameters(query.encode()),
        full_url,
        resource,
        {
            header: _condition(asked[name], f"{at}.request.{name}")
            for name, header in _CONDITIONS.items()
            if name in asked
        },
    )


async def batch(server: Server, request: Request, raw: list[Any], interact: Interact) -> Answer:
    """Each entry alone: one that fails is answered with its own OperationOutcome and does not stop the others.

    Once the answers are over `page.MOST_BYTES`, what is left is not done, and its entries say so (`too-costly`).
    """
    answers: list[bytes] = [b""] * len(raw)
    understood: list[Entry] = []
    for index, one in enumerate(raw):
        try:
            understood.append(entry(one, index, request.base))
        except errors.HubError as problem:
            answers[index] = refused(problem, request.id)
    places, searches = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(SEARCHES_AT_ONCE)
    room = page.MOST_BYTES

    async def run(one: Entry) -> None:
        nonlocal room
        async with searches if _brings_many(one) else places:
            if room < 0:
                answers[one.index] = refused(too_costly(one), request.id)
            else:
                answers[one.index] = await _alone(server, request, one, interact)
                room -= len(answers[one.index])

    for phase in PHASES:
        await asyncio.gather(*(run(one) for one in understood if one.method in phase))
    return Answer(200, entries.bundle("batch-response", [], answers))


def _brings_many(one: Entry) -> bool:
    return (one.method == "GET" and len(one.segments) != 2) or "_search" in one.segments


def too_costly(one: Entry) -> errors.TooLarge:
    """There is no room left for the answer to this entry."""
    text = f"Réponse du Bundle limitée à {page.MOST_BYTES >> 20} Mio : envoyez cette entrée dans un autre"
    return errors.TooLarge(text, at=one.at, issues=(errors.Issue(text, one.at, "too-costly"),))


def answered(base: str, answer: Answer, method: str = "GET") -> bytes:
    """The entry of a response Bundle for an interaction that went well."""
    if answer.media is not None:
        text = "la réponse de cette adresse n'est pas une ressource : demandez-la hors d'un Bundle"
        return refused(errors.Unreadable(text), "")
    stored, body = answer.stored, answer.body
    is_write = any(name == b"location" for name, _ in answer.headers)
    is_outcome = (is_write or method == "DELETE") and body.startswith(b'{"resourceType":"OperationOutcome"')
    response = entries.response(
        answer.status,
        stored,
        location=write.location(base, stored) if stored is not None and is_write else "",
        outcome=body if is_outcome else b"",
    )
    if is_outcome or not body:
        return b'{"response":%s}' % response
    address = f'"fullUrl":"{base}/{stored.ref}",'.encode() if stored is not None else b""
    return b'{%s"resource":%s,"response":%s}' % (address, body, response)


def refused(problem: errors.HubError, request_id: str) -> bytes:
    """The entry of a response Bundle for an interaction that was refused."""
    told = outcome.encode(outcome.of(problem, request_id))
    return b'{"response":%s}' % entries.response(problem.status, outcome=told)


async def _alone(server: Server, request: Request, one: Entry, interact: Interact) -> bytes:
    if not one.segments and one.method == "POST":
        return refused(errors.Unreadable("Un Bundle ne peut pas en contenir un autre à traiter", at=one.at), request.id)
    try:
        answer = await inner.traced(server, one.request(request, preferences(request)), interact)
    except errors.HubError as problem:
        return refused(problem, request.id)
    except Exception as problem:  # noqa: BLE001 - the door of one entry: a bug here is not the other entries' fault
        server.on_error(problem, request.id)
        return b'{"response":%s}' % entries.response(500, outcome=outcome.encode(outcome.unexpected(request.id)))
    if one.method == "HEAD":
        answer.body = b""
    return answered(request.base, answer, one.method)


def _condition(value: Any, at: str) -> bytes:
    if not isinstance(value, str):
        raise errors.Unreadable("un texte est attendu", at=at)
    return value.encode()
