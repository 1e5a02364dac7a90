"""How fast are subscribers told?

One hub on a new database, and a receiver in a process of its own. `delivered`: a number of Subscriptions, and a number
of commits that concern them all; counted are the notifications a second from the first commit to the last arrival, so
that writing, matching and sending are in it. Beside it the same calls made by the same client with nothing behind. The
waiting times are those of single changes on an idle hub, from the answer to the writer until the resource has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from bench import hooked, report, served, targets, workload
from bench.targets import Target
from common import errors
from connectors.hooks import addresses, calling

SUBSCRIPTIONS = (1, 8, 32)
SINGLE = 40  # changes whose waiting time is measured
BUNDLE = 50
FLOORS = {"delivered": 500.0}
LOOPBACK = "127.0.0.0/8"


@dataclass(slots=True)
class Run:
    """What one run needs: the hub, its process and the receiver's port."""

    hub: Target
    fhir: httpx.Client
    hook: str
    told: httpx.Client
    changes: int
    body: bytes = b""
    figures: dict[int, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))
    bare: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))


def run(
    *,
    database: str | None = None,
    json_path: Path | None = None,
    peer: str | None = None,
    budget: bool = False,
    patients: int = 2000,
    seconds: float = 1.0,
    rounds: int = 3,
) -> int:
    """Measure, print a table, write `json_path`; the exit code, 1 when `budget` is asked for and missed.

    `database` as in `record.run`; `patients` stands for the size: one change for every four. Without `peer` and
    `seconds`: peers have no common way to be told where to call.
    """
    engine = "postgresql" if database else "sqlite"
    os.environ["HUB_HOOKS_ALLOW"] = LOOPBACK
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-hooks-")))
        place = targets.prepared(stack, database, folder, "hooks")
        _, hub = stack.enter_context(targets.hub(place))
        receiver = served.Server(
            hooked.command(folder / "hook.json"), folder / "hook.json", hooked.HEALTH, folder / "hook.log"
        )
        stack.callback(receiver.stop)
        headers = {"Authorization": f"Bearer {hub.token}"}
        base = f"http://{hub.host}:{hub.port}{hub.base}"
        fhir = stack.enter_context(httpx.Client(base_url=base, headers=headers, timeout=60.0))
        hook = f"http://127.0.0.1:{receiver.port}"
        told = stack.enter_context(httpx.Client(base_url=hook))
        rows = [_delivered(Run(hub, fhir, hook, told, max(patients // 4, BUNDLE)), rounds)]
    report.show("hooks", engine, rows)
    if json_path:
        report.write(json_path, "hooks", engine, rows)
    misses = report.missed(rows, FLOORS) if budget else []
    for one in misses:
        print(f"budget missed: {one}", file=sys.stderr)
    return 1 if misses else 0


def _delivered(run: Run, rounds: int) -> report.Row:
    for number in range(rounds):
        for count in SUBSCRIPTIONS:
            print(f"bench hooks: round {number + 1} of {rounds}: {count} subscriptions", file=sys.stderr, flush=True)
            with _subscribed(run, count):
                run.figures[count].append(_measured(run, count))
            run.bare[count].append(asyncio.run(_bare(run, count)))
    medians = {
        count: {name: statistics.median(one[name] for one in some) for name in some[0]}
        for count, some in run.figures.items()
    }
    best = max(medians, key=lambda count: medians[count]["value"])
    row = report.row(
        "delivered",
        medians[best]["value"],
        statistics.median(run.bare[best]),
        unit="notifications/s",
        cpu_ms=medians[best]["cpu_ms"],
    )
    return replace(row, by_connections=medians)


@contextlib.contextmanager
def _subscribed(run: Run, count: int) -> Iterator[None]:
    """That many active Subscriptions to final Observations, with the whole resource as payload."""
    resource: dict[str, Any] = {"resourceType": "Subscription", "status": "requested", "reason": "bench"}
    resource |= {"criteria": "Observation?status=final"}
    ids = []
    for n in range(count):
        channel = {"type": "rest-hook", "endpoint": f"{run.hook}/{n}", "payload": "application/fhir+json"}
        ids.append(run.fhir.post("/Subscription", json=resource | {"channel": channel}).raise_for_status().json()["id"])
    served.until(lambda: all(run.fhir.get(f"/Subscription/{id}").json()["status"] == "active" for id in ids))
    run.told.get("/arrivals")
    yield
    for id in ids:
        run.fhir.delete(f"/Subscription/{id}").raise_for_status()


def _measured(run: Run, count: int) -> dict[str, float]:
    chance = random.Random(count)
    waits = []
    for _ in range(SINGLE):
        answer = run.fhir.post("/Observation", json=_observation(chance)).raise_for_status()
        answered, run.body = time.monotonic(), answer.content
        waits.append(max(at - answered for _, at in served.arrived(run.told, count)))
    commits = [_bundle(chance) for _ in range(run.changes // BUNDLE)]
    before, began = run.hub.cpu(), time.monotonic()
    for one in commits:
        run.fhir.post("/", content=one, headers={"Content-Type": "application/fhir+json"}).raise_for_status()
    units = len(commits) * BUNDLE * count
    last = max(at for _, at in served.arrived(run.told, units))
    times = sorted(waits)
    return {
        "value": units / (last - began),
        "p50_ms": statistics.median(times) * 1000,
        "p95_ms": times[int(len(times) * 0.95)] * 1000,
        "cpu_ms": (run.hub.cpu() - before) / units * 1000,
    }


async def _bare(run: Run, count: int) -> float:
    """The same calls from as many lines, with nothing behind."""
    caller = calling.Caller(addresses.policy(LOOPBACK))
    each = max(run.changes // count, BUNDLE)
    headers = [("Content-Type", "application/fhir+json")]

    async def line(n: int) -> None:
        for _ in range(each):
            url = f"{run.hook}/{n}/Observation/x"
            ended = await caller.call("PUT", url, headers=headers, body=run.body, seconds=30)
            if not ended.ok:
                raise errors.Unavailable(ended.text)

    began = time.monotonic()
    await asyncio.gather(*map(line, range(count)))
    seconds = time.monotonic() - began
    caller.close()
    run.told.get("/arrivals")
    return each * count / seconds


def _observation(chance: random.Random) -> dict[str, Any]:
    return workload.observation(chance, "Patient/bench")


def _bundle(chance: random.Random) -> bytes:
    entries = [
        {"resource": _observation(chance), "request": {"method": "POST", "url": "Observation"}} for _ in range(BUNDLE)
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
