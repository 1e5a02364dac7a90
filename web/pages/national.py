"""How does a person come in through Pro Santé Connect, and as what?

Away to the provider, back with an answer, then, for whoever works in several places, the choice of one.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import layout, session
from web.pages import signin
from web.room import Arrived, National, Room


async def leave_for(request: Request, room: Room) -> Response:
    """Send the person to Pro Santé Connect."""
    back = session.way_back(request.query_params.get("suite", "/"))
    try:
        url, sealed = await _national(room).begin(back)
    except errors.Unavailable as problem:
        return signin.shown(request, room, back=back, problem=_sentence(problem), status=503)
    response = RedirectResponse(url, 303)
    session.keep_under_way(response, sealed, request)
    return response


async def come_back(request: Request, room: Room) -> Response:
    """The person is back: sign them in, or let them choose a hat, or say why not."""
    national = _national(room)
    try:
        arrived = await national.finish(request.query_params, request.cookies.get(session.UNDER_WAY, ""))
        if len(arrived.hats) > 1:
            return _choice(request, room, arrived)
        token = await national.wear(arrived.ticket, arrived.hats[0].actor)
    except (errors.Unauthenticated, errors.Forbidden, errors.Unavailable) as problem:
        response = signin.shown(request, room, back="/", problem=_sentence(problem), status=problem.status)
        session.drop_under_way(response)
        return response
    return _in(request, token, session.way_back(arrived.back))


async def choose(request: Request, room: Room) -> Response:
    """A hat was chosen."""
    form = await request.form()
    session.check_form(str(form.get("csrf", "")), request.cookies.get(session.VISITOR, ""))
    try:
        ticket = request.cookies.get(session.UNDER_WAY, "")
        token = await _national(room).wear(ticket, str(form.get("profil", "")))
    except (errors.Unauthenticated, errors.Forbidden) as problem:
        return signin.shown(request, room, back="/", problem=_sentence(problem), status=problem.status)
    return _in(request, token, session.way_back(str(form.get("suite", "/"))))


def _national(room: Room) -> National:
    if room.sign_in.national is None:
        raise errors.NotFound("la connexion par Pro Santé Connect n'est pas configurée ici")
    return room.sign_in.national


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


def _sentence(problem: errors.HubError) -> str:
    return f"{problem.message[:1].upper()}{problem.message[1:]}."
