"""Conditional update and delete, and writers at the same time: R4 http.html#cond-update, #cdelete, #concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, bundle, entry, identified, issue

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

CRITERIA = "identifier=http://x.test/ipp|000003"
URL = f"/Patient?{CRITERIA}"


def body(**more: object) -> dict[str, object]:
    return a_patient(**{"identifier": identified("000003"), **more})


async def total(client: Client) -> int:
    found: int = (await client.get(f"{URL}&_summary=count")).json()["total"]
    return found


async def test_a_conditional_update_creates_updates_or_refuses(fhir: Client) -> None:
    created = await fhir.put(URL, json=body())
    id = created.json()["id"]
    assert (created.status_code, created.headers["location"]) == (201, f"{BASE}/Patient/{id}/_history/1")
    updated = await fhir.put(URL, json=body(active=False))
    assert (updated.status_code, updated.headers["location"]) == (200, f"{BASE}/Patient/{id}/_history/2")
    assert updated.json()["active"] is False
    same = await fhir.put(URL, json=body(active=False, id=id))
    assert (same.status_code, same.headers["etag"]) == (200, 'W/"2"')
    await fhir.post("/Patient", json=body())
    several = await fhir.put(URL, json=body())
    assert (several.status_code, issue(several)["expression"]) == (412, ["http.query"])


async def test_the_id_of_the_body_is_that_of_the_match(fhir: Client) -> None:
    await fhir.put("/Patient/p1", json=body(id="p1"))
    other = await fhir.put(URL, json=body(id="p2"))
    assert (other.status_code, issue(other)["expression"]) == (400, ["Patient.id"])
    assert (await fhir.put(URL, json=body(id="p1", active=False))).headers["etag"] == 'W/"2"'


async def test_who_may_choose_ids_chooses_them_here_too(fhir: Client, as_: Callable[..., Client]) -> None:
    answer = await as_("nadia").put(URL, json=body(id="mine"))
    assert (answer.status_code, issue(answer)["expression"]) == (400, ["Patient.id"])
    chosen = await fhir.put(URL, json=body(id="mine"))
    assert (chosen.status_code, chosen.json()["id"]) == (201, "mine")
    taken = await as_("nadia").put(URL, json=body(id="mine"))
    assert taken.text.replace(taken.headers["x-request-id"], "") == answer.text.replace(
        answer.headers["x-request-id"], ""
    )
    await fhir.put("/Patient/used", json=a_patient(id="used"))
    other = await fhir.put("/Patient?identifier=http://x.test/ipp|4", json=a_patient(id="used"))
    assert other.status_code == 409
    odd = await fhir.put("/Patient?identifier=http://x.test/ipp|4", json=a_patient(id="a_b"))
    assert odd.status_code == 400


@pytest.mark.parametrize("query", ["", "?identifier=", "?colour=red", "?_count=1", "?_include=Patient:*"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_criteria_that_say_nothing_change_nothing(fhir: Client, method: str, query: str) -> None:
    await fhir.put("/Patient/p1", json=body(id="p1"))
    answer = await fhir.request(method, f"/Patient{query}", json=body())
    assert answer.status_code == (412 if method == "DELETE" and not query else 400)
    assert (await fhir.get("/Patient/p1")).headers["etag"] == 'W/"1"'


async def test_versions_and_wishes_hold_for_conditional_updates(fhir: Client) -> None:
    match = {"If-Match": 'W/"1"'}
    assert (await fhir.put(URL, json=body(), headers=match)).status_code == 412
    assert (await fhir.put(URL, json=body(), headers={"If-None-Match": "*"})).status_code == 201
    assert (await fhir.put(URL, json=body(), headers={"If-None-Match": "*"})).status_code == 412
    minimal = await fhir.put(URL, json=body(active=False), headers={**match, "Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (200, b"")
    assert (await fhir.put(URL, json=body(), headers=match)).status_code == 412
    told = await fhir.put(URL, json=body(), headers={"Prefer": "return=OperationOutcome"})
    assert told.json()["resourceType"] == "OperationOutcome"
    wrong = await fhir.put(URL, json=body(gender="robot"))
    assert (wrong.status_code, issue(wrong)["expression"]) == (422, ["Patient.gender"])


async def test_a_conditional_delete_deletes_one_or_refuses(fhir: Client) -> None:
    assert (await fhir.delete(URL)).status_code == 204
    id = (await fhir.post("/Patient", json=body())).json()["id"]
    assert (await fhir.delete(URL, headers={"If-Match": 'W/"7"'})).status_code == 412
    gone = await fhir.delete(URL)
    assert (gone.status_code, gone.headers["etag"]) == (204, 'W/"2"')
    assert (await fhir.get(f"/Patient/{id}")).status_code == 410
    told = await fhir.delete(URL, headers={"Prefer": "return=OperationOutcome"})
    assert (told.status_code, issue(told)["severity"]) == (200, "information")
    for _ in range(2):
        await fhir.post("/Patient", json=body())
    several = await fhir.delete(URL)
    assert (several.status_code, await total(fhir)) == (412, 2)


async def test_a_condition_finds_only_what_the_caller_sees(fhir: Client, as_: Callable[..., Client]) -> None:
    hidden = await fhir.post("/Patient", json=body())
    nadia = as_("nadia")
    assert (await nadia.delete(URL)).status_code == 204
    mine = await nadia.put(URL, json=body(active=False))
    assert (mine.status_code, mine.json()["id"] == hidden.json()["id"]) == (201, False)
    assert (await nadia.put(URL, json=body(birthDate="1980"))).headers["etag"] == 'W/"2"'
    assert (await nadia.delete(URL)).status_code == 204
    unseen = await fhir.get(hidden.headers["location"].removeprefix(BASE))
    assert unseen.content == (await fhir.get(f"/Patient/{hidden.json()['id']}")).content == hidden.content


async def test_if_none_match_has_one_use_in_writes_and_is_refused_otherwise(fhir: Client) -> None:
    await fhir.put("/Patient/p1", json=body(id="p1"))
    patch = {"content": b"[]", "headers": {"Content-Type": "application/json-patch+json", "If-None-Match": "*"}}
    answers = [
        await fhir.put("/Patient/p1", json=body(id="p1"), headers={"If-None-Match": 'W/"2"'}),
        await fhir.put(URL, json=body(), headers={"If-None-Match": 'W/"2"'}),
        await fhir.delete("/Patient/p1", headers={"If-None-Match": "*"}),
        await fhir.patch("/Patient/p1", **patch),  # type: ignore[arg-type]
        await fhir.post("", json=bundle("transaction", entry("DELETE", "Patient/p1", ifNoneMatch="*"))),
    ]
    assert [(one.status_code, issue(one)["code"]) for one in answers] == [(400, "not-supported")] * 5
    assert (await fhir.get("/Patient/p1")).headers["etag"] == 'W/"1"'


async def test_the_right_to_search_is_needed(as_: Callable[..., Client]) -> None:
    for method in ("PUT", "DELETE"):
        for name in ("reader", "mixed", "software"):
            assert (await as_(name).request(method, URL, json=body())).status_code == 403


async def test_conditional_writes_in_xml(fhir: Client) -> None:
    xml = b"""<Patient xmlns="http://hl7.org/fhir"><identifier><system value="http://x.test/ipp"/>
    <value value="000003"/></identifier><active value="true"/></Patient>"""
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    created = await fhir.put(URL, content=xml, headers=headers)
    again = await fhir.put(URL, content=xml.replace(b"true", b"false"), headers=headers)
    assert (created.status_code, again.status_code, again.headers["etag"]) == (201, 200, 'W/"2"')
    assert b'<active value="false"/>' in again.content
    existing = await fhir.post("/Patient", content=xml, headers={**headers, "If-None-Exist": CRITERIA})
    assert (existing.status_code, existing.content) == (200, again.content)


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_conditional_writes_in_a_bundle(fhir: Client, kind: str) -> None:
    old = (await fhir.post("/Patient", json=body(identifier=identified("1")))).json()["id"]
    gone = (await fhir.post("/Patient", json=body(identifier=identified("2")))).json()["id"]
    some = bundle(
        kind,
        entry("PUT", "Patient?identifier=http://x.test/ipp|1", a_patient(identifier=identified("1"), active=False)),
        entry("PUT", "Patient?identifier=http://x.test/ipp|3", a_patient(identifier=identified("3"))),
        entry("DELETE", "Patient?identifier=http://x.test/ipp|2"),
        entry("DELETE", "Patient?identifier=http://x.test/ipp|4"),
    )
    answer = await fhir.post("", json=some)
    responses = [one["response"] for one in answer.json()["entry"]]
    assert [one["status"][:3] for one in responses] == ["200", "201", "204", "204"]
    assert responses[0]["location"] == f"{BASE}/Patient/{old}/_history/2"
    assert (await fhir.get(f"/Patient/{gone}")).status_code == 410


# --- at the same time


async def test_fifty_conditional_creates_at_once_make_one(fhir: Client) -> None:
    headers = {"If-None-Exist": CRITERIA}
    answers = await asyncio.gather(*(fhir.post("/Patient", json=body(), headers=headers) for _ in range(50)))
    assert sorted(one.status_code for one in answers) == [200] * 49 + [201]
    assert await total(fhir) == 1


async def test_fifty_conditional_updates_at_once_make_one(fhir: Client) -> None:
    bodies = [body(birthDate=str(1900 + number)) for number in range(50)]
    answers = await asyncio.gather(*(fhir.put(URL, json=one) for one in bodies))
    assert sorted(one.status_code for one in answers) == [200] * 49 + [201]
    assert await total(fhir) == 1
    [id] = {one.json()["id"] for one in answers}
    assert (await fhir.get(f"/Patient/{id}")).headers["etag"] == 'W/"50"'


async def test_conditional_updates_and_creates_alone_and_in_transactions_make_one_together(fhir: Client) -> None:
    in_bundle = bundle("transaction", entry("PUT", URL[1:], body(active=False)))
    posts: list[Any] = []
    for number in range(8):
        posts += [
            fhir.put(URL, json=body(birthDate=str(1900 + number))),
            fhir.post("/Patient", json=body(), headers={"If-None-Exist": CRITERIA}),
            fhir.post("", json=in_bundle),
        ]
    answers = await asyncio.gather(*posts)
    assert {one.status_code for one in answers} <= {200, 201}
    assert await total(fhir) == 1


async def test_two_hundred_updates_that_try_again_lose_none(fhir: Client) -> None:
    url = f"/Patient/{(await fhir.post('/Patient', json=body(multipleBirthInteger=0))).json()['id']}"

    async def count_up() -> None:
        while True:
            read = await fhir.get(url)
            raised = {**read.json(), "multipleBirthInteger": read.json()["multipleBirthInteger"] + 1}
            answer = await fhir.put(url, json=raised, headers={"If-Match": read.headers["etag"]})
            if answer.status_code == 200:
                return
            assert answer.status_code == 412

    places = asyncio.Semaphore(8)

    async def in_turn() -> None:
        async with places:
            await count_up()

    await asyncio.gather(*(in_turn() for _ in range(200)))
    end = await fhir.get(url)
    assert (end.json()["multipleBirthInteger"], end.headers["etag"]) == (200, 'W/"201"')


async def test_conditional_deletes_at_once_delete_once(fhir: Client) -> None:
    id = (await fhir.post("/Patient", json=body())).json()["id"]
    answers = await asyncio.gather(*(fhir.delete(URL) for _ in range(20)))
    assert {one.status_code for one in answers} == {204}
    history = (await fhir.get(f"/Patient/{id}/_history")).json()
    assert len(history["entry"]) == 2


async def test_a_version_that_the_client_has_is_not_sent_again(fhir: Client) -> None:
    created = await fhir.put("/Patient/p1", json=body(id="p1"))
    url = "/Patient/p1/_history/1"
    for headers in ({"If-None-Match": 'W/"1"'}, {"If-Modified-Since": created.headers["last-modified"]}):
        assert (await fhir.get(url, headers=headers)).status_code == 304
    assert (await fhir.get(url, headers={"If-None-Match": 'W/"2"'})).status_code == 200
