"""How `$viewdefinition-run` is asked and answers, and whose rows it gives."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import a_patient, an_observation

Client = httpx.AsyncClient
PLACE = "/$viewdefinition-run"
COLUMNS = [{"name": "id", "path": "getResourceKey()"}, {"name": "family", "path": "name.first().family"}]
VIEW: dict[str, Any] = {
    "resourceType": "ViewDefinition", "status": "active", "resource": "Patient", "select": [{"column": COLUMNS}],
}  # fmt: skip
OF_OBSERVATIONS = {
    **VIEW,
    "resource": "Observation",
    "select": [{"column": [{"name": "patient", "path": "subject.getReferenceKey()"}]}],
}


def parameters(view: dict[str, Any] = VIEW, **more: Any) -> dict[str, Any]:
    given: list[dict[str, Any]] = [{"name": "viewResource", "resource": view}]
    for name, value in more.items():
        kind = {bool: "Boolean", int: "Integer", str: "String"}[type(value)]
        given.append({"name": name, f"value{kind}": value})
    return {"resourceType": "Parameters", "parameter": given}


async def rows(fhir: Client, body: dict[str, Any], place: str = PLACE) -> list[dict[str, Any]]:
    answer = await fhir.post(place, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def some_patients(fhir: Client, count: int) -> list[str]:
    made = [await fhir.post("/Patient", json=a_patient(name=[{"family": f"Pat-{one}"}])) for one in range(count)]
    return [one.json()["id"] for one in made]


@pytest.mark.parametrize("database", ENGINES, indirect=True)
async def test_rows_come_for_all_resources_over_several_pages(fhir: Client) -> None:
    ids = await some_patients(fhir, 130)
    found = await rows(fhir, VIEW)
    assert sorted(one["id"] for one in found) == sorted(ids)
    assert len(await rows(fhir, parameters(_limit=105))) == 105
    assert await rows(fhir, parameters(_limit=0)) == []


@pytest.mark.parametrize("place", [PLACE, "/ViewDefinition/$run", "/ViewDefinition/$viewdefinition-run"])
async def test_the_operation_is_found_where_the_guide_has_it(fhir: Client, place: str) -> None:
    [id] = await some_patients(fhir, 1)
    assert await rows(fhir, parameters(), place) == [{"id": id, "family": "Pat-0"}]


async def test_another_operation_of_that_type_is_unknown(fhir: Client) -> None:
    assert (await fhir.post("/ViewDefinition/$nothing", json=VIEW)).status_code == 404
    assert (await fhir.get("/ViewDefinition")).status_code == 404


async def test_json_and_csv_are_served(fhir: Client) -> None:
    await fhir.post("/Patient", json=a_patient(name=[{"family": 'Pat "Un", dit'}]))
    answer = await fhir.post(f"{PLACE}?_format=json", json=VIEW)
    assert [one["family"] for one in answer.json()] == ['Pat "Un", dit']
    for asked in ({"params": {"_format": "csv"}}, {"headers": {"accept": "text/csv"}}):
        answer = await fhir.post(PLACE, json=VIEW, **asked)  # type: ignore[arg-type]
        assert answer.headers["content-type"].startswith("text/csv")
        head, row = csv.reader(io.StringIO(answer.text))
        assert head == ["id", "family"] and row[1] == 'Pat "Un", dit'
    answer = await fhir.post(PLACE, json=parameters(_format="csv", header=False))
    assert len(answer.text.splitlines()) == 1


async def test_no_resources_give_no_rows_in_every_format(fhir: Client) -> None:
    assert await rows(fhir, VIEW) == []
    assert (await fhir.post(f"{PLACE}?_format=json", json=VIEW)).json() == []
    assert (await fhir.post(f"{PLACE}?_format=csv", json=VIEW)).text == "id,family\r\n"


async def test_rows_of_one_patient_and_since_a_moment(fhir: Client) -> None:
    one, other = await some_patients(fhir, 2)
    for id in (one, other):
        await fhir.post("/Observation", json=an_observation(f"Patient/{id}"))
    assert await rows(fhir, parameters(OF_OBSERVATIONS, patient=f"Patient/{one}")) == [{"patient": one}]
    assert [row["id"] for row in await rows(fhir, parameters(patient=other))] == [other]
    assert await rows(fhir, parameters(_since="2100-01-01T00:00:00Z")) == []
    assert len(await rows(fhir, parameters(_since="2020-01-01T00:00:00Z"))) == 2


async def test_given_resources_are_used_instead_of_the_record(fhir: Client) -> None:
    await some_patients(fhir, 1)
    body = parameters()
    body["parameter"].append({"name": "resource", "resource": a_patient(id="mine")})
    assert [one["id"] for one in await rows(fhir, body)] == ["mine"]


async def test_nobody_gets_rows_of_what_they_may_not_see(as_: Any) -> None:
    await some_patients(as_("nadia"), 3)
    [id] = await some_patients(as_("paul"), 1)
    assert [one["id"] for one in await rows(as_("paul"), VIEW)] == [id]
    for name in ("software", "launched"):
        assert (await as_(name).post(PLACE, json=VIEW)).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        parameters(source="x"),
        parameters(group="x"),
        parameters(viewReference="x"),
        parameters(colour="x"),
        parameters(_limit="x"),
        parameters(_since="x"),
        parameters({**VIEW, "resource": "Organization"}, patient="x"),
        parameters({"resourceType": "Patient"}),
        parameters({**VIEW, "select": [{"column": [{"name": "x", "path": "name.given("}]}]}),
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": ["x"]},
        {"resourceType": "Patient"},
    ],
)
async def test_what_is_not_served_is_refused_aloud(fhir: Client, body: dict[str, Any]) -> None:
    answer = await fhir.post(PLACE, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_a_format_that_is_not_served_is_406(fhir: Client) -> None:
    answer = await fhir.post(f"{PLACE}?_format=parquet", json=VIEW)
    assert (answer.status_code, answer.json()["resourceType"]) == (406, "OperationOutcome")


async def test_a_path_that_fails_later_leaves_the_answer_without_its_end(fhir: Client) -> None:
    await fhir.post("/Patient", json=a_patient(name=[{"given": ["a", "b"]}]))
    await some_patients(fhir, 120)  # newer ones come first: the bad one is on the second page
    columns = [{"name": "given", "path": "name.given"}]
    with pytest.raises(AssertionError):  # this client's way to say that the answer never ended
        await fhir.post(PLACE, json={**VIEW, "select": [{"column": columns}]})


async def test_a_path_that_fails_on_the_first_page_is_an_outcome(fhir: Client) -> None:
    await fhir.post("/Patient", json=a_patient(name=[{"given": ["a", "b"]}]))
    columns = [{"name": "given", "path": "name.given"}]
    answer = await fhir.post(PLACE, json={**VIEW, "select": [{"column": columns}]})
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["expression"])
