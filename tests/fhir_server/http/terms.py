"""An invented code system, and short ways to ask the terminology operations."""

from __future__ import annotations

from typing import Any

from tests.fhir_server.http.conftest import Client

GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
GENDERS = "http://hl7.org/fhir/administrative-gender"
ROLES = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
DRINKS = "http://x.test/CodeSystem/boissons"

SYSTEM: dict[str, Any] = {
    "resourceType": "CodeSystem",
    "url": DRINKS,
    "version": "1.2",
    "name": "Boissons",
    "status": "active",
    "content": "complete",
    "caseSensitive": True,
    "property": [{"code": "hot", "type": "boolean"}, {"code": "status", "type": "code"}],
    "concept": [
        {
            "code": "chaud",
            "display": "Boisson chaude",
            "property": [{"code": "notSelectable", "valueBoolean": True}],
            "concept": [
                {
                    "code": "the",
                    "display": "Thé",
                    "definition": "Une infusion",
                    "designation": [{"language": "en", "value": "Tea"}],
                    "property": [{"code": "hot", "valueBoolean": True}],
                    "concept": [{"code": "vert", "display": "Thé vert"}],
                },
                {"code": "cafe", "display": "Café"},
            ],
        },
        {"code": "eau", "display": "Eau"},
        {"code": "cidre", "display": "Cidre", "property": [{"code": "status", "valueCode": "retired"}]},
    ],
}


def a_value_set(*includes: dict[str, Any], name: str = "vs", **more: Any) -> dict[str, Any]:
    compose = {"include": list(includes), **({"exclude": more.pop("exclude")} if "exclude" in more else {})}
    url = f"http://x.test/ValueSet/{name}"
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": compose, **more}


def parameters(**values: Any) -> dict[str, Any]:
    def part(name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"name": name, "valueBoolean": value}
        if isinstance(value, dict):
            kind = (
                "resource"
                if "resourceType" in value
                else "valueCodeableConcept"
                if "coding" in value
                else "valueCoding"
            )
            return {"name": name, kind: value}
        return {"name": name, "valueString": value}

    return {"resourceType": "Parameters", "parameter": [part(*one) for one in values.items()]}


async def created(fhir: Client, resource: dict[str, Any]) -> str:
    answer = await fhir.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def told(fhir: Client, path: str, **params: str) -> dict[str, Any]:
    """The simple parameters of an answer, by name."""
    answer = await fhir.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return values(answer.json())


def values(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["resourceType"] == "Parameters"
    found = {}
    for one in answer["parameter"]:
        found[one["name"]] = next((value for name, value in one.items() if name.startswith("value")), None)
    return found


async def codes(fhir: Client, path: str = "/ValueSet/$expand", **params: Any) -> list[str]:
    answer = await fhir.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [one["code"] for one in answer.json()["expansion"].get("contains", ())]


async def expanded(fhir: Client, value_set: dict[str, Any], **more: Any) -> list[str]:
    answer = await fhir.post("/ValueSet/$expand", json=parameters(valueSet=value_set, **more))
    assert answer.status_code == 200, answer.text
    return [one["code"] for one in answer.json()["expansion"].get("contains", ())]
