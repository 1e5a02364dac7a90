"""As what does somebody who came in work now? (ACC-13)

With one hat they are in; with several they choose.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import layout, session
from web.pages import signin
from web.room import Room
from web.ways import Arrived

PAGE = "/connexion/profil"


async def inside(request: Request, room: Room, arrived: Arrived) -> Response:
    """Into the app, or to the choice of a hat. Raises Unauthenticated, Forbidden."""
    if len(arrived.hats) > 1:
        return _choice(request, room, arrived)
    token = await room.sign_in.wear(arrived.ticket, arrived.hats[0].actor)
    return _in(request, token, session.way_back(arrived.back))


async def page(request: Request, room: Room) -> Response:
    """The choice, for who came in by a script."""
    return _choice(request, room, await room.sign_in.waiting(session.kept(request, session.UNDER_WAY)))


async def choose(request: Request, room: Room) -> Response:
    """A hat was chosen."""
    form = await request.form()
    session.check_form(str(form.get("csrf", "")), session.kept(request, session.VISITOR))
    try:
        ticket = session.kept(request, session.UNDER_WAY)
        token = await room.sign_in.wear(ticket, str(form.get("profil", "")))
    except (errors.Unauthenticated, errors.Forbidden) as problem:
        return signin.shown(request, room, back="/", problem=signin.sentence(problem), status=problem.status)
    return _in(request, token, session.way_back(str(form.get("suite", "/"))))


def _in(request: Request, token: str, back: str) -> Response:
    response = RedirectResponse(back, 303)
    session.remember(response, token, request)
    session.drop_under_way(response)
    return response


def _choice(request: Request, room: Room, arrived: Arrived) -> Response:
    visitor = session.visitor(request)
    back = session.way_back(arrived.back)
    response = layout.page(room, "hats.html", csrf=session.derived(visitor), hats=arrived.hats, back=back)
    session.remember_visitor(response, visitor, request)
    session.keep_under_way(response, arrived.ticket, request)
    return response
