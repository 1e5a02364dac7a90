"""What is an asynchronous job, and whose is it?

A row in the database says what was asked, by whom, and how far it has come; its files are in a folder of its own. A
job is done with the rights of whoever started it, kept with it, and only they see it: the same person or structure
through the same software, with the same scopes.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from common import clock
from fhir_server import access, ids
from fhir_server.rows import JobRow

if TYPE_CHECKING:
    from fhir_server.exchange import Server

BODY, RESULT = "request.body", "result.json"


class Lost(Exception):
    """The job was cancelled, or has passed to another process: whoever works on it stops. Never leaves the room."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator sets.

    `folder` holds the files of all jobs: processes on several machines need a shared one. `at_once` jobs run in one
    process; results are kept for `keep_seconds`; a file of an export ends at `file_bytes`, an import that is posted may
    be of `upload_bytes`; imports by name read from `imports`, None means there are none. An export waits
    `settle_seconds` for commits that were under way when it began. Of whoever does not see everything `of_one` jobs are
    kept at most, so that nobody fills the disk or the queue for all others.
    """

    folder: Path
    at_once: int = 2
    keep_seconds: int = 24 * 3600
    file_bytes: int = 128 * 1024 * 1024
    upload_bytes: int = 16 * 1024**3
    imports: Path | None = None
    settle_seconds: float = 0.5
    of_one: int = 50


@dataclass(slots=True)
class Work:
    """A job that this process is doing.

    `asked` is what was asked (its shape belongs to the kind), `progress` where to go on, kept by `save`. `attempts`
    counts this one.
    """

    row: JobRow
    server: Server
    limits: Limits
    keep: Callable[[JobRow], Awaitable[bool]]
    asked: dict[str, Any]
    progress: dict[str, Any]

    @property
    def caller(self) -> access.Caller:
        """Whoever started it."""
        return read_caller(self.row.caller)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.limits.folder / self.row.id

    @property
    def started(self) -> int:
        """When it was asked for, in microseconds since 1970."""
        return self.row.created

    @property
    def attempts(self) -> int:
        """How often it was begun, this time included."""
        return self.row.attempts

    def url(self, name: str) -> str:
        """The address of one of its files."""
        return f"{self.asked['base']}/$job/{self.row.id}/{name}"

    async def save(self, said: str = "") -> None:
        """Keep the progress; `said` is what X-Progress tells. Raises Lost."""
        self.progress["said"] = said
        self.row = replace(self.row, progress=json.dumps(self.progress))
        if not await self.keep(self.row):
            raise Lost

    def manifest(self, *, at: int, **lists: Any) -> None:
        """Write the result of a bulk operation (Bulk Data Access, section on the complete status)."""
        told = {
            "transactionTime": clock.instant(clock.from_micros(at)),
            "request": self.asked["url"],
            "requiresAccessToken": True,
            **lists,
        }
        (self.folder / RESULT).write_text(json.dumps(told))
        self.progress["kind"] = "manifest"


def new(kind: str, caller: access.Caller, asked: dict[str, Any], *, now: int) -> JobRow:
    """The row of a job to begin."""
    id = secrets.token_hex(16)
    return JobRow(
        part=ids.hash64(id),
        id=id,
        kind=kind,
        owner=owner(caller),
        caller=write_caller(caller),
        request=json.dumps(asked),
        state="waiting",
        progress="{}",
        created=now,
        expires=2**62,
        leased_until=0,
        holder=0,
        attempts=0,
    )


def owner(caller: access.Caller) -> str:
    """What two requests of the same caller have in common; other scopes may be fewer than those of the job.

    A delegate may see less than the person in whose name they act, an app that was opened for one patient nothing else.
    """
    more = [caller.delegate, caller.patient] if caller.patient else [caller.delegate] if caller.delegate else []
    return json.dumps([caller.actor, caller.client, caller.memberships is None, sorted(caller.scopes), *more])


def write_caller(caller: access.Caller) -> str:
    """A caller as JSON."""
    return msgspec.json.encode(caller).decode()


def read_caller(text: str) -> access.Caller:
    """The inverse of `write_caller`."""
    return msgspec.json.decode(text, type=access.Caller)


def clear(folder: Path) -> None:
    """Remove the files of a job."""
    shutil.rmtree(folder, ignore_errors=True)
