"""How is one resource or one version given out?

R4 http.html#read, #vread. The stored bytes leave as they are; the store itself checks the caller's rights.
"""

from __future__ import annotations

from common import errors
from fhir_server import binary, exchange, media, subset
from fhir_server.audit import door as traces
from fhir_server.audit import events, provenance
from fhir_server.changes import Stored
from fhir_server.exchange import Answer, Request, Server


async def read(server: Server, request: Request) -> Answer:
    """`GET [base]/Type/id`: 200 with ETag, 304 when the client has it already. Raises NotFound, Gone, Forbidden."""
    type, id = request.segments
    if type == "AuditEvent" and (place := events.place(id)):
        return await traces.read(server, request, place)
    if type == "Provenance" and (written := provenance.place(id)):
        return await provenance.read(server, request, written)
    cut = _understood(server, request) if request.params else None
    return _one(request, await server.store.read(type, id, caller=request.caller), cut)


async def vread(server: Server, request: Request) -> Answer:
    """`GET [base]/Type/id/_history/version`. Raises NotFound, Gone for a deletion, Forbidden."""
    type, id, _, version = request.segments
    cut = _understood(server, request) if request.params else None
    if (number := exchange.whole_number(version)) is None:
        raise errors.NotFound(f"{type}/{id} : version inconnue")
    return _one(request, await server.store.vread(type, id, number, caller=request.caller), cut)


def _one(request: Request, stored: Stored, cut: subset.Subset | None) -> Answer:
    headers = exchange.version_headers(stored)
    if _is_known(request, stored):
        return Answer(304, headers=headers, stored=stored)
    if cut is not None:
        return Answer(200, cut.body(stored.type, stored.body), headers, stored=stored)
    if stored.type == "Binary" and not media.asks_for_fhir(request.headers.get(b"accept", b""), request.asked_format):
        return binary.raw(stored, headers)
    return Answer(200, stored.body, headers, stored=stored)


def _is_known(request: Request, stored: Stored) -> bool:
    """RFC 9110 13.2.2: `If-Modified-Since` counts only without `If-None-Match`; foreign ETags simply do not match."""
    if b"if-none-match" in request.headers:
        named = request.header(b"if-none-match")
        mine = f'"{stored.version}"'
        return named.strip() == "*" or any(one.strip().removeprefix("W/") == mine for one in named.split(","))
    if b"if-modified-since" in request.headers:
        return exchange.unmodified_since(request.header(b"if-modified-since"), stored.updated)
    return False


def _understood(server: Server, request: Request) -> subset.Subset | None:
    """The form in which the resource is wanted, None for whole. Raises Unreadable for any other parameter."""
    for name, _ in request.params:
        if name not in subset.PARAMETERS and not request.prefer.lenient:
            raise errors.Unreadable(f"{name[:60]} : paramètre inconnu ici", at=f"http.{name[:60]}")
    return subset.asked(server.subsets, request, (request.segments[0],))
