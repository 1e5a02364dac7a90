"""When is a trace durable, and what keeps it from being altered?

The trace of a write is in the commit of that write. Others wait, at most `WAIT_SECONDS`, and go in together. Each row
carries a keyed digest of its own; each group of rows that is durable is sealed: a digest over theirs and over the seal
before, so that a row that is taken out is missed. The last seal is also kept outside of the database, in `heads`, so
that the end of a chain cannot be cut off unnoticed. One chain for each process and start.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from common import clock, errors
from common.events import Events, emit
from fhir_server import access, ids, index
from fhir_server.audit import trace
from fhir_server.audit.trace import Given, Ref, Row, Trace

if TYPE_CHECKING:
    from fhir_server.access import Caller
    from fhir_server.rows import Write

WAIT_SECONDS = 0.4
EMERGENCY = "ETREAT"  # v3-ActReason
MODULUS = 1_000_003
_AT_ONCE = 100  # rows made before others have their turn
_MANY = 2000  # waiting rows that are not waited for any longer
_TRIES_AT_THE_END = 5
_OURS = 27  # letters of an id that we gave to something of a patient: a number, a hyphen, the patient's part


class Seal(NamedTuple):
    """`numbers` are the packed numbers of the rows that it is over, `k` its own in the chain."""

    chain: int
    k: int
    at: int
    numbers: bytes
    mac: bytes


class Emergency(NamedTuple):
    """Somebody (a key) may see a patient (an address) between two moments because a life depends on it."""

    patient: int
    who: int
    lo: int
    hi: int


class Kept(Protocol):
    """Where traces are kept; each engine has its own."""

    async def keep(self, rows: list[Row], seal: Seal) -> None:
        """Durable together when it returns."""

    async def patients(self, refs: list[Ref]) -> dict[Ref, int]:
        """Whose these resources are, by address; those that are nobody's are left out."""

    async def emergencies(self, who: list[int], since: int) -> list[Emergency]:
        """Those that these people declared and that did not end before `since`."""

    async def forget(self, rows: list[Row], anchor: Seal | None) -> None:
        """Take rows of one chain away, with its seals up to the one in whose place the anchor comes, all or nothing."""

    async def seals(self, chain: int) -> list[Seal]:
        """All seals of a chain, in order."""

    async def chains(self) -> list[int]:
        """Every chain that there is, oldest first."""

    async def rows(self, chain: int, numbers: list[int]) -> list[Row]:
        """These rows, in order."""

    async def following(self, chain: int, after: int, count: int) -> list[Row]:
        """Rows of a chain whose number is higher, in order."""

    def snapshot(self) -> AbstractAsyncContextManager[Kept]:
        """All of one moment, however many write meanwhile. Raises Unavailable."""

    async def found_by(self) -> tuple[int, int, int]:
        """Of all that leads to a row: how many, and the sums of keys and times, each modulo `MODULUS`."""

    async def found(
        self, key: int | None, span: tuple[int, int], *, before: tuple[int, int, int] | None, count: int
    ) -> list[tuple[int, int, int, bytes]]:
        """Time, chain, number and body, newest first: of a key, or of all, within `span`, after a place."""


class Log:
    """The traces of one process. `chain` is a number of its own; `heads` None keeps no seal outside."""

    def __init__(self, kept: Kept, chain: int, now: clock.Clock, *, secret: bytes, heads: Path | None) -> None:
        self.kept, self.secret, self.heads = kept, secret, heads
        self.chain = chain
        # Numbers of its own: they only have to rise within the chain, and cost less than those of the record.
        self._next = itertools.count(1).__next__
        self._now = now
        self._waiting: list[tuple[Trace, str]] = []
        self._durable: list[tuple[int, bytes]] = []
        self._seal = Seal(self.chain, 0, 0, b"", b"")
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def add(self, one: Trace, status: str) -> None:
        """Nothing was written for it: it goes in with the next group."""
        self._waiting.append((one, status))
        if len(self._waiting) >= _MANY:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._begin)

    async def emergencies(self, callers: Iterable[Caller], since: int) -> list[Emergency]:
        """Those that any of these declared and that are open since then: hardly ever one."""
        who = {access.key(one.actor) for one in callers if one.circles and one.actor}
        return await self.kept.emergencies(list(who), since) if who else []

    def of_commit(self, write: Write, caller: Caller, opened: Sequence[Emergency]) -> Row:
        """The row that goes into the commit; tell with `written` when that is durable.

        Of the request under way, else of a flow of the hub's, by what the commit says of itself.
        """
        one = trace.current()
        if one is None or one.wrote:
            now = clock.micros(self._now())
            before, one = one, Trace(one.caller if one else caller, now, _kind(write), door=caller.client or "hub")
            one.query = write.cause
            one.correlation = before.correlation if before else ""
        one.given = [(put.row.type, put.row.fid, put.row.version) for put in write.puts]
        patients = {put.row.patient for put in write.puts if put.row.patient}
        return self._row(one, trace.WRITTEN, patients, opened)

    def written(self, rows: list[Row]) -> None:
        """These are durable: the next seal is over them too, and the request under way is written down."""
        if rows and (one := trace.current()):
            one.wrote = True
        self._durable += [(row.n, row.mac) for row in rows]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._begin)

    async def settle(self) -> None:
        """Whatever waits is written and sealed, as long as the database answers."""
        for _ in range(_TRIES_AT_THE_END):
            await self._done()
            if not (self._waiting or self._durable):
                break
            self._begin()
        await self._done()

    async def close(self) -> None:
        """Nothing is added any more."""
        await self.settle()
        if self._timer:
            self._timer.cancel()

    def _begin(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._flush())

    async def _done(self) -> None:
        if self._writing:
            await asyncio.wait({self._writing})

    async def _flush(self) -> None:
        """What waits now, and once more what came meanwhile; what cannot be written waits on."""
        while self._waiting or self._durable:
            waiting, durable = self._waiting, self._durable
            self._waiting, self._durable = [], []
            try:
                await self._group(waiting, durable)
            except errors.HubError as problem:
                self._waiting, self._durable = waiting + self._waiting, durable + self._durable
                emit(Events.HUB_006, error=problem.code)
                self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._begin)
                return

    async def _group(self, waiting: list[tuple[Trace, str]], durable: list[tuple[int, bytes]]) -> None:
        foreign = {one[:2] for request, _ in waiting for one in request.given if not _says_whose(*one)}
        whose = await self.kept.patients(list(foreign)) if foreign else {}
        opened = await self.emergencies(
            (one.caller for one, _ in waiting), min((one.at for one, _ in waiting), default=0)
        )
        rows: list[Row] = []
        for start in range(0, len(waiting), _AT_ONCE):
            rows += self._rows(waiting[start : start + _AT_ONCE], whose, opened)
            await asyncio.sleep(0)
        sealed = sorted([*durable, *((row.n, row.mac) for row in rows)])
        numbers = struct.pack(f"<{len(sealed)}q", *(n for n, _ in sealed))
        digest = trace.sealed(self.secret, self._seal.mac, numbers, [one for _, one in sealed])
        seal = Seal(self.chain, self._seal.k + 1, clock.micros(self._now()), numbers, digest)
        await self.kept.keep(rows, seal)
        self._seal = seal
        if self.heads:
            await asyncio.to_thread(_write_head, self.heads, seal)

    def _rows(self, waiting: list[tuple[Trace, str]], whose: dict[Ref, int], opened: Sequence[Emergency]) -> list[Row]:
        return [self._row(one, status, _patients(one.given, whose), opened) for one, status in waiting]

    def _row(self, one: Trace, status: str, patients: set[int], opened: Sequence[Emergency]) -> Row:
        if opened and _is_urgent(one, patients, opened):
            one.purpose = EMERGENCY
        return trace.row(one, status, (self.chain, self._next()), patients=patients, secret=self.secret)


def _is_urgent(one: Trace, patients: set[int], opened: Sequence[Emergency]) -> bool:
    """Was it to a patient for whom this very person had declared an emergency?"""
    who = access.key(one.caller.actor or "")
    return any(who == the.who and the.patient in patients and the.lo <= one.at <= the.hi for the in opened)


def _says_whose(type: str, id: str, _: int) -> bool:
    return type == "Patient" or (ids.is_made_here(id) and len(id) in (_OURS, _OURS // 2))


def _patients(given: Iterable[Given], whose: dict[Ref, int]) -> set[int]:
    """Whose data was given: our ids say it themselves."""
    found = set()
    for type, id, _ in given:
        if type == "Patient":
            found.add(index.address(f"Patient/{id}"))
        elif (type, id) in whose:
            found.add(whose[type, id])
        elif len(id) == _OURS and id[_OURS // 2] == "-":
            found.add(_patient(id[_OURS // 2 + 1 :]))
    return found


@lru_cache(maxsize=65536)
def _patient(part: str) -> int:
    """The patient's address, from what stands behind the hyphen in an id of ours (`ids.fhir_id`)."""
    return ids.decode_number(part) & ~1


def _kind(write: Write) -> str:
    if len(write.puts) != 1:
        return "transaction"
    return {"POST": "create", "DELETE": "delete"}.get(write.puts[0].row.method, "update")


def _write_head(heads: Path, seal: Seal) -> None:
    heads.mkdir(parents=True, exist_ok=True)
    draft = heads / f".{seal.chain}"
    draft.write_text(f"{seal.k} {seal.mac.hex()}\n")
    draft.replace(heads / f"{seal.chain}.head")
