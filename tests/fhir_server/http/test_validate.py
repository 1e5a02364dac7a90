"""What `$validate` finds, and how it is asked. R4 resource-operation-validate.html."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.fhir_server.http.samples import a_patient, an_observation

Client = httpx.AsyncClient
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">Dominique PAT-TROIS</div>'
NARRATIVE = {"status": "generated", "div": DIV}


async def issues(fhir: Client, body: dict[str, Any], place: str = "/Patient/$validate") -> list[dict[str, Any]]:
    answer = await fhir.post(place, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    found: list[dict[str, Any]] = answer.json()["issue"]
    return found


def parameters(resource: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    given: list[dict[str, Any]] = [{"name": "resource", "resource": resource}] if resource else []
    given += [{"name": name, "valueCode" if name == "mode" else "valueUri": value} for name, value in more.items()]
    return {"resourceType": "Parameters", "parameter": given}


async def test_a_good_resource_gives_information_only(fhir: Client) -> None:
    [one] = await issues(fhir, a_patient(text=NARRATIVE))
    assert (one["severity"], one["details"]["text"]) == ("information", "Aucun problème trouvé")


async def test_a_resource_without_narrative_is_told_of_the_best_practice(fhir: Client) -> None:
    found = await issues(fhir, a_patient())
    assert [(one["severity"], one["code"]) for one in found] == [
        ("information", "invariant"),
        ("information", "informational"),
    ]
    assert found[0]["details"]["text"].startswith("dom-6 : ")


async def test_all_problems_are_named_with_their_places(fhir: Client) -> None:
    bad = a_patient(gender="robot", contact=[{"gender": "male"}], telecom=[{"value": "1"}], text=NARRATIVE)
    found = await issues(fhir, bad)
    assert {(one["code"], *one["expression"]) for one in found if one["severity"] == "error"} == {
        ("code-invalid", "Patient.gender"),
        ("invariant", "Patient.contact[0]"),
        ("invariant", "Patient.telecom[0]"),
    }
    assert any("pat-1 : " in one["details"]["text"] for one in found)


async def test_a_broken_structure_is_reported_with_200(fhir: Client) -> None:
    found = await issues(fhir, a_patient(nickname="x"))
    assert [(one["severity"], one["code"]) for one in found] == [("error", "structure")]


async def test_an_invariant_that_no_write_checks_is_evaluated(fhir: Client) -> None:
    group = {
        "resourceType": "SearchParameter", "url": "http://x.test/sp", "name": "bad name", "status": "draft",
        "description": "x", "code": "x", "base": ["Patient"], "type": "string", "text": NARRATIVE,
    }  # fmt: skip
    [one] = [each for each in await issues(fhir, group, "/SearchParameter/$validate") if each["code"] == "invariant"]
    assert (one["severity"], one["expression"]) == ("warning", ["SearchParameter"])
    assert one["details"]["text"].startswith("spd-0 : ")


async def test_an_extensible_value_set_that_is_left_gives_a_warning(fhir: Client) -> None:
    married = {"coding": [{"system": "http://x.test/own", "code": "m"}]}
    [one] = await issues(fhir, a_patient(maritalStatus=married, text=NARRATIVE))
    assert (one["severity"], one["expression"]) == ("warning", ["Patient.maritalStatus"])
    good = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]}
    [one] = await issues(fhir, a_patient(maritalStatus=good, text=NARRATIVE))
    assert one["severity"] == "information"


async def test_the_parameters_carry_resource_mode_and_profile(fhir: Client) -> None:
    url = "http://hl7.org/fhir/StructureDefinition/Patient"
    [one] = await issues(fhir, parameters(a_patient(text=NARRATIVE), mode="create", profile=url))
    assert one["severity"] == "information"


@pytest.mark.parametrize("url", ["http://x.test/profile", "http://hl7.org/fhir/StructureDefinition/Patient|5.0"])
async def test_a_profile_that_is_not_known_is_refused_aloud(fhir: Client, url: str) -> None:
    found = await issues(fhir, parameters(a_patient(text=NARRATIVE), profile=url))
    assert [(one["severity"], one["code"]) for one in found] == [("error", "not-supported")]


async def test_another_type_than_the_profile_says_is_an_error(fhir: Client) -> None:
    url = "http://hl7.org/fhir/StructureDefinition/Observation"
    found = await issues(fhir, parameters(a_patient(text=NARRATIVE), profile=url))
    assert [(one["severity"], one["code"]) for one in found] == [("error", "structure")]


async def test_a_declared_profile_is_said_not_to_be_checked(fhir: Client) -> None:
    body = a_patient(meta={"profile": ["http://x.test/profile"]}, text=NARRATIVE)
    [one] = await issues(fhir, body)
    assert (one["severity"], one["expression"]) == ("warning", ["Patient.meta.profile[0]"])


async def test_another_type_than_the_address_says_is_an_error(fhir: Client) -> None:
    found = await issues(fhir, an_observation(text=NARRATIVE))
    assert [one["code"] for one in found if one["severity"] == "error"] == ["structure"]


async def test_what_is_stored_is_checked_by_its_address(fhir: Client) -> None:
    stored = (await fhir.post("/Patient", json=a_patient(text=NARRATIVE))).json()
    answer = await fhir.get(f"/Patient/{stored['id']}/$validate")
    assert answer.status_code == 200
    assert [one["severity"] for one in answer.json()["issue"]] == ["information"]


async def test_an_update_must_name_what_exists(fhir: Client) -> None:
    stored = (await fhir.post("/Patient", json=a_patient(text=NARRATIVE))).json()
    place = f"/Patient/{stored['id']}/$validate"
    assert [one["severity"] for one in await issues(fhir, parameters(stored, mode="update"), place)] == ["information"]
    other = await issues(fhir, parameters({**stored, "id": "other"}, mode="update"), place)
    assert [one["code"] for one in other] == ["value"]
    missing = await issues(fhir, parameters({**stored, "id": "none"}, mode="update"), "/Patient/none/$validate")
    assert [one["code"] for one in missing] == ["not-found"]


async def test_a_delete_is_checked_without_content(fhir: Client) -> None:
    stored = (await fhir.post("/Patient", json=a_patient())).json()
    found = await issues(fhir, parameters(mode="delete"), f"/Patient/{stored['id']}/$validate")
    assert [one["severity"] for one in found] == ["information"]
    missing = await issues(fhir, parameters(mode="delete"), "/Patient/none/$validate")
    assert [one["code"] for one in missing] == ["not-found"]


async def test_what_the_caller_may_not_see_looks_as_if_it_were_not_there(as_: Any) -> None:
    stored = (await as_("nadia").post("/Patient", json=a_patient(text=NARRATIVE))).json()
    answer = await as_("paul").get(f"/Patient/{stored['id']}/$validate")
    assert answer.status_code == 404
    found = await issues(as_("paul"), parameters(mode="delete"), f"/Patient/{stored['id']}/$validate")
    assert [one["code"] for one in found] == ["not-found"]


async def test_a_write_that_the_scopes_do_not_cover_is_an_issue(as_: Any) -> None:
    found = await issues(as_("reader"), parameters(a_patient(text=NARRATIVE), mode="create"))
    assert [one["code"] for one in found] == ["forbidden"]


async def test_of_many_remarks_the_worst_are_listed(fhir: Client) -> None:
    entries = [{"resource": a_patient()} for _ in range(300)] + [{"resource": a_patient(contact=[{"gender": "male"}])}]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    found = await issues(fhir, bundle, "/Bundle/$validate")
    assert len(found) == 200
    assert found[0]["expression"] == ["Bundle.entry[300].resource.contact[0]"]
    assert (found[-1]["severity"], found[-1]["code"]) == ("information", "too-long")


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", parameters(mode="create")),
        ("", parameters(a_patient(), mode="guess")),
        ("", parameters(a_patient(), mode="profile")),
        ("", parameters(a_patient(), mode="delete")),
        ("", parameters(a_patient(), colour="red")),
        ("?colour=red", a_patient()),
        ("", {"resourceType": "Parameters", "parameter": [{"name": "resource", "valueString": "x"}]}),
        ("", {"resourceType": "Parameters", "parameter": ["x"]}),
    ],
)
async def test_a_request_that_asks_nothing_checkable_is_refused(fhir: Client, query: str, body: Any) -> None:
    answer = await fhir.post(f"/Patient/$validate{query}", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_parameters_can_be_checked_themselves(fhir: Client) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "x"}]}
    found = await issues(fhir, body, "/Parameters/$validate")
    assert [one["expression"] for one in found] == [["Parameters.parameter[0]"]]


async def test_xml_is_checked_too(fhir: Client) -> None:
    body = '<Patient xmlns="http://hl7.org/fhir"><gender value="robot"/></Patient>'
    headers = {"content-type": "application/fhir+xml"}
    answer = await fhir.post("/Patient/$validate", content=body, headers=headers)
    assert "code-invalid" in {one["code"] for one in answer.json()["issue"]}
