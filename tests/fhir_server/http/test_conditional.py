"""Conditional create over HTTP: R4 http.html#ccreate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from fhir_server import conditional
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import a_patient, entries, identified, issue

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

CRITERIA = "identifier=http://x.test/ipp|000003"
HEADERS = {"If-None-Exist": CRITERIA}


def body(**more: object) -> dict[str, object]:
    return a_patient(**{"identifier": identified("000003"), **more})


async def test_nothing_found_creates_and_one_found_is_given_back(fhir: Client) -> None:
    first = await fhir.post("/Patient", json=body(), headers=HEADERS)
    again = await fhir.post("/Patient", json=body(active=False), headers=HEADERS)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()


async def test_what_the_caller_may_not_see_is_not_found_and_does_not_stand_in_the_way(
    as_: Callable[..., Client],
) -> None:
    made = {name: await as_(name).post("/Patient", json=body(), headers=HEADERS) for name in ("nadia", "paul")}
    assert [one.status_code for one in made.values()] == [201, 201]
    again = await as_("paul").post("/Patient", json=body(), headers=HEADERS)
    assert (again.status_code, again.json()["id"]) == (200, made["paul"].json()["id"])


async def test_several_found_is_412(fhir: Client) -> None:
    for _ in range(2):
        await fhir.post("/Patient", json=body())
    answer = await fhir.post("/Patient", json=body(), headers=HEADERS)
    assert (answer.status_code, issue(answer)["expression"]) == (412, ["http.If-None-Exist"])


@pytest.mark.parametrize(
    "criteria", ["", "?", "identifier=", "colour=red", "_count=1", "_sort=_id", "_include=Patient:*", "identifier=%ff"]
)
async def test_criteria_that_say_nothing_are_refused(fhir: Client, criteria: str) -> None:
    answer = await fhir.post("/Patient", json=body(), headers={"If-None-Exist": criteria})
    assert answer.status_code == 400
    assert entries((await fhir.get("/Patient")).json()) == []


async def test_twenty_at_once_create_one(fhir: Client) -> None:
    answers = await asyncio.gather(*(fhir.post("/Patient", json=body(), headers=HEADERS) for _ in range(20)))
    assert sorted(one.status_code for one in answers) == [200] * 19 + [201]
    assert len({one.json()["id"] for one in answers}) == 1
    assert (await fhir.get(f"/Patient?{CRITERIA}&_summary=count")).json()["total"] == 1


async def test_twenty_at_once_create_one_whatever_the_order_of_their_criteria(fhir: Client) -> None:
    orders = [f"{CRITERIA}&active=true", f"active=true&{CRITERIA}"]
    posts = (fhir.post("/Patient", json=body(), headers={"If-None-Exist": orders[n % 2]}) for n in range(20))
    answers = await asyncio.gather(*posts)
    assert sorted(one.status_code for one in answers) == [200] * 19 + [201]


async def test_twenty_at_once_by_one_person_create_one(as_: Callable[..., Client]) -> None:
    posts = (as_("nadia").post("/Patient", json=body(), headers=HEADERS) for _ in range(20))
    answers = await asyncio.gather(*posts)
    assert sorted(one.status_code for one in answers) == [200] * 19 + [201]


@pytest.mark.parametrize("kind", ["post", "transaction"])
async def test_nobody_locks_others_out_by_claiming_criteria_again_and_again(
    as_: Callable[..., Client], kind: str
) -> None:
    async def ask(name: str) -> tuple[int, str]:
        if kind == "post":
            answer = await as_(name).post("/Patient", json=body(), headers=HEADERS)
            return answer.status_code, answer.json().get("id", "")
        request = {"method": "POST", "url": "Patient", "ifNoneExist": CRITERIA}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": body(), "request": request}]}
        answer = await as_(name).post("", json=bundle)
        if answer.status_code != 200:
            return answer.status_code, ""
        response = answer.json()["entry"][0]["response"]
        return int(response["status"][:3]), response["location"].split("/")[-3]

    for turn in range(conditional.MOST_STEPS):
        status, id = await ask("nadia")
        assert status == 201
        moved = body(id=id, identifier=identified(f"moved-{turn}"))
        assert (await as_("nadia").put(f"/Patient/{id}", json=moved)).status_code == 200
    assert (await ask("nadia"))[0] == 409
    assert (await ask("paul"))[0] == 201
    assert (await ask("paul"))[0] == 200
    assert (await ask("system"))[0] == 200


async def test_ten_transactions_at_once_create_one(fhir: Client) -> None:
    request = {"method": "POST", "url": "Patient", "ifNoneExist": CRITERIA}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": body(), "request": request}]}
    answers = await asyncio.gather(*(fhir.post("", json=bundle) for _ in range(10)))
    statuses = [one.json()["entry"][0]["response"]["status"][:3] for one in answers]
    assert sorted(statuses) == ["200"] * 9 + ["201"]
    assert (await fhir.get(f"/Patient?{CRITERIA}&_summary=count")).json()["total"] == 1


async def test_what_was_deleted_or_no_longer_matches_is_created_again_and_only_once(fhir: Client) -> None:
    seen = set()
    for turn in range(4):
        answers = await asyncio.gather(*(fhir.post("/Patient", json=body(), headers=HEADERS) for _ in range(5)))
        assert sorted(one.status_code for one in answers) == [200] * 4 + [201]
        created = answers[0].json()
        seen.add(created["id"])
        if turn % 2:
            await fhir.delete(f"/Patient/{created['id']}")
        else:
            other = {**created, "identifier": identified(f"moved-{turn}")}
            assert (await fhir.put(f"/Patient/{created['id']}", json=other)).status_code == 200
    assert len(seen) == 4
