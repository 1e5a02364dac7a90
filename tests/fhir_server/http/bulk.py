"""What the tests of asynchronous work share: a server that does jobs, and a client that waits for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from fhir_server import app, store
from fhir_server.jobs import job, runner
from tests.fhir_server.http.callers import OPERATIONS, authenticate
from tests.fhir_server.http.samples import BASE

ASYNC = {"Prefer": "respond-async"}
NDJSON = {"Content-Type": "application/fhir+ndjson", **ASYNC}


@asynccontextmanager
async def serving(record: store.Store, folder: Path, **limits: Any) -> Any:
    """Clients by the name of their caller, of a server that does jobs in `folder`."""
    jobs = runner.Runner(record, job.Limits(folder, **{"settle_seconds": 0.0, **limits}))
    served = app.build_app(record, authenticate=authenticate, operations=OPERATIONS, max_body=1024 * 1024, jobs=jobs)
    transport = httpx.ASGITransport(served, raise_app_exceptions=True)
    opened: list[httpx.AsyncClient] = []

    def client(name: str) -> httpx.AsyncClient:
        opened.append(
            httpx.AsyncClient(transport=transport, base_url=BASE, headers={"Authorization": f"Bearer {name}"})
        )
        return opened[-1]

    jobs.start()
    try:
        yield client
    finally:
        for one in opened:
            await one.aclose()
        await jobs.stop()


async def finished(client: httpx.AsyncClient, kick_off: httpx.Response, *, seconds: float = 30) -> httpx.Response:
    """The answer of the status address once it is not 202 any more."""
    assert kick_off.status_code == 202, kick_off.text
    place = kick_off.headers["content-location"]
    for _ in range(int(seconds / 0.02)):
        answer = await client.get(place)
        if answer.status_code != 202:
            return answer
        assert answer.headers["x-progress"] and answer.headers["retry-after"]
        await asyncio.sleep(0.02)
    raise AssertionError("the job does not end")


async def exported(client: httpx.AsyncClient, path: str = "$export", **options: Any) -> dict[str, Any]:
    """The manifest of an export."""
    answer = await finished(client, await client.get(path, headers=ASYNC, params=options))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


async def lines(client: httpx.AsyncClient, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The resources in the files of a manifest, whose counts are right."""
    found: list[dict[str, Any]] = []
    for one in files:
        answer = await client.get(one["url"], headers={"Accept": "application/fhir+ndjson"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/fhir+ndjson"
        some = list(read(answer.content))
        assert len(some) == one["count"]
        found += some
    return found


def read(content: bytes) -> Iterator[dict[str, Any]]:
    """The lines of a file."""
    for line in content.splitlines():
        yield json.loads(line)


def refs(resources: list[dict[str, Any]]) -> list[str]:
    """`Type/id` of each, in order."""
    return sorted(f"{one['resourceType']}/{one['id']}" for one in resources)


def ndjson(*resources: dict[str, Any]) -> bytes:
    """One line for each."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in resources)
