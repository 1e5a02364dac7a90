"""How do files of one resource per line become the record?

Resources keep their ids: one that is there gets a new version, or none when nothing is new, so that lines may be read
twice. Lines go in by commits of many; what one of them breaks is found by halving, told with its line number, and stops
no other. The place reached is kept about every second; a killed import goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from common import errors
from fhir_server import access, media, outcome, write
from fhir_server.changes import Create, Resource, Update
from fhir_server.jobs import job
from fhir_server.jobs.job import Work
from fhir_server.store import Rejected, Store

# Lines of one commit, and commits under way at once: the event loop is held for as long as one batch is prepared.
BATCH, AT_ONCE = 200, 3
_CHUNK_BYTES = 512 * 1024
_SAVE_SECONDS = 1.0
_MOST_LINE = 32 * 1024 * 1024

Told = Callable[[list[tuple[int, errors.HubError]]], None]


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
class _Batch:
    """Lines of one commit, by line number, none with the id of another."""

    resources: dict[int, Resource] = field(default_factory=dict)
    refs: set[tuple[str, str]] = field(default_factory=set)
    wrong: list[tuple[int, errors.HubError]] = field(default_factory=list)
    end: int = 0
    last: int = 0


async def load(
    store: Store, source: Source, *, caller: access.Caller, begin: Place, told: Told
) -> AsyncIterator[Place]:
    """Read a file into the record, giving the place after each group of commits; `told` hears of the wrong lines.

    Raises Unavailable when the database does not answer, NotFound when the file cannot be read.
    """
    place = begin
    try:
        file = source.path.open("rb")
    except OSError:
        raise errors.NotFound(f"{source.url or source.path.name} : fichier illisible") from None
    into = _Into(store, caller, told)
    with file:
        file.seek(place.offset)
        group: list[_Batch] = []
        async for batch in _batches(file, source, store, place):
            if len(group) == AT_ONCE or any(batch.refs & one.refs for one in group):
                place = await into.commit(group, place)
                yield place
                group = []
            group.append(batch)
        if group:
            yield await into.commit(group, place)


@dataclass(frozen=True, slots=True)
class _Into:
    """Where the batches go, and who hears of the lines that are refused."""

    store: Store
    caller: access.Caller
    told: Told

    async def commit(self, group: list[_Batch], place: Place) -> Place:
        """Commit these batches, each by itself; the place after the last of them."""
        found = await asyncio.gather(*(_commit(self.store, self.caller, one.resources) for one in group))
        wrong = [one for batch, some in zip(group, found, strict=True) for one in [*batch.wrong, *some]]
        if wrong:
            self.told(sorted(wrong, key=_line))
        total = sum(len(one.resources) + len(one.wrong) for one in group)
        last = group[-1]
        return Place(last.end, last.last, place.done + total - len(wrong), place.failed + len(wrong))


def _line(one: tuple[int, errors.HubError]) -> int:
    return one[0]


async def _commit(
    store: Store, caller: access.Caller, resources: dict[int, Resource]
) -> list[tuple[int, errors.HubError]]:
    """Commit these, without those that are refused: the lines of these, and why."""
    if not resources:
        return []
    refs = {line: (one["resourceType"], one["id"]) for line, one in resources.items()}
    there = await store.existing(refs.values())
    changes = [
        Update(*refs[line], one) if refs[line] in there else Create(*refs[line], one) for line, one in resources.items()
    ]
    try:
        await store.commit(changes, caller=caller)
    except errors.Unavailable:
        raise
    except Rejected as problem:
        named = {
            line: problem.by_ref[ref] for line, (type, id) in refs.items() if (ref := f"{type}/{id}") in problem.by_ref
        }
        if not named:
            return [(line, problem) for line in resources]
        wrong: list[tuple[int, errors.HubError]] = [
            (line, errors.Invalid("ressource non valide", issues=issues)) for line, issues in named.items()
        ]
        return wrong + await _commit(store, caller, {line: resources[line] for line in resources.keys() - named.keys()})
    except errors.HubError as problem:
        if len(resources) == 1:
            return [(line, problem) for line in resources]
        lines = list(resources)
        half = len(lines) // 2
        first = await _commit(store, caller, {line: resources[line] for line in lines[:half]})
        return first + await _commit(store, caller, {line: resources[line] for line in lines[half:]})
    return []


async def _batches(file: BinaryIO, source: Source, store: Store, place: Place) -> AsyncIterator[_Batch]:
    batch, offset, number = _Batch(), place.offset, place.line
    while lines := await asyncio.to_thread(file.readlines, _CHUNK_BYTES):
        for raw in lines:
            number += 1
            if raw.strip():
                resource = _read(raw, source, store)
                ref = (resource["resourceType"], resource["id"]) if isinstance(resource, dict) else None
                if ref in batch.refs:  # the same resource twice: each line is a version of its own
                    yield batch
                    batch = _Batch()
                if isinstance(resource, errors.HubError):
                    batch.wrong.append((number, resource))
                elif ref is not None:
                    batch.resources[number] = resource
                    batch.refs.add(ref)
            offset += len(raw)
            batch.end, batch.last = offset, number
            if len(batch.resources) + len(batch.wrong) >= BATCH:
                yield batch
                batch = _Batch()
    if batch.end:
        yield batch


def _read(raw: bytes, source: Source, store: Store) -> Resource | errors.HubError:
    """The resource of a line, or why it is none."""
    if len(raw) > _MOST_LINE:
        return errors.TooLarge(f"ligne de plus de {_MOST_LINE} octets")
    try:
        resource = media.read_json(raw)
    except errors.HubError as problem:
        return problem
    type = resource.get("resourceType")
    if not isinstance(type, str) or type not in store.definitions.types:
        return errors.Unreadable("type de ressource inconnu", at="resourceType")
    if source.type not in (None, type):
        return errors.Unreadable(f"{type} dans un fichier de {source.type}", at="resourceType")
    id = resource.get("id")
    if not isinstance(id, str) or not write.ID.fullmatch(id):
        return errors.Unreadable("id obligatoire, 1 à 64 caractères parmi A-Z a-z 0-9 - .", at=f"{type}.id")
    return resource


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
        async for place in load(work.server.store, source, caller=work.caller, begin=begun, told=told):
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
