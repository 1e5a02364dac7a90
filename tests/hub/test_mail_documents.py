"""What package does a document of a conversation travel in, and would its receiver take it? (MSS-07)"""

from __future__ import annotations

import email
from base64 import b64encode
from email.message import EmailMessage, Message
from email.policy import SMTP
from typing import Any

import pytest

from fhir_server import access, changes
from hub import conversations
from hub.room import Room
from mapping import codes, systems
from mss import xdm
from tests.builders_hl7 import a_cda, a_pdf
from tests.hub import mailing
from tests.hub.test_mail_packages import JEANNE, about_jeanne, jeanne, mail, sent
from tests.mss import packages

Resource = dict[str, Any]
CONSULTATION = {
    "coding": [{"system": systems.LOINC, "code": "11488-4", "display": "CR ou fiche de consultation ou de visite"}]
}


async def deposited(hub: Room, header: str, **more: Any) -> str:
    """Nadia's PDF about Jeanne, in the conversation."""
    subject = conversations.reference(JEANNE)
    pdf = {"resourceType": "Binary", "contentType": "application/pdf", "securityContext": subject}
    file = await mailing.create(hub, pdf | {"data": b64encode(a_pdf()).decode()})
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": CONSULTATION,
        "subject": subject,
        "date": "2026-11-20T10:00:00+01:00",
        "author": [conversations.reference("PractitionerRole/nadia")],
        "description": "Compte rendu de visite",
        "content": [{"attachment": {"contentType": "application/pdf", "url": file}}],
        "context": {"related": [conversations.reference(header)]},
    }
    return await mailing.create(hub, {key: value for key, value in (document | more).items() if value is not None})


async def told(hub: Room, header: str, *documents: str) -> EmailMessage:
    """The mail that the doctor gets when Nadia sends these."""
    post = conversations.message(
        header,
        sender="PractitionerRole/nadia",
        sent=hub.now(),
        text="Voici mon compte rendu.",
        documents=documents,
        medium="app",
    )
    await mailing.create(hub, post | {"subject": conversations.reference(JEANNE)})
    server = await mailing.sent(hub)
    found = email.message_from_bytes(server.mails[-1], policy=SMTP)
    assert isinstance(found, EmailMessage)
    return found


def parts(found: Message) -> dict[str, bytes]:
    return {
        str(one.get_filename()): bytes(one.get_payload(decode=True) or b"")
        for one in found.walk()
        if one.get_filename()
    }


async def qualified(hub: Room) -> None:
    """Her identity is validated."""
    held = await hub.read(JEANNE)
    coding = {"system": systems.FR_RELIABILITY, "code": "VALI"}
    status = {
        "url": systems.FR_IDENTITY_RELIABILITY,
        "extension": [{"url": "identityStatus", "valueCoding": coding}],
    }
    change = changes.Update("Patient", held["id"], held | {"extension": [status]}, int(held["meta"]["versionId"]))
    await hub.store.commit([change], caller=access.SYSTEM)


async def test_a_typed_pdf_travels_in_a_package_with_its_copy(hub: Room) -> None:
    await qualified(hub)
    header = await about_jeanne(hub)
    found = await told(hub, header, await deposited(hub, header))
    assert found["Subject"] == ("XDM/1.0/DDM+CR ou fiche de consultation ou de visite DELMAS JEANNE 12/05/1948")
    assert (found["X-MSS-CODECDA"], found["X-MSS-INS"]) == ("11488-4", "O")
    assert set(parts(found)) == {"IHE_XDM.zip", "Compte rendu de visite.pdf"}
    (document,) = xdm.open(parts(found)["IHE_XDM.zip"]).documents
    read = document.content
    assert read.body
    assert read.body.data == parts(found)["Compte rendu de visite.pdf"]
    assert (read.header.title, read.header.written) == ("Compte rendu de visite", "2026-11-20T10:00:00+01:00")
    assert read.header.patient.ids[0].extension == "248051220200170"
    author = read.header.authors[0]
    assert (author.family, author.id and author.id.extension) == ("ROUX", "899700000018")
    assert author.organization
    assert author.organization.id
    assert author.organization.id.extension == "1129900016"


async def test_what_is_restricted_or_hidden_stays_so_on_the_way(hub: Room) -> None:
    header = await about_jeanne(hub)
    (hidden,) = [row for row in codes.rows("visibility") if row.source_code == "INVISIBLE_REP_LEGAUX"]
    labels = [
        conversations.concept(systems.CONFIDENTIALITY, "R"),
        conversations.concept(hidden.target_system, hidden.target_code),
    ]
    found = await told(hub, header, await deposited(hub, header, securityLabel=labels))
    (document,) = xdm.open(parts(found)["IHE_XDM.zip"]).documents
    assert document.content.header.confidentiality == "R"
    assert [one.code for one in document.entry.confidentiality] == ["R", "INVISIBLE_REPRESENTANTS_LEGAUX"]


async def test_without_a_qualified_identity_no_ins_leaves(hub: Room) -> None:
    header = await about_jeanne(hub)
    found = await told(hub, header, await deposited(hub, header))
    assert found["X-MSS-INS"] == "N"
    package = parts(found)["IHE_XDM.zip"]
    (document,) = xdm.open(package).documents
    assert b"248051220200170" not in document.raw
    assert [one.extension for one in document.content.header.patient.ids] == ["delmas-jeanne"]


@pytest.mark.parametrize("lacking", [{"type": None}, {"author": [{"reference": "PractitionerRole/karim"}]}])
async def test_what_no_cda_can_be_made_of_travels_as_the_file_alone(hub: Room, lacking: dict[str, Any]) -> None:
    header = await about_jeanne(hub)
    if "author" in lacking:
        lacking["author"].append(conversations.reference("PractitionerRole/nadia"))
    found = await told(hub, header, await deposited(hub, header, **lacking))
    assert list(parts(found)) == ["Compte rendu de visite.pdf"]
    assert found["X-MSS-CODECDA"] is None
    assert found["X-MSS-INS"] is None
    assert "XDM" not in found["Subject"]


async def test_a_new_version_says_what_it_replaces_in_both_signals(hub: Room) -> None:
    header = await about_jeanne(hub)
    first = await deposited(hub, header)
    sent_first = xdm.open(parts(await told(hub, header, first))["IHE_XDM.zip"]).documents[0]
    target = {"code": "replaces", "target": conversations.reference(first)}
    second = await deposited(hub, header, relatesTo=[target])
    sent_second = xdm.open(parts(await told(hub, header, second))["IHE_XDM.zip"]).documents[0]
    old, new = sent_first.content.header, sent_second.content.header
    assert sent_second.entry.action == "C"
    assert [one.id for one in new.parents] == [old.id]
    assert (new.set_id, new.version) == (old.set_id, "2")


async def test_a_cda_that_came_leaves_unchanged(hub: Room) -> None:
    header = await about_jeanne(hub)
    raw = a_cda("D1", person=await jeanne(hub))
    await sent(hub, header, mail(packages.a_package(raw)))
    (document,) = await hub.find("DocumentReference", patient=JEANNE)
    found = await told(hub, header, f"DocumentReference/{document['id']}")
    assert xdm.open(parts(found)["IHE_XDM.zip"]).documents[0].raw == raw


async def test_our_package_comes_back_and_is_taken(hub: Room) -> None:
    await qualified(hub)
    header = await about_jeanne(hub)
    package = parts(await told(hub, header, await deposited(hub, header)))["IHE_XDM.zip"]
    assert (await sent(hub, header, mail(package, text="Bien reçu."))).startswith("250")
    (message, *_) = await hub.find("Communication", part_of=header)
    assert message["payload"][0]["contentString"] == "Bien reçu."
    assert len(await hub.find("DocumentReference", patient=JEANNE)) == 2
