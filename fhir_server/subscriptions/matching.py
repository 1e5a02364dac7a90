"""Who is to hear of what was committed?

Follows the event log from a kept position. The Subscriptions are in memory, by the types they may hear of; a commit
that concerns none of them costs one look at the log. The criteria of each are a search on the changed resources with
the owner's rights, so that a notice exists only of what the owner may see. The notices and the position are written
together: a crash loses none and counts none twice.

A resource that changed again before its event was looked at is judged by the version of that event (`meeting.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from common import errors
from fhir_server import access, index
from fhir_server.changes import Resource
from fhir_server.conditions import Ids, Query
from fhir_server.store import Store
from fhir_server.subscriptions import meeting, owner, reading
from fhir_server.subscriptions.kept import Logged, Notice, Position, Subscriber
from fhir_server.subscriptions.reading import Wanted
from fhir_server.subscriptions.topics import METHODS
from fhir_server.subscriptions.writing import SERVER

AT_ONCE = 500
OWN = "Subscription"
# What a search of one type found in a stretch of the log, for whom.
_Known = dict[tuple[Query, access.Caller], set[str]]


@dataclass(slots=True)
class Live:
    """A Subscription that is served: what it wants, its state, whose rights, and the resource as it was read.

    `wanted` None: the server no longer understands it, `problem` says why.
    """

    state: Subscriber
    resource: Resource
    wanted: Wanted | None
    caller: access.Caller
    problem: str = ""

    @property
    def counts(self) -> bool:
        """Are events written down for it? Also while its receiver fails: it may come back."""
        return self.wanted is not None and self.state.since > 0 and self.state.state != "off"


class Matcher:
    """The follower of the log. `live` are the Subscriptions by id, kept up to date by `step`."""

    def __init__(self, store: Store, setting: reading.Setting, holder: str) -> None:
        self.live: dict[str, Live] = {}
        self._store = store
        self._setting = setting
        self._holder = holder
        self._indexer = index.Indexer(setting.definitions, base=setting.base)
        self._by_type: dict[str, list[Live]] = {}
        self._position = Position()
        self._kept = Position()
        self.is_behind = False  # commits are under way, whose events cannot be seen yet

    async def begin(self) -> None:
        """Read where the follower stands, and every Subscription. Raises Unavailable."""
        self._position = self._kept = await self._store.notices.begin()
        self.live = {}
        await self._read(await self._store.notices.subscribers())

    async def step(self) -> tuple[bool, bool]:
        """Take the next stretch of the log: was anything in it for a Subscription, and is there more?

        Raises Unavailable; Conflict when another process follows the log now.
        """
        types = sorted({OWN, *self._by_type})
        news = await self._store.notices.news(self._position, types, AT_ONCE)
        events, until, changed = news.events, news.until, ""
        self.is_behind = not news.is_all
        for n, one in enumerate(events):
            if one.type == OWN:  # those after it are matched with what it says
                events, until, changed = events[: n + 1], one.at, one.id
                break
        notices = await self._notices(events)
        if notices:
            await self._record(until, notices)
        self._position = until
        if changed:
            await self.refresh(changed)
        return bool(notices or changed), until != news.until or len(news.events) == AT_ONCE

    async def keep(self) -> None:
        """Write the position down, so that a restart reads less again."""
        if self._position != self._kept:
            await self._record(self._position, [])

    async def refresh(self, id: str) -> None:
        """Read one Subscription again; forget it when it is no longer there."""
        before = self.live.pop(id, None)
        found = await self._store.notices.subscriber(id)
        if before and found:  # what was told is noted a little later
            found.sent = max(found.sent, before.state.sent)
        await self._read([found] if found else [])

    async def _record(self, until: Position, notices: list[Notice]) -> None:
        if not await self._store.notices.record(self._holder, until, notices):
            raise errors.Conflict("un autre processus suit les abonnements")
        self._kept = until
        for one in notices:
            self.live[one.subscription].state.last = one.number

    async def _read(self, rows: Iterable[Subscriber]) -> None:
        by_ref = {f"{OWN}/{one.id}": one for one in rows}
        found = await self._store.many(by_ref, caller=SERVER) if by_ref else {}
        for ref, state in by_ref.items():
            if ref in found:
                self.live[state.id] = self._understood(state, msgspec.json.decode(found[ref].body))
            else:
                await self._store.notices.forget(state.id)
        self._by_type = {}
        for one in self.live.values():
            for type in one.wanted.queries if one.wanted and one.counts else ():
                self._by_type.setdefault(type, []).append(one)

    def _understood(self, state: Subscriber, resource: Resource) -> Live:
        caller = owner.caller(state.owner)
        try:
            return Live(state, resource, reading.read(resource, self._setting), caller)
        except errors.Invalid as problem:  # a topic or a parameter that this version no longer has
            return Live(state, resource, None, caller, problem.message)

    # --- criteria

    async def _notices(self, events: list[Logged]) -> list[Notice]:
        by_type: dict[str, list[Logged]] = {}
        for one in events:
            if one.type in self._by_type and one.method in METHODS:
                by_type.setdefault(one.type, []).append(one)
        notices: list[Notice] = []
        known: _Known = {}
        for type, some in by_type.items():
            for live in self._by_type[type]:
                met = await self._met(live, type, some, known)
                notices += _numbered(live.state.id, met)
        return _in_order(notices, self.live, events)

    async def _met(self, live: Live, type: str, events: list[Logged], known: _Known) -> list[Logged]:
        """Those of the events that it wants and its owner may see."""
        wanted = live.wanted
        assert wanted is not None
        asked = wanted.queries[type]
        try:
            if (asked, live.caller) not in known:  # several often ask the same
                known[asked, live.caller] = await self._found(asked, events, live.caller)
            found = known[asked, live.caller]
        except errors.Forbidden:
            return []
        if wanted.topic:
            events = [one for one in events if METHODS[one.method] in wanted.topic.on]
        met = [one for one in events if await self._is_met(one, asked, live.caller, found)]
        if wanted.topic and wanted.topic.became:
            met = [one for one in met if await self._became(one, live, *wanted.topic.became)]
        return met

    async def _found(self, asked: Query, events: list[Logged], caller: access.Caller) -> set[str]:
        """The ids among them whose current version meets the search."""
        some = tuple(dict.fromkeys(one.id for one in events))
        query = replace(asked, where=(*asked.where, Ids(some)), count=len(some))
        return {row.id for row in (await self._store.search(query, caller=caller)).rows}

    async def _is_met(self, event: Logged, asked: Query, caller: access.Caller, found: set[str]) -> bool:
        """Does the version of this event meet the search?"""
        if event.version == event.current:
            return event.id in found
        try:
            stored = await self._store.vread(event.type, event.id, event.version, caller=caller)
        except (errors.NotFound, errors.Gone, errors.Forbidden):
            return False
        said = meeting.meets(asked, stored, self._indexer)
        return event.id in found if said is None else said

    async def _became(self, event: Logged, live: Live, element: str, code: str) -> bool:
        """Did this very version bring the code?"""
        values = []
        for version in (event.version, event.version - 1):
            try:
                stored = await self._store.vread(event.type, event.id, version, caller=live.caller)
                values.append(msgspec.json.decode(stored.body).get(element))
            except (errors.NotFound, errors.Gone, errors.Forbidden):
                values.append(None)
        return bool(values[0] == code and values[1] != code)


def _numbered(subscription: str, events: list[Logged]) -> list[Notice]:
    """Notices without their numbers, which follow the order of the log."""
    return [
        Notice(subscription, 0, one.at.seq, one.type, one.id, one.version, one.method, one.updated) for one in events
    ]


def _in_order(notices: list[Notice], live: dict[str, Live], events: list[Logged]) -> list[Notice]:
    """Each Subscription's in the order of the log, numbered on from its last."""
    places = {one.at.seq: n for n, one in enumerate(events)}
    last: dict[str, int] = {}
    done = []
    for one in sorted(notices, key=lambda notice: places[notice.seq]):
        number = last.get(one.subscription, live[one.subscription].state.last) + 1
        last[one.subscription] = number
        done.append(replace(one, number=number))
    return done
