"""What may somebody see and change of their own account? (ACC-06, ACC-08, ACC-14)"""

from __future__ import annotations

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import clock, errors
from web import layout, session, words
from web.pages import signin
from web.room import Room
from web.session import SignedIn
from web.ways import Passkey

PAGE = "/compte"


async def page(request: Request, room: Room) -> Response:
    """The account."""
    return await _shown(await session.signed_in(request, room), room)


async def change_password(request: Request, room: Room) -> Response:
    """Another password."""
    person, form = await _changing(request, room)
    before, after, again = (signin.field(form, one) for one in ("avant", "mot_de_passe", "encore"))
    try:
        if after != again:
            raise errors.Invalid("les deux mots de passe ne sont pas les mêmes")
        await room.sign_in.ways.own.change_password(person.token, before, after)
    except (errors.Invalid, errors.TooMany) as problem:
        return await _shown(person, room, problem=signin.sentence(problem), status=problem.status)
    return await _shown(person, room, done="Mot de passe changé. Vos autres sessions sont terminées.")


async def new_papers(request: Request, room: Room) -> Response:
    """New codes to print."""
    person, _ = await _changing(request, room)
    papers = await room.sign_in.ways.own.new_papers(person.token)
    return layout.page(room, "papers.html", person=person, papers=papers, onward=PAGE)


async def remove_passkey(request: Request, room: Room) -> Response:
    """A passkey less."""
    person, _ = await _changing(request, room)
    try:
        await room.sign_in.ways.own.remove_passkey(person.token, request.path_params["id"])
    except errors.Conflict as problem:
        return await _shown(person, room, problem=signin.sentence(problem), status=problem.status)
    return RedirectResponse(PAGE, 303)


async def give(request: Request, room: Room) -> Response:
    """Somebody may act in their name."""
    person, form = await _changing(request, room)
    try:
        await room.sign_in.ways.delegating.give(person.token, signin.field(form, "delegue"))
    except errors.Invalid as problem:
        return await _shown(person, room, problem=signin.sentence(problem), status=problem.status)
    return RedirectResponse(PAGE, 303)


async def take_back(request: Request, room: Room) -> Response:
    """They may no more."""
    person, _ = await _changing(request, room)
    await room.sign_in.ways.delegating.end(person.token, request.path_params["id"])
    return RedirectResponse(PAGE, 303)


async def _changing(request: Request, room: Room) -> tuple[SignedIn, FormData]:
    person = await session.signed_in(request, room)
    form = await request.form()
    session.check_form(signin.field(form, "csrf"), person.token)
    return person, form


async def _shown(person: SignedIn, room: Room, *, problem: str = "", done: str = "", status: int = 200) -> Response:
    ways = room.sign_in.ways
    mine, offices = await ways.own.mine(person.token), await ways.delegating.offices(person.token)
    return layout.page(
        room,
        "account.html",
        status=status,
        person=person,
        mine=mine,
        passkeys=[_told(one, room) for one in mine.passkeys] if mine else [],
        host=ways.enter.host,
        given=[(one.id, one.delegate, words.moment(one.until, room.now(), room.zone)) for one in offices.given],
        colleagues=offices.colleagues,
        is_delegate=bool(person.caller.delegate),
        accepted=[
            (version, words.moment(at, room.now(), room.zone))
            for version, at in await room.sign_in.accepted(person.token)
        ],
        problem=problem,
        done=done,
    )


def _told(one: Passkey, room: Room) -> dict[str, str]:
    def when(micros: int) -> str:
        return words.moment(clock.instant(clock.from_micros(micros)), room.now(), room.zone) if micros else ""

    return {"id": one.id, "name": one.name, "created": when(one.created), "used": when(one.used)}
