"""How fast do many resources go in and come out by the bulk operations?

A population of its own is posted to `$import` as NDJSON; what counts is the time until the job says that it is done,
which is when all of it can be found. Then `$export` gives everything, until its files are ready.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass

from bench import workload
from bench.targets import Target
from common import errors

_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Bulk:
    """Resources a second, and server milliseconds for each."""

    value: float
    cpu_ms: float


def load(target: Target, patients: int) -> Bulk:
    """`POST [base]/$import`. Raises errors.Unavailable when a line is refused."""
    body = b"".join(workload.lines(patients))
    manifest, seconds, spent = _done(target, "POST", "/$import", body)
    if manifest["error"]:
        raise errors.Unavailable(f"bulk_load: {manifest['error']}")
    count = sum(one["count"] for one in manifest["output"])
    return Bulk(count / seconds, spent / count * 1000)


def export(target: Target) -> Bulk:
    """`GET [base]/$export`."""
    manifest, seconds, spent = _done(target, "GET", "/$export", b"")
    count = sum(one["count"] for one in manifest["output"])
    return Bulk(count / seconds, spent / count * 1000)


def _done(target: Target, method: str, path: str, body: bytes) -> tuple[dict[str, list[dict[str, int]]], float, float]:
    """What the job says at its end, and the seconds and the processor time until then."""
    connection = http.client.HTTPConnection(target.host, target.port)
    headers = {"Authorization": f"Bearer {target.token}", "Prefer": "respond-async"}
    if body:
        headers["Content-Type"] = "application/fhir+ndjson"
    begun, before = time.perf_counter(), target.cpu()
    connection.request(method, target.base + path, body=body or None, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 202:
        raise errors.Unavailable(f"{path}: {answer.status} {text[:500]}")
    place = "/" + answer.headers["content-location"].split("/", 3)[3]
    while answer.status == 202:
        time.sleep(_LOOK_SECONDS)
        connection.request("GET", place, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    seconds, spent = time.perf_counter() - begun, target.cpu() - before
    connection.close()
    if answer.status != 200:
        raise errors.Unavailable(f"{path}: {answer.status} {text[:500]}")
    return json.loads(text), seconds, spent
