"""How do commits reach the disk on SQLite?

One thread writes. It takes everything that is queued, gives each commit a savepoint (neighbours that write resource
versions and nothing else share one), commits them together and only then answers: one `fsync` for many commits, and an
answer always means durable (WAL, synchronous=FULL). One process writes to a file; several need PostgreSQL.
"""

from __future__ import annotations

import asyncio
import math
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from common import errors
from fhir_server.engines import sqlite_write
from fhir_server.rows import Write

_T = TypeVar("_T")
_BUSY_SECONDS = 10.0
_GROUP = 256  # commits that share one fsync at most


@dataclass(slots=True)
class _Job:
    run: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    puts: Write | None = None
    result: Any = None
    problem: BaseException | None = None


class Writer:
    """The writing thread of one file; its jobs come from one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next: list[_Job] = []
        self._handed: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="hub-writer", daemon=True)
        self._thread.start()

    async def do(self, run: Callable[[sqlite3.Connection], _T], *, puts: Write | None = None) -> _T:
        """What `run` gives, once it is durable. A caller who goes away does not undo what is queued.

        `puts`: what `run` does is to write this, resource versions alone; then it may be written with others at once.
        """
        future: asyncio.Future[_T] = self._loop.create_future()
        self._next.append(_Job(run, future, puts))
        if len(self._next) == 1:
            # What else comes in this turn of the loop goes along: one waking of the thread, and a larger group.
            self._loop.call_soon(self._hand_over)
        return await future

    async def close(self) -> None:
        """Everything queued is committed first."""
        self._hand_over()
        self._handed.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._next:
            self._handed.put(self._next)
            self._next = []

    def _serve(self) -> None:
        connection = connect(self._path)
        while (group := self._handed.get()) is not None:
            while len(group) < _GROUP and not self._handed.empty():
                following = self._handed.get()
                if following is None:
                    self._handed.put(None)
                    break
                group += following
            _commit(connection, group)
            self._loop.call_soon_threadsafe(_answer, group)
        connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection with our settings; transactions are begun by hand."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -24576")  # 24 MiB; what it lacks is mostly in the system's page cache
    # Pages at random places are written again and again: the fewer checkpoints, the fewer times into the file (32 MiB).
    connection.execute("PRAGMA wal_autocheckpoint = 8192")
    connection.execute("PRAGMA temp_store = MEMORY")
    # Distances are computed in SQL; not every build of the library has these.
    for name, function in (("sin", math.sin), ("cos", math.cos), ("radians", math.radians)):
        connection.create_function(name, 1, function, deterministic=True)
    return connection


def _commit(connection: sqlite3.Connection, group: list[_Job]) -> None:
    """Run and commit together; a job that fails leaves no trace and does not disturb the others."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for some in _alike(group):
            if len(some) == 1 or not _together(connection, some):
                for job in some:
                    _run(connection, job)
        connection.execute("COMMIT")
    except sqlite3.Error as problem:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in group:
            if not isinstance(job.problem, errors.HubError):
                job.problem = errors.Unavailable("la base n'a pas pu écrire ; réessayez")
                job.problem.__cause__ = problem


def _alike(group: list[_Job]) -> list[list[_Job]]:
    """The jobs in their order, neighbours that only write resource versions together."""
    found: list[list[_Job]] = []
    for job in group:
        if job.puts and found and found[-1][-1].puts:
            found[-1].append(job)
        else:
            found.append([job])
    return found


def _together(connection: sqlite3.Connection, jobs: list[_Job]) -> bool:
    """Write the versions of these, table by table; False, and nothing written, when one of them has to fail."""
    connection.execute("SAVEPOINT some")
    try:
        sqlite_write.put(connection, [job.puts for job in jobs if job.puts])
    except Exception:  # noqa: BLE001 - whichever it is: each by itself, and it belongs to one of them (`_run`)
        connection.execute("ROLLBACK TO some")
        return False
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE some")
    return True


def _run(connection: sqlite3.Connection, job: _Job) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.run(connection)
    except Exception as problem:  # noqa: BLE001 - it belongs to whoever asked, and is raised there
        job.problem = problem
        connection.execute("ROLLBACK TO job")  # raises when SQLite gave up the whole transaction (disk full)
    connection.execute("RELEASE job")


def _answer(group: list[_Job]) -> None:
    for job in group:
        if job.future.done():
            continue
        if job.problem is None:
            job.future.set_result(job.result)
        elif isinstance(job.problem, sqlite3.Error):
            refused = errors.Unavailable("la base n'a pas pu écrire ; réessayez")
            refused.__cause__ = job.problem
            job.future.set_exception(refused)
        else:
            job.future.set_exception(job.problem)
