"""What must be true of a transaction before anything is looked up or written?

R4 http.html#trules: verbs, URLs and contents are checked entry by entry, the same identity may not come twice, and
every link is found that names another entry or a condition. All problems are reported together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from common import errors
from fhir_server import access, bundle, conditional, exchange, links, patch, write
from fhir_server.bundle import Entry
from fhir_server.exchange import Request, Server

_RIGHTS = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A conditional reference and the place that first used it."""

    criteria: conditional.Criteria
    at: str


@dataclass(slots=True)
class Plan:
    """A checked transaction.

    `by_url` finds an entry by what links may call it. `links` are the places that name another entry or a condition,
    with the entry they stand in. `creates` are the conditional creates by entry index, `finds` the criteria in the URL
    of an update, patch or delete, `patches` what the patches say. `conditions` are the conditional references by their
    text, `claims` what is claimed for each key of the creates and conditional updates. `deleted` is what goes away, as
    `Type/id`.
    """

    entries: list[Entry]
    by_url: dict[str, Entry] = field(default_factory=dict)
    links: list[tuple[Entry, links.Link]] = field(default_factory=list)
    creates: dict[int, conditional.Criteria] = field(default_factory=dict)
    finds: dict[int, conditional.Criteria] = field(default_factory=dict)
    patches: dict[int, patch.Patch] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    def of(self, *methods: str) -> list[Entry]:
        """The entries with one of these methods, in order."""
        return [one for one in self.entries if one.method in methods]

    def makers(self) -> dict[str, int]:
        """Which entry makes, if nobody has yet, what meets some criteria, by their key."""
        updates = {self.finds[one.index].key: one.index for one in self.of("PUT") if one.index in self.finds}
        return {wanted.key: index for index, wanted in self.creates.items()} | updates

    def target(self, entry: Entry, link: str) -> Entry | None:
        """The entry that a link inside `entry` names (bundle.html#references), None for the world outside."""
        root = _root(entry)
        return (self.by_url.get(root + link) if root else None) or self.by_url.get(link)


def make(server: Server, request: Request, raw: Sequence[Any]) -> Plan:
    """Check the whole bundle. Raises Unreadable with every problem found, or Forbidden."""
    plan = Plan([])
    issues: list[errors.Issue] = []
    seen: set[str] = set()
    for index, one in enumerate(raw):
        try:
            entry = bundle.entry(one, index, request.base)
            _check(server, request, entry, plan)
            _refuse_twice(entry, plan, seen)
            plan.entries.append(entry)
        except errors.Forbidden as problem:
            raise at_entry(problem, index) from None
        except errors.HubError as problem:
            issues += at_entry(problem, index).issues
    if not issues:
        plan.by_url = _names(plan.entries)
        issues = _find_links(server, request, plan)
    if issues:
        raise errors.Unreadable(issues[0].text, at=issues[0].expression, issues=tuple(issues))
    return plan


def at_entry(problem: errors.HubError, index: int) -> errors.HubError:
    """The same refusal, saying in which entry."""
    problem.issues = tuple(replace(one, expression=inside(index, one.expression)) for one in problem.issues)
    return problem


def inside(index: int, expression: str) -> str:
    """`Patient.name` of the resource in entry 3 is `Bundle.entry[3].resource.name` of the bundle."""
    at = f"Bundle.entry[{index}]"
    if expression.startswith("Bundle.entry["):
        return expression
    if not expression or expression.startswith("http."):
        return at
    _, dot, rest = expression.partition(".")
    return f"{at}.resource{dot}{rest}"


def _check(server: Server, request: Request, entry: Entry, plan: Plan) -> None:
    if entry.method in ("GET", "HEAD"):
        return  # whatever can be asked may be asked here: `transaction.run` tries it first
    type, url = entry.segments[0] if entry.segments else "", f"{entry.at}.request.url"
    if type not in server.types:
        raise errors.Unreadable(f"request.url : type inconnu « {type[:60]} »", at=url)
    if len(entry.segments) > (1 if entry.method == "POST" else 2):
        shown = f"{entry.method} {'/'.join(entry.segments)[:80]}"
        raise exchange.unavailable(f"{shown} : pas disponible dans une transaction", at=url)
    access.may(request.caller, _RIGHTS[entry.method], type)
    _check_condition(server, request, entry, plan)
    if entry.method == "DELETE":
        if entry.index not in plan.finds:
            plan.deleted.add(entry.ref)
        return
    if entry.resource is None:
        raise errors.Unreadable("resource est obligatoire pour POST, PUT et PATCH", at=f"{entry.at}.resource")
    if entry.method == "PATCH":
        patch.allowed(request.caller, type)
        plan.patches[entry.index] = patch.read(server, entry.request(request, request.prefer))
        return
    write.content(server, entry.request(request, request.prefer), type)
    if entry.method == "PUT" and entry.index not in plan.finds:
        write.refuse_other_id(entry.resource, type, entry.segments[1])


def _check_condition(server: Server, request: Request, entry: Entry, plan: Plan) -> None:
    """What the entry looks for: in its URL when that names no id, or in `ifNoneExist`."""
    type, url = entry.segments[0], f"{entry.at}.request.url"
    if entry.method == "POST":
        if b"if-none-exist" not in entry.headers:
            return
        text, at = entry.headers[b"if-none-exist"].decode(), f"{entry.at}.request.ifNoneExist"
        wanted = plan.creates[entry.index] = conditional.criteria(server, request, type, text, at=at)
    elif len(entry.segments) == 2:
        return
    elif entry.method == "DELETE" and not entry.params:
        raise errors.Unreadable("Suppression sans critère : donnez un id ou une condition", at=url)
    else:
        wanted = plan.finds[entry.index] = conditional.of_params(server, request, type, entry.params, at=url)
    if entry.method in ("POST", "PUT"):
        plan.claims[wanted.key] = wanted.key


def _refuse_twice(entry: Entry, plan: Plan, seen: set[str]) -> None:
    """R4 http.html#trules: no identity twice. The same criteria find the same; only creates may share theirs."""
    names = {entry.full_url} - {""}
    if find := plan.finds.get(entry.index):
        names |= {find.key, f"new|{find.key}"}
    elif entry.method in ("PUT", "PATCH", "DELETE"):
        names.add(entry.ref)
    elif create := plan.creates.get(entry.index):
        if create.key in seen:
            raise errors.Unreadable("ifNoneExist : les critères d'une autre entrée, qui écrit aussi", at=entry.at)
        seen.add(f"new|{create.key}")
    if twice := names & seen:
        shown = "mêmes critères" if find else min(twice)[:100]
        raise errors.Unreadable(f"{shown} : deux fois dans la même transaction", at=entry.at)
    seen |= names - {f"new|{find.key}"} if find else names


def _names(entries: list[Entry]) -> dict[str, Entry]:
    """What links may call an entry: its fullUrl, else the `Type/id` at the end of that, or of the resource as sent.

    A short name that two entries could have means neither.
    """
    names: dict[str, Entry] = {}
    short: dict[str, Entry | None] = {}
    for one in entries:
        if one.resource is None or one.method not in ("POST", "PUT", "PATCH"):
            continue
        if one.full_url:
            names[one.full_url] = one
        if one.method == "PATCH":
            continue
        type = one.segments[0]
        tail = "/".join(one.full_url.rsplit("/", 2)[-2:])
        own = f"{type}/{one.resource.get('id', '')}"
        name = tail if tail.startswith(f"{type}/") else own
        short[name] = one if short.get(name, one) is one else None
    for name, entry in short.items():
        if entry is not None:
            names.setdefault(name, entry)
    return names


def _find_links(server: Server, request: Request, plan: Plan) -> list[errors.Issue]:
    issues: list[errors.Issue] = []
    for entry in plan.entries:
        for link in _links(server, plan, entry):
            if link.kind == "reference" and "?" in link.written:
                try:
                    _keep_condition(server, request, plan, (entry, link))
                except errors.Unreadable as problem:
                    issues += problem.issues
            elif any(plan.target(entry, target) for target in link.targets()):
                plan.links.append((entry, link))
    return issues


def _links(server: Server, plan: Plan, entry: Entry) -> Iterable[links.Link]:
    """The links that an entry writes."""
    if entry.index in plan.patches:
        return plan.patches[entry.index].links(server.walker)
    return server.walker.links(entry.resource) if entry.resource and entry.method in ("POST", "PUT") else ()


def _keep_condition(server: Server, request: Request, plan: Plan, place: tuple[Entry, links.Link]) -> None:
    entry, link = place
    type = link.written.partition("?")[0]
    if type not in server.types:
        return
    plan.links.append(place)
    if link.written not in plan.conditions:
        at = f"{entry.at}.resource"
        wanted = conditional.criteria(server, request, type, link.written, at=at)
        plan.conditions[link.written] = Condition(wanted, at)


def _root(entry: Entry) -> str:
    """What relative links of an entry are relative to: `http://x/` of `http://x/Patient/1`, "" for a urn."""
    return entry.full_url.rsplit("/", 2)[0] + "/" if entry.full_url.count("/") > 2 else ""
