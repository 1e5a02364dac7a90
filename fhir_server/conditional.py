"""How does "create it unless it exists" create only once, however many ask at the same time?

R4 http.html#ccreate. The criteria are searched with the caller's rights; when nothing is found, the commit also claims
the criteria, so that of several that saw nothing only one creates and the others find what it made. Claims are each
caller's own: what one has claimed never stands in another's way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from common import errors
from fhir_server import access, media, query, store
from fhir_server.changes import Change, Claim, Create, Resource, Stored
from fhir_server.exchange import Request, Server

# The store frees the claim of a deleted owner; one that changed so that it no longer matches costs one more step.
MOST_STEPS = 50


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search that should find one resource at most; `key` is the same for the same criteria in another order.

    `by` is the person or software who asks.
    """

    type: str
    text: str
    query: query.Parsed
    by: str

    @property
    def key(self) -> str:
        """What is claimed."""
        pairs = sorted(self.query.applied)
        return f"if-none-exist|{quote(self.by)}|{self.type}|{urlencode(pairs)}"


def criteria(server: Server, request: Request, type: str, text: str, *, at: str) -> Criteria:
    """Understand `a=b&c=d` (or `?a=b`, or `Type?a=b`). Raises Unreadable when it says nothing or is no plain search."""
    caller = request.caller
    bare = text.partition("?")[2] if "?" in text else text
    params = [pair for pair in media.parameters(bare.encode()) if pair[1]]
    if not params:
        raise errors.Unreadable("Condition vide : donnez au moins un critère de recherche", at=at)
    for name, _ in params:
        if name in _NOT_CRITERIA or name.startswith(("_include", "_revinclude")):
            raise errors.Unreadable(f"{name} n'est pas un critère de recherche", at=at)
    try:
        asked = query.parse(type, params, server.definitions.search, now=server.now(), base=request.base)
    except errors.Unreadable as problem:
        issues = tuple(replace(one, expression=at) for one in problem.issues)
        raise errors.Unreadable(problem.message, at=at, issues=issues) from None
    limited = replace(asked, query=replace(asked.query, count=2), applied=params)
    return Criteria(type, text, limited, caller.actor or f"client:{caller.client or ''}")


async def matches(server: Server, caller: access.Caller, wanted: Criteria) -> list[Stored]:
    """At most two of the resources that meet the criteria, as far as the caller may see. Raises Forbidden."""
    access.may(caller, "s", wanted.type)
    return (await server.store.search(wanted.query.query, caller=caller)).rows


async def only(server: Server, caller: access.Caller, wanted: Criteria, *, at: str) -> Stored | None:
    """The one resource that meets the criteria, None for none. Raises Stale (412) for several."""
    found = await matches(server, caller, wanted)
    if len(found) > 1:
        raise errors.Stale("Plusieurs ressources répondent à la condition : précisez-la", at=at)
    return found[0] if found else None


async def create(server: Server, caller: access.Caller, wanted: Criteria, body: Resource) -> tuple[Stored, bool]:
    """The resource that meets the criteria, and whether it was made just now."""
    claim = wanted.key
    for _ in range(MOST_STEPS):
        if (found := await only(server, caller, wanted, at=_HEADER)) is not None:
            return found, False
        id = fresh_id(server, wanted.type, body)
        changes: list[Change] = [Create(wanted.type, id, body), Claim(claim, wanted.type, id)]
        try:
            return (await server.store.commit(changes, caller=caller))[0], True
        except store.Taken as taken:
            claim = behind(wanted.key, taken.ref)
    raise errors.Conflict("Création conditionnelle : trop de demandes simultanées, réessayez", at=_HEADER)


def fresh_id(server: Server, type: str, body: Resource) -> str:
    """An id for a resource to create; its references must be final, because the id carries the patient's part."""
    try:
        return server.store.new_id(type, body)
    except (AttributeError, KeyError, TypeError, ValueError):
        # The patient is looked for before the body is validated; the commit says what is wrong with this one.
        return server.store.new_id(type)


def behind(key: str, owner: str) -> str:
    """What to claim when the owner of `key` is not to be found by its criteria any more: the place after it."""
    return f"{key}|{owner}"


_HEADER = "http.If-None-Exist"
_NOT_CRITERIA = frozenset(
    "_count _sort _summary _elements _total _after _format _pretty _contained _containedType _score".split()
)
