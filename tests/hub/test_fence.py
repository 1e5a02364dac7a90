"""Whoever asks too often waits, nobody else does; every answer tells a browser what it may not do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from common import errors
from fhir_server import access
from fhir_server.jobs import runner
from hub import fence, serve
from hub import settings as configuration
from hub.room import Room


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_bucket_fills_again() -> None:
    clock = Clock()
    limiter = fence.Limiter(2.0, 4.0, now=clock)
    assert [limiter.wait("a") for _ in range(4)] == [0.0] * 4
    assert limiter.wait("a") == pytest.approx(0.5)
    assert limiter.wait("b") == 0.0  # somebody else
    clock.time += 0.5
    assert limiter.wait("a") == 0.0
    assert limiter.wait("a") > 0
    clock.time += 3600
    assert [limiter.wait("a") for _ in range(5)][:4] == [0.0] * 4


def test_no_rate_is_no_limit_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(fence.Limiter(0.0, 0.0).wait("a") == 0.0 for _ in range(1000))
    monkeypatch.setattr(fence, "_MOST_KEYS", 10)
    limiter = fence.Limiter(1.0, 1.0)
    for n in range(100):
        limiter.wait(n)
    assert len(limiter._left) == 10


async def test_a_caller_is_slowed_down_and_another_is_not() -> None:
    async def check(token: str) -> access.Caller:
        return access.SYSTEM if token == "system" else access.person(f"PractitionerRole/{token}")

    checked = fence.limited(check, 0.1)  # one at once
    await checked("nadia")
    with pytest.raises(errors.TooMany):
        await checked("nadia")
    await checked("claire")
    for _ in range(5):
        await checked("system")


async def application(hub: Room, **settings: Any) -> Any:
    config = configuration.Settings(data=hub.settings.data, demo=True, **settings)
    jobs = runner.Runner(hub.store, serve.limits(config))
    base = (config.public_url or "http://hub.test") + "/fhir"
    return await serve.application(hub, config, base, jobs)


def client(served: Any, url: str = "http://hub.test", network: str = "192.0.2.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(served, client=(network, 1)), base_url=url)


async def test_sign_in_is_limited_by_network(hub: Room) -> None:
    served = await application(hub, sign_in_rate=0.05)  # three at once
    async with client(served) as one, client(served, network="198.51.100.7") as other:
        answers = [await one.post("/oauth/token", data={"grant_type": "x"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [400, 400, 400, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await other.post("/oauth/token", data={"grant_type": "x"})).status_code == 400
        assert (await one.get("/connexion")).status_code == 200


async def test_every_answer_carries_what_browsers_have_to_know(hub: Room) -> None:
    served = await application(hub, public_url="https://hub.test")
    async with client(served) as http:
        paths = (await http.get("/docs/openapi.json")).json()["paths"]
        pages = ["/", "/connexion", "/docs", "/live", "/conversations/x", "/documents/x", "/static/app.css", "/nowhere"]
        asked = {path.replace("{id}", "x").replace("{type}", "Patient") for path in paths} | {*pages}
        for path in sorted(asked):
            for method in ("GET", "POST"):
                answer = await http.request(method, path)
                headers = answer.headers
                assert answer.status_code < 500, (method, path)
                assert headers["x-content-type-options"] == "nosniff", path
                assert headers["strict-transport-security"].startswith("max-age="), path
                assert headers["referrer-policy"] == "same-origin", path
                if headers.get("content-type", "").startswith("text/html"):
                    policy = headers["content-security-policy"]
                    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy, path
                    assert "unsafe" not in policy


async def test_behind_a_proxy_that_ends_tls_the_cookie_is_secure(hub: Room) -> None:
    served = await application(hub, public_url="https://hub.test")
    async with client(served) as http:  # the proxy speaks plain http to us
        answer = await http.get("/connexion")
    cookies = answer.headers.get_list("set-cookie")
    assert cookies and all("Secure" in one and "HttpOnly" in one for one in cookies)
