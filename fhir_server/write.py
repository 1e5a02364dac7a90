"""How is one resource created, replaced or deleted?

R4 http.html#create, #update, #delete and #concurrency. The store validates, versions and writes; here the conditions of
the request become a change and the outcome becomes an answer.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, binary, conditional, exchange, media, outcome, store
from fhir_server.changes import Create, Delete, Resource, Stored, Update
from fhir_server.exchange import Answer, Request, Server

ID = conditional.ID


async def create(server: Server, request: Request) -> Answer:
    """`POST [base]/Type`, with `If-None-Exist` a conditional create. The client's id and versionId count for nothing.

    Raises Unreadable, Invalid, Forbidden, Stale (several matches), Conflict, UnsupportedMedia.
    """
    type = request.segments[0]
    access.may(request.caller, "c", type)
    if request.params:
        refuse_parameters(request)
    body = content(server, request, type)
    if b"if-none-exist" in request.headers:
        condition, at = request.header(b"if-none-exist"), "http.If-None-Exist"
        wanted = await conditional.read(
            server, request, lambda: conditional.criteria(server, request, type, condition, at=at)
        )
        stored, is_new = await conditional.create(server, request.caller, wanted, body)
        return written(request, stored, 201 if is_new else 200)
    change = Create(type, conditional.fresh_id(server, type, body), body)
    return written(request, (await server.store.commit([change], caller=request.caller))[0], 201)


async def update(server: Server, request: Request) -> Answer:
    """`PUT [base]/Type/id`: a new version; from a system caller also a new resource under its own id.

    `PUT [base]/Type?criteria` is a conditional update (`conditional.update`).

    Raises Unreadable when the body has no id or another one, NotFound (`replacement`), Stale when `If-Match` or
    `If-None-Match: *` does not hold.
    """
    if len(request.segments) == 1:
        return await _update_what_meets(server, request)
    type, id = request.segments
    access.may(request.caller, "u", type)
    if request.params:
        refuse_parameters(request)
    body = content(server, request, type)
    refuse_other_id(body, type, id)
    change, status = await replacement(server, request, body, id=id)
    try:
        [stored] = await server.store.commit([change], caller=request.caller)
    except errors.Conflict as problem:
        if not isinstance(change, Create) or isinstance(problem, store.Taken) or b"if-none-match" in request.headers:
            raise
        # Somebody else created it between the look and the commit: this one is an update then.
        [stored] = await server.store.commit([Update(type, id, body)], caller=request.caller)
        status = 200
    return written(request, stored, status)


async def delete(server: Server, request: Request) -> Answer:
    """`DELETE [base]/Type/id`: 204 (200 with an outcome if preferred), also when there was nothing to be seen.

    `DELETE [base]/Type?criteria` deletes the one resource that meets them. Raises Stale when `If-Match` does not hold,
    without criteria, or when several resources meet them: there is no multiple delete.
    """
    type, *rest = request.segments
    access.may(request.caller, "d", type)
    conditional.only_new(request)
    if not rest:
        if not request.params:
            raise errors.Stale("Suppression sans critère : donnez un id ou une condition", at=conditional.AT_URL)
        stored = await conditional.delete(server, request, await conditional.of_url(server, request))
        return deleted(request, stored, stored.ref if stored else type)
    if request.params:
        refuse_parameters(request)
    change = Delete(type, rest[0], conditional.expected(request))
    rows = await server.store.commit([change], caller=request.caller)
    return deleted(request, rows[0] if rows else None, f"{type}/{rest[0]}")


async def _update_what_meets(server: Server, request: Request) -> Answer:
    type = request.segments[0]
    access.may(request.caller, "u", type)
    wanted = await conditional.of_url(server, request)
    stored, status = await conditional.update(server, request, wanted, content(server, request, type))
    return written(request, stored, status)


def deleted(request: Request, stored: Stored | None, named: str) -> Answer:
    """The answer to a delete of what was `named`; `stored` is the mark it left, None when nothing met the criteria."""
    headers = exchange.version_headers(stored)[:1] if stored else []
    if request.prefer.returns == "OperationOutcome":
        told = outcome.information(f"{named} n'existe pas ou plus", request.id)
        return Answer(200, outcome.encode(told), headers, stored=stored)
    return Answer(204, headers=headers, stored=stored)


def refuse_parameters(request: Request) -> None:
    """A write of one resource takes no parameters: they are refused, not ignored, unless the client is lenient."""
    if request.params and not request.prefer.lenient:
        name = request.params[0][0][:60]
        raise errors.Unreadable(f"{name} : paramètre inconnu ici", at=f"http.{name}")


def content(server: Server, request: Request, type: str) -> Resource:
    """The resource that is sent to a URL of `type`. Raises Unreadable when it is of another type."""
    body = binary.content(server, request) if type == "Binary" else media.content(server, request)
    if (sent := body.get("resourceType")) != type:
        found = f"« {sent[:60]} »" if isinstance(sent, str) else "absent"
        raise errors.Unreadable(f"resourceType {found} : cette adresse reçoit {type}", at=f"{type}.resourceType")
    return body


def refuse_other_id(body: Resource, type: str, id: str) -> None:
    """An update names its resource twice, in the URL and in the body: both the same, and a FHIR id."""
    if not ID.fullmatch(id):
        raise errors.Unreadable("Identifiant : 1 à 64 caractères parmi A-Z a-z 0-9 - .", at=f"{type}.id")
    if body.get("id") != id:
        raise errors.Unreadable(f"id : absent du contenu ou différent de l'adresse ({id})", at=f"{type}.id")


async def replacement(server: Server, request: Request, body: Resource, *, id: str) -> tuple[Create | Update, int]:
    """The change that puts `body` at Type/id, and the status of its success: 200, or 201 when nothing was there.

    Whoever does not see everything chooses no ids: what is unknown and what they may not see are the same to them,
    whatever the conditions of the request. Raises NotFound for both, Stale when a condition does not hold.
    """
    type = request.segments[0]
    is_only_new = conditional.only_new(request)
    state = await server.store.state(type, id, caller=request.caller)
    if state == "unknown" and request.caller.memberships is not None:
        text = f"{type}/{id} n'existe pas ; l'identifiant est attribué par le serveur : créez par POST"
        raise errors.NotFound(text, at=f"{type}.id")
    if is_only_new and state == "there":
        raise errors.Stale(f"{type}/{id} existe déjà (If-None-Match: *)", at="http.If-None-Match")
    if b"if-match" in request.headers:
        if state != "there":
            raise errors.Stale(
                f"{type}/{id} n'existe pas : la version attendue n'est pas là", at=conditional.AT_IF_MATCH
            )
        return Update(type, id, body, conditional.expected(request)), 200
    if state == "unknown":
        return Create(type, id, body), 201
    return Update(type, id, body), 200 if state == "there" else 201


def written(request: Request, stored: Stored, status: int) -> Answer:
    """The answer to a write, as long as the client prefers it (`Prefer: return`); the whole resource by default."""
    headers = exchange.version_headers(stored)
    headers.append((b"location", location(request.base, stored).encode()))
    match request.prefer.returns:
        case "minimal":
            body = b""
        case "OperationOutcome":
            done = "créée" if status == 201 else "enregistrée"
            body = outcome.encode(outcome.information(f"{stored.ref} : version {stored.version} {done}", request.id))
        case _:
            body = stored.body
    return Answer(status, body, headers, stored=stored)


def location(base: str, stored: Stored) -> str:
    """The address of one version."""
    return f"{base}/{stored.type}/{stored.id}/_history/{stored.version}"
