"""Transactions over HTTP: R4 http.html#transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, an_observation, bundle, entries, entry, identified, issue

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
URN2 = "urn:uuid:88f151c0-a954-468a-88bd-5ae15c08e059"


def transaction(*some: dict[str, Any]) -> dict[str, Any]:
    return bundle("transaction", *some)


def ref(answer: httpx.Response, index: int) -> str:
    """`Type/id` of what an entry wrote."""
    assert answer.status_code == 200, answer.text
    location: str = answer.json()["entry"][index]["response"]["location"]
    return location.removeprefix(f"{BASE}/").partition("/_history")[0]


async def test_references_to_other_entries_become_their_new_ids(fhir: Client) -> None:
    answer = await fhir.post(
        "",
        json=transaction(
            entry("POST", "Observation", an_observation(URN), full_url=URN2),
            entry("POST", "Patient", a_patient(), full_url=URN),
        ),
    )
    body = answer.json()
    assert (body["resourceType"], body["type"]) == ("Bundle", "transaction-response")
    assert [one["response"]["status"] for one in body["entry"]] == ["201 Created", "201 Created"]
    assert all(one["response"]["etag"] == 'W/"1"' and one["response"]["lastModified"] for one in body["entry"])
    assert "resource" not in body["entry"][0]
    observation = (await fhir.get(f"/{ref(answer, 0)}")).json()
    assert observation["subject"]["reference"] == ref(answer, 1)


async def test_every_kind_of_link_is_rewritten(fhir: Client) -> None:
    letter = {
        "resourceType": "DocumentReference",
        "status": "current",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{URN}">patient</a></div>',
        },
        "extension": [{"url": "http://x.test/e", "valueUri": URN}],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}],
        "subject": {"reference": URN},
        "content": [{"attachment": {"url": URN2}}],
    }
    binary = {
        "resourceType": "Binary",
        "contentType": "text/plain",
        "data": "YQ==",
        "securityContext": {"reference": URN},
    }
    answer = await fhir.post(
        "",
        json=transaction(
            entry("POST", "DocumentReference", letter),
            entry("POST", "Binary", binary, full_url=URN2),
            entry("POST", "Patient", a_patient(), full_url=URN),
        ),
    )
    stored = (await fhir.get(f"/{ref(answer, 0)}")).json()
    patient = ref(answer, 2)
    assert stored["subject"]["reference"] == stored["extension"][0]["valueUri"] == patient
    assert stored["content"][0]["attachment"]["url"] == ref(answer, 1)
    assert f'<a href="{patient}">' in stored["text"]["div"]
    assert stored["identifier"][0]["value"] == URN
    kept = (await fhir.get(f"/{ref(answer, 1)}", headers={"Accept": "application/fhir+json"})).json()
    assert kept["securityContext"]["reference"] == patient


async def test_relative_and_absolute_references_find_their_entry_by_its_full_url(fhir: Client) -> None:
    elsewhere = "http://elsewhere.test/fhir"
    absolute = an_observation(f"{elsewhere}/Patient/1")
    answer = await fhir.post(
        "",
        json=transaction(
            entry("POST", "Patient", a_patient(id="1"), full_url=f"{elsewhere}/Patient/1"),
            entry("POST", "Observation", an_observation("Patient/1"), full_url=f"{elsewhere}/Observation/1"),
            entry("POST", "Observation", absolute, full_url=f"{elsewhere}/Observation/2"),
            entry("POST", "Observation", an_observation("Patient/1"), full_url=URN),
            entry("POST", "Observation", an_observation("Patient/2"), full_url=f"{elsewhere}/Observation/4"),
        ),
    )
    patient = ref(answer, 0)
    subjects = [(await fhir.get(f"/{ref(answer, index)}")).json()["subject"]["reference"] for index in range(1, 5)]
    assert subjects == [patient, patient, patient, "Patient/2"]


async def test_the_order_is_delete_post_put_get_and_the_answer_keeps_the_requests(fhir: Client) -> None:
    await fhir.put("/Patient/old", json=a_patient(id="old", identifier=identified("9")))
    answer = await fhir.post(
        "",
        json=transaction(
            entry("GET", "Patient/kept"),
            entry("GET", "Patient?identifier=http://x.test/ipp|9"),
            entry("PUT", "Patient/kept", a_patient(id="kept")),
            entry(
                "POST", "Patient", a_patient(identifier=identified("9")), ifNoneExist="identifier=http://x.test/ipp|9"
            ),
            entry("DELETE", "Patient/old"),
        ),
    )
    body = answer.json()["entry"]
    assert [one["response"]["status"][:3] for one in body] == ["200", "200", "201", "201", "204"]
    assert body[0]["resource"]["id"] == "kept"
    found = entries(body[1]["resource"])
    assert [f"Patient/{one['id']}" for one in found] == [ref(answer, 3)]
    assert (await fhir.get("/Patient/old")).status_code == 410


async def test_when_one_entry_fails_nothing_stays_and_the_entry_is_named(fhir: Client) -> None:
    answer = await fhir.post(
        "",
        json=transaction(
            entry("POST", "Patient", a_patient(identifier=identified("77"))),
            entry("PUT", "Patient/x1", a_patient(id="x1")),
            entry("POST", "Observation", an_observation(status="wrong", code="text")),
        ),
    )
    assert answer.status_code == 422
    assert answer.json()["resourceType"] == "OperationOutcome"
    places = [one["expression"][0] for one in answer.json()["issue"]]
    assert places
    assert all(place.startswith("Bundle.entry[2].resource.") for place in places), places
    assert (await fhir.get("/Patient/x1")).status_code == 404
    assert (await fhir.get("/Patient?_summary=count")).json()["total"] == 0


@pytest.mark.parametrize(
    ("wrong", "place", "status"),
    [
        ({}, "request", 400),
        ({"request": {"method": "POST"}}, "request.url", 400),
        ({"request": {"method": "JUMP", "url": "Patient"}}, "request.method", 400),
        ({"request": {"method": "POST", "url": "Patient"}}, "resource", 400),
        ({"request": {"method": "POST", "url": "Patient"}, "resource": 5}, "resource", 400),
        (entry("POST", "Nothing", {"resourceType": "Nothing"}), "request.url", 400),
        (entry("POST", "Patient", an_observation()), "resource.resourceType", 400),
        (entry("PUT", "Patient/a", a_patient(id="b")), "resource.id", 400),
        (entry("PUT", "Patient", a_patient()), "request.url", 400),
        (entry("PUT", "Patient?colour=red", a_patient()), "request.url", 400),
        (entry("DELETE", "Patient"), "request.url", 400),
        (entry("PATCH", "Patient/a", a_patient()), "resource", 400),
        (entry("PATCH", "Patient/a", {"resourceType": "Parameters"}), None, 404),
        (entry("PATCH", "Patient?identifier=x|1", {"resourceType": "Parameters"}), "request.url", 404),
        (entry("POST", "Patient/_search", a_patient()), "request.url", 400),
        (entry("POST", "", bundle("batch")), "request.url", 400),
        (entry("POST", "Patient", a_patient(), ifNoneExist="colour=red"), "request.ifNoneExist", 400),
        (entry("POST", "Patient", a_patient(), ifNoneExist=5), "request.ifNoneExist", 400),
        (entry("POST", "Patient", a_patient(), full_url=5), "fullUrl", 400),
        (entry("PUT", "Patient/a", a_patient(id="a"), ifMatch='W/"1"'), None, 412),
        (entry("GET", "Patient/nobody"), None, 404),
        (entry("GET", "Patient?colour=red"), None, 400),
        (entry("POST", "Observation", an_observation("Patient?identifier=http://x.test/ipp|none")), "resource", 412),
        (entry("POST", "Observation", an_observation("Patient?colour=red")), "resource", 400),
        ("text", "request", 400),
        (None, "request", 400),
    ],
)
async def test_an_entry_that_cannot_be_is_named_and_nothing_stays(
    fhir: Client, wrong: Any, place: str | None, status: int
) -> None:
    good = entry("POST", "Patient", a_patient())
    answer = await fhir.post("", json=transaction(good, wrong))
    assert answer.status_code == status, answer.text
    at = f"Bundle.entry[1].{place}" if place else "Bundle.entry[1]"
    assert issue(answer)["expression"] == [at]
    assert (await fhir.get("/Patient?_summary=count")).json()["total"] == 0


async def test_all_problems_of_a_bundle_are_told_together(fhir: Client) -> None:
    answer = await fhir.post("", json=transaction({}, entry("POST", "Nothing", {}), entry("POST", "Patient")))
    assert [one["expression"][0] for one in answer.json()["issue"]] == [
        "Bundle.entry[0].request",
        "Bundle.entry[1].request.url",
        "Bundle.entry[2].resource",
    ]


async def test_the_same_identity_twice_is_refused(fhir: Client) -> None:
    twice = [
        (entry("PUT", "Patient/a", a_patient(id="a")), entry("DELETE", "Patient/a")),
        (entry("PUT", "Patient/a", a_patient(id="a")), entry("PUT", "Patient/a", a_patient(id="a", active=False))),
        (entry("POST", "Patient", a_patient(), full_url=URN), entry("POST", "Patient", a_patient(), full_url=URN)),
    ]
    for pair in twice:
        answer = await fhir.post("", json=transaction(*pair))
        assert (answer.status_code, issue(answer)["expression"]) == (400, ["Bundle.entry[1]"])


async def test_a_conditional_reference_becomes_what_it_finds(fhir: Client) -> None:
    await fhir.put("/Patient/p1", json=a_patient(id="p1", identifier=identified("1")))
    subject = "Patient?identifier=http://x.test/ipp|1"
    answer = await fhir.post("", json=transaction(entry("POST", "Observation", an_observation(subject))))
    assert (await fhir.get(f"/{ref(answer, 0)}")).json()["subject"]["reference"] == "Patient/p1"


async def test_a_conditional_reference_with_several_answers_is_412(fhir: Client) -> None:
    for id in ("p1", "p2"):
        await fhir.put(f"/Patient/{id}", json=a_patient(id=id, identifier=identified("1")))
    subject = "Patient?identifier=http://x.test/ipp|1"
    answer = await fhir.post("", json=transaction(entry("POST", "Observation", an_observation(subject))))
    assert (answer.status_code, issue(answer)["expression"]) == (412, ["Bundle.entry[0].resource"])


async def test_a_conditional_reference_finds_only_what_the_caller_may_see(
    fhir: Client, as_: Callable[..., Client]
) -> None:
    await fhir.put("/Patient/p1", json=a_patient(id="p1", identifier=identified("1")))
    subject = "Patient?identifier=http://x.test/ipp|1"
    hidden = await as_("nadia").post("", json=transaction(entry("POST", "Observation", an_observation(subject))))
    unknown = subject.replace("|1", "|2")
    absent = await as_("nadia").post("", json=transaction(entry("POST", "Observation", an_observation(unknown))))
    assert (hidden.status_code, absent.status_code) == (412, 412)
    assert issue(hidden)["details"]["text"].replace("|1", "") == issue(absent)["details"]["text"].replace("|2", "")


async def test_a_conditional_reference_may_mean_what_an_entry_creates(fhir: Client) -> None:
    criteria = "identifier=http://x.test/ipp|1"
    answer = await fhir.post(
        "",
        json=transaction(
            entry("POST", "Observation", an_observation(f"Patient?{criteria}")),
            entry("POST", "Patient", a_patient(identifier=identified("1")), ifNoneExist=criteria),
        ),
    )
    assert (await fhir.get(f"/{ref(answer, 0)}")).json()["subject"]["reference"] == ref(answer, 1)


async def test_a_conditional_create_that_exists_is_answered_with_200_and_referred_to(fhir: Client) -> None:
    await fhir.put("/Patient/p1", json=a_patient(id="p1", identifier=identified("1")))
    answer = await fhir.post(
        "",
        json=transaction(
            entry("POST", "Patient", a_patient(), full_url=URN, ifNoneExist="identifier=http://x.test/ipp|1"),
            entry("POST", "Observation", an_observation(URN)),
        ),
    )
    statuses = [one["response"]["status"] for one in answer.json()["entry"]]
    assert (statuses, ref(answer, 0)) == (["200 OK", "201 Created"], "Patient/p1")
    assert (await fhir.get(f"/{ref(answer, 1)}")).json()["subject"]["reference"] == "Patient/p1"


async def test_two_entries_with_the_same_condition_share_one_resource(fhir: Client) -> None:
    criteria = "identifier=http://x.test/ipp|1"
    patient = a_patient(identifier=identified("1"))
    answer = await fhir.post(
        "",
        json=transaction(
            entry("POST", "Patient", patient, full_url=URN, ifNoneExist=criteria),
            entry("POST", "Patient", patient, full_url=URN2, ifNoneExist=f"?{criteria}"),
            entry("POST", "Observation", an_observation(URN2)),
        ),
    )
    assert ref(answer, 0) == ref(answer, 1)
    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["201", "200", "201"]
    assert (await fhir.get(f"/{ref(answer, 2)}")).json()["subject"]["reference"] == ref(answer, 0)
    assert (await fhir.get("/Patient?_summary=count")).json()["total"] == 1


async def test_resources_come_back_when_they_are_asked_for(fhir: Client) -> None:
    some = transaction(entry("POST", "Patient", a_patient()), entry("PUT", "Patient/a", a_patient(id="a")))
    full = (await fhir.post("", json=some, headers={"Prefer": "return=representation"})).json()
    assert [one["resource"]["resourceType"] for one in full["entry"]] == ["Patient", "Patient"]
    assert full["entry"][1]["fullUrl"] == f"{BASE}/Patient/a"
    told = (await fhir.post("", json=some, headers={"Prefer": "return=OperationOutcome"})).json()
    assert [one["response"]["outcome"]["resourceType"] for one in told["entry"]] == ["OperationOutcome"] * 2
    assert "resource" not in told["entry"][0]


async def test_versions_are_checked_inside_a_transaction(fhir: Client) -> None:
    await fhir.put("/Patient/a", json=a_patient(id="a"))
    changed = a_patient(id="a", active=False)
    stale = await fhir.post("", json=transaction(entry("PUT", "Patient/a", changed, ifMatch='W/"9"')))
    assert stale.status_code == 412
    right = await fhir.post("", json=transaction(entry("PUT", "Patient/a", changed, ifMatch='W/"1"')))
    assert right.json()["entry"][0]["response"] | {"lastModified": ""} == {
        "status": "200 OK",
        "location": f"{BASE}/Patient/a/_history/2",
        "etag": 'W/"2"',
        "lastModified": "",
    }
    only_new = await fhir.post("", json=transaction(entry("PUT", "Patient/a", changed, ifNoneMatch="*")))
    assert (only_new.status_code, issue(only_new)["expression"]) == (412, ["Bundle.entry[0]"])


async def test_a_thousand_entries_are_one_commit(fhir: Client) -> None:
    urns = [f"urn:uuid:00000000-0000-4000-8000-{number:012}" for number in range(100)]
    patients = [entry("POST", "Patient", a_patient(), full_url=urn) for urn in urns]
    observations = [entry("POST", "Observation", an_observation(urns[number % 100])) for number in range(1000)]
    answer = await fhir.post("", json=transaction(*observations, *patients))
    assert answer.status_code == 200
    assert {one["response"]["status"] for one in answer.json()["entry"]} == {"201 Created"}
    patient = ref(answer, 1000)
    found = (await fhir.get(f"/Observation?subject={patient}&_summary=count")).json()
    assert found["total"] == 10


async def test_an_empty_transaction_and_one_of_reads_are_answered(fhir: Client) -> None:
    empty = await fhir.post("", json={"resourceType": "Bundle", "type": "transaction"})
    assert (empty.status_code, "entry" in empty.json()) == (200, False)
    await fhir.put("/Patient/a", json=a_patient(id="a"))
    reads = await fhir.post("", json=transaction(entry("GET", "Patient/a"), entry("HEAD", "Patient/a")))
    assert reads.json()["entry"][0]["resource"]["id"] == "a"
    assert "resource" not in reads.json()["entry"][1]
    missing = await fhir.post("", json=transaction(entry("GET", "Patient/a"), entry("GET", "Patient/b")))
    assert (missing.status_code, issue(missing)["expression"]) == (404, ["Bundle.entry[1]"])


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        (a_patient(), "Bundle"),
        ({"resourceType": "Bundle", "type": "document"}, "Bundle.type"),
        ({"resourceType": "Bundle"}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, "Bundle.entry"),
        ({"resourceType": "Bundle", "type": "batch", "entry": None}, "Bundle.entry"),
    ],
)
async def test_only_transactions_and_batches_are_posted_to_the_base(fhir: Client, sent: Any, place: str) -> None:
    answer = await fhir.post("", json=sent)
    assert (answer.status_code, issue(answer)["expression"]) == (400, [place])


async def test_a_transaction_without_the_right_to_one_of_its_types_is_refused(as_: Callable[..., Client]) -> None:
    some = transaction(entry("POST", "Patient", a_patient()), entry("POST", "Observation", an_observation()))
    answer = await as_("patients").post("", json=some)
    assert (answer.status_code, issue(answer)["expression"]) == (403, ["Bundle.entry[1]"])
    assert (await as_("software").post("", json=some)).status_code == 403
