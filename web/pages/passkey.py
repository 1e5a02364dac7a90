"""How does a browser use or make a passkey? Two questions of its script each: what to ask for, and what came. (ACC-06)

Answers are JSON for `passkey.js`; a refusal never is 401, which our scripts read as the end of a session.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from common import errors
from web import session
from web.pages import hats, signin
from web.room import Room
from web.ways import Arrived


async def asked(request: Request, room: Room) -> Response:
    """To come in with one."""
    form = await _visitors_form(request)
    back = session.way_back(signin.field(form, "suite"))
    return _options(*await room.sign_in.ways.enter.asked(back))


async def used(request: Request, room: Room) -> Response:
    """One answered: in, or to the choice of a hat."""
    form = await _visitors_form(request)
    try:
        entered = await room.sign_in.ways.enter.passkey(signin.field(form, "reponse"), signin.field(form, "scelle"))
        response = await _inside(request, room, entered.arrived)
    except errors.Unauthenticated as problem:
        raise errors.Forbidden(problem.message) from None
    session.keep_browser(response, entered.browser, request)
    return response


async def asked_by_link(request: Request, room: Room) -> Response:
    """To make the first one, with the link of an invitation."""
    await _visitors_form(request)
    return _options(*await room.sign_in.ways.setup.asked(request.path_params["secret"]))


async def made_by_link(request: Request, room: Room) -> Response:
    """It was made: the account is open, and its owner is in."""
    form = await _visitors_form(request)
    try:
        arrived = await room.sign_in.ways.setup.passkey(
            request.path_params["secret"],
            signin.field(form, "reponse"),
            signin.field(form, "scelle"),
            signin.field(form, "nom"),
        )
        return await _inside(request, room, arrived)
    except errors.Unauthenticated as problem:
        raise errors.Forbidden(problem.message) from None


async def asked_by_owner(request: Request, room: Room) -> Response:
    """To make one more."""
    person = await session.signed_in(request, room)
    session.check_form(signin.field(await request.form(), "csrf"), person.token)
    return _options(*await room.sign_in.ways.own.asked(person.token))


async def made_by_owner(request: Request, room: Room) -> Response:
    """One more was made."""
    person = await session.signed_in(request, room)
    form = await request.form()
    session.check_form(signin.field(form, "csrf"), person.token)
    answer, sealed, name = (signin.field(form, one) for one in ("reponse", "scelle", "nom"))
    await room.sign_in.ways.own.add_passkey(person.token, answer, sealed, name)
    return JSONResponse({"suite": "/compte"})


async def _visitors_form(request: Request) -> Any:
    form = await request.form()
    session.check_form(signin.field(form, "csrf"), session.kept(request, session.VISITOR))
    return form


async def _inside(request: Request, room: Room, arrived: Arrived) -> Response:
    """The address to go on at, with the cookies of being in, or of the choice that is left."""
    if len(arrived.hats) > 1:
        response: Response = JSONResponse({"suite": hats.PAGE})
        session.keep_under_way(response, arrived.ticket, request)
        return response
    token = await room.sign_in.wear(arrived.ticket, arrived.hats[0].actor)
    response = JSONResponse({"suite": session.way_back(arrived.back)})
    session.remember(response, token, request)
    return response


def _options(options: dict[str, Any], sealed: str) -> Response:
    return JSONResponse({"options": options, "scelle": sealed})
