"""A dossier opens with a consent, has one dated circle, and shows each member what their rights give (DOS, CONS)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_server import access
from fhir_server.rights import sharing
from hub.rights import matrix
from hub.room import Room
from tests.hub import doors
from tests.hub.doors import Api, a_circle, a_consent, an_episode, said, transaction

NADIA, CLAIRE, KARIM, LGC = (f"PractitionerRole/{name}" for name in ("nadia", "claire", "karim", "lgc"))


@pytest.fixture
def api(hub: Room) -> Api:
    return Api(hub)


async def post(api: Api, who: str, body: dict[str, Any]) -> Any:
    async with api(who) as client:
        return await client.post(f"/{body['resourceType']}", json=body)


async def status(api: Api, who: str, url: str) -> int:
    async with api(who) as client:
        return (await client.get(url)).status_code


async def total(api: Api, who: str, url: str) -> int:
    async with api(who) as client:
        return int((await client.get(f"{url}&_total=accurate")).json()["total"])


def labelled(body: dict[str, Any], level: str) -> dict[str, Any]:
    return {**body, "meta": {"security": [{"system": sharing.LEVEL, "code": level}]}}


def a_note(patient: str, text: str = "RAS") -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "subject": {"reference": patient},
        "code": {"text": text},
    }


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


# ---- ACC-12

RESOURCES: dict[str, dict[str, Any]] = {
    "identite": {"resourceType": "Coverage", "status": "active", "beneficiary": {}, "payor": [{"display": "x"}]},
    "coordination": {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {}},
    "liaison": {"resourceType": "DocumentReference", "status": "current", "subject": {},
                "type": {"coding": [{"system": sharing.LIAISON_NOTE, "code": "OBS"}]},
                "content": [{"attachment": {"contentType": "text/plain", "data": "eA=="}}]},
    "medical": {"resourceType": "Condition", "subject": {}},
    "traitement": {"resourceType": "MedicationStatement", "status": "active", "subject": {},
                   "medicationCodeableConcept": {"text": "x"}},
    "biologie": {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"}, "subject": {}},
    "social": {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {},
               "category": [{"coding": [{"code": "social-history"}]}]},
    "formulaire": {"resourceType": "QuestionnaireResponse", "status": "completed", "subject": {}},
}  # fmt: skip


async def test_the_matrix_is_what_the_api_does_in_every_cell(hub: Room, api: Api) -> None:
    lines = list(matrix.lines().values())
    roles = {line.profession: f"m{n}" for n, line in enumerate(lines)}
    async with api("system") as client:
        for profession, id in roles.items():
            code = {
                "coding": [
                    {
                        "system": "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante",
                        "code": profession,
                    }
                ]
            }
            body = {"resourceType": "PractitionerRole", "id": id, "active": True, "code": [code]}
            assert (await client.put(f"/PractitionerRole/{id}", json=body)).status_code == 201
    members = [f"PractitionerRole/{id}" for id in roles.values()]
    patient = await doors.dossier(api, CLAIRE, *members)
    for kind, body in RESOURCES.items():
        about = {name: {"reference": patient} if value == {} else value for name, value in body.items()}
        async with api("system") as client:
            made = await client.post(f"/{body['resourceType']}", json=about)
        assert made.status_code == 201, said(made)
        for line in lines:
            who = roles[line.profession]
            reads = await status(api, who, f"/{body['resourceType']}/{made.json()['id']}") == 200
            writes = (await post(api, who, about)).status_code == 201
            assert (reads, writes) == (line.may("read", kind), line.may("write", kind)), (line.profession, kind)


# ---- CONS-04, CONS-06, CONS-08


async def test_the_preview_is_what_happens(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA, KARIM, LGC)
    names = ("claire", "nadia", "karim", "lgc")
    for kind in ("medical", "social", "liaison", "traitement"):
        for level in sharing.LEVELS:
            async with api("claire") as client:
                asked = await client.get(f"/{patient}/$who-sees?level={level}&kind={kind}")
            parts = [one["part"] for one in asked.json()["parameter"]]
            said_to = {one[0]["valueReference"]["reference"]: one[1]["valueBoolean"] for one in parts}
            about = {name: {"reference": patient} if value == {} else value for name, value in RESOURCES[kind].items()}
            async with api("system") as client:
                # As if Claire had written it, whatever her profession writes.
                id = f"w-{kind}-{level}"
                await client.put(f"/{about['resourceType']}/{id}", json=labelled({**about, "id": id}, level))
            if level in ("prive", "structure"):
                assert said_to[CLAIRE] and not said_to[NADIA]
                assert said_to[KARIM] is (level == "structure")  # both work at the DAC
                continue
            seen = {
                f"PractitionerRole/{n}": await status(api, n, f"/{about['resourceType']}/{id}") == 200 for n in names
            }
            assert seen == said_to, (kind, level)


async def explained(api: Api, patient: str, actor: str, resource: str = "", by: str = "claire") -> dict[str, bool]:
    async with api(by) as client:
        answer = await client.get(
            f"/{patient}/$explain-access",
            params={"actor": actor, "resource": resource} if resource else {"actor": actor},
        )
    assert answer.status_code == 200, said(answer)
    parts = answer.json()["parameter"]
    found = {one["name"]: one["valueBoolean"] for one in parts if "valueBoolean" in one}
    for one in parts:
        if one["name"] == "reason":
            values = {part["name"]: part for part in one["part"]}
            found[values["rule"]["valueCode"]] = values["holds"]["valueBoolean"]
    return found


async def test_each_rule_is_explained(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA, KARIM)
    note = (await post(api, "nadia", a_note(patient))).json()
    ref = f"Condition/{note['id']}"
    assert await explained(api, patient, NADIA, ref) == {
        "sees": True, "auteur": True, "cercle": True, "consentement": True}  # fmt: skip
    assert await explained(api, patient, KARIM, ref) == {
        "sees": False, "profession": False, "cercle": True, "consentement": True}  # fmt: skip
    assert (await explained(api, patient, LGC, ref))["cercle"] is False
    secret = (await post(api, "claire", labelled(a_plan(patient), "prive"))).json()
    assert (await explained(api, patient, NADIA, f"CarePlan/{secret['id']}"))["partage"] is False
    await post(api, "claire", a_consent(patient, "exclusion-professionnel", actors=(NADIA,)))
    found = await explained(api, patient, NADIA, ref)
    assert (found["sees"], found["exclusion"]) == (False, True)
    await post(api, "claire", a_consent(patient, "partage-hors-equipe", deny=True))
    assert (await explained(api, patient, KARIM))["sortie"] is True


def a_plan(patient: str) -> dict[str, Any]:
    return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": patient}}


async def test_only_the_circle_is_told_who_may_see_what(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE)
    assert await status(api, "nadia", f"/{patient}/$explain-access?actor={CLAIRE}") == 404
    assert await status(api, "nadia", f"/{patient}/$who-sees?level=partage&kind=medical") == 404


async def test_an_emergency_opens_for_a_time_is_told_and_reviewed(
    hub: Room, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    note = (await post(api, "nadia", a_note(patient))).json()
    assert await status(api, "lgc", f"/Condition/{note['id']}") == 404
    reason = {
        "resourceType": "Parameters",
        "parameter": [{"name": "reason", "valueString": "Malaise au cabinet, antécédents inconnus"}],
    }
    async with api("lgc") as client:
        assert (
            await client.post(f"/{patient}/$emergency-access", json={"resourceType": "Parameters"})
        ).status_code == 400
        answer = await client.post(f"/{patient}/$emergency-access", json=reason)
        assert answer.status_code == 200, said(answer)
    assert await status(api, "lgc", f"/Condition/{note['id']}") == 200
    assert await total(api, "nadia", f"/Communication?patient={patient}&part-of:missing=false") == 1
    assert await total(api, "claire", f"/Task?patient={patient}&code=emergency-review&status=requested") == 1
    assert (await explained(api, patient, LGC, f"Condition/{note['id']}"))["urgence"] is True
    async with api("karim") as client:  # who does not treat has no emergency
        assert (await client.post(f"/{patient}/$emergency-access", json=reason)).status_code == 403
    later = hub.now() + timedelta(hours=hub.settings.emergency_hours + 0.1)
    monkeypatch.setattr(hub.store, "now", lambda: later)
    assert await status(api, "lgc", f"/Condition/{note['id']}") == 404


async def test_nobody_breaks_in_on_a_patient_who_refused_them(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    await post(api, "claire", a_consent(patient, "exclusion-professionnel", actors=(LGC,)))
    reason = {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": "Malaise au cabinet"}]}
    async with api("lgc") as client:
        assert (await client.post(f"/{patient}/$emergency-access", json=reason)).status_code == 404


# ---- conversations


async def test_a_conversation_does_not_take_in_whom_the_patient_refused(api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    await post(api, "claire", a_consent(patient, "exclusion-professionnel", actors=("Practitioner/lgc",)))
    header = a_conversation(patient, CLAIRE, LGC)
    refused = await post(api, "claire", header)
    assert refused.status_code == 422
    assert "Communication.recipient[1]: le patient s'est opposé" in said(refused)


def a_conversation(patient: str, *members: str) -> dict[str, Any]:
    kind = {"coding": [{"system": "https://spico-hub.example/fhir/CodeSystem/conversation", "code": "patient"}]}
    return {
        "resourceType": "Communication",
        "status": "in-progress",
        "category": [kind],
        "topic": {"text": "Suivi"},
        "subject": {"reference": patient},
        "recipient": [{"reference": one} for one in members],
    }


def a_message(header: str, text: str) -> dict[str, Any]:
    return {
        "resourceType": "Communication",
        "status": "completed",
        "partOf": [{"reference": header}],
        "payload": [{"contentString": text}],
    }


@pytest.mark.parametrize(
    ("rule", "old"),
    [(None, 404), ({"valueCode": "from-joining"}, 404), ({"valueCode": "all"}, 200), ({"valueDate": "2020-01-01"}, 200),
     ({"valueDate": "2099-01-01"}, 404)],
    ids=["nothing said", "from joining", "all", "from a date", "from a later date"],
)  # fmt: skip
async def test_a_new_member_reads_of_the_past_what_the_adder_chose(
    api: Api, rule: dict[str, str] | None, old: int
) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA, LGC)
    header = (await post(api, "claire", a_conversation(patient, CLAIRE, NADIA))).json()
    first = (await post(api, "claire", a_message(f"Communication/{header['id']}", "un"))).json()
    extension = (
        {"extension": [{"url": "https://spico-hub.example/fhir/StructureDefinition/history", **rule}]} if rule else {}
    )
    header["recipient"].append({"reference": LGC, **extension})
    async with api("claire") as client:
        current = (await client.get(f"/Communication/{header['id']}")).json()
        done = await client.put(f"/Communication/{header['id']}", json={**current, "recipient": header["recipient"]})
        assert done.status_code == 200, said(done)
    second = (await post(api, "claire", a_message(f"Communication/{header['id']}", "deux"))).json()
    assert await status(api, "lgc", f"/Communication/{first['id']}") == old
    assert await status(api, "lgc", f"/Communication/{second['id']}") == 200
    async with api("lgc") as client:  # leaves: keeps what was exchanged meanwhile, hears nothing more
        current = (await client.get(f"/Communication/{header['id']}")).json()
        rest = [one for one in current["recipient"] if one["reference"] != LGC]
        assert (
            await client.put(f"/Communication/{header['id']}", json={**current, "recipient": rest})
        ).status_code == 200
    third = (await post(api, "claire", a_message(f"Communication/{header['id']}", "trois"))).json()
    assert await status(api, "lgc", f"/Communication/{second['id']}") == 200
    assert await status(api, "lgc", f"/Communication/{third['id']}") == 404
    async with api("claire") as client:
        team = (await client.get("/CareTeam?category=conversation")).json()["entry"][0]["resource"]
    mine = [one["period"] for one in team["participant"] if one["member"]["reference"] == LGC]
    assert len(mine) == 1 and {"start", "end"} == mine[0].keys()


async def test_mail_to_whom_the_patient_refused_is_held_back_and_the_ledger_says_so(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    mailed = "PractitionerRole/lefebvre"
    header = (await post(api, "claire", a_conversation(patient, CLAIRE, NADIA, mailed))).json()
    await post(api, "claire", a_consent(patient, "exclusion-professionnel", actors=(mailed,)))
    await post(api, "claire", a_message(f"Communication/{header['id']}", "un"))
    tasks = await hub.find("Task", code="deliver", patient=patient)
    assert [one["businessStatus"]["coding"][0]["code"] for one in tasks] == ["retenu"]
    assert "opposition du patient" in tasks[0]["output"][0]["valueString"]
    assert not await hub.store.many([f"Task/{tasks[0]['id']}"], caller=access.person(mailed, "Practitioner/lefebvre"))
