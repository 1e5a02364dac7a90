"""Is every search parameter that the CapabilityStatement declares answered, for every type?"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.fhir_server.http import callers
from tests.fhir_server.searching import OF_MODIFIERS, TABLES, sensible

Client = httpx.AsyncClient
GENDER = "http://hl7.org/fhir/administrative-gender|male"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
# What the terminology has to know: a code and a value set of R4.
OF_TOKENS = {**OF_MODIFIERS, "in": GENDERS, "not-in": GENDERS, "above": GENDER, "below": GENDER}


async def declared(fhir: Client) -> dict[str, list[dict[str, Any]]]:
    statement = (await fhir.get("/metadata")).json()
    return {one["type"]: one.get("searchParam", []) for one in statement["rest"][0]["resource"]}


async def refused(fhir: Client, type: str, query: str) -> str | None:
    answer = await fhir.get(f"/{type}?{query}")
    return None if answer.status_code == 200 else f"{type}?{query}: {answer.status_code} {answer.text[:200]}"


async def test_every_declared_parameter_of_every_type_is_answered(fhir: Client) -> None:
    everything = await declared(fhir)
    assert len(everything) == 146
    kinds = set()
    for type, listed in everything.items():
        for one in listed:
            param = TABLES.param(type, one["name"])
            assert param
            kinds.add(param.kind)
            value = sensible(param).replace("|", "%7C")
            dated = "&date=ge2020-01-01" if type == "AuditEvent" else ""  # traces are asked for by their time (ITI-81)
            assert await refused(fhir, type, f"{param.code}={value}&_count=1{dated}") is None
    assert kinds >= {"token", "reference", "string", "date", "uri", "number", "quantity", "composite", "special"}


@pytest.mark.parametrize("database", callers.ENGINES, indirect=True)
@pytest.mark.parametrize("type", ["Observation", "Patient", "Location", "RiskAssessment", "Questionnaire", "Group"])
async def test_modifiers_and_orders_are_answered_on_both_engines(fhir: Client, type: str) -> None:
    for param in TABLES.searchable(type):
        value = sensible(param).replace("|", "%7C")
        assert await refused(fhir, type, f"{param.code}={value}") is None
        for modifier in param.modifiers if param.paths or param.parts else ():
            known = OF_TOKENS if param.kind == "token" else OF_MODIFIERS
            asked = known.get(modifier, "x").replace("|", "%7C")
            assert await refused(fhir, type, f"{param.code}:{modifier}={asked}") is None
        if not (param.is_phonetic or param.kind in ("composite", "special")):
            assert await refused(fhir, type, f"_sort=-{param.code}") is None


@pytest.mark.parametrize("database", callers.ENGINES, indirect=True)
async def test_a_blood_pressure_is_found_by_its_systolic_value_and_follows_updates(fhir: Client) -> None:
    def panel(systolic: float, diastolic: float) -> dict[str, Any]:
        values = (("8480-6", systolic), ("8462-4", diastolic))
        component = [
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
            }
            for code, value in values
        ]
        code = {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]}
        return {"resourceType": "Observation", "status": "final", "code": code, "component": component}

    async def found(query: str) -> list[str]:
        answer = await fhir.get("/Observation", params=[tuple(query.split("="))])  # type: ignore[list-item]
        assert answer.status_code == 200, answer.text
        return [one["resource"]["id"] for one in answer.json().get("entry", [])]

    id = (await fhir.post("/Observation", json=panel(160, 90))).json()["id"]
    other = (await fhir.post("/Observation", json=panel(120, 155))).json()["id"]
    assert await found("component-code-value-quantity=8480-6$gt150||mm[Hg]") == [id]
    assert await found("combo-code-value-quantity=8462-4$gt150") == [other]
    changed = {**panel(130, 80), "id": id}
    assert (await fhir.put(f"/Observation/{id}", json=changed)).status_code == 200
    assert await found("component-code-value-quantity=8480-6$gt150||mm[Hg]") == []
    assert await found("component-code-value-quantity=8480-6$130") == [id]
    assert (await fhir.delete(f"/Observation/{id}")).status_code == 204
    assert await found("component-value-quantity=gt0") == [other]


@pytest.mark.parametrize("database", callers.ENGINES, indirect=True)
async def test_pages_in_the_order_of_a_code_hold_each_resource_once(fhir: Client) -> None:
    states = ["final", "amended", "preliminary", "final", "amended", "final", "registered"]
    for n, status in enumerate(states):
        code = {"coding": [{"code": f"c{n % 3}"}]}
        body = {"resourceType": "Observation", "status": status, "code": code, "valueQuantity": {"value": n % 4}}
        assert (await fhir.post("/Observation", json=body)).status_code == 201
    for sort in ("status", "-status,code", "code,-value-quantity", "-value-quantity,status", "value-quantity"):
        place: str | None = f"/Observation?_sort={sort}&_count=2"
        seen: list[dict[str, Any]] = []
        while place:
            bundle = (await fhir.get(place)).json()
            seen += [one["resource"] for one in bundle["entry"]]
            place = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), None)
        assert len({one["id"] for one in seen}) == len(states) == len(seen), sort
        for key in reversed(sort.split(",")):
            read = {
                "status": lambda one: one["status"],
                "code": lambda one: one["code"]["coding"][0]["code"],
                "value-quantity": lambda one: one["valueQuantity"]["value"],
            }[key.removeprefix("-")]
            values = [read(one) for one in seen]
            if key == sort.split(",")[0]:
                assert values == sorted(values, reverse=key.startswith("-")), sort
    assert "status" in json.dumps(seen[0])


@pytest.mark.parametrize("database", callers.ENGINES, indirect=True)
async def test_the_longest_lists_of_alternatives_are_answered(fhir: Client) -> None:
    for type, name, value in (
        ("Observation", "value-quantity", "{}||g"),
        ("Observation", "combo-value-quantity", "ne{}||g"),
        ("Observation", "combo-code-value-quantity", "s|c{0}$ge{0}||g"),
        ("Observation", "component-code-value-concept", "c{0}$d{0}"),
        ("Location", "near", "{0}.5|{0}.5|{0}"),
        ("Patient", "phonetic", "jean martin{}"),
        ("ValueSet", "url:below", "http://x.test/{}"),
        ("ValueSet", "url:above", "http://x.test/a/b/c/d/{}"),
        ("MolecularSequence", "chromosome-variant-coordinate", "c{0}${0}${0}"),
    ):
        values = ",".join(value.format(n if name != "near" else n % 90) for n in range(100))
        for sort in ("", "-_lastUpdated"):
            answer = await fhir.get(f"/{type}", params={name: values, **({"_sort": sort} if sort else {})})
            assert answer.status_code == 200, (name, answer.text[:300])
