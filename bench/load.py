"""How many calls a second does a server answer, and how long does each wait?

Runs as a process of its own (`python -m bench.load`): one JSON job per line on standard input, one JSON result per line
on standard output. Plain sockets with keep-alive, because a client library costs more than the server that is measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import uvloop

from bench import workload

SLOWEST_ANSWER = 60.0
URLS = "urls"  # the case whose calls are in the file `known`: searches, as `write_urls` wrote them


@dataclass(frozen=True, slots=True)
class Job:
    """What to send where. `known` None is the loading of `patients`; otherwise `count` calls of `case`, again and again
    for reads, each once for writes, for `seconds` at most. `keep` is a file for the bodies of all answers, in order.
    """

    case: str
    host: str
    port: int
    base: str
    token: str
    connections: int
    seconds: float
    seed: int = 0
    count: int = 0
    patients: int = 0
    known: str | None = None
    keep: str | None = None


@dataclass(slots=True)
class Result:
    """What came back: answered calls, seconds from the first to the last, waiting times, and the first refusal."""

    answered: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    failed: int = 0
    first_failure: str = ""


@dataclass(slots=True)
class _Run:
    """The state that the connections of one job share."""

    waiting: deque[tuple[int, bytes]]
    again: bool
    until: float
    keep: dict[int, bytes] | None
    result: Result
    times: list[float] = field(default_factory=list)

    def next(self) -> tuple[int, bytes] | None:
        """The next request and its rank, or None when the job is over."""
        if not self.waiting or time.perf_counter() >= self.until:
            return None
        request = self.waiting.popleft()
        if self.again:
            self.waiting.append(request)
        return request


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one call under way."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.rank = 0
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        found = _complete(self.buffer)
        if found is None:
            return
        status, body = found
        run = self.run
        run.times.append(time.perf_counter() - self.sent)
        if not 200 <= status < 300:
            run.result.failed += 1
            run.result.first_failure = run.result.first_failure or f"{status} {body[:500].decode('utf-8', 'replace')}"
        elif run.keep is not None:
            run.keep[self.rank] = body
        self.buffer = b""
        self._send()

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.done.done():
            self.run.result.failed += 1
            self.run.result.first_failure = self.run.result.first_failure or f"connection closed: {problem}"
            self.done.set_result(None)

    def _send(self) -> None:
        request = self.run.next()
        if request is None:
            self.done.set_result(None)
            self.transport.close()
            return
        self.rank = request[0]
        self.sent = time.perf_counter()
        self.transport.write(request[1])


def _complete(data: bytes) -> tuple[int, bytes] | None:
    """Status and body of a whole answer, or None while bytes are missing.

    Raises ValueError for an answer without a stated length: this client reads nothing else.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    status = int(head[9:12])
    start = head.find(b"\r\ncontent-length:")
    if start < 0:
        if status in (204, 304):
            return status, b""
        raise ValueError("an answer without Content-Length")
    stop = head.find(b"\r\n", start + 2)
    length = int(head[start + 17 : stop if stop > 0 else end])
    body = data[end + 4 :]
    return (status, body) if len(body) >= length else None


def requests(job: Job) -> list[bytes]:
    """The job's calls as bytes for the wire."""
    if job.case == URLS and job.known:
        calls = [workload.Call("GET", one) for one in json.loads(Path(job.known).read_text())]
    elif job.known is None:
        calls = list(workload.loading(job.patients))
    else:
        calls = workload.calls(job.case, workload.Known.read(Path(job.known)), count=job.count, seed=job.seed)
    fixed = f" HTTP/1.1\r\nHost: {job.host}:{job.port}\r\nAccept: application/fhir+json\r\n"
    if job.token:
        fixed += f"Authorization: Bearer {job.token}\r\n"
    return [_request(call, job.base, fixed) for call in calls]


def write_urls(file: Path, urls: Sequence[str]) -> None:
    """The calls of the case URLS, relative to the FHIR base."""
    file.write_text(json.dumps(list(urls)))


def _request(call: workload.Call, base: str, fixed: str) -> bytes:
    head = f"{call.method} {base}{call.target}{fixed}"
    if call.body:
        head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(call.body)}\r\n"
    return f"{head}\r\n".encode() + call.body


async def run(job: Job) -> Result:
    """Do one job: every connection sends its next call as soon as it has an answer."""
    prepared = list(enumerate(requests(job)))
    if again := prepared[0][1].startswith(b"GET"):
        random.Random(job.seed).shuffle(prepared)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    keep: dict[int, bytes] | None = {} if job.keep else None
    state = _Run(deque(prepared), again, started + job.seconds, keep, Result())
    opened = [
        (await loop.create_connection(lambda: _Connection(state), job.host, job.port))[1]
        for _ in range(job.connections)
    ]
    async with asyncio.timeout(job.seconds + SLOWEST_ANSWER):
        await asyncio.gather(*(connection.done for connection in opened))
    result = state.result
    result.seconds = time.perf_counter() - started
    result.answered = len(state.times)
    if len(state.times) > 1:
        result.p50_ms = statistics.median(state.times) * 1000
        hundredths = statistics.quantiles(state.times, n=100)
        result.p95_ms, result.p99_ms = hundredths[94] * 1000, hundredths[98] * 1000
    if job.keep and keep is not None:
        Path(job.keep).write_bytes(b"\n".join(keep[rank] for rank in sorted(keep)))
    return result


def main() -> None:
    """Serve jobs until standard input ends."""
    for line in sys.stdin:
        fields: dict[str, Any] = json.loads(line)
        print(json.dumps(asdict(uvloop.run(run(Job(**fields))))), flush=True)


if __name__ == "__main__":
    main()
