"""The inbox: every conversation of the signed-in person, newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from web import layout, mailbox, session
from web.room import Room


async def page(request: Request, room: Room) -> Response:
    """The whole page."""
    return await _shown(request, room, "inbox.html")


async def fragment(request: Request, room: Room) -> Response:
    """The list alone, for a page that is open: `ouverte` names the conversation shown beside it."""
    return await _shown(request, room, "fragment_inbox.html")


async def _shown(request: Request, room: Room, template: str) -> Response:
    person = await session.signed_in(request, room)
    query = request.query_params
    box = await mailbox.listed(person, room, view=query.get("vue", ""), after=query.get("suite", ""))
    opened = query.get("ouverte", "")
    return layout.page(room, template, person=person, box=box, views=mailbox.VIEWS, opened=opened)
