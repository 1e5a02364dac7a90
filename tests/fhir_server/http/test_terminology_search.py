"""Do `:in`, `:not-in`, `:above` and `:below` find what the terminology says, on both engines?

https://hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.conftest import Client
from tests.fhir_server.http.samples import a_patient, bundle, entries, entry, issue
from tests.fhir_server.http.terms import DRINKS, GENDER, GENDERS, SYSTEM, a_value_set, created

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)
HOT = a_value_set({"system": DRINKS, "filter": [{"property": "concept", "op": "is-a", "value": "the"}]}, name="hot")


def drunk(code: str | None, system: str = DRINKS) -> dict[str, Any]:
    coding = {"coding": [{"system": system, "code": code}]} if code else {"text": "rien"}
    return {"resourceType": "Observation", "status": "final", "code": coding}


async def found(client: Client, url: str, **params: str) -> set[str]:
    answer = await client.get(url, params=params)
    assert answer.status_code == 200, answer.text
    return {one["id"] for one in entries(answer.json())}


async def test_codes_of_a_value_set_and_codes_above_and_below(fhir: Client) -> None:
    await created(fhir, SYSTEM)
    id = await created(fhir, HOT)
    tea, green, water = [await created(fhir, drunk(code)) for code in ("the", "vert", "eau")]
    none = await created(fhir, drunk(None))
    foreign = await created(fhir, drunk("the", "http://x.test/other"))
    for name, value, expected in (
        ("code:in", HOT["url"], {tea, green}),
        ("code:in", f"ValueSet/{id}", {tea, green}),
        ("code:not-in", HOT["url"], {water, none, foreign}),
        ("code:below", f"{DRINKS}|chaud", {tea, green}),
        ("code:below", f"{DRINKS}|vert", {green}),
        ("code:above", f"{DRINKS}|vert", {tea, green}),
        ("code:below", f"{DRINKS}|vert,{DRINKS}|eau", {green, water}),
        ("combo-code:in", HOT["url"], {tea, green}),
    ):
        assert await found(fhir, "/Observation", **{name: value}) == expected, (name, value)
    assert await found(fhir, "/Observation", **{"code:in": HOT["url"], "status": "amended"}) == set()


async def test_a_value_set_of_the_standard_and_a_code_without_system_in_the_json(fhir: Client) -> None:
    one = await created(fhir, a_patient(gender="male"))
    await created(fhir, a_patient())
    assert await found(fhir, "/Patient", **{"gender:in": GENDER}) == {one}
    assert await found(fhir, "/Patient", **{"gender:below": f"{GENDERS}|male"}) == {one}
    assert await found(fhir, "/Patient", **{"gender:below": f"{GENDERS}|female"}) == set()


async def test_what_cannot_be_resolved_is_refused(fhir: Client) -> None:
    await created(fhir, {**SYSTEM, "concept": [{"code": f"c{n}"} for n in range(10_001)]})
    await created(fhir, a_value_set({"system": DRINKS}, name="many"))
    await created(fhir, a_value_set({"system": "http://loinc.org"}, name="loinc"))
    for name, value, code in (
        ("code:in", "http://x.test/none", "not-found"),
        ("code:in", "ValueSet/none", "not-found"),
        ("code:in", "http://x.test/ValueSet/many", "too-costly"),
        ("code:in", "http://x.test/ValueSet/loinc", "not-found"),
        ("code:below", "the", "structure"),
        ("code:below", f"{DRINKS}|rien", "not-found"),
        ("identifier:in", "http://x.test/none", "not-supported"),
    ):
        answer = await fhir.get("/Observation", params={name: value})
        assert answer.status_code == 400, (name, value)
        assert issue(answer)["code"] == code, (name, value)
        assert issue(answer)["expression"] == [f"http.{name}"]


async def test_a_value_set_that_the_caller_may_not_read_does_not_exist(as_: Callable[[str], Client]) -> None:
    await created(as_("system"), SYSTEM)
    await created(as_("system"), HOT)
    assert await found(as_("mixed"), "/Observation", **{"code:below": f"{GENDERS}|male"}) == set()
    answer = await as_("mixed").get("/Observation", params={"code:in": HOT["url"]})
    assert answer.status_code == 400
    assert issue(answer)["code"] == "not-found"


async def test_the_codes_are_found_wherever_they_are_named(fhir: Client) -> None:
    """Behind a chain and `_has`, and in a filter, where a value subsumes (`ss`) what is below it."""
    await created(fhir, SYSTEM)
    await created(fhir, HOT)
    tea, green, water = [await created(fhir, drunk(code)) for code in ("the", "vert", "eau")]
    members = [{"reference": f"Observation/{one}"} for one in (water, green)]
    panel = await created(fhir, {**drunk(None), "hasMember": members})
    for expression, expected in (
        (f"code in {HOT['url']}", {tea, green}),
        (f"code ni {HOT['url']}", {water, panel}),
        (f"code ss {DRINKS}|the", {tea, green}),
        (f"code sb {DRINKS}|the", {tea}),
        (f"has-member.code in {HOT['url']}", {panel}),
        (f"has-member[code in {HOT['url']}].status eq final and not (code ss {DRINKS}|eau)", {panel}),
    ):
        assert await found(fhir, "/Observation", _filter=expression) == expected, expression
    assert await found(fhir, "/Observation", **{"has-member.code:below": f"{DRINKS}|the"}) == {panel}
    assert await found(fhir, "/Observation", **{"_has:Observation:has-member:code:not-in": HOT["url"]}) == {
        water,
        green,
    }
    answer = await fhir.get("/Observation", params={"_filter": "code in http://x.test/none"})
    assert (answer.status_code, issue(answer)["code"], issue(answer)["expression"]) == (
        400,
        "not-found",
        ["http._filter"],
    )


async def test_conditions_may_name_a_value_set(fhir: Client) -> None:
    await created(fhir, SYSTEM)
    await created(fhir, HOT)
    tea = await created(fhir, drunk("the"))
    criteria = f"code:in={HOT['url']}"
    answer = await fhir.post("/Observation", json=drunk("vert"), headers={"If-None-Exist": criteria})
    assert (answer.status_code, answer.json()["id"]) == (200, tea)
    answer = await fhir.put(f"/Observation?{criteria}", json={**drunk("the"), "status": "amended"})
    assert (answer.status_code, answer.json()["id"]) == (200, tea)
    sent = bundle(
        "transaction",
        entry("POST", "Observation", drunk("vert"), ifNoneExist=f"code:below={DRINKS}|the"),
        entry("POST", "Observation", {**drunk("eau"), "hasMember": [{"reference": f"Observation?{criteria}"}]}),
    )
    answer = await fhir.post("/", json=sent, headers={"Prefer": "return=representation"})
    assert answer.status_code == 200, answer.text
    first, second = (one["resource"] for one in answer.json()["entry"])
    assert first["id"] == tea
    assert second["hasMember"] == [{"reference": f"Observation/{tea}"}]
    assert (await fhir.delete("/Observation?code:in=http://x.test/none")).status_code == 400
    assert (await fhir.delete(f"/Observation?{criteria}")).status_code == 204
    assert (await fhir.get(f"/Observation/{tea}")).status_code == 410


async def test_a_graphql_list_may_be_filtered_by_a_value_set(fhir: Client) -> None:
    await created(fhir, SYSTEM)
    await created(fhir, HOT)
    tea, _ = await created(fhir, drunk("the")), await created(fhir, drunk("eau"))
    query = '{ ObservationList(_filter: "code in ' + HOT["url"] + '") { id } }'
    assert (await fhir.get("/$graphql", params={"query": query})).json()["data"] == {"ObservationList": [{"id": tea}]}
