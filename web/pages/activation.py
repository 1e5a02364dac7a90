"""How does somebody set how they sign in, with the link that they were given? (ACC-06)"""

from __future__ import annotations

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from common import errors
from web import layout, session
from web.pages import signin
from web.room import Room


async def page(request: Request, room: Room) -> Response:
    """Whose account it is, and the two means to choose from."""
    return await _shown(request, room)


async def set_password(request: Request, room: Room) -> Response:
    """A password and a first code were given: the codes to print follow."""
    form = await request.form()
    session.check_form(signin.field(form, "csrf"), session.kept(request, session.VISITOR))
    password, again, code, sealed = (signin.field(form, one) for one in ("mot_de_passe", "encore", "code", "scelle"))
    try:
        if password != again:
            raise errors.Invalid("les deux mots de passe ne sont pas les mêmes")
        papers = await room.sign_in.ways.setup.password(request.path_params["secret"], sealed, password, code)
    except (errors.Invalid, errors.Unauthenticated) as problem:
        return await _shown(request, room, problem=signin.sentence(problem), status=422)
    return layout.page(room, "papers.html", papers=papers, onward="/connexion", csrf="")


async def _shown(request: Request, room: Room, *, problem: str = "", status: int = 200) -> Response:
    invited = await room.sign_in.ways.setup.begin(request.path_params["secret"])
    visitor = session.visitor(request)
    response = layout.page(
        room,
        "activation.html",
        status=status,
        csrf=session.derived(visitor),
        invited=invited,
        qr=Markup(invited.qr),  # noqa: S704 - drawn by us, its text is encoded in the drawing
        secret=request.path_params["secret"],
        host=room.sign_in.ways.enter.host,
        problem=problem,
    )
    session.remember_visitor(response, visitor, request)
    return response
