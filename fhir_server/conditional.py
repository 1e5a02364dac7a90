"""How does "create it unless it exists" create only once, however many ask at the same time?

R4 http.html#ccreate and #cond-update. The criteria are searched with the caller's rights; when nothing is found, the
commit also claims the criteria, so that of several that saw nothing only one creates and the others find what it made.
Claims are each caller's own: what one has claimed never stands in another's way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import quote, urlencode

from common import errors
from fhir_server import access, exchange, media, query, store
from fhir_server.changes import Change, Claim, Create, Delete, Resource, Stored, Update
from fhir_server.criteria import Codes
from fhir_server.exchange import Params, Request, Server
from fhir_server.terminology import in_search

T = TypeVar("T")

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")

AT_URL = "http.query"
AT_IF_MATCH = "http.If-Match"

# The store frees the claim of a deleted owner; one that changed so that it no longer matches costs one more step.
MOST_STEPS = 50


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search that should find one resource at most; `key` is the same for the same criteria in another order.

    `by` is the person or software who asks.
    """

    type: str
    query: query.Parsed
    by: str

    @property
    def key(self) -> str:
        """What is claimed."""
        pairs = sorted(self.query.applied)
        return f"if-none-exist|{quote(self.by)}|{self.type}|{urlencode(pairs)}"


def criteria(server: Server, request: Request, type: str, text: str, *, at: str) -> Criteria:
    """Understand `a=b&c=d` (or `?a=b`, or `Type?a=b`). Raises Unreadable when it says nothing or is no plain search."""
    bare = text.partition("?")[2] if "?" in text else text
    return of_params(server, request, type, media.parameters(bare.encode()), at=at)


async def of_url(server: Server, request: Request) -> Criteria:
    """The criteria in the URL of a conditional update, patch or delete. Raises Unreadable."""
    return await read(
        server, request, lambda: of_params(server, request, request.segments[0], request.params, at=AT_URL)
    )


async def read(server: Server, request: Request, reading: Callable[[], T]) -> T:
    """What `reading` makes of the criteria of a request, with the codes that they name."""

    def with_codes(codes: Codes) -> T:
        request.codes = codes
        return reading()

    return await in_search.reading(server.store, request.caller, with_codes)


def of_params(server: Server, request: Request, type: str, given: Params, *, at: str) -> Criteria:
    """Understand criteria that were split already. Raises Unreadable when they say nothing or are no plain search."""
    caller = request.caller
    params = [pair for pair in given if pair[1]]
    if not params:
        raise errors.Unreadable("Condition vide : donnez au moins un critère de recherche", at=at)
    for name, _ in params:
        if name in _NOT_CRITERIA or name.startswith(("_include", "_revinclude")):
            raise errors.Unreadable(f"{name} n'est pas un critère de recherche", at=at)
    try:
        tables = server.definitions.search
        asked = query.parse(type, params, tables, now=server.now(), base=request.base, codes=request.codes)
    except errors.Unreadable as problem:
        issues = tuple(replace(one, expression=at) for one in problem.issues)
        raise errors.Unreadable(problem.message, at=at, issues=issues) from None
    limited = replace(asked, query=replace(asked.query, count=2), applied=params)
    return Criteria(type, limited, caller.actor or f"client:{caller.client or ''}")


async def matches(server: Server, caller: access.Caller, wanted: Criteria, *, besides: int = 0) -> list[Stored]:
    """At most two (and `besides`) of the resources that meet the criteria, as far as the caller may see.

    Raises Forbidden.
    """
    access.may(caller, "s", wanted.type)
    asked = replace(wanted.query.query, count=2 + besides) if besides else wanted.query.query
    return (await server.store.search(asked, caller=caller)).rows


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


async def update(server: Server, request: Request, wanted: Criteria, body: Resource) -> tuple[Stored, int]:
    """The resource that meets the criteria with `body` as its new content, made when there is none: 200 or 201.

    Raises Unreadable when the body has the id of another one, Stale for several or when a condition does not hold.
    """
    claim = wanted.key
    for _ in range(MOST_STEPS):
        found = await only(server, request.caller, wanted, at=AT_URL)
        change = replacement(server, request, body, found, type=wanted.type)
        changes: list[Change] = [change]
        if found is None:
            changes.append(Claim(claim, wanted.type, change.id))
        try:
            return (await server.store.commit(changes, caller=request.caller))[0], 200 if found else 201
        except store.Taken as taken:
            claim = behind(wanted.key, taken.ref)
        except (errors.NotFound, errors.Gone):
            # Deleted since it was found: look again. While it is still there, a rule has refused.
            if found is None or await matches(server, request.caller, wanted) == [found]:
                raise
    raise errors.Conflict("Mise à jour conditionnelle : trop de demandes simultanées, réessayez", at=AT_URL)


def replacement(
    server: Server, request: Request, body: Resource, found: Stored | None, *, type: str
) -> Create | Update:
    """The change that a conditional update comes to, once it is known what meets its criteria.

    Only who sees everything chooses an id for what is new; for others the answer is the same whether it is used or not.
    """
    id, is_only_new = body.get("id"), only_new(request)
    if found is not None:
        if id not in (None, found.id):
            raise errors.Unreadable(
                "id : différent de celui de la ressource qui répond à la condition", at=f"{type}.id"
            )
        if is_only_new:
            raise errors.Stale("Une ressource répond déjà à la condition (If-None-Match: *)", at=_NONE_MATCH)
        version = expected(request)
        if version is not None and version != found.version:
            text = f"{found.ref} est à la version {found.version} ; relisez-la avant de modifier"
            raise errors.Stale(text, at=AT_IF_MATCH)
        return Update(type, found.id, body, version)
    if b"if-match" in request.headers:
        raise errors.Stale(
            "Aucune ressource ne répond à la condition : la version attendue n'est pas là", at=AT_IF_MATCH
        )
    if id is None:
        return Create(type, fresh_id(server, type, body), body)
    if request.caller.memberships is not None:
        text = "id : l'identifiant d'une ressource nouvelle est attribué par le serveur, retirez-le"
        raise errors.Unreadable(text, at=f"{type}.id")
    if not isinstance(id, str) or not ID.fullmatch(id):
        raise errors.Unreadable("Identifiant : 1 à 64 caractères parmi A-Z a-z 0-9 - .", at=f"{type}.id")
    return Create(type, id, body)


async def delete(server: Server, request: Request, wanted: Criteria) -> Stored | None:
    """Delete the one resource that meets the criteria, as it was when it met them; None when there is none.

    Raises Stale for several, or when `If-Match` does not hold.
    """
    for _ in range(MOST_STEPS):
        if (found := await only(server, request.caller, wanted, at=AT_URL)) is None:
            return None
        version = expected(request)
        if version is not None and version != found.version:
            raise errors.Stale(f"{found.ref} est à la version {found.version}", at=AT_IF_MATCH)
        try:
            return (await server.store.commit([Delete(found.type, found.id, found.version)], caller=request.caller))[0]
        except errors.Stale:
            continue  # changed since it was found: does it still meet the criteria?
    raise errors.Conflict("Suppression conditionnelle : trop de demandes simultanées, réessayez", at=AT_URL)


def expected(request: Request) -> int | None:
    """The version that `If-Match` expects, None without one. Raises Unreadable."""
    if b"if-match" not in request.headers:
        return None
    return exchange.expected_version(request.header(b"if-match"), at=AT_IF_MATCH)


def fresh_id(server: Server, type: str, body: Resource) -> str:
    """An id for a resource to create; its references must be final, because the id carries the patient's part."""
    try:
        return server.store.new_id(type, body)
    except (AttributeError, KeyError, TypeError, ValueError):
        # The patient is looked for before the body is validated; the commit says what is wrong with this one.
        return server.store.new_id(type)


def only_new(request: Request) -> bool:
    """Does `If-None-Match: *` ask that an update only creates? Raises Unreadable for any other use of it."""
    if b"if-none-match" not in request.headers:
        return False
    if request.method != "PUT" or request.header(b"if-none-match").strip() != "*":
        text = "If-None-Match : en écriture, seul « * » est disponible, pour PUT"
        raise exchange.unavailable(text, at=_NONE_MATCH)
    return True


def behind(key: str, owner: str) -> str:
    """What to claim when the owner of `key` is not to be found by its criteria any more: the place after it."""
    return f"{key}|{owner}"


_HEADER = "http.If-None-Exist"
_NONE_MATCH = "http.If-None-Match"
_NOT_CRITERIA = frozenset(
    "_count _sort _summary _elements _total _after _format _pretty _contained _containedType _score".split()
)
