"""PATCH over HTTP: R4 http.html#patch, fhirpatch.html, RFC 6902."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir_server import access, store
from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, an_observation, bundle, entry, identified, issue

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)

JSON_PATCH = "application/json-patch+json"
XML_PATCH = """<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>
<part><name value="type"/><valueCode value="replace"/></part>
<part><name value="path"/><valueString value="Patient.active"/></part>
<part><name value="value"/><valueBoolean value="false"/></part></parameter></Parameters>"""


def change(op: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": op, "path": path, **more}


DEACTIVATE = change("replace", "/active", value=False)


def fhirpath_patch(type: str, path: str, *, value: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    parts += [{"name": name, "valueString": one} for name, one in more.items()]
    parts += [{"name": "value", **value}] if value is not None else []
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


def in_binary(*operations: dict[str, Any]) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": JSON_PATCH, "data": data}


async def patch(client: Client, url: str, *operations: dict[str, Any], **headers: str) -> httpx.Response:
    named = {"Content-Type": JSON_PATCH, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await client.patch(url, content=json.dumps(operations), headers=named)


async def a_patient_of(client: Client, **more: Any) -> str:
    answer = await client.post("/Patient", json=a_patient(**more))
    return f"/Patient/{answer.json()['id']}"


async def test_a_json_patch_makes_a_new_version(fhir: Client) -> None:
    url = await a_patient_of(fhir)
    answer = await patch(fhir, url, change("test", "/active", value=True), DEACTIVATE)
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.headers["location"] == f"{BASE}{url}/_history/2"
    assert answer.json()["active"] is False
    assert (await fhir.get(url)).json() == answer.json()
    assert (await fhir.get(f"{url}/_history/1")).json()["active"] is True


async def test_a_fhirpath_patch_makes_a_new_version_in_json_and_in_xml(fhir: Client) -> None:
    url = await a_patient_of(fhir)
    sent = fhirpath_patch("add", "Patient.name.where(family='Pat-Trois')", name="given", value={"valueString": "Jo"})
    answer = await fhir.patch(url, json=sent, headers={"Content-Type": "application/fhir+json"})
    assert answer.json()["name"][0]["given"] == ["Dominique", "Jo"]
    xml = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    by_xml = await fhir.patch(url, content=XML_PATCH, headers=xml)
    assert (by_xml.status_code, by_xml.headers["etag"]) == (200, 'W/"3"')
    assert b'<active value="false"/>' in by_xml.content


async def test_the_same_content_makes_no_version(fhir: Client) -> None:
    url = await a_patient_of(fhir)
    answers = [await patch(fhir, url), await patch(fhir, url, change("replace", "/active", value=True))]
    answers.append(await patch(fhir, url, change("replace", "/meta/versionId", value="9")))
    nothing = fhirpath_patch("delete", "Patient.gender")
    answers.append(await fhir.patch(url, json=nothing))
    assert [(one.status_code, one.headers["etag"]) for one in answers] == [(200, 'W/"1"')] * 4


async def test_decimals_keep_their_digits_through_a_patch(fhir: Client) -> None:
    body = an_observation(valueQuantity={"value": 1, "unit": "g"})
    url = f"/Observation/{(await fhir.post('/Observation', json=body)).json()['id']}"
    sent = b'[{"op":"replace","path":"/valueQuantity/value","value":1.50}]'
    assert b'"value":1.50' in (await fhir.patch(url, content=sent, headers={"Content-Type": JSON_PATCH})).content
    untouched = await patch(fhir, url, change("add", "/valueQuantity/system", value="http://unitsofmeasure.org"))
    assert b'"value":1.50' in untouched.content


@pytest.mark.parametrize(
    ("prefer", "expected"), [("minimal", None), ("representation", "Patient"), ("OperationOutcome", "OperationOutcome")]
)
async def test_the_client_chooses_what_a_patch_returns(fhir: Client, prefer: str, expected: str | None) -> None:
    answer = await patch(fhir, await a_patient_of(fhir), DEACTIVATE, Prefer=f"return={prefer}")
    assert (answer.json()["resourceType"] if answer.content else None) == expected
    assert answer.headers["etag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (change("test", "/active", value=False), 422),
        (change("replace", "/nothing/here", value=1), 422),
        (change("replace", "/gender", value="robot"), 422),
        (change("add", "/gender", value="robot"), 422),
        (change("add", "/colour", value="red"), 422),
        (change("add", "/telecom", value=[]), 422),
        (change("replace", "", value={"resourceType": "Patient"}), 422),
        (change("replace", "", value=5), 422),
        (change("replace", "/id", value="other"), 422),
        (change("remove", "/id"), 422),
        (change("replace", "/resourceType", value="Person"), 422),
        (change("add", "/meta", value=5), 422),
        (change("jump", "/id"), 400),
    ],
)
async def test_what_fails_changes_nothing(fhir: Client, operation: dict[str, Any], status: int) -> None:
    url = await a_patient_of(fhir)
    before = await fhir.get(url)
    answer = await patch(fhir, url, change("add", "/birthDate", value="1980"), operation)
    assert answer.status_code == status, answer.text
    assert issue(answer)["expression"]
    assert (await fhir.get(url)).content == before.content


async def test_a_fhirpath_patch_that_fails_changes_nothing(fhir: Client) -> None:
    url = await a_patient_of(fhir)
    for sent, status in [
        (fhirpath_patch("replace", "Patient.gender", value={"valueCode": "female"}), 422),
        (fhirpath_patch("replace", "Patient.active", value={"valueString": "yes"}), 422),
        (fhirpath_patch("replace", "Patient.id", value={"valueId": "other"}), 422),
        (fhirpath_patch("delete", "Patient.id"), 422),
        (fhirpath_patch("delete", "Patient..id"), 400),
        (fhirpath_patch("jump", "Patient"), 400),
        (a_patient(), 400),
    ]:
        answer = await fhir.patch(url, json=sent)
        assert answer.status_code == status, (sent, answer.text)
        assert (await fhir.get(url)).headers["etag"] == 'W/"1"'


async def test_other_contents_are_415(fhir: Client) -> None:
    url = await a_patient_of(fhir)
    for kind in ("application/merge-patch+json", "application/xml-patch+xml", "text/plain", ""):
        answer = await fhir.patch(url, content=b"[]", headers={"Content-Type": kind})
        assert (answer.status_code, issue(answer)["code"]) == (415, "not-supported")


async def test_if_match_holds_or_refuses(fhir: Client) -> None:
    url = await a_patient_of(fhir)
    assert (await patch(fhir, url, DEACTIVATE, If_Match='W/"7"')).status_code == 412
    assert (await patch(fhir, url, DEACTIVATE, If_Match="seven")).status_code == 400
    assert (await patch(fhir, url, DEACTIVATE, If_Match='W/"1"')).status_code == 200
    assert (await patch(fhir, url, DEACTIVATE, If_Match='W/"1"')).status_code == 412
    assert (await patch(fhir, url, DEACTIVATE, If_Match="*")).status_code == 200


async def test_what_is_unknown_is_404_and_what_is_deleted_410(fhir: Client) -> None:
    assert (await patch(fhir, "/Patient/nobody", DEACTIVATE)).status_code == 404
    url = await a_patient_of(fhir)
    await fhir.delete(url)
    assert (await patch(fhir, url, DEACTIVATE)).status_code == 410
    assert (await patch(fhir, f"{url}?a=b", DEACTIVATE)).status_code == 400


@pytest.mark.parametrize(
    ("status", "operations", "kept"),
    [
        ("generated", [DEACTIVATE], False),
        ("extensions", [DEACTIVATE], False),
        ("empty", [DEACTIVATE], True),
        ("generated", [], True),
        ("generated", [change("add", "/meta/tag", value=[{"code": "x"}])], True),
        ("generated", [DEACTIVATE, change("replace", "/text/div", value="<div>neuf</div>")], True),
    ],
)
async def test_a_narrative_does_not_go_on_saying_what_was_changed(
    fhir: Client, status: str, operations: list[dict[str, Any]], kept: bool
) -> None:
    text = {"status": status, "div": '<div xmlns="http://www.w3.org/1999/xhtml">actif</div>'}
    xmlns = json.loads(json.dumps(operations).replace("<div>", "<div xmlns='http://www.w3.org/1999/xhtml'>"))
    answer = await patch(fhir, await a_patient_of(fhir, text=text), *xmlns)
    assert answer.status_code == 200, answer.text
    assert ("text" in answer.json()) is kept


async def test_a_narrative_with_words_of_its_own_is_patched_with_the_data(fhir: Client) -> None:
    text = {"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml">actif</div>'}
    answer = await patch(fhir, await a_patient_of(fhir, text=text), DEACTIVATE)
    assert (answer.status_code, issue(answer)["expression"]) == (422, ["Patient.text"])


# --- rights


async def test_the_unseen_and_the_unknown_have_the_same_answers(
    as_: Callable[..., Client], fhir: Client, record: store.Store
) -> None:
    url, nadia = await a_patient_of(fhir, identifier=identified("1")), as_("nadia")
    id = url.rpartition("/")[2]
    before = await record.history("Patient", id, caller=access.SYSTEM)

    def told(answer: httpx.Response) -> tuple[int, str]:
        return answer.status_code, answer.text.replace(id, "ID").replace(answer.headers["x-request-id"], "")

    for headers in ({}, {"If_Match": 'W/"1"'}, {"If_Match": 'W/"7"'}, {"If_Match": "*"}):
        for operations in ([DEACTIVATE], [change("test", "/active", value=True)], [change("remove", "/none")]):
            unseen = await patch(nadia, url, *operations, **headers)
            unknown = await patch(nadia, "/Patient/ID", *operations, **headers)
            assert told(unseen) == told(unknown)
            assert unseen.status_code == 404
    for kind in ("batch", "transaction"):
        for at in (f"Patient/{id}", "Patient?identifier=http://x.test/ipp|1"):
            answer = await nadia.post("", json=bundle(kind, entry("PATCH", at, in_binary(DEACTIVATE))))
            found = answer if kind == "transaction" else answer.json()["entry"][0]["response"]
            assert (found.status_code if kind == "transaction" else found["status"][:3]) in (404, "404")
    assert (await patch(nadia, "/Patient?identifier=http://x.test/ipp|1", DEACTIVATE)).status_code == 404
    assert await record.history("Patient", id, caller=access.SYSTEM) == before


async def test_a_person_patches_what_they_see_and_scopes_hold(as_: Callable[..., Client]) -> None:
    url = await a_patient_of(as_("nadia"))
    assert (await patch(as_("nadia"), url, DEACTIVATE)).status_code == 200
    assert (await patch(as_("patients"), url, DEACTIVATE)).status_code == 200
    for name in ("reader", "mixed", "launched", "software"):
        assert (await patch(as_(name), url, DEACTIVATE)).status_code == 403
        some = bundle("transaction", entry("PATCH", url[1:], in_binary(DEACTIVATE)))
        assert (await as_(name).post("", json=some)).status_code == 403


# --- conditional


async def test_a_conditional_patch_changes_the_one_that_it_finds(fhir: Client) -> None:
    criteria = "/Patient?identifier=http://x.test/ipp|1"
    none = await patch(fhir, criteria, DEACTIVATE)
    assert (none.status_code, issue(none)["code"]) == (404, "not-found")
    url = await a_patient_of(fhir, identifier=identified("1"))
    one = await patch(fhir, criteria, DEACTIVATE)
    assert (one.status_code, one.headers["location"]) == (200, f"{BASE}{url}/_history/2")
    assert (await patch(fhir, criteria, DEACTIVATE, If_Match='W/"1"')).status_code == 412
    by_xml = await fhir.patch(criteria, content=XML_PATCH, headers={"Content-Type": "application/fhir+xml"})
    assert by_xml.status_code == 200
    await a_patient_of(fhir, identifier=identified("1"))
    assert (await patch(fhir, criteria, DEACTIVATE)).status_code == 412
    assert (await patch(fhir, "/Patient", DEACTIVATE)).status_code == 400
    assert (await patch(fhir, "/Patient?colour=red", DEACTIVATE)).status_code == 400


# --- in bundles


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_both_forms_work_in_a_bundle(fhir: Client, kind: str) -> None:
    urls = [(await a_patient_of(fhir, identifier=identified(str(number))))[1:] for number in range(3)]
    later = fhirpath_patch("replace", "Patient.active", value={"valueBoolean": False})
    some = bundle(
        kind,
        entry("PATCH", urls[0], in_binary(DEACTIVATE), ifMatch='W/"1"'),
        entry("PATCH", urls[1], later),
        entry("PATCH", "Patient?identifier=http://x.test/ipp|2", later),
    )
    answer = await fhir.post("", json=some, headers={"Prefer": "return=representation"})
    found = answer.json()["entry"]
    assert [one["response"]["status"] for one in found] == ["200 OK"] * 3
    assert [one["response"]["location"] for one in found] == [f"{BASE}/{url}/_history/2" for url in urls]
    assert [one["resource"]["active"] for one in found] == [False] * 3


async def test_a_patch_in_a_transaction_may_name_what_it_creates(fhir: Client) -> None:
    observations = [(await fhir.post("/Observation", json=an_observation())).json()["id"] for _ in range(2)]
    urn = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
    by_path = fhirpath_patch(
        "add", "Observation", name="subject", value={"valueReference": {"reference": "Patient?_id=seen"}}
    )
    await fhir.put("/Patient/seen", json=a_patient(id="seen"))
    answer = await fhir.post(
        "",
        json=bundle(
            "transaction",
            entry("PATCH", f"Observation/{observations[0]}", in_binary(
                change("add", "/subject", value={"reference": urn}), change("add", "/performer", value=[]),
                change("add", "/performer/-", value={"reference": "Patient?_id=seen"}),
            )),
            entry("PATCH", f"Observation/{observations[1]}", by_path),
            entry("POST", "Patient", a_patient(), full_url=urn),
        ),
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    created = answer.json()["entry"][2]["response"]["location"].split("/")[-3]
    first, second = [(await fhir.get(f"/Observation/{id}")).json() for id in observations]
    assert first["subject"]["reference"] == f"Patient/{created}"
    assert first["performer"][0]["reference"] == second["subject"]["reference"] == "Patient/seen"


async def test_a_patch_that_fails_in_a_transaction_is_named_and_nothing_stays(fhir: Client) -> None:
    url = (await a_patient_of(fhir))[1:]
    robot = change("add", "/gender", value="robot")
    for wrong, status in [
        (entry("PATCH", url, in_binary(change("test", "/active", value=False))), 422),
        (entry("PATCH", url, in_binary(robot)), 422),
        (entry("PATCH", url, in_binary(change("jump", ""))), 400),
        (entry("PATCH", url, {"resourceType": "Binary", "contentType": "text/plain", "data": "W10="}), 400),
        (entry("PATCH", url, {"resourceType": "Binary", "contentType": JSON_PATCH, "data": "é"}), 400),
        (entry("PATCH", url, in_binary(DEACTIVATE), ifMatch='W/"9"'), 412),
        (entry("PATCH", url, fhirpath_patch("delete", "Patient.name.colour")), 422),
        (entry("PATCH", "Patient/nobody", in_binary(DEACTIVATE)), 404),
        (entry("PATCH", url), 400),
    ]:
        answer = await fhir.post("", json=bundle("transaction", entry("POST", "Patient", a_patient()), wrong))
        assert answer.status_code == status, answer.text
        assert issue(answer)["expression"][0].startswith("Bundle.entry[1]")
    assert (await fhir.get("/Patient?_summary=count")).json()["total"] == 1
    twice = bundle("transaction", *[entry("PATCH", url, in_binary(DEACTIVATE))] * 2)
    assert (await fhir.post("", json=twice)).status_code == 400


# --- at once


async def test_parallel_patches_lose_nothing(fhir: Client) -> None:
    url = await a_patient_of(fhir)
    phones = [{"system": "phone", "value": str(number)} for number in range(50)]
    await patch(fhir, url, change("add", "/telecom", value=[{"system": "phone", "value": "first"}]))
    answers = await asyncio.gather(*(patch(fhir, url, change("add", "/telecom/-", value=one)) for one in phones))
    assert {one.status_code for one in answers} == {200}
    stored = (await fhir.get(url)).json()
    assert len({one["value"] for one in stored["telecom"]}) == 51
    assert stored["meta"]["versionId"] == "52"


async def test_parallel_transactions_with_patches_lose_nothing(fhir: Client) -> None:
    url = await a_patient_of(fhir, telecom=[{"system": "phone", "value": "first"}])
    added = [in_binary(change("add", "/telecom/-", value={"system": "phone", "value": str(n)})) for n in range(20)]
    posts = (fhir.post("", json=bundle("transaction", entry("PATCH", url[1:], one))) for one in added)
    answers = await asyncio.gather(*posts)
    assert {one.status_code for one in answers} == {200}
    assert len((await fhir.get(url)).json()["telecom"]) == 21
