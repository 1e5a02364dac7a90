"""How do the drafts of one commit become the rows to write?

Validated, indexed, numbered, encoded. Pure but for the numbers: everything that had to be read comes in as rows,
nothing is written here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Protocol

from common import clock, errors
from fhir_server import access, bodies, ids, index
from fhir_server.access import Caller
from fhir_server.changes import Change, Create, Made, Resource, Settle, Stored, Update
from fhir_server.conditions import Rows
from fhir_server.folding import Draft, Plan, Ref
from fhir_server.rows import Moved, OutboxRow, Put, Row, Settled, Shared, Write, unknown
from fhir_server.tables import NO_DATE

# Bodies that passed validation, by identity, with the resources that they become: these are made and checked once, also
# when the commit is tried again.
Valid = dict[int, tuple[Resource, Resource]]
_NO_ROWS = Rows((), (), (), (), None, None)
_MILLISECOND = 1000
_REMEMBERED = 16_384


class Indexer(Protocol):
    """`index.Indexer`."""

    def rows(self, resource: Resource) -> Rows:
        """Its index rows."""

    def patient(self, resource: Resource) -> str | None:
        """The id of the patient in whose compartment it is."""

    def patient_masks(self, types: tuple[str, ...]) -> tuple[int, ...]:
        """By which references resources of these types say whose they are."""


class Validator(Protocol):
    """`r4.validate.Validator`."""

    def check(self, resource: Resource) -> list[errors.Issue]:
        """Every problem, none when it is valid."""


class Rejected(errors.Invalid):
    """Bodies that break rules: `issues` of all of them, `by_ref` ("Type/id") tells whose."""

    def __init__(self, by_ref: dict[str, tuple[errors.Issue, ...]]) -> None:
        issues = tuple(issue for some in by_ref.values() for issue in some)
        super().__init__("ressource non valide", issues=issues)
        self.by_ref = by_ref


@dataclass(slots=True)
class Prepared:
    """The rows to write at `now` (as lastUpdated says it), and what the caller will get for each resource."""

    write: Write
    now: int
    valid: Valid
    patient: int | None = None  # the only one whose resources the caller may write
    results: dict[Ref, Stored] = field(default_factory=dict)
    problems: dict[str, tuple[errors.Issue, ...]] = field(default_factory=dict)


class GivenIds:
    """Makes numbers and ids, and remembers the ids it gave last: another one was chosen by a client."""

    def __init__(self, numbers: ids.Maker) -> None:
        self.next = numbers.next
        self._ids: OrderedDict[str, object] = OrderedDict()

    def new(self, type: str, patient: str | None) -> str:
        """An id for a resource of this type, of this patient if any."""
        id = ids.fhir_id(self.next(), type, patient)
        self._ids[id] = None
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)
        return id

    def take(self, id: str) -> bool:
        """Was it surely given here, and not used yet?"""
        return self._ids.pop(id, self) is None


class Preparer:
    """Turns plans into rows: validates, indexes, numbers, encodes."""

    def __init__(self, indexer: Indexer, validator: Validator, given: GivenIds, generation: int) -> None:
        self._indexer = indexer
        self._validator = validator
        self._given = given
        self._next = given.next
        self.generation = generation

    def check(self, changes: Iterable[Change], valid: Valid) -> None:
        """What the caller wrote, before any rule looks at it. Raises Rejected with every problem of every body."""
        problems: dict[str, tuple[errors.Issue, ...]] = {}
        for one in changes:
            if isinstance(one, Update) or (isinstance(one, Create) and one.made is None):
                resource = bodies.final(one.type, one.id, one.body, version=1, updated=0)
                if found := self._validator.check(resource):
                    problems[f"{one.type}/{one.id}"] = tuple(found)
                valid[id(one.body)] = one.body, resource
        if problems:
            raise Rejected(problems)

    def prepare(self, plan: Plan, rows: dict[Ref, Row], caller: Caller, *, now: int, valid: Valid) -> Prepared:
        """The rows of a plan at the moment `now` (microseconds), given the stored `rows` of what it changes.

        Raises Rejected with every problem of every body, NotFound, Stale; Moved when a rule saw a version that has
        passed.
        """
        only = index.address(caller.patient) if caller.patient else None
        done = Prepared(Write(actor=caller.actor or caller.client or ""), now - now % _MILLISECOND, valid, only)
        for ref, draft in plan.drafts.items():
            old = _checked(draft, rows.get(ref))
            if draft.kind == "delete":
                self._delete(draft, old, done)
            elif draft.kind == "share":
                _share(draft, old, done)
            elif draft.kind == "create":
                author = caller if draft.own else access.SYSTEM
                self._put(draft, None, access.readers_of(draft.type, author, draft.readers), done)
            else:
                self._update(draft, old, done)
        if done.problems:
            raise Rejected(done.problems)
        self._rest(plan, now, done.write)
        return done

    def _update(self, draft: Draft, old: Row | None, done: Prepared) -> None:
        if old is None:
            raise errors.NotFound(f"{draft.ref} n'existe pas")
        same = self._final(draft, old.version, old.updated, done)
        if same is not None and not old.deleted and bodies.same(old.body, same):
            _share(draft, old, done)
        else:
            self._put(draft, old, old.readers | {access.key(one) for one in draft.readers}, done)

    def _put(self, draft: Draft, old: Row | None, readers: frozenset[int], done: Prepared) -> None:
        version, updated = _following(old, done)
        if draft.made and old is None:
            found, body = draft.made.index, bodies.dated(draft.made.body, updated)
        else:
            resource = self._final(draft, version, updated, done)
            if resource is None:
                return
            found, body = _clean(self._indexer.rows(resource)), bodies.encode(resource)
        patient, sharing = _under(draft, old, found)
        _confined(draft, patient, done)
        row = Row(
            part=ids.part_of(draft.type, draft.id, found.patient),
            rid=old.rid if old else self._next(),
            type=draft.type,
            fid=draft.id,
            version=version,
            updated=updated,
            deleted=False,
            sort_date=NO_DATE if found.sort_date is None else found.sort_date,
            method="PUT" if old else "POST",
            generation=self.generation,
            readers=readers,
            patient=patient,
            sharing=sharing,
            eq=found.eq,
            body=body,
        )
        chosen = old is None and not self._given.take(draft.id)
        before = cache(partial(self._before, old)) if old else unknown
        done.write.puts.append(Put(row, found, self._next(), old, before, chosen))
        done.results[draft.type, draft.id] = row.stored()

    def _final(self, draft: Draft, version: int, updated: int, done: Prepared) -> Resource | None:
        """The resource with this version, None when it breaks rules: they are told in `done`."""
        body = bodies.decode(draft.made.body) if draft.made else draft.body or {}
        known, resource = done.valid.get(id(body), (None, {}))
        if known is body and (resource["resourceType"], resource["id"]) == (draft.type, draft.id):
            bodies.stamp(resource, version=version, updated=updated)
            return resource
        resource = bodies.final(draft.type, draft.id, body, version=version, updated=updated)
        if problems := self._validator.check(resource):
            done.problems[draft.ref] = tuple(problems)
            return None
        done.valid[id(body)] = body, resource
        return resource

    def _before(self, old: Row) -> Rows | None:
        """The index rows of a version, unless an older program made them: those nobody knows any more."""
        if old.deleted or old.generation != self.generation:
            return None
        return _clean(self._indexer.rows(bodies.decode(old.body)))

    def _delete(self, draft: Draft, old: Row | None, done: Prepared) -> None:
        if old is None or old.deleted:
            # Never there, or not for this caller: the answer is the same.
            gone = old.stored() if old else Stored(draft.type, draft.id, 0, 0, b"", "DELETE")
            done.results[draft.type, draft.id] = gone
            return
        _confined(draft, old.patient, done)
        version, updated = _following(old, done)
        row = replace(old, version=version, updated=updated, deleted=True, method="DELETE", eq=(), body=b"")
        row = replace(row, generation=self.generation)
        done.write.puts.append(Put(row, _NO_ROWS, self._next(), old))
        done.results[draft.type, draft.id] = row.stored()

    def again(self, row: Row) -> Put:
        """The same version with the index rows that it is given now."""
        found = _clean(self._indexer.rows(bodies.decode(row.body)))
        date = NO_DATE if found.sort_date is None else found.sort_date
        patient, sharing = _under(Draft(row.type, row.fid, "update"), row, found)
        new = replace(row, generation=self.generation, sort_date=date, eq=found.eq, patient=patient, sharing=sharing)
        return Put(new, found, 0, row)

    def _rest(self, plan: Plan, now: int, write: Write) -> None:
        write.claims = list(plan.claims.values())
        write.finished = plan.finished
        write.subscribers = plan.subscribers
        write.settled = [settled(end, now) for end in plan.settled]
        for work in plan.work:
            # By its id alone: whoever enqueues, all work about one resource is in one lane and keeps its order.
            part = ids.guess_part(work.type, work.id)
            due = clock.micros(work.due) if work.due else now
            write.outbox.append(OutboxRow(part, ids.lane(part), self._next(), work.consumer, work.type, work.id, due))


def make(type: str, id: str, body: Resource, *, indexer: Indexer, validator: Validator) -> Made:
    """What a body of this type becomes as a new resource. Raises Invalid with every problem."""
    resource = bodies.final(type, id, body, version=1, updated=0)
    if problems := validator.check(resource):
        raise errors.Invalid("ressource non valide", issues=tuple(problems))
    return Made(bodies.encode(resource), _clean(indexer.rows(resource)))


def _clean(rows: Rows) -> Rows:
    """Without NUL, which JSON can write and PostgreSQL's texts cannot hold."""
    if not any("\0" in raw for _, _, raw in rows.strings):
        return rows
    strings = tuple((param, folded.replace("\0", ""), raw.replace("\0", "")) for param, folded, raw in rows.strings)
    return replace(rows, strings=strings)


def _following(old: Row | None, done: Prepared) -> tuple[int, int]:
    """The next version and its time, which rises whatever the clock says."""
    return (old.version + 1, max(done.now, old.updated + _MILLISECOND)) if old else (1, done.now)


def _checked(draft: Draft, old: Row | None) -> Row | None:
    """The row that the draft replaces, if it is still the version it was meant for."""
    if draft.version is None or draft.kind == "create" or old is None:
        return old
    if old.version == draft.version:
        return old
    if draft.exact:
        raise errors.Stale(f"{draft.ref} est à la version {old.version} ; relisez-la avant de modifier")
    raise Moved(draft.ref)


def _under(draft: Draft, old: Row | None, found: Rows) -> tuple[int, int]:
    """Whose the row is, and how it is shared. Raw content says neither: the document that cites it does."""
    if draft.under:
        return _whose(draft.under)
    if draft.type == "Binary" and old is not None and (old.patient or old.sharing):
        return old.patient, old.sharing
    patient = draft.ref if draft.type == "Patient" else f"Patient/{found.patient}" if found.patient else ""
    return index.address(patient) if patient else 0, found.sharing


def _confined(draft: Draft, patient: int, done: Prepared) -> None:
    """Raises Forbidden when the caller wrote something of another patient than the one that they may."""
    if draft.own and done.patient not in (None, patient):
        raise errors.Forbidden(f"{draft.ref} n'est pas du patient pour lequel ce logiciel a été ouvert")


def _whose(under: tuple[str, int]) -> tuple[int, int]:
    patient, sharing = under
    return index.address(patient) if patient else 0, sharing


def _share(draft: Draft, old: Row | None, done: Prepared) -> None:
    if old is None:
        raise errors.NotFound(f"{draft.ref} n'existe pas")
    readers = old.readers | {access.key(one) for one in draft.readers}
    under = _whose(draft.under) if draft.under else (old.patient, old.sharing)
    if readers != old.readers or under != (old.patient, old.sharing):
        done.write.shared.append(Shared(old, readers, *under))
    done.results[draft.type, draft.id] = old.stored()


def settled(end: Settle, now: int) -> Settled:
    """The row of a journal entry's end. Raises NotFound when the entry is not one of ours."""
    part, seq = entry_numbers(end.entry)
    return Settled(part, seq, end.state, end.answer, end.cause, now)


def entry_id(part: int, seq: int) -> str:
    """The id of a journal entry."""
    return f"{ids.encode(seq)}-{ids.encode(part)}"


def entry_numbers(entry: str) -> tuple[int, int]:
    """Its part and number. Raises NotFound when it is not one of ours."""
    if not ids.is_made_here(entry) or "-" not in entry:
        raise errors.NotFound("entrée de journal inconnue")
    seq, _, part = entry.partition("-")
    return ids.decode_number(part), ids.decode_number(seq)
