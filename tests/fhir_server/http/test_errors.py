"""What a refusal looks like at the door: status, outcome, correlation id, and nothing of what is inside."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn

from common import errors
from fhir_server import app, outcome, store
from tests.fhir_server.http.callers import OPERATIONS, authenticate
from tests.fhir_server.http.samples import a_patient, issue

Client = httpx.AsyncClient

JSON = {"Content-Type": "application/fhir+json"}


async def test_a_request_without_a_token_is_401(as_: Callable[..., Client]) -> None:
    client = as_("system")
    del client.headers["Authorization"]
    for method, url in [
        ("GET", "/Patient/1"),
        ("POST", ""),
        ("GET", "/Patient"),
        ("GET", "/no/thing"),
        ("PUT", "/a"),
    ]:
        answer = await client.request(method, url)
        assert (answer.status_code, issue(answer)["code"]) == (401, "login")
        assert answer.headers["www-authenticate"] == 'Bearer realm="fhir"'


@pytest.mark.parametrize(
    "header", ["Bearer stranger", "bearer stranger", "Basic bmFkaWE6eA==", "Bearer ", "Bearer", "\u00ff"]
)
async def test_a_token_that_is_not_good_is_401(fhir: Client, header: str) -> None:
    answer = await fhir.get("/Patient/1", headers={b"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="fhir", error="invalid_token"'


async def test_the_metadata_need_no_token(as_: Callable[..., Client]) -> None:
    client = as_("system")
    del client.headers["Authorization"]
    assert (await client.get("/metadata")).status_code == 200


async def test_of_somebody_unknown_no_body_is_read(as_: Callable[..., Client]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    client = as_("system")
    del client.headers["Authorization"]
    for url in ("/metadata", "/Patient", ""):
        assert (await client.post(url, content=pieces(), headers=JSON)).status_code == 401


async def test_every_answer_carries_the_id_of_the_request(fhir: Client) -> None:
    given = await fhir.get("/Patient/1", headers={"X-Request-Id": "abc-1.2_3"})
    assert given.headers["x-request-id"] == "abc-1.2_3"
    assert issue(given)["diagnostics"] == "X-Request-Id: abc-1.2_3"
    for odd in ("a b", "é", "x" * 65, '"><script>'):
        made = await fhir.get("/Patient/1", headers={b"X-Request-Id": odd.encode()})
        assert made.headers["x-request-id"].isalnum()
    assert (await fhir.get("/metadata")).headers["x-request-id"]


async def test_an_outcome_says_what_where_and_with_which_code(fhir: Client) -> None:
    answer = await fhir.get("/Patient/nobody")
    told = issue(answer)
    assert (told["severity"], told["code"]) == ("error", "not-found")
    assert told["details"]["coding"] == [{"system": outcome.CODE_SYSTEM, "code": "not-found"}]
    assert told["details"]["text"]
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"


async def test_an_unexpected_error_is_500_and_tells_nothing(record: store.Store) -> None:
    seen: list[tuple[str, str]] = []
    built = app.build_app(
        record,
        authenticate=authenticate,
        operations=OPERATIONS,
        on_error=lambda problem, request: seen.append((str(problem), request)),
    )
    async with Client(transport=httpx.ASGITransport(built), base_url="http://hub.test/fhir") as client:
        answer = await client.get("/$explode", headers={"Authorization": "Bearer system", "X-Request-Id": "r1"})
    assert (answer.status_code, issue(answer)["code"], issue(answer)["severity"]) == (500, "exception", "fatal")
    assert "select" not in answer.text
    assert "Traceback" not in answer.text
    assert "r1" in issue(answer)["diagnostics"]
    assert seen == [("select secret from patients", "r1")]


async def test_many_issues_are_cut_at_a_number_that_can_be_read() -> None:
    issues = tuple(errors.Issue(f"anomalie {number}") for number in range(500))
    told = outcome.of(errors.Invalid("x", issues=issues))["issue"]
    assert len(told) == outcome.MOST_ISSUES + 1
    assert "300" in told[-1]["details"]["text"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"resourceType":"Patient"', b"\xff\xfe", b'{"resourceType":"Patient","active":NaN}']
)
async def test_a_body_that_cannot_be_read_is_400(fhir: Client, body: bytes) -> None:
    answer = await fhir.post("/Patient", content=body, headers=JSON)
    assert (answer.status_code, issue(answer)["code"]) == (400, "structure")


async def test_deep_nesting_is_refused(fhir: Client) -> None:
    for depth in (101, 5_000, 200_000):
        body = b'{"resourceType":"Patient","a":' + b"[" * depth + b"]" * depth + b"}"
        assert (await fhir.post("/Patient", content=body, headers=JSON)).status_code == 400
    nested: dict[str, object] = {"url": "http://x.test/e", "valueCode": "x"}
    for _ in range(30):
        nested = {"url": "http://x.test/e", "extension": [nested]}
    assert (await fhir.post("/Patient", json=a_patient(extension=[nested]))).status_code == 201


@pytest.mark.parametrize("accept", ["image/png", "application/fhir+json; fhirVersion=3.0"])
async def test_what_nobody_can_send_is_406_before_anything_is_done(fhir: Client, accept: str) -> None:
    answer = await fhir.put("/Patient/a", json=a_patient(id="a"), headers={"Accept": accept})
    assert (answer.status_code, issue(answer)["code"]) == (406, "not-supported")
    assert (await fhir.get("/Patient/a")).status_code == 404
    assert (await fhir.get("/Patient?_format=turtle")).status_code == 406


async def test_a_body_that_says_it_is_too_large_is_not_read(fhir_app: app.App) -> None:
    read = 0

    async def receive() -> dict[str, object]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    for headers, most in [([(b"content-length", b"99999999")], 0), ([], 17), ([(b"content-length", b"9" * 40)], 0)]:
        read = 0
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/fhir/Patient",
            "query_string": b"",
            "scheme": "http",
            "headers": [(b"host", b"hub.test"), (b"authorization", b"Bearer system"), *headers],
        }
        await fhir_app(scope, receive, send)
        assert sent[0]["status"] == 413
        assert json.loads(sent[1]["body"])["issue"][0]["code"] == "too-long"
        assert read == most


async def test_a_client_that_goes_away_is_not_answered(fhir_app: app.App) -> None:
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/fhir/Patient", "query_string": b""}
    scope |= {"scheme": "http", "headers": [(b"host", b"hub.test"), (b"authorization", b"Bearer system")]}
    await fhir_app(scope, receive, send)
    assert sent == []


@pytest.mark.parametrize("host", ["", "a b", 'x"y', "x/y", "x\\y", "<x>", "h:123456"])
async def test_a_host_that_could_not_stand_in_a_link_is_refused(fhir: Client, host: str) -> None:
    assert (await fhir.get("/Patient", headers={"Host": host})).status_code == 400


async def test_links_start_with_the_public_address_when_there_is_one(record: store.Store) -> None:
    built = app.build_app(record, authenticate=authenticate, public_url="https://hub.example/")
    async with Client(transport=httpx.ASGITransport(built), base_url="http://10.0.0.1/fhir") as client:
        client.headers["Authorization"] = "Bearer system"
        answer = await client.post("/Patient", json=a_patient())
        assert answer.headers["location"].startswith("https://hub.example/fhir/Patient/")
        metadata = (await client.get("/metadata")).json()
        assert metadata["implementation"]["url"] == "https://hub.example/fhir"


async def test_other_paths_and_the_well_known_ones_go_to_what_is_mounted(record: store.Store) -> None:
    async def behind(scope: app.Scope, receive: app.Receive, send: app.Send) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    built = app.build_app(record, authenticate=authenticate, mount=behind)
    async with Client(transport=httpx.ASGITransport(built), base_url="http://hub.test") as client:
        for path in ("/", "/docs", "/fhirs", "/fhir/.well-known/smart-configuration", "/oauth/token"):
            answer = await client.get(path)
            assert (answer.status_code, answer.text) == (299, path)
        assert (await client.get("/fhir")).status_code == 401


async def test_without_anything_mounted_other_paths_are_a_404_problem(fhir: Client) -> None:
    answer = await fhir.get("http://hub.test/other")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.fixture
def free_socket() -> Iterator[socket.socket]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one


@pytest_asyncio.fixture
async def over_the_wire(fhir_app: app.App, free_socket: socket.socket) -> AsyncIterator[Client]:
    """A client on a real connection to a real server."""
    server = uvicorn.Server(uvicorn.Config(fhir_app, log_level="error", access_log=False, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[free_socket]))
    while not server.started:
        await asyncio.sleep(0.01)
    address = f"http://127.0.0.1:{free_socket.getsockname()[1]}/fhir"
    async with Client(base_url=address, headers={"Authorization": "Bearer system"}) as client:
        yield client
    server.should_exit = True
    await serving


async def test_a_real_connection_serves_the_whole_life_of_a_resource(over_the_wire: Client) -> None:
    created = await over_the_wire.post("/Patient", json=a_patient())
    url = created.headers["location"].partition("/_history")[0]
    assert (await over_the_wire.get(url)).json() == created.json()
    assert (await over_the_wire.head(url)).headers["content-length"] == str(len(created.content))
    assert (await over_the_wire.get(url, headers={"If-None-Match": 'W/"1"'})).status_code == 304
    assert (await over_the_wire.delete(url)).status_code == 204
    assert (await over_the_wire.get(url)).status_code == 410


async def test_a_real_connection_refuses_what_is_too_large_and_stays_usable(over_the_wire: Client) -> None:
    large = b'{"resourceType":"Patient","id":"%s"}' % (b"x" * 2_000_000)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 100_000):
            yield large[start : start + 100_000]

    for content in (large, chunks()):
        answer = await over_the_wire.post("/Patient", content=content, headers=JSON)
        assert (answer.status_code, issue(answer)["code"]) == (413, "too-long")
    assert (await over_the_wire.get("/metadata")).status_code == 200
