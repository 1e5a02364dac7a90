"""What does a health package by mail become in a patient's conversation? (MSS-07, action slot and CDA link)"""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest

from hub import conversations
from hub.flows import mail_in
from hub.room import Room
from tests.builders_hl7 import Person, a_cda, a_pdf
from tests.hub import mailing
from tests.hub.mailing import DOCTOR
from tests.mss import packages

Resource = dict[str, Any]
PRACTICE = "cabinet.demonstration@demo.mssante.fr"
JEANNE = "Patient/delmas-jeanne"


async def about_jeanne(hub: Room) -> str:
    """A conversation about her, of Nadia with the doctor."""
    members = ["PractitionerRole/nadia", "PractitionerRole/lefebvre"]
    header = conversations.header("Suivi", patient=JEANNE, members=members, category="patient")
    return await mailing.create(hub, header)


async def jeanne(hub: Room) -> Person:
    """As the documents name her."""
    held = await hub.read(JEANNE)
    name = held["name"][0]
    return Person(
        family=name["family"],
        given=name["given"][0],
        birth_date=held["birthDate"].replace("-", ""),
        gender=held["gender"][0].upper(),
        ins=held["identifier"][0]["value"],
        local="",
    )


def mail(package: bytes, *others: tuple[str, str, bytes], text: str = "Voici le document.") -> bytes:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = DOCTOR, mailing.MAILBOX, "XDM/1.0/DDM+Lettre"
    letter["Message-ID"] = f"<{hash((package, others, text)) & 0xFFFFFF}@demo.mssante.fr>"
    letter.set_content(text)
    letter.add_attachment(package, maintype="application", subtype="zip", filename="IHE_XDM.zip")
    for name, media_type, data in others:
        main, _, sub = media_type.partition("/")
        letter.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return letter.as_bytes()


async def sent(hub: Room, header: str, raw: bytes) -> str:
    to = await mailing.reply_address(hub, header)
    return await mailing.come(hub, raw, to=to, mail_from=DOCTOR)


async def documents(hub: Room) -> list[Resource]:
    """Her documents, oldest first."""
    found = await hub.find("DocumentReference", patient=JEANNE)
    return sorted(found, key=lambda one: str(one["meta"]["lastUpdated"]))


async def held(hub: Room) -> list[str]:
    """Why mails wait for a person."""
    return [one.cause for one in await hub.store.journal_list(50, mail_in.HELD)]


async def test_its_document_joins_the_conversation_with_what_its_header_says(hub: Room) -> None:
    header, pdf = await about_jeanne(hub), a_pdf()
    raw = a_cda("D1", person=await jeanne(hub), pdf=pdf)
    await mailing.say(hub, header, "Avez-vous la lettre ?")
    copy = ("lettre.pdf", "application/pdf", pdf)
    assert (await sent(hub, header, mail(packages.a_package(raw), copy))).startswith("250")
    (document,) = await documents(hub)
    assert document["description"] == "Lettre de liaison à la sortie"
    assert document["type"]["coding"][0]["code"] == "34112-3"
    assert document["author"][-1] == {"reference": "PractitionerRole/lefebvre"}
    assert [one["attachment"]["contentType"] for one in document["content"]] == ["application/pdf", "text/xml"]
    message = (await hub.find("Communication", part_of=header))[0]
    assert message["payload"][1]["contentReference"]["reference"] == f"DocumentReference/{document['id']}"
    assert await hub.store.read("DocumentReference", document["id"], caller=mailing.NADIA), "a member reads it"


async def test_the_same_package_again_brings_the_same_document(hub: Room) -> None:
    header = await about_jeanne(hub)
    package = packages.a_package(a_cda("D1", person=await jeanne(hub)))
    for text in ("une", "deux"):
        assert (await sent(hub, header, mail(package, text=text))).startswith("250")
    assert len(await documents(hub)) == 1
    assert (await mailing.texts(hub, header))[-2:] == ["une", "deux"]


async def test_a_new_version_supersedes_the_earlier_one(hub: Room) -> None:
    header, person = await about_jeanne(hub), await jeanne(hub)
    await sent(hub, header, mail(packages.a_package(a_cda("D1", person=person))))
    newer = a_cda("D2", person=person, replaces="D1")
    await sent(hub, header, mail(packages.a_package(newer, action="C")))
    first, second = sorted(await documents(hub), key=lambda one: "relatesTo" in one)
    assert (first["status"], second["status"]) == ("superseded", "current")
    assert second["relatesTo"][0]["target"] == {"reference": f"DocumentReference/{first['id']}"}


async def test_a_replacement_of_what_never_came_is_filed_and_names_it(hub: Room) -> None:
    header, person = await about_jeanne(hub), await jeanne(hub)
    newer = a_cda("D2", person=person, replaces="D1")
    assert (await sent(hub, header, mail(packages.a_package(newer, action="C")))).startswith("250")
    (document,) = await documents(hub)
    assert document["relatesTo"][0]["target"]["identifier"]["value"] == "D1"


async def test_its_sender_withdraws_a_document(hub: Room) -> None:
    header = await about_jeanne(hub)
    raw = a_cda("D1", person=await jeanne(hub))
    await sent(hub, header, mail(packages.a_package(raw)))
    await sent(hub, header, mail(packages.a_package(raw, action="D"), text=" "))
    (document,) = await documents(hub)
    assert document["status"] == "entered-in-error"
    assert (await mailing.texts(hub, header))[-1] == "Document retiré : Lettre de liaison à la sortie"


async def test_a_package_about_somebody_else_waits_for_a_person_and_shows_nothing(hub: Room) -> None:
    header = await about_jeanne(hub)
    before = await mailing.texts(hub, header)
    other = a_cda("D1", person=Person(ins="255069912345671", local=""))
    assert (await sent(hub, header, mail(packages.a_package(other)))).startswith("250")
    assert await mailing.texts(hub, header) == before
    assert any("902" in cause for cause in await held(hub))


@pytest.mark.parametrize(
    ("document", "action", "cause"),
    [
        ({"document_id": "D9"}, "D", "900"),
        ({"document_id": "D1", "title": "Autre"}, "", "identifiant"),
        ({"document_id": "D2", "replaces": "D1"}, "", "remplacer"),
        ({"document_id": "D3", "person": {"ins": ""}}, "", "903"),
        ({"document_id": "D3", "person": {"birth_date": "19500101"}}, "", "904"),
    ],
)
async def test_what_the_hub_must_not_decide_waits_for_a_person(
    hub: Room, document: dict[str, Any], action: str, cause: str
) -> None:
    header, person = await about_jeanne(hub), await jeanne(hub)
    await sent(hub, header, mail(packages.a_package(a_cda("D1", person=person))))
    before = await documents(hub)
    changed = {one: getattr(person, one) for one in ("family", "given", "birth_date", "gender", "ins", "local")}
    named = Person(**changed | {"local": "IPP1"} | document.pop("person", {}))
    raw = a_cda(**document, person=named)
    assert (await sent(hub, header, mail(packages.a_package(raw, action=action)))).startswith("250")
    assert await documents(hub) == before
    assert any(cause in one for one in await held(hub))


async def test_a_spoilt_package_is_refused_with_a_reason_and_stays_in_the_journal(hub: Room) -> None:
    header = await about_jeanne(hub)
    raw = a_cda("D1", person=await jeanne(hub))
    metadata = "IHE_XDM/SUBSET01/DOC0001.XML"
    spoilt = packages.changed(packages.a_package(raw), {metadata: raw.replace(b"Lettre", b"lettre", 1)})
    answer = await sent(hub, header, mail(spoilt))
    assert answer.startswith("554")
    assert "empreinte" in answer
    assert await documents(hub) == []


async def test_what_another_sender_filed_is_out_of_reach(hub: Room) -> None:
    members = [f"PractitionerRole/{name}" for name in ("nadia", "lefebvre", "lgc")]
    header = await mailing.create(
        hub, conversations.header("Suivi", patient=JEANNE, members=members, category="patient")
    )
    raw = a_cda("D1", person=await jeanne(hub))
    await sent(hub, header, mail(packages.a_package(raw)))
    deletion = mail(packages.a_package(raw, action="D")).replace(DOCTOR.encode(), PRACTICE.encode())
    to = await mailing.reply_address(hub, header, "lgc")
    assert (await mailing.come(hub, deletion, to=to, mail_from=PRACTICE)).startswith("250")
    (document,) = await documents(hub)
    assert document["status"] == "current"
    assert any("900" in one for one in await held(hub))
