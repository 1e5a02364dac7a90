"""A subscriber's endpoint on loopback: keeps what it receives, and can be taken down and up again on its port."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One call."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver:
    """Answers every call with `status`; `calls` in the order of arrival."""

    def __init__(self, *, up: bool = True) -> None:
        self.calls: list[Received] = []
        self.status = 200
        self.location = ""
        self.refused = 0
        self._open: set[socket.socket] = set()
        self._server = self._bound(0)
        self.port = int(self._server.server_address[1])
        self._thread: threading.Thread | None = None
        if up:
            self.start()
        else:
            self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        if self._thread is None and self._server.fileno() < 0:
            self._server = self._bound(self.port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def bundles(self, kind: str = "event-notification") -> list[dict[str, Any]]:
        """The notifications of one kind that came."""
        found = [one.json for one in self.calls if one.body.startswith(b'{"resourceType":"Bundle"')]
        return [one for one in found if told(one)["type"] == kind]

    def numbers(self) -> list[int]:
        """The event numbers that came, in the order they came."""
        return [number for one in self.bundles() for number in numbers(one)]

    def _bound(self, port: int) -> ThreadingHTTPServer:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver._open.add(self.connection)

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()
                receiver._open.discard(self.connection)

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if receiver.status < 300:
                    receiver.calls.append(Received(self.command, self.path, headers, body))
                else:
                    receiver.refused += 1
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = answer  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = False

        return Server(("127.0.0.1", port), Handler)


def told(bundle: dict[str, Any]) -> dict[str, Any]:
    """The values of the status of a notification, by name; `notificationEvent` left out."""
    parameters = bundle["entry"][0]["resource"]["parameter"]
    return {one["name"]: next(v for k, v in one.items() if k != "name") for one in parameters if "part" not in one}


def events(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of each notificationEvent, by name."""
    parameters = bundle["entry"][0]["resource"]["parameter"]
    parts = [one["part"] for one in parameters if one["name"] == "notificationEvent"]
    return [{one["name"]: next(v for k, v in one.items() if k != "name") for one in part} for part in parts]


def numbers(bundle: dict[str, Any]) -> list[int]:
    return [int(one["eventNumber"]) for one in events(bundle)]
