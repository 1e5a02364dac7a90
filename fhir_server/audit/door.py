"""How are traces asked for? (ITI-81, fhir-profiles "Traces")

`GET [base]/AuditEvent?date=ge…&patient=…` renders the rows of the log, with what others sent beside them (ITI-20); a
search without a date is refused. A person finds the traces of a patient whom they may see now, and their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common import errors
from fhir_server import bodies, dates, entries, exchange, index, keys, media, presence, query, timeline
from fhir_server.access import Caller
from fhir_server.audit import events, shown, trace
from fhir_server.audit.trace import Kept
from fhir_server.exchange import Answer, Params, Request, Server

Resource = dict[str, Any]
_MOST, _USUAL = 200, 50
_AT_ONCE = 500
_BOUNDS = frozenset({"eq", "ge", "gt", "sa", "le", "lt", "eb"})
_SIMPLE = ("agent", "type", "subtype", "action", "outcome", "agent-name", "entity", "site", "_id")
_TOLD = frozenset({*_SIMPLE, "date", "patient", "_count", "_after", "_sort", "_total"})
# What no row has: only what others sent can be meant.
_FOREIGN = frozenset({"address", "agent-role", "altid", "entity-name", "entity-type", "policy", "source"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which traces: of a key (None: all), in a span of microseconds, that meet all the simple values.

    `patient` is the one whose traces are asked for (`Patient/x`), when it is one's.
    """

    key: int | None
    patient: str
    span: tuple[int, int]
    values: tuple[tuple[str, str], ...]
    count: int
    after: timeline.Key | None


async def search(server: Server, request: Request, params: Params) -> Answer | None:
    """A page of AuditEvents, newest first; None when only what others sent is searched (`remark` says when to tell).

    Raises Unreadable without a date, Forbidden for the traces of others.
    """
    if not any(name == "date" for name, _ in params):
        raise errors.Unreadable("date : obligatoire pour les traces, par exemple date=ge2026-01-14", at="http.date")
    if any(name not in _TOLD for name, _ in params):
        return None
    asked = await _asked(server, request, params)
    found, after = await _page(server, asked) if asked else ([], None)
    if asked and asked.patient:
        found = await shown.about(server.store.traces.kept, found, [asked.patient], request.caller)
    rendered = [events.audit_event(one) for one in found]
    rendered += await _sent(server, request, params) if asked and not asked.after else []
    place = f"{request.base}/AuditEvent"
    links = [("self", entries.link(place, params))]
    if after is not None:
        rest = [pair for pair in params if pair[0] != "_after"]
        links.append(("next", entries.link(place, [*rest, ("_after", after)])))
    return Answer(200, entries.bundle("searchset", links, [entry(request, one) for one in rendered]))


def refuse_includes(type: str, params: Params) -> None:
    """Rows are no resources that includes could follow. Raises Unreadable, rather than leave them out unsaid."""
    for name, value in params:
        code = name.partition(":")[0]
        if code in ("_include", "_revinclude") and (type == "AuditEvent" or value.startswith("AuditEvent:")):
            text = (
                f"{code} : les traces ne s'incluent pas ; cherchez AuditEvent par patient, entity ou agent, et par date"
            )
            raise exchange.unavailable(text, at=f"http.{name}")


def remark(params: Params) -> str:
    """What is to be said of a search that went only over what others sent, though rows might have met it."""
    names = sorted({name for name, _ in params if name not in _TOLD and name not in _FOREIGN})
    text = f"{', '.join(one[:60] for one in names)} : cherché dans les AuditEvent reçus, non dans les traces du hub"
    return text if names else ""


async def read(server: Server, request: Request, place: tuple[int, int]) -> Answer:
    """One AuditEvent that is a trace. Raises NotFound for that of somebody else."""
    chain, n = place
    rows = await server.store.traces.kept.rows(chain, [n])
    one = trace.kept(chain, n, rows[0].body) if rows else None
    if one is not None and not shown.is_own(request.caller, one):
        seen = await server.store.many(await shown.patients(server, one), caller=request.caller)
        (one,) = await shown.about(server.store.traces.kept, [one], seen, request.caller) if seen else [None]
    if one is None:
        raise presence.unknown("AuditEvent", request.segments[1])
    return Answer(200, media.encode(events.audit_event(one)))


async def of_patient(server: Server, patient: str, caller: Caller, *, since: int, count: int) -> list[Kept]:
    """Who did what with the data of `Patient/x`, newest first, as far as the caller may know."""
    found = await rows(server, index.address(patient), (since, 2**62), count=count)
    return await shown.about(server.store.traces.kept, found, [patient], caller)


async def _asked(server: Server, request: Request, params: Params) -> _Asked | None:
    """What a search means; None when the caller may find nothing by it."""
    given: dict[str, list[str]] = {}
    for name, value in params:
        given.setdefault(name, []).append(value)
    of_date = span(given.get("date", []), at="date")
    key, patient = await _key(server, request.caller, given)
    if key == 0:
        return None
    values = tuple((name, value) for name in _SIMPLE for value in given.get(name, ()))
    count = exchange.whole_number(given.get("_count", [str(_USUAL)])[0])
    after = timeline.decode(given["_after"][0]) if "_after" in given else None
    return _Asked(key, patient, of_date, values, min(_USUAL if count is None else count, _MOST), after)


def span(bounds: list[str], *, at: str) -> tuple[int, int]:
    """The microseconds that meet all these bounds of a date. Raises Unreadable for what is none."""
    lo, hi = dates.BEGINNING, dates.END
    for one in bounds:
        prefix, text = (one[:2], one[2:]) if one[:2].isalpha() else ("eq", one)
        try:
            if prefix not in _BOUNDS:
                raise ValueError(prefix)
            first, last = dates.asked(text)
        except ValueError:
            text = f"{at} : {one[:40]} n'est pas une date, seule ou après ge, gt, le, lt, sa ou eb"
            raise errors.Unreadable(text, at=f"http.{at}") from None
        if prefix in ("ge", "gt", "sa", "eq"):
            lo = max(lo, first if prefix in ("ge", "eq") else last + 1)
        if prefix in ("le", "lt", "eb", "eq"):
            hi = min(hi, last if prefix in ("le", "eq") else first - 1)
    return lo, hi


async def _key(server: Server, caller: Caller, given: dict[str, list[str]]) -> tuple[int | None, str]:
    """By what the rows are found: None for all, 0 when the caller may not know; and which patient that is."""
    patient = next(iter(given.get("patient", ())), "")
    ref = f"Patient/{patient.removeprefix('Patient/')}" if patient else next(iter(given.get("entity", ())), "")
    if ref:
        is_known = caller.memberships is None or ref in await server.store.many([ref], caller=caller)
        key, of = await _of(server, ref) if is_known else (0, "")
        return (key, of) if caller.patient in ("", of) else (0, "")
    if caller.patient:
        return await _of(server, caller.patient)
    agent = next(iter(given.get("agent", ())), "")
    if caller.memberships is None:
        return trace.agent_key(agent) if agent and "," not in agent else None, ""
    me = caller.delegate or caller.actor
    if agent and agent != me:
        raise errors.Forbidden("les traces d'une autre personne se cherchent par patient", at="http.agent")
    return trace.agent_key(me or caller.client or ""), ""


async def _of(server: Server, ref: str) -> tuple[int, str]:
    """A patient by its own key, something of a patient by that of the patient, the rest by who wrote it."""
    if ref.startswith("Patient/"):
        return index.address(ref), ref
    row = (await server.store.rows([ref])).get(ref)
    id = server.store.patient(bodies.decode(row.body)) if row and row.patient and row.body else None
    return (index.address(f"Patient/{id}"), f"Patient/{id}") if id else (keys.key(ref), "")


async def _page(server: Server, asked: _Asked) -> tuple[list[Kept], str | None]:
    found: list[Kept] = []
    before: timeline.Key | None = asked.after
    while len(found) <= asked.count:
        some = await rows(server, asked.key, asked.span, before=before)
        found += [one for one in some if _meets(one, asked.values)]
        if len(some) < _AT_ONCE:
            break
        before = (some[-1].values["at"], some[-1].chain, some[-1].n)
    shown = found[: asked.count]
    if len(found) <= asked.count or not shown:
        return shown, None
    return shown, timeline.encode((shown[-1].values["at"], shown[-1].chain, shown[-1].n))


async def rows(
    server: Server, key: int | None, span: tuple[int, int], *, before: timeline.Key | None = None, count: int = _AT_ONCE
) -> list[Kept]:
    """The traces of a key (None: all) in a span of microseconds, newest first, after a place."""
    found = await server.store.traces.kept.found(key, span, before=before, count=count)
    return [trace.kept(chain, n, body) for _, chain, n, body in found]


def _meets(one: Kept, values: tuple[tuple[str, str], ...]) -> bool:
    if not values:
        return True
    event = events.audit_event(one)
    said = {
        "type": "rest",
        "subtype": event.get("subtype", [{"code": ""}])[0]["code"],
        "action": event["action"],
        "outcome": event["outcome"],
        "site": event["source"]["site"],
        "_id": event["id"],
    }
    name = str(one.values["name"]).casefold()
    for param, value in values:
        asked = [part.rpartition("|")[2] for part in value.split(",")]
        if param == "entity":
            if not any(name == value or name.startswith(f"{value}/_history/") for name in one.values["given"]):
                return False
        elif param == "agent":
            if not {one.values["actor"], one.values["client"]}.intersection(value.split(",")):
                return False
        elif param == "agent-name":
            if not any(name.startswith(part.casefold()) or f" {part.casefold()}" in name for part in asked):
                return False
        elif said[param] not in asked:
            return False
    return True


async def _sent(server: Server, request: Request, params: Params) -> list[Resource]:
    """What others sent as AuditEvent, by the same parameters."""
    store = server.store
    mine = [pair for pair in params if pair[0] not in ("_after", "_count", "_total", "_sort")]
    asked = query.parse("AuditEvent", [*mine, ("_count", str(_MOST))], store.definitions.search, now=store.now())
    page = await store.search(asked.query, caller=request.caller)
    return [media.read_json(row.body) for row in page.rows]


def entry(request: Request, resource: Resource, mode: str = "match") -> bytes:
    """What was rendered, as an entry of a searchset."""
    full = f"{request.base}/{resource['resourceType']}/{resource['id']}"
    return media.encode({"fullUrl": full, "resource": resource, "search": {"mode": mode}})
