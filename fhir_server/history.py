"""How is a history given out: of one resource, of a type, of everything?

R4 http.html#history. Newest first; each entry says which request made the version and how it was answered, a deletion
has no resource. Rights are those of today, of each resource: who may see it now sees its versions and its deletion.

Of a type or of everything, `Bundle.meta.lastUpdated` of the first page is the moment up to which the history is
complete: given as the next `_since` it misses nothing, whatever was being written meanwhile (`timeline.py`).
"""

from __future__ import annotations

from common import errors
from fhir_server import access, dates, entries, exchange, page, subset, timeline
from fhir_server.changes import Stored
from fhir_server.exchange import Answer, Params, Request, Server

DEFAULT_COUNT = 100
MOST_COUNT = 1000

_INSTANT = "_since : un instant est attendu, par exemple 2026-11-23T08:05:00Z"
_PERIOD = "_at : une date ou un instant est attendu, par exemple 2026-11 ou 2026-11-23T08:05:00Z"


async def of_one(server: Server, request: Request) -> Answer:
    """`GET [base]/Type/id/_history?_count&_since&_at&_before`. Raises NotFound, Unreadable, Forbidden.

    The next page is asked by `_before`, the last version number seen: versions written meanwhile do not shift it. A
    page ends early when its versions are too large together (`page.MOST_BYTES`).
    """
    cut = _understood(server, request, (request.segments[0],), "_before")
    asked = dict(request.params)
    count, before = _count(asked), _number(asked, "_before")
    since, at = _since(asked), _at(asked)
    found = await _versions(server, request, count + 1, before)
    fits = min(count, max(page.fitting(found), 1))
    shown = [row for row in found[:fits] if since is None or row.updated >= since]
    ended = len(shown) < min(fits, len(found))
    if at is not None:
        shown, is_first = _current_in(shown, at)
        ended = ended or is_first
    after = str(found[fits - 1].version) if not ended and len(found) > fits else None
    rows = [entries.past(request.base, _cut(row, cut)) for row in shown]
    return Answer(200, entries.bundle("history", _links(request, ("_before", after)), rows))


async def of_type(server: Server, request: Request) -> Answer:
    """`GET [base]/Type/_history?_count&_since&_at`: all resources of a type. Raises Unreadable, Forbidden."""
    type = request.segments[0]
    access.may(request.caller, "r", type)
    return await _of_several(server, request, (type,))


async def of_system(server: Server, request: Request) -> Answer:
    """`GET [base]/_history?_count&_since&_at`: all types that the caller may read. Raises Unreadable, Forbidden."""
    types = tuple(type for type in sorted(server.types) if access.can(request.caller, "r", type))
    if not types:
        raise errors.Forbidden("aucun droit accordé (scope) ne couvre la lecture")
    return await _of_several(server, request, types)


async def _of_several(server: Server, request: Request, types: tuple[str, ...]) -> Answer:
    cut = _understood(server, request, types, "_after")
    asked = dict(request.params)
    wanted = timeline.Asked(
        types=types,
        count=_count(asked),
        room=page.MOST_BYTES,
        since=_since(asked),
        at=_at(asked),
        after=timeline.decode(asked["_after"]) if asked.get("_after") else None,
    )
    found = await server.store.past(wanted, caller=request.caller)
    rows = [entries.past(request.base, _cut(row, cut)) for row in found.rows]
    links = _links(request, ("_after", timeline.encode(found.after) if found.after else None))
    return Answer(200, entries.bundle("history", links, rows, updated=found.complete))


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


def _current_in(rows: list[Stored], span: tuple[int, int]) -> tuple[list[Stored], bool]:
    """Those of the rows, newest first, that were current in `span`; and whether nothing older can have been.

    A tombstone counts only in the span in which it was made: later there was nothing that was current.
    """
    start, end = span
    shown = []
    for row in rows:
        if row.updated <= end and (row.method != "DELETE" or row.updated >= start):
            shown.append(row)
        if row.updated <= start:
            return shown, True
    return shown, False


def _cut(row: Stored, cut: subset.Subset | None) -> Stored:
    return cut.row(row) if cut is not None and row.body else row


def _links(request: Request, following: tuple[str, str | None]) -> list[entries.Link]:
    """This page and the next one, which begins at `following`; both say what was applied."""
    place = "/".join([request.base, *request.segments])
    name, value = following
    count = ("_count", str(_count(dict(request.params))))
    applied = [count if pair[0] == "_count" else pair for pair in request.params if pair[1]]
    applied += [count] if count not in applied else []
    links = [("self", entries.link(place, applied + request.shown))]
    if value is not None:
        same = [pair for pair in applied if pair[0] != name] + request.shown
        links.append(("next", entries.link(place, [*same, (name, value)])))
    return links


# ---- parameters ----------------------------------------------------------------------------------------------------


def _understood(server: Server, request: Request, types: tuple[str, ...], page: str) -> subset.Subset | None:
    """The form in which resources are wanted. Raises Unreadable with every parameter that a history cannot follow."""
    known = {"_count", "_since", "_at", page}
    cut = subset.asked(server.subsets, request, types)
    issues = [_unknown(name) for name in _others(request, known)]
    _refuse_twice(request.params, known)
    for read in (_count, _since, _at):
        try:
            read(dict(request.params))
        except errors.Unreadable as problem:
            issues += problem.issues
    if issues:
        raise errors.Unreadable(issues[0].text, at=issues[0].expression, issues=tuple(issues))
    request.params = [pair for pair in request.params if pair[0] in known or pair[0] in subset.PARAMETERS]
    return cut


def _others(request: Request, known: set[str]) -> list[str]:
    """What is refused: unknown names unless lenient, and `_list` always, for without it much more would come."""
    names = dict.fromkeys(name for name, _ in request.params if name not in known and name not in subset.PARAMETERS)
    return [name for name in names if name == "_list" or not request.prefer.lenient]


def _unknown(name: str) -> errors.Issue:
    if name == "_list":
        return errors.Issue("_list n'est pas disponible dans un historique", "http._list", "not-supported")
    return errors.Issue(f"{name[:60]} : paramètre inconnu ici", f"http.{name[:60]}", "structure")


def _refuse_twice(params: Params, known: set[str]) -> None:
    names = [name for name, _ in params if name in known]
    if twice := {name for name in names if names.count(name) > 1}:
        raise errors.Unreadable(f"{min(twice)} est donné deux fois", at=f"http.{min(twice)}")


def _count(asked: dict[str, str]) -> int:
    return min(_number(asked, "_count") or DEFAULT_COUNT, MOST_COUNT)


def _number(asked: dict[str, str], name: str) -> int | None:
    text = asked.get(name, "")
    if not text:
        return None
    if (number := exchange.whole_number(text)) is None:
        raise errors.Unreadable(f"{name} : un nombre entier positif est attendu", at=f"http.{name}")
    return number


def _since(asked: dict[str, str]) -> int | None:
    """R4 wants an instant; a date, as the first moment of it, is taken too."""
    span = _span(asked, "_since", _INSTANT)
    return span[0] if span else None


def _at(asked: dict[str, str]) -> tuple[int, int] | None:
    return _span(asked, "_at", _PERIOD)


def _span(asked: dict[str, str], name: str, expected: str) -> tuple[int, int] | None:
    if not asked.get(name):
        return None
    try:
        return dates.asked(asked[name])
    except ValueError:
        raise errors.Unreadable(expected, at=f"http.{name}") from None
