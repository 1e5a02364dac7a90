"""Who is on the other side of this browser, and did the page itself send this form?

The cookie `hub_session` holds the person's bearer token, the same that software would send to the API; nothing is kept
here. Forms carry a token derived from that secret, on top of a check of the request's origin. Over https the names of
cookies begin with `__Host-`: a browser takes such a cookie from this very host by https alone, so that no other host of
the domain, and nobody on a network in between, can put one of theirs in its place.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from common import errors
from fhir_server import access
from web import fhir
from web.room import Room

COOKIE = "hub_session"
VISITOR = "hub_visitor"  # before sign-in: a random value that the sign-in form is bound to
UNDER_WAY = "hub_psc"  # a sign-in at Pro Santé Connect that has begun, sealed
BROWSER = "hub_browser"  # that somebody came in from here before, sealed
ASKED = "hub_asked"  # what an app that is being opened asks for
HOST = "__Host-"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The person, their token, and the FHIR API as they see it."""

    caller: access.Caller
    token: str
    api: fhir.Client

    @property
    def actor(self) -> str:
        """The hat worn, `PractitionerRole/x`."""
        return str(self.caller.actor)

    @property
    def tag(self) -> str:
        """What the browser names this person's drafts by: stable for the person, says nothing about them."""
        return blake2b(self.actor.encode(), digest_size=8, person=b"hub-draft").hexdigest()

    @property
    def csrf(self) -> str:
        """What this person's forms must carry."""
        return derived(self.token)


async def signed_in(request: Request, room: Room) -> SignedIn:
    """The person of this request. Raises Unauthenticated."""
    token = kept(request, COOKIE)
    if not token:
        raise errors.Unauthenticated("connectez-vous")
    return await admit(token, room, correlation(request))


def kept(request: Request, name: str) -> str:
    """What this browser keeps for us under one of the names above; "" when it keeps nothing."""
    return request.cookies.get(_full(name, request), "")


def correlation(request: Request) -> str:
    """The id that follows this request through the record and the logs, and that a person may quote."""
    return str(request.scope.get("correlation", ""))


async def admit(token: str, room: Room, correlation: str) -> SignedIn:
    """The person a token stands for. Raises Unauthenticated, also for software without an acting person."""
    caller = await room.sign_in.check(token)
    if caller.actor is None:
        raise errors.Unauthenticated("ce jeton est celui d'un logiciel : l'application demande celui d'une personne")
    return SignedIn(caller, token, room.api(token, correlation))


def remember(response: Response, token: str, request: Request) -> None:
    """Keep the token in the browser for this session, out of reach of scripts and of other sites' forms."""
    _set(response, COOKIE, token, request)
    _drop(response, VISITOR)


def forget(response: Response) -> None:
    """Sign out of this browser."""
    _drop(response, COOKIE)


def visitor(request: Request) -> str:
    """The random value of a browser that has not signed in, a new one when it has none."""
    return kept(request, VISITOR) or secrets.token_urlsafe(18)


def remember_visitor(response: Response, value: str, request: Request) -> None:
    """Bind the sign-in form to this browser."""
    _set(response, VISITOR, value, request)


def keep_under_way(response: Response, value: str, request: Request) -> None:
    """What a sign-in at Pro Santé Connect needs when the person comes back; nobody but the hub can read it."""
    _set(response, UNDER_WAY, value, request)


def drop_under_way(response: Response) -> None:
    """That sign-in is over."""
    _drop(response, UNDER_WAY)


def keep_browser(response: Response, value: str, request: Request) -> None:
    """That this browser is known to its owner, for half a year."""
    _set(response, BROWSER, value, request, seconds=180 * 24 * 3600)


def keep_asked(response: Response, value: str, request: Request) -> None:
    """What an app asks for, while the person signs in."""
    _set(response, ASKED, value, request)


def drop_asked(response: Response) -> None:
    """It was answered."""
    _drop(response, ASKED)


def derived(secret: str) -> str:
    """The form token of a secret that only this browser and we know."""
    return blake2b(secret.encode(), digest_size=16, person=b"hub-form").hexdigest()


def check_form(given: str, secret: str) -> None:
    """Raises Forbidden when a form was not made for this browser."""
    if not secret or not hmac.compare_digest(given.encode(), derived(secret).encode()):
        raise errors.Forbidden("ce formulaire a expiré : rechargez la page puis recommencez, rien n'a été enregistré")


def check_origin(headers: Mapping[str, str], method: str) -> None:
    """Raises Forbidden when another site sends a request that changes something.

    Browsers state the origin of every such request; one that states none is refused, since no browser sends it.
    """
    if method in SAFE:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin") or headers.get("referer", "")
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        place = ""
    if site not in (None, "same-origin") or not place or place != headers.get("host"):
        raise errors.Forbidden("cette demande vient d'un autre site : rien n'a été enregistré")


def way_back(value: str) -> str:
    """Where to go after sign-in: a path of this site, else the inbox."""
    local = value.startswith("/") and not value.startswith(("//", "/\\")) and value.isprintable()
    return value if local else "/"


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _full(name: str, request: Request) -> str:
    return f"{HOST}{name}" if _is_secure(request) else name


def _set(response: Response, name: str, value: str, request: Request, *, seconds: int | None = None) -> None:
    secure, full = _is_secure(request), _full(name, request)
    response.set_cookie(full, value, path="/", httponly=True, samesite="lax", secure=secure, max_age=seconds)


def _drop(response: Response, name: str) -> None:
    """Under both names: whoever came by http before has the bare one, and a browser ignores what does not fit."""
    response.delete_cookie(name, path="/", httponly=True, samesite="lax")
    response.delete_cookie(f"{HOST}{name}", path="/", httponly=True, samesite="lax", secure=True)
