"""Two HTTP processes on one PostgreSQL database behave as one hub, whatever process a connection ends at.

The kernel gives each new connection to one of them; ids tell which process made them, so a test knows whom it talks to.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from fhir_server import ids
from hub import serve
from tests import running

pytestmark = pytest.mark.servers
SYSTEM = "urn:test"
Both = Callable[..., list[httpx.Client]]
NADIA = ("--persona", "nadia")


@pytest.fixture(scope="module")
def database(postgres_server: str) -> Iterator[str]:
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def hub(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Hub]:
    started = running.Hub(tmp_path_factory.mktemp("workers"), database=database, workers="2")
    yield started
    started.stop()


def a_basic(value: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "identifier": [{"system": SYSTEM, "value": value}], "code": {"text": "essai"}}


def worker_of(id: str) -> int:
    """Which process made an id."""
    return ids.worker(ids.decode_number(id[:13]))


def create(client: httpx.Client, value: str = "") -> str:
    """Create a Basic; its id."""
    answer = client.post("Basic", json=a_basic(value or uuid.uuid4().hex))
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].split("/Basic/")[1].partition("/")[0]


@pytest.fixture
def both(hub: running.Hub) -> Iterator[Both]:
    """A function that gives a connection to each of the two processes; each stays with the one that took it."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
    with contextlib.ExitStack() as opened:

        def connections(*words: str) -> list[httpx.Client]:
            with hub.client(*(words or ("--system",))) as pattern:
                options: dict[str, Any] = {"base_url": pattern.base_url, "headers": pattern.headers, "timeout": 30.0}
            found: dict[int, httpx.Client] = {}

            def look() -> list[httpx.Client] | None:
                client = opened.enter_context(httpx.Client(**options, limits=limits))
                try:
                    found.setdefault(worker_of(create(client)), client)
                except httpx.HTTPError:  # the process that took it has just ended
                    return None
                return list(found.values()) if len(found) == 2 else None

            clients: list[httpx.Client] = running.wait_for(look, seconds=60, what="connections to two processes")
            return clients

        yield connections


def test_what_one_process_did_is_seen_at_once_by_the_other(both: Both) -> None:
    one, other = both()
    for _ in range(10):
        id = create(one)
        assert other.get(f"Basic/{id}").status_code == 200
        changed = other.put(f"Basic/{id}", json={**a_basic("changed"), "id": id})
        assert changed.status_code == 200, changed.text
        assert one.get(f"Basic/{id}").headers["etag"] == changed.headers["etag"] == 'W/"2"'
        assert one.delete(f"Basic/{id}").status_code in (200, 204)
        assert other.get(f"Basic/{id}").status_code == 410
        one, other = other, one


def test_the_pages_of_a_search_go_on_at_the_other_process(both: Both) -> None:
    one, other = both()
    value = uuid.uuid4().hex
    made = {create(one, value) for _ in range(7)}
    found: list[str] = []
    answer = one.get("Basic", params={"identifier": f"{SYSTEM}|{value}", "_count": "2", "_sort": "_lastUpdated"}).json()
    while True:
        found += [entry["resource"]["id"] for entry in answer.get("entry", ())]
        following = [link["url"] for link in answer["link"] if link["relation"] == "next"]
        if not following:
            break
        one, other = other, one
        answer = one.get(following[0]).raise_for_status().json()
    assert len(found) == 7
    assert set(found) == made


def test_of_fifty_conditional_creates_at_both_processes_one_creates(both: Both) -> None:
    value = uuid.uuid4().hex
    clients = [client for _ in range(5) for client in both()]  # each thread has a connection of its own
    headers = {"If-None-Exist": f"identifier={SYSTEM}|{value}"}

    def five(client: httpx.Client) -> list[httpx.Response]:
        return [client.post("Basic", json=a_basic(value), headers=headers) for _ in range(5)]

    with ThreadPoolExecutor(len(clients)) as threads:
        answers = [one for some in threads.map(five, clients) for one in some]
    assert sorted(one.status_code for one in answers) == [200] * 49 + [201]
    assert len({one.headers["location"] for one in answers}) == 1
    assert clients[0].get("Basic", params={"identifier": f"{SYSTEM}|{value}"}).json()["total"] == 1


def test_live_pages_of_both_processes_hear_of_a_message(hub: running.Hub, both: Both) -> None:
    one, other = both(*NADIA)
    place = f"http://127.0.0.1:{hub.ports['http']}"
    token = one.headers["authorization"].partition(" ")[2]
    cookie = {"Cookie": f"hub_session={token}"}
    inbox = one.get("Task", params={"code": "inbox", "owner": "PractitionerRole/nadia"}).json()["entry"]
    header = inbox[0]["resource"]["focus"]["reference"]
    # On the very connections that are known to end at one process and at the other.
    with (
        one.stream("GET", f"{place}/live", headers=cookie) as here,
        other.stream("GET", f"{place}/live", headers=cookie) as there,
    ):
        lines = [here.iter_lines(), there.iter_lines()]
        for stream in lines:
            assert next(line for line in stream if line == "event: ready")
        body = {"resourceType": "Communication", "status": "completed", "partOf": [{"reference": header}]}
        body["payload"] = [{"contentString": "Bien reçu"}]
        with hub.client(*NADIA) as client:
            written = client.post("Communication", json=body)
        assert written.status_code == 201, written.text
        id = written.headers["location"].split("/Communication/")[1].partition("/")[0]
        for stream in lines:
            data = next(line for line in stream if line.startswith("data: ") and id in line)
            assert json.loads(data[6:])["conversation"] == header.partition("/")[2]


def test_ids_never_collide_while_a_command_writes_too(
    hub: running.Hub, both: Both, database: str, tmp_path: Path
) -> None:
    clients = [*both(), *both()]  # each thread has a connection of its own
    loaded = tmp_path / "loaded.ndjson"
    loaded.write_text("".join(json.dumps({**a_basic("loaded"), "id": f"loaded-{n}"}) + "\n" for n in range(300)))

    def fifty(client: httpx.Client) -> list[str]:
        return [create(client) for _ in range(50)]

    with ThreadPoolExecutor(5) as threads:
        importing = threads.submit(hub.run, "import", str(loaded))
        made = [id for some in threads.map(fifty, clients) for id in some]
        importing.result()
    assert len(set(made)) == 200
    with psycopg.connect(database) as server:
        rows = server.execute("SELECT fid, rid FROM resource WHERE type = 'Basic'").fetchall()
    numbers = {fid: ids.worker(rid) for fid, rid in rows}
    assert len({rid for _, rid in rows}) == len(rows)
    assert len({numbers[id] for id in made}) == 2
    assert {number for fid, number in numbers.items() if fid.startswith("loaded-")} == {serve.COMMANDS}


def second(hub: running.Hub) -> psutil.Process | None:
    """The process that the first one started."""
    for one in psutil.Process(hub.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # just killed
            if "--worker" in one.cmdline():
                return one
    return None


def test_a_process_that_is_killed_comes_back_and_nothing_is_lost(hub: running.Hub, both: Both, database: str) -> None:
    made = [create(client) for client in both()]
    before = second(hub)
    assert before
    stop = threading.Event()

    def write() -> list[str]:
        """What was acknowledged, each on a connection of its own."""
        done: list[str] = []
        while not stop.is_set():
            with contextlib.suppress(httpx.HTTPError), hub.client("--system") as client:
                done.append(create(client))
        return done

    def is_back() -> bool:
        now = second(hub)
        return now is not None and now.pid != before.pid

    with ThreadPoolExecutor(4) as threads:
        writers = [threads.submit(write) for _ in range(4)]
        time.sleep(0.5)
        os.kill(before.pid, signal.SIGKILL)
        try:
            running.wait_for(is_back, seconds=30, what="the second process again")
        finally:
            stop.set()
        made += [id for writer in writers for id in writer.result()]
    assert len(set(made)) == len(made) > 10
    for client in both():
        for id in made[-20:]:
            assert client.get(f"Basic/{id}").status_code == 200
    with psycopg.connect(database) as server:
        stored = {row[0] for row in server.execute("SELECT fid FROM resource WHERE type = 'Basic'")}
    assert stored >= set(made)


def test_the_others_end_with_the_first_one(hub: running.Hub) -> None:
    left = second(hub)
    assert left
    hub.kill()
    left.wait(30)
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", hub.ports["http"])) != 0
