"""Who must hear, now, that something changed?

Fans the store's commits out to the open event streams of this process. It carries no content: a page that hears of a
change asks the FHIR API, which applies the person's rights. A stream that was cut loses nothing, since a page that
comes back asks for the present state. Where a consent or a circle of care changes who sees what, every open page is
told to look again, and closes what it may not show any more (CONS-03).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec

from common import errors
from fhir_server import access, store
from fhir_server.rights import sharing

SPREAD_SECONDS = 1.5
EMERGENCY, CONVERSATIONS = sharing.EMERGENCY.encode(), sharing.CARE_TEAM.encode()
QUEUE_LENGTH = 256  # a page that is further behind is told once to look at everything again


@dataclass(frozen=True, slots=True)
class Change:
    """Something the listener may see changed; `conversation` is the header's id when there is one.

    `type` is empty when the listener was too slow, or when rights have changed: look at everything again.
    """

    seq: int
    type: str
    id: str
    conversation: str | None


Shows = Callable[[store.Event, access.Caller], Awaitable[bool]]


class Feed:
    """All listeners of one process. Attach with `store.listen(feed.publish)`; `shows` is the store's."""

    def __init__(self, shows: Shows) -> None:
        self._listeners: dict[asyncio.Queue[Change], access.Caller] = {}
        self._shows = shows
        self._news: deque[store.Event] = deque()
        self._telling: asyncio.Task[None] | None = None

    def publish(self, events: list[store.Event]) -> None:
        """Tell every listener of what they may see; called after each commit, in the event loop."""
        if not self._listeners:
            return
        self._news += events
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def subscribe(self, caller: access.Caller) -> AsyncIterator[Change]:
        """Changes from now on, for as long as the caller listens."""
        queue: asyncio.Queue[Change] = asyncio.Queue(QUEUE_LENGTH)
        self._listeners[queue] = caller
        try:
            while True:
                yield await queue.get()
        finally:
            del self._listeners[queue]

    async def _tell(self) -> None:
        """In the order of the commits: a listener's rights are asked where they stand after them."""
        while self._news:
            event = self._news.popleft()
            if _moves_rights(event):
                self._look_again(event.seq)
            change = Change(event.seq, event.type, event.id, _conversation(event))
            for queue, caller in list(self._listeners.items()):
                try:
                    shown = await self._shows(event, caller)
                except errors.HubError:
                    shown = False
                    _put(queue, Change(event.seq, "", "", None))  # the database does not answer: the page asks again
                if shown:
                    _put(queue, change)

    def _look_again(self, seq: int) -> None:
        """Who sees what has changed: every page asks again for what it shows, not all in the same instant."""
        loop = asyncio.get_running_loop()
        for queue in self._listeners:
            loop.call_later(random.uniform(0, SPREAD_SECONDS), _put, queue, Change(seq, "", "", None))


def _moves_rights(event: store.Event) -> bool:
    if event.type == "CareTeam":
        return CONVERSATIONS not in event.body  # who talks to whom moves nothing that is not told as a message
    return event.type == "Consent" or (event.type == "Task" and EMERGENCY in event.body)


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
