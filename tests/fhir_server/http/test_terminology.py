"""Are the terminology operations on codes answered as R4 says, from the package and from what is stored?

https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fhir_server.http.conftest import Client
from tests.fhir_server.http.terms import (
    DRINKS,
    GENDER,
    GENDERS,
    ROLES,
    SYSTEM,
    a_value_set,
    created,
    parameters,
    told,
    values,
)

# ---- $lookup and $subsumes -----------------------------------------------------------------------------------------


async def test_a_code_is_looked_up_with_its_names_and_properties(fhir: Client) -> None:
    await created(fhir, SYSTEM)
    answer = (await fhir.get("/CodeSystem/$lookup", params={"system": DRINKS, "code": "the"})).json()
    found = values(answer)
    assert (found["name"], found["version"], found["display"]) == ("Boissons", "1.2", "Thé")
    parts = [one["part"] for one in answer["parameter"] if one["name"] == "property"]
    assert [{"name": "code", "valueCode": "hot"}, {"name": "value", "valueBoolean": True}] in parts
    assert parts[-2] == [
        {"name": "code", "valueCode": "child"},
        {"name": "value", "valueCode": "vert"},
        {"name": "description", "valueString": "Thé vert"},
    ]
    assert [one["part"] for one in answer["parameter"] if one["name"] == "designation"] == [
        [{"name": "language", "valueCode": "en"}, {"name": "value", "valueString": "Tea"}]
    ]
    coding = parameters(coding={"system": DRINKS, "code": "the"}, displayLanguage="en", property="hot")
    answer = (await fhir.post("/CodeSystem/$lookup", json=coding)).json()
    assert values(answer)["display"] == "Tea"
    assert [one["part"][0] for one in answer["parameter"] if one["name"] == "property"] == [
        {"name": "code", "valueCode": "hot"}
    ]
    assert (await told(fhir, "/CodeSystem/$lookup", system=GENDERS, code="male"))["display"] == "Male"


async def test_looking_up_what_is_not_there_is_not_found(fhir: Client) -> None:
    for system, code in (("http://x.test/none", "a"), (GENDERS, "robot"), (f"{GENDERS}|9", "male")):
        assert (await fhir.get("/CodeSystem/$lookup", params={"system": system, "code": code})).status_code == 404


async def test_one_code_subsumes_another(fhir: Client) -> None:
    id = await created(fhir, SYSTEM)
    for a, b, expected in (
        ("the", "the", "equivalent"),
        ("chaud", "vert", "subsumes"),
        ("vert", "chaud", "subsumed-by"),
        ("vert", "cafe", "not-subsumed"),
    ):
        found = await told(fhir, "/CodeSystem/$subsumes", system=DRINKS, codeA=a, codeB=b)
        assert found == {"outcome": expected}
        assert await told(fhir, f"/CodeSystem/{id}/$subsumes", codeA=a, codeB=b) == {"outcome": expected}
    answer = await fhir.get("/CodeSystem/$subsumes", params={"system": DRINKS, "codeA": "the", "codeB": "rien"})
    assert answer.status_code == 404
    roles = await told(fhir, "/CodeSystem/$subsumes", system=ROLES, codeA="FAMMEMB", codeB="MTH")
    assert roles == {"outcome": "subsumes"}


# ---- $validate-code ------------------------------------------------------------------------------------------------


async def test_a_code_is_validated_against_a_value_set(fhir: Client) -> None:
    path = "/ValueSet/$validate-code"
    assert await told(fhir, path, url=GENDER, system=GENDERS, code="male") == {"result": True, "display": "Male"}
    assert await told(fhir, path, url=GENDER, code="male") == {"result": True, "display": "Male"}
    for code, system, display in (("robot", GENDERS, ""), ("male", "http://x.test", ""), ("male", GENDERS, "Femme")):
        params = {"url": GENDER, "code": code, "system": system} | ({"display": display} if display else {})
        found = await told(fhir, path, **params)
        assert found["result"] is False
        assert found["message"]
    assert (await fhir.get(path, params={"url": "http://x.test/none", "code": "a"})).status_code == 404
    assert (await fhir.get(path, params={"url": GENDER})).status_code == 400


async def test_codings_and_concepts_are_validated_by_post(fhir: Client) -> None:
    id = await created(fhir, a_value_set({"system": DRINKS, "concept": [{"code": "the", "display": "Du thé"}]}))
    good, bad = {"system": DRINKS, "code": "the", "display": "du the"}, {"system": DRINKS, "code": "eau"}
    path = f"/ValueSet/{id}/$validate-code"
    for given, expected in (
        ({"coding": good}, True),
        ({"coding": bad}, False),
        ({"codeableConcept": {"coding": [bad, good]}}, True),
        ({"codeableConcept": {"coding": [bad]}}, False),
    ):
        assert values((await fhir.post(path, json=parameters(**given))).json())["result"] is expected
    inline = parameters(valueSet=a_value_set({"system": GENDERS}), coding={"system": GENDERS, "code": "other"})
    assert values((await fhir.post("/ValueSet/$validate-code", json=inline)).json())["result"] is True


async def test_what_nobody_here_can_tell_is_not_called_right(fhir: Client) -> None:
    loinc = a_value_set({"system": "http://loinc.org"})
    call = parameters(valueSet=loinc, coding={"system": "http://loinc.org", "code": "8310-5"})
    found = values((await fhir.post("/ValueSet/$validate-code", json=call)).json())
    assert found["result"] is False
    assert "http://loinc.org" in found["message"]


async def test_a_code_is_validated_against_its_system(fhir: Client) -> None:
    id = await created(fhir, SYSTEM)
    path = "/CodeSystem/$validate-code"
    assert await told(fhir, path, url=DRINKS, code="the") == {"result": True, "display": "Thé"}
    assert await told(fhir, path, url=DRINKS, version="1.2", code="the", display="TEA") == {
        "result": True,
        "display": "Thé",
    }
    assert (await told(fhir, path, url=DRINKS, code="THE"))["result"] is False
    assert (await told(fhir, f"/CodeSystem/{id}/$validate-code", code="the"))["result"] is True
    assert (await told(fhir, path, url=DRINKS, code="chaud", abstract="false"))["result"] is False
    assert "usage" in (await told(fhir, path, url=DRINKS, code="cidre"))["message"]
    ucum = "http://unitsofmeasure.org"
    assert (await told(fhir, path, url=ucum, code="mm[Hg]"))["result"] is True
    assert (await told(fhir, path, url=ucum, code="mmHg"))["result"] is False
    assert (await fhir.get(path, params={"url": "http://x.test/none", "code": "a"})).status_code == 404
    brought = parameters(codeSystem={**SYSTEM, "concept": [{"code": "lait"}]}, code="lait")
    assert values((await fhir.post(path, json=brought)).json())["result"] is True
    # What one call brings along is forgotten after it.
    assert (await told(fhir, path, url=DRINKS, code="lait"))["result"] is False


# ---- $translate ----------------------------------------------------------------------------------------------------

MAP: dict[str, Any] = {
    "resourceType": "ConceptMap",
    "url": "http://x.test/ConceptMap/m",
    "status": "active",
    "sourceUri": "http://x.test/ValueSet/source",
    "targetUri": "http://x.test/ValueSet/target",
    "group": [
        {
            "source": DRINKS,
            "target": "http://x.test/drinks",
            "element": [
                {"code": "the", "target": [{"code": "tea", "display": "Tea", "equivalence": "equal"}]},
                {"code": "vert", "target": [{"code": "tea", "equivalence": "wider"}]},
                {"code": "eau", "target": [{"equivalence": "unmatched"}]},
            ],
            "unmapped": {"mode": "fixed", "code": "other", "display": "Other"},
        }
    ],
}


async def test_a_code_is_translated(fhir: Client) -> None:
    id = await created(fhir, MAP)
    match = [
        {"name": "equivalence", "valueCode": "equal"},
        {"name": "concept", "valueCoding": {"system": "http://x.test/drinks", "code": "tea", "display": "Tea"}},
        {"name": "source", "valueUri": MAP["url"]},
    ]
    ways = ({"url": MAP["url"]}, {"source": MAP["sourceUri"]}, {"target": MAP["targetUri"]})
    for way in ways:
        params = {**way, "system": DRINKS, "code": "the"}
        answer = (await fhir.get("/ConceptMap/$translate", params=params)).json()
        assert values(answer)["result"] is True
        assert [one["part"] for one in answer["parameter"] if one["name"] == "match"] == [match]
    path = f"/ConceptMap/{id}/$translate"
    assert (await told(fhir, path, system=DRINKS, code="eau"))["result"] is False
    other = (await fhir.get(path, params={"system": DRINKS, "code": "lait"})).json()
    assert other["parameter"][-1]["part"][1]["valueCoding"]["code"] == "other"
    assert (await told(fhir, path, system="http://x.test", code="the"))["result"] is False
    back = {"system": "http://x.test/drinks", "code": "tea", "reverse": "true"}
    answer = (await fhir.get(path, params=back)).json()
    found = [one["part"] for one in answer["parameter"] if one["name"] == "match"]
    assert [(one[0]["valueCode"], one[1]["valueCoding"]["code"]) for one in found] == [
        ("equal", "the"),
        ("narrower", "vert"),
    ]
    assert (await fhir.get("/ConceptMap/$translate", params={"url": "http://x.test/n", **back})).status_code == 404


async def test_a_map_of_the_standard_translates(fhir: Client) -> None:
    url = "http://hl7.org/fhir/ConceptMap/cm-administrative-gender-v3"
    params = {"url": url, "system": GENDERS, "code": "male"}
    answer = (await fhir.get("/ConceptMap/$translate", params=params)).json()
    assert values(answer)["result"] is True
    assert answer["parameter"][1]["part"][1]["valueCoding"]["code"] == "M"


# ---- rights --------------------------------------------------------------------------------------------------------


async def test_who_may_not_read_code_systems_may_not_ask_about_them_either(as_: Callable[[str], Client]) -> None:
    await created(as_("system"), SYSTEM)
    params = {"system": DRINKS, "code": "the"}
    assert (await as_("nadia").get("/CodeSystem/$lookup", params=params)).status_code == 200
    assert (await as_("patients").get("/CodeSystem/$lookup", params=params)).status_code == 403
