"""The same resources as XML: R4 xml.html, http.html#mime-type."""

from __future__ import annotations

import httpx
import pytest

from tests.fhir_server.http.samples import a_patient, an_observation, identified

Client = httpx.AsyncClient

XML = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
NAMESPACE = 'xmlns="http://hl7.org/fhir"'


async def test_a_resource_goes_in_and_out_as_xml(fhir: Client) -> None:
    sent = f'<Patient {NAMESPACE}><active value="true"/><name><family value="Pat-Trois"/></name></Patient>'
    created = await fhir.post("/Patient", content=sent.encode(), headers=XML)
    assert created.status_code == 201
    assert created.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    assert '<family value="Pat-Trois"/>' in created.text
    url = created.headers["location"].partition("/_history")[0]
    assert (await fhir.get(url)).json()["name"] == [{"family": "Pat-Trois"}]
    assert (await fhir.get(f"{url}?_format=xml")).text == created.text


async def test_a_transaction_and_its_answer_may_be_xml(fhir: Client) -> None:
    patient = '<Patient><active value="true"/></Patient>'
    request = '<request><method value="POST"/><url value="Patient"/></request>'
    entry = f"<entry><resource>{patient}</resource>{request}</entry>"
    sent = f'<Bundle {NAMESPACE}><type value="transaction"/>{entry}</Bundle>'
    answer = await fhir.post("", content=sent.encode(), headers=XML)
    assert answer.status_code == 200
    assert '<type value="transaction-response"/>' in answer.text
    assert '<status value="201 Created"/>' in answer.text


async def test_searches_histories_errors_and_metadata_are_written_as_xml(fhir: Client) -> None:
    await fhir.put("/Patient/a", json=a_patient(id="a", identifier=identified("1")))
    await fhir.put("/Observation/o", json=an_observation("Patient/a", id="o", valueQuantity={"value": 1.5}))
    for place, element, status in [
        ("/Observation?_include=Observation:subject", "<Bundle", 200),
        ("/Patient/a/_history", "<Bundle", 200),
        ("/Patient/nobody", "<OperationOutcome", 404),
        ("/metadata", "<CapabilityStatement", 200),
    ]:
        answer = await fhir.get(place, headers={"Accept": "application/fhir+xml"})
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("application/fhir+xml")
        assert element in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"<Patient/>",
        b'<Patient xmlns="http://elsewhere.test"/>',
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
        b'<Patient xmlns="http://hl7.org/fhir"><id value="&e;"/></Patient>',
        b"{}",
        b"\xff\xfe\x00",
    ],
)
async def test_xml_that_is_no_safe_resource_is_refused(fhir: Client, body: bytes) -> None:
    answer = await fhir.post("/Patient", content=body, headers={"Content-Type": "application/fhir+xml"})
    assert 400 <= answer.status_code < 500
    assert "root:" not in answer.text


async def test_what_is_wrong_in_xml_is_told_like_what_is_wrong_in_json(fhir: Client) -> None:
    body = f'<Patient {NAMESPACE}><active value="true"/><zut value="1"/><name><zut/></name></Patient>'
    answer = await fhir.post("/Patient", content=body, headers={"Content-Type": "application/fhir+xml"})
    assert answer.status_code == 422
    told = [(one["code"], one["expression"]) for one in answer.json()["issue"]]
    assert told == [("structure", ["Patient.zut"]), ("structure", ["Patient.name[0].zut"])]
