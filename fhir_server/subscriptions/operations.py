"""What can a subscriber ask beside being told?

The operations of the Subscriptions R5 Backport for R4: `$status`, `$events` and `$get-ws-binding-token`. Each looks
with the caller's rights, at the Subscription and at what its events are about.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from common import clock, errors
from fhir_server import conditions, exchange
from fhir_server.changes import Resource, Stored
from fhir_server.operations import Operation, OperationRequest
from fhir_server.subscriptions import binding, notification, reading
from fhir_server.subscriptions.kept import Subscriber

_DEFINED = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-"
MOST_EVENTS = 1000
MOST_LISTED = 1000


def operations(setting: reading.Setting, secret: bytes) -> tuple[Operation, ...]:
    """Those of this room; `secret` signs the tokens of WebSockets."""
    listed = partial(_status, setting=setting)
    bound = partial(_binding_token, setting=setting, secret=secret)
    return (
        Operation("instance", "Subscription", "status", listed, "r", f"{_DEFINED}status"),
        Operation("type", "Subscription", "status", listed, "r", f"{_DEFINED}status"),
        Operation("instance", "Subscription", "events", partial(_events, setting=setting), "r", f"{_DEFINED}events"),
        Operation("instance", "Subscription", "get-ws-binding-token", bound, "r", f"{_DEFINED}get-ws-binding-token"),
        Operation("type", "Subscription", "get-ws-binding-token", bound, "r", f"{_DEFINED}get-ws-binding-token"),
    )


async def _status(call: OperationRequest, setting: reading.Setting) -> Resource:
    """A searchset of the states, one Parameters each."""
    wanted_states = set(_values(call, "status"))
    entries = []
    for stored in await _asked(call):
        resource, wanted, state = await _known(call, stored, setting)
        if wanted_states and resource["status"] not in wanted_states:
            continue
        told = _told("query-status", resource, state)
        url = f"{call.base}/Subscription/{stored.id}/$status"
        parameters = notification.parameters(wanted, told)
        entries.append({"fullUrl": url, "resource": parameters, "search": {"mode": "match"}})
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return {**bundle, "entry": entries} if entries else bundle


async def _events(call: OperationRequest, setting: reading.Setting) -> Resource:
    """A notification of the events asked for, both ends included. Raises Unreadable for too many."""
    [stored] = await _asked(call)
    resource, wanted, state = await _known(call, stored, setting)
    low, high = _number(call, "eventsSinceNumber", 1), _number(call, "eventsUntilNumber", state.last)
    content = next(iter(_values(call, "content")), wanted.content)
    if content not in reading.CONTENTS:
        raise errors.Unreadable(f"content : un de {', '.join(reading.CONTENTS)}", at="http.content")
    found = await call.store.notices.between(stored.id, max(low, 1) - 1, high, MOST_EVENTS + 1)
    if len(found) > MOST_EVENTS:
        text = f"plus de {MOST_EVENTS} événements : donnez eventsSinceNumber et eventsUntilNumber"
        raise errors.Unreadable(text, issues=(errors.Issue(text, "", "too-costly"),))
    seen = await notification.seen(call.store, found, call.caller)
    if content == "full-resource" and len(notification.fitting(seen)) < len(seen):
        text = "réponse trop volumineuse : donnez eventsUntilNumber, ou content=id-only"
        raise errors.Unreadable(text, issues=(errors.Issue(text, "", "too-costly"),))
    told = _told("query-event", resource, state)
    at = clock.instant(setting.now())
    return notification.bundle(wanted, told, seen, base=call.base, at=at, content=content)


async def _binding_token(call: OperationRequest, setting: reading.Setting, secret: bytes) -> Resource:
    """A token for `bind-with-token`. Raises Invalid for a Subscription of another channel."""
    asked = await _asked(call, must_name=True)
    for stored in asked:
        if msgspec.json.decode(stored.body)["channel"]["type"] != "websocket":
            text = f"Subscription/{stored.id} : son canal n'est pas websocket"
            raise errors.Invalid(text, issues=(errors.Issue(text, "Subscription.channel.type", "business-rule"),))
    until = setting.now() + binding.LIFETIME
    said = binding.Binding(tuple(one.id for one in asked), call.caller, clock.micros(until))
    parameters: list[Resource] = [
        {"name": "token", "valueString": binding.token(said, secret)},
        {"name": "expiration", "valueDateTime": clock.instant(until)},
        *({"name": "subscription", "valueString": one.id} for one in asked),
        {"name": "websocket-url", "valueUrl": f"ws{call.base.removeprefix('http')}/ws"},
    ]
    return {"resourceType": "Parameters", "parameter": parameters}


async def _asked(call: OperationRequest, *, must_name: bool = False) -> list[Stored]:
    """The Subscriptions that are meant, as the caller sees them. Raises NotFound for one that is not there."""
    ids = [call.id] if call.id else list(dict.fromkeys(_values(call, "id")))
    if len(ids) > binding.MOST_IDS or (must_name and not ids):
        raise errors.Unreadable(f"id : de 1 à {binding.MOST_IDS} abonnements", at="http.id")
    if ids:
        return [await call.store.read("Subscription", id.rpartition("/")[2], caller=call.caller) for id in ids]
    page = await call.store.search(conditions.Query("Subscription", count=MOST_LISTED), caller=call.caller)
    if page.after:
        text = f"plus de {MOST_LISTED} abonnements : donnez leurs id"
        raise errors.Unreadable(text, issues=(errors.Issue(text, "", "too-costly"),))
    return page.rows


async def _known(
    call: OperationRequest, stored: Stored, setting: reading.Setting
) -> tuple[Resource, reading.Wanted, Subscriber]:
    resource: Resource = msgspec.json.decode(stored.body)
    state = await call.store.notices.subscriber(stored.id)
    if state is None:
        raise errors.NotFound(f"Subscription/{stored.id} : écrite avant que ce serveur serve les abonnements")
    return resource, reading.read(resource, setting), state


def _told(kind: str, resource: Resource, state: Subscriber) -> notification.Status:
    return notification.Status(kind, resource["status"], state.last, resource.get("error", "") or state.error)


def _values(call: OperationRequest, name: str) -> Iterable[str]:
    """The values of a parameter, from the address and from the Parameters that were posted."""
    for given, value in call.params:
        if given == name:
            yield from (one for one in value.split(",") if one)
    posted: list[dict[str, Any]] = (call.body or {}).get("parameter", [])
    for one in posted:
        if one.get("name") == name:
            yield from (str(one[key]) for key in one if key.startswith("value"))


def _number(call: OperationRequest, name: str, otherwise: int) -> int:
    given = list(_values(call, name))
    if not given:
        return otherwise
    number = exchange.whole_number(given[0])
    if number is None or len(given) > 1:
        raise errors.Unreadable(f"{name} : attendu un numéro d'événement", at=f"http.{name}")
    return number
