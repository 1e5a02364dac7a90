"""One conversation: its messages and what the person can do with it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import layout, mailbox, names, session, thread
from web.room import Room

_TRIES = 8  # somebody else's write came in between: look again, as often as a burst of messages may need


async def page(request: Request, room: Room) -> Response:
    """The whole page, with the inbox beside it where the screen is wide."""
    person = await session.signed_in(request, room)
    id, view = request.path_params["id"], request.query_params.get("vue", "")
    head, messages, box = await asyncio.gather(
        thread.head(person, room, id),
        thread.messages(person, room, id, after=request.query_params.get("suite", "")),
        mailbox.listed(person, room, view=view),
    )
    values: dict[str, Any] = {"box": box, "views": mailbox.VIEWS, "opened": id, "head": head, "thread": messages}
    values["key"] = str(uuid.uuid4())
    values["summary"] = thread.summary(head.members, person.actor)
    return layout.page(room, "conversation.html", person=person, **values)


async def fragment(request: Request, room: Room) -> Response:
    """Header and messages alone, for a page that is open."""
    person = await session.signed_in(request, room)
    id = request.path_params["id"]
    head, messages = await asyncio.gather(
        thread.head(person, room, id),
        thread.messages(person, room, id, after=request.query_params.get("suite", "")),
    )
    summary = thread.summary(head.members, person.actor)
    return layout.page(room, "fragment_conversation.html", person=person, head=head, thread=messages, summary=summary)


async def mark(request: Request, room: Room) -> Response:
    """Read, unread, to handle, handled: the person's own inbox entry changes, nobody else's."""
    person = await session.signed_in(request, room)
    form = await request.form()
    session.check_form(str(form.get("csrf", "")), person.token)
    id, wanted = request.path_params["id"], str(form.get("etat", ""))
    if wanted not in _MARKS:
        raise errors.Unreadable("état inconnu")
    seen = str(form.get("vu", ""))
    for _ in range(_TRIES):
        # A message that came after the last one on screen stays unread; the page hears of it and says so again.
        if wanted == "lu" and seen and await thread.newest(person, id) != seen:
            break
        try:
            await _mark_once(person, id, _MARKS[wanted])
            break
        except errors.Stale:
            continue
    else:
        raise errors.Conflict("la conversation change trop vite : réessayez")
    if "hub-script" in request.headers:
        return Response(status_code=204)
    return RedirectResponse("/" if wanted == "non-lu" else f"/conversations/{id}", 303)


async def _mark_once(person: session.SignedIn, id: str, change: Callable[[names.Resource], names.Resource]) -> None:
    task = await thread.entry(person, id)
    if task is None:
        raise errors.NotFound("cette conversation n'est pas dans votre boîte")
    changed = {**task, **change(task)}
    if changed != task:
        await person.api.update(changed)


def _business(code: str) -> Callable[[names.Resource], names.Resource]:
    return lambda task: {"businessStatus": names.concept(names.INBOX_STATUS, code)}


def _status(code: str) -> Callable[[names.Resource], names.Resource]:
    return lambda task: {"status": code}


_MARKS = {
    "lu": _business("read"),
    "non-lu": _business("unread"),
    "a-traiter": _status("in-progress"),
    "traite": _status("completed"),
}
