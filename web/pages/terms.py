"""What does one agree to, and has one? (ACC-08)

Anybody may read the terms of use at any time; whoever is signed in and has not accepted them does so here.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import layout, session
from web.pages import signin
from web.room import Room

PAGE = "/cgu"


async def page(request: Request, room: Room) -> Response:
    """The text in force, with a button where it is missing."""
    token, text = session.kept(request, session.COOKIE), room.sign_in.ways.terms.text
    pending = False
    try:
        if token:
            pending = all(version != text.version for version, _ in await room.sign_in.accepted(token))
    except errors.Unauthenticated:
        pass  # signed out
    back = session.way_back(request.query_params.get("suite", "/"))
    csrf = session.derived(token) if pending else ""
    return layout.page(room, "terms.html", text=text, pending=pending, back=back, csrf=csrf)


async def accept(request: Request, room: Room) -> Response:
    """They accept."""
    token, form = session.kept(request, session.COOKIE), await request.form()
    session.check_form(signin.field(form, "csrf"), token)
    if signin.field(form, "version") != room.sign_in.ways.terms.text.version:
        return RedirectResponse(PAGE, 303)  # it changed while they read
    await room.sign_in.accept(token)
    return RedirectResponse(session.way_back(signin.field(form, "suite")), 303)
