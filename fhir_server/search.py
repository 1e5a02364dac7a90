"""How is a search answered?

R4 search.html, http.html#search. The query string is understood by `query.py`, the store finds the page, this module
follows the includes and joins the stored bytes into a searchset; `page.py` ends a page that grows too large.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from common import errors
from fhir_server import (
    access,
    conditions,
    criteria,
    entries,
    exchange,
    includes,
    media,
    outcome,
    page,
    query,
    subset,
    system_search,
)
from fhir_server.audit import door as traces
from fhir_server.audit import provenance
from fhir_server.exchange import Answer, Params, Request, Server
from fhir_server.terminology import in_search

# A form of parameters is text typed or listed by someone, not a document.
MOST_FORM_BYTES = 256 * 1024


async def by_url(server: Server, request: Request) -> Answer:
    """`GET [base]/Type?...`. Raises Unreadable for what is not understood, Forbidden."""
    return await _search(server, request, request.params, _Scope((request.segments[0],), request.segments[0]))


async def of_system(server: Server, request: Request) -> Answer:
    """`GET [base]?_type=A,B&…`: several types, or all that the caller may search. Raises as `by_url`."""
    return await _search(server, request, request.params, _everywhere(server, request, request.params))


async def of_system_by_form(server: Server, request: Request) -> Answer:
    """`POST [base]/_search`."""
    params = _form(request)
    return await _search(server, request, params, _everywhere(server, request, params))


async def of_compartment(server: Server, request: Request) -> Answer:
    """`GET [base]/Patient/1/Condition?…`, `GET [base]/Patient/1/*`. Raises NotFound for what is no compartment."""
    return await _search(server, request, request.params, _compartment(server, request, request.params))


async def of_compartment_by_form(server: Server, request: Request) -> Answer:
    """`POST [base]/Patient/1/Condition/_search`."""
    params = _form(request)
    return await _search(server, request, params, _compartment(server, request, params))


async def by_form(server: Server, request: Request) -> Answer:
    """`POST [base]/Type/_search`: the parameters of the URL and of the form are taken together."""
    return await _search(server, request, _form(request), _Scope((request.segments[0],), request.segments[0]))


def _form(request: Request) -> Params:
    if not request.body:
        return request.params
    if media.content_kind(request.header(b"content-type")) != "form":
        raise errors.UnsupportedMedia("_search : application/x-www-form-urlencoded est attendu", at="http.Content-Type")
    if len(request.body) > MOST_FORM_BYTES:
        raise errors.TooLarge(f"_search : {MOST_FORM_BYTES} octets au plus")
    form = media.parameters(request.body)
    request.shown += [pair for pair in form if pair[0] in exchange.GENERAL]
    return request.params + [pair for pair in form if pair[0] not in exchange.GENERAL]


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is searched: the types, the path for the links, and what everything found must meet besides."""

    types: tuple[str, ...]
    path: str
    several: bool = False
    within: conditions.Condition | None = None


def _everywhere(server: Server, request: Request, params: Params) -> _Scope:
    with _at_http():
        types = system_search.types(params, server.definitions.search, request.caller)
    if not types:
        raise errors.Forbidden("Aucun type de ressource n'est accessible à la recherche")
    return _Scope(types, "", several=True)


def _compartment(server: Server, request: Request, params: Params) -> _Scope:
    compartment, id, last = request.segments[:3]
    tables = server.definitions.search
    members = system_search.members(compartment, tables)
    if last != "*":
        if last not in server.types:
            raise errors.NotFound(f"Type de ressource inconnu : {last[:60]}")
        if last not in members:
            raise errors.NotFound(f"{last} n'appartient à aucun compartiment {compartment[:60]}")
        types: tuple[str, ...] = (last,)
    elif not members:
        raise errors.NotFound(f"{compartment[:60]} n'est pas un compartiment")
    else:
        with _at_http():
            named = system_search.types(params, tables, request.caller)
        types = tuple(one for one in members if one in named)
        if not types:
            raise errors.Forbidden("Aucun type de ce compartiment n'est accessible à la recherche")
    within = system_search.within(compartment, id, types, tables)
    return _Scope(types, f"{compartment}/{id}/{last}", last == "*", within)


async def _search(server: Server, request: Request, params: Params, scope: _Scope) -> Answer:
    for type in scope.types:
        access.may(request.caller, "s", type)
    traces.refuse_includes(scope.types[0], params)
    is_of_traces = scope.types == ("AuditEvent",) and scope.within is None
    if is_of_traces and (told := await traces.search(server, request, params)) is not None:
        return told
    asked = await in_search.reading(
        server.store, request.caller, lambda codes: _understood(server, request, scope, params, codes=codes)
    )
    asked = _without_unknown_elements(server, asked, scope.types) if request.prefer.lenient else asked
    cut = _cut(server, request, asked, scope.types)
    found = await page.search(server.store, asked.query, caller=request.caller)
    rows = [entries.found(request.base, cut.row(row) if cut else row, "match") for row in found.rows]
    if found.rows and (asked.includes or asked.revincludes):
        also = await includes.follow(server, request.caller, asked, found.rows)
        rows += [entries.found(request.base, cut.row(row) if cut else row, "include") for row in also.rows]
        rows += [_remark(text, "too-costly", request) for text in also.remarks]
    rows += await _provenance(server, request, params, [row.ref for row in found.rows])
    written = await provenance.search(server, request, params) if scope.types == ("Provenance",) else []
    said = (
        traces.remark(params) if is_of_traces else provenance.remark(params) if scope.types == ("Provenance",) else ""
    )
    rows += [_remark(said, "not-supported", request)] if said else []
    rows += [_remark(f"Paramètre inconnu, ignoré : {name[:60]}", "not-supported", request) for name in asked.ignored]
    rows = written + rows
    total = found.total
    if total is None and found.after is None and asked.query.after is None:
        total = len(found.rows) + len(written)  # the first page is the last: the count costs nothing
    links = _links(request, scope.path, asked.applied, found.after)
    return Answer(200, entries.bundle("searchset", links, rows, total=total))


async def _provenance(server: Server, request: Request, params: Params, refs: list[str]) -> list[bytes]:
    """Who wrote the matches, when that is to be included by its name: a wildcard would bring it with every search."""
    if not any(name.startswith("_revinclude") and value.startswith("Provenance:target") for name, value in params):
        return []
    found, is_cut = await provenance.included(server, request, refs)
    text = f"Inclusions limitées à {provenance.MOST_INCLUDED} Provenance : réduisez _count"
    return [*found, _remark(text, "too-costly", request)] if is_cut else found


def _understood(
    server: Server, request: Request, scope: _Scope, params: Params, *, codes: criteria.Codes
) -> query.Parsed:
    types = scope.types if scope.several else ()
    shown = [pair for pair in params if pair[0] == "_type"] if scope.several else []
    asked = [pair for pair in params if pair[0] != "_type"] if shown else params
    with _at_http():
        found = query.parse(
            scope.types[0],
            asked,
            server.definitions.search,
            now=server.now(),
            lenient=request.prefer.lenient,
            base=request.base,
            iterate=True,
            types=types,
            codes=codes,
        )
    if scope.within is not None:
        found = replace(found, query=replace(found.query, where=(scope.within, *found.query.where)))
    return replace(found, applied=shown + found.applied) if shown else found


@contextmanager
def _at_http() -> Iterator[None]:
    """What is wrong with a parameter is at `http.` and its name."""
    try:
        yield
    except errors.Unreadable as problem:
        issues = (replace(one, expression=f"http.{one.expression}") for one in problem.issues)
        raise errors.Unreadable(problem.message, at=problem.at, issues=tuple(issues)) from None


def _without_unknown_elements(server: Server, asked: query.Parsed, types: tuple[str, ...]) -> query.Parsed:
    """Lenient handling leaves them out, says so, and does not show them as applied."""
    unknown = [one for one in asked.elements if not subset.is_known(server.subsets, one, types)]
    if not unknown:
        return asked
    known = tuple(one for one in asked.elements if one not in unknown)
    applied = [pair for pair in asked.applied if pair[0] != "_elements"]
    applied += [("_elements", ",".join(known))] if known else []
    ignored = [*asked.ignored, *(f"_elements={one}" for one in unknown)]
    return replace(asked, elements=known, applied=applied, ignored=ignored)


def _cut(server: Server, request: Request, asked: query.Parsed, types: tuple[str, ...]) -> subset.Subset | None:
    """The form in which the resources are wanted, None for whole."""
    if not asked.elements and asked.summary in ("", "false", "count"):
        return None
    if asked.summary == "text" and (asked.includes or asked.revincludes):  # search.html#summary
        raise errors.Unreadable("_summary=text ne se combine pas avec des inclusions", at="http._summary")
    summary: subset.Summary = asked.summary  # type: ignore[assignment]
    return subset.make(server.subsets, summary, asked.elements, types, lenient=request.prefer.lenient)


def _links(request: Request, path: str, applied: Params, after: str | None) -> list[entries.Link]:
    place = f"{request.base}/{path}" if path else request.base
    shown = applied + request.shown
    links = [("self", entries.link(place, shown))]
    if after is not None:
        links.append(("next", entries.link(place, [*shown, ("_after", after)])))
    return links


def _remark(text: str, code: str, request: Request) -> bytes:
    issue = errors.Issue(text, "", code, "warning")
    return entries.remark(outcome.encode(outcome.resource([issue], request_id=request.id)))
