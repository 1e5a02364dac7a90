"""Who sees what is a matrix, can be asked beforehand and explained, and opens in an emergency (ACC-12, CONS)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_server.rights import sharing
from hub.rights import matrix
from hub.room import Room
from tests.hub import doors
from tests.hub.doors import (
    Api,
    a_consent,
    a_note,
    labelled,
    post,
    said,
    status,
    total,
)

NADIA, CLAIRE, KARIM, LGC = (f"PractitionerRole/{name}" for name in ("nadia", "claire", "karim", "lgc"))


@pytest.fixture
def api(hub: Room) -> Api:
    return Api(hub)


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
