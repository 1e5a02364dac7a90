"""How does a person come in through Pro Santé Connect?

Away to the provider, back with an answer, then on as everybody who came in (`hats.py`).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import session
from web.pages import hats, signin
from web.room import Room
from web.ways import National


async def leave_for(request: Request, room: Room) -> Response:
    """Send the person to Pro Santé Connect."""
    back = session.way_back(request.query_params.get("suite", "/"))
    try:
        url, sealed = await _national(room).begin(back)
    except errors.Unavailable as problem:
        return signin.shown(request, room, back=back, problem=signin.sentence(problem), status=503)
    response = RedirectResponse(url, 303)
    session.keep_under_way(response, sealed, request)
    return response


async def come_back(request: Request, room: Room) -> Response:
    """The person is back: they go on, or are told why not."""
    try:
        arrived = await _national(room).finish(request.query_params, session.kept(request, session.UNDER_WAY))
        return await hats.inside(request, room, arrived)
    except (errors.Unauthenticated, errors.Forbidden, errors.Unavailable) as problem:
        response = signin.shown(request, room, back="/", problem=signin.sentence(problem), status=problem.status)
        session.drop_under_way(response)
        return response


def _national(room: Room) -> National:
    if room.sign_in.ways.national is None:
        raise errors.NotFound("la connexion par Pro Santé Connect n'est pas configurée ici")
    return room.sign_in.ways.national
