"""A software signs in with the certificate of its structure; nobody uses its tokens without it. Real TLS sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from identity import certificates
from tests import running
from tests.certificates import DAY, LGC, Authority, Made, self_signed
from web import session

GRANT = {"grant_type": "client_credentials", "scope": "system/*.rs"}
OTHER = "CN=ailleurs.example,OU=399999999900000,O=Autre structure,C=FR"


@dataclass
class Place:
    """A hub that speaks https, its authorities, and a software that is registered by its certificate."""

    folder: Path
    authority: Authority = field(default_factory=Authority)

    def __post_init__(self) -> None:
        folder = self.folder
        (folder / "clients.pem").write_bytes(self.authority.made.pem)
        (folder / "crl.pem").write_bytes(self.authority.revokes())
        web = self.authority.gives("CN=hub", addresses=("127.0.0.1",), usage=ExtendedKeyUsageOID.SERVER_AUTH)
        certificate, key = web.write(folder, "server")
        self.hub = running.Hub(
            folder / "hub",
            tls_certificate=certificate,
            tls_key=key,
            tls_client_ca=str(folder / "clients.pem"),
            tls_client_crl=str(folder / "crl.pem"),
            fhir_rate="0",
            sign_in_rate="0",
        )
        self.origin = f"https://127.0.0.1:{self.hub.ports['http']}"
        self.certificate = self.authority.gives()
        self.id = self.hub.run("client", "add", "LGC", "--certificate-subject", LGC)
        self.other = self.hub.run("client", "add", "Autre", "--certificate-subject", OTHER)

    def context(self, made: Made | None = None, *between: Made) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.made.pem.decode())
        if made:
            context.load_cert_chain(*made.write(self.folder, "client", *between))
        return context

    def http(self, made: Made | None = None, *between: Made, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        context = self.context(made, *between)
        return httpx.Client(base_url=self.origin, verify=context, headers=headers, timeout=30.0)

    def token(self, made: Made | None = None, **form: str) -> httpx.Response:
        with self.http(made) as http:
            return http.post("/oauth/token", data={**GRANT, "client_id": self.id, **form})

    def bound(self) -> str:
        """A token that goes with the software's certificate."""
        answer = self.token(self.certificate)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("certificates"))
    yield made
    assert made.hub.stop() == 0


def test_a_certificate_stands_for_a_key_and_its_tokens_go_with_it(place: Place) -> None:
    with place.http() as http:
        told = http.get("/fhir/.well-known/smart-configuration").json()
        services = http.get("/fhir/metadata").json()["rest"][0]["security"]["service"]
    assert told["token_endpoint"] == f"{place.origin}/oauth/token"
    assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt", "tls_client_auth", "none"]
    assert told["tls_client_certificate_bound_access_tokens"] is True
    assert [one["coding"][0]["code"] for one in services] == ["SMART-on-FHIR", "Certificates"]
    token = place.bound()
    with place.http(place.certificate, token=token) as http:
        assert http.get("/fhir/PractitionerRole").json()["entry"]
        assert http.get("/fhir/Patient").status_code == 403  # a certificate gives no rights
        told = http.post("/oauth/introspect", data={"token": token, "client_id": place.id}).json()
        assert told["cnf"] == {"x5t#S256": certificates.thumbprint(place.certificate.der)}
    for thief in (None, place.authority.gives(), place.authority.gives(OTHER)):
        with place.http(thief, token=token) as http:
            stolen = http.get("/fhir/PractitionerRole")
        assert stolen.status_code == 401
        assert 'error="invalid_token"' in stolen.headers["www-authenticate"]
    with place.http(place.certificate, token=token) as http:
        assert http.post("/oauth/revoke", data={"token": token, "client_id": place.id}).status_code == 200
        assert http.get("/fhir/PractitionerRole").status_code == 401


def test_a_new_certificate_of_the_same_structure_signs_in_and_has_tokens_of_its_own(place: Place) -> None:
    renewed = place.authority.gives()
    assert place.token(renewed).status_code == 200
    with place.http(renewed, token=place.bound()) as http:
        assert http.get("/fhir/PractitionerRole").status_code == 401


def test_who_shows_no_certificate_of_that_software_gets_nothing(place: Place) -> None:
    for made in (None, place.authority.gives(OTHER), place.authority.gives("CN=lgc.example")):
        answer = place.token(made)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert place.token(place.certificate, client_id=place.other).status_code == 401
    assert place.token(place.certificate, client_secret="x").status_code == 401
    found = place.token(place.certificate, client_id="")  # who it is stands in the certificate
    assert found.status_code == 200, found.text
    with place.http() as http:
        assert http.get("/connexion").status_code == 200  # people have none


@pytest.mark.parametrize("how", ["expired", "self-signed", "of another authority", "of a server"])
def test_a_certificate_that_nobody_vouches_for_ends_the_handshake(place: Place, how: str) -> None:
    made = {
        "expired": lambda: place.authority.gives(to=-DAY),
        "self-signed": self_signed,
        "of another authority": lambda: Authority().gives(),
        "of a server": lambda: place.authority.gives(usage=ExtendedKeyUsageOID.SERVER_AUTH),
    }[how]()
    with pytest.raises(httpx.TransportError):
        place.token(made)
    assert place.token(place.certificate).status_code == 200


def test_an_authority_in_between_may_come_along(place: Place) -> None:
    below = Authority("AC fille", place.authority)
    with place.http(below.gives(), below.made) as http:
        assert http.post("/oauth/token", data={**GRANT, "client_id": place.id}).status_code in (200, 401)


def test_a_revoked_certificate_opens_nothing_any_more(place: Place) -> None:
    certificate = place.authority.gives()
    token = place.token(certificate).json()["access_token"]
    with place.http(certificate, token=token) as http:
        assert http.get("/fhir/PractitionerRole").status_code == 200
        (place.folder / "crl.pem").write_bytes(place.authority.revokes(certificate))
        assert http.get("/fhir/PractitionerRole").status_code == 401  # on the same connection
        answer = http.post("/oauth/token", data={**GRANT, "client_id": place.id})
        assert (answer.status_code, answer.json()["error_description"]) == (401, "the certificate is revoked")
    assert place.token(place.certificate).status_code == 200


def test_a_software_may_say_which_certificate_it_will_use(place: Place) -> None:
    digest = hashlib.sha256(place.certificate.der)
    hexadecimal = base64.b64encode(digest.hexdigest().encode()).decode()
    for said in (certificates.thumbprint(place.certificate.der), hexadecimal):
        assert place.token(place.certificate, cnf=json.dumps({"x5t#S256": said})).status_code == 200
    for wrong in ('{"x5t#S256": "x"}', "{}", "x", '{"x5t#S256": 1}', "[]"):
        assert place.token(place.certificate, cnf=wrong).json()["error"] == "invalid_request"


def test_a_header_of_somebody_who_is_no_proxy_is_nothing(place: Place) -> None:
    header = {"Client-Cert": f":{base64.b64encode(place.certificate.der).decode()}:"}
    with place.http() as http:
        answer = http.post("/oauth/token", data={**GRANT, "client_id": place.id}, headers=header)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    with place.http(token=place.bound()) as http:
        assert http.get("/fhir/PractitionerRole", headers=header).status_code == 401


def test_a_websocket_is_opened_with_the_certificate(place: Place) -> None:
    address, token = place.origin.replace("https", "wss") + "/fhir/ws", place.bound()

    async def bind(made: Made | None) -> str:
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(address, ssl=place.context(made), additional_headers=headers) as line:
            await line.send("bind :nothing")
            return str(await line.recv())

    assert asyncio.run(bind(place.certificate)).startswith("error")  # let in, and told that there is no such one
    for thief in (None, place.authority.gives(OTHER)):
        with pytest.raises(InvalidStatus):
            asyncio.run(bind(thief))


@pytest.mark.parametrize(
    ("version", "ciphers", "is_spoken"),
    [
        (ssl.TLSVersion.TLSv1_3, "ALL", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA", False),
        (ssl.TLSVersion.TLSv1_1, "ALL", False),
    ],
)
def test_old_protocols_and_weak_ciphers_are_not_spoken(
    place: Place, version: ssl.TLSVersion, ciphers: str, is_spoken: bool
) -> None:
    context = place.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with httpx.Client(base_url=place.origin, verify=context) as http:
        if is_spoken:
            assert http.get("/health/live").status_code == 200
        else:
            with pytest.raises(httpx.TransportError):
                http.get("/health/live")


def test_browsers_are_told_to_stay_with_https(place: Place) -> None:
    with place.http() as http:
        answer = http.get("/connexion")
    assert answer.headers["strict-transport-security"]
    assert all(one.startswith("__Host-") and "Secure" in one for one in answer.headers.get_list("set-cookie"))
    assert answer.headers.get_list("set-cookie")


def test_whoever_comes_from_elsewhere_is_served_by_https_from_the_first_start(tmp_path: Path) -> None:
    hub = running.Hub(tmp_path / "hub", host="0.0.0.0")
    known = ssl.create_default_context(cafile=str(hub.folder / "tls/authority.pem"))
    with httpx.Client(base_url=f"https://localhost:{hub.ports['http']}", verify=known) as http:
        page = http.get("/connexion")
        form = {"csrf": session.derived(http.cookies["__Host-hub_visitor"]), "persona": "nadia"}
        entered = http.post("/connexion", data=form, headers={"Origin": str(http.base_url).rstrip("/")})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert "Nadia" in http.get("/").text
        assert "strict-transport-security" not in page.headers  # the mail page of the same machine may speak http
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{hub.ports['http']}/health/live")
    assert "HUB_030" in hub.log.read_text()
    assert hub.stop() == 0


def test_a_proxy_in_front_hands_the_certificate_on(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "clients.pem").write_bytes(authority.made.pem)
    known = {"trusted_proxies": "127.0.0.1", "tls_client_ca": str(tmp_path / "clients.pem")}
    hub = running.Hub(tmp_path / "hub", public_url="https://hub.test", **known)
    id, made = hub.run("client", "add", "LGC", "--certificate-subject", LGC), authority.gives()
    header = {"Client-Cert": f":{base64.b64encode(made.der).decode()}:", "X-Forwarded-For": "192.0.2.1"}
    with httpx.Client(base_url=f"http://127.0.0.1:{hub.ports['http']}") as proxy:
        assert proxy.post("/oauth/token", data={**GRANT, "client_id": id}).status_code == 401
        answer = proxy.post("/oauth/token", data={**GRANT, "client_id": id}, headers=header)
        assert answer.status_code == 200, answer.text
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert proxy.get("/fhir/PractitionerRole", headers=bearer).status_code == 401
        assert proxy.get("/fhir/PractitionerRole", headers=bearer | header).status_code == 200
    assert hub.stop() == 0
