"""Whatever door a message comes by, the same happens to everybody (MODEL-01 to MODEL-04)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common import errors
from fhir_server import access, changes
from hub import conversations
from hub.room import Room
from mapping import systems

NADIA = access.person("PractitionerRole/nadia", "Practitioner/nadia", client="web")
CLAIRE = access.person("PractitionerRole/claire", "Practitioner/claire", client="web")
KARIM = access.person("PractitionerRole/karim", "Practitioner/karim", client="web")
LGC = access.person("PractitionerRole/lgc", "Practitioner/lgc", client="Mon LGC")
MEMBERS = ["PractitionerRole/nadia", "PractitionerRole/claire", "PractitionerRole/lefebvre"]


async def a_conversation(hub: Room, *, members: list[str] = MEMBERS, by: access.Caller = NADIA) -> str:
    header = conversations.header("Retour à domicile", patient=None, members=members, category="group")
    id = hub.store.new_id("Communication", header)
    await hub.store.commit([changes.Create("Communication", id, header)], caller=by)
    return f"Communication/{id}"


async def post(hub: Room, header: str, text: str = "Bonjour", *, by: access.Caller = NADIA, **more: Any) -> str:
    body = {
        "resourceType": "Communication",
        "status": "completed",
        "partOf": [{"reference": header}],
        "payload": [{"contentString": text}],
        **more,
    }
    id = hub.store.new_id("Communication", body)
    await hub.store.commit([changes.Create("Communication", id, body)], caller=by)
    return f"Communication/{id}"


async def inbox(hub: Room, header: str) -> dict[str, str]:
    """Member -> "read|unread status" of every inbox entry of a conversation."""
    tasks = await hub.find("Task", focus=header, code=f"{systems.TASK}|inbox")
    return {
        one["owner"]["reference"].partition("/")[2]: f"{one['businessStatus']['coding'][0]['code']} {one['status']}"
        for one in tasks
    }


async def test_each_member_gets_one_entry_and_the_author_has_read_theirs(hub: Room) -> None:
    header = await a_conversation(hub)
    await post(hub, header)
    await post(hub, header, "Encore")
    assert await inbox(hub, header) == {
        "nadia": "read requested",
        "claire": "unread requested",
        "lefebvre": "unread requested",
    }


async def test_header_and_first_message_in_one_commit_do_the_same(hub: Room) -> None:
    header = conversations.header("Ensemble", patient=None, members=MEMBERS, category="group")
    id = hub.store.new_id("Communication", header)
    first = conversations.message(
        f"Communication/{id}", sender=MEMBERS[0], sent=hub.now(), text="Bonjour", documents=[], medium="app"
    )
    both = [
        changes.Create("Communication", id, header),
        changes.Create("Communication", hub.store.new_id("Communication"), first),
    ]
    await hub.store.commit(both, caller=NADIA)
    assert await inbox(hub, f"Communication/{id}") == {
        "nadia": "read requested",
        "claire": "unread requested",
        "lefebvre": "unread requested",
    }


async def test_to_handle_and_unread_are_independent(hub: Room) -> None:
    header = await a_conversation(hub)
    await post(hub, header)
    task = (await hub.find("Task", focus=header, owner="PractitionerRole/claire", code="inbox"))[0]
    task |= {"status": "in-progress", "businessStatus": conversations.concept(systems.INBOX_STATUS, "read")}
    await hub.store.commit([changes.Update("Task", task["id"], task, int(task["meta"]["versionId"]))], caller=CLAIRE)
    await post(hub, header, "Suite")
    assert (await inbox(hub, header))["claire"] == "unread in-progress"


async def test_a_member_reached_by_mail_gets_one_ledger_line_per_message(hub: Room) -> None:
    header = await a_conversation(hub)
    message = await post(hub, header)
    lines = await hub.find("Task", focus=message, code=f"{systems.TASK}|deliver")
    assert [one["owner"]["reference"] for one in lines] == ["PractitionerRole/lefebvre"]
    assert [work.id for work in await hub.store.lease("mail", 100, 60) if work.id == lines[0]["id"]] == [lines[0]["id"]]


async def test_twenty_posts_at_once_are_all_there_and_leave_one_entry_each(hub: Room) -> None:
    header = await a_conversation(hub)
    posted = await asyncio.gather(*(post(hub, header, f"n° {number}") for number in range(20)))
    found = await hub.find("Communication", part_of=header)
    assert {f"Communication/{one['id']}" for one in found} == set(posted)
    assert len(await hub.find("Task", focus=header, code="inbox")) == 3


async def test_the_message_carries_what_the_hub_knows_better(hub: Room) -> None:
    header = await a_conversation(hub, members=[*MEMBERS, "PractitionerRole/lgc"])
    message = await hub.read(await post(hub, header, by=LGC))
    assert message["sender"] == {"reference": "PractitionerRole/lgc"}
    assert message["medium"][0]["coding"][0]["code"] == "api"
    assert [one["reference"] for one in message["recipient"]] == [*MEMBERS, "PractitionerRole/lgc"]
    assert message["sent"]


@pytest.mark.parametrize(
    ("caller", "more", "refusal", "place"),
    [
        (KARIM, {}, errors.Invalid, "Communication.partOf[0]"),
        (CLAIRE, {"sender": {"reference": "PractitionerRole/nadia"}}, errors.Forbidden, "Communication.sender"),
        (CLAIRE, {"payload": []}, errors.HubError, ""),
        (CLAIRE, {"subject": {"reference": "Patient/rey-andre"}}, errors.Invalid, "Communication.subject"),
        (CLAIRE, {"payload": [{"contentReference": {"reference": "DocumentReference/no"}}]}, errors.Invalid, ""),
    ],
    ids=["not a member", "in another's name", "empty", "another patient", "unknown document"],
)
async def test_a_message_is_refused(
    hub: Room, caller: access.Caller, more: dict[str, Any], refusal: type[errors.HubError], place: str
) -> None:
    header = await a_conversation(hub)
    with pytest.raises(refusal) as refused:
        await post(hub, header, by=caller, **more)
    assert place in refused.value.at
    assert await hub.find("Communication", part_of=header) == []


async def test_nobody_writes_in_a_closed_conversation(hub: Room) -> None:
    ref = await a_conversation(hub)
    header = await hub.read(ref)
    closed = changes.Update("Communication", header["id"], {**header, "status": "completed"}, 1)
    await hub.store.commit([closed], caller=NADIA)
    with pytest.raises(errors.Invalid, match="close"):
        await post(hub, ref)


async def test_a_sent_message_is_withdrawn_by_its_author_and_never_edited(hub: Room) -> None:
    ref = await post(hub, await a_conversation(hub))
    message = await hub.read(ref)
    edited = {**message, "payload": [{"contentString": "Autre chose"}]}
    with pytest.raises(errors.Invalid, match="ne se modifie pas"):
        await hub.store.commit([changes.Update("Communication", message["id"], edited, 1)], caller=NADIA)
    withdrawn = {**message, "status": "entered-in-error"}
    with pytest.raises(errors.Forbidden):
        await hub.store.commit([changes.Update("Communication", message["id"], withdrawn, 1)], caller=CLAIRE)
    await hub.store.commit([changes.Update("Communication", message["id"], withdrawn, 1)], caller=NADIA)
    assert (await hub.read(ref))["status"] == "entered-in-error"


async def test_a_draft_tells_nobody_until_it_is_sent(hub: Room) -> None:
    header = await a_conversation(hub)
    before = await inbox(hub, header)
    ref = await post(hub, header, status="preparation")
    assert await inbox(hub, header) == before
    with pytest.raises(errors.NotFound):
        await hub.read(ref, caller=CLAIRE)
    draft = await hub.read(ref)
    await hub.store.commit(
        [changes.Update("Communication", draft["id"], {**draft, "status": "completed"}, 1)], caller=NADIA
    )
    assert (await hub.read(ref, caller=CLAIRE))["status"] == "completed"
    assert (await inbox(hub, header))["claire"] == "unread requested"


async def test_a_document_in_a_message_becomes_readable_for_the_members_and_nobody_else(hub: Room) -> None:
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "Ym9uam91cg=="}
    binary_id = hub.store.new_id("Binary", binary)
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "url": f"Binary/{binary_id}"}}],
    }
    document_id = hub.store.new_id("DocumentReference", document)
    both = [changes.Create("Binary", binary_id, binary), changes.Create("DocumentReference", document_id, document)]
    await hub.store.commit(both, caller=NADIA)
    header = await a_conversation(hub)
    await post(hub, header, payload=[{"contentReference": {"reference": f"DocumentReference/{document_id}"}}])
    for ref in (f"DocumentReference/{document_id}", f"Binary/{binary_id}"):
        assert (await hub.read(ref, caller=CLAIRE))["id"]
        with pytest.raises(errors.NotFound):
            await hub.read(ref, caller=KARIM)


async def test_a_document_that_the_author_may_not_read_cannot_be_smuggled_in(hub: Room) -> None:
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"title": "secret"}}],
    }
    id = hub.store.new_id("DocumentReference", document)
    await hub.store.commit([changes.Create("DocumentReference", id, document)], caller=KARIM)
    header = await a_conversation(hub)
    with pytest.raises(errors.Invalid):
        await post(hub, header, payload=[{"contentReference": {"reference": f"DocumentReference/{id}"}}])
    with pytest.raises(errors.NotFound):
        await hub.read(f"DocumentReference/{id}", caller=NADIA)


async def test_an_entry_changes_only_by_its_owner_and_only_in_how_it_stands(hub: Room) -> None:
    header = await a_conversation(hub)
    task = (await hub.find("Task", focus=header, owner="PractitionerRole/claire", code="inbox"))[0]
    elsewhere = {**task, "focus": {"reference": "Communication/other"}}
    for caller, body in ((CLAIRE, elsewhere), (KARIM, {**task, "status": "completed"})):
        with pytest.raises((errors.Forbidden, errors.NotFound)):
            await hub.store.commit([changes.Update("Task", task["id"], body, 1)], caller=caller)
    made = conversations.inbox_entry(
        header, "PractitionerRole/karim", patient=None, read=False, token="x", now=hub.now()
    )
    with pytest.raises(errors.Forbidden):
        await hub.store.commit([changes.Create("Task", hub.store.new_id("Task", made), made)], caller=KARIM)


@pytest.mark.parametrize("missing", ["topic", "category"])
async def test_a_header_says_what_it_lacks(hub: Room, missing: str) -> None:
    header = conversations.header("Titre", patient=None, members=MEMBERS, category="group")
    del header[missing]
    with pytest.raises(errors.Invalid) as refused:
        await hub.store.commit(
            [changes.Create("Communication", hub.store.new_id("Communication"), header)], caller=NADIA
        )
    assert missing in refused.value.at


@pytest.mark.parametrize(
    "wrong",
    [{"partOf": [None]}, {"partOf": "x"}, {"subject": None}, {"sender": []}, {"payload": [{"contentReference": 1}]}],
    ids=str,
)
async def test_a_malformed_message_is_refused_before_any_rule_looks_at_it(hub: Room, wrong: dict[str, Any]) -> None:
    header = await a_conversation(hub)
    body = {
        "resourceType": "Communication",
        "status": "completed",
        "partOf": [{"reference": header}],
        "payload": [{"contentString": "Bonjour"}],
        **wrong,
    }
    with pytest.raises(errors.Invalid):
        await hub.store.commit([changes.Create("Communication", "malformed", body)], caller=NADIA)
