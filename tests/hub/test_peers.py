"""What a proxy says of its clients is believed when the operator named it, and of nobody else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from common import errors
from fhir_server.jobs import runner
from hub import database, peers, serve
from hub import settings as configuration
from hub.room import Room
from identity import certificates
from tests.certificates import DAY, LGC, Authority, Made, self_signed

OURS = Authority()
BELOW = Authority("AC fille", OURS)
PROXY, SOMEBODY = "10.0.0.7", "192.0.2.1"
GOOD = OURS.gives()


async def application(hub: Room, **settings: Any) -> Any:
    folder = hub.settings.data
    (folder / "clients.pem").write_bytes(OURS.made.pem)
    given = {"tls_client_ca": folder / "clients.pem", "trusted_proxies": "10.0.0.0/8, ::1", **settings}
    config = configuration.Settings(data=folder, demo=True, tls="off", public_url="https://hub.test", **given)
    return await serve.application(hub, config, "https://hub.test/fhir", runner.Runner(hub.store, serve.limits(config)))


def client(served: Any, peer: str = PROXY, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(served, client=(peer, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://hub.test", headers=headers)


def header(made: Made, *between: Made) -> dict[str, str]:
    """As RFC 9440 writes it."""
    said = {"Client-Cert": _bytes(made)}
    return said | ({"Client-Cert-Chain": ", ".join(map(_bytes, between))} if between else {})


def _bytes(made: Made) -> str:
    return f":{base64.b64encode(made.der).decode()}:"


@pytest.fixture
def software(hub: Room) -> str:
    return database.softwares(hub.settings).register("LGC", ("system/*.rs",), certificate_subject=LGC).id


async def token(http: httpx.AsyncClient, software: str, headers: dict[str, str]) -> httpx.Response:
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_id": software}
    return await http.post("/oauth/token", data=form, headers=headers)


async def test_a_proxy_that_was_named_hands_a_certificate_on(hub: Room, software: str) -> None:
    served = await application(hub)
    forms = [header(GOOD), {"Client-Cert": quote(GOOD.pem.decode())}, header(BELOW.gives(), BELOW.made)]
    async with client(served) as http:
        given = [await token(http, software, one) for one in forms]
        assert [one.status_code for one in given] == [200, 200, 200], given[-1].text
        bearer = {"Authorization": f"Bearer {given[0].json()['access_token']}"}
        assert (await http.get("/fhir/PractitionerRole", headers=bearer | forms[0])).status_code == 200
        assert (await http.get("/fhir/PractitionerRole", headers=bearer | forms[1])).status_code == 200
        for stolen in ({}, forms[2], header(OURS.gives())):
            assert (await http.get("/fhir/PractitionerRole", headers=bearer | stolen)).status_code == 401


async def test_from_anybody_else_the_header_is_nothing(hub: Room, software: str) -> None:
    served = await application(hub)
    async with client(served, SOMEBODY) as http:
        answer = await token(http, software, header(GOOD))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    async with client(served) as good, client(served, SOMEBODY) as forged:
        text = (await token(good, software, header(GOOD))).json()["access_token"]
        headers = {"Authorization": f"Bearer {text}", "X-Forwarded-For": PROXY, **header(GOOD)}
        assert (await forged.get("/fhir/PractitionerRole", headers=headers)).status_code == 401
    async with client(await application(hub, trusted_proxies="")) as http:
        assert (await token(http, software, header(GOOD))).status_code == 401


@pytest.mark.parametrize(
    "said",
    [
        header(self_signed()),
        header(Authority().gives()),
        header(OURS.gives(to=-DAY)),
        header(BELOW.gives()),
        {"Client-Cert": "x"},
        {"Client-Cert": ":"},
        {"Client-Cert": "::"},
        {"Client-Cert": ":é:"},
        {"Client-Cert": "-----BEGIN CERTIFICATE-----"},
        {"Client-Cert": f":{base64.b64encode(b'x').decode()}:"},
        {"Client-Cert": _bytes(GOOD) + ", " + _bytes(GOOD)},
        {"Client-Cert": ""},
        {**header(GOOD), "Client-Cert-Chain": ":x"},
    ],
)
async def test_a_header_that_proves_nothing_opens_nothing(hub: Room, software: str, said: dict[str, str]) -> None:
    async with client(await application(hub)) as http:
        headers = httpx.Headers({name: value.encode() for name, value in said.items()})  # type: ignore[arg-type]
        answer = await token(http, software, headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


async def test_a_certificate_besides_that_of_the_proxy_counts_for_nothing(hub: Room, software: str) -> None:
    """A client sends the header, and the proxy adds its own."""
    async with client(await application(hub)) as http:
        both = [("Client-Cert", _bytes(GOOD)), ("Client-Cert", _bytes(OURS.gives("CN=autre")))]
        answer = await token(http, software, both)  # type: ignore[arg-type]
    assert answer.status_code == 401


async def test_the_proxys_own_certificate_is_not_that_of_its_clients(hub: Room, software: str) -> None:
    served = await application(hub)

    async def with_tls(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {"tls": {"client_cert_chain": [GOOD.pem.decode()]}}
        await served(scope, receive, send)

    async with client(with_tls) as proxied, client(with_tls, SOMEBODY) as direct:
        assert (await token(proxied, software, {})).status_code == 401
        assert (await token(direct, software, {})).status_code == 200


async def test_nothing_of_one_request_is_left_for_the_next(hub: Room, software: str) -> None:
    async with client(await application(hub)) as http:
        assert (await token(http, software, header(GOOD))).status_code == 200
        assert certificates.presented.get() is not None  # this test's task is that of the request
        assert (await token(http, software, {})).status_code == 401


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "is_counted_apart"),
    [
        ("10.0.0.0/8", PROXY, ["198.51.100.{}"], True),
        ("10.0.0.0/8", "::ffff:10.0.0.7", ["198.51.100.{}"], True),
        ("10.0.0.0/8", PROXY, ["2001:db8:{}::1"], True),
        ("10.0.0.0/8", PROXY, ["203.0.{}.1, 198.51.100.7"], False),  # what the client said of itself stands left
        ("10.0.0.0/8", PROXY, ["203.0.{}.1", "198.51.100.7"], False),
        ("10.0.0.0/8", PROXY, ["198.51.{}.7, 10.0.0.9"], True),  # two proxies of ours
        ("10.0.0.0/8", SOMEBODY, ["198.51.{}.7"], False),
        ("", "127.0.0.1", ["198.51.{}.7"], False),
    ],
)
async def test_sign_ins_are_counted_by_the_network_that_they_come_from(
    hub: Room, proxies: str, peer: str, forwarded: list[str], is_counted_apart: bool
) -> None:
    served = await application(hub, trusted_proxies=proxies, tls_client_ca=None, sign_in_rate=0.02)  # one at once
    async with client(served, peer) as http:
        answers = []
        for n in (1, 2, 3):
            said = [("X-Forwarded-For", one.format(n)) for one in forwarded]
            answers.append((await http.post("/oauth/token", data={"a": "b"}, headers=said)).status_code)
    different = is_counted_apart and "198.51.100.{}" not in forwarded  # these are one network
    assert answers == ([400, 400, 400] if different else [400, 429, 429])


def test_networks_that_are_none_are_refused(tmp_path: Path) -> None:
    assert [str(one) for one in peers.proxies("127.0.0.1, 10.1.2.3/8 ::1")] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]
    with pytest.raises(errors.Unreadable):
        peers.proxies("mon-proxy")
