"""What does the record hold about one patient, or about one encounter?

`$everything`, R4 patient-operation-everything.html and encounter-operation-everything.html. The focal resource first,
then what is in its compartment, oldest entry first; each page brings along what its resources refer to outside of the
compartment (practitioners, organizations, medications, contents of documents), once: the next link remembers what has
been sent. Everything is looked up with the caller's rights.

Not at type level: the record of all patients is an export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from common import errors
from fhir_server import access, around, dates, entries, ids, index, operations, outcome, page, subset
from fhir_server.changes import Resource, Stored
from fhir_server.exchange import Answer, Params
from fhir_server.operations import OperationRequest
from fhir_server.r4.extract import local
from fhir_server.r4.search_leaves import relative
from fhir_server.standard import parameters

DEFAULT_COUNT = MOST_COUNT = 1000
MOST_ROUNDS = 3  # a role, its practitioner and structure, what these belong to

_PATIENT = ("start", "end", "_since", "_type", "_elements", "_summary", "_count", "_after")
_ENCOUNTER = _PATIENT[2:]

_decode = msgspec.json.Decoder().decode  # only references are looked at


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for; `types` are all types unless some were named."""

    types: tuple[str, ...]
    count: int
    place: around.Place
    span: dates.Span | None
    since: int | None
    shown: Params
    cut: subset.Subset | None

    def shape(self, row: Stored) -> Stored:
        """What is wanted of a resource; what it refers to is followed from the whole."""
        return self.cut.row(row) if self.cut else row


async def run(call: OperationRequest) -> Answer:
    """`GET` or `POST [base]/Patient/id/$everything`, or of an Encounter.

    Raises NotFound, Gone, Forbidden; Unreadable for a parameter that is not understood.
    """
    assert call.type is not None
    assert call.id is not None
    wish = _wish(call, _PATIENT if call.type == "Patient" else _ENCOUNTER)
    focal = await call.store.read(call.type, call.id, caller=call.caller)
    first = [focal] if not wish.place.after and call.type in wish.types and focal.updated >= (wish.since or 0) else []
    found = await call.store.compartment(_asked(call, wish), caller=call.caller)
    matches = first + [row for row in found.rows if row.ref != focal.ref]
    place = around.Place(found.after or 0, list(wish.place.sent))
    also, is_cut = await _referenced(call, wish, [focal, *matches] if first else matches, place)
    rows = [entries.found(call.base, wish.shape(row), "match") for row in matches]
    rows += [entries.found(call.base, wish.shape(row), "include") for row in also]
    if is_cut:
        text = f"Ressources jointes limitées à {page.MOST_BYTES >> 20} Mio par page : réduisez _count"
        rows.append(entries.remark(outcome.encode(outcome.resource([errors.Issue(text, "", "too-costly", "warning")]))))
    total = len(matches) if found.after is None and not wish.place.after else None
    return Answer(200, entries.bundle("searchset", _links(call, wish, place, found.after), rows, total=total))


def _wish(call: OperationRequest, known: tuple[str, ...]) -> _Wish:
    values = parameters.inputs(call, known)
    shown = [(name, str(one)) for name in known if name not in ("_count", "_after") for one in values.get(name, ())]
    named, start, end, since, after, asked, cut = parameters.together(
        partial(_types, call, values),
        *(partial(parameters.span, values, name) for name in ("start", "end", "_since")),
        partial(parameters.text, values, "_after"),
        partial(parameters.number, values, "_count"),
        partial(subset.wanted, call.server.subsets, call.http, shown, call.server.types),
    )
    count = min(asked or DEFAULT_COUNT, MOST_COUNT)
    return _Wish(
        types=tuple(named) or tuple(sorted(call.server.types)),
        count=count,
        place=around.decode(after) if after else around.Place(),
        span=(start[0] if start else dates.BEGINNING, end[1] if end else dates.END) if start or end else None,
        since=since[0] if since else None,
        cut=cut,
        shown=[*shown, ("_count", str(count)), *call.http.shown],
    )


def _types(call: OperationRequest, values: parameters.Values) -> list[str]:
    named = [one for value in values.get("_type", ()) for one in str(value).split(",") if one]
    if unknown := [one for one in named if one not in call.server.types]:
        raise errors.Unreadable(f"_type : type inconnu « {unknown[0][:60]} »", at="http._type")
    return named


def _asked(call: OperationRequest, wish: _Wish) -> around.Asked:
    tables, ref = call.server.definitions.search, f"{call.type}/{call.id}"
    inside = [type for type in wish.types if tables.compartment(str(call.type), type)]
    codes = ((type, code) for type in inside for code in tables.compartment(str(call.type), type) if code != "{def}")
    dated = (tables.param(type, code) for type in inside for code in tables.sort_date(type))
    return around.Asked(
        keys=tuple(index.reference_key(type, code, ref) for type, code in codes),
        types=tuple(inside),
        count=wish.count,
        room=page.MOST_BYTES,
        dated=tuple(param.number for param in dated if param),
        span=wish.span,
        since=wish.since,
        after=wish.place.after,
    )


def _links(call: OperationRequest, wish: _Wish, place: around.Place, after: int | None) -> list[entries.Link]:
    address = f"{call.base}/{call.type}/{call.id}/$everything"
    mine = [("_after", wish.place.encode())] if wish.place.after else []
    links = [("self", entries.link(address, wish.shown + mine))]
    if after is not None:
        links.append(("next", entries.link(address, [*wish.shown, ("_after", place.encode())])))
    return links


# ---- what is referred to --------------------------------------------------------------------------------------------


async def _referenced(
    call: OperationRequest, wish: _Wish, rows: list[Stored], place: around.Place
) -> tuple[list[Stored], bool]:
    """What the rows refer to and what that refers to, as far as the compartment does not give it; was it too much?"""
    found: list[Stored] = []
    seen = {row.ref for row in rows} | {f"{call.type}/{call.id}"}
    sent = set(place.sent)
    fresh = rows
    for _ in range(MOST_ROUNDS):
        refs = [ref for ref in local(_targets(call, fresh)) if ref not in seen and ids.hash64(ref) not in sent]
        refs = [ref for ref in refs if ref.partition("/")[0] in wish.types and _may(call, ref)]
        seen.update(refs)
        fresh = []
        at_once = min((page.step(ref.partition("/")[0]) for ref in refs), default=1)
        for start in range(0, len(refs), at_once):
            some = refs[start : start + at_once]
            stored = await call.store.many(some, caller=call.caller)
            there = (stored[ref] for ref in some if ref in stored)  # in the order in which they are named
            fresh += [row for row in there if not _comes_by_itself(call, row)]
            if page.fitting(found + fresh) < len(found) + len(fresh):
                return (found + fresh)[: page.fitting(found + fresh)], True
        found += fresh
        place.sent += [ids.hash64(row.ref) for row in fresh]
    return found, False


def _targets(call: OperationRequest, rows: Iterable[Stored]) -> Iterator[str]:
    """References, and addresses of contents (`Attachment.url`)."""
    for row in rows:
        for link in call.server.walker.links(_decode(row.body)):
            target = relative(link.written, call.base)
            if link.kind == "reference" or (link.kind == "uri" and target.startswith("Binary/")):
                yield target


def _comes_by_itself(call: OperationRequest, row: Stored) -> bool:
    """Is it in the compartment, or in that of another patient? The latter is nothing of this one."""
    codes = call.server.definitions.search.compartment(str(call.type), row.type)
    resource: Resource = _decode(row.body)
    mine = f"{call.type}/{call.id}"
    if any(mine in call.server.indexer.references(resource, code) for code in codes if code != "{def}"):
        return True
    if call.type != "Patient":
        return False
    patient = row.id if row.type == "Patient" else call.server.indexer.patient(resource)
    return patient is not None and patient != call.id


def _may(call: OperationRequest, ref: str) -> bool:
    return access.can(call.caller, "r", ref.partition("/")[0])


_DEFINITION = "http://hl7.org/fhir/OperationDefinition/{}-everything"
OPERATIONS = tuple(
    operations.Operation("instance", type, "everything", run, definition=_DEFINITION.format(type))
    for type in ("Patient", "Encounter")
)
