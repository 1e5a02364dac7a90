"""`$viewdefinition-run`: the rows that a ViewDefinition makes of what the caller may see.

SQL on FHIR v2 (https://sql-on-fhir.org/ig/OperationDefinition-ViewDefinitionRun.html). R4 has no type ViewDefinition:
the operation stands at `[base]/$viewdefinition-run`, as the guide says for R4, and also where its older form has it:
`[base]/ViewDefinition/$run`. Resources are searched with the caller's rights, page by page, and rows leave as they are
made. A parameter that is not served is refused, as the guide asks.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from common import errors
from fhir_server import access, bodies, criteria, media, page, query, views
from fhir_server.changes import Resource
from fhir_server.exchange import Answer
from fhir_server.operations import Operation, OperationRequest

_DEFINITION = "http://sql-on-fhir.org/OperationDefinition/$viewdefinition-run"
_ROWS_OF_PAGE = 100
_MOST_LIMIT = 10**9

_NAMES = frozenset({"viewResource", "_format", "header", "patient", "_since", "_limit", "resource"})
_NOT_SERVED = frozenset({"viewReference", "group", "source"})
_FORMATS = {
    "ndjson": "ndjson", "application/x-ndjson": "ndjson", "application/ndjson": "ndjson", "application/fhir+ndjson":
    "ndjson", "json": "json", "application/json": "json", "application/fhir+json": "json", "csv": "csv",
    "text/csv": "csv",
}  # fmt: skip
_MEDIA = {
    "ndjson": b"application/x-ndjson",
    "json": b"application/json",
    "csv": b"text/csv; charset=utf-8; header=present",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    view: Any
    format: str
    has_header: bool
    patients: tuple[str, ...]
    since: str
    limit: int
    resources: list[Resource] | None


async def run(request: OperationRequest) -> Answer:
    """Rows as ndjson (default), json or csv; see `_Asked` for what may be asked.

    Raises Unreadable with everything that is wrong with the view or the parameters, Forbidden, NotAcceptable.
    """
    asked = _asked(request)
    view = views.compile(asked.view, request.server.definitions)
    for action in "sr":
        access.may(request.caller, action, view.type)
    pages = _given(asked.resources) if asked.resources is not None else _visible(request, view.type, asked)
    pieces = _pieces(view, pages, asked, request)
    first = await anext(pieces)  # what cannot be evaluated is usually found on the first page: still an outcome
    kind = _MEDIA[asked.format] if asked.has_header else _MEDIA[asked.format].replace(b"present", b"absent")
    return Answer(200, first, media=kind, stream=pieces)


def _asked(request: OperationRequest) -> _Asked:
    given: dict[str, list[Any]] = {}
    for name, value in _parameters(request):
        given.setdefault(name, []).append(value)
    for name in given:
        if name in _NOT_SERVED:
            raise criteria.refusal(f"{name} n'est pas pris en charge", name, "not-supported")
        if name not in _NAMES:
            raise criteria.refusal(f"{name[:60]} : paramètre inconnu", name[:60], "not-supported")
        if len(given[name]) > 1 and name not in ("patient", "resource"):
            raise criteria.refusal(f"{name} ne se donne qu'une fois", name)
    if "viewResource" not in given:
        raise criteria.refusal("viewResource manque : envoyez la ViewDefinition", "viewResource", "required")
    limit = str(given.get("_limit", [_MOST_LIMIT])[0])
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 10):
        raise criteria.refusal("_limit : un nombre entier positif est attendu", "_limit")
    header = str(given.get("header", ["true"])[0]).lower()
    if header not in ("true", "false"):
        raise criteria.refusal("header : attendu true ou false", "header")
    return _Asked(
        view=given["viewResource"][0],
        format=_format(request, given.get("_format")),
        has_header=header == "true",
        patients=tuple(str(one).removeprefix("Patient/") for one in given.get("patient", ())),
        since=str(given.get("_since", [""])[0]),
        limit=int(limit),
        resources=given.get("resource"),
    )


def _parameters(request: OperationRequest) -> Iterator[tuple[str, Any]]:
    yield from request.params
    body = request.body
    if body is None:
        return
    if body.get("resourceType") == "ViewDefinition":
        yield "viewResource", body
        return
    parts = body.get("parameter")
    if body.get("resourceType") != "Parameters" or not isinstance(parts, list):
        raise criteria.refusal("Parameters ou ViewDefinition attendu", "viewResource")
    for one in parts:
        name = one.get("name") if isinstance(one, dict) else None
        values = [value for key, value in one.items() if key == "resource" or key.startswith("value")] if name else []
        if not isinstance(name, str) or len(values) != 1:
            raise criteria.refusal("chaque paramètre a un nom et une valeur", "Parameters.parameter")
        [value] = values
        if name == "patient" and isinstance(value, dict):
            value = value.get("reference", "")
        if isinstance(value, dict) is not (name in ("viewResource", "resource")) and name in _NAMES:
            raise criteria.refusal(f"{name} : valeur d'un autre type", f"Parameters.parameter.{name}")
        yield name, value


def _format(request: OperationRequest, in_body: list[Any] | None) -> str:
    asked = request.http.asked_format or (str(in_body[0]) if in_body else "")
    if asked:
        name = asked.partition(";")[0].strip().lower().replace(" ", "+")
        if name not in _FORMATS:
            raise errors.NotAcceptable(f"_format={asked[:60]} : formats servis : ndjson, json, csv", at="http._format")
        return _FORMATS[name]
    names = [one.partition(";")[0].strip().lower() for one in request.http.header(b"accept").split(",")]
    return next((_FORMATS[name] for name in names if name in _FORMATS), "ndjson")


async def _given(resources: list[Resource]) -> AsyncIterator[list[Resource]]:
    """Resources that came with the request, instead of those of the record."""
    yield resources


async def _visible(request: OperationRequest, type: str, asked: _Asked) -> AsyncIterator[list[Resource]]:
    """All resources of the type that the caller may see, a page at a time."""
    params = [("_count", str(_ROWS_OF_PAGE))]
    if asked.since:
        params.append(("_lastUpdated", f"ge{asked.since}"))
    if asked.patients:
        params.append((_patient_parameter(request, type), ",".join(asked.patients)))
    tables = request.server.definitions.search
    search = query.parse(type, params, tables, now=request.server.now(), base=request.base).query
    while True:
        found = await page.search(request.store, search, caller=request.caller)
        yield [bodies.decode(row.body) for row in found.rows]
        if found.after is None:
            return
        search = replace(search, after=found.after)


def _patient_parameter(request: OperationRequest, type: str) -> str:
    if type == "Patient":
        return "_id"
    tables = request.server.definitions.search
    for code in ("patient", "subject"):
        param = tables.param(type, code)
        if param is not None and not param.refusal and param.may_be("Patient"):
            return f"{code}:Patient" if code == "subject" else code
    raise criteria.refusal(f"patient : {type} n'a pas de patient", "patient", "not-supported")


async def _pieces(
    view: views.View, pages: AsyncIterator[list[Resource]], asked: _Asked, request: OperationRequest
) -> AsyncIterator[bytes]:
    """The answer, a piece for each page; always at least one."""
    write = _Writer(view.names, asked)
    now, left, head = request.server.now(), asked.limit, write.head()
    async for resources in pages:
        rows = await asyncio.to_thread(_rows, view, resources, now, left)
        left -= len(rows)
        yield head + write.rows(rows)
        head = b""
        if not left:
            break
    yield head + write.tail()


def _rows(view: views.View, resources: list[Resource], now: Any, most: int) -> list[views.Row]:
    return list(islice(view.rows(resources, now=now), most))


class _Writer:
    """Rows in one of the formats, in as many pieces as they come."""

    def __init__(self, names: tuple[str, ...], asked: _Asked) -> None:
        self._names = names
        self._asked = asked
        self._is_first = True
        formats: dict[str, Callable[[list[views.Row]], bytes]]
        formats = {"ndjson": self._ndjson, "json": self._json, "csv": self._csv}
        self.rows = formats[asked.format]

    def head(self) -> bytes:
        """What stands before all rows."""
        if self._asked.format == "csv" and self._asked.has_header:
            return _lines([self._names])
        return b"[" if self._asked.format == "json" else b""

    def tail(self) -> bytes:
        """What stands after them."""
        return b"]" if self._asked.format == "json" else b""

    def _ndjson(self, rows: list[views.Row]) -> bytes:
        return b"".join(media.encode(one) + b"\n" for one in rows)

    def _json(self, rows: list[views.Row]) -> bytes:
        joined = b",".join(media.encode(one) for one in rows)
        before = b"" if self._is_first or not joined else b","
        self._is_first = self._is_first and not joined
        return before + joined

    def _csv(self, rows: list[views.Row]) -> bytes:
        return _lines([_cell(row[name]) for name in self._names] for row in rows)


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else media.encode(value).decode()


operations = (
    Operation("system", None, "viewdefinition-run", run, "s", definition=_DEFINITION),
    Operation("type", "ViewDefinition", "viewdefinition-run", run, "s"),
    Operation("type", "ViewDefinition", "run", run, "s"),
)
