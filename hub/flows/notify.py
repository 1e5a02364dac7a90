"""A change is told to those who subscribed: event log, notices, the subscriber's endpoint.

One process follows the log and calls the endpoints, held by a lease on PostgreSQL. Each Subscription has its own line:
its notifications leave in order, one after the other, and one that is not taken holds up those after it and nobody
else's. It is tried again for days with growing pauses; then the Subscription is in error, and goes on from where it
stopped when its owner asks again. A crash between an answer and its note repeats that notification, under its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from common import clock, errors
from common.events import Events, emit
from connectors.hooks import addresses, calling
from fhir_server import changes, media
from fhir_server.r4 import xml
from fhir_server.subscriptions import notification, reading, secrets
from fhir_server.subscriptions.kept import FOLLOWER, Notice
from fhir_server.subscriptions.matching import Live, Matcher
from fhir_server.subscriptions.writing import SERVER
from hub.room import Room

LEASE_SECONDS = 15
LOOK_EVERY_SECONDS = 1.0
GATHER_SECONDS = 0.01  # commits that come together are looked at together
SOON_SECONDS = 0.02  # commits are under way: their events follow in a moment
NOTE_EVERY_SECONDS = 0.2  # how far a subscriber was told; a crash repeats what is not noted
LOOK_AHEAD = 50
FRESH_SECONDS = 1.0  # how old a look at what somebody may see can be when it is sent
AT_ONCE = 64
FETCH = 100
PRUNE_EVERY_SECONDS = 3600.0
# Seconds until the next try; the last one again and again.
BACKOFF = (1, 2, 5, 15, 60, 300, 900, 1800)
# A new Subscription whose endpoint does not answer is told soon.
HANDSHAKE_TRIES = 5


async def run(room: Room, setting: reading.Setting, base: str) -> None:
    """Follow and notify for ever; cancelled at shutdown. No outage of the database ends it."""
    caller = calling.Caller(addresses.policy(room.settings.hooks_allow))
    try:
        while True:
            holder = token_hex(8)
            try:
                await Notifier(room, Matcher(room.store, setting, holder), holder, base, caller).follow()
            except errors.HubError as error:
                emit(Events.HUB_006, error=error.code)
            await asyncio.sleep(LOOK_EVERY_SECONDS)
    finally:
        caller.close()


@dataclass(slots=True)
class _Ahead:
    """The notices whose resources were looked at, when, and those that may be seen."""

    at: float = 0.0
    looked: set[int] = field(default_factory=set)
    seen: dict[int, notification.Seen] = field(default_factory=dict)


@dataclass(slots=True)
class Notifier:
    """One turn of holding the log. `contact` is when each Subscription was last told something, for heartbeats."""

    room: Room
    matcher: Matcher
    holder: str
    base: str
    caller: calling.Caller
    busy: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    contact: dict[str, float] = field(default_factory=dict)
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    marking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    freed: bool = False  # somebody who was busy has more to do

    async def follow(self) -> None:
        """Until the lease passes to another process. Raises Unavailable."""
        if not await self._hold():
            return
        await self.matcher.begin()
        leave = self.room.store.listen(lambda _: self.awake.set())
        try:
            await self._loop()
        finally:
            leave()
            marked = set(self.marking)
            tasks = [*self.busy.values(), *self.marking.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(errors.HubError):
                for id, live in self.matcher.live.items():
                    await self._noted(live) if id in marked else None
                await self.matcher.keep()

    async def _loop(self) -> None:
        held = looked = pruned = time.monotonic()
        soon = SOON_SECONDS
        self._start_all()
        while True:
            self.awake.clear()
            found, more = await self.matcher.step()
            now = time.monotonic()
            if found:
                self.room.store.wake(FOLLOWER).set()
            if found or self.freed or now - looked >= LOOK_EVERY_SECONDS:
                self._start_all()
            if now - looked >= LOOK_EVERY_SECONDS:
                looked = now
                await self.matcher.keep()
            if now - held >= LEASE_SECONDS / 3:
                held = now
                if not await self._hold():
                    return
            if now - pruned >= PRUNE_EVERY_SECONDS:
                pruned = now
                await self._prune()
            soon = min(soon * 2, LOOK_EVERY_SECONDS) if self.matcher.is_behind and not found else SOON_SECONDS
            if not more:
                await self._rest(soon if self.matcher.is_behind else LOOK_EVERY_SECONDS)

    async def _rest(self, seconds: float) -> None:
        """Until something is committed, or that long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.awake.wait(), seconds)
        await asyncio.sleep(GATHER_SECONDS)

    async def _hold(self) -> bool:
        now = clock.micros(self.room.now())
        return await self.room.store.notices.hold(self.holder, now=now, until=now + LEASE_SECONDS * 1_000_000)

    async def _prune(self) -> None:
        before = clock.micros(self.room.now()) - int(self.room.settings.hooks_keep_days * 86_400_000_000)
        for id in list(self.matcher.live):
            await self.room.store.notices.forget(id, before)

    # --- who is served next

    def _start_all(self) -> None:
        now, self.freed = clock.micros(self.room.now()), False
        for id, live in self.matcher.live.items():
            if len(self.busy) >= AT_ONCE:
                return
            if id not in self.busy and (work := self._due(live, now)):
                task = asyncio.create_task(self._guarded(live, work))
                self.busy[id] = task
                task.add_done_callback(lambda _, id=id: self._ended(id))  # type: ignore[misc]

    def _ended(self, id: str) -> None:
        del self.busy[id]
        live = self.matcher.live.get(id)
        if live and self._due(live, clock.micros(self.room.now())):
            self.freed = True
            self.awake.set()

    def _due(self, live: Live, now: int) -> Callable[[Live], Coroutine[Any, Any, None]] | None:
        """What is to be done for a Subscription now, if anything."""
        state, wanted = live.state, live.wanted
        if state.state not in ("requested", "active"):
            return None
        if wanted is None:
            return self._not_understood
        if wanted.end is not None and wanted.end <= now:
            return self._over
        if state.due > now:
            return None
        if state.state == "requested":
            return self._activate
        if wanted.channel != "rest-hook":
            return None
        if state.last > state.sent:
            return self._deliver
        silent = time.monotonic() - self.contact.setdefault(state.id, time.monotonic())
        return self._heartbeat if wanted.topic and wanted.heartbeat and silent >= wanted.heartbeat else None

    async def _guarded(self, live: Live, work: Callable[[Live], Coroutine[Any, Any, None]]) -> None:
        try:
            await work(live)
        except errors.HubError as error:  # the database; the next look tries again
            emit(Events.HUB_006, correlation=live.state.id, error=error.code)
        except Exception as error:  # noqa: BLE001 - a bug about one Subscription must not stop the others
            emit(Events.SUB_013, correlation=live.state.id, error=type(error).__name__)
            await self._failed(live, "erreur interne du serveur")

    # --- life cycle

    async def _activate(self, live: Live) -> None:
        wanted = live.wanted
        assert wanted is not None
        if wanted.topic and wanted.channel == "rest-hook":
            ended = await self._post(live, "handshake", "requested")
            if not ended.ok:
                await self._failed(live, f"poignée de main : {ended.text}", tries=HANDSHAKE_TRIES)
                return
        await self._set(live, "active")
        emit(Events.SUB_010, correlation=live.state.id)

    async def _over(self, live: Live) -> None:
        await self._set(live, "off")

    async def _not_understood(self, live: Live) -> None:
        await self._set(live, "error", live.problem)

    async def _set(self, live: Live, status: str, error: str = "") -> None:
        """Write the status down, unless the owner has written meanwhile: then that counts."""
        resource = {name: value for name, value in live.resource.items() if name != "error"}
        body = {**resource, "status": status, **({"error": error} if error else {})}
        version = int(resource["meta"]["versionId"])
        at = clock.micros(self.room.now())
        state = changes.Subscribe(live.state.id, status, at, error=error)
        try:
            await self.room.store.commit(
                [changes.Update("Subscription", live.state.id, body, version), state], caller=SERVER, cause="abonnement"
            )
        except (errors.Stale, errors.NotFound, errors.Gone):
            pass
        live.state.state = ""  # until the log tells of it

    # --- telling

    async def _deliver(self, live: Live) -> None:
        """All that waits, in order, until it is told or something is not taken."""
        state, wanted, ahead = live.state, live.wanted, _Ahead()
        assert wanted is not None
        while self.matcher.live.get(state.id) is live and state.sent < state.last:
            notices = await self.room.store.notices.between(state.id, state.sent, state.last, FETCH)
            if not notices:  # too old: no longer kept
                state.sent = state.last
            while notices and self.matcher.live.get(state.id) is live:
                some = notices[: wanted.most]
                seen = await self._seen(live, notices, ahead)
                part = notification.fitting(seen)
                number = some[-1].number if len(part) == len(seen) else part[-1].notice.number
                ended = await self._tell(live, part, number) if part else None
                if ended and not ended.ok:
                    await self._failed(live, ended.text)
                    return
                state.sent, state.attempts, state.failing = number, 0, 0
                self._mark(live)
                notices = [one for one in notices if one.number > number]
        if current := self.matcher.live.get(state.id):  # perhaps read again meanwhile
            current.state.sent = max(current.state.sent, state.sent)
        self._mark(live)

    async def _seen(self, live: Live, notices: list[Notice], ahead: _Ahead) -> list[notification.Seen]:
        """What the owner may see of the next notification; a fast receiver's next ones are looked at together."""
        assert live.wanted is not None
        some, now = notices[: live.wanted.most], time.monotonic()
        if some[-1].number not in ahead.looked or now - ahead.at > FRESH_SECONDS:
            window = notices[: max(live.wanted.most, LOOK_AHEAD)]
            found = await notification.seen(self.room.store, window, live.caller)
            ahead.looked = {one.number for one in window}
            ahead.seen, ahead.at = {one.notice.number: one for one in found}, now
        return [ahead.seen[one.number] for one in some if one.number in ahead.seen]

    def _mark(self, live: Live) -> None:
        """Note how far it was told, beside the telling: notes of one Subscription never queue up."""
        id = live.state.id
        if id not in self.marking:
            task = asyncio.create_task(self._noted(live))
            self.marking[id] = task
            task.add_done_callback(lambda _: self.marking.pop(id, None))

    async def _noted(self, live: Live) -> None:
        """Now when nothing more waits, else in a moment."""
        if telling := self.busy.get(live.state.id):
            await asyncio.wait({telling}, timeout=NOTE_EVERY_SECONDS)
        with contextlib.suppress(errors.HubError):
            await self.room.store.notices.told(live.state.id, live.state.sent)

    async def _tell(self, live: Live, seen: Sequence[notification.Seen], number: int) -> calling.Ended:
        wanted = live.wanted
        assert wanted is not None
        if wanted.topic:
            return await self._post(live, "event-notification", "active", seen=seen, number=number)
        if not wanted.media:
            return await self._call(live, "POST", wanted.endpoint, b"", content_type="")
        one = seen[0]
        url = _below(wanted.endpoint, f"{one.notice.type}/{one.notice.id}")
        return await self._call(live, "PUT", url, one.stored.body, content_type=f"application/fhir+{wanted.media}")

    async def _heartbeat(self, live: Live) -> None:
        ended = await self._post(live, "heartbeat", "active")
        if not ended.ok:
            await self._failed(live, ended.text)

    async def _post(
        self,
        live: Live,
        kind: str,
        status: str,
        *,
        seen: Sequence[notification.Seen] = (),
        number: int | None = None,
    ) -> calling.Ended:
        wanted = live.wanted
        assert wanted is not None
        told = notification.Status(kind, status, live.state.last if number is None else number)
        at = clock.instant(self.room.now())
        body = media.encode(notification.bundle(wanted, told, seen, base=self.base, at=at))
        type = f"application/fhir+{wanted.media}"
        return await self._call(live, "POST", wanted.endpoint, body, content_type=type)

    async def _call(self, live: Live, method: str, url: str, body: bytes, *, content_type: str) -> calling.Ended:
        wanted = live.wanted
        assert wanted is not None
        headers = secrets.pairs(live.state.secrets)
        if content_type:
            headers.append(("Content-Type", content_type))
        if body and wanted.media == "xml":
            body = xml.write(media.read_json(body), self.room.definitions)
        seconds = wanted.timeout or self.room.settings.hooks_timeout_seconds
        self.contact[live.state.id] = time.monotonic()
        return await self.caller.call(method, url, headers=headers, body=body, seconds=seconds)

    async def _failed(self, live: Live, text: str, *, tries: int | None = None) -> None:
        """Try again later; after the last time the Subscription is in error, with the reason."""
        state, now = live.state, clock.micros(self.room.now())
        state.failing = state.failing or now
        state.attempts += 1
        lasted = now - state.failing > self.room.settings.hooks_retry_hours * 3_600_000_000
        if lasted or (tries is not None and state.attempts >= tries):
            await self._set(live, "error", text)
            emit(Events.SUB_012, correlation=state.id)
            return
        state.due = now + BACKOFF[min(state.attempts, len(BACKOFF)) - 1] * 1_000_000
        state.error = text
        await self.room.store.notices.failed(state)
        emit(Events.SUB_011, correlation=state.id, attempts=state.attempts)


def _below(endpoint: str, path: str) -> str:
    """A resource's address below the endpoint, whose query stays."""
    place, mark, query = endpoint.partition("?")
    return f"{place.rstrip('/')}/{path}{mark}{query}"
