"""How is a part of a resource changed?

R4 http.html#patch, in its two forms here: JSON Patch (`json_patch.py`) and FHIRPath Patch (`fhirpath_patch.py`). The
patch is applied to the version that the caller sees, and what comes out is written as an update of that very version:
validated, ruled and indexed like any other. When somebody else was faster it is applied again to what they wrote.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common import errors
from fhir_server import access, bodies, conditional, fhirpath_patch, json_patch, links, media, write
from fhir_server.changes import Resource, Stored, Update
from fhir_server.exchange import Answer, Request, Server

CONTENT_TYPE = "application/json-patch+json"
# What the CapabilityStatement says: the contents that are read here.
FORMATS = (CONTENT_TYPE, "application/fhir+json", "application/fhir+xml")
MOST_TRIES = 30

_IDENTITY = ("resourceType", "id")


@dataclass(frozen=True, slots=True)
class Patch:
    """What a client wants changed; `document` is the Parameters of a FHIRPath Patch, None for a JSON Patch."""

    operations: list[Any]
    document: Resource | None = None

    def links(self, walker: links.Walker) -> Iterator[links.Link]:
        """The places in its values that hold links, for a transaction that gives ids."""
        if self.document is not None:
            yield from walker.links(self.document)
            return
        for holder, key, name in json_patch.links(self.operations):
            yield links.Link(holder, key, "reference" if name == "reference" else "uri", holder[key])


async def patch(server: Server, request: Request) -> Answer:
    """`PATCH [base]/Type/id`, and `PATCH [base]/Type?criteria` for the one resource that meets them.

    A patch tells what is stored (`test`, the answer), so that it needs the rights to read and to update. Raises
    NotFound, Gone, Stale, Invalid when it cannot be applied or its result breaks a rule; nothing is changed then.
    """
    type = request.segments[0]
    allowed(request.caller, type)
    wanted = read(server, request)
    criteria = await conditional.of_url(server, request) if len(request.segments) == 1 else None
    if criteria is None:
        write.refuse_parameters(request)
    ref = request.segments[1] if criteria is None else ""
    try:
        return await _try(server, request, wanted, criteria, id=ref)
    except _Overtaken as overtaken:
        turn = server.turns.setdefault(overtaken.message, asyncio.Lock())
    # Whoever loses once waits in line, as in `store.commit`.
    async with turn:
        for tried in range(MOST_TRIES):
            try:
                return await _try(server, request, wanted, criteria, id=ref)
            except _Overtaken:
                await asyncio.sleep(random.uniform(0, min(0.002 * 2**tried, 0.1)))
    raise errors.Conflict("Trop d'écritures simultanées sur la même ressource ; réessayez")


def allowed(caller: access.Caller, type: str) -> None:
    """Raises Forbidden for who may not both read and update."""
    access.may(caller, "u", type)
    access.may(caller, "r", type)


def read(server: Server, request: Request) -> Patch:
    """The patch that a request carries, in a bundle a Binary or a Parameters.

    Raises Unreadable, UnsupportedMedia, TooLarge.
    """
    kind = request.header(b"content-type").partition(";")[0].strip().lower()
    if request.resource is None and kind == CONTENT_TYPE:
        return Patch(json_patch.read(request.body))
    if request.resource is None and media.content_kind(kind) == "other":
        raise errors.UnsupportedMedia(
            f"Content-Type {kind[:80] or 'absent'} : un patch est attendu en {', '.join(FORMATS)}",
            at="http.Content-Type",
        )
    sent = media.content(server, request)
    if sent.get("resourceType") == "Binary" and request.resource is not None:
        return Patch(json_patch.read(_content(sent)))
    if sent.get("resourceType") != "Parameters":
        raise errors.Unreadable("Un patch est un Parameters (FHIRPath Patch) ou un JSON Patch", at="Parameters")
    return Patch(fhirpath_patch.read(sent), sent)


def applied(server: Server, wanted: Patch, stored: Stored) -> Resource:
    """The resource that the patch makes of a version. Raises Invalid when it cannot, or when the identity changes."""
    before = bodies.decode(stored.body)
    if wanted.document is None:
        after = json_patch.apply(bodies.decode(stored.body), wanted.operations)
    else:
        after = fhirpath_patch.apply(bodies.decode(stored.body), wanted.operations, server.definitions.elements)
    if not isinstance(after, dict) or any(after.get(name) != before[name] for name in _IDENTITY):
        raise errors.Invalid("Un patch ne change ni le type ni l'id de la ressource", at=f"{stored.type}.id")
    return _with_safe_narrative(before, after)


async def change(server: Server, request: Request, wanted: Patch, *, id: str) -> Update:
    """The update that a patch of Type/id comes to, bound to the version it was applied to.

    Raises NotFound, Gone, Stale when `If-Match` does not hold, Invalid.
    """
    conditional.only_new(request)
    stored = await server.store.read(request.segments[0], id, caller=request.caller)
    expected = conditional.expected(request)
    if expected is not None and expected != stored.version:
        raise errors.Stale(f"{stored.ref} est à la version {stored.version} ; relisez-la avant de modifier")
    return Update(stored.type, id, applied(server, wanted, stored), stored.version)


class _Overtaken(Exception):
    """Somebody else wrote a version between the look and the commit; `message` is the resource."""

    def __init__(self, ref: str) -> None:
        super().__init__(ref)
        self.message = ref


async def _try(
    server: Server, request: Request, wanted: Patch, criteria: conditional.Criteria | None, *, id: str
) -> Answer:
    if criteria is not None:
        found = await conditional.only(server, request.caller, criteria, at=conditional.AT_URL)
        if found is None:
            raise errors.NotFound(f"{criteria.type} : aucune ressource ne répond à la condition", at=conditional.AT_URL)
        id = found.id
    update = await change(server, request, wanted, id=id)
    try:
        [stored] = await server.store.commit([update], caller=request.caller)
    except errors.Stale as problem:
        raise _Overtaken(f"{update.type}/{update.id}") from problem
    return write.written(request, stored, 200)


def _content(binary: Resource) -> bytes:
    """The JSON Patch inside a Binary (R4 http.html#transaction: patches in bundles)."""
    kind, data = binary.get("contentType"), binary.get("data")
    if not isinstance(kind, str) or kind.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise errors.Unreadable(f"contentType : {CONTENT_TYPE} est attendu", at="Binary.contentType")
    try:
        return base64.b64decode("".join(data.split()) if isinstance(data, str) else "", validate=True)
    except ValueError:
        raise errors.Unreadable("data : contenu base64 illisible", at="Binary.data") from None


def _with_safe_narrative(before: Resource, after: Resource) -> Resource:
    """R4 http.html#patch: the narrative must not go on saying what the patch has changed.

    A generated one goes away unless the patch writes it itself; one with words of its own has to be patched too.
    """
    text = after.get("text")
    said = [{name: value for name, value in one.items() if name != "meta"} for one in (before, after)]
    if not isinstance(text, dict) or text != before.get("text") or said[0] == said[1]:
        return after
    if text.get("status") == "additional":
        raise errors.Invalid(
            "text (additional) : corrigez la partie narrative dans le même patch, elle contredirait les données",
            at=f"{after['resourceType']}.text",
        )
    if text.get("status") in ("generated", "extensions"):
        return {name: value for name, value in after.items() if name != "text"}
    return after
