"""What would it cost to answer the same bytes with nothing behind?

A bare ASGI application on the hub's own HTTP server: it looks the target up in a table made from the hub's answers and
sends what it finds. Runs as a process of its own, `python -m bench.bare ANSWERS PORTS_FILE`.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

HEALTH = "/health"


def app(answers: dict[bytes, bytes]) -> Callable[..., Awaitable[None]]:
    """The application: `answers` by raw target, query included."""
    kind = (b"content-type", b"application/fhir+json; charset=utf-8")

    async def answer(scope: Scope, receive: object, send: Send) -> None:
        query = scope["query_string"]
        body = answers[scope["raw_path"] + b"?" + query if query else scope["raw_path"]]
        headers = [kind, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def command(answers: Path, ports_file: Path) -> list[str]:
    """How to start it."""
    return [sys.executable, "-m", "bench.bare", str(answers), str(ports_file)]


def main() -> None:
    """Serve until told to stop."""
    answers, ports_file = map(Path, sys.argv[1:])
    known = {target.encode(): body.encode() for target, body in json.loads(answers.read_text()).items()}
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app({HEALTH.encode(): b"{}", **known}), lifespan="off", log_config=None, access_log=False, server_header=False
    )
    draft = ports_file.with_suffix(".draft")
    draft.write_text(json.dumps({"http": listening.getsockname()[1]}))
    draft.replace(ports_file)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
