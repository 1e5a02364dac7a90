"""Who joins a conversation reads of its past what was chosen; who leaves keeps theirs (MODEL-05, CONS-05)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server import access
from hub import people
from hub.room import Room
from hub.rules import members
from tests.hub import doors
from tests.hub.doors import (
    Api,
    a_consent,
    post,
    said,
    status,
)

NADIA, CLAIRE, KARIM, LGC = (f"PractitionerRole/{name}" for name in ("nadia", "claire", "karim", "lgc"))


@pytest.fixture
def api(hub: Room) -> Api:
    return Api(hub)


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
    extension = {"extension": [{"url": members.HISTORY, **rule}]} if rule else {}
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


async def test_a_letter_goes_to_the_circle_of_now_not_to_whoever_talks_about_the_patient(hub: Room, api: Api) -> None:
    patient = await doors.dossier(api, CLAIRE, NADIA)
    await post(api, "claire", a_conversation(patient, CLAIRE, LGC))
    assert await people.circle(patient, hub) == [CLAIRE, NADIA]
    async with api("claire") as client:
        found = (await client.get(f"/CareTeam?patient={patient}")).json()["entry"]
        team = next(one["resource"] for one in found if "category" not in one["resource"])
        team["participant"][1]["period"]["end"] = "2026-11-02"
        assert (await client.put(f"/CareTeam/{team['id']}", json=team)).status_code == 200
    assert await people.circle(patient, hub) == [CLAIRE]
