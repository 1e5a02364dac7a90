"""Every form that an entry and a link of a transaction may take: R4 http.html#trules, bundle.html#references."""

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
OID = "urn:oid:1.2.250.1.999.1"
SYSTEM = "http://x.test/ipp"
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
DIV = f"<div {XHTML}><a href=\"{URN}\">a</a><img src='{OID}#p' alt=''/></div>"


def ref(answer: httpx.Response, index: int) -> str:
    """`Type/id` of what an entry wrote."""
    assert answer.status_code == 200, answer.text
    location: str = answer.json()["entry"][index]["response"]["location"]
    return location.removeprefix(f"{BASE}/").partition("/_history")[0]


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["response"]["status"][:3] for one in answer.json()["entry"]]


async def test_every_type_of_link_points_to_the_new_resource(fhir: Client) -> None:
    linking = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "meta": {"profile": [URN], "source": f"{URN}#1"},
        "text": {"status": "generated", "div": DIV},
        "contained": [
            {"resourceType": "Patient", "id": "c", "link": [{"type": "seealso", "other": {"reference": URN}}]}
        ],
        "subject": {"reference": "#c", "extension": [{"url": "http://x.test/e", "valueUrl": URN}]},
        "extension": [
            {"url": "http://x.test/1", "valueUri": URN},
            {"url": "http://x.test/2", "valueCanonical": f"{URN}|1"},
            {"url": "http://x.test/3", "valueReference": {"reference": URN}},
            {"url": "http://x.test/5", "valueString": URN},
            {"url": "http://x.test/7", "valueAttachment": {"url": OID}},
        ],
        "_status": {"extension": [{"url": "http://x.test/8", "valueReference": {"reference": OID}}]},
        "performer": [{"reference": URN}, {"reference": OID}],
    }  # fmt: skip
    answer = await fhir.post(
        "",
        json=bundle(
            "transaction",
            entry("POST", "Observation", linking),
            entry("POST", "Patient", a_patient(), full_url=URN),
            entry("POST", "Organization", {"resourceType": "Organization", "name": "x"}, full_url=OID),
        ),
    )
    patient, organization = ref(answer, 1), ref(answer, 2)
    found = (await fhir.get(f"/{ref(answer, 0)}")).json()
    extensions = {one["url"][-1]: one for one in found["extension"]}
    assert (found["meta"]["profile"], found["meta"]["source"]) == ([patient], f"{patient}#1")
    assert f'<a href="{patient}">' in found["text"]["div"]
    assert f"<img src='{organization}#p'" in found["text"]["div"]
    assert found["contained"][0]["link"][0]["other"]["reference"] == patient
    assert found["subject"] == {"reference": "#c", "extension": [{"url": "http://x.test/e", "valueUrl": patient}]}
    assert extensions["1"]["valueUri"] == extensions["3"]["valueReference"]["reference"] == patient
    assert extensions["2"]["valueCanonical"] == f"{patient}|1"
    assert extensions["5"]["valueString"] == URN
    assert extensions["7"]["valueAttachment"]["url"] == organization
    assert found["_status"]["extension"][0]["valueReference"]["reference"] == organization
    assert found["performer"] == [{"reference": patient}, {"reference": organization}]


async def test_links_by_our_own_absolute_address_and_relative_ones(fhir: Client) -> None:
    answer = await fhir.post(
        "",
        json=bundle(
            "transaction",
            entry("POST", f"{BASE}/Patient", a_patient(), full_url=f"{BASE}/Patient/tmp"),
            entry("POST", "Observation", an_observation("Patient/tmp")),
            entry("POST", "/Observation", an_observation(f"{BASE}/Patient/tmp"), full_url=URN),
            entry("PUT", f"{BASE}/Patient/kept", a_patient(id="kept"), full_url=OID),
            entry("POST", "Observation", an_observation(OID)),
        ),
    )
    subjects = [(await fhir.get(f"/{ref(answer, n)}")).json()["subject"]["reference"] for n in (1, 2, 4)]
    assert subjects == [ref(answer, 0), ref(answer, 0), "Patient/kept"]


async def test_links_to_what_a_conditional_entry_means(fhir: Client) -> None:
    await fhir.put("/Patient/old", json=a_patient(id="old", identifier=identified("1")))
    condition = f"Patient?identifier={SYSTEM}|"
    answer = await fhir.post(
        "",
        json=bundle(
            "transaction",
            entry("PUT", f"{condition}1", a_patient(identifier=identified("1"), active=False), full_url=URN),
            entry("PUT", f"{condition}2", a_patient(identifier=identified("2")), full_url=OID),
            entry("POST", "Observation", an_observation(URN)),
            entry("POST", "Observation", an_observation(OID)),
            entry("POST", "Observation", an_observation(f"{condition}2")),
            entry("POST", "Observation", an_observation(f"{condition}1")),
        ),
    )
    assert statuses(answer) == ["200", "201", "201", "201", "201", "201"]
    subjects = [(await fhir.get(f"/{ref(answer, n)}")).json()["subject"]["reference"] for n in (2, 3, 4, 5)]
    assert subjects == ["Patient/old", ref(answer, 1), ref(answer, 1), "Patient/old"]
    # The id of a clinical resource carries its patient's part: it is found by it alone.
    assert (await fhir.get(f"/Observation?subject={ref(answer, 1)}&_summary=count")).json()["total"] == 2


async def test_a_conditional_update_of_a_clinical_resource_lives_with_its_new_patient(fhir: Client) -> None:
    observation = an_observation(URN, identifier=identified("o"))
    some = bundle(
        "transaction",
        entry("PUT", f"Observation?identifier={SYSTEM}|o", observation),
        entry("POST", "Patient", a_patient(), full_url=URN),
    )
    answer = await fhir.post("", json=some)
    found = (await fhir.get(f"/{ref(answer, 0)}")).json()
    assert found["subject"]["reference"] == ref(answer, 1)
    alone = await fhir.get(f"/Observation?subject={ref(answer, 1)}")
    assert [one["id"] for one in entries(alone.json())] == [found["id"]]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_searches_with_parameters_and_heads_in_bundles(fhir: Client, kind: str) -> None:
    await fhir.put("/Patient/p1", json=a_patient(id="p1", identifier=identified("1", "http://x.test/ends/")))
    some = bundle(
        kind,
        entry("GET", "Patient?identifier=http://x.test/ends/|1"),
        entry("GET", "Patient?identifier=http%3A%2F%2Fx.test%2Fends%2F%7C1&_summary=count"),
        entry("GET", "Patient?identifier=http://x.test/ends/|2"),
        entry("GET", "Patient?identifier=http://x.test/ends/"),
        entry("HEAD", "Patient/p1"),
        entry("HEAD", "Patient?_id=p1"),
        entry("GET", "Patient/p1", ifNoneMatch='W/"1"'),
        entry("GET", "Patient/p1/_history/1"),
        entry("GET", "Patient/p1/_history"),
        entry("GET", f"{BASE}/Patient?_id=p1"),
        entry("GET", "Patient/$double?a=1"),
        entry("GET", "metadata"),
    )
    answer = await fhir.post("", json=some)
    found = answer.json()["entry"]
    assert statuses(answer) == ["200", "200", "200", "200", "200", "200", "304", "200", "200", "200", "200", "200"]
    assert [one["id"] for one in entries(found[0]["resource"])] == ["p1"]
    assert found[1]["resource"]["total"] == 1
    assert "entry" not in found[2]["resource"]
    assert ["resource" in found[place] for place in (4, 5, 6)] == [False] * 3
    assert found[8]["resource"]["type"] == "history"
    assert entries(found[9]["resource"])[0]["id"] == "p1"
    assert found[11]["resource"]["resourceType"] == "CapabilityStatement"


async def test_the_identity_found_by_a_condition_may_not_come_twice_either(fhir: Client) -> None:
    await fhir.put("/Patient/a", json=a_patient(id="a", identifier=identified("1")))
    found, other = f"Patient?identifier={SYSTEM}|1", f"Patient?identifier={SYSTEM}|1&active=true"
    body = a_patient(identifier=identified("1"))
    for pair in [
        (entry("PUT", found, body), entry("PUT", "Patient/a", a_patient(id="a"))),
        (entry("PUT", found, body), entry("PUT", other, body)),
        (entry("PUT", found, body), entry("PUT", found, body)),
        (entry("DELETE", found), entry("DELETE", other)),
        (entry("DELETE", "Patient/a"), entry("DELETE", found)),
        (entry("PUT", found, body), entry("POST", "Patient", body, ifNoneExist=found.partition("?")[2])),
        (entry("POST", "Patient", body, ifNoneExist=found.partition("?")[2]), entry("PUT", found, body)),
    ]:
        answer = await fhir.post("", json=bundle("transaction", *pair))
        assert answer.status_code == 400, (pair, answer.text)
        assert issue(answer)["expression"][0].startswith("Bundle.entry[")
    assert (await fhir.get("/Patient/a")).headers["etag"] == 'W/"1"'


async def test_what_is_deleted_does_not_count_for_the_conditions_of_the_others(fhir: Client) -> None:
    for id in ("a", "b", "c"):
        await fhir.put(f"/Patient/{id}", json=a_patient(id=id, identifier=identified("1"), active=id == "a"))
    criteria = f"identifier={SYSTEM}|1"
    answer = await fhir.post(
        "",
        json=bundle(
            "transaction",
            entry("PUT", f"Patient?{criteria}", a_patient(identifier=identified("1"), birthDate="1980")),
            entry("DELETE", "Patient/b"),
            entry("DELETE", f"Patient?{criteria}&active=true"),
            entry("POST", "Observation", an_observation(f"Patient?{criteria}")),
        ),
    )
    assert statuses(answer) == ["200", "204", "204", "201"]
    assert ref(answer, 0) == "Patient/c"
    assert (await fhir.get(f"/{ref(answer, 3)}")).json()["subject"]["reference"] == "Patient/c"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (entry("PUT", f"Patient?identifier={SYSTEM}|1", a_patient()), 412),
        (entry("DELETE", f"Patient?identifier={SYSTEM}|1"), 412),
        (entry("PUT", "Patient?_id=a", a_patient(id="b")), 400),
        (entry("PUT", "Patient?_id=a", a_patient(), ifMatch='W/"9"'), 412),
        (entry("PUT", "Patient?_id=a", a_patient(), ifNoneMatch="*"), 412),
        (entry("PUT", "Patient?_id=none", a_patient(), ifMatch='W/"1"'), 412),
        (entry("PUT", f"Patient?identifier={SYSTEM}|9", a_patient(id="b")), 409),
        (entry("DELETE", "Patient/a", ifMatch='W/"9"'), 412),
        (entry("DELETE", "Patient/a", ifMatch="nine"), 400),
        (entry("DELETE", "Patient?_id=a", ifMatch='W/"9"'), 412),
        (entry("PUT", "Patient?_id=a", a_patient(gender="robot")), 422),
    ],
)
async def test_a_conditional_entry_that_cannot_be_is_named_and_nothing_stays(
    fhir: Client, wrong: dict[str, Any], status: int
) -> None:
    for id in ("a", "b"):
        await fhir.put(f"/Patient/{id}", json=a_patient(id=id, identifier=identified("1")))
    answer = await fhir.post("", json=bundle("transaction", entry("POST", "Patient", a_patient()), wrong))
    assert answer.status_code == status, answer.text
    assert issue(answer)["expression"][0].startswith("Bundle.entry[1]")
    assert (await fhir.get("/Patient?_summary=count")).json()["total"] == 2


async def test_deletes_tell_what_they_did_when_asked(fhir: Client) -> None:
    await fhir.put("/Patient/a", json=a_patient(id="a"))
    for kind in ("transaction", "batch"):
        some = bundle(kind, entry("DELETE", "Patient/a"), entry("DELETE", "Patient?_id=none"))
        answer = await fhir.post("", json=some, headers={"Prefer": "return=OperationOutcome"})
        assert statuses(answer) == ["200", "200"]
        assert [one["response"]["outcome"]["resourceType"] for one in answer.json()["entry"]] == [
            "OperationOutcome"
        ] * 2


async def test_a_person_finds_and_makes_only_their_own_in_a_transaction(
    fhir: Client, as_: Callable[..., Client]
) -> None:
    await fhir.put("/Patient/hidden", json=a_patient(id="hidden", identifier=identified("1")))
    condition = f"Patient?identifier={SYSTEM}|1"
    put = bundle("transaction", entry("PUT", condition, a_patient(identifier=identified("1"))))
    made = await as_("nadia").post("", json=put)
    assert statuses(made) == ["201"]
    assert ref(made, 0) != "Patient/hidden"
    named = bundle("transaction", entry("PUT", f"{condition}0", a_patient(id="hidden")))
    assert (await as_("nadia").post("", json=named)).status_code == 400
    gone = await as_("nadia").post("", json=bundle("transaction", entry("DELETE", condition)))
    assert statuses(gone) == ["204"]
    assert (await fhir.get("/Patient/hidden")).headers["etag"] == 'W/"1"'


async def test_a_transaction_in_xml_with_each_verb(fhir: Client) -> None:
    await fhir.put("/Patient/a", json=a_patient(id="a"))
    await fhir.put("/Patient/old", json=a_patient(id="old"))
    sent = f"""<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/>
<entry><fullUrl value="{URN}"/><resource><Patient><active value="true"/></Patient></resource>
  <request><method value="POST"/><url value="Patient"/></request></entry>
<entry><resource><Observation><status value="final"/><code><text value="x"/></code>
  <subject><reference value="{URN}"/></subject>
  <valueQuantity><value value="1.50"/></valueQuantity></Observation></resource>
  <request><method value="POST"/><url value="Observation"/></request></entry>
<entry><resource><Parameters><parameter><name value="operation"/>
  <part><name value="type"/><valueCode value="replace"/></part>
  <part><name value="path"/><valueString value="Patient.active"/></part>
  <part><name value="value"/><valueBoolean value="false"/></part></parameter></Parameters></resource>
  <request><method value="PATCH"/><url value="Patient/a"/></request></entry>
<entry><request><method value="DELETE"/><url value="Patient/old"/></request></entry>
<entry><request><method value="GET"/><url value="Patient/a"/></request></entry></Bundle>"""
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+json"}
    answer = await fhir.post("", content=sent, headers=headers)
    assert statuses(answer) == ["201", "201", "200", "204", "200"]
    assert answer.json()["entry"][4]["resource"]["active"] is False
    stored = await fhir.get(f"/{ref(answer, 1)}")
    assert b'"value":1.50' in stored.content
    assert stored.json()["subject"]["reference"] == ref(answer, 0)
    in_xml = await fhir.post(
        "", content=sent.replace("Patient/old", "Patient/none"), headers={**headers, "Accept": headers["Content-Type"]}
    )
    assert in_xml.text.count("<status ") >= 5
    assert "<Bundle" in in_xml.text


async def test_a_read_that_fails_stops_the_writes_and_an_operation_has_to_exist(fhir: Client) -> None:
    write = entry("POST", "Patient", a_patient())
    for wrong in ("Patient/nobody", "Patient?colour=red", "Nothing/1", "Patient/a/b/c", "Patient/$none", "a/b/c/$x"):
        answer = await fhir.post("", json=bundle("transaction", write, entry("GET", wrong)))
        assert answer.status_code in (400, 404)
        assert issue(answer)["expression"][0].startswith("Bundle.entry[1]")
    assert (await fhir.get("/Patient?_summary=count")).json()["total"] == 0
    known = await fhir.post("", json=bundle("transaction", write, entry("GET", "Patient/$double")))
    assert statuses(known) == ["201", "200"]
