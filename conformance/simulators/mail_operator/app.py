"""Start the operator: its SMTP port, its web mailbox, its sender."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from conformance.simulators.mail_operator import api, relay, smtp_in, store
from conformance.simulators.mail_operator.pages import Pages
from conformance.simulators.mail_operator.service import Operator
from conformance.simulators.mail_operator.switches import Switches


@dataclass(frozen=True, slots=True)
class Settings:
    """Ports: 0 picks a free one. `mailboxes`: address -> name. `strict`: only those exist. `dsn`: delivery reports.

    `outside`: mailboxes of other domains too, for mails that are not MSSanté.
    """

    data: Path
    host: str = "127.0.0.1"
    smtp_port: int = 18025
    http_port: int = 18080
    deliver_to: tuple[str, int] = ("127.0.0.1", 2525)
    domain: str = "demo.mssante.fr"
    mailboxes: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    dsn: bool = False
    outside: bool = False
    mode: str = "normal"
    ports_file: Path | None = None


class Running:
    """A started operator; `close` stops it and keeps its data."""

    def __init__(self, operator: Operator, listener: asyncio.Server, web: uvicorn.Server, http_port: int) -> None:
        self.operator, self.http_port = operator, http_port
        self.smtp_port: int = listener.sockets[0].getsockname()[1]
        self._listener, self._web = listener, web
        self._tasks: list[asyncio.Task[None]] = []

    def keep(self, task: asyncio.Task[None]) -> None:
        """A task to end with the operator."""
        self._tasks.append(task)

    async def close(self) -> None:
        self._listener.close()
        self._web.should_exit = True
        sender, web = self._tasks
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender
        await web
        self.operator.kept.close()


async def start(settings: Settings) -> Running:
    """Open everything and write the ports file. Raises OSError when a port is taken."""
    # The library's information level logs every address.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    kept, switches, wake = store.Store(settings.data), Switches(), asyncio.Event()
    switches.set(settings.mode)
    for address, name in settings.mailboxes.items():
        kept.open_mailbox(address.lower(), name)
    door = smtp_in.Door(
        kept, switches, domain=settings.domain, strict=settings.strict, dsn=settings.dsn, outside=settings.outside
    )
    operator = Operator(kept, switches, wake, settings.domain)
    listener = await door.listen(settings.host, settings.smtp_port)
    web_socket = _bound(settings.host, settings.http_port)
    web = _web(operator)
    running = Running(operator, listener, web, web_socket.getsockname()[1])
    running.keep(asyncio.create_task(relay.run(kept, door, settings.deliver_to, wake)))
    serving = asyncio.create_task(web.serve([web_socket]))
    running.keep(serving)
    while not web.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells it in no other way
        await asyncio.sleep(0.01)
    if settings.ports_file:
        _write_ports(settings.ports_file, {"smtp": running.smtp_port, "http": running.http_port})
    return running


class _Web(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the process, not to one of its servers


def _web(operator: Operator) -> uvicorn.Server:
    app = Starlette(routes=[*api.routes(operator), *Pages(operator).routes()])
    config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", access_log=False)
    return _Web(config)


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound


def _write_ports(path: Path, ports: dict[str, int]) -> None:
    """Whole or not at all: others wait for this file."""
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(ports))
    partial.replace(path)
