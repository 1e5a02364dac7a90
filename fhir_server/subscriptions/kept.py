"""What does the store keep beside Subscriptions, and how is the event log followed?

Three tables. A `Subscriber` is the state of one Subscription: on whose rights, how far it was told, since when its
receiver fails. A `Notice` is one event of one Subscription, numbered without gaps from 1: what was matched stays
matched, whatever crashes. A follower's position in the log moves in the transaction that writes the notices, so that
no event is lost and none is counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

FOLLOWER = "subscriptions"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the event log: everything up to it was seen. `tx` orders first; SQLite leaves it 0."""

    tx: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Logged:
    """One event of the log, committed for good. `current` is the version that the resource has now, 0 if unknown."""

    at: Position
    type: str
    id: str
    version: int
    method: str
    updated: int
    current: int


@dataclass(frozen=True, slots=True)
class News:
    """A stretch of the log: the events of the wanted types in it, and the place where it ends.

    `is_all` False: commits are under way, what they and later ones wrote can be seen only afterwards.
    """

    events: list[Logged]
    until: Position
    is_all: bool = True


@dataclass(slots=True)
class Subscriber:
    """`owner` and `secrets` are texts of `owner.py` and `secrets.py`. Numbers: `last` was matched, `sent` told.

    `since` is when it first became active (0: it counts nothing), `failing` since when its receiver fails (0: it does
    not), `due` when it is to be tried again; in microseconds.
    """

    id: str
    owner: str
    secrets: str
    state: str
    since: int
    last: int
    sent: int
    due: int
    attempts: int
    failing: int
    error: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Event `number` of a Subscription: that version of that resource. `at` is when it was written."""

    subscription: str
    number: int
    seq: int
    type: str
    id: str
    version: int
    method: str
    at: int


class Notices(Protocol):
    """What an engine does for Subscriptions. Every method may raise errors.Unavailable."""

    async def subscriber(self, id: str) -> Subscriber | None:
        """The state of one Subscription."""

    async def subscribers(self) -> list[Subscriber]:
        """All of them, in no order."""

    async def hold(self, holder: str, *, now: int, until: int) -> bool:
        """Be the one who follows the log until then; False while somebody else is."""

    async def begin(self) -> Position:
        """Where the follower stands; the end of the log, kept from now on, when it never stood anywhere."""

    async def news(self, after: Position, types: Sequence[str], count: int) -> News:
        """The next events of these types, in an order that each resource's versions keep."""

    async def record(self, holder: str, until: Position, notices: Sequence[Notice]) -> bool:
        """Write notices and move on, all or nothing; False when somebody else follows the log now."""

    async def between(self, id: str, after: int, up_to: int, count: int) -> list[Notice]:
        """The notices of one Subscription numbered above `after`, in order."""

    async def told(self, id: str, number: int) -> None:
        """The receiver has everything up to `number`: it works again."""

    async def failed(self, one: Subscriber) -> None:
        """Keep `due`, `attempts`, `failing` and `error`."""

    async def forget(self, id: str, before: int | None = None) -> None:
        """Drop the notices written before then; without `before` everything about the Subscription."""
