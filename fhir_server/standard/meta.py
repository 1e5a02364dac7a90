"""Which profiles, tags and security labels are there, and how are they added or taken away?

`$meta`, `$meta-add`, `$meta-delete`, R4 resource-operation-meta.html and its neighbours. Adding and taking away make a
new version, like any change: ETags, histories and traces stay true (R4 leaves it to the server). `$meta` of a type or
of everything reads what the caller may see, and refuses when that is too much to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from common import errors
from fhir_server import access, bodies, exchange, operations, page
from fhir_server.changes import Resource, Update
from fhir_server.conditions import Query
from fhir_server.operations import OperationRequest
from fhir_server.standard import parameters

MOST_READ = 10_000  # resources that $meta of a type or of everything looks at
_PAGE = 500
_TRIES = 5
_LISTS = ("profile", "security", "tag")
Change = Callable[[Resource, Resource], Resource]


class _Head(msgspec.Struct):
    meta: dict[str, Any] = msgspec.field(default_factory=dict)


_head = msgspec.json.Decoder(_Head).decode


async def of_one(call: OperationRequest) -> Resource:
    """`[base]/Type/id/$meta`. Raises NotFound, Gone."""
    parameters.inputs(call, ())
    stored = await call.store.read(str(call.type), str(call.id), caller=call.caller)
    return _answer(_head(stored.body).meta)


async def of_type(call: OperationRequest) -> Resource:
    """`[base]/Type/$meta`: every profile, tag and label in use. Raises Unreadable (too-costly)."""
    parameters.inputs(call, ())
    return await _in_use(call, (str(call.type),))


async def of_system(call: OperationRequest) -> Resource:
    """`[base]/$meta`: the same over all types that the caller may read."""
    parameters.inputs(call, ())
    types = (one for one in sorted(call.server.types) if access.can(call.caller, "r", one))
    return await _in_use(call, [one for one in types if access.can(call.caller, "s", one)])


async def add(call: OperationRequest) -> Resource:
    """`POST [base]/Type/id/$meta-add`. Raises NotFound, Gone, Stale, Unreadable, and what the write rules raise."""
    return await _change(call, _with)


async def delete(call: OperationRequest) -> Resource:
    """`POST [base]/Type/id/$meta-delete`; what is not there is no problem. Raises like `add`."""
    return await _change(call, _without)


async def _change(call: OperationRequest, change: Change) -> Resource:
    given = parameters.one(parameters.inputs(call, ("meta",)), "meta")
    if not isinstance(given, dict):
        raise errors.Unreadable("meta : un Meta est attendu (valueMeta)", at="Parameters.parameter")
    given = {name: value for name, value in given.items() if name in _LISTS and isinstance(value, list)}
    matched = call.http.header(b"if-match")
    for left in reversed(range(_TRIES)):
        stored = await call.store.read(str(call.type), str(call.id), caller=call.caller)
        version = exchange.expected_version(matched, at="http.If-Match") if matched else None
        body = bodies.decode(stored.body)
        changed = {**body, "meta": change(body.get("meta", {}), given)}
        update = Update(stored.type, stored.id, changed, version or stored.version)
        try:
            (done,) = await call.store.commit([update], caller=call.caller)
        except errors.Stale:
            if version is not None or not left:
                raise
        else:
            return _answer(_head(done.body).meta)
    raise AssertionError("the last try answers or raises")


async def _in_use(call: OperationRequest, types: Iterable[str]) -> Resource:
    found: Resource = {}
    room = MOST_READ
    for type in types:
        after: str | None = None
        while True:
            rows = await page.search(call.store, Query(type, count=_PAGE, after=after), caller=call.caller)
            room -= len(rows.rows)
            if room < 0:
                text = f"$meta : plus de {MOST_READ} ressources à lire ; demandez-le pour un type ou une ressource"
                raise errors.Unreadable(text, issues=(errors.Issue(text, "", "too-costly"),))
            for row in rows.rows:
                meta = _head(row.body).meta
                found = _with(found, {name: meta[name] for name in _LISTS if name in meta})
            after = rows.after
            if after is None:
                break
    return _answer(found)


def _answer(meta: Resource) -> Resource:
    return parameters.answer({"name": "return", "valueMeta": meta})


def _with(meta: Resource, given: Resource) -> Resource:
    found = dict(meta)
    for name, values in given.items():
        mine = list(found.get(name, ()))
        known = {_same(one) for one in mine}
        for one in values:
            if _same(one) not in known:
                known.add(_same(one))
                mine.append(one)
        found[name] = mine
    return found


def _without(meta: Resource, given: Resource) -> Resource:
    found = dict(meta)
    for name, values in given.items():
        gone = {_same(one) for one in values}
        found[name] = [one for one in found.get(name, ()) if _same(one) not in gone]
        if not found[name]:
            del found[name]
    return found


def _same(one: Any) -> Any:
    """Codings are told apart by system and code, profiles by their address."""
    return (one.get("system"), one.get("code")) if isinstance(one, dict) else one


_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-{}"
OPERATIONS = (
    operations.Operation("instance", None, "meta", of_one, definition=_DEFINITION.format("meta")),
    operations.Operation("type", None, "meta", of_type, definition=_DEFINITION.format("meta")),
    operations.Operation("system", None, "meta", of_system, definition=_DEFINITION.format("meta")),
    operations.Operation("instance", None, "meta-add", add, "u", definition=_DEFINITION.format("meta-add")),
    operations.Operation("instance", None, "meta-delete", delete, "u", definition=_DEFINITION.format("meta-delete")),
)
