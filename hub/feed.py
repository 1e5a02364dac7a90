"""Who must hear, now, that something changed?

Fans the store's commits out to the open event streams of this process. It carries no content: a page that hears of a
change asks the FHIR API, which applies the person's rights. A stream that was cut loses nothing, since a page that
comes back asks for the present state.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from fhir_server import access, store

QUEUE_LENGTH = 256  # a page that is further behind is told once to look at everything again


@dataclass(frozen=True, slots=True)
class Change:
    """Something the listener may see changed; `conversation` is the header's id when there is one.

    `type` is empty when changes were dropped because the listener was too slow: look at everything again.
    """

    seq: int
    type: str
    id: str
    conversation: str | None


class Feed:
    """All listeners of one process. Attach with `store.listen(feed.publish)`."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[Change], access.Caller] = {}

    def publish(self, events: list[store.Event]) -> None:
        """Tell every listener of what they may see; called after each commit, in the event loop."""
        if not self._listeners:
            return
        for event in events:
            change = Change(event.seq, event.type, event.id, _conversation(event))
            for queue, caller in self._listeners.items():
                is_reader = caller.memberships is None or not event.readers.isdisjoint(caller.memberships)
                if is_reader and access.can(caller, "r", event.type):
                    _put(queue, change)

    async def subscribe(self, caller: access.Caller) -> AsyncIterator[Change]:
        """Changes from now on, for as long as the caller listens."""
        queue: asyncio.Queue[Change] = asyncio.Queue(QUEUE_LENGTH)
        self._listeners[queue] = caller
        try:
            while True:
                yield await queue.get()
        finally:
            del self._listeners[queue]


class _Reference(msgspec.Struct):
    reference: str = ""


class _Thread(msgspec.Struct):
    """The few elements that tell which conversation a Communication or a Task belongs to."""

    partOf: list[_Reference] = []  # noqa: N815 - FHIR's name
    basedOn: list[_Reference] = []  # noqa: N815 - FHIR's name
    focus: _Reference | None = None


_threads = msgspec.json.Decoder(_Thread)


def _conversation(event: store.Event) -> str | None:
    if event.type not in ("Communication", "Task") or not event.body:
        return None
    thread = _threads.decode(event.body)
    if event.type == "Task":
        found = thread.basedOn or ([thread.focus] if thread.focus else [])
    else:
        found = thread.partOf
    references = [one.reference for one in found if one.reference.startswith("Communication/")]
    if references:
        return references[0].partition("/")[2]
    return event.id if event.type == "Communication" else None


def _put(queue: asyncio.Queue[Change], change: Change) -> None:
    try:
        queue.put_nowait(change)
    except asyncio.QueueFull:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(Change(change.seq, "", "", None))
