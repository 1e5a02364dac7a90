"""What do subscribers receive, and what do they never receive? Through the doors of one hub, with real receivers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journeys import subscribing
from tests.journeys.subscribing import TOPICS, a_task, active, backport, created, plain, status
from tests.receiver import Receiver, events, numbers, told
from tests.running import Hub, wait_for

JSON = "application/fhir+json"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Gives up on a failing receiver after about four seconds."""
    one = subscribing.started(tmp_path_factory.mktemp("hub"), hooks_retry_hours="0.001")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def client(hub: Hub) -> Iterator[httpx.Client]:
    with hub.client("--system") as one:
        yield one


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.stop()


def ended(client: httpx.Client, id: str) -> None:
    assert client.delete(f"/Subscription/{id}").status_code == 204


def test_a_topic_begins_with_a_handshake_and_numbers_its_events(client: httpx.Client, receiver: Receiver) -> None:
    id = active(client, backport("task-event", receiver.url, filters=("Task?status=requested",), backport_max_count=1))
    (hands,) = receiver.bundles("handshake")
    assert hands["type"] == "history"
    assert hands["entry"][0]["request"] == {"method": "GET", "url": f"Subscription/{id}/$status"}
    assert told(hands)["status"] == "requested"
    assert told(hands)["eventsSinceSubscriptionStart"] == "0"
    task = created(client, a_task(1))
    created(client, a_task(2, status="draft"))
    client.put(f"/Task/{task['id']}", json={**task, "description": "encore"}).raise_for_status()
    wait_for(lambda: len(receiver.numbers()) == 2, what="two notifications")
    first, second = receiver.bundles()
    assert told(first) == {
        "subscription": {"reference": f"Subscription/{id}"},
        "topic": f"{TOPICS}/task-event",
        "status": "active",
        "type": "event-notification",
        "eventsSinceSubscriptionStart": "1",
    }
    assert [one["focus"]["reference"] for one in events(first)] == [f"Task/{task['id']}"]
    assert first["entry"][1]["request"] == {"method": "POST", "url": "Task"}
    assert "resource" not in first["entry"][1]
    assert second["entry"][1]["request"] == {"method": "PUT", "url": f"Task/{task['id']}"}
    assert second["entry"][1]["response"]["etag"] == 'W/"2"'
    ended(client, id)


@pytest.mark.parametrize("content", ["empty", "full-resource"])
def test_a_notification_says_as_much_as_was_asked(client: httpx.Client, receiver: Receiver, content: str) -> None:
    id = active(client, backport("task-event", receiver.url, content=content))
    task = created(client, a_task(1))
    wait_for(receiver.numbers, what="a notification")
    (bundle,) = receiver.bundles()
    if content == "empty":
        assert "topic" not in told(bundle)
        assert len(bundle["entry"]) == 1
        assert all(task["id"] not in str(one) for one in bundle["entry"])
    else:
        assert bundle["entry"][1]["resource"] == task
    ended(client, id)


def test_a_plain_subscription_without_payload_is_called_without_content(
    client: httpx.Client, receiver: Receiver
) -> None:
    id = active(client, plain("Task?status=requested", receiver.url))
    created(client, a_task(1))
    (call,) = wait_for(lambda: receiver.calls, what="a call")
    assert (call.method, call.path, call.body) == ("POST", "/hook", b"")
    ended(client, id)


def test_a_plain_subscription_with_a_payload_receives_the_resource(client: httpx.Client, receiver: Receiver) -> None:
    id = active(client, plain("Task?status=requested", receiver.url + "?a=b", payload="application/fhir+xml"))
    task = created(client, a_task(1))
    (call,) = wait_for(lambda: receiver.calls, what="a call")
    assert (call.method, call.path) == ("PUT", f"/hook/Task/{task['id']}?a=b")
    assert call.headers["content-type"] == "application/fhir+xml"
    assert b'<description value="n\xc2\xb0 1"/>' in call.body
    ended(client, id)


def test_a_patient_admitted_is_told_once(client: httpx.Client, receiver: Receiver) -> None:
    id = active(client, backport("patient-admitted", receiver.url))
    visit = {
        "resourceType": "Encounter",
        "status": "planned",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
    }
    stored = created(client, visit)
    for code in ("in-progress", "in-progress", "finished"):
        reason = [{"text": f"{code} {len(receiver.calls)}"}]
        client.put(f"/Encounter/{stored['id']}", json={**stored, "status": code, "reasonCode": reason})
        if code == "in-progress":
            wait_for(receiver.numbers, what="admitted")
    created(client, {**visit, "status": "in-progress"})
    wait_for(lambda: len(receiver.numbers()) == 2, what="the second admission")
    assert receiver.numbers() == [1, 2]
    ended(client, id)


def test_headers_are_sent_and_never_shown(client: httpx.Client, receiver: Receiver) -> None:
    wanted = plain("Task?status=requested", receiver.url, header=["Authorization: Bearer s3cr3t", "X-Site: nord"])
    id = active(client, wanted)
    created(client, a_task(1))
    (call,) = wait_for(lambda: receiver.calls, what="a call")
    assert (call.headers["authorization"], call.headers["x-site"]) == ("Bearer s3cr3t", "nord")
    shown = client.get(f"/Subscription/{id}")
    assert shown.json()["channel"]["header"] == ["Authorization: ***", "X-Site: ***"]
    for path in (f"/Subscription/{id}/_history", f"/Subscription/{id}/_history/1", f"/Subscription/{id}/$status"):
        assert "s3cr3t" not in client.get(path).text
    kept = client.put(f"/Subscription/{id}", json={**shown.json(), "status": "requested", "reason": "autre"})
    assert kept.status_code == 200, kept.text
    wait_for(lambda: status(client, id) == "active", what="active again")
    created(client, a_task(2))
    wait_for(lambda: len(receiver.calls) == 2, what="a second call")
    assert receiver.calls[1].headers["authorization"] == "Bearer s3cr3t"
    ended(client, id)


def test_a_secret_does_not_follow_to_another_receiver(client: httpx.Client, receiver: Receiver) -> None:
    id = active(client, plain("Task?status=requested", receiver.url, header=["Authorization: Bearer s3cr3t"]))
    shown = client.get(f"/Subscription/{id}").json()
    elsewhere = {**shown, "channel": {**shown["channel"], "endpoint": "http://127.0.0.1:9/hook"}}
    refused = client.put(f"/Subscription/{id}", json=elsewhere)
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Subscription.channel.header[0]"]
    ended(client, id)


def test_one_hears_only_of_what_one_may_see(hub: Hub, client: httpx.Client, receiver: Receiver) -> None:
    with hub.client("--persona", "nadia") as nadia, hub.client("--persona", "lefebvre") as paul:
        id = active(nadia, backport("resource-change", receiver.url, filters=("Observation?status=final",)))
        observation = {"resourceType": "Observation", "status": "final", "code": {"text": "poids"}}
        created(paul, observation)
        created(client, observation)
        own = created(nadia, observation)
        wait_for(receiver.numbers, what="nadia's own")
        assert [one["focus"]["reference"] for one in events(receiver.bundles()[0])] == [f"Observation/{own['id']}"]
        assert receiver.numbers() == [1]
        assert paul.get(f"/Subscription/{id}").status_code == 404
        assert paul.get(f"/Subscription/{id}/$events").status_code == 404
        ended(nadia, id)


def test_a_receiver_that_fails_for_too_long_puts_the_subscription_in_error_until_its_owner_asks_again(
    client: httpx.Client, receiver: Receiver
) -> None:
    id = active(client, backport("task-event", receiver.url, backport_max_count=1))
    receiver.status = 503
    made = [created(client, a_task(n))["id"] for n in range(3)]
    wait_for(lambda: status(client, id) == "error", seconds=30, what="error")
    found = client.get(f"/Subscription/{id}").json()
    assert found["error"] == "HTTP 503"
    made.append(created(client, a_task(3))["id"])
    receiver.status = 200
    client.put(f"/Subscription/{id}", json={**found, "status": "requested"}).raise_for_status()
    wait_for(lambda: len(receiver.numbers()) == 4, what="what waited")
    assert receiver.numbers() == [1, 2, 3, 4]
    assert [one["focus"]["reference"] for b in receiver.bundles() for one in events(b)] == [f"Task/{i}" for i in made]
    assert "error" not in client.get(f"/Subscription/{id}").json()
    ended(client, id)


def test_a_redirect_is_not_followed(client: httpx.Client, receiver: Receiver) -> None:
    target = Receiver()
    receiver.status, receiver.location = 307, target.url
    id = created(client, backport("task-event", receiver.url))["id"]
    wait_for(lambda: receiver.refused >= 2, what="tried again")
    assert target.calls == []
    assert status(client, id) == "requested"
    target.stop()
    ended(client, id)


def test_silence_is_broken_by_heartbeats(client: httpx.Client, receiver: Receiver) -> None:
    id = active(client, backport("appointment-event", receiver.url, backport_heartbeat_period=1))
    beats = wait_for(lambda: receiver.bundles("heartbeat"), what="a heartbeat")
    assert told(beats[0])["status"] == "active"
    assert numbers(beats[0]) == []
    ended(client, id)


def test_a_subscription_ends_when_it_said(client: httpx.Client, receiver: Receiver) -> None:
    end = (datetime.now(UTC) + timedelta(seconds=2)).isoformat(timespec="milliseconds")
    id = active(client, {**plain("Task?status=requested", receiver.url), "end": end})
    wait_for(lambda: status(client, id) == "off", what="off")
    created(client, a_task(1))
    assert receiver.calls == []
    ended(client, id)


def test_off_stops_at_once_and_a_deleted_one_is_forgotten(client: httpx.Client, receiver: Receiver) -> None:
    id = active(client, plain("Task?status=requested", receiver.url))
    found = client.get(f"/Subscription/{id}").json()
    client.put(f"/Subscription/{id}", json={**found, "status": "off"}).raise_for_status()
    other = active(client, backport("task-event", receiver.url))
    created(client, a_task(1))
    wait_for(receiver.numbers, what="the other one hears")
    assert [one.method for one in receiver.calls if not one.body] == []
    ended(client, other)
    created(client, a_task(2))
    assert client.get(f"/Subscription/{other}/$status").status_code == 410
    ended(client, id)


def changed(**elements: Any) -> dict[str, Any]:
    return plain("Task?status=requested", "http://127.0.0.1:9/hook") | elements


def channel(**elements: Any) -> dict[str, Any]:
    made = changed()
    return {**made, "channel": {**made["channel"], **elements}}


REFUSED = {
    "a type that R4 does not know": (changed(criteria="Nothing?code=x"), "criteria"),
    "a parameter that the type does not have": (changed(criteria="Task?colour=red"), "criteria"),
    "what is no criteria": (changed(criteria="Task?_count=3"), "criteria"),
    "an unknown topic": (changed(criteria="https://example.org/SubscriptionTopic/x"), "criteria"),
    "a filter of another type": (backport("task-event", "http://127.0.0.1:9/", filters=("Patient?a=b",)), "criteria.e"),
    "a topic of any type without a filter": (backport("resource-change", "http://127.0.0.1:9/"), "criteria.e"),
    "a channel that is not there": (channel(type="sms"), "channel.type"),
    "no endpoint": ({**changed(), "channel": {"type": "rest-hook"}}, "channel.endpoint"),
    "a private address": (channel(endpoint="https://10.0.0.8/hook"), "channel.endpoint"),
    "the machine's own metadata": (channel(endpoint="http://169.254.169.254/latest"), "channel.endpoint"),
    "another scheme": (channel(endpoint="file:///etc/passwd"), "channel.endpoint"),
    "a user in the address": (channel(endpoint="https://a:b@example.org/"), "channel.endpoint"),
    "another payload": (channel(payload="text/plain"), "channel.payload"),
    "a header that is none": (channel(header=["Authorization"]), "channel.header[0]"),
    "a header of the connection": (channel(header=["X-A: b", "Host: example.org"]), "channel.header[1]"),
    "a header with a line break": (channel(header=["X-A: b\r\nX-C: d"]), "channel.header[0]"),
    "a status that the server sets": (changed(status="active"), "status"),
    "an end that has passed": (changed(end="2020-01-01T00:00:00Z"), "end"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_with_its_place(client: httpx.Client, case: str) -> None:
    resource, place = REFUSED[case]
    answer = client.post("/Subscription", json=resource)
    assert answer.status_code == 422, answer.text
    found = [one["expression"][0] for one in answer.json()["issue"]]
    assert any(one.startswith(f"Subscription.{place}") for one in found), answer.text


def test_all_problems_are_told_at_once(client: httpx.Client) -> None:
    answer = client.post("/Subscription", json={**channel(type="sms", header=["x"]), "criteria": "Task?colour=red"})
    places = {one["expression"][0] for one in answer.json()["issue"]}
    assert {"Subscription.criteria", "Subscription.channel.type", "Subscription.channel.header[0]"} <= places


def test_what_is_told_can_be_asked_again(client: httpx.Client, receiver: Receiver) -> None:
    id = active(client, backport("task-event", receiver.url))
    made = [created(client, a_task(n))["id"] for n in range(3)]
    wait_for(lambda: len(receiver.numbers()) == 3, what="three")
    state = client.get(f"/Subscription/{id}/$status").json()
    assert state["type"] == "searchset"
    parameters = {one["name"]: one for one in state["entry"][0]["resource"]["parameter"]}
    assert parameters["type"]["valueCode"] == "query-status"
    assert parameters["eventsSinceSubscriptionStart"]["valueString"] == "3"
    listed = client.get("/Subscription/$status", params={"id": id}).json()
    assert listed["total"] == 1
    asked = client.get(f"/Subscription/{id}/$events", params={"eventsSinceNumber": 2, "eventsUntilNumber": 3}).json()
    assert told(asked)["type"] == "query-event"
    assert numbers(asked) == [2, 3]
    assert [one["focus"]["reference"] for one in events(asked)] == [f"Task/{one}" for one in made[1:]]
    body = {"resourceType": "Parameters", "parameter": [{"name": "content", "valueCode": "full-resource"}]}
    full = client.post(f"/Subscription/{id}/$events", json=body).json()
    assert [one["resource"]["id"] for one in full["entry"][1:]] == made
    assert client.get(f"/Subscription/{id}/$events", params={"eventsSinceNumber": "x"}).status_code == 400
    assert client.get("/Subscription/inconnu/$events").status_code == 404
    ended(client, id)


def test_the_capability_statement_names_the_socket_and_the_topics(hub: Hub, client: httpx.Client) -> None:
    (rest,) = client.get("/metadata").json()["rest"]
    assert rest["extension"][0]["valueUri"] == f"ws://127.0.0.1:{hub.ports['http']}/fhir/ws"
    (subscription,) = (one for one in rest["resource"] if one["type"] == "Subscription")
    assert f"{TOPICS}/task-event" in {one["valueCanonical"] for one in subscription["extension"]}
    assert {"status", "events", "get-ws-binding-token"} <= {one["name"] for one in subscription["operation"]}


def test_a_hub_without_allowed_networks_calls_no_address_inside(tmp_path: Path, receiver: Receiver) -> None:
    hub = Hub(tmp_path / "hub")
    try:
        with hub.client("--system") as client:
            answer = client.post("/Subscription", json=plain("Task?status=requested", receiver.url))
            assert answer.status_code == 422
            # Only when it is looked up does it turn out to be 127.0.0.1.
            inside = backport("task-event", f"https://2130706433:{receiver.port}/hook")
            id = created(client, inside)["id"]
            wait_for(lambda: "interne" in client.get(f"/Subscription/{id}/$status").text, what="refused when called")
            assert receiver.calls == []
    finally:
        hub.stop()
