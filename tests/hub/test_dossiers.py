"""A dossier opens with a consent, has one dated circle, and closes with a withdrawal (DOS, CONS)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.rights import sharing
from hub.room import Room
from tests.hub import doors
from tests.hub.doors import (
    Api,
    a_circle,
    a_consent,
    a_note,
    an_episode,
    labelled,
    post,
    said,
    status,
    total,
    transaction,
)

NADIA, CLAIRE, KARIM, LGC = (f"PractitionerRole/{name}" for name in ("nadia", "claire", "karim", "lgc"))


@pytest.fixture
def api(hub: Room) -> Api:
    return Api(hub)


# ---- DOS-01, DOS-03


async def test_a_dossier_without_consent_is_refused_and_nothing_is_stored(api: Api) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "SANSACCORD"}]}
    bundle = transaction(patient, a_circle(doors.NEW, CLAIRE), an_episode(doors.NEW))
    async with api("claire") as client:
        answer = await client.post("", json=bundle)
    assert answer.status_code == 422
    assert "pas de dossier sans consentement" in said(answer)
    assert await total(api, "system", "/Patient?family=SANSACCORD") == 0


async def test_a_dossier_with_consent_opens_to_its_circle_alone(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    assert await status(api, "nadia", f"/{patient}") == 200
    assert await total(api, "nadia", f"/EpisodeOfCare?patient={patient}") == 1
    for other in ("karim", "lgc"):
        assert await status(api, other, f"/{patient}") == 404
        assert await total(api, other, f"/CareTeam?patient={patient}") == 0


async def test_a_patient_has_one_circle(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE)
    answer = await post(api, "claire", a_circle(patient, CLAIRE))
    assert answer.status_code == 409
    assert "CareTeam/" in said(answer)  # a member is told which


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"participant": [{"member": {"reference": "Practitioner/nadia"}, "period": {"start": "2026-11-01"}}]},
         "CareTeam.participant[0].member: un professionnel entre au cercle par sa situation d'exercice"),
        ({"participant": [{"member": {"reference": NADIA}}]}, "CareTeam.participant[0].period.start: date d'entrée"),
        ({"identifier": []}, "CareTeam.identifier: un identifiant"),
        ({"period": {}}, "CareTeam.period"),
        ({"name": ""}, "CareTeam.name"),
    ],
    ids=["bare practitioner", "undated member", "no number", "undated circle", "no name"],
)  # fmt: skip
async def test_a_circle_that_the_guide_does_not_allow_is_refused(
    api: Api, change: dict[str, Any], expected: str
) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "TEST"}]}
    team = {name: value for name, value in (a_circle(doors.NEW, CLAIRE) | change).items() if value}
    async with api("claire") as client:
        answer = await client.post("", json=transaction(patient, a_consent(doors.NEW), team))
    assert answer.status_code in (400, 422)
    assert expected in said(answer)


async def test_a_member_leaves_by_an_end_and_may_come_back(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    async with api("claire") as client:
        team = (await client.get(f"/CareTeam?patient={patient}")).json()["entry"][0]["resource"]
        gone = {**team, "participant": team["participant"][:1]}
        refused = await client.put(f"/CareTeam/{team['id']}", json=gone)
        assert "period.end" in said(refused)
        team["participant"][1]["period"]["end"] = "2026-11-02"
        assert (await client.put(f"/CareTeam/{team['id']}", json=team)).status_code == 200
        assert await status(api, "nadia", f"/{patient}") == 404
        team["participant"].append({"member": {"reference": NADIA}, "period": {"start": "2026-11-03"}})
        assert (await client.put(f"/CareTeam/{team['id']}", json=team)).status_code == 200
    assert await status(api, "nadia", f"/{patient}") == 200
    assert await status(api, "nadia", f"/CareTeam/{team['id']}/_history/1") == 200


async def test_a_structure_in_the_circle_brings_its_people_in(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, "Organization/cabinet-rodez")
    assert await status(api, "nadia", f"/{patient}") == 200
    assert await status(api, "lgc", f"/{patient}") == 404


async def test_who_is_not_of_the_circle_writes_nothing_into_the_dossier(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE)
    assert (await post(api, "nadia", a_note(patient))).status_code == 422  # for her there is no such patient
    mine = await post(api, "nadia", {"resourceType": "Patient", "name": [{"family": "AMOI"}]})
    own = f"Patient/{mine.json()['id']}"
    assert "réservé au cercle de soins" in said(await post(api, "nadia", a_note(own)))
    assert (await post(api, "nadia", labelled(a_note(own), "prive"))).status_code == 201


# ---- DOS-06


async def test_replacing_a_document_leaves_one_current_and_keeps_the_other(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    first = await post(api, "nadia", labelled(await a_document(api, "nadia", patient), "partage"))
    next_one = labelled(await a_document(api, "nadia", patient), "partage")
    target = {"reference": f"DocumentReference/{first.json()['id']}"}
    next_one["relatesTo"] = [{"code": "replaces", "target": target}]
    assert (await post(api, "nadia", next_one)).status_code == 201
    assert await total(api, "claire", f"/DocumentReference?patient={patient}&status=current") == 1
    assert await total(api, "claire", f"/DocumentReference?patient={patient}&status=superseded") == 1
    again = await post(api, "nadia", next_one)
    assert again.status_code == 409, said(again)
    assert (await post(api, "claire", next_one)).status_code == 403  # her profession writes no medical documents


async def a_document(api: Api, who: str, patient: str) -> dict[str, Any]:
    binary = await post(api, who, {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="})
    attachment = {"contentType": "text/plain", "url": f"Binary/{binary.json()['id']}"}
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": patient},
        "content": [{"attachment": attachment}],
    }


async def test_a_label_decides_who_gets_a_document_and_its_file_in_the_next_read(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA, KARIM)
    made = (await post(api, "nadia", labelled(await a_document(api, "nadia", patient), "prive"))).json()
    ref, file = f"/DocumentReference/{made['id']}", f"/{made['content'][0]['attachment']['url']}"

    async def seen() -> dict[str, tuple[int, int]]:
        return {who: (await status(api, who, ref), await status(api, who, file)) for who in ("claire", "karim")}

    assert await seen() == {"claire": (404, 404), "karim": (404, 404)}
    async with api("nadia") as client:
        for level, karim in (("partage", 404), ("public", 200), ("prive", 404)):
            assert (await client.put(ref, json=labelled(made, level))).status_code == 200
            claire = 404 if level == "prive" else 200
            # A social worker does not read medical documents, whatever is public everybody in the circle does.
            assert await seen() == {"claire": (claire, claire), "karim": (karim, karim)}, level
    async with api("claire") as client:
        refused = await client.put(ref, json=labelled(made, "public"))
    assert refused.status_code in (403, 404)


async def test_a_file_does_not_reach_another_patients_circle(api: Api) -> None:
    one, other = await doors.dossier(api, CLAIRE, NADIA), await doors.dossier(api, CLAIRE, NADIA)
    document = labelled(await a_document(api, "nadia", one), "partage")
    assert (await post(api, "nadia", document)).status_code == 201
    refused = await post(api, "nadia", {**document, "subject": {"reference": other}})
    assert "celui d'un autre patient" in said(refused)


# ---- CONS


@pytest.mark.parametrize("written", [False, True], ids=["oral", "written"])
async def test_both_forms_of_consent_are_readable(api: Api, written: bool) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    body = a_consent(patient)
    if written:
        del body["verification"]
        file = await post(api, "claire", {"resourceType": "Binary", "contentType": "image/jpeg", "data": "eA=="})
        body["sourceReference"] = {"reference": f"DocumentReference/{file.json()['id']}"}
    made = await post(api, "claire", body)
    assert made.status_code == 201, said(made)
    assert await status(api, "nadia", f"/Consent/{made.json()['id']}") == 200
    body.pop("verification", None)
    body.pop("sourceReference", None)
    assert "recueilli" in said(await post(api, "claire", body))


@pytest.mark.parametrize("whom", [NADIA, "Practitioner/nadia", "Organization/cabinet-rodez"])
async def test_whom_the_patient_does_not_want_finds_nothing_at_any_door(api: Api, whom: str) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = await post(api, "nadia", a_note(patient))
    assert await status(api, "nadia", f"/{patient}") == 200
    assert (await post(api, "claire", a_consent(patient, "exclusion-professionnel", actors=(whom,)))).status_code == 201
    for url in (f"/{patient}", f"/Condition/{note.json()['id']}", f"/{patient}/$everything", f"/{patient}/$dossier"):
        assert await status(api, "nadia", url) == 404, url
    assert await total(api, "nadia", f"/Condition?patient={patient}") == 0
    assert await total(api, "nadia", "/Patient?family=TEST") == 0
    assert await status(api, "claire", f"/Condition/{note.json()['id']}") == 200
    assert (await post(api, "nadia", a_note(patient))).status_code == 422
    # Nor may she lift it, or read that it is there.
    assert await total(api, "nadia", f"/Consent?patient={patient}") == 0


async def test_withdrawing_closes_to_all_but_authors_and_a_new_consent_opens_again(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", a_note(patient))).json()
    async with api("nadia") as client:
        consent = (await client.get(f"/Consent?patient={patient}")).json()["entry"][0]["resource"]
        ended = await client.put(f"/Consent/{consent['id']}", json={**consent, "status": "inactive"})
        assert ended.status_code == 200, said(ended)
    assert await status(api, "claire", f"/Condition/{note['id']}") == 404
    assert await status(api, "nadia", f"/Condition/{note['id']}") == 200  # hers to keep
    assert await status(api, "nadia", f"/{patient}") == 404
    assert "consentement" in said(await post(api, "nadia", a_note(patient)))
    assert (await post(api, "nadia", a_consent(patient))).status_code == 201
    assert await status(api, "claire", f"/Condition/{note['id']}") == 200


async def test_a_decision_stays_as_it_was_said(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    async with api("nadia") as client:
        consent = (await client.get(f"/Consent?patient={patient}")).json()["entry"][0]["resource"]
        widened = {**consent, "provision": {"type": "deny"}}
        assert (await client.put(f"/Consent/{consent['id']}", json=widened)).status_code == 403
        assert (await client.delete(f"/Consent/{consent['id']}")).status_code == 403


# ---- what somebody would try


async def test_nobody_opens_a_door_for_themselves(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    header = {
        "resourceType": "Communication",
        "status": "in-progress",
        "category": [
            {"coding": [{"system": "https://spico-hub.example/fhir/CodeSystem/conversation", "code": "patient"}]}
        ],
        "topic": {"text": "Suivi"},
        "subject": {"reference": patient},
        "recipient": [{"reference": CLAIRE}, {"reference": LGC}],
    }
    assert (await post(api, "claire", header)).status_code == 201
    # The doctor now knows who the patient is, and is not of the circle.
    assert await status(api, "lgc", f"/{patient}") == 200
    for decision in (a_consent(patient), a_consent(patient, "exclusion-professionnel", actors=(CLAIRE,))):
        assert (await post(api, "lgc", decision)).status_code == 403
    assert (await post(api, "lgc", a_circle(patient, LGC))).status_code == 409
    emergency = {
        "resourceType": "Task",
        "status": "in-progress",
        "intent": "order",
        "code": {"coding": [{"system": sharing.TASK, "code": sharing.EMERGENCY}]},
        "for": {"reference": patient},
        "owner": {"reference": LGC},
        "restriction": {"period": {"start": "2020-01-01", "end": "2099-01-01"}},
    }
    assert (await post(api, "lgc", emergency)).status_code == 403
    async with api("lgc") as client:
        team = (await client.get("/CareTeam?category=conversation")).json()["entry"][0]["resource"]
        turned = {name: value for name, value in a_circle(patient, LGC).items() if name != "resourceType"}
        own = {**turned, "resourceType": "CareTeam", "id": team["id"]}
        assert (await client.put(f"/CareTeam/{team['id']}", json=own)).status_code == 403


async def test_a_decision_against_somebody_names_them(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    vague = a_consent(patient, "opposition", actors=(NADIA,))
    vague["provision"]["actor"][0]["reference"] = {"display": "Nadia"}
    assert "Consent.provision.actor" in said(await post(api, "claire", vague))
