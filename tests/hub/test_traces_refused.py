"""What was refused leaves its trace as well, and says how it was refused (MODEL-08)."""

from __future__ import annotations

from base64 import b64decode

import pytest

from hub.room import Room
from tests.hub.doors import Api
from tests.hub.test_traces import traces

NADIA = "PractitionerRole/nadia"
JSON = {"Content-Type": "application/fhir+json"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "Patient/x", {"Accept": "image/png"}, b"", 406),
        ("POST", "Observation", {**JSON, "Content-Length": "99999999999"}, b"{}", 413),
        ("POST", "Observation", {**JSON, "Content-Encoding": "gzip"}, b"{}", 415),
        ("POST", "Observation", {"Content-Type": "image/png"}, b"{}", 415),
        ("GET", "Nothing/x", {}, b"", 404),
        ("GET", "Patient/x/y/z", {}, b"", 404),
        ("POST", "Patient/x", JSON, b"{}", 405),
        ("GET", "Patient/nobody", {}, b"", 404),
    ],
)
async def test_a_refused_request_leaves_one_row(
    hub: Room, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    api = Api(hub)
    before = await traces(hub, api, agent=NADIA)
    async with api("nadia") as client:
        answer = await client.request(method, f"/{path}", headers=headers, content=body)
    assert answer.status_code == status
    event, *others = await traces(hub, api, agent=NADIA)
    assert others == before
    assert (event["outcome"], event["outcomeDesc"]) == ("4", str(status))
    (asked,) = [one["query"] for one in event["entity"] if "query" in one]
    assert b64decode(asked).decode() == path


async def test_who_is_not_known_leaves_no_row(hub: Room) -> None:
    api = Api(hub)
    before = len(await traces(hub, api))
    async with api("nadia") as client:
        assert (await client.get("/Patient/x", headers={"Authorization": ""})).status_code == 401
        assert (await client.get("/metadata")).status_code == 200
    assert len(await traces(hub, api)) == before + 1  # the search for traces itself
