"""How are PostgreSQL's connections kept, shared and made anew?

`Connections` hands out a few of them, one user at a time; one that was lost is opened again when it is next needed.
`Batches` is natural batching: each connection takes everything that is queued when it becomes free, so that the busier
the server is, the more requests share one round trip and one flush to disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import asyncpg

from common import errors

Connection = Any  # asyncpg.Connection; the library has no types
_In = TypeVar("_In")
_Out = TypeVar("_Out")
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60  # a server that does not answer any more is one that is not there


class Connections:
    """At most `size` connections to `dsn`, opened when they are needed."""

    def __init__(self, dsn: str, size: int, settings: dict[str, str]) -> None:
        self._dsn = dsn
        self._settings = settings
        self._free: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        self._size = size
        for _ in range(size):
            self._free.put_nowait(None)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """A connection for this block alone. Raises Unavailable when there is no server."""
        connection = await self._free.get()
        try:
            if connection is None or connection.is_closed():
                connection = await self.connect()
            yield connection
        finally:
            self._free.put_nowait(connection)

    async def connect(self) -> Connection:
        """A new connection of its own."""
        with translated():
            return await asyncpg.connect(
                self._dsn,
                server_settings=self._settings,
                timeout=_CONNECT_SECONDS,
                command_timeout=_ANSWER_SECONDS,
                statement_cache_size=512,
                max_cached_statement_lifetime=0,
            )

    async def close(self) -> None:
        """Wait until all are free, then close them."""
        for _ in range(self._size):
            connection = await self._free.get()
            if connection is not None and not connection.is_closed():
                await connection.close()


@dataclass(slots=True)
class Job(Generic[_In, _Out]):
    """Something asked, and the future of its answer."""

    asked: _In
    future: asyncio.Future[_Out]

    def answer(self, value: _Out) -> None:
        """Hand over the answer, unless nobody waits any more."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, problem: Exception) -> None:
        """Hand over the problem."""
        if not self.future.done():
            self.future.set_exception(problem)


class Batches(Generic[_In, _Out]):
    """Serves jobs together: `serve(connection, jobs)` answers each of at most `most` jobs."""

    def __init__(
        self,
        connections: Connections,
        workers: int,
        most: int,
        serve: Callable[[Connection, list[Job[_In, _Out]]], Awaitable[None]],
    ) -> None:
        self._connections = connections
        self._most = most
        self._serve = serve
        self._jobs: asyncio.Queue[Job[_In, _Out] | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]

    async def do(self, asked: _In) -> _Out:
        """The answer to one job. A caller who goes away does not stop it."""
        future: asyncio.Future[_Out] = self._loop.create_future()
        self._jobs.put_nowait(Job(asked, future))
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Serve what is queued, then stop."""
        for _ in self._workers:
            self._jobs.put_nowait(None)
        await asyncio.gather(*self._workers)

    async def _work(self) -> None:
        while (job := await self._jobs.get()) is not None:
            jobs = [job]
            while len(jobs) < self._most and not self._jobs.empty():
                following = self._jobs.get_nowait()
                if following is None:
                    self._jobs.put_nowait(None)
                    break
                jobs.append(following)
            try:
                async with self._connections.one() as connection:
                    await self._serve(connection, jobs)
            except Exception as problem:  # noqa: BLE001 - it belongs to those who asked, and is raised there
                for one in jobs:
                    one.fail(problem)


@contextmanager
def translated() -> Iterator[None]:
    """No text of the database leaves this room: what goes wrong in it is Unavailable."""
    try:
        yield
    except asyncpg.QueryCanceledError as problem:
        raise errors.Unavailable("recherche trop longue ; ajoutez un critère") from problem
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as problem:
        raise errors.Unavailable("la base ne répond pas ; réessayez") from problem
