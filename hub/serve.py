"""What runs while the hub runs?

Opens the record, gives each door its flow, starts the delivery worker and the HTTP server, and takes all of it down
again in the opposite order when told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from common import clock, errors
from common.events import Events, emit
from connectors.hospital import mllp
from fhir_server import app, operations, store
from fhir_server.jobs import job, runner
from fhir_server.r4 import load
from fhir_server.subscriptions import operations as subscribing
from fhir_server.subscriptions import socket as live_socket
from fhir_server.subscriptions import writing
from hub import (
    allowlist,
    codes,
    database,
    feed,
    fence,
    keys,
    launch,
    oauth,
    peers,
    settings,
    signin,
    site,
    tls,
    topics,
    upkeep,
)
from hub.flows import deliver, hospital_document, mail_in, notice, notify
from hub.joining import asking, inactivity
from hub.operations import decide_account, dossier, emergency, explain_access, who_looked
from hub.rights import worn
from hub.room import Room
from hub.rules import everything
from hub.seed import small
from identity import assertions, certificates
from mss import inbox, reception, send

# The pages are named, not imported: the conductor knows no page, and runs without them.
PAGES = "web.mount:build"
STOP_SECONDS = 2
COMMANDS = 128  # ids of commands tell that they are not a server's


@dataclass(frozen=True, slots=True)
class Doors:
    """The ports that really listen; None for a door that this process does not open."""

    http: int
    mllp: int | None = None
    smtp: int | None = None
    lmtp: int | None = None


async def run(config: settings.Settings, *, ports_file: Path | None = None, worker: int = 0) -> None:
    """Serve until SIGTERM or SIGINT. Only worker 0 opens the mail and hospital doors and delivers.

    `ports_file` is written once everything listens.
    """
    stop = _told_to_stop(worker)
    async with contextlib.AsyncExitStack() as stack:
        room = await stack.enter_async_context(opened(config, worker))
        jobs = runner.Runner(room.store, limits(config), worker=room.store.worker)
        listening = _bind(config.host, config.port, shared=config.workers > 1)
        base = tls.origin(config, listening.getsockname()[1]) + "/fhir"
        secure = tls.Listening(config) if tls.is_spoken(config) else None
        http = _server(await application(room, config, base, jobs), secure)
        if secure:
            stack.push_async_callback(_cancelled, asyncio.create_task(secure.follow(config, renews=worker == 0)))
        jobs.start()
        stack.push_async_callback(jobs.stop)
        stack.push_async_callback(_ended, asyncio.create_task(http.serve(sockets=[listening])), http)
        doors = Doors(listening.getsockname()[1])
        if worker == 0:
            doors = await _open_doors(stack, room, doors.http, base.removesuffix("/fhir"))
            wanted = topics.setting(config, room.definitions, room.now)
            stack.push_async_callback(_cancelled, asyncio.create_task(notify.run(room, wanted, base)))
        while not http.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        gc.collect()
        gc.freeze()  # the compiled definitions need no further walks
        if ports_file:
            _write_ports(ports_file, doors)
        address = base.removesuffix("/fhir")
        emit(
            Events.HUB_001,
            address=address,
            http=doors.http,
            mllp=doors.mllp,
            smtp=doors.smtp,
            lmtp=doors.lmtp,
            worker=worker,
        )
        await stop.wait()
        emit(Events.HUB_002, worker=worker)


def _told_to_stop(worker: int) -> asyncio.Event:
    """Set by a signal, and in other workers when the first one is gone: then their standard input is closed."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def closed() -> None:
        loop.remove_reader(sys.stdin.fileno())
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if worker:
        loop.add_reader(sys.stdin.fileno(), closed)
    return stop


@contextlib.asynccontextmanager
async def opened(config: settings.Settings, worker: int = COMMANDS) -> AsyncIterator[Room]:
    """The room of a hub on this database, closed at the end. The schema must be up to date (`database.prepare`).

    `worker` is the number that a serving process would like; commands take one of their own.
    """
    definitions = load.definitions(config.data / "cache")
    secret = keys.secret(config.data)
    record = await store.Store.open(
        config.database_url,
        definitions,
        rules=(*everything.rules(secret), writing.rule(topics.setting(config, definitions, clock.system))),
        clock=clock.system,
        worker=worker,
        sealing=keys.derived(secret, b"traces"),
        heads=keys.heads(config.data),
    )
    try:
        yield Room(record, definitions, config, clock.system, secret)
    finally:
        await record.close()


async def application(room: Room, config: settings.Settings, base: str, jobs: runner.Runner) -> Any:
    """The FHIR dispatcher with the operations, in front of health, metrics and the pages."""
    kept = database.kept_tokens(config)
    hats = worn.Hats(room.store)
    people = signin.build(config, room, kept, hats, origin=base.removesuffix("/fhir"))
    checked = assertions.Assertions(kept.engine, clock.system)
    trust = config.tls_client_ca and certificates.Trust(config.tls_client_ca, config.tls_client_crl, clock.system)
    authority = oauth.Authority(
        kept,
        checked,
        base=base,
        national=people.ways.national,
        mutual_tls=bool(trust),
        codes=codes.Codes(kept, clock.system),
    )
    live = feed.Feed(room.store.shows)
    room.store.listen(live.publish)
    outside = site.build(room.store, lambda: fhir.openapi())
    outside.include_router(oauth.router(authority, people.ways.national))
    outside.include_router(launch.router(people.ways.launches))
    wanted = topics.setting(config, room.definitions, room.now)
    fhir = app.build_app(
        room.store,
        authenticate=fence.limited(people.check, config.fhir_rate),
        operations=(*operations_of(room, hats), *subscribing.operations(wanted, room.secret)),
        topics=[one.url for one in topics.TOPICS],
        socket=live_socket.Socket(room.store, wanted, people.check, secret=room.secret, base=base),
        mount=outside,
        max_body=config.fhir_max_bytes,
        jobs=jobs,
        security=authority.security(),
        on_error=lambda problem, request: emit(Events.HUB_004, correlation=request, error=repr(type(problem).__name__)),
    )
    requests = asking.Requests(room, database.accounts_of(config), terms=people.ways.terms.text.version)
    outside.mount("/", _pages()(fhir, live, people, small.tiles() if config.demo else (), requests=requests))
    sign_in = fence.Limiter(config.sign_in_rate, config.sign_in_rate * 60)
    # Not with a local authority: other services of this machine may speak plain http to the same browsers.
    stays = config.public_url.startswith("https://") or bool(config.tls_certificate and tls.is_spoken(config))
    fenced = fence.Fence(fhir, sign_in, https=stays)
    return peers.Peers(fenced, peers.proxies(config.trusted_proxies), trust or None)


def operations_of(room: Room, hats: worn.Hats) -> tuple[operations.Operation, ...]:
    """The operations that this product adds to FHIR's own."""
    in_emergency = emergency.operation(room.settings.emergency_hours)
    deciding = decide_account.operation(room, database.accounts_of(room.settings))
    return (dossier.operation, who_looked.operation, *explain_access.all(hats), in_emergency, deciding)


def _pages() -> Callable[..., Any]:
    module, _, name = PAGES.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


async def _open_doors(stack: contextlib.AsyncExitStack, room: Room, http: int, origin: str) -> Doors:
    config = room.settings
    hospital = await mllp.serve(
        mllp.Mllp(host=config.host, port=config.mllp_port, max_bytes=config.mllp_max_bytes),
        partial(hospital_document.receive, room=room),
        on_broken=partial(hospital_document.broken, room=room),
        on_oversize=partial(_oversize, room=room),
    )
    stack.push_async_callback(hospital.close)
    mail = await reception.serve(
        reception.Reception(
            host=config.host,
            smtp_port=config.smtp_port,
            lmtp_port=config.lmtp_port,
            domains=(config.mail_domain,),
            max_bytes=config.mail_max_bytes,
        ),
        partial(mail_in.receive, room=room),
        partial(mail_in.refused, room=room),
    )
    stack.push_async_callback(mail.close)
    if config.imap_host:
        fetching = inbox.run(mailbox(config), partial(mail_in.receive, room=room), partial(mail_in.refused, room=room))
        stack.push_async_callback(_cancelled, asyncio.create_task(fetching))
    post = notice.Post(origin, database.accounts_of(config), notice.plain(config), smtp(config))
    worker = asyncio.create_task(deliver.run(room, smtp(config), post))
    stack.push_async_callback(_cancelled, worker)
    stack.push_async_callback(_cancelled, asyncio.create_task(upkeep.run(room.store)))
    if config.mail_allowlist_url:
        refreshing = allowlist.run(allowlist.Kept(config), config.mail_allowlist_hours)
        stack.push_async_callback(_cancelled, asyncio.create_task(refreshing))
    stack.push_async_callback(_cancelled, asyncio.create_task(upkeep.forget_daily(room)))
    stack.push_async_callback(_cancelled, asyncio.create_task(inactivity.watch(room, post.accounts)))
    return Doors(http, hospital.port, mail.smtp_port, mail.lmtp_port)


def limits(config: settings.Settings) -> job.Limits:
    """What asynchronous jobs may use, as set."""
    return job.Limits(
        folder=config.jobs_folder or config.data / "jobs",
        at_once=config.jobs_at_once,
        keep_seconds=config.jobs_keep_seconds,
        file_bytes=config.export_file_bytes,
        upload_bytes=config.import_max_bytes,
        imports=config.import_dir,
    )


def smtp(config: settings.Settings) -> send.Smtp:
    """How mail leaves: the operator's submission service, as set."""
    return send.Smtp(
        host=config.mail_smtp_host,
        port=config.mail_smtp_port,
        starttls=config.mail_starttls,
        client_certificate=config.mail_client_certificate,
        client_key=config.mail_client_key,
        local_hostname=config.mail_domain,
        original_recipient=config.mail_original_recipient,
    )


def mailbox(config: settings.Settings) -> inbox.Inbox:
    """The mailbox at the operator, as set; its client certificate is that of submission."""
    return inbox.Inbox(
        host=config.imap_host,
        port=config.imap_port,
        mailbox=config.mail_mailbox,
        state=config.data / "inbox.json",
        starttls=config.imap_starttls,
        user=config.imap_user,
        login=config.imap_login,
        secret_file=config.imap_secret_file,
        certificate=config.mail_client_certificate,
        key=config.mail_client_key,
        ca_file=config.imap_ca,
        folder=config.imap_folder,
        poll=config.imap_poll_seconds,
        max_bytes=config.mail_max_bytes,
    )


async def _oversize(head: bytes, size: int, peer: str, room: Room) -> bytes:
    error = errors.TooLarge(f"message de plus de {room.settings.mllp_max_bytes} octets", at="MSH")
    return await hospital_document.refuse(head, error, peer, room)


def _server(application: Any, secure: tls.Listening | None) -> uvicorn.Server:
    class Server(uvicorn.Server):
        """Stops when we say so: the process has more doors to close than uvicorn knows of."""

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    more: dict[str, Any] = {}
    if secure:
        more = {"ssl_context_factory": lambda *_: secure.context, **tls.protocols()}
    config = uvicorn.Config(
        application,
        lifespan="off",
        proxy_headers=False,  # `peers` knows whom to believe
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=live_socket.MOST_TEXT,
        timeout_graceful_shutdown=STOP_SECONDS,
        **more,
    )
    return Server(config)


async def _ended(task: asyncio.Task[None], http: uvicorn.Server) -> None:
    http.should_exit = True
    await task


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((host, port))
    return listening


def _write_ports(path: Path, doors: Doors) -> None:
    draft = path.with_suffix(".tmp")
    ports = {"http": doors.http, "mllp": doors.mllp, "mllps": None, "smtp": doors.smtp, "lmtp": doors.lmtp}
    draft.write_text(json.dumps(ports))
    draft.replace(path)
