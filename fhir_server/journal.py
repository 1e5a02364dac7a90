"""What came through a door, and how did it end?

A door keeps the raw bytes before anything else; when `keep` returns they are on disk, and an acknowledgement may
follow. The end (accepted, refused, the exact answer given) is settled inside the commit that the message led to, or
alone for a refusal. So every exchange can be found, explained and replayed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from common import clock, errors
from fhir_server import ids
from fhir_server.changes import Settle
from fhir_server.commit import entry_id, entry_numbers, settled
from fhir_server.engine import Engine
from fhir_server.rows import JournalEntry, JournalRow, Write

RECEIVED = "received"


class Journal:
    """The journal part of a store."""

    def __init__(self, engine: Engine, next_number: Callable[[], int], now: clock.Clock) -> None:
        self._engine = engine
        self._next = next_number
        self._now = now

    async def keep(self, door: str, key: str, raw: bytes, *, at: datetime, meta: dict[str, Any]) -> JournalEntry:
        """A new entry, durable when this returns.

        `key` is what the sender calls the message (MSH-10, Message-ID); any text, and it may come again. `meta` is
        small JSON about how it came (peer, channel). Raises Unavailable: then nothing may be acknowledged.
        """
        door, key = _text(door), _text(key)
        part = ids.hash64(f"{door}|{key}")
        told = json.dumps(meta, ensure_ascii=True, separators=(",", ":"))
        row = JournalRow(part, self._next(), door, key, clock.micros(at), RECEIVED, None, "", told, b"", raw)
        await self._engine.keep(row)
        return _entry(row)

    async def find(self, door: str, key: str) -> JournalEntry | None:
        """The latest accepted entry with this key, else the latest of any state."""
        found = await self._engine.journal_rows(key=(_text(door), _text(key)), state=None, count=1)
        return _entry(found[0]) if found else None

    async def settle(self, end: Settle) -> None:
        """The end of an entry that led to no commit. Raises NotFound."""
        await self._engine.write(Write(settled=[settled(end, clock.micros(self._now()))]))

    async def read(self, id: str) -> JournalEntry:
        """One entry. Raises NotFound."""
        found = await self._engine.journal_rows(id=entry_numbers(id), state=None, count=1)
        if not found:
            raise errors.NotFound("entrée de journal inconnue")
        return _entry(found[0])

    async def list(self, limit: int, state: str | None = None) -> list[JournalEntry]:
        """The latest entries, of one state or of all, newest first."""
        return [_entry(row) for row in await self._engine.journal_rows(state=state, count=limit)]


def _text(text: str) -> str:
    """What a database can hold: senders put anything into their message numbers."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _entry(row: JournalRow) -> JournalEntry:
    return JournalEntry(
        id=entry_id(row.part, row.seq),
        door=row.door,
        key=row.key,
        raw=row.raw,
        at=clock.from_micros(row.at),
        meta=json.loads(row.meta),
        state=row.state,
        answer=row.answer,
        cause=row.cause,
        settled=None if row.settled is None else clock.from_micros(row.settled),
    )
