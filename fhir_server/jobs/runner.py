"""Who does the jobs, and what happens to those of a process that was killed?

Each process takes waiting jobs up to a number at once and holds each by a lease that it renews. A process that starts
lets go of what one of its number held before; a job whose lease ran out is taken by any other. Where it goes on is the
business of its kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from common import clock, errors
from fhir_server import access, media, outcome
from fhir_server.exchange import Server
from fhir_server.jobs import exporting, importing, job, replay, upload
from fhir_server.jobs.job import Limits, Lost, Work
from fhir_server.rows import JobRow
from fhir_server.store import Store

_KINDS: dict[str, Callable[[Work], Awaitable[None]]] = {
    "request": replay.run,
    "export": exporting.run,
    "import": importing.run,
}
_LEASE_SECONDS = 30
_LOOK_SECONDS = 2.0  # how soon a job of another process, or an expired one, is seen
_STOP_SECONDS = 3.0
_MOST_TRIES = 5  # of a job that the database did not answer
_SECOND = 1_000_000


class Runner:
    """The jobs of one process. `Server.jobs` is one; `start` needs the server that requests are answered by."""

    def __init__(self, store: Store, limits: Limits, *, worker: int = 0) -> None:
        self.limits = limits
        self._store = store
        self._worker = worker
        self._server: Server | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    def attach(self, server: Server) -> None:
        """Jobs are answered by this server."""
        self._server = server

    def start(self) -> None:
        """Begin to look for work."""
        self.limits.folder.mkdir(0o700, parents=True, exist_ok=True)  # whole records will lie there, as plain lines
        upload.forget(self.limits.folder)
        self._loop = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        """Let go of everything; what is under way gets a moment to end by itself."""
        # Not by cancelling the loop: a wait that ends at the same moment would swallow that (Python 3.11).
        self._stopping = True
        self._wake.set()
        if self._loop:
            await self._loop
        tasks = list(self._running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- what the doors ask

    async def add(
        self, kind: str, caller: access.Caller, asked: dict[str, Any], *, body: bytes | Path | None = None
    ) -> str:
        """Begin a job; its id. `body` becomes its file `request.body`. Durable when it returns.

        Raises TooMany for who has as many as one may have.
        """
        row = job.new(kind, caller, asked, now=self._now())
        if caller.memberships is not None and await self._store.bulk.kept(row.owner) >= self.limits.of_one:
            text = f"{self.limits.of_one} tâches au plus : supprimez (DELETE) celles qui ne servent plus"
            raise errors.TooMany(text)
        folder = self.limits.folder / row.id
        await asyncio.to_thread(_prepare, folder, body)
        await self._store.bulk.add(row)
        self._wake.set()
        return row.id

    async def find(self, id: str, caller: access.Caller) -> JobRow:
        """A job of this caller. Raises NotFound for every other."""
        row = await self._store.bulk.find(id)
        if row is None or row.owner != job.owner(caller) or row.expires <= self._now():
            raise errors.NotFound("Tâche inconnue, annulée ou expirée")
        return row

    async def cancel(self, id: str, caller: access.Caller) -> None:
        """Forget a job and its files; what an import has written stays. Raises NotFound."""
        row = await self.find(id, caller)
        await self._store.bulk.remove(row.id)
        if task := self._running.get(row.id):
            task.cancel()
            await asyncio.wait([task])
        await asyncio.to_thread(job.clear, self.limits.folder / row.id)

    # --- the work

    def _now(self) -> int:
        return clock.micros(self._store.now())

    async def _serve(self) -> None:
        released = False
        while not self._stopping:
            self._wake.clear()
            with contextlib.suppress(errors.Unavailable):  # the database comes back; so do we
                if not released:
                    await self._store.bulk.release(self._worker)
                    released = True
                await self._begin()
                await self._expire()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)

    async def _begin(self) -> None:
        free = self.limits.at_once - len(self._running)
        if free <= 0 or self._stopping or self._server is None:
            return
        now = self._now()
        for row in await self._store.bulk.due(now, free):
            until = now + _LEASE_SECONDS * _SECOND
            if row.id not in self._running and await self._store.bulk.take(row, until=until, holder=self._worker):
                taken = replace(row, state="running", attempts=row.attempts + 1, leased_until=until)
                task = self._running[row.id] = asyncio.create_task(self._run(taken, self._server))
                task.add_done_callback(partial(self._ended, row.id))

    def _ended(self, id: str, _: asyncio.Task[None]) -> None:
        self._running.pop(id, None)
        self._wake.set()

    async def _expire(self) -> None:
        for row in await self._store.bulk.expired(self._now(), 100):
            await asyncio.to_thread(job.clear, self.limits.folder / row.id)
            await self._store.bulk.remove(row.id)

    async def _run(self, row: JobRow, server: Server) -> None:
        work = Work(row, server, self.limits, self._keep, json.loads(row.request), json.loads(row.progress))
        work.folder.mkdir(exist_ok=True)
        me = asyncio.current_task()
        assert me
        renewing = asyncio.create_task(self._renew(work, me))
        try:
            await _KINDS[row.kind](work)
            await self._finish(work, "done")
        except Lost:
            await self._left(work)
        except asyncio.CancelledError:
            # Told to stop, or cancelled and already forgotten: then nothing is kept.
            await self._store.bulk.save(replace(work.row, leased_until=0))
            raise
        except errors.Unavailable as problem:
            await self._again(work, problem)
        except Exception as problem:  # noqa: BLE001 - the door of one job: its bug is told and answered
            await self._fail(work, problem)
        finally:
            renewing.cancel()

    async def _left(self, work: Work) -> None:
        """Cancelled somewhere else, or taken by another process, which then needs the files."""
        if await self._store.bulk.find(work.row.id) is None:
            await asyncio.to_thread(job.clear, work.folder)

    async def _again(self, work: Work, problem: errors.Unavailable) -> None:
        if work.attempts >= _MOST_TRIES:
            await self._fail(work, problem)
            return
        later = self._now() + work.attempts * 2 * _SECOND
        with contextlib.suppress(errors.Unavailable):  # the lease will run out
            await self._store.bulk.save(replace(work.row, state="waiting", leased_until=later))

    async def _fail(self, work: Work, problem: Exception) -> None:
        if isinstance(problem, errors.HubError):
            status, told = problem.status, outcome.of(problem, work.row.id)
        else:
            work.server.on_error(problem, work.row.id)
            status, told = 500, outcome.unexpected(work.row.id)
        (work.folder / job.RESULT).write_bytes(media.encode(told))
        work.progress["status"] = status
        await self._finish(work, "failed")

    async def _finish(self, work: Work, state: str) -> None:
        work.progress.pop("said", None)
        expires = self._now() + self.limits.keep_seconds * _SECOND
        progress = json.dumps(work.progress)
        done = replace(work.row, state=state, progress=progress, expires=expires, leased_until=0)
        if not await self._store.bulk.save(done):
            await asyncio.to_thread(job.clear, work.folder)

    async def _keep(self, row: JobRow) -> bool:
        return await self._store.bulk.save(replace(row, leased_until=self._now() + _LEASE_SECONDS * _SECOND))

    async def _renew(self, work: Work, task: asyncio.Task[None]) -> None:
        while True:
            await asyncio.sleep(_LEASE_SECONDS / 3)
            with contextlib.suppress(errors.Unavailable):
                if not await self._keep(work.row):
                    task.cancel()
                    return


def _prepare(folder: Path, body: bytes | Path | None) -> None:
    folder.mkdir(parents=True)
    if isinstance(body, Path):
        body.replace(folder / job.BODY)
    elif body is not None:
        (folder / job.BODY).write_bytes(body)
