"""A software is registered from the shell, finds out how to sign in, and reads the directory, but no patients."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from joserfc import jwk, jwt

from tests import running

KEY = jwk.ECKey.generate_key("P-384", {"kid": "2026"})


class Published(BaseHTTPRequestHandler):
    """The address of the software's public keys."""

    def do_GET(self) -> None:
        body = json.dumps({"keys": [KEY.as_dict(private=False)]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def keys_at() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Published)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    server.shutdown()
    server.server_close()


def test_a_software_signs_in_with_its_key(region: running.Region, keys_at: str) -> None:
    hub = region.hub
    id = hub.run("client", "add", "Mon LGC", "--scope", "system/*.rs", "--jwks-url", keys_at)
    assert f"{id}  Mon LGC  system/*.rs  {keys_at}" in hub.run("client", "list")
    base = f"http://127.0.0.1:{hub.ports['http']}/fhir"
    told = httpx.get(f"{base}/.well-known/smart-configuration").json()
    capability = httpx.get(f"{base}/metadata").json()
    security = capability["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert {"url": "token", "valueUri": told["token_endpoint"]} in security["extension"][0]["extension"]

    claims = {"iss": id, "sub": id, "aud": told["token_endpoint"], "exp": int(time.time()) + 200}
    assertion = jwt.encode({"alg": "ES384", "kid": "2026"}, {**claims, "jti": secrets.token_hex(8)}, KEY, ["ES384"])
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
    }
    answer = httpx.post(told["token_endpoint"], data=form)
    assert answer.status_code == 200, answer.text
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {answer.json()['access_token']}"}) as fhir:
        assert fhir.get("/PractitionerRole").json()["entry"]
        assert fhir.get("/Patient").status_code == 403  # LGC-14
        assert fhir.get("/Patient/vidal-rose").status_code == 403
        assert fhir.post("/Organization", json={"resourceType": "Organization", "name": "x"}).status_code == 403
        hub.run("client", "remove", id)
        running.wait_for(
            lambda: fhir.get("/PractitionerRole").status_code == 401, seconds=8, what="the end of the token"
        )
    assert httpx.post(told["token_endpoint"], data=form).json()["error"] == "invalid_client"
    log = hub.log.read_text()
    assert "IDN_010" in log and "IDN_011" in log
    assert assertion not in log and answer.json()["access_token"] not in log
