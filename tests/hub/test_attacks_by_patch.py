"""A patch and a condition are doors like any other: what the product demands of a write holds there too."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from common import errors
from fhir_server import access, app
from hub import conversations
from hub.room import Room
from tests.hub.test_attacks import CLAIRE, KARIM, NADIA, conversation, create, letter, message, the_pdf

BASE = "http://hub.test/fhir"
CALLERS = {"nadia": NADIA, "claire": CLAIRE, "karim": KARIM}


@pytest.fixture
def door(hub: Room) -> httpx.AsyncClient:
    async def authenticate(token: str) -> access.Caller:
        if token not in CALLERS:
            raise errors.Unauthenticated("inconnu")
        return CALLERS[token]

    built = app.build_app(hub.store, authenticate=authenticate)
    return httpx.AsyncClient(transport=httpx.ASGITransport(built), base_url=BASE)


async def patch(door: httpx.AsyncClient, who: str, url: str, *operations: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {who}", "Content-Type": "application/json-patch+json"}
    return await door.patch(f"/{url}", content=json.dumps(operations), headers=headers)


async def test_a_reader_rewrites_nothing_by_patch(hub: Room, door: httpx.AsyncClient) -> None:
    header = await letter(hub)
    document, binary = await the_pdf(hub)
    posted = (await hub.find("Communication", part_of=f"Communication/{header['id']}"))[0]
    for url, operation in [
        (f"Communication/{posted['id']}", {"op": "replace", "path": "/status", "value": "entered-in-error"}),
        (f"DocumentReference/{document['id']}", {"op": "replace", "path": "/status", "value": "entered-in-error"}),
        (binary, {"op": "replace", "path": "/data", "value": "RkFLRQ=="}),
        ("Patient/delmas-jeanne", {"op": "replace", "path": "/birthDate", "value": "1950-01-01"}),
        ("Patient/delmas-jeanne", {"op": "remove", "path": "/identifier"}),
    ]:
        before = await hub.read(url)
        assert (await patch(door, "claire", url, operation)).status_code == 403, url
        assert (await patch(door, "karim", url, operation)).status_code == 404, url
        type, _, id = url.partition("/")
        assert (await patch(door, "karim", f"{type}?_id={id}", operation)).status_code == 404, url
        assert await hub.read(url) == before


async def test_a_sent_message_is_withdrawn_by_patch_and_not_rewritten(hub: Room, door: httpx.AsyncClient) -> None:
    header = await conversation(hub, "nadia", "claire", by=NADIA)
    url = await create(hub, message(header), NADIA)
    other = {"op": "replace", "path": "/payload/0/contentString", "value": "Autre"}
    assert (await patch(door, "nadia", url, other)).status_code == 422
    withdrawn = await patch(door, "nadia", url, {"op": "replace", "path": "/status", "value": "entered-in-error"})
    assert (withdrawn.status_code, withdrawn.json()["status"]) == (200, "entered-in-error")


async def test_nobody_joins_a_conversation_by_patch(hub: Room, door: httpx.AsyncClient) -> None:
    header = await conversation(hub, "nadia", "claire", by=NADIA)
    joining = {"op": "add", "path": "/recipient/-", "value": conversations.reference("PractitionerRole/karim")}
    assert (await patch(door, "karim", header, joining)).status_code == 404
    invited = await patch(door, "nadia", header, joining)
    assert invited.status_code == 200
    assert (await patch(door, "karim", header)).status_code == 200  # a member now


async def test_a_condition_deletes_and_writes_only_what_a_person_may(hub: Room, door: httpx.AsyncClient) -> None:
    header = await letter(hub)
    posted = (await hub.find("Communication", part_of=f"Communication/{header['id']}"))[0]
    for who, status in (("claire", 403), ("karim", 204)):
        as_who = {"Authorization": f"Bearer {who}"}
        answer = await door.delete(f"/Communication?_id={posted['id']}", headers=as_who)
        assert answer.status_code == status
    assert await hub.read(f"Communication/{posted['id']}") == posted
    organization = {"resourceType": "Organization", "name": "Faux cabinet"}
    answer = await door.put("/Organization?name=Faux", json=organization, headers={"Authorization": "Bearer karim"})
    assert answer.status_code == 403
