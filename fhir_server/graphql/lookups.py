"""How does a GraphQL query reach the record?

https://hl7.org/fhir/R4/graphql.html#searching, #reverse, #references. Everything passes the store with the caller's
rights; references that are met together are read together. What one query may look up is bounded.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from common import errors
from fhir_server import access, bodies, conditions, page, query
from fhir_server.changes import Resource
from fhir_server.graphql.document import Field, Wrong
from fhir_server.operations import OperationRequest
from fhir_server.r4.search_leaves import relative
from fhir_server.rows import Page
from fhir_server.terminology import in_search

MOST_SEARCHES = 200
MOST_RESOURCES = 5_000
MOST_OF_A_LIST = 1_000
PAGE = 20

_REFUSED = frozenset("_include _revinclude _contained _containedType _elements _summary _total _format _pretty".split())
_OWN = frozenset({"fhirpath", "_count", "_offset", "_cursor", "cursor", "_reference"})
_COMMA = re.compile(r"(?<!\\),")
_VERSIONED = re.compile(r"/_history/[A-Za-z0-9.-]{1,64}$")


class _Cursor(msgspec.Struct, array_like=True):
    """A place in a search: what was asked, and where the page begins."""

    type: str
    params: list[tuple[str, str]]
    count: int
    offset: int
    after: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a search."""

    resources: list[Resource]
    total: int | None
    offset: int
    size: int
    first: str
    next: str | None


class Lookups:
    """The look-ups of one query."""

    def __init__(self, request: OperationRequest) -> None:
        self._request = request
        self._searches = MOST_SEARCHES
        self._resources = MOST_RESOURCES
        self._waiting: dict[str, list[asyncio.Future[Resource | None]]] = {}

    async def read(self, type: str, field: Field) -> Resource:
        """`Type(id: …)`. Raises NotFound, Gone, Forbidden, Wrong."""
        given = {name.removeprefix("_"): value for name, value in field.arguments.items()}
        if given.keys() != {"id"} or not isinstance(given["id"], (str, int)):
            raise Wrong(f"{type} demande « id »", field.place, code="required")
        self._count(1, field)
        stored = await self._request.store.read(type, str(given["id"]), caller=self._request.caller)
        return bodies.decode(stored.body)

    async def reference(self, written: str) -> Resource | None:
        """The resource of a reference that is not contained; None when it is not there or may not be seen."""
        ref = _VERSIONED.sub("", relative(written, self._request.base))
        future = asyncio.get_running_loop().create_future()
        if not self._waiting:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._fetch()))
        self._waiting.setdefault(ref, []).append(future)
        found: Resource | None = await future
        return found

    async def search(self, type: str, field: Field, focus: str) -> list[Resource]:
        """`TypeList(…)`; `focus` is the `Type/id` that `_reference` is about. Raises Wrong when there are too many."""
        search = await self._understood(type, _params(field, focus), field)
        count, offset = whole(field, "_count"), whole(field, "_offset") or 0
        wanted = offset + (MOST_OF_A_LIST + 1 if count is None else count)
        found = await self._page(replace(search, count=min(wanted, 2 * MOST_OF_A_LIST)), field)
        rows = found.rows
        if count is None and (len(rows) - offset > MOST_OF_A_LIST or found.after is not None):
            text = f"{field.name} : trop de résultats ; demandez {type}Connection, ou « _count »"
            raise Wrong(text, field.place, code="too-costly")
        return [bodies.decode(row.body) for row in rows[offset:wanted]]

    async def connection(self, type: str, field: Field, focus: str, *, with_total: bool) -> Found:
        """`TypeConnection(…)`: the first page, or the one of a cursor. Raises Wrong."""
        token = field.arguments.get("_cursor", field.arguments.get("cursor"))
        if token is None:
            start = _Cursor(type, _params(field, focus), whole(field, "_count") or PAGE, 0, None)
        elif focus or len(field.arguments) > 1:
            raise Wrong("« _cursor » va seul, et à la racine de la requête", field.place)
        else:
            start = _opened(token, type, field)
        if field.arguments.get("_offset") is not None:
            raise Wrong("« _offset » ne va pas avec une Connection : suivez « next »", field.place)
        search = await self._understood(type, start.params, field)
        search = replace(search, count=min(start.count, MOST_OF_A_LIST), after=start.after, total=with_total)
        found = await self._page(search, field)
        after = found.after
        end = start.offset + len(found.rows)
        return Found(
            resources=[bodies.decode(row.body) for row in found.rows],
            total=found.total,
            offset=start.offset,
            size=search.count,
            first=_token(_Cursor(type, start.params, start.count, 0, None)),
            next=_token(_Cursor(type, start.params, start.count, end, after)) if after else None,
        )

    async def _understood(self, type: str, params: list[tuple[str, str]], field: Field) -> conditions.Query:
        access.may(self._request.caller, "r", type)
        tables = self._request.server.definitions.search
        named = [(_code(tables.by_type[type], name), value) for name, value in params]
        read = partial(query.parse, type, named, tables, now=self._request.server.now(), base=self._request.base)
        try:
            asked = await in_search.reading(self._request.store, self._request.caller, lambda codes: read(codes=codes))
        except errors.Unreadable as problem:
            raise Wrong(problem.message, field.place, code=problem.issues[0].code) from None
        return asked.query

    async def _page(self, search: conditions.Query, field: Field) -> Page:
        self._searches -= 1
        if self._searches < 0:
            raise Wrong(f"plus de {MOST_SEARCHES} recherches dans une requête", field.place, code="too-costly")
        if search.count == 0:
            return Page([], None, None)
        found = await page.search(self._request.store, search, caller=self._request.caller)
        self._count(len(found.rows), field)
        return found

    def _count(self, found: int, field: Field | None) -> None:
        self._resources -= found
        if self._resources < 0:
            place = field.place if field else None
            raise Wrong(f"plus de {MOST_RESOURCES} ressources dans une requête", place, code="too-costly")

    async def _fetch(self) -> None:
        """All references that were asked for meanwhile, in one look-up."""
        waiting, self._waiting = self._waiting, {}
        try:
            self._count(len(waiting), None)
            found = await self._request.store.many(list(waiting), caller=self._request.caller)
            decoded = {ref: bodies.decode(row.body) for ref, row in found.items()}
        except Exception as problem:  # noqa: BLE001 - handed to those who wait, who are behind the door
            for future in (one for each in waiting.values() for one in each):
                if not future.done():
                    future.set_exception(problem)
            return
        for ref, futures in waiting.items():
            for future in futures:
                if not future.done():
                    future.set_result(decoded.get(ref))


def _params(field: Field, focus: str) -> list[tuple[str, str]]:
    """The arguments of a search as parameters; names keep their underscores."""
    params = []
    for name, value in field.arguments.items():
        if name in _REFUSED:
            raise Wrong(f"{name} n'est pas pris en charge dans une requête GraphQL", field.place, code="not-supported")
        if name not in _OWN and value is not None:
            params.append((name, ",".join(_COMMA.sub(r"\\,", _text(one, field)) for one in _each(value))))
    reference = field.arguments.get("_reference")
    if bool(focus) is not isinstance(reference, str):
        where = "dans une ressource" if focus else "à la racine"
        raise Wrong(
            f"{field.name} {where} : « _reference » y est {'obligatoire' if focus else 'interdit'}", field.place
        )
    if isinstance(reference, str):
        params.append((reference, focus))
    return params


def _code(known: Any, name: str) -> str:
    """The search parameter that a GraphQL name stands for: `clinical_status` is `clinical-status`."""
    return name if name in known or name.startswith("_") else name.replace("_", "-")


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any, field: Field) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise Wrong(f"{field.name} : un argument est un texte, un nombre, un booléen ou une liste", field.place)


def whole(field: Field, name: str) -> int | None:
    """An argument that counts something, None when it was not given. Raises Wrong."""
    value = field.arguments.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_OF_A_LIST:
        raise Wrong(f"{name} : un nombre de 0 à {MOST_OF_A_LIST} est attendu", field.place)
    return value


def _token(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def _opened(token: Any, type: str, field: Field) -> _Cursor:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        cursor = msgspec.msgpack.decode(raw, type=_Cursor)
    except (TypeError, ValueError, binascii.Error, msgspec.DecodeError):
        cursor = None
    if cursor is None or cursor.type != type or not 0 <= cursor.count <= MOST_OF_A_LIST or cursor.offset < 0:
        raise Wrong("« _cursor » n'est pas une valeur donnée par ce serveur pour cette recherche", field.place)
    return cursor
