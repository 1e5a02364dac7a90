"""What is sent?

A plain R4 Subscription sends the resource itself (subscription.html, rest-hook). One of the backport sends a Bundle of
type history whose first entry is a Parameters that stands for SubscriptionStatus (profile
backport-subscription-status-r4: counters are strings). What the caller may not see now is left out with its number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

import msgspec

from common import clock, errors
from fhir_server import access
from fhir_server.audit import trace
from fhir_server.changes import Resource, Stored
from fhir_server.store import Store
from fhir_server.subscriptions.kept import Notice
from fhir_server.subscriptions.reading import BACKPORT, Wanted

MOST_BYTES = 8 * 1024 * 1024
_BUNDLE = f"{BACKPORT}backport-subscription-notification-r4"
_STATUS = f"{BACKPORT}backport-subscription-status-r4"


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a Subscription as a notification tells it: `total` events so far, this `kind` of notification."""

    kind: str  # handshake, heartbeat, event-notification, query-status, query-event
    status: str
    total: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A notice and the version it is about, as the caller may see it."""

    notice: Notice
    stored: Stored


async def seen(store: Store, notices: Iterable[Notice], caller: access.Caller) -> list[Seen]:
    """The notices whose resources the caller may see now, each with the version that it is about."""

    async def look(one: Notice) -> Seen | None:
        try:
            return Seen(one, await store.vread(one.type, one.id, one.version, caller=caller))
        except (errors.NotFound, errors.Gone, errors.Forbidden):
            return None

    if trace.current() is not None:  # asked for (`$events`): that request is traced
        return [one for one in await asyncio.gather(*map(look, notices)) if one]
    told = trace.Trace(caller, clock.micros(store.now()), "operation $events", "subscription")
    with told:
        found = [one for one in await asyncio.gather(*map(look, notices)) if one]
    if found:
        store.traces.add(told, "200")
    return found


def fitting(events: Sequence[Seen]) -> Sequence[Seen]:
    """The first of them, as many as one notification of bounded size holds; at least one."""
    size = 0
    for n, one in enumerate(events):
        size += len(one.stored.body)
        if n and size > MOST_BYTES:
            return events[:n]
    return events


def parameters(wanted: Wanted, status: Status, events: Sequence[Seen] = (), *, content: str = "") -> Resource:
    """The status as a Parameters. With empty content neither the topic nor the resources are named."""
    content = content or wanted.content
    told: list[Resource] = [{"name": "subscription", "valueReference": {"reference": f"Subscription/{wanted.id}"}}]
    if wanted.topic and content != "empty":
        told.append({"name": "topic", "valueCanonical": wanted.topic.url})
    told.append({"name": "status", "valueCode": status.status})
    told.append({"name": "type", "valueCode": status.kind})
    told.append({"name": "eventsSinceSubscriptionStart", "valueString": str(status.total)})
    for one in events:
        part: list[Resource] = [
            {"name": "eventNumber", "valueString": str(one.notice.number)},
            {"name": "timestamp", "valueInstant": clock.instant(clock.from_micros(one.notice.at))},
        ]
        if content != "empty":
            part.append({"name": "focus", "valueReference": {"reference": f"{one.notice.type}/{one.notice.id}"}})
        told.append({"name": "notificationEvent", "part": part})
    if status.error:
        told.append({"name": "error", "valueCodeableConcept": {"text": status.error}})
    return {"resourceType": "Parameters", "meta": {"profile": [_STATUS]}, "parameter": told}


def bundle(
    wanted: Wanted, status: Status, events: Sequence[Seen] = (), *, base: str, at: str, content: str = ""
) -> Resource:
    """The notification. `base` is the public FHIR address, `at` the instant of sending."""
    content = content or wanted.content
    first = parameters(wanted, status, events, content=content)
    url = f"{base}/Subscription/{wanted.id}/$status"
    named = uuid5(NAMESPACE_URL, f"{url}#{status.kind}-{status.total}-{at}")
    entries: list[Resource] = [
        {
            "fullUrl": f"urn:uuid:{named}",
            "resource": first,
            "request": {"method": "GET", "url": f"Subscription/{wanted.id}/$status"},
            "response": {"status": "200"},
        }
    ]
    if content != "empty":
        entries += [_entry(one, base, is_full=content == "full-resource") for one in events]
    meta = {"profile": [_BUNDLE]}
    return {"resourceType": "Bundle", "meta": meta, "type": "history", "timestamp": at, "entry": entries}


def _entry(one: Seen, base: str, *, is_full: bool) -> Resource:
    notice = one.notice
    entry: Resource = {"fullUrl": f"{base}/{notice.type}/{notice.id}"}
    if is_full:
        entry["resource"] = msgspec.Raw(one.stored.body)
    url = notice.type if notice.method == "POST" else f"{notice.type}/{notice.id}"
    entry["request"] = {"method": notice.method, "url": url}
    etag, at = f'W/"{notice.version}"', clock.instant(clock.from_micros(one.stored.updated))
    status = "201" if notice.method == "POST" else "200"
    entry["response"] = {"status": status, "etag": etag, "lastModified": at}
    return entry
