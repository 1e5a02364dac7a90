"""Pro Santé Connect, simulated: the same addresses and claims, for the personas of the demo region.

`python -m conformance.simulators.psc --client-secret-file FILE --redirect URL`. Signing in is one tap on a tile.
`POST /control` makes it slow, down, refuse or lie; `POST /control/end` ends a session, as when the person signs out
elsewhere, and tells the hub by its back-channel address.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import secrets
import socket
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from joserfc import jwk, jwt

from hub.seed import small

# Somebody with a card whom the hub does not know yet; she works in two places.
NEWCOMER = small.Persona(
    "sofia", "Sofia Lacombe", "", given="Sofia", family="Lacombe", profession="sage-femme", code="50",
    national_id="899700000067",
)  # fmt: skip
_PLACES = {"sofia": (("129900057", "Maison de santé de démonstration"), ("", "Cabinet Lacombe"))}
PEOPLE = {**small.PERSONAS, NEWCOMER.name: NEWCOMER}

REALM = "/auth/realms/esante-wallet"
PROTOCOL = f"{REALM}/protocol/openid-connect"
CODE_SECONDS, ACCESS_SECONDS = 60, 120
LIES = tuple(
    "signature key nonce issuer audience expired early subject other_client "
    "other_session no_session no_subject no_jti replay".split()
)


@dataclass(slots=True)
class Session:
    """Somebody who has signed in here."""

    persona: small.Persona
    sid: str
    asked: dict[str, str]
    began: float


@dataclass(slots=True)
class Provider:
    """What it knows, and how it behaves now (`control`)."""

    client_id: str
    client_secret: str
    redirects: tuple[str, ...]
    logout_url: str
    base: str
    key: jwk.RSAKey = field(default_factory=lambda: jwk.RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)}))
    other: jwk.RSAKey = field(default_factory=lambda: jwk.RSAKey.generate_key(2048, {"kid": "unknown"}))
    codes: dict[str, Session] = field(default_factory=dict)
    accesses: dict[str, tuple[float, Session]] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)
    last_logout: str = ""

    @property
    def issuer(self) -> str:
        """The realm's address."""
        return f"{self.base}{REALM}"

    def discovery(self) -> dict[str, Any]:
        """The document under its own name."""
        ends = {"token": "token", "userinfo": "userinfo", "introspection": "token/introspect", "end_session": "logout"}
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.base}/auth",
            **{f"{name}_endpoint": f"{self.base}{PROTOCOL}/{path}" for name, path in ends.items()},
            "jwks_uri": f"{self.base}{PROTOCOL}/certs",
            "acr_values_supported": ["0", "0"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "authorization_response_iss_parameter_supported": True,
        }

    def signed(self, claims: dict[str, Any]) -> str:
        """A token of this provider, or a lie."""
        lie = self.control.get("lie")
        key = self.other if lie in ("signature", "key") else self.key
        kid = self.key.kid if lie == "signature" else key.kid
        return jwt.encode({"alg": "RS256", "kid": kid, "typ": "JWT"}, claims, key, ["RS256"])

    def id_token(self, session: Session) -> str:
        """What is said of a sign-in."""
        lie, now = self.control.get("lie"), int(time.time())
        claims = {
            "iss": "https://evil.example" if lie == "issuer" else self.issuer,
            "aud": "somebody-else" if lie == "audience" else self.client_id,
            "sub": subject(session.persona),
            "sid": session.sid,
            "iat": now + 600 if lie == "early" else now,
            "exp": now - 60 if lie == "expired" else now + ACCESS_SECONDS,
            "nonce": "another" if lie == "nonce" else session.asked.get("nonce", ""),
            "acr": self.control.get("acr", "eidas1"),
            "azp": self.client_id,
        }
        return self.signed({name: value for name, value in claims.items() if value is not None})

    def user_info(self, session: Session) -> dict[str, Any]:
        """The claims of a person: empty texts where there is nothing, as the real one."""
        one = session.persona
        activity = {"codeModeExercice": "L", "codeSecteurDactivite": "SA07", "codeRole": ""}
        places = self.control.get("places", _PLACES.get(one.name, (("", ""),)))
        exercise = {
            "codeProfession": self.control.get("profession", one.code),
            "codeCategorieProfessionnelle": self.control.get("category", "C"),
            "nomDexercice": one.family.upper(),
            "prenomDexercice": one.given.upper(),
            "activities": [
                {**activity, "numeroFinessSite": number, "raisonSocialeSite": name} for number, name in places
            ],
        }
        number = self.control.get("number", one.national_id)
        return {
            "sub": "f:another" if self.control.get("lie") == "subject" else subject(one),
            "SubjectNameID": number,
            "preferred_username": number,
            "given_name": one.given.upper(),
            "family_name": one.family.upper(),
            "SubjectRole": [f"{one.code}^1.2.250.1.213.1.1.5.5"],
            "Secteur_Activite": "SA07^1.2.250.1.71.4.2.4",
            "Palier_Authentification": "APPPRIP3^1.2.250.1.213.1.5.1.1.1",
            "Mode_Acces_Raison": "",
            "otherIds": self.control.get("otherIds", [{"identifiant": number, "origine": "RPPS", "qualite": 1}]),
            "SubjectRefPro": {"codeCivilite": "M", "exercices": self.control.get("exercices", [exercise, exercise])},
        }


def subject(persona: small.Persona) -> str:
    """The technical subject of a persona."""
    return f"f:00000000-0000-4000-8000-000000000000:{persona.national_id}"


def application(provider: Provider) -> FastAPI:
    """Its addresses."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _controls(app, provider)

    @app.get(f"{REALM}/.well-known/wallet-openid-configuration")
    async def discovery() -> dict[str, Any]:
        return provider.discovery()

    @app.get(f"{PROTOCOL}/certs")
    async def certs() -> dict[str, Any]:
        return {"keys": [{**provider.key.as_dict(private=False), "use": "sig", "alg": "RS256"}]}

    @app.get("/auth")
    async def authorize(request: Request) -> Response:
        return _authorize(provider, dict(request.query_params))

    @app.post(f"{PROTOCOL}/token")
    async def token(request: Request) -> Response:
        return _token(provider, request, {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()})

    @app.post(f"{PROTOCOL}/token/introspect")
    async def introspect(request: Request) -> Response:
        return _introspect(provider, request, {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()})

    @app.get(f"{PROTOCOL}/userinfo")
    async def userinfo(request: Request) -> Response:
        until, session = provider.accesses.get(request.headers.get("authorization", "")[7:], (0.0, None))
        if session is None or until < time.time():
            return _json({"error": "invalid_token"}, 401)
        claims = provider.user_info(session)
        if provider.control.get("userinfo") == "jwt":
            signed = provider.signed({**claims, "iss": provider.issuer, "aud": provider.client_id})
            return Response(signed, media_type="application/jwt")
        return _json(claims)

    return app


def _controls(app: FastAPI, provider: Provider) -> None:
    """What a test or a person of the demo turns, and what comes of it at every address."""

    @app.middleware("http")
    async def behave(request: Request, call: Any) -> Response:
        if not request.url.path.startswith("/control"):
            await asyncio.sleep(float(provider.control.get("slow", 0)))
            if provider.control.get("down"):
                return Response("<html>maintenance</html>", 503, media_type="text/html")
        answer: Response = await call(request)
        return answer

    @app.post("/control")
    async def control(request: Request) -> Response:
        wanted: dict[str, Any] = await request.json()
        if wanted.get("lie", LIES[0]) not in LIES:
            return _json({"error": f"lie: {', '.join(LIES)}"}, 400)
        provider.control = wanted
        return _json(wanted)

    @app.post("/control/access")
    async def access(request: Request) -> dict[str, Any]:
        """An access token of a persona, as a doctor's software would have got it for itself."""
        persona = PEOPLE[(await request.json())["persona"]]
        token = secrets.token_urlsafe(24)
        provider.accesses[token] = time.time() + ACCESS_SECONDS, Session(persona, secrets.token_hex(8), {}, time.time())
        return {"access_token": token}

    @app.post("/control/end")
    async def end(request: Request) -> dict[str, Any]:
        return {"status": await _end(provider, (await request.json())["persona"])}


def _authorize(provider: Provider, asked: dict[str, str]) -> Response:
    if asked.get("client_id") != provider.client_id or asked.get("redirect_uri") not in provider.redirects:
        return Response("client_id ou redirect_uri inconnu", 400)
    back = asked["redirect_uri"]
    state = {"state": asked.get("state", ""), "iss": provider.issuer}
    if (
        asked.get("response_type") != "code"
        or asked.get("code_challenge_method") != "S256"
        or "openid" not in asked["scope"]
    ):
        return _redirect(f"{back}?{urlencode({'error': 'invalid_request', **state})}")
    if provider.control.get("refuse"):
        return _redirect(f"{back}?{urlencode({'error': 'access_denied', **state})}")
    persona = PEOPLE.get(asked.pop("persona", ""))
    if persona is None:
        return Response(_tiles(asked), media_type="text/html")
    code = secrets.token_urlsafe(24)
    provider.codes[code] = Session(persona, secrets.token_hex(8), asked, time.time())
    return _redirect(f"{back}?{urlencode({'code': code, 'session_state': 'x', **state})}")


def _token(provider: Provider, request: Request, form: dict[str, str]) -> Response:
    given = httpx.BasicAuth(provider.client_id, provider.client_secret)._auth_header
    if request.headers.get("authorization") != given:
        return _json({"error": "invalid_client"}, 401)
    session = provider.codes.pop(form.get("code", ""), None)
    challenge = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
    if (
        session is None
        or time.time() - session.began > CODE_SECONDS
        or form.get("redirect_uri") != session.asked["redirect_uri"]
        or challenge != session.asked["code_challenge"]
    ):
        return _json({"error": "invalid_grant"}, 400)
    access = secrets.token_urlsafe(24)
    provider.accesses[access] = time.time() + ACCESS_SECONDS, session
    return _json(
        {
            "access_token": access,
            "expires_in": ACCESS_SECONDS,
            "token_type": "Bearer",
            "id_token": provider.id_token(session),
            "session_state": session.sid,
            "scope": session.asked["scope"],
        }
    )


def _introspect(provider: Provider, request: Request, form: dict[str, str]) -> Response:
    given = httpx.BasicAuth(provider.client_id, provider.client_secret)._auth_header
    if request.headers.get("authorization") != given:
        return _json({"error": "invalid_client"}, 401)
    until, session = provider.accesses.get(form.get("token", ""), (0.0, None))
    if session is None or until < time.time():
        return _json({"active": False})
    lie = provider.control.get("lie")
    issuer = "https://evil.example" if lie == "issuer" else provider.issuer
    told = {"active": True, "iss": issuer, "sub": subject(session.persona), "sid": session.sid}
    told |= {"acr": provider.control.get("acr", "eidas1"), "exp": int(until)}
    return _json({**told, "client_id": "another" if lie == "other_client" else "lgc"})


async def _end(provider: Provider, persona: str) -> int:
    """Tell the hub that the newest session of a persona has ended; the status of its answer."""
    sessions = [one for _, one in provider.accesses.values() if one.persona.name == persona]
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": provider.issuer,
        "aud": provider.client_id,
        "sub": subject(sessions[-1].persona),
        "sid": "another" if provider.control.get("lie") == "other_session" else sessions[-1].sid,
        "iat": now - 3600 if provider.control.get("lie") == "expired" else now,
        "jti": secrets.token_hex(8),
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }
    if provider.control.get("lie") == "no_session":  # no lie: somebody signs out everywhere
        del claims["sid"]
    if provider.control.get("lie") == "no_subject":
        del claims["sub"]
    if provider.control.get("lie") == "no_jti":
        del claims["jti"]
    if provider.control.get("lie") != "replay":
        provider.last_logout = provider.signed(claims)
    async with httpx.AsyncClient() as client:
        answer = await client.post(provider.logout_url, data={"logout_token": provider.last_logout})
    return answer.status_code


def _tiles(asked: dict[str, str]) -> str:
    people = [one for one in PEOPLE.values() if one.national_id]
    links = "".join(
        f'<p><a id="{one.name}" href="/auth?{html.escape(urlencode({**asked, "persona": one.name}))}">'
        f"{html.escape(one.display)}, {html.escape(one.profession)}</a></p>"
        for one in people
    )
    head = '<!doctype html><html lang="fr"><title>Pro Santé Connect simulé</title><h1>Pro Santé Connect (simulé)</h1>'
    return head + links


def _redirect(url: str) -> Response:
    return Response(status_code=303, headers={"Location": url})


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


def _serve(given: argparse.Namespace) -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((given.host, given.port))
    listening.listen()
    port = listening.getsockname()[1]
    secret, base = given.client_secret_file.read_text().strip(), f"http://{given.host}:{port}"
    provider = Provider(given.client_id, secret, tuple(given.redirect), given.logout_url, base)
    if given.ports_file:
        draft = given.ports_file.with_suffix(".tmp")
        draft.write_text(json.dumps({"http": port}))
        draft.replace(given.ports_file)
    print(f"Pro Santé Connect simulé : {base}", flush=True)
    uvicorn.Server(uvicorn.Config(application(provider), log_config=None, lifespan="off")).run(sockets=[listening])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="psc", description="Pro Santé Connect simulé (données fictives)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=18090, help="0 : un port libre")
    parser.add_argument("--client-id", default="hub")
    parser.add_argument("--client-secret-file", type=Path, required=True)
    parser.add_argument("--redirect", action="append", required=True, help="adresse de retour du hub")
    parser.add_argument("--logout-url", default="", help="adresse du hub pour les fins de session")
    parser.add_argument("--ports-file", type=Path)
    _serve(parser.parse_args())


if __name__ == "__main__":
    main()
