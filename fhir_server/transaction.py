"""How do many entries become one commit?

R4 http.html#transaction. Conditions and conditional references are resolved with the caller's rights; ids are given,
patients first, because the id of a clinical resource carries its patient's part; every link is rewritten; then
everything is written at once or nothing is. Reads see what was written.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from common import errors
from fhir_server import bundle, conditional, entries, operations, page, patch, plan, store, write
from fhir_server.audit import inner as traces
from fhir_server.bundle import Entry
from fhir_server.changes import Change, Claim, Create, Delete, Stored, Update
from fhir_server.exchange import Answer, Request, Server

# Somebody else may create a PUT's target between the look and the commit; more often than this is no accident.
MOST_RACES = 3
# A patch is bound to the version it was applied to, and applied again when that has passed.
MOST_PATCH_RACES = 20


@dataclass(slots=True)
class Attempt:
    """What the record said, once, about a plan.

    `refs`: which `Type/id` an entry means. `found`: what exists already of conditional creates, updates, patches and
    deletes. `owners`: which entry creates for each conditional create (two with the same criteria share it).
    `conditions`: what a conditional reference means. `replaced`: the change that each conditional update comes to.
    `deleted`: what goes away. `status`: the answer of each entry when the commit succeeds.
    """

    refs: dict[int, str] = field(default_factory=dict)
    found: dict[int, Stored] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    replaced: dict[int, Create | Update] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    status: dict[int, int] = field(default_factory=dict)


async def run(server: Server, request: Request, raw: list[Any], interact: bundle.Interact) -> Answer:
    """The transaction-response. Raises a HubError that names the entry; then nothing was written.

    Reads run before the writes too, so that one that fails stops the transaction; should it fail only afterwards,
    its own entry says so. Operations run once, for they may be dear or start something. Reads whose answers are over
    `page.MOST_BYTES` together are too costly.
    """
    todo = await conditional.read(server, request, lambda: plan.make(server, request, raw))
    writes = len(todo.of("GET", "HEAD")) < len(todo.entries)
    if writes:
        await _try_reads(server, request, todo, interact)
    attempt, rows = await _commit(server, request, todo) if writes else (Attempt(), {})
    answers: list[bytes] = []
    room = page.MOST_BYTES
    for one in todo.entries:
        answers.append(await _answer(server, request, one, (attempt, rows), interact=interact if room >= 0 else None))
        room -= len(answers[-1])
    return Answer(200, entries.bundle("transaction-response", [], answers))


async def _commit(server: Server, request: Request, todo: plan.Plan) -> tuple[Attempt, dict[str, Stored]]:
    races = patch_races = 0
    for _ in range(conditional.MOST_STEPS):
        attempt = await _resolve(server, request, todo)
        changes = await _changes(server, request, todo, attempt)
        try:
            rows = await server.store.commit(changes, caller=request.caller)
        except store.Taken as taken:
            if taken.key not in todo.claims.values():
                raise
            behind = {key: conditional.behind(key, taken.ref) for key, own in todo.claims.items() if own == taken.key}
            todo.claims.update(behind)
        except errors.Conflict as problem:
            races += 1
            if races == MOST_RACES or not todo.of("PUT"):
                raise _named(problem, attempt) from None
        except store.Rejected as problem:
            raise _located(problem, attempt) from None
        except (errors.Stale, errors.NotFound, errors.Gone, errors.Forbidden) as problem:
            patch_races += 1
            if patch_races == MOST_PATCH_RACES or not _overtook_a_patch(problem, todo, attempt):
                raise _named(problem, attempt) from None
            await asyncio.sleep(random.uniform(0, 0.005 * patch_races))
        else:
            return attempt, {row.ref: row for row in rows}
    raise errors.Conflict("Transaction : trop de créations conditionnelles simultanées, réessayez")


def _overtook_a_patch(problem: errors.HubError, todo: plan.Plan, attempt: Attempt) -> bool:
    """Did somebody write a resource between its patch and the commit? Its `If-Match` was looked at before."""
    about = problem.message.partition(" ")[0]
    return isinstance(problem, errors.Stale) and about in {attempt.refs[one.index] for one in todo.of("PATCH")}


async def _try_reads(server: Server, request: Request, todo: plan.Plan, interact: bundle.Interact) -> None:
    room = page.MOST_BYTES
    written = {entry.ref for entry in todo.of("PUT", "PATCH", "DELETE") if len(entry.segments) == 2}
    for entry in todo.of("GET", "HEAD"):
        if entry.ref not in written:
            try:
                if not any(one.startswith("$") for one in entry.segments):
                    answer = await interact(server, entry.request(request, bundle.preferences(request)))
                    room -= len(answer.body) if entry.method == "GET" else 0
                    if room < 0:
                        raise bundle.too_costly(entry)
                elif len(entry.segments) > 3 or "GET" not in operations.allowed(server, entry.segments):
                    raise errors.NotFound("Opération inconnue à cet endroit, ou qui ne s'appelle pas par GET")
            except errors.HubError as problem:
                raise plan.at_entry(problem, entry.index) from None


async def _resolve(server: Server, request: Request, todo: plan.Plan) -> Attempt:
    """Search the conditions, give ids, rewrite the links. Raises Stale for a condition without a single answer."""
    attempt = Attempt()
    direct = (one for one in todo.of("PUT", "PATCH", "DELETE") if one.index not in todo.finds)
    attempt.refs |= {one.index: one.ref for one in direct}
    await _finds(server, request, todo, attempt)
    await _conditional_creates(server, request, todo, attempt)
    await _conditional_references(server, request, todo, attempt)
    new = [one for one in todo.of("POST") if one.index not in attempt.refs]
    new = [one for one in new if attempt.owners.get(one.index, one.index) == one.index]
    updates = [one for one in todo.of("PUT") if one.index in todo.finds]
    for are_patients in (True, False):
        _give_ids(server, [one for one in new if (one.segments[0] == "Patient") is are_patients], attempt)
        for one in updates:
            if (one.segments[0] == "Patient") is are_patients:
                _replace_found(server, request, one, attempt)
        _rewrite(todo, attempt)
    return attempt


async def _finds(server: Server, request: Request, todo: plan.Plan, attempt: Attempt) -> None:
    """What conditional deletes meet, then conditional updates and patches: what is deleted does not count for them.

    Raises Stale for several, NotFound for a patch of nothing, Unreadable when another entry writes what is found.
    """
    taken = set(attempt.refs.values())
    for methods in (("DELETE",), ("PUT", "PATCH")):
        several = [one for one in todo.of(*methods) if one.index in todo.finds]
        lookups = (_only(server, request, attempt, todo.finds[one.index]) for one in several)
        for one, row in zip(several, await asyncio.gather(*lookups, return_exceptions=True), strict=True):
            if isinstance(row, errors.HubError):
                raise plan.at_entry(row, one.index)
            if isinstance(row, BaseException):
                raise row
            if row is None:
                if one.method == "PATCH":
                    text = f"{one.segments[0]} : aucune ressource ne répond à la condition"
                    raise errors.NotFound(text, at=f"{one.at}.request.url")
                continue
            if row.ref in taken:
                raise errors.Unreadable(f"{row.ref} : deux fois dans la même transaction", at=one.at)
            taken.add(row.ref)
            attempt.found[one.index], attempt.refs[one.index] = row, row.ref
            if one.method == "DELETE":
                attempt.deleted.add(row.ref)
        attempt.deleted |= todo.deleted


def _replace_found(server: Server, request: Request, one: Entry, attempt: Attempt) -> None:
    """What a conditional update comes to; when it creates, its links have their final form by now."""
    inner = one.request(request, bundle.preferences(request))
    found, type = attempt.found.get(one.index), one.segments[0]
    try:
        change = conditional.replacement(server, inner, one.resource or {}, found, type=type)
    except errors.HubError as problem:
        raise plan.at_entry(problem, one.index) from None
    attempt.replaced[one.index] = change
    attempt.refs[one.index] = f"{type}/{change.id}"


async def _conditional_creates(server: Server, request: Request, todo: plan.Plan, attempt: Attempt) -> None:
    first: dict[str, int] = {}
    for index, wanted in todo.creates.items():
        attempt.owners[index] = first.setdefault(wanted.key, index)
    lookups = (_only(server, request, attempt, todo.creates[index]) for index in first.values())
    results = dict(zip(first.values(), await asyncio.gather(*lookups, return_exceptions=True), strict=True))
    for index, owner in attempt.owners.items():
        match results[owner]:
            case errors.Stale() as problem:
                at = f"Bundle.entry[{index}].request.ifNoneExist"
                raise errors.Stale(problem.message, at=at)
            case BaseException() as problem:
                raise problem
            case Stored() as row:
                attempt.found[index] = row
                attempt.refs[index] = row.ref


async def _conditional_references(server: Server, request: Request, todo: plan.Plan, attempt: Attempt) -> None:
    """A condition that an entry creates under means that entry; any other must have exactly one answer."""
    makers = todo.makers()
    asked = {text: one for text, one in todo.conditions.items() if one.criteria.key not in makers}
    lookups = (_only(server, request, attempt, one.criteria) for one in asked.values())
    for (text, one), row in zip(asked.items(), await asyncio.gather(*lookups, return_exceptions=True), strict=True):
        if isinstance(row, errors.Stale) or row is None:
            count = "aucune ressource ne répond" if row is None else "plusieurs ressources répondent"
            raise errors.Stale(f"Référence conditionnelle {text[:100]} : {count}", at=one.at)
        if isinstance(row, BaseException):
            raise row
        attempt.conditions[text] = row.ref


async def _only(server: Server, request: Request, attempt: Attempt, wanted: conditional.Criteria) -> Stored | None:
    """What the transaction itself deletes does not count: deletions come first."""
    rows = await conditional.matches(server, request.caller, wanted, besides=len(attempt.deleted))
    rows = [row for row in rows if row.ref not in attempt.deleted]
    if len(rows) > 1:
        raise errors.Stale("Plusieurs ressources répondent à la condition : précisez-la")
    return rows[0] if rows else None


def _give_ids(server: Server, new: list[Entry], attempt: Attempt) -> None:
    for one in new:
        type = one.segments[0]
        attempt.refs[one.index] = f"{type}/{conditional.fresh_id(server, type, one.resource or {})}"
    for index, owner in attempt.owners.items():
        if owner in attempt.refs:
            attempt.refs[index] = attempt.refs[owner]


def _rewrite(todo: plan.Plan, attempt: Attempt) -> None:
    """Point every link at what it means by now; a link whose target has no id yet is left as the client wrote it."""
    keys = todo.makers()

    def conditional_target(text: str) -> str | None:
        return attempt.conditions.get(text) or attempt.refs.get(keys.get(todo.conditions[text].criteria.key, -1))

    for entry, link in todo.links:
        if link.written in todo.conditions:
            target = conditional_target(link.written)
            link.holder[link.key] = target or link.written
        else:
            link.rewrite(partial(_ref, todo, attempt, entry))


def _ref(todo: plan.Plan, attempt: Attempt, entry: Entry, text: str) -> str | None:
    target = todo.target(entry, text)
    return None if target is None else attempt.refs.get(target.index)


async def _changes(server: Server, request: Request, todo: plan.Plan, attempt: Attempt) -> list[Change]:
    """R4's order: deletions, creations, updates."""
    inner = bundle.preferences(request)
    changes: list[Change] = []
    for one in todo.of("DELETE"):
        attempt.status[one.index] = 204
        if one.index in attempt.refs:
            changes.append(_deletion(one.request(request, inner), one, attempt))
    for one in todo.of("POST"):
        is_new = one.index not in attempt.found and attempt.owners.get(one.index, one.index) == one.index
        attempt.status[one.index] = 201 if is_new else 200
        if is_new:
            type, _, id = attempt.refs[one.index].partition("/")
            changes.append(Create(type, id, one.resource or {}))
            if wanted := todo.creates.get(one.index):
                changes.append(Claim(todo.claims[wanted.key], type, id))
    updates = todo.of("PUT", "PATCH")
    looks = (_update(server, one.request(request, inner), one, (todo, attempt)) for one in updates)
    for one, (change, status) in zip(updates, await asyncio.gather(*looks), strict=True):
        attempt.status[one.index] = status
        changes.append(change)
        if one.index in attempt.replaced and isinstance(change, Create):
            changes.append(Claim(todo.claims[todo.finds[one.index].key], change.type, change.id))
    return changes


def _deletion(request: Request, one: Entry, attempt: Attempt) -> Delete:
    try:
        conditional.only_new(request)
        version = conditional.expected(request)
    except errors.HubError as problem:
        raise plan.at_entry(problem, one.index) from None
    type, _, id = attempt.refs[one.index].partition("/")
    return Delete(type, id, version)


async def _update(
    server: Server, request: Request, one: Entry, asked: tuple[plan.Plan, Attempt]
) -> tuple[Create | Update, int]:
    todo, attempt = asked
    if (change := attempt.replaced.get(one.index)) is not None:
        return change, 200 if isinstance(change, Update) else 201
    id = attempt.refs[one.index].partition("/")[2]
    try:
        if one.method == "PATCH":
            return await patch.change(server, request, todo.patches[one.index], id=id), 200
        return await write.replacement(server, request, one.resource or {}, id=id)
    except errors.HubError as problem:
        raise plan.at_entry(problem, one.index) from None


def _located(problem: store.Rejected, attempt: Attempt) -> errors.Invalid:
    """The issues of each body, placed in its entry."""
    index_of = {ref: index for index, ref in attempt.refs.items()}
    issues = [
        replace(issue, expression=plan.inside(index_of[ref], issue.expression)) if ref in index_of else issue
        for ref, found in problem.by_ref.items()
        for issue in found
    ]
    return errors.Invalid(problem.message, issues=tuple(issues))


def _named(problem: errors.HubError, attempt: Attempt) -> errors.HubError:
    """A refusal of the store opens with the resource it is about."""
    refs = {ref: index for index, ref in attempt.refs.items()}
    index = refs.get(problem.message.partition(" ")[0])
    return problem if index is None else plan.at_entry(problem, index)


async def _answer(
    server: Server,
    request: Request,
    one: Entry,
    done: tuple[Attempt, dict[str, Stored]],
    *,
    interact: bundle.Interact | None,
) -> bytes:
    """`interact` is None when there is no room for what is read."""
    attempt, rows = done
    inner = one.request(request, bundle.preferences(request))
    if one.method in ("GET", "HEAD"):
        try:
            if interact is None:
                raise bundle.too_costly(one)
            answer = await traces.traced(server, inner, interact)
        except errors.HubError as problem:
            if not rows:
                raise plan.at_entry(problem, one.index) from None
            return bundle.refused(problem, request.id)
        return bundle.answered(request.base, replace(answer, body=b"") if one.method == "HEAD" else answer)
    row = rows.get(attempt.refs.get(one.index, "")) or attempt.found.get(one.index)
    if one.method == "DELETE" or row is None:
        told = write.deleted(inner, row, attempt.refs.get(one.index, one.ref))
        return bundle.answered(request.base, told, one.method)
    return bundle.answered(request.base, write.written(inner, row, attempt.status[one.index]))
