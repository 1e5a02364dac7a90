"""Does this person let this app have what it asks for?

The request of the app is in the address and goes back with the form, to be judged again (`opening.Apps`). Nothing is
remembered: each time an app is opened the person says so, and for whom.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import errors
from web import app_scopes, layout, session, words
from web.opening import Consent
from web.room import Room
from web.session import SignedIn

LONGEST = 1800  # what a cookie has room for
_MOST_FOUND = 20
FOUND = "nom"  # the name that a patient is looked for by
PAGE = "/oauth/authorize"


async def page(request: Request, room: Room) -> Response:
    """What the app asks, with the patients to choose from when it asks for one."""
    query = request.url.query or session.kept(request, session.ASKED)
    if len(query) > LONGEST:
        raise errors.Unreadable("cette demande est trop longue")
    params = [pair for pair in _pairs(query) if pair[0] != FOUND]
    apps = room.sign_in.ways.apps
    if back := await apps.check(params):
        return RedirectResponse(back, 303)
    try:
        person = await session.signed_in(request, room)
    except errors.Unauthenticated:
        return _away(request, params)
    consent = await apps.consent(params, person.token)
    if consent.back:
        return RedirectResponse(consent.back, 303)
    return await _shown(room, person, consent, params=params, looked=request.query_params.get(FOUND, "").strip())


async def decide(request: Request, room: Room) -> Response:
    """Yes or no: the browser goes back to the app."""
    person = await session.signed_in(request, room)
    form = await request.form()
    session.check_form(str(form.get("csrf", "")), person.token)
    params, apps = _pairs(str(form.get("asked", ""))), room.sign_in.ways.apps
    if form.get("choix") == "oui":
        back = await apps.allow(params, person.token, str(form.get("patient", "")))
    else:
        back = await apps.deny(params)
    response = RedirectResponse(back, 303)
    session.drop_asked(response)
    return response


def _away(request: Request, params: list[tuple[str, str]]) -> Response:
    """To the sign-in, whichever way; what the app asks waits in the browser, because not every way carries so much."""
    response = RedirectResponse(f"/connexion?suite={PAGE}", 303)
    session.forget(response)
    session.keep_asked(response, urlencode(params), request)
    return response


async def _shown(
    room: Room, person: SignedIn, consent: Consent, *, params: list[tuple[str, str]], looked: str
) -> Response:
    now, one = room.local(), consent.patient
    found = []
    if consent.picks and looked:
        page = await person.api.search("Patient", [("name", looked), ("_count", str(_MOST_FOUND))])
        found = [(one["id"], words.patient_name(one), words.birth(one, now)) for one in page.matches]
    response = layout.page(
        room,
        "authorize.html",
        person=person,
        consent=consent,
        wants=app_scopes.words(consent.scopes),
        asked=urlencode(params),
        params=params,
        patient=(words.patient_name(one), words.birth(one, now)) if one else None,
        looked=looked,
        found=found,
    )
    # The answer to the form leads on to the app, which browsers hold against the directive as well.
    response.headers["content-security-policy"] = layout.policy(consent.place)
    return response


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise errors.Unreadable("cette demande est trop longue") from None
