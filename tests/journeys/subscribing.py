"""Subscriptions as their owners write them, and the small region they listen to."""

from __future__ import annotations

from typing import Any

import httpx

from mapping import systems
from tests.running import Hub, wait_for

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
TOPICS = f"{systems.HUB}/SubscriptionTopic"


def plain(criteria: str, endpoint: str = "", **channel: Any) -> dict[str, Any]:
    """A plain R4 Subscription; without an endpoint over a WebSocket."""
    given = {"type": "rest-hook", "endpoint": endpoint} if endpoint else {"type": "websocket"}
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": criteria,
        "channel": given | channel,
    }


def backport(
    topic: str, endpoint: str = "", *, filters: tuple[str, ...] = (), content: str = "id-only", **extensions: int
) -> dict[str, Any]:
    """A Subscription of the backport. `extensions` of the channel: `backport_max_count=5`."""
    made = plain(f"{TOPICS}/{topic}", endpoint, payload="application/fhir+json")
    made["meta"] = {"profile": [f"{BACKPORT}/backport-subscription"]}
    code = {"url": f"{BACKPORT}/backport-payload-content", "valueCode": content}
    made["channel"]["_payload"] = {"extension": [code]}
    if filters:
        url = f"{BACKPORT}/backport-filter-criteria"
        made["_criteria"] = {"extension": [{"url": url, "valueString": one} for one in filters]}
    if extensions:
        kind = {"backport_max_count": "valuePositiveInt"}
        made["channel"]["extension"] = [
            {"url": f"{BACKPORT}/{name.replace('_', '-')}", kind.get(name, "valueUnsignedInt"): value}
            for name, value in extensions.items()
        ]
    return made


def created(client: httpx.Client, resource: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def status(client: httpx.Client, id: str) -> str:
    return str(client.get(f"/Subscription/{id}").json()["status"])


def active(client: httpx.Client, resource: dict[str, Any]) -> str:
    """The id of a Subscription that the hub serves."""
    id = str(created(client, resource)["id"])
    wait_for(lambda: status(client, id) == "active", what="active")
    return id


def a_task(n: int, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Task", "status": "requested", "intent": "order", "description": f"n° {n}", **more}


def started(folder: Any, **settings: str) -> Hub:
    """A hub that may call loopback."""
    return Hub(folder, hooks_allow="127.0.0.0/8", **settings)
