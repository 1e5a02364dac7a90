"""Who is told over a WebSocket, and what?"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from fhir_server.subscriptions import socket
from tests.journeys import subscribing
from tests.journeys.subscribing import a_task, active, backport, created, plain
from tests.receiver import events, numbers, told
from tests.running import Hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    one = subscribing.started(tmp_path_factory.mktemp("hub"))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def client(hub: Hub) -> Iterator[httpx.Client]:
    with hub.client("--system") as one:
        yield one


def opened(hub: Hub, client: httpx.Client | None = None) -> ClientConnection:
    headers = {"Authorization": client.headers["Authorization"]} if client else {}
    return connect(f"ws://127.0.0.1:{hub.ports['http']}/fhir/ws", additional_headers=headers)


def told_next(line: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line.recv(timeout=10))
    return found


def token(client: httpx.Client, id: str) -> str:
    answer = client.get(f"/Subscription/{id}/$get-ws-binding-token").raise_for_status().json()
    found = {one["name"]: next(v for k, v in one.items() if k != "name") for one in answer["parameter"]}
    assert found["subscription"] == id
    assert found["websocket-url"].endswith("/fhir/ws")
    return str(found["token"])


def test_a_plain_subscription_is_bound_by_id_and_pinged(hub: Hub, client: httpx.Client) -> None:
    id = active(client, plain("Task?status=requested"))
    with opened(hub, client) as line:
        line.send(f"bind {id}")
        assert line.recv(timeout=10) == f"bound {id}"
        created(client, a_task(1))
        assert line.recv(timeout=10) == f"ping {id}"


def test_a_topic_is_bound_by_token_and_told_in_bundles(hub: Hub, client: httpx.Client) -> None:
    id = active(client, backport("task-event", content="full-resource"))
    with opened(hub) as line:
        line.send(f"bind-with-token {token(client, id)}")
        assert told(told_next(line))["type"] == "handshake"
        task = created(client, a_task(1))
        bundle = told_next(line)
        assert numbers(bundle) == [1]
        assert bundle["entry"][1]["resource"] == task


def test_what_nobody_was_told_is_told_on_binding(hub: Hub, client: httpx.Client) -> None:
    id = active(client, backport("task-event", backport_max_count=2))
    made = [created(client, a_task(n))["id"] for n in range(3)]
    with opened(hub, client) as line:
        line.send(f"bind {id}")
        assert told(told_next(line))["type"] == "handshake"
        found = [told_next(line), told_next(line)]
    assert [numbers(one) for one in found] == [[1, 2], [3]]
    assert [one["focus"]["reference"] for each in found for one in events(each)] == [f"Task/{one}" for one in made]


def test_binding_by_id_needs_a_bearer_token(hub: Hub, client: httpx.Client) -> None:
    id = active(client, plain("Task?status=requested"))
    with opened(hub) as line:
        line.send(f"bind {id}")
        assert str(line.recv(timeout=10)).startswith("error ")
        with pytest.raises(ConnectionClosed):
            line.recv(timeout=10)


def test_a_bad_bearer_token_opens_nothing(hub: Hub) -> None:
    with httpx.Client(headers={"Authorization": "Bearer inconnu"}) as nobody, pytest.raises(InvalidStatus) as refused:
        opened(hub, nobody)
    assert refused.value.response.status_code == 403


def test_a_forged_binding_token_binds_nothing(hub: Hub, client: httpx.Client) -> None:
    id = active(client, plain("Task?status=requested"))
    said, _, signature = token(client, id).partition(".")
    with opened(hub) as line:
        line.send(f"bind-with-token {said}.{signature[::-1]}")
        assert str(line.recv(timeout=10)).startswith("error ")


def test_nobody_binds_to_what_they_do_not_see(hub: Hub, client: httpx.Client) -> None:
    id = active(client, plain("Task?status=requested"))
    with hub.client("--persona", "nadia") as nadia, opened(hub, nadia) as line:
        assert nadia.get(f"/Subscription/{id}/$get-ws-binding-token").status_code == 404
        line.send(f"bind {id}")
        assert "n'existe pas" in str(line.recv(timeout=10))


def test_a_rest_hook_is_not_bound(hub: Hub, client: httpx.Client) -> None:
    id = created(client, plain("Task?status=requested", "http://127.0.0.1:9/hook"))["id"]
    assert client.get(f"/Subscription/{id}/$get-ws-binding-token").status_code == 422
    with opened(hub, client) as line:
        line.send(f"bind {id}")
        assert str(line.recv(timeout=10)).startswith("error ")
        line.send("unheard of")
        assert str(line.recv(timeout=10)).startswith("error ")


def test_a_connection_hears_no_more_of_a_subscription_that_was_deleted(hub: Hub, client: httpx.Client) -> None:
    id = active(client, plain("Task?status=requested"))
    with opened(hub, client) as line:
        line.send(f"bind {id}")
        assert line.recv(timeout=10) == f"bound {id}"
        client.delete(f"/Subscription/{id}").raise_for_status()
        created(client, a_task(1))
        assert str(line.recv(timeout=10)).startswith("error ")


@pytest.mark.servers
def test_every_process_tells_those_who_are_connected_to_it(tmp_path: Path, postgres_url: str) -> None:
    hub = subscribing.started(tmp_path / "hub", database=postgres_url, workers="2")
    with contextlib.ExitStack() as stack:
        stack.callback(hub.stop)
        client = stack.enter_context(hub.client("--system"))
        id = active(client, plain("Task?status=requested"))
        lines = [stack.enter_context(opened(hub, client)) for _ in range(8)]  # the kernel shares them out
        for line in lines:
            line.send(f"bind {id}")
            assert line.recv(timeout=10) == f"bound {id}"
        created(client, a_task(1))
        # Sooner than the look that each process takes by itself every few seconds.
        assert [line.recv(timeout=socket.LOOK_EVERY_SECONDS - 2) for line in lines] == [f"ping {id}"] * 8
