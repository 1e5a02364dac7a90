"""A token that goes with a certificate opens nothing without it, however its software signed in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest

from common import errors
from hub import database, oauth, settings
from identity import assertions, certificates, tokens
from tests.hub.test_oauth import BASE, EC, Place, jwks

MINE = certificates.Certificate("mine", certificates.subject("CN=lgc.example,C=FR"), ("lgc.example",))
ANOTHER = certificates.Certificate("another", certificates.subject("CN=autre.example,C=FR"), ("autre.example",))
HOUR = timedelta(hours=1)
REVOKED = certificates.Certificate("mine", MINE.subject, MINE.dns, "the certificate is revoked")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    config = settings.Settings(data=tmp_path)
    database.prepare(config)
    engine = database.engine(config)
    yield Place(engine)
    engine.dispose()


async def asked(place: Place, came: certificates.Certificate | None, **form: str) -> httpx.Response:
    """What the token address answers to the place's software, which shows that certificate."""
    certificates.presented.set(came)
    return await place.ask(place.signed(), **form)


async def opens(place: Place, token: str, came: certificates.Certificate | None) -> bool:
    certificates.presented.set(came)
    try:
        await place.tokens.check(token)
    except errors.Unauthenticated:
        return False
    return True


async def test_a_key_alone_gives_a_token_that_goes_with_nothing(place: Place) -> None:
    token = (await asked(place, MINE)).json()["access_token"]
    assert await opens(place, token, None)


async def test_a_software_may_want_its_tokens_bound_though_it_has_a_key(place: Place) -> None:
    place.software = place.clients.register("LGC", ("system/*.rs",), jwks=jwks(EC), bound=True)
    for came in (None, REVOKED):
        answer = await asked(place, came)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    token = (await asked(place, MINE)).json()["access_token"]
    assert [await opens(place, token, one) for one in (MINE, None, ANOTHER, REVOKED, MINE)] == [
        True, False, False, False, True
    ]  # fmt: skip


async def test_a_registered_certificate_is_the_only_one_that_tokens_are_bound_to(place: Place) -> None:
    given: dict[str, Any] = {"jwks": jwks(EC), "bound": True, "certificate_dns": "LGC.example"}
    place.software = place.clients.register("LGC", ("system/*.rs",), **given)
    assert (await asked(place, ANOTHER)).json()["error"] == "invalid_request"
    assert (await asked(place, MINE)).status_code == 200


async def test_who_has_several_registrations_says_which(place: Place) -> None:
    first, second = (
        place.clients.register(name, ("system/*.rs",), certificate_subject="CN=LGC.example,C=FR") for name in "ab"
    )
    certificates.presented.set(MINE)
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    assert "client_id" in (await place.post(**form)).json()["error_description"]
    for one in (first, second):
        token = (await place.post(**form, client_id=one.id)).json()["access_token"]
        assert (await place.tokens.check(token)).client == one.id
    assert (await place.post(**form, client_id=place.software.id)).status_code == 401


async def test_a_software_without_keys_signs_nothing(place: Place) -> None:
    place.software = place.clients.register("LGC", ("system/*.rs",), certificate_dns="lgc.example")
    answer = await asked(place, MINE)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_database_gives_back_what_was_registered(place: Place) -> None:
    place.clients.register("LGC", ("system/*.rs",), certificate_subject="CN=A,C=FR", bound=True)
    (found,) = [one for one in place.clients.all() if one.name == "LGC"]
    assert (found.certificate_subject, found.bound) == (certificates.subject("CN=a,C=fr"), True)
    for wrong in ({"certificate_subject": "x"}, {"certificate_subject": "CN=a", "certificate_dns": "a"}):
        with pytest.raises(errors.Unreadable):
            place.clients.register("LGC", ("system/*.rs",), **wrong)  # type: ignore[arg-type]


async def test_introspection_says_which_certificate_a_token_goes_with(place: Place) -> None:
    token = place.tokens.mint(tokens.Identity("client", client=place.software.id, certificate="mine"), HOUR)
    signed = place.signed(aud="https://hub.example/oauth/introspect")
    form = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    told = (await place.post("introspect", **form, client_assertion=signed, token=token)).json()
    assert told["cnf"] == {"x5t#S256": "mine"}


class Known:
    """A sign-in through which everybody is Nadia."""

    async def behind(self, access_token: str, clients: Any, role: str = "") -> tokens.Identity:
        return tokens.Identity("person", "PractitionerRole/nadia")


async def test_what_is_for_a_person_goes_with_the_certificate_as_well(place: Place) -> None:
    more: dict[str, Any] = {"certificate_subject": "CN=lgc.example,C=FR", "psc_clients": ("lgc",)}
    place.clients.register("LGC", ("user/*.rs",), **more)
    checked = assertions.Assertions(place.engine, place.clock)
    national: Any = Known()
    authority = oauth.Authority(place.tokens, checked, base=BASE, national=national, mutual_tls=True)
    certificates.presented.set(MINE)
    form = {"grant_type": oauth.FOR_A_PERSON, "subject_token": "x", "subject_token_type": oauth.ACCESS_TOKEN}
    token = (await authority.token({**form, "scope": "user/*.rs"}))["access_token"]
    assert (await place.tokens.check(token)).actor == "PractitionerRole/nadia"
    assert not await opens(place, token, None)


async def test_discovery_speaks_of_certificates_where_they_are_asked_for(place: Place) -> None:
    checked = assertions.Assertions(place.engine, place.clock)
    for mutual in (False, True):
        application = fastapi.FastAPI()
        authority = oauth.Authority(place.tokens, checked, base=BASE, mutual_tls=mutual)
        application.include_router(oauth.router(authority))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="https://hub.test") as http:
            told = (await http.get("/fhir/.well-known/smart-configuration")).json()
        assert ("tls_client_auth" in json.dumps(told)) is mutual
        assert told.get("tls_client_certificate_bound_access_tokens", False) is mutual


@pytest.mark.servers
async def test_postgresql_keeps_the_same(tmp_path: Path, postgres_url: str) -> None:
    config = settings.Settings(data=tmp_path, database=postgres_url)
    database.prepare(config)
    place = Place(database.engine(config))
    place.software = place.clients.register("LGC", ("system/*.rs",), certificate_subject="CN=lgc.example,C=FR")
    certificates.presented.set(MINE)
    answer = await place.post(grant_type="client_credentials", scope="system/*.rs")
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    assert [await opens(place, token, one) for one in (MINE, None)] == [True, False]
    assert place.clients.of(MINE).id == place.software.id
    place.engine.dispose()
