"""What must an engine be able to do?

The whole of what the store asks of a database. An engine knows SQL and nothing else: no rules, no FHIR, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from fhir_server import around, timeline
from fhir_server.audit.log import Kept
from fhir_server.changes import Stored
from fhir_server.conditions import Query
from fhir_server.rows import Event, Gone, JobRow, JournalRow, Memberships, Outdated, Page, Put, Row, Work, Write
from fhir_server.subscriptions.kept import Notices


class Number(Protocol):
    """What tells this process from others on the same database, as long as they run.

    `changed` is called when the number had to be given up for another one.
    """

    value: int
    changed: Callable[[int], None]


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


class Engine(Protocol):
    """What the store needs of a database. Every method may raise errors.Unavailable."""

    last_seq: int  # the highest number given so far, 0 when empty
    bulk: Bulk
    notices: Notices  # what is kept beside Subscriptions
    traces: Kept

    @property
    def number(self) -> Number:
        """Which process this is, for the ids that it makes."""

    async def close(self) -> None:
        """Finish what is queued, then let go of the database."""

    async def secret(self) -> bytes:
        """What all processes on this database keep from others: made by the first that asks."""

    async def get(self, refs: Sequence[tuple[str, str]], memberships: Memberships) -> list[Row]:
        """The rows of these (type, id) that may be seen, tombstones included, in no order."""

    async def bits(self, patient: int, who: Sequence[int], now: int) -> int:
        """How any of these stands towards a patient at a moment, together (`rights.standing`)."""

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

    async def queued(self, count: int, state: str) -> list[tuple[Work, str]]:
        """Rows with their last errors, oldest first; `state` is "waiting", or "parked" for dead letters."""

    def follow(self, woken: Callable[[str], None], events: Callable[[list[Event]], None], types: Iterable[str]) -> None:
        """Tell about commits of other processes: `woken` with a consumer's name, `events` of `types`."""
