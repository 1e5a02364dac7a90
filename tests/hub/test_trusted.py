"""Nobody but the hub writes what mails and letters are routed by."""

from __future__ import annotations

from typing import Any

import pytest

from common import errors
from fhir_server import access, changes
from hub import conversations, people
from hub.room import Room
from mapping import er7, systems, v2_identity
from tests.builders_hl7 import Person, an_mdm

KARIM = access.person("PractitionerRole/karim", "Practitioner/karim", client="web")
JEANNE = "248051220200170"


def identity(person: Person) -> v2_identity.PatientIdentity:
    segment = er7.read(an_mdm(person=person)).segment("PID")
    assert segment
    return v2_identity.read(segment, ins_authorities=systems.INS_WITH_TEST)


async def create(hub: Room, body: dict[str, Any]) -> str:
    id = hub.store.new_id(body["resourceType"], body)
    await hub.store.commit([changes.Create(body["resourceType"], id, body)], caller=KARIM)
    return f"{body['resourceType']}/{id}"


@pytest.mark.parametrize(
    "body",
    [
        {
            "resourceType": "PractitionerRole",
            "active": True,
            "telecom": [conversations.mssante("paul.lefebvre@demo.mssante.fr")],
        },
        {"resourceType": "Organization", "name": "Faux hôpital"},
        {"resourceType": "Patient", "identifier": [{"system": f"urn:oid:{systems.INS_TEST}", "value": JEANNE}]},
    ],
    ids=lambda body: body["resourceType"],
)
async def test_a_person_does_not_write_the_directory_or_national_numbers(hub: Room, body: dict[str, Any]) -> None:
    with pytest.raises(errors.Forbidden):
        await create(hub, body)


async def test_a_person_does_not_redirect_somebodys_mailbox(hub: Room) -> None:
    role = await hub.read("PractitionerRole/lefebvre")
    moved = {**role, "telecom": [conversations.mssante("karim@demo.mssante.fr")]}
    with pytest.raises(errors.Forbidden):
        await hub.store.commit([changes.Update("PractitionerRole", "lefebvre", moved)], caller=KARIM)


async def test_a_person_does_not_set_a_trap_for_the_next_letter(hub: Room) -> None:
    header = conversations.header("Piège", patient=None, members=["PractitionerRole/karim"], category="group")
    header["identifier"] = [{"system": systems.PATIENT_CONVERSATION, "value": "delmas-jeanne"}]
    with pytest.raises(errors.Forbidden):
        await create(hub, header)


async def test_a_local_number_written_by_a_person_attracts_no_letter(hub: Room) -> None:
    newcomer = identity(Person(ins="", local="IPP900001"))
    system = v2_identity.to_fhir(newcomer)["identifier"][0]["system"]
    trap = await create(hub, {"resourceType": "Patient", "identifier": [{"system": system, "value": "IPP900001"}]})
    found = await people.patient(newcomer, hub)
    assert found.made
    assert found.ref != trap


async def test_a_patient_is_known_again_by_ins_or_by_the_number_of_an_earlier_message(hub: Room) -> None:
    first = await people.patient(identity(Person(ins=JEANNE, local="IPP900002")), hub)
    assert (first.ref, first.made) == ("Patient/delmas-jeanne", False)
    await hub.store.commit(first.new, caller=access.SYSTEM)
    again = await people.patient(identity(Person(ins="", local="IPP900002")), hub)
    assert (again.ref, again.made) == ("Patient/delmas-jeanne", False)


async def test_numbers_of_two_patients_in_one_message_are_a_conflict(hub: Room) -> None:
    other = await people.patient(identity(Person(ins="", local="IPP900003")), hub)
    await hub.store.commit(other.new, caller=access.SYSTEM)
    with pytest.raises(errors.Conflict):
        await people.patient(identity(Person(ins=JEANNE, local="IPP900003")), hub)
