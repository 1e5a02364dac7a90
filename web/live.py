"""How does an open page hear at once that something changed? (DISC-17)

`/live` is an event stream. An event says only what changed, never what it contains: the page asks for its list again,
with the person's rights, and replaces by id what it shows. So a stream that was cut loses and doubles nothing. `ready`
says that the subscription stands: whatever was committed before it is in what the page asks for after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from common import errors
from web import session
from web.room import Change, Room

_ALIVE = b": toujours la\n\n"
_READY = b"retry: 2000\nevent: ready\ndata: {}\n\n"


async def stream(request: Request, room: Room) -> Response:
    """The event stream of one tab, until it leaves or its session ends."""
    person = await session.signed_in(request, room)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(person, room), media_type="text/event-stream", headers=headers)


async def _events(person: session.SignedIn, room: Room) -> AsyncIterator[bytes]:
    changes = aiter(room.feed.subscribe(person.caller))
    waiting = asyncio.ensure_future(anext(changes))
    try:
        await asyncio.sleep(0)  # the iterator runs up to its first wait: it is registered
        yield _READY
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=room.seconds_between_signs_of_life)
            if done:
                yield written(waiting.result())
                waiting = asyncio.ensure_future(anext(changes))
            else:
                await room.sign_in.check(person.token)
                yield _ALIVE
    except (StopAsyncIteration, errors.Unauthenticated):
        return  # the page connects again, and is told then when its session has ended
    finally:
        await _leave(waiting, changes)


def written(change: Change) -> bytes:
    """One change as server-sent events: `conversation` with its id, and `inbox` for what may move a counter."""
    if not change.type:
        return b"event: ready\ndata: {}\n\n"  # changes were dropped: look at everything again
    names = []
    if change.conversation:
        names.append("conversation")
    if change.type in ("Task", "Communication"):
        names.append("inbox")
    data = msgspec.json.encode({"type": change.type, "id": change.id, "conversation": change.conversation}).decode()
    return "".join(f"id: {change.seq}\nevent: {name}\ndata: {data}\n\n" for name in names).encode()


async def _leave(waiting: asyncio.Future[Change], changes: AsyncIterator[Change]) -> None:
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
        await waiting
    close = getattr(changes, "aclose", None)
    if close:
        await close()
