"""How is one resource, one version or the history of one resource given out?

R4 http.html#read, #vread, #history. The stored bytes leave as they are; the store itself checks the caller's rights.
"""

from __future__ import annotations

from common import errors
from fhir_server import binary, dates, entries, exchange, media, page
from fhir_server.changes import Stored
from fhir_server.exchange import Answer, Request, Server

MOST_VERSIONS = 1000

# Parts of a resource, and the other forms of history, are not served yet: said aloud instead of ignored.
_NOT_YET = ("_elements", "_summary", "_at", "_list")


async def read(server: Server, request: Request) -> Answer:
    """`GET [base]/Type/id`: 200 with ETag, 304 when the client has it already. Raises NotFound, Gone, Forbidden."""
    type, id = request.segments
    if request.params:
        _refuse_parameters(request, ())
    return _one(request, await server.store.read(type, id, caller=request.caller))


async def vread(server: Server, request: Request) -> Answer:
    """`GET [base]/Type/id/_history/version`. Raises NotFound, Gone for a deletion, Forbidden."""
    type, id, _, version = request.segments
    if request.params:
        _refuse_parameters(request, ())
    if (number := exchange.whole_number(version)) is None:
        raise errors.NotFound(f"{type}/{id} : version inconnue")
    return _one(request, await server.store.vread(type, id, number, caller=request.caller))


async def history(server: Server, request: Request) -> Answer:
    """`GET [base]/Type/id/_history?_count&_since&_before`: a Bundle of versions, newest first.

    The next page is asked by `_before`, the last version number seen: versions written meanwhile do not shift it. A
    page ends early when its versions are too large together (`page.MOST_BYTES`).
    """
    type, id = request.segments[:2]
    count, before, since = _history_window(request)
    found = await _versions(server, request, count + 1, before)
    count = min(count, max(page.fitting(found), 1))
    shown = [row for row in found[:count] if row.updated >= since]
    place = f"{request.base}/{type}/{id}/_history"
    window = [(name, value) for name, value in request.params if name != "_before"] + request.shown
    links = [("self", entries.link(place, request.params + request.shown))]
    if len(shown) == count < len(found):
        links.append(("next", entries.link(place, [*window, ("_before", str(shown[-1].version))])))
    return Answer(200, entries.bundle("history", links, [entries.past(request.base, row) for row in shown]))


async def _versions(server: Server, request: Request, count: int, before: int | None) -> list[Stored]:
    """Up to `count` versions, fewer once they are more than one answer may carry (at least two if there are two)."""
    type, id = request.segments[:2]
    rows: list[Stored] = []
    while len(rows) < count and (len(rows) < 2 or page.fitting(rows) == len(rows)):
        most = min(page.step(type), count - len(rows))
        found = await server.store.history(type, id, caller=request.caller, count=most, before=before)
        rows += found
        if len(found) < most:
            break
        before = found[-1].version
    return rows


def _one(request: Request, stored: Stored) -> Answer:
    headers = exchange.version_headers(stored)
    if _is_known(request, stored):
        return Answer(304, headers=headers, stored=stored)
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


def _refuse_parameters(request: Request, known: tuple[str, ...]) -> None:
    for name, _ in request.params:
        if name in known:
            continue
        if name in _NOT_YET:
            raise exchange.unavailable(f"{name} n'est pas encore disponible ici", at=f"http.{name}")
        if not request.prefer.lenient:
            raise errors.Unreadable(f"{name[:60]} : paramètre inconnu ici", at=f"http.{name[:60]}")


def _history_window(request: Request) -> tuple[int, int | None, int]:
    """`_count`, `_before` and `_since` (microseconds)."""
    _refuse_parameters(request, ("_count", "_before", "_since"))
    asked = dict(request.params)
    count = min(_number(asked, "_count") or 100, MOST_VERSIONS)
    try:
        since = dates.span(asked["_since"])[0] if asked.get("_since") else dates.BEGINNING
    except ValueError:
        raise errors.Unreadable(
            "_since : un instant est attendu, par exemple 2026-11-23T08:05:00Z", at="http._since"
        ) from None
    return count, _number(asked, "_before"), since


def _number(asked: dict[str, str], name: str) -> int | None:
    text = asked.get(name, "")
    if not text:
        return None
    if (number := exchange.whole_number(text)) is None:
        raise errors.Unreadable(f"{name} : un nombre entier positif est attendu", at=f"http.{name}")
    return number
