"""What passes between the store and its engines?

Plain values, and the short list of what an engine must be able to do. An engine knows SQL and nothing else: no rules,
no FHIR, no clock. Memberships are `Caller.memberships`: None sees every row, otherwise a row is seen when it has one
of them among its readers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from common import errors
from fhir_server import around, timeline
from fhir_server.changes import Claim, Finish, Stored, Subscribe
from fhir_server.conditions import Query, Rows
from fhir_server.subscriptions.kept import Notices

Memberships = tuple[int, ...] | None


class Taken(errors.Conflict):
    """A Claim's key belongs to another resource: `ref` says which, `key` which claim."""

    def __init__(self, key: str, ref: str) -> None:
        super().__init__(f"déjà attribué à une autre ressource ({ref.partition('/')[0]}) ; reprenez celle qui existe")
        self.key = key
        self.ref = ref


class Moved(Exception):
    """Somebody else wrote `ref` between our read and our write. Never leaves the room: the store tries again."""

    def __init__(self, ref: str) -> None:
        super().__init__(ref)
        self.ref = ref


@dataclass(frozen=True, slots=True)
class Row:
    """The current version of a resource with what the store keeps beside the body."""

    part: int
    rid: int
    type: str
    fid: str
    version: int
    updated: int
    deleted: bool
    sort_date: int
    method: str
    generation: int
    readers: frozenset[int]
    eq: tuple[int, ...]
    body: bytes

    @property
    def ref(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.fid}"

    def stored(self) -> Stored:
        """What callers of the store get."""
        return Stored(self.type, self.fid, self.version, self.updated, self.body, self.method)


def unknown() -> Rows | None:
    """Of a create, of a tombstone, of what an older program wrote."""
    return None


@dataclass(frozen=True, slots=True)
class Put:
    """One resource version to write with its index rows and its event `seq`.

    `old` is the row it replaces, None for a create; `index` the index rows of the new version, `before()` those of the
    old one, None when nobody knows them. `chosen`: the id of a create is not one that we gave.
    """

    row: Row
    index: Rows
    seq: int
    old: Row | None = None
    before: Callable[[], Rows | None] = unknown
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Outdated:
    """A resource whose index rows an older program made; `size` of its body in bytes."""

    generation: int
    rid: int
    type: str
    fid: str
    size: int


@dataclass(frozen=True, slots=True)
class Shared:
    """More readers for a row that keeps its version."""

    row: Row
    readers: frozenset[int]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Work to do: `seq` orders it, `due` and `leased_until` in microseconds since 1970."""

    part: int
    lane: int
    seq: int
    consumer: str
    type: str
    fid: str
    due: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of journal entry (`part`, `seq`)."""

    part: int
    seq: int
    state: str
    answer: bytes
    cause: str
    at: int


@dataclass(slots=True)
class Write:
    """One commit, ready to be written whole or not at all."""

    puts: list[Put] = field(default_factory=list)
    shared: list[Shared] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    finished: list[Finish] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    subscribers: list[Subscribe] = field(default_factory=list)
    actor: str = ""
    cause: str = ""
    announced: bool = False  # other workers are to be woken for its events
    begun: float = field(default_factory=time.monotonic)  # when it was prepared, by the clock of this process

    @property
    def is_empty(self) -> bool:
        """Nothing to write."""
        rest = self.outbox or self.finished or self.settled or self.subscribers
        return not (self.puts or self.shared or self.claims or rest)


@dataclass(frozen=True, slots=True)
class Event:
    """One change that was committed. `readers` are those of the resource now; `body` b"" for a delete."""

    seq: int
    type: str
    id: str
    version: int
    method: str
    readers: frozenset[int]
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search: `after` goes into the next query's cursor, None on the last page."""

    rows: list[Stored]
    after: str | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """An outbox row that is leased to us; `attempts` counts this one."""

    part: int
    lane: int
    seq: int
    consumer: str
    type: str
    id: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Parked:
    """A dead letter: what failed, why, and since when it has been waiting."""

    work: Work
    error: str
    since: datetime


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What came through a door, byte for byte, and how it ended. `state` is "received" until it is settled."""

    id: str
    door: str
    key: str
    raw: bytes
    at: datetime
    meta: dict[str, Any]
    state: str = "received"
    answer: bytes = b""
    cause: str = ""
    settled: datetime | None = None


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A journal entry as a table row: times in microseconds since 1970, `meta` as JSON."""

    part: int
    seq: int
    door: str
    key: str
    at: int
    state: str
    settled: int | None
    cause: str
    meta: str
    answer: bytes
    raw: bytes


class Number(Protocol):
    """What tells this process from others on the same database, as long as they run.

    `changed` is called when the number had to be given up for another one.
    """

    value: int
    changed: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class JobRow:
    """An asynchronous job as a table row: texts are JSON, times microseconds since 1970.

    `state` is waiting, running, done or failed. `attempts` rises with each taking and so tells whose it is;
    `holder` is the worker that took it last.
    """

    part: int
    id: str
    kind: str
    owner: str
    caller: str
    request: str
    state: str
    progress: str
    created: int
    expires: int
    leased_until: int
    holder: int
    attempts: int


class Bulk(Protocol):
    """What asynchronous jobs need of a database besides reads, searches and commits."""

    async def add(self, row: JobRow) -> None:
        """A new job, durable when it returns."""

    async def find(self, id: str) -> JobRow | None:
        """One job."""

    async def kept(self, owner: str) -> int:
        """How many jobs of one owner there are, in whatever state."""

    async def due(self, now: int, count: int) -> list[JobRow]:
        """Jobs that wait, or whose holder has let them go; oldest first."""

    async def expired(self, now: int, count: int) -> list[JobRow]:
        """Jobs that nobody needs any more."""

    async def take(self, row: JobRow, *, until: int, holder: int) -> bool:
        """Lease a job; False when somebody else was first. Its attempts are then one more than in `row`."""

    async def save(self, row: JobRow) -> bool:
        """Keep state, progress, expiry and lease of a job that we hold; False when it is not ours any more."""

    async def release(self, holder: int) -> None:
        """Let go of everything that this worker held: it has just started, so nothing of it runs."""

    async def remove(self, id: str) -> None:
        """Forget a job. Nothing happens when it is not there."""

    async def gone(
        self, type: str, memberships: Memberships, span: tuple[int, int], *, after: tuple[int, int], count: int
    ) -> list[Gone]:
        """Tombstones of a type later than `span[0]`, not later than `span[1]`, beyond `after` (updated, rid)."""

    async def analyze(self) -> None:
        """Have the planner learn what is there now."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A resource that was deleted."""

    part: int
    rid: int
    type: str
    id: str
    updated: int


class Engine(Protocol):
    """What the store needs of a database. Every method may raise errors.Unavailable."""

    last_seq: int  # the highest number given so far, 0 when empty
    bulk: Bulk
    notices: Notices  # what is kept beside Subscriptions

    @property
    def number(self) -> Number:
        """Which process this is, for the ids that it makes."""

    async def close(self) -> None:
        """Finish what is queued, then let go of the database."""

    async def secret(self) -> bytes:
        """What all processes on this database keep from others: made by the first that asks."""

    async def get(self, refs: Sequence[tuple[str, str]], memberships: Memberships) -> list[Row]:
        """The rows of these (type, id) that may be seen, tombstones included, in no order."""

    async def read(self, type: str, id: str, memberships: Memberships) -> Stored | None:
        """The current version; a tombstone has method DELETE."""

    async def stored(self, refs: Sequence[tuple[str, str]], memberships: Memberships) -> list[Stored]:
        """The current versions of these (type, id) that may be seen, tombstones included, in no order."""

    async def owner(self, key: str) -> tuple[str, str] | None:
        """The (type, id) that claimed a key; it may have been deleted since."""

    async def versions(
        self, type: str, id: str, memberships: Memberships, *, before: int | None, only: int | None, count: int
    ) -> list[Stored]:
        """Versions newest first: those below `before`, or `only` that one."""

    async def search(self, query: Query, memberships: Memberships) -> Page:
        """One page. Raises Unreadable when the cursor is not one of ours."""

    async def past(self, asked: timeline.Asked, memberships: Memberships) -> timeline.Found:
        """One page of versions; `complete` is left to the store."""

    async def compartment(self, asked: around.Asked, memberships: Memberships) -> around.Found:
        """One page of a compartment."""

    async def settled(self, now: int) -> int:
        """Up to which moment everything that other processes write is committed, when it is `now`."""

    async def write(self, write: Write) -> None:
        """Durable when it returns. Raises Conflict, Taken, Moved; then nothing is written."""

    async def outdated(self, generation: int, *, after: tuple[int, int], count: int) -> list[Outdated]:
        """Resources of a generation below this one, beyond `after` (generation, rid), in that order."""

    async def reindex(self, puts: Sequence[Put]) -> int:
        """Put the index rows of these in place of what `old` has, and nothing else: no version, no event.

        How many it were: one that has changed meanwhile is left as it is.
        """

    async def keep(self, row: JournalRow) -> None:
        """A new journal row, durable when it returns."""

    async def journal_rows(
        self, *, key: tuple[str, str] | None = None, id: tuple[int, int] | None = None, state: str | None, count: int
    ) -> list[JournalRow]:
        """By (door, key): accepted ones first; by (part, seq); else all of a state: each newest first."""

    async def lease(self, consumer: str, count: int, *, now: int, until: int) -> list[Work]:
        """Take rows that are due and not leased, oldest first, one per resource."""

    async def extend(self, works: Sequence[Work], until: int) -> None:
        """Lease these rows until then, those that have not passed to another."""

    async def release(self, work: Work, due: int, error: str) -> None:
        """Give a row back (or take it out of the dead letters), not before `due`."""

    async def park(self, work: Work, error: str) -> None:
        """Make a row a dead letter."""

    async def parked(self, count: int) -> list[tuple[Work, str]]:
        """Dead letters with their errors, oldest first."""

    def follow(self, woken: Callable[[str], None], events: Callable[[list[Event]], None], types: Iterable[str]) -> None:
        """Tell about commits of other processes: `woken` with a consumer's name, `events` of `types`."""
