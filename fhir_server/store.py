"""How is the record read and written?

`read`, `search`, `history`, `commit` (R4 http.html), the same for every door, in front of one of two engines. A
commit is all or nothing: resource versions, index rows, events, outbox rows and journal entries in one database
transaction, durable before it returns. The write rules that the hub hands in run inside it, so no door can go around
them.

Whoever reads says who they are: rows that the caller may not see do not exist, in a read, a page, a total, a history.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, cast
from weakref import WeakValueDictionary

from common import clock, errors
from fhir_server import access, allowed, around, bodies, cursors, ids, index, presence, reindex, timeline
from fhir_server.access import Caller
from fhir_server.audit import trace
from fhir_server.audit.log import Log
from fhir_server.changes import Change, Create, Delete, Made, Resource, Share, Stored, Update
from fhir_server.commit import GivenIds, Indexer, Preparer, Valid, make
from fhir_server.commit import Rejected as Rejected
from fhir_server.commit import Validator as Validator
from fhir_server.conditions import Query
from fhir_server.engine import Engine
from fhir_server.engines.postgres import Postgres
from fhir_server.engines.sqlite import Sqlite
from fhir_server.folding import Plan, Ref, fold
from fhir_server.guard import Guard
from fhir_server.journal import Journal
from fhir_server.outbox import Outbox
from fhir_server.r4 import validate
from fhir_server.r4.load import Definitions
from fhir_server.rows import Event as Event
from fhir_server.rows import JournalEntry as JournalEntry
from fhir_server.rows import Moved, Page, Row, Write
from fhir_server.rows import Parked as Parked
from fhir_server.rows import Taken as Taken
from fhir_server.rows import Work as Work
from fhir_server.rules import Rule as Rule
from fhir_server.rules import View as View

_TRIES = 8
_NEWEST = 2**31 - 1  # no version is higher
_LETTERS: dict[type, str] = {Create: "c", Update: "u", Delete: "d", Share: "u"}

Listener = Callable[[list[Event]], None]


class Store:
    """The record. Make one with `Store.open`; it belongs to the event loop that opened it.

    `journal_*` are the functions of `journal.Journal`, `lease`, `extend`, `postpone`, `park`, `parked`, `waiting` and
    `wake` those of `outbox.Outbox`; `bulk` is what jobs need of the database, `notices` what is kept beside
    Subscriptions (`subscriptions.kept`), `make` what a body becomes as a new resource, for `Create.made`. With
    `base_elsewhere` another process makes the same (None: it cannot).
    """

    def __init__(
        self,
        engine: Engine,
        preparer: Preparer,
        *,
        definitions: Definitions,
        indexer: Indexer,
        given: GivenIds,
        rules: Sequence[Rule],
        now: clock.Clock,
        announce: frozenset[str],
        secret: bytes,
        make: Callable[[str, str, Resource], Made],
        base_elsewhere: str | None,
        traces: Log,
    ) -> None:
        self.definitions, self.now, self.traces = definitions, now, traces
        self.make = make
        self.base_elsewhere = base_elsewhere
        self._engine = engine
        self.bulk = engine.bulk
        self._closed = False
        self.notices = engine.notices
        self._preparer = preparer
        self.patient, self._masks = indexer.patient, indexer.patient_masks  # whose a body is, by its id
        self._given, self._rules, self._announce = given, rules, announce
        self._seal = cursors.Seal(secret)
        self._listeners: list[Listener] = []
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._writing: dict[asyncio.Task[None], int] = {}  # what is under way, and the moment that it carries
        guard = Guard(engine, lambda: self.now())
        self.sight, self.bits, self.shows, self.rows = guard.sight, guard.bits, guard.shows, guard.rows
        self._view = View(self)
        journal, outbox = Journal(engine, given.next, now), Outbox(engine, now)
        self.journal_keep, self.journal_find, self.journal_settle = journal.keep, journal.find, journal.settle
        self.journal_read, self.journal_list = journal.read, journal.list
        self.lease, self.postpone, self.park, self.parked = outbox.lease, outbox.postpone, outbox.park, outbox.parked
        self.waiting = outbox.waiting
        self.extend, self.wake, self._woken = outbox.extend, outbox.wake, outbox.woken
        engine.follow(outbox.woken, self._tell, announce)

    @classmethod
    async def open(
        cls,
        url: str | Path,
        definitions: Definitions,
        *,
        rules: Sequence[Rule] = (),
        clock: clock.Clock = clock.system,
        worker: int = 0,
        base: str = "",
        indexer: Indexer | None = None,
        validator: Validator | None = None,
        announce: frozenset[str] = frozenset({"Communication", "Task", "Consent", "CareTeam"}),
        generation: int = index.GENERATION,
        sealing: bytes = b"",
        heads: Path | None = None,
    ) -> Store:
        """A store over `url`: a path, `sqlite:///path` or `postgresql://…`, whose tables exist.

        `worker` (0 to 255) tells processes on one database apart; the next that is free is taken when another process
        has it. `base` is our own public FHIR address. `announce` are the types whose changes other processes hear of
        at once. `sealing` is the key of the traces, `heads` the folder for what tells their ends. Raises Unavailable.
        """
        base_elsewhere = base if indexer is None and validator is None and generation == index.GENERATION else None
        indexer = indexer or index.Indexer(definitions, base=base)
        validator = validator or validate.Validator(definitions)
        engine = await _opened(str(url), worker)
        maker = ids.Maker(engine.number.value, lambda: int(clock().timestamp() * 1000), after=engine.last_seq)
        engine.number.changed = maker.become
        given = GivenIds(maker)
        preparer = Preparer(indexer, validator, given, generation)
        secret = await engine.secret()
        return cls(
            engine,
            preparer,
            definitions=definitions,
            indexer=indexer,
            given=given,
            rules=rules,
            now=clock,
            announce=announce,
            secret=secret,
            make=partial(make, indexer=indexer, validator=validator),
            base_elsewhere=base_elsewhere,
            traces=Log(engine.traces, maker.next(), clock, secret=sealing or secret, heads=heads),
        )

    @property
    def worker(self) -> int:
        """The number of this process among those on the database; no other that runs has it."""
        return self._engine.number.value

    async def close(self) -> None:
        """What is being written is finished first. Closing again does nothing."""
        if self._writing:
            await asyncio.wait(self._writing)
        if not self._closed:
            self._closed = True
            await self.traces.close()
            await self._engine.close()

    def new_id(self, type: str, body: Resource | None = None) -> str:
        """An id for a resource to create; give the body, with its references final, when it may have a patient."""
        return self._given.new(type, self.patient(body) if body else None)

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Call back after each commit; the function returned ends it. The callback must not block or raise."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    # --- reading

    async def read(self, type: str, id: str, *, caller: Caller) -> Stored:
        """The current version. Raises NotFound, Gone."""
        access.may(caller, "r", type)
        found = await self._engine.read(type, id, self.sight(caller)) if presence.is_ref(type, id) else None
        return trace.given(caller, [presence.present(found, type, id)])[0]

    async def state(self, type: str, id: str, *, caller: Caller) -> Literal["there", "deleted", "unknown"]:
        """What the caller's memberships see there; a scope that only writes is enough to ask."""
        found = await self._engine.read(type, id, self.sight(caller)) if presence.is_ref(type, id) else None
        return "unknown" if found is None else "deleted" if found.method == "DELETE" else "there"

    async def vread(self, type: str, id: str, version: int, *, caller: Caller) -> Stored:
        """One version. Raises NotFound; Gone when it is the mark of a delete."""
        access.may(caller, "r", type)
        found: list[Stored] = []
        if presence.is_ref(type, id) and 0 < version < _NEWEST:
            found = await self._engine.versions(type, id, self.sight(caller), before=None, only=version, count=1)
        return trace.given(caller, [presence.present(found[0] if found else None, type, id)])[0]

    async def history(
        self, type: str, id: str, *, caller: Caller, count: int = 100, before: int | None = None
    ) -> list[Stored]:
        """Versions newest first, those below `before`; deletes included. Raises NotFound."""
        access.may(caller, "r", type)
        found: list[Stored] = []
        if presence.is_ref(type, id):
            limit = _NEWEST if before is None else min(before, _NEWEST)
            found = await self._engine.versions(type, id, self.sight(caller), before=limit, only=None, count=count)
            if not found and await self._engine.read(type, id, self.sight(caller)):
                return []
        if not found:
            raise presence.unknown(type, id)
        return trace.given(caller, found)

    async def past(self, asked: timeline.Asked, *, caller: Caller) -> timeline.Found:
        """One page of the history of several types. Raises Forbidden for a type that the caller may not read."""
        for type in asked.types:
            access.may(caller, "r", type)
        if asked.after is not None:
            found = await self._engine.past(asked, self.sight(caller))
            trace.given(caller, found.rows)
            return found
        now = clock.micros(self.now())
        mine = min(self._writing.values(), default=now)
        complete = min(mine, await self._engine.settled(now))  # before the page is read, not after
        found = await self._engine.past(asked, self.sight(caller))
        trace.given(caller, found.rows)
        return replace(found, complete=complete - complete % 1000)

    async def compartment(self, asked: around.Asked, *, caller: Caller) -> around.Found:
        """One page of a compartment: of its types, those that the caller may read."""
        types = tuple(type for type in asked.types if access.can(caller, "r", type))
        found = await self._engine.compartment(replace(asked, types=types), self.sight(caller))
        trace.given(caller, found.rows)
        return found

    async def search(self, query: Query, *, caller: Caller) -> Page:
        """One page. Without a sort: newest first.

        Raises Forbidden for a type that the caller may not search, Unreadable for a cursor that is not ours,
        Unavailable.
        """
        if query.after is not None:
            query = replace(query, after=self._seal.open(query.after))
        if caller.circles and access.reach(query.all_types) == "shared":
            query = replace(query, masks=self._masks(query.all_types))
        found = await self._engine.search(allowed.query(query, caller), self.sight(caller))
        trace.given(caller, found.rows)
        return found if found.after is None else replace(found, after=self._seal.close(found.after))

    async def owner(self, key: str) -> str | None:
        """The `Type/id` that holds a claim (`changes.Claim`), whoever asks; None when nobody does."""
        found = await self._engine.owner(key)
        rows = await self._engine.stored([found], None) if found else []
        return next((row.ref for row in rows if row.method != "DELETE"), None)

    async def many(self, refs: Iterable[str], *, caller: Caller) -> dict[str, Stored]:
        """The resources that are there and may be seen, by `Type/id`; the others are left out."""
        wanted = []
        for ref in dict.fromkeys(refs):
            type, _, id = ref.partition("/")
            if presence.is_ref(type, id) and access.can(caller, "r", type):
                wanted.append((type, id))
        found = await self._engine.stored(wanted, self.sight(caller)) if wanted else []
        return {one.ref: one for one in trace.given(caller, found) if one.method != "DELETE"}

    async def existing(self, refs: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Which of these (type, id) are there or were, whoever asks: for those who choose ids (a bulk import)."""
        wanted = [ref for ref in dict.fromkeys(refs) if presence.is_ref(*ref)]
        found = await self._engine.stored(wanted, None) if wanted else []
        return frozenset((one.type, one.id) for one in found)

    # --- writing

    async def is_outdated(self) -> bool:
        """Are there resources that an older program indexed? Searches may miss them until `reindex` has run."""
        return await reindex.is_needed(self._engine, self._preparer.generation)

    async def reindex(self, *, restful: bool = False) -> reindex.Made:
        """Index again what an older program indexed; `restful` leaves half of the time to others.

        Raises Unavailable; what was done until then stays done.
        """
        return await reindex.run(self._engine, self._preparer, restful=restful)

    async def commit(self, changes: Iterable[Change], *, caller: Caller, cause: str = "") -> list[Stored]:
        """Do all of it or nothing; one result for each Create, Update and Delete given, in order.

        An update that changes nothing gives the version that is there. Raises what the rules raise, Rejected, NotFound,
        Forbidden, Stale, Conflict (an id that is taken), Taken (a claim), Unavailable.
        """
        given = list(changes)
        for change in given:
            if letter := _LETTERS.get(type(change)):
                access.may(caller, letter, cast(Create, change).type)
        valid: Valid = {}
        self._preparer.check(given, valid)
        attempt = partial(self._attempt, given, caller, cause, valid)
        try:
            return await attempt()
        except Moved as moved:
            ref = moved.ref
        # Whoever loses once waits in line, so that many writers of one resource do not wear each other out.
        async with self._turns.setdefault(ref, asyncio.Lock()):
            for tried in range(1, _TRIES):
                try:
                    return await attempt()
                except Moved:
                    await asyncio.sleep(random.uniform(0, 0.002 * 2**tried))
        raise errors.Conflict("trop d'écritures simultanées sur la même ressource ; réessayez")

    async def _attempt(self, given: list[Change], caller: Caller, cause: str, valid: Valid) -> list[Stored]:
        plan = fold(await self._ruled(await self._visible(given, caller), caller), given)
        rows = await self._rows(plan, caller)
        opened = await self.traces.emergencies([caller], clock.micros(self.now()))
        prepared = self._preparer.prepare(plan, rows, caller, now=clock.micros(self.now()), valid=valid)
        write = prepared.write
        write.cause = cause
        write.announced = any(put.row.type in self._announce for put in write.puts)
        if write.puts:
            write.traces.append(self.traces.of_commit(write, caller, opened))
        if not write.is_empty:
            # A caller who goes away does not keep others from hearing what was committed.
            task = asyncio.ensure_future(self._write(write))
            self._writing[task] = prepared.now
            task.add_done_callback(self._writing.pop)
            await asyncio.shield(task)
        refs = [(one.type, one.id) for one in given if isinstance(one, (Create, Update, Delete))]
        # A delete of what the caller may not see ends as one of what was never there.
        return [prepared.results.get(ref) or Stored(*ref, 0, 0, b"", "DELETE") for ref in refs]

    async def _visible(self, given: list[Change], caller: Caller) -> list[Change]:
        """The changes without deletes of what the caller may not see: rules, which see everything, must not tell of it.

        Raises NotFound for an update of what is unseen, Gone for one of what the caller saw deleted.
        """
        if caller.memberships is None:
            return given
        wanted = {(one.type, one.id) for one in given if isinstance(one, (Update, Delete, Share))}
        created = {(one.type, one.id) for one in given if isinstance(one, Create)}
        rows = await self._engine.get(list(wanted - created), self.sight(caller)) if wanted - created else []
        seen = {(row.type, row.fid): row for row in rows}
        kept: list[Change] = []
        for change in given:
            if isinstance(change, (Update, Share)) and (change.type, change.id) not in created:
                row = seen.get((change.type, change.id))
                if row is None:
                    raise presence.unknown(change.type, change.id)
                if row.deleted:
                    raise presence.gone(change.type, change.id)
            if isinstance(change, Delete) and (change.type, change.id) not in seen:
                continue
            kept.append(change)
        return kept

    async def _ruled(self, given: list[Change], caller: Caller) -> list[Change]:
        changes = list(given)
        for rule in self._rules:
            if rule.of_people and caller.memberships is None:
                continue
            types = {one.type for one in changes if isinstance(one, (Create, Update, Delete))}
            if rule.types is None or rule.types & types:
                changes = await rule.run([_with_body(one) for one in changes], caller, self._view)
        return changes

    async def _rows(self, plan: Plan, caller: Caller) -> dict[Ref, Row]:
        """The rows to be changed: the caller's as the caller sees them, those of the rules as they are."""
        found: list[Row] = []
        for own, memberships in ((True, self.sight(caller)), (False, None)):
            refs = [ref for ref, one in plan.drafts.items() if one.kind != "create" and one.own is own]
            if refs:
                found += await self._engine.get(refs, memberships)
        return {(row.type, row.fid): row for row in found}

    async def _write(self, write: Write) -> None:
        await self._engine.write(write)
        self.traces.written(write.traces)
        for consumer in {one.consumer for one in write.outbox}:
            self._woken(consumer)
        if self._listeners and write.puts:
            self._tell([_event(put.row, put.seq) for put in write.puts])

    def _tell(self, events: list[Event]) -> None:
        for callback in list(self._listeners):
            callback(events)


async def _opened(url: str, worker: int) -> Engine:
    if url.startswith(("postgresql://", "postgres://")):
        return await Postgres.open(url, worker)
    return Sqlite.open(Path(url.removeprefix("sqlite:///")), worker)


def _with_body(change: Change) -> Change:
    """For who looks at bodies, and may change them: nothing is made yet."""
    if isinstance(change, Create) and change.made:
        return replace(change, body=bodies.decode(change.made.body), made=None)
    return change


def _event(row: Row, seq: int) -> Event:
    return Event(seq, row.type, row.fid, row.version, row.method, row.readers, row.patient, row.sharing, row.body)
