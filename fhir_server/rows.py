"""What passes between the store and its engines?

Plain values, and the short list of what an engine must be able to do. An engine knows SQL and nothing else: no rules,
no FHIR, no clock. Memberships are what a caller sees at a moment (`access.Sight`): None sees every row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common import errors
from fhir_server.access import Sight
from fhir_server.audit.trace import Row as TraceRow
from fhir_server.changes import Claim, Finish, Stored, Subscribe
from fhir_server.conditions import Rows

Memberships = Sight | None


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
    """The current version of a resource with what the store keeps beside the body.

    `patient` is the `index.address` of whose it is, 0 for nobody's; `sharing` how it is shared (`rights.sharing.code`).
    """

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
    patient: int
    sharing: int
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
    """More readers for a row that keeps its version, or another patient and sharing."""

    row: Row
    readers: frozenset[int]
    patient: int
    sharing: int


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
    traces: list[TraceRow] = field(default_factory=list)
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
    """One change that was committed; `body` b"" for a delete.

    `readers`, `patient` and `sharing` are those of the resource now (`Row`): who may be told.
    """

    seq: int
    type: str
    id: str
    version: int
    method: str
    readers: frozenset[int]
    patient: int
    sharing: int
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
    """A row of the outbox, dead letter or waiting: what, the last error, and since when it is there."""

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


@dataclass(frozen=True, slots=True)
class Gone:
    """A resource that was deleted."""

    part: int
    rid: int
    type: str
    id: str
    updated: int
