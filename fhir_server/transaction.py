"""How do many entries become one commit?

R4 http.html#transaction. Conditions and conditional references are resolved with the caller's rights; ids are given,
patients first, because the id of a clinical resource carries its patient's part; every link is rewritten; then
everything is written at once or nothing is. Reads see what was written.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from common import errors
from fhir_server import bundle, conditional, entries, plan, store, write
from fhir_server.bundle import Entry
from fhir_server.changes import Change, Claim, Create, Delete, Stored
from fhir_server.exchange import Answer, Request, Server

# Somebody else may create a PUT's target between the look and the commit; more often than this is no accident.
MOST_RACES = 3


@dataclass(slots=True)
class Attempt:
    """What the record said, once, about a plan.

    `refs`: which `Type/id` an entry means. `found`: conditional creates that exist already. `owners`: which entry
    creates for each conditional create (two with the same criteria share it). `conditions`: what a conditional
    reference means. `status`: the answer of each entry when the commit succeeds.
    """

    refs: dict[int, str] = field(default_factory=dict)
    found: dict[int, Stored] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    status: dict[int, int] = field(default_factory=dict)


async def run(server: Server, request: Request, raw: list[Any], interact: bundle.Interact) -> Answer:
    """The transaction-response. Raises a HubError that names the entry; then nothing was written.

    Reads run before the writes too, so that one that fails stops the transaction; should it fail only afterwards,
    its own entry says so.
    """
    todo = plan.make(server, request, raw)
    writes = len(todo.of("GET", "HEAD")) < len(todo.entries)
    await _try_reads(server, request, todo, interact)
    attempt, rows = await _commit(server, request, todo) if writes else (Attempt(), {})
    answers = [await _answer(server, request, one, (attempt, rows), interact=interact) for one in todo.entries]
    return Answer(200, entries.bundle("transaction-response", [], answers))


async def _commit(server: Server, request: Request, todo: plan.Plan) -> tuple[Attempt, dict[str, Stored]]:
    races = 0
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
        except errors.Conflict:
            races += 1
            if races == MOST_RACES or not todo.of("PUT"):
                raise
        except store.Rejected as problem:
            raise _located(problem, attempt) from None
        except (errors.Stale, errors.NotFound, errors.Forbidden) as problem:
            raise _named(problem, attempt) from None
        else:
            return attempt, {row.ref: row for row in rows}
    raise errors.Conflict("Transaction : trop de créations conditionnelles simultanées, réessayez")


async def _try_reads(server: Server, request: Request, todo: plan.Plan, interact: bundle.Interact) -> None:
    written = {entry.ref for entry in todo.of("PUT", "DELETE")}
    for entry in todo.of("GET", "HEAD"):
        if entry.ref not in written:
            try:
                await interact(server, entry.request(request, bundle.preferences(request)))
            except errors.HubError as problem:
                raise plan.at_entry(problem, entry.index) from None


async def _resolve(server: Server, request: Request, todo: plan.Plan) -> Attempt:
    """Search the conditions, give ids, rewrite the links. Raises Stale for a condition without a single answer."""
    attempt = Attempt()
    await _conditional_creates(server, request, todo, attempt)
    await _conditional_references(server, request, todo, attempt)
    attempt.refs |= {entry.index: entry.ref for entry in todo.of("PUT", "DELETE")}
    new = [one for one in todo.of("POST") if one.index not in attempt.refs]
    new = [one for one in new if attempt.owners.get(one.index, one.index) == one.index]
    _give_ids(server, [one for one in new if one.segments[0] == "Patient"], attempt)
    _rewrite(todo, attempt)
    _give_ids(server, [one for one in new if one.segments[0] != "Patient"], attempt)
    _rewrite(todo, attempt)
    return attempt


async def _conditional_creates(server: Server, request: Request, todo: plan.Plan, attempt: Attempt) -> None:
    first: dict[str, int] = {}
    for index, wanted in todo.creates.items():
        attempt.owners[index] = first.setdefault(wanted.key, index)
    lookups = (_only(server, request, todo, todo.creates[index]) for index in first.values())
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
    creates = {wanted.key for wanted in todo.creates.values()}
    asked = {text: one for text, one in todo.conditions.items() if one.criteria.key not in creates}
    lookups = (_only(server, request, todo, one.criteria) for one in asked.values())
    for (text, one), row in zip(asked.items(), await asyncio.gather(*lookups, return_exceptions=True), strict=True):
        if isinstance(row, errors.Stale) or row is None:
            count = "aucune ressource ne répond" if row is None else "plusieurs ressources répondent"
            raise errors.Stale(f"Référence conditionnelle {text[:100]} : {count}", at=one.at)
        if isinstance(row, BaseException):
            raise row
        attempt.conditions[text] = row.ref


async def _only(server: Server, request: Request, todo: plan.Plan, wanted: conditional.Criteria) -> Stored | None:
    """What the transaction itself deletes does not count: deletions come first."""
    rows = await conditional.matches(server, request.caller, wanted)
    rows = [row for row in rows if row.ref not in todo.deleted]
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
    keys = {wanted.key: index for index, wanted in todo.creates.items()}

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
        type, id = one.segments
        changes.append(Delete(type, id, write.if_match(one.request(request, inner))))
    for one in todo.of("POST"):
        is_new = one.index not in attempt.found and attempt.owners.get(one.index, one.index) == one.index
        attempt.status[one.index] = 201 if is_new else 200
        if is_new:
            type, _, id = attempt.refs[one.index].partition("/")
            changes.append(Create(type, id, one.resource or {}))
            if wanted := todo.creates.get(one.index):
                changes.append(Claim(todo.claims[wanted.key], type, id))
    puts = todo.of("PUT")
    looks = (_replacement(server, one.request(request, inner), one) for one in puts)
    for one, (change, status) in zip(puts, await asyncio.gather(*looks), strict=True):
        attempt.status[one.index] = status
        changes.append(change)
    return changes


async def _replacement(server: Server, request: Request, one: Entry) -> tuple[Change, int]:
    try:
        return await write.replacement(server, request, one.resource or {}, id=one.segments[1])
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
    server: Server, request: Request, one: Entry, done: tuple[Attempt, dict[str, Stored]], *, interact: bundle.Interact
) -> bytes:
    attempt, rows = done
    inner = one.request(request, bundle.preferences(request))
    if one.method in ("GET", "HEAD"):
        try:
            answer = await interact(server, inner)
        except errors.HubError as problem:
            if not rows:
                raise plan.at_entry(problem, one.index) from None
            return bundle.refused(problem, request.id)
        return bundle.answered(request.base, replace(answer, body=b"") if one.method == "HEAD" else answer)
    row = attempt.found.get(one.index) or rows.get(attempt.refs[one.index])
    if one.method == "DELETE" or row is None:
        return bundle.answered(request.base, Answer(204, stored=row))
    return bundle.answered(request.base, write.written(inner, row, attempt.status[one.index]))
