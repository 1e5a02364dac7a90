"""A software gets a token for what it signed itself, once, for no more than it is allowed; else it is told why."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest
import sqlalchemy as sql
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk, jws, jwt

from common import errors
from fhir_server import scopes
from hub import database, oauth
from hub import settings as hub_settings
from identity import assertions, clients, key_sets, tables, tokens

BASE = "https://hub.example/fhir"
TOKEN = "https://hub.example/oauth/token"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RSA = jwk.RSAKey.generate_key(2048, {"kid": "rsa"})
EC = jwk.ECKey.generate_key("P-384", {"kid": "ec"})
OTHER = jwk.ECKey.generate_key("P-384", {"kid": "ec"})

Key = jwk.RSAKey | jwk.ECKey


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


def jwks(*keys: Key) -> str:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


@dataclass
class Place:
    """An authorization server in this process, its clock, and what lies at the address of a software's keys."""

    engine: sql.Engine
    clock: Clock = field(default_factory=Clock)
    published: str = jwks(EC)
    asked: int = 0

    def __post_init__(self) -> None:
        self.clients = clients.Clients(self.engine, self.clock)
        self.tokens = tokens.Tokens(self.engine, self.clock)
        checked = assertions.Assertions(self.engine, self.clock, key_sets.KeySets(self.fetch))
        application = fastapi.FastAPI()
        application.include_router(oauth.router(oauth.Authority(self.tokens, checked, base=BASE)))
        transport = httpx.ASGITransport(application, raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url="https://hub.example")
        self.software = self.clients.register("Mon LGC", ("system/*.rs",), jwks=jwks(RSA, EC))

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        return self.published.encode()

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(self.clock.time.timestamp())
        id = self.software.id
        claims = {"iss": id, "sub": id, "aud": TOKEN, "exp": now + 240, "jti": secrets.token_hex(8), **more}
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, key: Key = EC, header: dict[str, Any] | None = None, **more: Any) -> str:
        alg = "RS384" if isinstance(key, jwk.RSAKey) else "ES384"
        algorithms = ["RS384", "ES384", "RS256", "PS384"]
        full = {"alg": alg, "kid": key.kid, **(header or {})}
        kept = {name: value for name, value in full.items() if value is not None}
        return jwt.encode(kept, self.claims(**more), key, algorithms)

    async def post(self, path: str = "token", /, **form: str) -> httpx.Response:
        return await self.http.post(f"/oauth/{path}", data=form)

    async def ask(self, assertion: str, scope: str = "system/*.rs", **more: str) -> httpx.Response:
        form = {"grant_type": "client_credentials", "scope": scope, "client_assertion_type": assertions.TYPE, **more}
        return await self.post(client_assertion=assertion, **form)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    config = hub_settings.Settings(data=tmp_path)
    database.prepare(config)
    engine = database.engine(config)
    yield Place(engine)
    engine.dispose()


async def test_the_audience_may_be_a_list_of_one(place: Place) -> None:
    assert (await place.ask(place.signed(aud=[TOKEN]))).status_code == 200


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS384", "ES384"])
async def test_a_signed_statement_gives_a_token_of_five_minutes(place: Place, key: Key) -> None:
    answer = await place.ask(place.signed(key))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("bearer", 300, "system/*.rs")
    identity = await place.tokens.check(told["access_token"])
    assert (identity.kind, identity.client, identity.actor) == ("client", place.software.id, "")
    assert identity.scopes == ("system/*.rs",)
    place.clock.time += timedelta(minutes=6)
    assert place.tokens.told(told["access_token"]) is None


WRONG: dict[str, tuple[Callable[[Place], str], str]] = {
    "another key": (lambda place: place.signed(OTHER), "signature"),
    "an unknown key": (lambda place: place.signed(jwk.ECKey.generate_key("P-384", {"kid": "x"})), "kid"),
    "no kid": (lambda place: place.signed(header={"kid": None}), "kid"),
    "a weaker algorithm": (lambda place: place.signed(RSA, header={"alg": "RS256"}), "alg"),
    "another algorithm": (lambda place: place.signed(RSA, header={"alg": "PS384"}), "alg"),
    "keys from elsewhere": (lambda place: place.signed(header={"jku": "https://evil.example/keys"}), "jku"),
    "no algorithm": (lambda place: unsigned(place), "alg"),
    "changed claims": (lambda place: forged(place), "signature"),
    "an unknown software": (lambda place: place.signed(iss="x", sub="x"), "unknown client"),
    "an impossible id": (lambda place: place.signed(iss="x\0", sub="x\0"), "unknown client"),
    "somebody else's name": (lambda place: place.signed(sub="x"), "iss and sub"),
    "no issuer": (lambda place: place.signed(iss=None, sub=None), "iss and sub"),
    "another audience": (lambda place: place.signed(aud="https://other.example/token"), "aud"),
    "two audiences": (lambda place: place.signed(aud=[TOKEN, "https://other.example/token"]), "aud"),
    "no audience": (lambda place: place.signed(aud=None), "aud"),
    "no end": (lambda place: place.signed(exp=None), "exp"),
    "an end that has passed": (lambda place: place.signed(exp=int(NOW.timestamp()) - 11), "exp"),
    "an end that is far": (lambda place: place.signed(exp=int(NOW.timestamp()) + 311), "exp"),
    "an end that is no number": (lambda place: place.signed(exp="soon"), "exp"),
    "a beginning to come": (lambda place: place.signed(nbf=int(NOW.timestamp()) + 60), "nbf"),
    "made in the future": (lambda place: place.signed(iat=int(NOW.timestamp()) + 60), "iat"),
    "no number of its own": (lambda place: place.signed(jti=None), "jti"),
    "no JWT": (lambda place: "a.b", "not a signed JWT"),
    "nothing": (lambda place: "x", "not a signed JWT"),
    "an endless one": (lambda place: "x" * 20_000, "too long"),
}


def unsigned(place: Place) -> str:
    head, _, rest = place.signed().partition(".")
    none = jws.serialize_compact({"alg": "HS256"}, b"x", jwk.OctKey.import_key("s" * 32)).partition(".")[0]
    assert head != none
    return f"{none}.{rest}"


def forged(place: Place) -> str:
    head, claims, signature = place.signed().split(".")
    other = place.signed(scope="more").split(".")[1]
    assert other != claims
    return f"{head}.{other}.{signature}"


@pytest.mark.parametrize("name", WRONG)
async def test_whoever_cannot_prove_who_they_are_gets_nothing_and_is_told_why(place: Place, name: str) -> None:
    make, word = WRONG[name]
    answer = await place.ask(make(place))
    assert answer.status_code == 401, answer.text
    assert answer.json()["error"] == "invalid_client"
    assert word in answer.json()["error_description"]
    assert answer.json()["error_description"].isascii()
    with place.engine.connect() as connection:
        assert connection.execute(sql.select(sql.func.count()).select_from(tables.token)).scalar() == 0


async def test_a_statement_is_used_once_also_after_its_number_could_be_forgotten(place: Place) -> None:
    assertion = place.signed()
    assert (await place.ask(assertion)).status_code == 200
    assert "used before" in (await place.ask(assertion)).json()["error_description"]
    place.clock.time += timedelta(minutes=3, seconds=59)
    assert (await place.ask(place.signed())).status_code == 200  # forgets what is over
    assert "used before" in (await place.ask(assertion)).json()["error_description"]
    place.clock.time += timedelta(seconds=30)
    assert "exp" in (await place.ask(assertion)).json()["error_description"]


async def test_keys_at_an_address_may_change_at_any_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.software = place.clients.register("Autre LGC", ("system/*.rs",), jwks_url="https://lgc.example/jwks.json")
    for _ in range(3):
        assert (await place.ask(place.signed())).status_code == 200
    assert place.asked == 1
    new = jwk.ECKey.generate_key("P-384", {"kid": "new"})
    place.published = jwks(EC, new)
    for _ in range(3):  # not asked again for each wrong kid
        assert (await place.ask(place.signed(new))).status_code == 401
    assert place.asked == 1
    monkeypatch.setattr(key_sets, "AGAIN_SECONDS", 0.0)
    assert (await place.ask(place.signed(new))).status_code == 200
    assert (await place.ask(place.signed(header={"jku": "https://lgc.example/jwks.json"}))).status_code == 200
    place.published = "<html>"
    assert (await place.ask(place.signed())).status_code == 200  # what is known stays good for a while
    monkeypatch.setattr(key_sets, "KEPT_SECONDS", 0.0)
    assert "no usable keys" in (await place.ask(place.signed())).json()["error_description"]


@pytest.mark.parametrize(
    ("asked", "allowed", "granted"),
    [
        ("system/*.rs", "system/*.cruds", "system/*.rs"),
        ("system/*.cruds", "system/*.rs", "system/*.rs"),
        (
            "system/*.read",
            "system/Practitioner.rs system/Organization.r",
            "system/Practitioner.rs system/Organization.r",
        ),
        ("system/Patient.rs system/Practitioner.s", "system/Practitioner.*", "system/Practitioner.s"),
        ("system/Practitioner.write", "system/*.rs", None),
        ("user/Practitioner.rs", "system/*.cruds", None),
        ("patient/*.rs", "patient/*.rs", None),
        ("system/Location.rs?status=active", "system/*.cruds", "system/Location.rs?status=active"),
        ("system/Location.cud?status=active", "system/*.cruds", None),
        ("openid", "system/*.cruds", None),
        ("", "system/*.cruds", None),
    ],
)
async def test_a_token_is_for_what_was_asked_and_is_allowed(
    place: Place, asked: str, allowed: str, granted: str | None
) -> None:
    place.software = place.clients.register("Mon LGC", tuple(allowed.split()), jwks=jwks(EC))
    answer = await place.ask(place.signed(), asked)
    if granted is None:
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    else:
        assert answer.json()["scope"] == granted


async def test_forms_that_are_none_are_told_so(place: Place) -> None:
    good = {"client_assertion_type": assertions.TYPE, "client_assertion": place.signed()}
    for form, error in (
        ({"scope": "system/*.rs"}, "unsupported_grant_type"),
        ({"grant_type": "password", **good}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "invalid_client"),
        ({"grant_type": "client_credentials", **good, "client_secret": "x"}, "invalid_client"),
        ({"grant_type": "client_credentials", **good, "client_assertion_type": "x"}, "invalid_client"),
        ({"grant_type": "client_credentials", **good, "client_id": "x", "scope": "system/*.rs"}, "invalid_client"),
    ):
        assert (await place.post(**form)).json()["error"] == error
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content, headers, status in (
        (b"{}", {"Content-Type": "application/json"}, 400),
        (b"scope=a&scope=b", form, 400),
        (b"scope=%ff", form, 400),
        (b"scope=\xff", form, 400),
        (b"scope=" + b"x" * 70_000, form, 413),
    ):
        answer = await place.http.post("/oauth/token", content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


async def test_a_database_that_is_away_is_said_so(place: Place) -> None:
    away = sql.create_engine("sqlite:////no/such/folder/hub.sqlite")
    checked = assertions.Assertions(away, place.clock)
    application = fastapi.FastAPI()
    application.include_router(oauth.router(oauth.Authority(tokens.Tokens(away, place.clock), checked, base=BASE)))
    transport = httpx.ASGITransport(application, raise_app_exceptions=True)
    place.http = httpx.AsyncClient(transport=transport, base_url="https://hub.example")
    answer = await place.ask(place.signed())
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    with pytest.raises(errors.Unavailable):
        await tokens.Tokens(away, place.clock).check("x")


async def test_a_software_asks_about_and_gives_back_its_own_tokens_only(place: Place) -> None:
    first = place.software
    text = (await place.ask(place.signed())).json()["access_token"]

    async def ask(path: str, token: str) -> httpx.Response:
        assertion = place.signed(aud=f"https://hub.example/oauth/{path}")
        return await place.post(
            path,
            client_assertion_type=assertions.TYPE,
            client_assertion=assertion,
            **({"token": token} if token else {}),
        )

    told = (await ask("introspect", text)).json()
    assert (told["active"], told["client_id"], told["scope"]) == (True, first.id, "system/*.rs")
    assert told["exp"] - told["iat"] == 300
    assert (await ask("introspect", "unknown")).json() == {"active": False}
    assert (await ask("introspect", "")).json()["error"] == "invalid_request"
    assert "aud" in (await place.ask(place.signed(aud="https://hub.example/oauth/revoke"))).json()["error_description"]

    place.software = place.clients.register("Autre LGC", ("system/*.rs",), jwks=jwks(EC))
    assert (await ask("introspect", text)).json() == {"active": False}
    assert (await ask("revoke", text)).status_code == 200
    assert place.tokens.told(text)

    place.software = first
    assert (await ask("revoke", text)).status_code == 200
    assert place.tokens.told(text) is None
    assert (await ask("introspect", text)).json() == {"active": False}


async def test_a_software_that_is_removed_loses_its_tokens(place: Place) -> None:
    text = (await place.ask(place.signed())).json()["access_token"]
    place.clients.remove(place.software.id)
    assert place.tokens.told(text) is None
    assert (await place.ask(place.signed())).status_code == 401
    with pytest.raises(errors.NotFound):
        place.clients.remove(place.software.id)


@pytest.mark.servers
async def test_postgresql_keeps_the_same(tmp_path: Path, postgres_url: str) -> None:
    config = hub_settings.Settings(data=tmp_path, database=postgres_url)
    database.prepare(config)
    place = Place(database.engine(config))
    assertion = place.signed()
    text = (await place.ask(assertion)).json()["access_token"]
    assert "used before" in (await place.ask(assertion)).json()["error_description"]
    assert (await place.ask(place.signed(iss="x\0", sub="x\0"))).status_code == 401
    identity = (await place.tokens.check(text), tokens.Identity("person", "PractitionerRole/x", subject="i#s"))
    kept = [place.tokens.mint(replace(identity[1], session=one), timedelta(hours=1)) for one in ("i#1", "i#2", "")]
    place.tokens.end("i#s", "i#1")
    assert [place.tokens.told(one) is not None for one in kept] == [False, True, False]
    place.tokens.end("", "i#3")
    assert place.tokens.told(kept[1])
    place.tokens.end("i#s")
    assert place.tokens.told(kept[1]) is None
    place.clients.remove(identity[0].client)
    assert place.tokens.told(text) is None
    place.engine.dispose()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"jwks": jwks(EC), "jwks_url": "https://lgc.example/jwks.json"},
        {"jwks_url": "http://lgc.example/jwks.json"},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_url": "https://user@lgc.example/"},
        {"jwks": "{}"},
        {"jwks": "[" * 100_000},
        {"jwks": '{"keys": []}'},
        {"jwks": json.dumps({"keys": [EC.as_dict(private=True)]})},
        {"jwks": json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "x"}]})},
        {"jwks": jwks(jwk.ECKey.generate_key("P-256", {"kid": "x"}))},
        {"jwks": json.dumps({"keys": [{"kty": "EC", "kid": "x", "crv": "P-384", "x": 1, "y": None}]})},
    ],
)
def test_keys_that_prove_nothing_are_not_registered(place: Place, given: dict[str, str]) -> None:
    with pytest.raises(errors.Unreadable):
        place.clients.register("x", ("system/*.rs",), **given)
    assert [one.name for one in place.clients.all()] == ["Mon LGC"]


async def test_discovery_says_what_is_there(place: Place) -> None:
    answer = await place.http.get("/fhir/.well-known/smart-configuration")
    assert answer.headers["access-control-allow-origin"] == "*"
    told = answer.json()
    assert told["token_endpoint"] == TOKEN
    assert "authorization_endpoint" not in told
    assert all(scopes.read(one) for one in told["scopes_supported"])
    for name in ("token", "introspection", "revocation"):
        path = told[f"{name}_endpoint"].removeprefix("https://hub.example")
        assert (await place.http.post(path, data={"a": "b"})).status_code in (400, 401)


_HEADER = st.none() | st.text() | st.integers() | st.lists(st.text(), max_size=2)
_CLAIM = st.text() | st.floats() | st.lists(st.text(), max_size=2)


@settings(max_examples=150)
@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "jku", "crit", "b64", "typ"]), _HEADER),
    claims=st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "jti", "nbf"]), _CLAIM) | st.text(),
)
def test_no_statement_makes_the_check_fail_in_another_way(header: dict[str, Any], claims: object) -> None:
    parts = (base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in (header, claims))
    engine = sql.create_engine("sqlite://", poolclass=sql.pool.StaticPool, connect_args={"check_same_thread": False})
    tables.metadata.create_all(engine)
    with pytest.raises(errors.Unauthenticated):
        asyncio.run(assertions.Assertions(engine, Clock()).check(".".join((*parts, "AA")), TOKEN))
    engine.dispose()
