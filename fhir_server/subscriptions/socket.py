"""How is somebody told over a WebSocket?

R4 subscription.html, websocket: the client sends `bind :id` and receives `bound :id`, then `ping :id` after each
event. The backport: `bind-with-token :token`, and notifications as Bundles, the first of them a handshake. A plain
`bind` needs the bearer token in the Authorization header of the upgrade request. What was not told to anybody yet is
told on binding; what went out on a connection that broke can be asked again by `$events`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common import clock, errors
from fhir_server import access, media
from fhir_server.r4 import xml
from fhir_server.store import Store
from fhir_server.subscriptions import binding, notification, reading
from fhir_server.subscriptions.kept import FOLLOWER

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOOK_EVERY_SECONDS = 5.0
ASK_AGAIN_SECONDS = 60.0  # is the bearer token still good?
BIND_SECONDS = 30.0
LONGEST_SECONDS = 3600.0  # for whoever bound by token: it is asked for again
MOST_TEXT = 64 * 1024
MOST_BOUND = 100
_REFUSED, _TOO_MUCH, _ENDED, _BROKEN = 1008, 1009, 1001, 1011


@dataclass(slots=True)
class Bound:
    """One Subscription on one connection: with whose rights, and the last number told."""

    id: str
    caller: access.Caller
    sent: int


@dataclass(slots=True, eq=False)
class Line:
    """One connection."""

    send: Send
    caller: access.Caller | None
    token: str
    bound: dict[str, Bound] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    since: float = field(default_factory=time.monotonic)
    asked: float = field(default_factory=time.monotonic)

    async def text(self, message: str) -> None:
        await self.send({"type": "websocket.send", "text": message})

    async def close(self, code: int) -> None:
        with contextlib.suppress(Exception):  # whoever left needs no farewell
            await self.send({"type": "websocket.close", "code": code})


class Socket:
    """The ASGI application for `[base]/ws`. `base` gives the public FHIR address of a connection's host."""

    def __init__(
        self,
        store: Store,
        setting: reading.Setting,
        authenticate: Callable[[str], Awaitable[access.Caller]],
        *,
        secret: bytes,
        base: str,
    ) -> None:
        self._store = store
        self._setting = setting
        self._authenticate = authenticate
        self._secret = secret
        self._base = base
        self._lines: set[Line] = set()
        self._watcher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI, type websocket."""
        await receive()
        token = _bearer(dict(scope["headers"]))
        try:
            caller = await self._authenticate(token) if token else None
        except errors.HubError:
            await send({"type": "websocket.close", "code": _REFUSED})  # before it is accepted: HTTP 403
            return
        await send({"type": "websocket.accept"})
        line = Line(send, caller, token)
        self._lines.add(line)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        telling = asyncio.create_task(self._tell_all(line))
        try:
            await self._listen(line, receive)
        finally:
            self._lines.discard(line)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _watch(self) -> None:
        """The matcher wakes one; here that is everybody."""
        awake = self._store.wake(FOLLOWER)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(awake.wait(), LOOK_EVERY_SECONDS)
            awake.clear()
            for line in self._lines:
                line.news.set()

    # --- what the client says

    async def _listen(self, line: Line, receive: Receive) -> None:
        while (message := await self._next(line, receive))["type"] == "websocket.receive":
            text = message.get("text")
            if text is None or len(text) > MOST_TEXT:
                await line.close(_TOO_MUCH)
                return
            try:
                await self._said(line, text.strip())
            except errors.HubError as problem:
                await line.text(f"error {problem.message}")
                if problem.status == 401:
                    await line.close(_REFUSED)
                    return

    async def _next(self, line: Line, receive: Receive) -> Message:
        """What comes next; nobody stays who binds nothing."""
        try:
            async with asyncio.timeout(None if line.bound else BIND_SECONDS):
                return await receive()
        except TimeoutError:
            await line.close(_REFUSED)
            return {"type": "websocket.disconnect"}

    async def _said(self, line: Line, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word == "bind":
            if line.caller is None:
                raise errors.Unauthenticated("bind : en-tête Authorization attendu à la connexion, ou bind-with-token")
            await self._bind(line, rest.strip().lstrip(":"), line.caller)
        elif word == "bind-with-token":
            said = binding.read(rest.strip(), self._secret, now=self._setting.now())
            for id in said.ids:
                await self._bind(line, id, said.caller)
        else:
            raise errors.Unreadable("attendu : bind :id, ou bind-with-token :jeton")
        line.news.set()

    async def _bind(self, line: Line, id: str, caller: access.Caller) -> None:
        """Raises NotFound for what the caller does not see, Invalid for another channel or one that is not active."""
        wanted, status = await self._wanted(id, caller)
        state = await self._store.notices.subscriber(id)
        if state is None or wanted.channel != "websocket" or status != "active":
            raise errors.Invalid(f"Subscription/{id} : pas active, ou d'un autre canal")
        if len(line.bound) >= MOST_BOUND:
            raise errors.TooLarge(f"{MOST_BOUND} abonnements au plus par connexion")
        line.bound[id] = Bound(id, caller, state.sent)
        if wanted.topic:
            await self._bundle(line, wanted, notification.Status("handshake", status, state.last))
        else:
            await line.text(f"bound {id}")

    async def _wanted(self, id: str, caller: access.Caller) -> tuple[reading.Wanted, str]:
        stored = await self._store.read("Subscription", id, caller=caller)
        resource = msgspec.json.decode(stored.body)
        return reading.read(resource, self._setting), resource["status"]

    # --- what it is told

    async def _tell_all(self, line: Line) -> None:
        try:
            while True:
                await line.news.wait()
                line.news.clear()
                if not await self._may_stay(line):
                    await line.close(_ENDED)
                    return
                for one in list(line.bound.values()):
                    with contextlib.suppress(errors.Unavailable):  # the next look tries again
                        await self._tell(line, one)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the connection broke; whoever listens ends it
            await line.close(_BROKEN)

    async def _may_stay(self, line: Line) -> bool:
        now = time.monotonic()
        if line.caller is None:
            return not line.bound or now - line.since < LONGEST_SECONDS
        if now - line.asked >= ASK_AGAIN_SECONDS:
            line.asked = now
            try:
                await self._authenticate(line.token)
            except errors.Unauthenticated:
                return False
        return True

    async def _tell(self, line: Line, one: Bound) -> None:
        state = await self._store.notices.subscriber(one.id)
        if state is not None and state.state == "active" and state.last <= one.sent:
            return
        try:
            wanted, status = await self._wanted(one.id, one.caller)
        except (errors.NotFound, errors.Gone, errors.Forbidden, errors.Invalid):
            del line.bound[one.id]
            await line.text(f"error Subscription/{one.id} : terminée")
            return
        if state is None or state.state != "active":
            return
        while notices := await self._store.notices.between(one.id, one.sent, state.last, wanted.most):
            seen = await notification.seen(self._store, notices, one.caller)
            some = notification.fitting(seen)
            number = notices[-1].number if len(some) == len(seen) else some[-1].notice.number
            if seen and wanted.topic:
                told = notification.Status("event-notification", status, number)
                await self._bundle(line, wanted, told, some)
            elif seen:
                await line.text(f"ping {one.id}")
            one.sent = number
            await self._store.notices.told(one.id, number)

    async def _bundle(
        self, line: Line, wanted: reading.Wanted, told: notification.Status, seen: Sequence[notification.Seen] = ()
    ) -> None:
        at = clock.instant(self._setting.now())
        body = media.encode(notification.bundle(wanted, told, seen, base=self._base, at=at))
        if wanted.media == "xml":
            body = xml.write(media.read_json(body), self._setting.definitions)
        await line.text(body.decode())


def _bearer(headers: dict[bytes, bytes]) -> str:
    sent = headers.get(b"authorization", b"").decode("latin-1")
    return sent[7:].strip() if sent[:7].lower() == "bearer " else ""
