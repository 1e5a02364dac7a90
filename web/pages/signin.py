"""How does a person come in and go out?

By Pro Santé Connect (`national.py`), by address and password (`password.py`), by a passkey (`passkey.py`), by an access
token (the one their software or their administrator gave them) or, in the demo, by one tap on a persona.
"""

from __future__ import annotations

import contextlib

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import layout, session
from web.room import Room


async def page(request: Request, room: Room) -> Response:
    """The sign-in page."""
    return shown(request, room, back=session.way_back(request.query_params.get("suite", "/")))


async def enter(request: Request, room: Room) -> Response:
    """A token or a persona was given: check it, remember it, go where the person wanted to go."""
    form = await request.form()
    session.check_form(field(form, "csrf"), session.kept(request, session.VISITOR))
    back = session.way_back(field(form, "suite"))
    try:
        token = await _token(form, room)
        with contextlib.suppress(errors.TermsPending):  # the next page asks for that
            await session.admit(token, room, session.correlation(request))
    except (errors.Unauthenticated, errors.NotFound):
        problem = "Ce jeton n'est pas reconnu, ou il a expiré. Vérifiez qu'il est copié en entier."
        return shown(request, room, back=back, problem=problem, status=401)
    response = RedirectResponse(back, 303)
    session.remember(response, token, request)
    return response


async def leave(request: Request, room: Room) -> Response:
    """Sign out: the session's token is worth nothing afterwards, wherever else it was copied to."""
    person = await session.signed_in(request, room)
    session.check_form(field(await request.form(), "csrf"), person.token)
    await room.sign_in.forget(person.token)
    response = RedirectResponse("/connexion", 303)
    session.forget(response)
    return response


async def _token(form: FormData, room: Room) -> str:
    persona = field(form, "persona")
    if persona and room.demo:
        return await room.sign_in.persona(persona)
    token = "".join(field(form, "jeton").split())  # pasted from a mail or a terminal, it may have been cut into lines
    if not token:
        raise errors.Unauthenticated("aucun jeton")
    return token


def sentence(problem: errors.HubError) -> str:
    """What a refusal says, as a sentence."""
    return f"{problem.message[:1].upper()}{problem.message[1:]}."


def field(form: FormData, name: str) -> str:
    """A text of the form, "" when it is not there."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def shown(request: Request, room: Room, *, back: str, problem: str = "", status: int = 200, mail: str = "") -> Response:
    """The sign-in page, saying what went wrong if anything did."""
    visitor = session.visitor(request)
    csrf = session.derived(visitor)
    response = layout.page(
        room,
        "signin.html",
        status=status,
        csrf=csrf,
        personas=room.personas,
        back=back,
        problem=problem,
        national=room.sign_in.ways.national is not None,
        host=room.sign_in.ways.enter.host,
        mail=mail,
        asks=room.requests is not None,
    )
    session.remember_visitor(response, visitor, request)
    return response
