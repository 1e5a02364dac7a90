"""Mails of the small region as they leave and come back: the real flows, a scripted operator."""

from __future__ import annotations

from typing import Any

from fhir_server import access, changes
from hub import conversations
from hub.flows import deliver, mail_in
from hub.room import Room
from mss import address, compose, reception
from tests.mss.test_send import Server, listening

DOCTOR = "paul.lefebvre@demo.mssante.fr"
NADIA = access.person("PractitionerRole/nadia", "Practitioner/nadia", client="web")
MAILBOX = "conv@hub.demo.mssante.fr"
Resource = dict[str, Any]


async def conversation(hub: Room, *names: str, title: str = "Suivi") -> str:
    """A conversation about nobody, of Nadia with these."""
    members = [f"PractitionerRole/{name}" for name in ("nadia", *names)]
    header = conversations.header(title, patient=None, members=members, category="group")
    return await create(hub, header)


async def say(hub: Room, header: str, text: str) -> str:
    """Nadia writes."""
    sender = "PractitionerRole/nadia"
    return await create(
        hub, conversations.message(header, sender=sender, sent=hub.now(), text=text, documents=[], medium="app")
    )


async def create(hub: Room, body: Resource) -> str:
    id = hub.store.new_id(body["resourceType"], body)
    await hub.store.commit([changes.Create(body["resourceType"], id, body)], caller=NADIA)
    return f"{body['resourceType']}/{id}"


async def sent(hub: Room, server: Server | None = None) -> Server:
    """Every mail that is due leaves through this operator, one after the other."""
    server = server or Server(EHLO="250-x\n250 DSN")
    async with listening(server) as smtp:
        while work := await hub.store.lease(deliver.CONSUMER, 1, 30):
            await deliver.deliver(work[0], hub, smtp)
    return server


async def asked(hub: Room, *names: str, text: str = "Faut-il changer le pansement ?") -> tuple[str, Resource]:
    """A question of Nadia in a new conversation, sent by mail: the header and the delivery to the doctor."""
    header = await conversation(hub, *(names or ("lefebvre",)))
    await say(hub, header, text)
    await sent(hub)
    (task,) = await hub.find("Task", based_on=header, code="deliver", owner="PractitionerRole/lefebvre")
    return header, task


async def come(hub: Room, raw: bytes, *, to: str, mail_from: str = "") -> str:
    """A mail comes; the answer to its sender's server."""
    return (await mail_in.receive(raw, reception.Envelope(mail_from, (to,), "test", "smtp"), hub))[0]


async def reply_address(hub: Room, header: str, owner: str = "lefebvre") -> str:
    (task,) = await hub.find("Task", focus=header, owner=f"PractitionerRole/{owner}", code="inbox")
    return f"conv+{task['identifier'][0]['value']}@hub.demo.mssante.fr"


def return_address(hub: Room, task: Resource) -> str:
    return address.return_address(MAILBOX, hub.secret, task["id"])


def message_id(task: Resource) -> str:
    return compose.message_id(task["id"], MAILBOX)


async def texts(hub: Room, header: str) -> list[str]:
    """What the conversation says, oldest first."""
    found = await hub.find("Communication", part_of=header)
    return [one["payload"][0].get("contentString", "") for one in reversed(found)]
