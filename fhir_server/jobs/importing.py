"""How do files of one resource per line become the record?

Resources keep their ids: one that is there gets a new version, or none when nothing is new, so that lines may be read
twice. Lines go in by commits of many; what one of them breaks is found by halving, told with its line number, and stops
no other. A large file is read by a process of its own (`aside.py`) while what it gave before is written. The place
reached is kept about every second; a killed import goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Self

from common import errors
from fhir_server import access, bodies, media, outcome
from fhir_server.changes import Create, Update
from fhir_server.jobs import job
from fhir_server.jobs.aside import Aside
from fhir_server.jobs.job import Work
from fhir_server.jobs.lines import Line, Ready
from fhir_server.store import Rejected, Store

# Lines of one commit, commits under way at once (other writers wait while the database writes these), and how many
# pieces of the file are being read meanwhile.
BATCH, AT_ONCE, AHEAD = 500, 3, 2
# Bytes: with less a process would be ready when all is done.
WORTH_A_PROCESS = 2 * 1024 * 1024
_CHUNK_BYTES = 512 * 1024
_PIECE_BYTES = 4 * 1024 * 1024  # a piece ends there too: several are held at once, here and in the other process
# Of resources that are there already, whose bodies are checked in the event loop.
_UPDATES = 50
_SAVE_SECONDS = 1.0

Told = Callable[[list[tuple[int, errors.HubError]]], None]
Read = Callable[[Sequence[bytes]], Awaitable[list[Line]]]


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read. `type` None: any; `url` is how it was named."""

    path: Path
    type: str | None = None
    url: str = ""


@dataclass(slots=True)
class Place:
    """How far a file has been read: everything before `offset` (of line `line`) is in the record or told as wrong."""

    offset: int = 0
    line: int = 0
    done: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Piece:
    """Lines as they are in the file: of each its number and where it ends."""

    lines: list[bytes] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Lines of one commit, by line number, none with the id of another."""

    ready: dict[int, Ready] = field(default_factory=dict)
    refs: set[tuple[str, str]] = field(default_factory=set)
    wrong: list[tuple[int, errors.HubError]] = field(default_factory=list)
    end: int = 0
    last: int = 0


async def load(
    store: Store, source: Source, *, caller: access.Caller, begin: Place, told: Told
) -> AsyncGenerator[Place, None]:
    """Read a file into the record, giving the place after each commit; `told` hears of the wrong lines, in order.

    Raises Unavailable when the database does not answer, NotFound when the file cannot be read. Close it
    (`contextlib.aclosing`) if you may leave before the end.
    """
    place = begin
    try:
        file = source.path.open("rb")
    except OSError:
        raise errors.NotFound(f"{source.url or source.path.name} : fichier illisible") from None
    with file:
        file.seek(place.offset)
        async with Aside(store) as aside, _UnderWay(store, caller) as under_way:
            if os.fstat(file.fileno()).st_size - place.offset > WORTH_A_PROCESS:
                aside.start()
            batches = _batches(_pieces(file, place), partial(aside.read, type=source.type))
            async with contextlib.aclosing(batches):
                async for batch in batches:
                    while under_way.is_full or under_way.has(batch.refs):
                        place = await under_way.next(place, told)
                        yield place
                    under_way.add(batch)
            while not under_way.is_empty:
                place = await under_way.next(place, told)
                yield place


class _UnderWay:
    """The batches that are being committed, each by itself, in the order of the file.

    While some are written the next are prepared; those that come to the database together share an fsync.
    """

    def __init__(self, store: Store, caller: access.Caller) -> None:
        self._store = store
        self._caller = caller
        self._batches: deque[tuple[_Batch, asyncio.Task[list[tuple[int, errors.HubError]]]]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await _end([task for _, task in self._batches])

    @property
    def is_empty(self) -> bool:
        """Is everything durable or told?"""
        return not self._batches

    @property
    def is_full(self) -> bool:
        """Has the database enough to do?"""
        return len(self._batches) >= AT_ONCE

    def has(self, refs: set[tuple[str, str]]) -> bool:
        """Is one of these being written?"""
        return any(not refs.isdisjoint(one.refs) for one, _ in self._batches)

    def add(self, batch: _Batch) -> None:
        """Begin to commit it."""
        self._batches.append((batch, asyncio.ensure_future(_commit(self._store, self._caller, batch.ready))))

    async def next(self, place: Place, told: Told) -> Place:
        """The place after the oldest, once it is durable."""
        batch, task = self._batches[0]
        wrong = [*batch.wrong, *await task]
        self._batches.popleft()
        if wrong:
            told(sorted(wrong, key=itemgetter(0)))
        total = len(batch.ready) + len(batch.wrong)
        return Place(batch.end, batch.last, place.done + total - len(wrong), place.failed + len(wrong))


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Somebody left early. What the database has been given is still committed; read again, it changes nothing."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _commit(store: Store, caller: access.Caller, ready: dict[int, Ready]) -> list[tuple[int, errors.HubError]]:
    """Commit these, without those that are refused: the lines of these, and why.

    Updates go in by few: the loop is held for as long as those of one commit are checked.
    """
    there = await store.existing(one.ref for one in ready.values())
    parts = [{line: one for line, one in ready.items() if one.ref not in there}]
    updates = [(line, one) for line, one in ready.items() if one.ref in there]
    parts += [dict(updates[first : first + _UPDATES]) for first in range(0, len(updates), _UPDATES)]
    wrong = []
    for part in parts:
        changes = {line: _change(one, there) for line, one in part.items()}
        wrong += await _together(store, caller, changes)
    return wrong


async def _together(
    store: Store, caller: access.Caller, ready: dict[int, Create | Update]
) -> list[tuple[int, errors.HubError]]:
    """Commit these at once if none is refused, else without those that are: the lines of these, and why."""
    if not ready:
        return []
    try:
        await store.commit(ready.values(), caller=caller)
    except errors.Unavailable:
        raise
    except Rejected as problem:
        named = {
            line: problem.by_ref[ref]
            for line, one in ready.items()
            if (ref := f"{one.type}/{one.id}") in problem.by_ref
        }
        if not named:  # what a rule made of one of them
            return await _halved(store, caller, ready, problem)
        wrong: list[tuple[int, errors.HubError]] = [
            (line, errors.Invalid("ressource non valide", issues=issues)) for line, issues in named.items()
        ]
        return wrong + await _together(store, caller, {line: ready[line] for line in ready.keys() - named.keys()})
    except errors.HubError as problem:
        return await _halved(store, caller, ready, problem)
    return []


async def _halved(
    store: Store, caller: access.Caller, ready: dict[int, Create | Update], problem: errors.HubError
) -> list[tuple[int, errors.HubError]]:
    """Something is wrong with one of these, and nobody said with which."""
    if len(ready) == 1:
        return [(line, problem) for line in ready]
    lines = list(ready)
    half = len(lines) // 2
    first = await _together(store, caller, {line: ready[line] for line in lines[:half]})
    return first + await _together(store, caller, {line: ready[line] for line in lines[half:]})


def _change(one: Ready, there: frozenset[tuple[str, str]]) -> Create | Update:
    if one.ref in there:
        return Update(one.type, one.id, bodies.decode(one.made.body))
    return Create(one.type, one.id, {}, made=one.made)


async def _batches(pieces: AsyncIterator[_Piece], read: Read) -> AsyncGenerator[_Batch, None]:
    """The pieces as batches; some pieces are being read while the batches of the one before are used."""
    ahead: deque[tuple[_Piece, asyncio.Task[list[Line]]]] = deque()
    try:
        async for piece in pieces:
            ahead.append((piece, asyncio.ensure_future(read(piece.lines))))
            if len(ahead) > AHEAD:
                for batch in await _oldest(ahead):
                    yield batch
        while ahead:
            for batch in await _oldest(ahead):
                yield batch
    finally:
        await _end([task for _, task in ahead])


async def _oldest(ahead: deque[tuple[_Piece, asyncio.Task[list[Line]]]]) -> list[_Batch]:
    piece, task = ahead[0]
    read = await task
    ahead.popleft()
    batches = [_Batch()]
    for line, (number, end) in zip(read, piece.places, strict=True):
        if isinstance(line, Ready) and line.ref in batches[-1].refs:
            batches.append(_Batch())  # the same resource twice: each line is a version of its own
        batch = batches[-1]
        if isinstance(line, Ready):
            batch.ready[number] = line
            batch.refs.add(line.ref)
        else:
            batch.wrong.append((number, line.problem))
        batch.end, batch.last = end, number
    return batches


async def _pieces(file: BinaryIO, place: Place) -> AsyncIterator[_Piece]:
    """The lines that are not blank, from a place on."""
    piece, size, end, number = _Piece(), 0, place.offset, place.line
    while lines := await asyncio.to_thread(file.readlines, _CHUNK_BYTES):
        for raw in lines:
            number += 1
            end += len(raw)
            if raw.strip():
                piece.lines.append(raw)
                piece.places.append((number, end))
                size += len(raw)
                if len(piece.lines) == BATCH or size >= _PIECE_BYTES:
                    yield piece
                    piece, size = _Piece(), 0
    if piece.lines:
        yield piece


def wrong_line(line: int, problem: errors.HubError, url: str) -> bytes:
    """An OperationOutcome for one line, that says which one."""
    told = outcome.of(problem)
    for issue in told["issue"]:
        issue["diagnostics"] = f"{url}: line {line}"
    return media.encode(told)


# ---- as a job ------------------------------------------------------------------------------------------------------


async def run(work: Work) -> None:
    """Read every input, from where `work.progress` says, and write the manifest."""
    progress = work.progress
    progress.setdefault("inputs", [])
    for number, one in enumerate(work.asked["inputs"]):
        if number == len(progress["inputs"]):
            await _input(work, number, one)
    with contextlib.suppress(errors.Unavailable):  # the database's own daemon will look
        await work.server.store.bulk.analyze()
    output, wrong = [], []
    for number, (asked, place) in enumerate(zip(work.asked["inputs"], progress["inputs"], strict=True)):
        kind = {"type": asked["type"]} if asked["type"] else {}
        output.append({**kind, "inputUrl": asked["url"], "count": place["done"]})
        if place["failed"]:
            url = work.url(_wrong_name(number))
            wrong.append({"type": "OperationOutcome", "inputUrl": asked["url"], "count": place["failed"], "url": url})
    work.manifest(at=work.started, output=output, error=wrong)


async def _input(work: Work, number: int, asked: dict[str, Any]) -> None:
    path = work.folder / job.BODY if asked["path"] is None else Path(asked["path"])
    begun = place = Place(**work.progress.get("place", {}))
    size = work.progress.get("wrong", 0)
    saved = time.monotonic()
    with (work.folder / _wrong_name(number)).open("ab") as wrong:
        wrong.truncate(size)  # what was told after the last place is told again

        def told(lines: list[tuple[int, errors.HubError]]) -> None:
            wrong.write(b"".join(wrong_line(line, why, asked["url"]) + b"\n" for line, why in lines))

        source = Source(path, asked["type"], asked["url"])
        places = load(work.server.store, source, caller=work.caller, begin=begun, told=told)
        async with contextlib.aclosing(places):
            async for place in places:
                if time.monotonic() - saved > _SAVE_SECONDS:
                    _sync(wrong)
                    work.progress |= {"place": _as_json(place), "wrong": wrong.tell()}
                    await work.save(_said(work, place))
                    saved = time.monotonic()
        _sync(wrong)
    work.progress.pop("place", None)
    work.progress.pop("wrong", None)
    work.progress["inputs"].append(_as_json(place))
    await work.save(_said(work, Place()))


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _wrong_name(number: int) -> str:
    return f"errors.{number + 1}.ndjson"


def _as_json(place: Place) -> dict[str, int]:
    return {"offset": place.offset, "line": place.line, "done": place.done, "failed": place.failed}


def _said(work: Work, place: Place) -> str:
    done = place.done + sum(one["done"] for one in work.progress["inputs"])
    failed = place.failed + sum(one["failed"] for one in work.progress["inputs"])
    return f"{done} resources imported, {failed} refused"
