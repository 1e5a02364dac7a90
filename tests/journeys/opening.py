"""What the journeys of apps need: a browser of a person, an app that asks, a software that opens."""

from __future__ import annotations

import contextlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import httpx

from tests import running

BACK = "http://127.0.0.1:9/retour"  # nobody listens there: the address itself is what an app gets
SHOWN = {"sec-fetch-site": "same-origin"}


def base(hub: running.Hub) -> str:
    return f"http://127.0.0.1:{hub.ports['http']}/fhir"


@contextlib.contextmanager
def browser(hub: running.Hub, persona: str = "") -> Iterator[httpx.Client]:
    """A browser, in which somebody has signed in if a persona is named."""
    place = base(hub).removesuffix("/fhir")
    with httpx.Client(base_url=place, timeout=30.0, headers={**SHOWN, "origin": place}) as made:
        if persona:
            page = made.get("/connexion")
            came = made.post("/connexion", data={"csrf": field_of(page, "csrf"), "persona": persona})
            assert came.status_code == 303, came.text
        yield made


def field_of(page: httpx.Response, name: str) -> str:
    """What a form of the page holds."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return found[1].replace("&amp;", "&")


@dataclass
class App:
    """A public app: what it asks, and what it makes of the answer."""

    hub: running.Hub
    id: str
    scope: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_hex(8))

    def asks(self, **more: str) -> dict[str, str]:
        challenge = urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {"response_type": "code", "client_id": self.id, "redirect_uri": BACK, "scope": self.scope}
        asked |= {"state": self.state, "aud": base(self.hub), "code_challenge": challenge}
        asked |= {"code_challenge_method": "S256", **more}
        return {name: value for name, value in asked.items() if value}

    def allowed(self, person: httpx.Client, *, choice: str = "oui", patient: str = "", **more: str) -> dict[str, str]:
        """What the browser brings back when the person has pressed a button."""
        page = person.get("/oauth/authorize", params=self.asks(**more))
        assert page.status_code == 200, (page.status_code, page.headers.get("location"), page.text)
        form = {"csrf": field_of(page, "csrf"), "asked": field_of(page, "asked"), "choix": choice, "patient": patient}
        return answer(person.post("/oauth/authorize", data=form))

    def redeem(self, code: str, **more: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "client_id": self.id}
        form |= {"code_verifier": self.verifier, **more}
        return httpx.post(f"{base(self.hub).removesuffix('/fhir')}/oauth/token", data=form)

    def fhir(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=base(self.hub), headers={"Authorization": f"Bearer {token}"}, timeout=30.0)


def answer(response: httpx.Response) -> dict[str, str]:
    """The parameters of an answer that goes to the app."""
    assert response.status_code == 303, response.text
    assert response.headers["location"].startswith(f"{BACK}?"), response.headers["location"]
    return {name: one[0] for name, one in parse_qs(urlsplit(response.headers["location"]).query).items()}
