"""Which servers are asked: the hub on a database of its own, a bare application with the hub's answers, a peer."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from bench import bare, served
from common import errors


@dataclass(frozen=True, slots=True)
class Target:
    """A FHIR server to ask. `known` is the file of what was loaded there, `cpu` its processor seconds so far."""

    name: str
    host: str
    port: int
    base: str
    token: str
    known: Path
    cpu: Callable[[], float] = float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hub keeps its things: a folder, and a database URL (`sqlite:///…` stands for the file in that folder)."""

    folder: Path
    database: str

    def options(self) -> list[str]:
        """What every hub command needs to find it."""
        given = [] if self.database.startswith("sqlite") else ["--database", self.database]
        return ["--data", str(self.folder), *given]


def prepared(stack: contextlib.ExitStack, database: str | None, folder: Path, name: str) -> Place:
    """A new database with its schema: a file in the folder, or one on a server (`served.postgres`), then dropped."""
    url = f"sqlite:///{folder / 'hub.sqlite'}"
    if database:
        server = stack.enter_context(served.postgres(database))
        url = stack.enter_context(served.scratch_database(server, f"bench_{name}_{os.getpid()}"))
    place = Place(folder, url)
    migrate(place)
    return place


def migrate(place: Place) -> None:
    """Make the schema."""
    command("migrate", *place.options())


@contextlib.contextmanager
def hub(place: Place) -> Iterator[tuple[served.Server, Target]]:
    """A hub on a migrated database, every door on a free port, and a token with every right."""
    token = command("token", "--system", *place.options())
    with started(place) as server:
        known = place.folder / "known.json"
        yield server, Target("hub", "127.0.0.1", server.port, "/fhir", token, known, server.cpu_seconds)


@contextlib.contextmanager
def started(place: Place) -> Iterator[served.Server]:
    """The process alone."""
    ports_file = place.folder / "ports.json"
    command = [sys.executable, "-m", "hub.cli", "serve", *place.options(), "--ports-file", str(ports_file)]
    command += ["--port", "0", "--mllp-port", "0", "--smtp-port", "0", "--lmtp-port", "0"]
    server = served.Server(command, ports_file, "/health/ready", place.folder / "serve.log")
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def plain(folder: Path, source: Target, targets: Iterable[str]) -> Iterator[tuple[served.Server, Target]]:
    """The bare application with what `source` answers to GET of each of `targets`.

    Raises errors.Unavailable when it refuses one, or finds nothing.
    """
    connection = http.client.HTTPConnection(source.host, source.port)
    headers = {"Authorization": f"Bearer {source.token}", "Accept": "application/fhir+json"}
    kept = {}
    for target in targets:
        connection.request("GET", source.base + target, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise errors.Unavailable(f"GET {target}: {answer.status} {body[:500]}")
        if "?" in target and '"entry"' not in body:
            raise errors.Unavailable(f"GET {target} found nothing: its time would mean nothing")
        kept[source.base + target] = body
    connection.close()
    with nothing(folder, kept) as server:
        yield server, replace(source, name="bare", port=server.port, cpu=server.cpu_seconds)


@contextlib.contextmanager
def nothing(folder: Path, answers: dict[str, str]) -> Iterator[served.Server]:
    """The bare application's process."""
    kept, ports_file = folder / "bare.json", folder / "bare-ports.json"
    kept.write_text(json.dumps(answers))
    server = served.Server(bare.command(kept, ports_file), ports_file, bare.HEALTH, folder / "bare.log")
    try:
        yield server
    finally:
        server.stop()


def peer(url: str, folder: Path) -> Target:
    """Another FHIR server, without sign-in. Raises errors.Unreadable when the URL is not plain http."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise errors.Unreadable("a peer is measured over plain http://HOST:PORT/BASE", at="--peer")
    return Target("peer", parts.hostname, parts.port or 80, parts.path.rstrip("/"), "", folder / "peer.json")


def command(*arguments: str) -> str:
    """Run a hub command; its standard output. Raises errors.Unavailable with what it said when it fails."""
    command = [sys.executable, "-m", "hub.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise errors.Unavailable(f"hub {arguments[0]} failed: {done.stderr[-2000:]}")
    return done.stdout.strip()
