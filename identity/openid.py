"""Who does Pro Santé Connect say that this person is?

OpenID Connect with an authorization code, PKCE and a nonce. The issuer's own addresses and keys come from its discovery
document, whose name is not the standard one, so the whole address of it is a setting. What it says is believed only
when its signature, issuer, audience, times, nonce and level of authentication (`acr`) are right.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc import errors as jose
from joserfc import jwk, jwt

from common import clock, errors

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
SKEW_SECONDS = 30
LOGOUT_SECONDS = 120
_SECONDS = 8.0
_KEPT_SECONDS = 3600.0
_AGAIN_SECONDS = 10.0
_MOST_BYTES = 512 * 1024
_MOST_JTI = 512


@dataclass(frozen=True, slots=True)
class Registration:
    """How the provider knows us. `discovery` is the whole address of its document, `acr` the level that we demand."""

    discovery: str
    client_id: str
    client_secret: str = field(repr=False)
    acr: str = "eidas1"
    scope: str = "openid scope_all"


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in under way, for the browser to keep, sealed."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What was said of a person; `subject` (`issuer#sub`) and `session` (`issuer#sid`) name the sign-in there.

    Either may be "" in what is said of an end.
    """

    claims: Mapping[str, Any]
    subject: str
    session: str


@dataclass(slots=True)
class _Known:
    since: float = -_KEPT_SECONDS
    document: dict[str, Any] = field(default_factory=dict)
    asked: float = -_KEPT_SECONDS
    keys_since: float = -_KEPT_SECONDS
    keys: jwk.KeySet = field(default_factory=lambda: jwk.KeySet([]))


class Provider:
    """The other side of a sign-in, for one process."""

    def __init__(self, registration: Registration, now: clock.Clock) -> None:
        self._our = registration
        self._now = now
        self._known = _Known()
        self._asking = asyncio.Lock()

    async def begin(self, redirect: str) -> tuple[str, Begun]:
        """Start a sign-in that comes back to `redirect`: where to send the person, and what to keep.

        Raises Unavailable when the provider does not answer.
        """
        state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_hex(32), secrets.token_urlsafe(48)
        asked = {
            "response_type": "code",
            "client_id": self._our.client_id,
            "redirect_uri": redirect,
            "scope": self._our.scope,
            "acr_values": self._our.acr,
            "state": state,
            "nonce": nonce,
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        address = (await self._document())["authorization_endpoint"]
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}", Begun(state, nonce, verifier)

    async def finish(self, answer: Mapping[str, str], begun: Begun, redirect: str) -> SignedIn:
        """Turn what the browser brought back into the person.

        Raises Unauthenticated when the provider refused or says something that is not to be believed, Unavailable.
        """
        document = await self._document()
        if not secrets.compare_digest(answer.get("state", "").encode(), begun.state.encode()):
            raise errors.Unauthenticated("cette connexion n'a pas été commencée ici : recommencez")
        if answer.get("iss", document["issuer"]) != document["issuer"]:
            raise errors.Unauthenticated("la réponse vient d'un autre fournisseur d'identité")
        if "code" not in answer:
            raise errors.Unauthenticated("la connexion a été refusée ou abandonnée")
        given = await self._exchange(document, answer["code"], begun, redirect)
        claims = await self._believed(str(given.get("id_token", "")), document, needs=("iat", "exp", "sub"))
        if claims.get("nonce") != begun.nonce:
            raise errors.Unauthenticated("l'identité reçue est celle d'une autre connexion (nonce)")
        if claims.get("acr") != self._our.acr:
            raise errors.Unauthenticated(f"niveau d'authentification insuffisant : {self._our.acr} demandé")
        said = await self._user_info(document, str(given.get("access_token", "")), (self._our.client_id,))
        if said.get("sub") != claims["sub"]:
            raise errors.Unauthenticated("les deux identités reçues ne sont pas de la même personne")
        return _signed_in(said, claims, document)

    async def behind(self, access_token: str, clients: Collection[str]) -> SignedIn:
        """Whose access token of the provider this is, which one of these clients of theirs was given (RFC 7662).

        Raises Unauthenticated when it opens nothing there any more, was given to another client, or when it does not
        say that it came from a sign-in of our level; Unavailable.
        """
        document = await self._document()
        form = {"token": access_token, "token_type_hint": "access_token"}
        if "introspection_endpoint" not in document:
            raise errors.Unavailable("Pro Santé Connect ne dit rien de ses jetons ; réessayez plus tard")
        status, found = await _asked("POST", document["introspection_endpoint"], data=form, auth=self._auth)
        told = _object(found) if status == 200 else {}
        if told.get("active") is not True or told.get("iss", document["issuer"]) != document["issuer"]:
            raise errors.Unauthenticated("ce jeton n'est pas, ou plus, valable chez Pro Santé Connect")
        if (told.get("client_id") or told.get("azp")) not in clients:
            raise errors.Unauthenticated("ce jeton a été donné à un autre logiciel")
        if told.get("acr") != self._our.acr:
            raise errors.Unauthenticated(f"niveau d'authentification insuffisant : {self._our.acr} demandé")
        said = await self._user_info(document, access_token, clients)
        if not told.get("sub") or said.get("sub") != told["sub"]:
            raise errors.Unauthenticated("les deux identités reçues ne sont pas de la même personne")
        return _signed_in(said, told, document)

    @property
    def _auth(self) -> tuple[str, str]:
        return self._our.client_id, self._our.client_secret

    async def ended(self, logout_token: str) -> SignedIn:
        """The sign-in that the provider says has ended (OpenID Connect Back-Channel Logout 1.0, section 2.6).

        A token that says so is believed for `LOGOUT_SECONDS`, and is to be believed once: its `iss` and `jti`, which
        are in the claims, name it. Raises Unauthenticated, Unavailable.
        """
        document = await self._document()
        claims = await self._believed(logout_token, document, needs=("iat", "jti"))
        events = claims.get("events")
        if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
            raise errors.Unauthenticated("ce jeton n'est pas celui d'une déconnexion")
        if not isinstance(claims["jti"], str) or not 0 < len(claims["jti"]) <= _MOST_JTI:
            raise errors.Unauthenticated("ce jeton de déconnexion ne porte pas de numéro (jti)")
        if self._now().timestamp() - claims["iat"] > LOGOUT_SECONDS:
            raise errors.Unauthenticated("ce jeton de déconnexion est trop ancien")
        if not (claims.get("sub") or claims.get("sid")):
            raise errors.Unauthenticated("ce jeton de déconnexion ne dit pas de qui")
        return _signed_in(claims, claims, document)

    async def _exchange(self, document: dict[str, Any], code: str, begun: Begun, redirect: str) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        form["code_verifier"] = begun.verifier
        status, found = await _asked("POST", document["token_endpoint"], data=form, auth=self._auth)
        if status != 200:
            raise errors.Unauthenticated("la connexion a expiré ou a déjà servi : recommencez")
        return _object(found)

    async def _user_info(self, document: dict[str, Any], token: str, audience: Collection[str]) -> dict[str, Any]:
        status, found = await _asked("GET", document["userinfo_endpoint"], headers={"Authorization": f"Bearer {token}"})
        if status != 200:
            raise errors.Unauthenticated("l'identité n'a pas pu être lue : recommencez")
        if found.lstrip()[:1] == b"{":
            return _object(found)
        return await self._believed(found.decode("ascii", "replace"), document, audience=audience)

    async def _believed(
        self, token: str, document: dict[str, Any], *, needs: tuple[str, ...] = (), audience: Collection[str] = ()
    ) -> dict[str, Any]:
        """The claims of a token of the provider for us, or for one of an `audience`. Raises Unauthenticated."""
        audience = audience or (self._our.client_id,)
        wanted: dict[str, jwt.ClaimsOption] = {
            "iss": {"essential": True, "value": document["issuer"]},
            "aud": {"essential": True, "values": list(audience)},
            **{name: {"essential": True} for name in needs},
        }
        rules = jwt.JWTClaimsRegistry(lambda: int(self._now().timestamp()), SKEW_SECONDS, **wanted)
        try:
            found = await self._verified(token, document)
            rules.validate(found)
        except (jose.JoseError, ValueError, TypeError, KeyError) as problem:
            raise errors.Unauthenticated("l'identité reçue n'est pas digne de foi : recommencez") from problem
        if found.get("azp", next(iter(audience))) not in audience:
            raise errors.Unauthenticated("l'identité reçue a été donnée à un autre logiciel")
        return dict(found)

    async def _verified(self, token: str, document: dict[str, Any]) -> dict[str, Any]:
        await self._look_for_keys(document, _KEPT_SECONDS)
        try:
            return jwt.decode(token, self._known.keys, ALGORITHMS).claims
        except (jose.JoseError, ValueError):
            await self._look_for_keys(document, _AGAIN_SECONDS)  # signed with a key that we have not seen yet?
        return jwt.decode(token, self._known.keys, ALGORITHMS).claims

    async def _document(self) -> dict[str, Any]:
        known = self._known
        if time.monotonic() - known.since >= _KEPT_SECONDS:
            status, found = await _asked("GET", self._our.discovery)
            needed = ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
            document = _object(found) if status == 200 else {}
            if not all(isinstance(document.get(name), str) for name in needed):
                raise errors.Unavailable("Pro Santé Connect ne répond pas comme attendu ; réessayez plus tard")
            known.document, known.since = document, time.monotonic()
        return known.document

    async def _look_for_keys(self, document: dict[str, Any], age: float) -> None:
        """Ask for the keys if those that are known are older than this and nobody asked lately. Raises Unavailable.

        Known ones stay until there are others, but not longer than an hour.
        """
        known = self._known
        async with self._asking:
            now = time.monotonic()
            if now - known.keys_since < age:
                return
            if now - known.asked < _AGAIN_SECONDS:
                if known.keys.keys and now - known.keys_since < _KEPT_SECONDS:
                    return
                raise errors.Unavailable("Pro Santé Connect ne répond pas ; réessayez plus tard")
            known.asked = now
            status, found = await _asked("GET", document["jwks_uri"])
            if status != 200:
                raise errors.Unavailable("Pro Santé Connect ne répond pas ; réessayez plus tard")
            known.keys, known.keys_since = _key_set(found), time.monotonic()


def _key_set(data: bytes) -> jwk.KeySet:
    """The keys of a set that can be used; one that cannot leaves the others."""
    found: list[jwk.Key] = []
    for one in _object(data).get("keys", ()):
        with contextlib.suppress(jose.JoseError, ValueError, TypeError, KeyError, AttributeError):
            found.append(jwk.import_key(one))
    return jwk.KeySet(found)


def _signed_in(said: Mapping[str, Any], claims: Mapping[str, Any], document: Mapping[str, Any]) -> SignedIn:
    issuer, sub = document["issuer"], claims.get("sub")
    sid = claims.get("sid") or claims.get("session_state")
    return SignedIn(said, f"{issuer}#{sub}" if sub else "", f"{issuer}#{sid}" if sid else "")


async def _asked(method: str, url: str, **more: Any) -> tuple[int, bytes]:
    """Status and bytes of an answer. Raises Unavailable."""
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False) as client:
            answer = await client.request(method, url, **more)
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise errors.Unavailable("Pro Santé Connect ne répond pas ; réessayez plus tard") from problem
    if answer.status_code >= 500 or len(answer.content) > _MOST_BYTES:
        raise errors.Unavailable("Pro Santé Connect ne répond pas ; réessayez plus tard")
    return answer.status_code, answer.content


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise errors.Unavailable("Pro Santé Connect ne répond pas comme attendu ; réessayez plus tard")
    return found
