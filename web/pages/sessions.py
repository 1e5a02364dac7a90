"""Where is this person signed in, and how do they end what they do not know? (ACC-10)"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import layout, session, words
from web.pages import deciding
from web.room import Room, Session

ALL_OTHERS = "autres"
_WAYS = {
    "web": "Application, par jeton",
    "psc": "Application, par Pro Santé Connect",
    "password": "Application, par mot de passe",
    "passkey": "Application, par clé d'accès",
}


async def page(request: Request, room: Room) -> Response:
    """The person's sessions, this one first."""
    person = await session.signed_in(request, room)
    found = await room.sign_in.sessions(person.token)
    shown = [_shown(one, room) for one in found]
    return layout.page(room, "sessions.html", person=person, sessions=shown, agent=deciding.is_agent(person))


async def end(request: Request, room: Room) -> Response:
    """One session ends, or all but this one; with this one the person is signed out."""
    person = await session.signed_in(request, room)
    session.check_form(str((await request.form()).get("csrf", "")), person.token)
    wanted, found = request.path_params["id"], await room.sign_in.sessions(person.token)
    ended = [one for one in found if one.id == wanted or (wanted == ALL_OTHERS and not one.is_this)]
    for one in ended:
        await room.sign_in.end_session(person.token, one.id)
    response = RedirectResponse("/connexion" if any(one.is_this for one in ended) else "/sessions", 303)
    if any(one.is_this for one in ended):
        session.forget(response)
    return response


def _shown(one: Session, room: Room) -> dict[str, object]:
    way = _WAYS.get(one.client, f"Logiciel {one.client}" if one.client else "Jeton")
    since, until = (words.moment(text, room.now(), room.zone) for text in (one.since, one.until))
    return {"id": one.id, "way": way, "hat": one.name, "since": since, "until": until, "is_this": one.is_this}
