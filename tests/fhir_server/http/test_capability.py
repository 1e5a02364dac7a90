"""Is what the server says about itself true? R4 capabilitystatement.html, operations.html."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhir_server import app, following, store
from fhir_server.r4 import load, validate
from tests.fhir_server.http.callers import OPERATIONS, authenticate
from tests.fhir_server.http.samples import BASE, issue

Client = httpx.AsyncClient


@pytest_asyncio.fixture
async def statement(fhir: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await fhir.get("/metadata")).json()
    return found


def of_type(statement: dict[str, Any], type: str) -> dict[str, Any]:
    return next(one for one in statement["rest"][0]["resource"] if one["type"] == type)


async def test_the_statement_is_valid_and_says_r4(statement: dict[str, Any], definitions: load.Definitions) -> None:
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["implementation"]["url"] == BASE
    assert statement["url"] == f"{BASE}/metadata"
    assert validate.Validator(definitions).check(statement) == []


async def test_all_146_types_and_their_interactions_are_listed(statement: dict[str, Any]) -> None:
    [rest] = statement["rest"]
    assert len(rest["resource"]) == 146
    codes = {one["code"] for one in of_type(statement, "Patient")["interaction"]}
    assert codes >= {"read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create"}
    assert {one["code"] for one in rest["interaction"]} == {
        "transaction", "batch", "history-system", "search-system",
    }  # fmt: skip


async def test_the_forms_of_patch_and_the_conditional_writes_are_declared(statement: dict[str, Any]) -> None:
    formats = ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"]
    assert statement["patchFormat"] == formats
    for one in statement["rest"][0]["resource"]:
        said = one["conditionalCreate"], one["conditionalUpdate"], one["conditionalDelete"], one["conditionalRead"]
        assert said == (True, True, "single", "full-support")


async def test_ids_are_given_by_the_server_and_the_statement_says_so(statement: dict[str, Any]) -> None:
    assert {one["updateCreate"] for one in statement["rest"][0]["resource"]} == {False}
    assert "identifiants sont attribués par le serveur" in statement["rest"][0]["documentation"]


async def test_operations_are_listed_where_they_are(statement: dict[str, Any]) -> None:
    listed = {one["name"]: one["definition"] for one in of_type(statement, "Patient")["operation"]}
    assert listed["double"] == "http://x.test/OperationDefinition/double"
    assert listed["everything"] == "http://hl7.org/fhir/OperationDefinition/Patient-everything"
    assert listed["meta-add"] == "http://hl7.org/fhir/OperationDefinition/Resource-meta-add"
    assert not {"double", "everything"} & {one["name"] for one in of_type(statement, "Observation")["operation"]}
    everywhere = {one["name"]: one["definition"] for one in statement["rest"][0]["operation"]}
    assert {"double", "meta", "viewdefinition-run"} <= set(everywhere)
    # What no specification defines is listed too.
    assert listed["diff"] == everywhere["diff"] == "https://spico-hub.example/fhir/OperationDefinition/diff"
    assert everywhere["import"].endswith("/import")


async def test_operations_run_at_their_level_by_get_and_by_post(fhir: Client) -> None:
    for method in ("GET", "POST"):
        for place, said in [
            ("/Patient/p1/$double", "Patient p1"),
            ("/Patient/$double", "Patient None"),
            ("/$double", "None None"),
        ]:
            answer = await fhir.request(method, f"{place}?a=1&a=2")
            assert answer.status_code == 200
            assert answer.json()["parameter"][0]["valueString"] == f"a=1 a=2 {said} {BASE}"


async def test_an_operation_receives_the_resource_that_is_posted(fhir: Client) -> None:
    answer = await fhir.post("/Patient/$double", json={"resourceType": "Parameters"})
    assert answer.json()["parameter"][0]["valueString"].endswith("Parameters")
    assert (await fhir.post("/Patient/$double", content=b"{")).status_code == 415
    wrong = await fhir.post("/Patient/$double", content=b"{", headers={"Content-Type": "application/json"})
    assert wrong.status_code == 400


async def test_an_unknown_operation_is_404_and_one_that_writes_is_not_run_by_get(fhir: Client) -> None:
    for place in ("/$nothing", "/Patient/$nothing", "/Patient/p1/$nothing", "/Observation/$double", "/Nothing/$touch"):
        answer = await fhir.post(place)
        assert (answer.status_code, issue(answer)["code"]) == (404, "not-found"), place
    answer = await fhir.get("/Observation/$touch")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await fhir.post("/Observation/$touch")).status_code == 200
    assert (await fhir.put("/Observation/$touch")).status_code == 405


async def test_the_security_of_the_statement_is_what_the_hub_says(record: store.Store) -> None:
    security = {"cors": True, "description": "SMART on FHIR"}
    built = app.build_app(record, authenticate=authenticate, operations=OPERATIONS, security=security)
    async with Client(transport=httpx.ASGITransport(built), base_url=BASE) as client:
        assert (await client.get("/metadata")).json()["rest"][0]["security"] == security


async def test_a_declared_search_parameter_has_its_official_definition(statement: dict[str, Any]) -> None:
    found = {one["name"]: one for one in of_type(statement, "Patient")["searchParam"]}
    assert found["identifier"]["definition"] == "http://hl7.org/fhir/SearchParameter/Patient-identifier"
    assert found["identifier"]["type"] == "token"


async def test_a_part_of_the_statement_may_be_asked_for(fhir: Client) -> None:
    part = (await fhir.get("/metadata?_elements=fhirVersion")).json()
    assert (part["fhirVersion"], "rest" in part, "publisher" in part) == ("4.0.1", False, False)
    assert part["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert (await fhir.get("/metadata?_summary=true&_format=xml")).text.startswith("<?xml")
    assert (await fhir.get("/metadata?mode=full")).json()["rest"]


@pytest.mark.parametrize("query", ["mode=terminology", "mode=normative", "colour=red"])
async def test_no_other_statement_is_given_for_the_one_that_was_asked_for(fhir: Client, query: str) -> None:
    answer = await fhir.get(f"/metadata?{query}")
    assert (answer.status_code, issue(answer)["expression"]) == (400, [f"http.{query.partition('=')[0]}"])


async def test_what_refers_to_a_type_is_listed_and_every_listed_inclusion_is_understood(
    statement: dict[str, Any], definitions: load.Definitions
) -> None:
    listed = of_type(statement, "Patient")["searchRevInclude"]
    assert {"*", "Observation:patient", "Observation:subject"} <= set(listed)
    assert "Observation:encounter" not in listed
    for one in statement["rest"][0]["resource"]:
        for value in one["searchRevInclude"]:
            assert following.referring(definitions.search, (one["type"],), "_revinclude", value)
        for value in one.get("searchInclude", ()):
            assert following.included(definitions.search, (one["type"],), "_include", value)


async def test_what_every_search_takes_is_declared_once_for_all_and_answers(
    fhir: Client, statement: dict[str, Any]
) -> None:
    values = {"_has": None, "_filter": "_id eq x", "_type": "Patient", "_lastUpdated": "ge2020", "_text": "mot"}
    for name in (one["name"] for one in statement["rest"][0]["searchParam"]):
        if value := values.get(name, "x"):
            assert (await fhir.get("/", params={name: value})).status_code == 200, name
    assert (await fhir.get("/?_has:Observation:patient:code=x&_type=Patient")).status_code == 200
