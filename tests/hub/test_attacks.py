"""Somebody who can read, or only guess, gains nothing by writing."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from common import errors
from fhir_server import access, changes
from hub import conversations
from hub.flows import deliver, hospital_document, mail_in
from hub.room import Room
from mapping import systems
from mss import reception, send
from tests import builders_hl7

NADIA = access.person("PractitionerRole/nadia", "Practitioner/nadia", client="web")
CLAIRE = access.person("PractitionerRole/claire", "Practitioner/claire", client="web")
KARIM = access.person("PractitionerRole/karim", "Practitioner/karim", client="web")
DOCTOR = "paul.lefebvre@demo.mssante.fr"
JEANNE = builders_hl7.Person(ins="248051220200170", local="")


async def create(hub: Room, body: dict[str, Any], by: access.Caller) -> str:
    id = hub.store.new_id(body["resourceType"], body)
    await hub.store.commit([changes.Create(body["resourceType"], id, body)], caller=by)
    return f"{body['resourceType']}/{id}"


async def update(hub: Room, body: dict[str, Any], by: access.Caller) -> None:
    await hub.store.commit([changes.Update(body["resourceType"], body["id"], body)], caller=by)


async def conversation(hub: Room, *names: str, by: access.Caller) -> str:
    members = [f"PractitionerRole/{name}" for name in names]
    return await create(hub, conversations.header("Titre", patient=None, members=members, category="group"), by)


def message(header: str, **more: Any) -> dict[str, Any]:
    body = {"resourceType": "Communication", "status": "completed", "partOf": [{"reference": header}]}
    return {**body, "payload": [{"contentString": "Bonjour"}], **more}


async def letter(hub: Room, control_id: str = "L1", **more: Any) -> dict[str, Any]:
    """A hospital letter about Mme Delmas; her conversation."""
    answer = await hospital_document.receive(builders_hl7.an_mdm(control_id, person=JEANNE, **more), "test", hub)
    assert b"MSA|AA|" in answer, answer
    owner = await hub.store.owner(f"{systems.PATIENT_CONVERSATION}|delmas-jeanne")
    assert owner
    return await hub.read(owner)


async def the_pdf(hub: Room) -> tuple[dict[str, Any], str]:
    document = (await hub.find("DocumentReference", patient="delmas-jeanne"))[0]
    return document, document["content"][0]["attachment"]["url"]


async def test_a_subject_that_is_no_patient_opens_no_patient(hub: Room) -> None:
    group = {"resourceType": "Group", "type": "person", "actual": True}
    await hub.store.commit([changes.Create("Group", "delmas-jeanne", group)], caller=KARIM)
    header = conversations.header("Piège", patient="Group/delmas-jeanne", members=[], category="group")
    with pytest.raises(errors.Invalid):
        await create(hub, header, KARIM)


async def test_citing_somebody_elses_file_does_not_open_it(hub: Room) -> None:
    await letter(hub)
    _, binary = await the_pdf(hub)
    stolen = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {"url": binary}}]}
    with pytest.raises(errors.Invalid):
        await create(hub, stolen, KARIM)
    with pytest.raises(errors.NotFound):
        await hub.read(binary, caller=KARIM)


async def test_a_reader_neither_deletes_nor_rewrites_what_others_rely_on(hub: Room) -> None:
    header = await letter(hub)
    document, binary = await the_pdf(hub)
    posted = (await hub.find("Communication", part_of=f"Communication/{header['id']}"))[0]
    for ref in (
        f"Communication/{posted['id']}",
        f"DocumentReference/{document['id']}",
        binary,
        "Patient/delmas-jeanne",
    ):
        type, _, id = ref.partition("/")
        with pytest.raises(errors.Forbidden):
            await hub.store.commit([changes.Delete(type, id)], caller=CLAIRE)
    forged = {**await hub.read(binary), "data": b64encode(b"%PDF-FAKE").decode()}
    patient = {**await hub.read("Patient/delmas-jeanne"), "birthDate": "1950-01-01"}
    for body in (forged, patient, {**document, "status": "entered-in-error"}, {**posted, "status": "entered-in-error"}):
        with pytest.raises(errors.Forbidden):
            await update(hub, body, CLAIRE)


async def test_a_message_goes_into_one_conversation_only(hub: Room) -> None:
    theirs = await conversation(hub, "nadia", "claire", by=NADIA)
    own = await conversation(hub, "karim", "nadia", by=KARIM)
    both = message(own, partOf=[{"reference": own}, {"reference": theirs}])
    with pytest.raises(errors.Invalid):
        await create(hub, both, KARIM)


async def test_time_and_channel_of_a_message_are_the_hubs_to_say(hub: Room) -> None:
    header = await conversation(hub, "nadia", by=NADIA)
    medium = [conversations.concept(systems.MEDIUM, "hospital")]
    posted = await hub.read(await create(hub, message(header, sent="2099-01-01T00:00:00Z", medium=medium), NADIA))
    assert posted["sent"] < "2099"
    assert posted["medium"] == [conversations.concept(systems.MEDIUM, "app")]


async def test_a_task_does_not_become_a_receipt(hub: Room) -> None:
    plain = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"text": "à faire"}}
    ref = await create(hub, plain, KARIM)
    forged = {**await hub.read(ref), "code": conversations.concept(systems.TASK, "deliver")}
    with pytest.raises(errors.Forbidden):
        await update(hub, forged, KARIM)


async def test_an_unseen_resource_and_an_unknown_one_get_the_same_refusal(hub: Room) -> None:
    header = await letter(hub)
    for id in (header["id"], "0" * 13):
        with pytest.raises(errors.NotFound, match="n'existe pas"):
            await update(hub, {**header, "id": id}, KARIM)
        (done,) = await hub.store.commit([changes.Delete("Communication", id)], caller=KARIM)
        assert (done.version, done.body) == (0, b"")


async def test_a_decoy_under_the_documents_number_does_not_catch_its_withdrawal(hub: Room) -> None:
    await letter(hub)
    document, _ = await the_pdf(hub)
    decoy = {
        "resourceType": "DocumentReference",
        "status": "current",
        "masterIdentifier": document["masterIdentifier"],
        "date": "2099-01-01T00:00:00Z",
        "content": [{"attachment": {"title": "leurre"}}],
    }
    await create(hub, decoy, KARIM)
    await letter(hub, "L2", document_id="DOC-L1", header=builders_hl7.Header(trigger="T04"))
    assert (await hub.read(f"DocumentReference/{document['id']}"))["status"] == "entered-in-error"


async def test_a_closed_conversation_opens_again_for_the_next_letter(hub: Room) -> None:
    header = await letter(hub)
    await update(hub, {**header, "status": "completed"}, NADIA)
    assert (await letter(hub, "L2"))["status"] == "in-progress"


async def test_a_letter_with_the_birth_date_of_somebody_else_is_refused(hub: Room) -> None:
    other = builders_hl7.Person(ins=JEANNE.ins, local="", birth_date="19500101")
    answer = await hospital_document.receive(builders_hl7.an_mdm("L3", person=other), "test", hub)
    assert b"MSA|AE|" in answer
    assert b"|904^" in answer


async def reply(hub: Room, owner: str, *, sender: str = DOCTOR, mail_from: str = DOCTOR) -> str:
    """The status of a mail sent to the address that `owner` was given."""
    header = await conversation(hub, "nadia", "lefebvre", "claire", by=NADIA)
    task = (await hub.find("Task", focus=header, owner=f"PractitionerRole/{owner}", code="inbox"))[0]
    to = f"conv+{task['identifier'][0]['value']}@hub.demo.mssante.fr"
    raw = f"From: {sender}\r\nTo: {to}\r\nMessage-ID: <a@b>\r\nSubject: Re\r\n\r\nBonjour\r\n".encode()
    return (await mail_in.receive(raw, reception.Envelope(mail_from, (to,), "test", "smtp"), hub))[0]


@pytest.mark.parametrize(
    ("owner", "sender", "mail_from", "status"),
    [
        ("lefebvre", DOCTOR, DOCTOR, "250"),
        ("lefebvre", DOCTOR, "mallory@ailleurs.example", "550 5.7.1"),
        ("nadia", DOCTOR, DOCTOR, "550 5.7.1"),
        ("lefebvre", "conv@hub.demo.mssante.fr", "conv@hub.demo.mssante.fr", "550 5.7.1"),
    ],
    ids=["right", "handed in by another", "another's address", "the hub itself"],
)
async def test_a_mail_is_posted_only_for_who_handed_it_in(
    hub: Room, owner: str, sender: str, mail_from: str, status: str
) -> None:
    assert (await reply(hub, owner, sender=sender, mail_from=mail_from)).startswith(status)


async def test_the_delivery_worker_survives_a_database_that_does_not_answer(
    hub: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, asked = hub.store.lease, asyncio.Event()

    async def outage(*_words: Any) -> Any:
        asked.set()
        raise errors.Unavailable("la base ne répond pas")

    monkeypatch.setattr(deliver, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(hub.store, "lease", outage)
    worker = asyncio.create_task(deliver.run(hub, send.Smtp(port=1)))
    await asyncio.wait_for(asked.wait(), 5)
    await asyncio.sleep(0.05)
    asked.clear()
    monkeypatch.setattr(hub.store, "lease", lease)
    await asyncio.sleep(0.05)
    assert not worker.done()
    worker.cancel()
