"""How does a population become files of one resource per line?

FHIR Bulk Data Access 2.0, https://hl7.org/fhir/uv/bulkdata/STU2/export.html. Each type is read by searches along the
order of updates, as the caller sees it, and the stored bytes are written as they are. A file ends where it has become
large; what is done is kept after every file, so that a killed export goes on with the file it was in.

All of it is told as of `transactionTime`, the moment of the request: of what was written or deleted later the version
of that moment is given, and the new one is for the next export (`_since`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from common import clock
from fhir_server import access, bodies, conditions, criteria, ids, index, media, query
from fhir_server.audit import inner
from fhir_server.audit.trace import Trace
from fhir_server.changes import Stored
from fhir_server.conditions import Condition, Ids, Keys, Sort, Updated
from fhir_server.exchange import Server
from fhir_server.jobs.job import Work
from fhir_server.rows import Gone
from fhir_server.terminology import in_search

# Rows of one search: as many as are small, few of what may be large.
_MOST_ROWS, _LEAST_ROWS = 500, 10
_PAGE_BYTES = 4 * 1024 * 1024
_KEYS_AT_ONCE = 24  # of the patients of a group: as many as one search walks (engines)
_GONE_AT_ONCE = 1000
_BEFORE_ALL = (-(2**62), 0)

# Parameters of a search that are about its answer.
_NO_CONDITIONS = frozenset("_count _sort _include _revinclude _summary _elements _total _after _format _pretty".split())


@dataclass(slots=True)
class _File:
    """The file that is being written."""

    type: str
    name: str
    out: BinaryIO
    count: int = 0
    size: int = 0

    def write(self, rows: Sequence[bytes]) -> None:
        """Lines."""
        self.size += self.out.write(b"\n".join([*rows, b""]))
        self.count += len(rows)

    def end(self) -> None:
        """On disk."""
        self.out.flush()
        os.fsync(self.out.fileno())
        self.out.close()


async def run(work: Work) -> None:
    """Write the files and the manifest, from where `work.progress` says."""
    # A commit that was stamped before the request may still be on its way.
    waited = clock.micros(work.server.now()) - work.started
    await asyncio.sleep(max(0.0, work.limits.settle_seconds - waited / 1_000_000))
    export = _Export(work, await _patients(work))
    try:
        for type in work.asked["types"]:
            await export.type(type)
        if work.asked["since"] is not None:
            await export.deleted()
    finally:
        export.close()
    files = work.progress.get("files", [])
    told = [{"type": one["type"], "url": work.url(one["name"]), "count": one["count"]} for one in files]
    lists: dict[str, Any] = {"output": [one for one in told if not _of_gone(one["url"])]}
    if gone := [one for one in told if _of_gone(one["url"])]:
        lists["deleted"] = gone
    work.manifest(at=work.started, **lists, error=[])


def _of_gone(url: str) -> bool:
    return url.rpartition("/")[2].startswith(_GONE_NAME)


_GONE_NAME = "deleted."


class _Export:
    """One run over the types."""

    def __init__(self, work: Work, patients: list[str] | None) -> None:
        self._work = work
        self._server = work.server
        self._caller = work.caller
        self._patients = patients
        self._file: _File | None = None
        self._late: dict[str, Stored] = {}  # met after they had changed: their turn comes at the end of the type
        work.progress.setdefault("files", [])
        work.progress.setdefault("done", [])

    async def type(self, type: str) -> None:
        """All resources of a type, unless an earlier run has written them all."""
        progress = self._work.progress
        if type in progress["done"]:
            return
        filters = await _filters(self._work, type)
        segments = list(_segments(self._work, type, filters, self._patients))
        begun, after = progress.pop("place", (0, None))
        if len(segments) > 1 and begun + (after is not None):
            # What the files have already is not known any more: they are written again.
            progress["files"] = [one for one in progress["files"] if one["type"] != type]
            begun, after = 0, None
        seen: set[str] | None = set() if len(segments) > 1 else None
        for number in range(begun, len(segments)):
            await self._segment(segments[number], number, after=after, seen=seen)
            after = None
        await self._catch_up(type)
        await self._end(type)
        progress["done"].append(type)
        await self._save()

    async def _segment(self, asked: conditions.Query, number: int, *, after: str | None, seen: set[str] | None) -> None:
        count = _LEAST_ROWS if asked.type in ("Binary", "DocumentReference", "Media") else _MOST_ROWS
        while True:
            query = replace(asked, count=count, after=after)
            async with inner.page(self._server, self._trace()):
                page = await self._server.store.search(query, caller=self._caller)
            late = {row.id: row for row in page.rows if row.updated > self._work.started}
            self._late |= late
            rows = [row for row in page.rows if row.id not in late and self._wanted(row)]
            if seen is not None:
                rows = [row for row in rows if row.id not in seen]
                seen.update(row.id for row in rows)
            if rows:
                await self._write(asked.type, [row.body for row in rows])
            if page.after is None:
                return
            after = page.after
            count = _next_count(count, sum(len(row.body) for row in page.rows))
            if self._file and self._file.size >= self._work.limits.file_bytes:
                await self._end(asked.type)
                self._work.progress["place"] = (number, after)
                await self._save()
            await asyncio.sleep(0)

    def _trace(self) -> Trace:
        """Of a page: its row names the export by the address that began it."""
        now = clock.micros(self._server.now())
        return Trace(self._caller, now, "operation $export", "fhir", self._work.asked["url"], self._work.row.id)

    async def _then(self, row: Stored) -> Stored | None:
        """The version of the moment of the request; None when there was none."""
        found: Stored | None = row
        while found is not None and found.updated > self._work.started:
            version, caller = found.version, self._work.caller
            older = await self._server.store.history(row.type, row.id, caller=caller, count=1, before=version)
            found = older[0] if older else None
        return found if found is not None and found.method != "DELETE" else None

    async def _catch_up(self, type: str) -> None:
        """What was changed or deleted since the request: as it was then, unless it was written before that."""
        late, self._late = self._late, {}
        if self._patients is None and not any(kind == type for kind, _ in self._work.asked["filters"]):
            async for some in _gone(self._server, type, self._work.caller, (self._work.started, 2**62)):
                late.update((one.id, Stored(type, one.id, 2**31 - 1, 2**62, b"", "DELETE")) for one in some)
        if not late:
            return
        names = [one["name"] for one in self._work.progress["files"] if one["type"] == type]
        if self._file:
            self._file.out.flush()
            names.append(self._file.name)
        paths = [self._work.folder / name for name in names]
        written = await asyncio.to_thread(_written, paths, late.keys())
        for id in late.keys() - written:
            then = await self._then(late[id])
            if then is not None and self._wanted(then):
                await self._write(type, [then.body])

    def _wanted(self, row: Stored) -> bool:
        since, until = self._work.asked["since"], self._work.asked["until"]
        if (since is not None and row.updated <= since) or (until is not None and row.updated > until):
            return False
        return self._work.asked["level"] != "patient" or _is_of_a_patient(self._server, row)

    def close(self) -> None:
        """Let go of the file, wherever it is."""
        if self._file:
            self._file.out.close()

    async def _write(self, type: str, lines: list[bytes], name: str = "") -> None:
        if self._file is None:
            number = 1 + sum(one["type"] == type for one in self._work.progress["files"])
            path = self._work.folder / (name or f"{type}.{number}.ndjson")
            self._file = _File(type, path.name, path.open("wb"))
        await asyncio.to_thread(self._file.write, lines)

    async def _end(self, type: str) -> None:
        """Close the file; it counts from now on."""
        if self._file is None:
            return
        await asyncio.to_thread(self._file.end)
        told = {"type": type, "name": self._file.name, "count": self._file.count}
        self._work.progress["files"].append(told)
        self._file = None

    async def _save(self) -> None:
        done = sum(one["count"] for one in self._work.progress["files"])
        await self._work.save(f"{done} resources exported")

    async def deleted(self) -> None:
        """What was deleted meanwhile: Bundles whose entries are DELETE requests."""
        asked = self._work.asked
        span = (asked["since"], min(self._work.started, asked["until"] or self._work.started))
        for type in asked["types"]:
            async for some in _gone(self._server, type, self._work.caller, span):
                entries = [_entry(one) for one in some if self._is_ours(one)]
                if entries:
                    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
                    await self._write("Bundle", [media.encode(bundle)], f"{_GONE_NAME}1.ndjson")
        await self._end("Bundle")

    def _is_ours(self, one: Gone) -> bool:
        """Was it of one of the patients? A tombstone has kept its part, which is that of its patient."""
        if self._patients is not None:
            return any(one.part == ids.part_of("Patient", id, None) for id in self._patients)
        return self._work.asked["level"] != "patient" or one.type == "Patient" or not _is_alone(one)


def _written(paths: Sequence[Path], some: Collection[str]) -> set[str]:
    """Which of these ids are in the files: stored bodies begin with type and id."""
    found: set[str] = set()
    for path in paths:
        with path.open("rb") as file:
            found.update(id for line in file if (id := line.split(b'"', 8)[7].decode()) in some)
    return found


def _is_alone(one: Gone) -> bool:
    return one.part == ids.part_of(one.type, one.id, None)


def _entry(one: Gone) -> dict[str, Any]:
    return {"request": {"method": "DELETE", "url": f"{one.type}/{one.id}"}}


async def _gone(server: Server, type: str, caller: access.Caller, span: tuple[int, int]) -> Any:
    after = _BEFORE_ALL
    while True:
        some = await server.store.bulk.gone(type, server.store.sight(caller), span, after=after, count=_GONE_AT_ONCE)
        if some:
            yield some
            after = (some[-1].updated, some[-1].rid)
        if len(some) < _GONE_AT_ONCE:
            return


def _next_count(count: int, size: int) -> int:
    """More rows while they are small."""
    if size > _PAGE_BYTES:
        return max(_LEAST_ROWS // 5, count // 4)
    return min(_MOST_ROWS, count * 2) if size * 2 < _PAGE_BYTES else count


# ---- which searches give it ----------------------------------------------------------------------------------------


def _segments(
    work: Work, type: str, filters: Sequence[tuple[Condition, ...]], patients: list[str] | None
) -> Iterator[conditions.Query]:
    """The searches that together give all of a type; their results may overlap."""
    window = _window(work)
    for wanted in filters:
        if patients is None:
            yield conditions.Query(type, (*window, *wanted), sort=(Sort("updated"),))
        else:
            for one in _of_patients(work.server, type, patients):
                # By date: the order in which the index of equality keys can be walked.
                yield conditions.Query(type, (one, *window, *wanted))


def _window(work: Work) -> tuple[Condition, ...]:
    # No upper bound: what was written meanwhile is met too, and its older version looked up.
    since = work.asked["since"]
    return () if since is None else (Updated((("gt", since, since),)),)


async def _filters(work: Work, type: str) -> list[tuple[Condition, ...]]:
    """What each `_typeFilter` of the type asks for; those of value sets are looked up again when the job goes on."""
    found = []
    for text in (text for kind, text in work.asked["filters"] if kind == type):
        read = partial(filtering, work.server, type, text, base=work.asked["base"])
        found.append(await in_search.reading(work.server.store, work.caller, read))
    return found or [()]


def filtering(server: Server, type: str, text: str, codes: criteria.Codes, *, base: str) -> tuple[Condition, ...]:
    """The conditions of a `_typeFilter`. Raises Unreadable; also for what shapes an answer and selects nothing."""
    params = media.parameters(text.encode())
    for name, _ in params:
        if name.partition(":")[0] in _NO_CONDITIONS:
            raise criteria.refusal(f"_typeFilter : {name} ne choisit pas de ressources", "_typeFilter", "not-supported")
    tables = server.definitions.search
    return query.parse(type, params, tables, now=server.now(), base=base, codes=codes).query.where


def _of_patients(server: Server, type: str, patients: Sequence[str]) -> Iterator[Condition]:
    if type == "Patient":
        for begin in range(0, len(patients), _KEYS_AT_ONCE):
            yield Ids(tuple(patients[begin : begin + _KEYS_AT_ONCE]))
        return
    codes = compartment(server, type)
    step = max(1, _KEYS_AT_ONCE // max(1, len(codes)))
    for begin in range(0, len(patients), step):
        some = patients[begin : begin + step]
        keys = tuple(index.reference_key(type, code, f"Patient/{id}") for id in some for code in codes)
        yield Keys(keys, ordered=True)


def compartment(server: Server, type: str) -> tuple[str, ...]:
    """The parameters by which a resource of a type is in a patient's compartment; empty when it never is."""
    tables = server.definitions.search
    named = (tables.param(type, code) for code in tables.compartment("Patient", type))
    return tuple(one.code for one in named if one and one.may_be("Patient") and not one.refusal)


def _is_of_a_patient(server: Server, row: Stored) -> bool:
    if row.type == "Patient":
        return True
    # Nearly all are told by their bytes; a contained resource may have a patient of its own.
    if b'"contained"' not in row.body and any(one in row.body for one in _PLAINLY):
        return True
    return server.indexer.patient(bodies.decode(row.body)) is not None


_PLAINLY = (b'"subject":{"reference":"Patient/', b'"patient":{"reference":"Patient/')


# ---- whose ---------------------------------------------------------------------------------------------------------


async def _patients(work: Work) -> list[str] | None:
    """The ids of the patients that a group or the request names, None when it names none."""
    named = work.asked["patients"]
    if work.asked["group"] is None:
        return named  # type: ignore[no-any-return]
    members = await _members(work, work.asked["group"])
    return members if named is None else [id for id in members if id in set(named)]


async def _members(work: Work, group: str) -> list[str]:
    """Patients of a group and of the groups in it, those that are still in it."""
    waiting, known = [f"Group/{group}"], {f"Group/{group}"}
    found: dict[str, None] = {}
    while waiting:
        groups = await work.server.store.many(waiting, caller=work.caller)
        references = [one for row in groups.values() for one in _referred(row, work.asked["base"])]
        found.update(dict.fromkeys(one[8:] for one in references if one.startswith("Patient/")))
        waiting = [one for one in dict.fromkeys(references) if one.startswith("Group/") and one not in known]
        known.update(waiting)
    return list(found)


def _referred(group: Stored, base: str) -> Iterator[str]:
    for member in bodies.decode(group.body).get("member", []):
        if not member.get("inactive"):
            reference = member.get("entity", {}).get("reference", "").removeprefix(f"{base}/")
            yield "/".join(reference.split("/")[:2])
