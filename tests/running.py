"""A hub and a mail operator as real processes on free ports, for the tests that go through the doors."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0


_kept: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on, and that nobody else is given before these tests end.

    It stays bound: the system hands it to no other process, and a server that we start may still listen on it, since
    both sides say SO_REUSEADDR. One that was let go was sometimes taken by a connection of another test.
    """
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    _kept.append(one)
    atexit.register(one.close)
    port: int = one.getsockname()[1]
    return port


def wait_for(check: Any, *, seconds: float = 15.0, what: str = "") -> Any:
    """The first true answer of `check`, asked again and again; fails with `what` when there is none in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what or check}")


class Process:
    """One child process that writes a ports file when it listens."""

    def __init__(self, command: list[str], ports_file: Path, environment: dict[str, str]) -> None:
        self.command, self.ports_file, self.environment = command, ports_file, {**os.environ, **environment}
        self.log = ports_file.with_suffix(".log")
        self.start()

    def start(self) -> None:
        self.ports_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )
        wait_for(self._is_up, seconds=START_SECONDS, what=f"listening: {self.log.read_text()[-2000:]}")
        self.ports = json.loads(self.ports_file.read_text())

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.log.read_text()[-4000:]}")
        return self.ports_file.exists()

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


class Operator(Process):
    """The simulated MSSanté operator: mailboxes over HTTP, mail over SMTP."""

    def __init__(
        self, folder: Path, *, smtp_port: int, hub_smtp: int, outside: bool = False, dsn: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        ports = folder / "operator.json"
        command = [sys.executable, "-m", "conformance.simulators.mail_operator", "--http-port", "0"]
        command += [
            "--smtp-port",
            str(smtp_port),
            "--deliver-to",
            f"127.0.0.1:{hub_smtp}",
            "--domain",
            "demo.mssante.fr",
            "--data",
            str(folder),
        ]
        command += ["--mailbox", "paul.lefebvre@demo.mssante.fr=Dr Paul Lefebvre", "--ports-file", str(ports)]
        command += ["--outside"] if outside else []
        command += ["--dsn"] if dsn else []
        super().__init__(command, ports, {})
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.ports['http']}", timeout=30.0)

    def read(self, address: str, id: object) -> dict[str, Any]:
        """One mail: headers, text, attachments."""
        found: dict[str, Any] = self.http.get(f"/api/mailboxes/{address}/messages/{id}").raise_for_status().json()
        return found

    def reply(self, address: str, id: object, text: str, **more: Any) -> None:
        """Answer a mail as its reader would: quoting it, signed."""
        self.http.post(f"/api/mailboxes/{address}/reply", json={"id": id, "text": text, **more}).raise_for_status()

    def mails(self, address: str) -> list[dict[str, Any]]:
        """The mails in a mailbox, as listed by the operator."""
        found: list[dict[str, Any]] = self.http.get(f"/api/mailboxes/{address}/messages").raise_for_status().json()
        return found

    def stop(self) -> int:
        self.http.close()
        return super().stop()


class Hub(Process):
    """`hub serve` on a folder of its own, seeded with the small region."""

    def __init__(self, folder: Path, *, database: str = "", **settings: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        fixed = {"HUB_DATA": str(folder), "HUB_DEMO": "true", "HUB_SMTP_PORT": str(free_port()), "HUB_LOG_JSON": "true"}
        fixed |= {"HUB_PORT": str(free_port()), "HUB_MLLP_PORT": str(free_port()), "HUB_LMTP_PORT": str(free_port())}
        environment = {
            **fixed,
            "HUB_DATABASE": database,
            **{f"HUB_{name.upper()}": text for name, text in settings.items()},
        }
        self._environment = {**os.environ, **environment}
        self._tokens: dict[tuple[str, ...], str] = {}
        self.run("seed")
        ports = folder / "ports.json"
        super().__init__([sys.executable, "-m", "hub.cli", "serve", "--ports-file", str(ports)], ports, environment)

    def run(self, *words: str) -> str:
        """The standard output of one `hub` command on this hub's data."""
        command = [sys.executable, "-m", "hub.cli", *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, *words: str) -> httpx.Client:
        """A FHIR client with a token of its own: `client("--persona", "nadia")`."""
        if words not in self._tokens:
            self._tokens[words] = self.run("token", *words)
        headers = {"Authorization": f"Bearer {self._tokens[words]}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.ports['http']}/fhir", headers=headers, timeout=30.0)


@dataclass(frozen=True)
class Region:
    """A hub and its mail operator, wired to each other."""

    hub: Hub
    operator: Operator


def region(folder: Path, *, dsn: bool = False, **settings: str) -> Region:
    """Start both; `dsn`: the operator sends delivery reports."""
    port = free_port()
    hub = Hub(folder / "hub", mail_smtp_port=str(port), **settings)
    return Region(hub, Operator(folder / "operator", smtp_port=port, hub_smtp=int(hub.ports["smtp"]), dsn=dsn))


def accept_terms(browser: httpx.Client) -> None:
    """As somebody who has just signed in for the first time."""
    page = browser.get("/cgu").text
    form = dict(re.findall(r'name="(csrf|version)" value="([^"]+)"', page))
    origin = {"Origin": str(browser.base_url).rstrip("/")}
    assert browser.post("/cgu", data=form, headers=origin).status_code == 303, page


def resources(bundle: dict[str, Any], type: str) -> list[dict[str, Any]]:
    """The resources of one type in a Bundle."""
    found = (entry["resource"] for entry in bundle.get("entry", ()))
    return [one for one in found if one["resourceType"] == type]
