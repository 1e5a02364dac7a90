"""How is a search answered?

R4 search.html, http.html#search. The query string is understood by `query.py`, the store finds the page, this module
follows the includes and joins the stored bytes into a searchset; `page.py` ends a page that grows too large.
"""

from __future__ import annotations

from dataclasses import replace

from common import errors
from fhir_server import access, criteria, entries, exchange, includes, media, outcome, page, query
from fhir_server.exchange import Answer, Params, Request, Server
from fhir_server.terminology import in_search

# A form of parameters is text typed or listed by someone, not a document.
MOST_FORM_BYTES = 256 * 1024


async def by_url(server: Server, request: Request) -> Answer:
    """`GET [base]/Type?...`. Raises Unreadable for what is not understood, Forbidden."""
    return await _search(server, request, request.params)


async def by_form(server: Server, request: Request) -> Answer:
    """`POST [base]/Type/_search`: the parameters of the URL and of the form are taken together."""
    if not request.body:
        return await _search(server, request, request.params)
    if media.content_kind(request.header(b"content-type")) != "form":
        raise errors.UnsupportedMedia("_search : application/x-www-form-urlencoded est attendu", at="http.Content-Type")
    if len(request.body) > MOST_FORM_BYTES:
        raise errors.TooLarge(f"_search : {MOST_FORM_BYTES} octets au plus")
    form = media.parameters(request.body)
    request.shown += [pair for pair in form if pair[0] in exchange.GENERAL]
    return await _search(server, request, request.params + [pair for pair in form if pair[0] not in exchange.GENERAL])


async def _search(server: Server, request: Request, params: Params) -> Answer:
    type = request.segments[0]
    access.may(request.caller, "s", type)
    codes = await in_search.resolve(server.store, request.caller, params)
    asked = _understood(server, request, type, params, codes=codes)
    if asked.elements:
        raise exchange.unavailable("_elements n'est pas encore disponible ici", at="http._elements")
    found = await page.search(server.store, asked.query, caller=request.caller)
    rows = [entries.found(request.base, row, "match") for row in found.rows]
    if found.rows and (asked.includes or asked.revincludes):
        also = await includes.follow(server, request.caller, asked, found.rows)
        rows += [entries.found(request.base, row, "include") for row in also.rows]
        rows += [_remark(text, "too-costly", request) for text in also.remarks]
    rows += [_remark(f"Paramètre inconnu, ignoré : {name[:60]}", "not-supported", request) for name in asked.ignored]
    total = found.total
    if total is None and found.after is None and asked.query.after is None:
        total = len(found.rows)  # the first page is the last: the count costs nothing
    links = _links(request, asked.applied, found.after)
    return Answer(200, entries.bundle("searchset", links, rows, total=total))


def _understood(server: Server, request: Request, type: str, params: Params, *, codes: criteria.Codes) -> query.Parsed:
    tables, lenient = server.definitions.search, request.prefer.lenient
    try:
        return query.parse(
            type,
            params,
            tables,
            now=server.now(),
            lenient=lenient,
            base=request.base,
            iterate=True,
            codes=codes,
        )
    except errors.Unreadable as problem:
        issues = (replace(one, expression=f"http.{one.expression}") for one in problem.issues)
        raise errors.Unreadable(problem.message, at=problem.at, issues=tuple(issues)) from None


def _links(request: Request, applied: Params, after: str | None) -> list[entries.Link]:
    place = f"{request.base}/{request.segments[0]}"
    shown = applied + request.shown
    links = [("self", entries.link(place, shown))]
    if after is not None:
        links.append(("next", entries.link(place, [*shown, ("_after", after)])))
    return links


def _remark(text: str, code: str, request: Request) -> bytes:
    issue = errors.Issue(text, "", code, "warning")
    return entries.remark(outcome.encode(outcome.resource([issue], request_id=request.id)))
