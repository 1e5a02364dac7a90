"""How are the pages put together: routes, sign-in, errors, security headers?

`build` is called once by the conductor, which mounts the result behind the FHIR dispatcher.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import tzinfo
from urllib.parse import quote
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common import clock, errors
from common.events import Events, emit
from web import assets, fhir, layout, live, session
from web.pages import (
    account,
    activation,
    api,
    asking,
    authorize,
    context,
    conversation,
    deciding,
    document,
    hats,
    inbox,
    message,
    national,
    passkey,
    password,
    patient,
    sessions,
    signin,
    terms,
)
from web.requests import Requests
from web.room import Feed, Persona, Room, SignIn

MAX_BODY = 16 * 1024 * 1024  # base64 in a transaction makes it a third more, under the record's 25 MiB
PARIS = ZoneInfo("Europe/Paris")
SECURITY = {
    "Content-Security-Policy": layout.policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}

Handler = Callable[[Request, Room], Awaitable[Response]]


def build(
    api: fhir.AsPerson,
    feed: Feed,
    sign_in: SignIn,
    demo_personas: Sequence[Persona] = (),
    *,
    now: clock.Clock = clock.system,
    zone: tzinfo = PARIS,
    seconds_between_signs_of_life: float = 15.0,
    requests: Requests | None = None,
) -> Starlette:
    """The web app. `api` gives the FHIR API as one person (`fhir.in_process`).

    Personas make it the demo: the sign-in page shows them and every page says that the data is fictitious.
    """
    static = assets.load()
    room = Room(
        api=api,
        feed=feed,
        sign_in=sign_in,
        personas=tuple(demo_personas),
        now=now,
        zone=zone,
        templates=assets.templates(static),
        seconds_between_signs_of_life=seconds_between_signs_of_life,
        requests=requests,
    )
    return Starlette(
        routes=[*_routes(room), static.route()],
        middleware=[Middleware(_Guard)],
        exception_handlers={HTTPException: _no_such_page(room)},
        max_body_size=2 * MAX_BODY,  # for bodies that do not state their length
    )


def _routes(room: Room) -> list[Route]:
    table = (*_COMING_IN, *_ASKING, *_INSIDE)
    return [Route(path, _endpoint(handler, room), methods=[method]) for method, path, handler in table]


def _endpoint(handler: Handler, room: Room) -> Callable[[Request], Awaitable[Response]]:
    """The door of a page: what was refused and what went wrong become something a person can read."""

    async def endpoint(request: Request) -> Response:
        try:
            if int(request.headers.get("content-length", 0)) > MAX_BODY:
                raise errors.TooLarge(_TOO_LARGE)
            return await handler(request, room)
        except errors.HubError as refusal:
            return _refused(request, room, refusal)
        except HTTPException:  # Starlette's own: a form that cannot be read, or has too many parts
            return _refused(request, room, errors.Unreadable("demande illisible : rechargez la page puis recommencez"))
        except Exception as failure:  # noqa: BLE001 - the door: a bug stops this page, is logged, and can be quoted
            correlation, place = session.correlation(request), failure.__traceback__
            line = f"{place.tb_lineno}" if place else ""
            emit(Events.HUB_004, correlation=correlation, error=type(failure).__name__, line=line)
            return _shown(request, room, 500, words=_UNEXPECTED, code="imprevu")

    return endpoint


def _refused(request: Request, room: Room, refusal: errors.HubError) -> Response:
    if isinstance(refusal, errors.Unauthenticated) and not _is_script(request):
        response: Response = RedirectResponse(f"/connexion?suite={quote(_came_from(request))}", 303)
        session.forget(response)
        return response
    if isinstance(refusal, errors.TermsPending) and not _is_script(request):
        return RedirectResponse(f"{terms.PAGE}?suite={quote(_came_from(request))}", 303)
    words = _WORDS.get(refusal.status) or refusal.message[:1].upper() + refusal.message[1:]
    return _shown(request, room, refusal.status, words=words, code=refusal.code)


def _shown(request: Request, room: Room, status: int, *, words: str, code: str) -> Response:
    code = f"{code}-{session.correlation(request)}"
    if _is_script(request):
        return JSONResponse({"texte": words, "code": code}, status)
    return layout.page(room, "error.html", status=status, words=words, code=code)


def _is_script(request: Request) -> bool:
    """Our own scripts say so, and read JSON errors."""
    return "hub-script" in request.headers


def _came_from(request: Request) -> str:
    if request.method != "GET":
        return "/"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _no_such_page(room: Room) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, problem: Exception) -> Response:
        status = problem.status_code if isinstance(problem, HTTPException) else 404
        words = _WORDS.get(status, "Cette page n'existe pas.")
        return _shown(request, room, status, words=words, code=f"http-{status}")

    return handle


class _Guard:
    """Around every request: refuse changes asked by other sites, and state the security headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        scope["correlation"] = secrets.token_hex(4)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {**SECURITY, "X-Request-Id": scope["correlation"]}.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            session.check_origin(Headers(scope=scope), scope["method"])
        except errors.Forbidden as refusal:
            response = JSONResponse({"texte": refusal.message, "code": refusal.code}, refusal.status)
            return await response(scope, receive, with_headers)
        await self._app(scope, receive, with_headers)


_UNEXPECTED = "Une erreur imprévue s'est produite. Réessayez ; si elle revient, donnez le code à l'assistance."
_TOO_LARGE = "l'envoi dépasse 15 Mo : retirez un document ou réduisez-le"
_WORDS = {
    404: "Cette page n'existe pas, ou vous n'y avez pas accès.",
    410: "Ce contenu a été supprimé.",
    503: "Le service ne répond pas pour le moment. Réessayez dans une minute : rien n'a été perdu.",
}
_COMING_IN: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/connexion", signin.page),
    ("POST", "/connexion", signin.enter),
    ("GET", "/connexion/psc", national.leave_for),
    ("GET", "/connexion/psc/retour", national.come_back),
    ("GET", "/connexion/profil", hats.page),
    ("POST", "/connexion/profil", hats.choose),
    ("POST", "/connexion/motdepasse", password.enter),
    ("GET", "/connexion/code", password.code_page),
    ("POST", "/connexion/code", password.code),
    ("POST", "/connexion/cle/demande", passkey.asked),
    ("POST", "/connexion/cle", passkey.used),
    ("GET", "/compte/activer/{secret}", activation.page),
    ("POST", "/compte/activer/{secret}", activation.set_password),
    ("POST", "/compte/activer/{secret}/cle/demande", passkey.asked_by_link),
    ("POST", "/compte/activer/{secret}/cle", passkey.made_by_link),
    ("GET", "/compte", account.page),
    ("POST", "/compte/motdepasse", account.change_password),
    ("POST", "/compte/codes", account.new_papers),
    ("POST", "/compte/cles/demande", passkey.asked_by_owner),
    ("POST", "/compte/cles", passkey.made_by_owner),
    ("POST", "/compte/cles/{id}/fin", account.remove_passkey),
    ("POST", "/compte/delegations", account.give),
    ("POST", "/compte/delegations/{id}/fin", account.take_back),
    ("GET", "/cgu", terms.page),
    ("POST", "/cgu", terms.accept),
    ("GET", "/connexion/contexte", context.page),
    ("POST", "/connexion/contexte", context.enter),
    ("GET", "/oauth/authorize", authorize.page),
    ("POST", "/oauth/authorize", authorize.decide),
    ("POST", "/deconnexion", signin.leave),
    ("GET", "/sessions", sessions.page),
    ("POST", "/sessions/{id}/fin", sessions.end),
)
_ASKING: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/compte/demande", asking.page),
    ("POST", "/compte/demande", asking.send),
    ("GET", "/compte/suivi/{secret}", asking.follow),
    ("POST", "/compte/suivi/{secret}/courriel", asking.again),
    ("GET", "/compte/confirmer/{secret}", asking.confirming),
    ("POST", "/compte/confirmer/{secret}", asking.confirm),
    ("GET", "/compte/a-corriger", deciding.to_correct),
    ("GET", "/comptes/demandes", deciding.queue),
    ("POST", "/comptes/demandes/{id}", deciding.decide),
    ("GET", "/comptes/inactifs.csv", deciding.unused),
)

_INSIDE: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/", inbox.page),
    ("GET", "/fragments/boite", inbox.fragment),
    ("GET", "/docs", api.page),
    ("GET", "/patients/{id}", patient.page),
    ("GET", "/conversations/{id}", conversation.page),
    ("GET", "/fragments/conversations/{id}", conversation.fragment),
    ("POST", "/conversations/{id}/etat", conversation.mark),
    ("POST", "/conversations/{id}/messages", message.send),
    ("GET", "/documents/{id}", document.show),
    ("GET", "/documents/{id}/{name}", document.show),
    ("GET", "/live", live.stream),
)
