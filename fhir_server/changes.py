"""What can one commit do to the record, and what comes back?

A commit is a list of these values; it happens whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server.conditions import Rows

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """What a body becomes, made before its commit and maybe in another process (`commit.make`).

    `body` is the JSON of a first version, written at the beginning of time; `index` the rows to find it by.
    """

    body: bytes
    index: Rows


@dataclass(frozen=True, slots=True)
class Create:
    """A new resource under an id that nobody uses yet (`store.new_id`, or the client's on an upsert).

    `body` needs no id or meta.versionId/lastUpdated: the store sets them. `readers` are references
    (`PractitionerRole/x`) that may read it besides its author. With `made` it was checked already, and nobody needs its
    `body`. Raises Conflict when the id is taken.
    """

    type: str
    id: str
    body: Resource
    readers: frozenset[str] = frozenset()
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """A new version of an existing resource. `version` is the one it replaces; None means whatever is there.

    Readers only grow: those of the old version keep reading. Raises NotFound, or Stale when `version` has passed.
    """

    type: str
    id: str
    body: Resource
    version: int | None = None
    readers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Delete:
    """A tombstone version; history stays. Deleting what is already deleted or unknown does nothing."""

    type: str
    id: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """More readers for a stored resource, without a new version.

    `under` puts a Binary under the rights of its patient (`Patient/x`, "" for nobody's) and of a sharing
    (`rights.sharing.code`).
    """

    type: str
    id: str
    readers: frozenset[str]
    under: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Uniqueness across patients: the commit fails with `store.Taken` when `key` was claimed by another resource."""

    key: str
    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Work for a consumer of the outbox (`mail`, …) about one resource, not before `due` (None: at once)."""

    consumer: str
    type: str
    id: str
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The consumer is done with this outbox row; gone in the same transaction as what it wrote."""

    part: int
    lane: int
    seq: int


@dataclass(frozen=True, slots=True)
class Settle:
    """The end of a journal entry: its `state` (accepted, refused), the exact `answer` given, and the cause."""

    entry: str
    state: str
    answer: bytes = b""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """What is kept beside Subscription/`id`, never part of it: on whose rights (`owner`), its secrets, its state.

    None leaves what is there. `state` is requested, active, error or off; `error` why it is in error. `at` is when, in
    microseconds: the first `active` begins the count of its events, `off` ends it and drops what was not sent.
    """

    id: str
    state: str
    at: int
    owner: str | None = None
    secrets: str | None = None
    error: str = ""


Change = Create | Update | Delete | Share | Claim | Enqueue | Finish | Settle | Subscribe


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource as it left the store.

    `body` is the final JSON with id and meta, or b"" for a tombstone (`method` "DELETE"). `updated` is what
    meta.lastUpdated says, in microseconds since 1970.
    """

    type: str
    id: str
    version: int
    updated: int
    body: bytes
    method: str  # POST, PUT, DELETE: how this version came to be

    @property
    def ref(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"
