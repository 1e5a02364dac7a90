"""A software opens the app on a patient: who goes on, with whom? (LGC-08)

The link that it made names both. Whoever is signed in as that very person goes on at once; else the page says who and
which patient, and a button opens it: a link alone never puts a browser into somebody's session, nor takes it out of the
one it is in.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import layout, session, words
from web.room import Room
from web.session import SignedIn


async def page(request: Request, room: Room) -> Response:
    """To the patient when nobody else is signed in here, else what will be opened, for whom."""
    launch, iss = (request.query_params.get(name, "") for name in ("launch", "iss"))
    launches = room.sign_in.ways.launches
    context = await launches.shown(launch, iss)
    there = await _there(request, room)
    if there and there.actor == context.actor:
        await launches.take(launch)
        return RedirectResponse(f"/patients/{context.patient['id']}", 303)
    visitor = session.visitor(request)
    response = layout.page(
        room,
        "context.html",
        csrf=session.derived(visitor),
        context=context,
        patient=words.patient_name(context.patient),
        birth=words.birth(context.patient, room.local()),
        there=there,
        launch=launch,
        iss=iss,
    )
    session.remember_visitor(response, visitor, request)
    return response


async def enter(request: Request, room: Room) -> Response:
    """The button: this browser is theirs now, and another session that it was in is over."""
    form = await request.form()
    session.check_form(str(form.get("csrf", "")), session.kept(request, session.VISITOR))
    launch, iss = (str(form.get(name, "")) for name in ("launch", "iss"))
    launches = room.sign_in.ways.launches
    context = await launches.shown(launch, iss)
    token = await launches.open(launch, iss)
    if before := session.kept(request, session.COOKIE):
        await room.sign_in.forget(before)
    response = RedirectResponse(f"/patients/{context.patient['id']}", 303)
    session.remember(response, token, request)
    return response


async def _there(request: Request, room: Room) -> SignedIn | None:
    try:
        return await session.signed_in(request, room)
    except errors.Unauthenticated:
        return None
