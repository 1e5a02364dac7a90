"""How does a person without a card come in? Address and password, then a code. (ACC-06)"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import layout, session
from web.pages import hats, signin
from web.room import Room

CODE = "/connexion/code"


async def enter(request: Request, room: Room) -> Response:
    """An address and a password were given."""
    form = await request.form()
    session.check_form(signin.field(form, "csrf"), session.kept(request, session.VISITOR))
    back, mail = session.way_back(signin.field(form, "suite")), signin.field(form, "adresse")
    try:
        browser = session.kept(request, session.BROWSER)
        ticket = await room.sign_in.ways.enter.password(mail, signin.field(form, "mot_de_passe"), browser, back)
    except (errors.Unauthenticated, errors.TooMany) as problem:
        words = signin.sentence(problem)
        return signin.shown(request, room, back=back, problem=words, status=problem.status, mail=mail)
    response = RedirectResponse(CODE, 303)
    session.keep_under_way(response, ticket, request)
    return response


async def code_page(request: Request, room: Room) -> Response:
    """Where the code is typed."""
    return _asked(request, room)


async def code(request: Request, room: Room) -> Response:
    """A code was given: they are in, or may try again."""
    form = await request.form()
    session.check_form(signin.field(form, "csrf"), session.kept(request, session.VISITOR))
    try:
        ticket = session.kept(request, session.UNDER_WAY)
        entered = await room.sign_in.ways.enter.second(ticket, signin.field(form, "code"))
    except (errors.Unauthenticated, errors.TooMany) as problem:
        return _asked(request, room, problem=signin.sentence(problem), status=problem.status)
    try:
        response = await hats.inside(request, room, entered.arrived)
    except errors.Forbidden as problem:
        return signin.shown(request, room, back="/", problem=signin.sentence(problem), status=problem.status)
    session.keep_browser(response, entered.browser, request)
    return response


def _asked(request: Request, room: Room, *, problem: str = "", status: int = 200) -> Response:
    visitor = session.visitor(request)
    response = layout.page(room, "code.html", status=status, csrf=session.derived(visitor), problem=problem)
    session.remember_visitor(response, visitor, request)
    return response
