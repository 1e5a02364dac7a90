"""Is a value set expanded as R4 says, from the package and from what is stored?

https://hl7.org/fhir/R4/valueset-operation-expand.html
"""

from __future__ import annotations

import asyncio

import pytest

from tests.fhir_server.http.conftest import Client
from tests.fhir_server.http.samples import issue
from tests.fhir_server.http.terms import DRINKS, GENDER, GENDERS, SYSTEM, a_value_set, codes, created, expanded


async def test_a_value_set_of_the_standard_is_expanded(fhir: Client) -> None:
    answer = (await fhir.get("/ValueSet/$expand", params={"url": GENDER})).json()
    assert answer["url"] == GENDER
    assert answer["expansion"]["total"] == 4
    assert answer["expansion"]["contains"][0] == {
        "system": GENDERS,
        "version": "4.0.1",
        "code": "male",
        "display": "Male",
    }
    assert {"name": "version", "valueUri": f"{GENDERS}|4.0.1"} in answer["expansion"]["parameter"]
    assert answer["expansion"]["identifier"].startswith("urn:uuid:")


async def test_what_is_stored_counts_at_once_by_url_version_and_id(fhir: Client) -> None:
    value_set = a_value_set({"system": DRINKS}, version="2")
    assert (await fhir.get("/ValueSet/$expand", params={"url": value_set["url"]})).status_code == 404
    id = await created(fhir, value_set)
    answer = await fhir.get("/ValueSet/$expand", params={"url": value_set["url"]})
    assert answer.status_code == 422
    assert issue(answer)["code"] == "not-found"
    system = await created(fhir, SYSTEM)
    everything = ["chaud", "the", "vert", "cafe", "eau", "cidre"]
    assert await codes(fhir, url=value_set["url"]) == everything
    assert await codes(fhir, url=f"{value_set['url']}|2") == everything
    assert await codes(fhir, f"/ValueSet/{id}/$expand") == everything
    assert (await fhir.get("/ValueSet/$expand", params={"url": f"{value_set['url']}|3"})).status_code == 404
    await fhir.put(f"/CodeSystem/{system}", json={**SYSTEM, "id": system, "concept": [{"code": "lait"}]})
    assert await codes(fhir, url=value_set["url"]) == ["lait"]
    await fhir.delete(f"/ValueSet/{id}")
    assert (await fhir.get("/ValueSet/$expand", params={"url": value_set["url"]})).status_code == 404


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([("concept", "is-a", "the")], ["the", "vert"]),
        ([("concept", "descendent-of", "chaud")], ["the", "vert", "cafe"]),
        ([("concept", "is-not-a", "chaud")], ["eau", "cidre"]),
        ([("hot", "=", "true")], ["the"]),
        ([("hot", "exists", "false"), ("code", "in", "eau,the,vert")], ["vert", "eau"]),
        ([("code", "not-in", "eau,the")], ["chaud", "vert", "cafe", "cidre"]),
        ([("code", "regex", "c.*")], ["chaud", "cafe", "cidre"]),
        ([("parent", "=", "the")], ["vert"]),
        ([("status", "exists", "true")], ["cidre"]),
        ([("concept", "is-a", "rien")], []),
    ],
)
async def test_filters_choose_concepts(fhir: Client, filters: list[tuple[str, str, str]], expected: list[str]) -> None:
    await created(fhir, SYSTEM)
    written = [{"property": name, "op": op, "value": value} for name, op, value in filters]
    assert await expanded(fhir, a_value_set({"system": DRINKS, "filter": written})) == expected


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a*)*b", "a*a*a*a*b", "(?=a)", "(a)\\1", "(", "a" * 201])
async def test_a_pattern_that_could_take_for_ever_is_refused(fhir: Client, pattern: str) -> None:
    await created(fhir, SYSTEM)
    value_set = a_value_set({"system": DRINKS, "filter": [{"property": "code", "op": "regex", "value": pattern}]})
    answer = await fhir.post("/ValueSet/$expand", json=value_set)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("pattern", ["a?" * 60 + "a" * 60, "(aa|a)" * 30, "a*a*a*b"])
async def test_a_pattern_that_only_some_codes_make_slow_is_refused_too(fhir: Client, pattern: str) -> None:
    concepts = [{"code": "a" * length} for length in range(40, 250)]
    await created(fhir, {**SYSTEM, "url": f"{DRINKS}-a", "concept": concepts})
    filters = [{"property": "code", "op": "regex", "value": pattern}]
    value_set = a_value_set({"system": f"{DRINKS}-a", "filter": filters})
    answer = await asyncio.wait_for(fhir.post("/ValueSet/$expand", json=value_set), 20)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")


async def test_imports_intersect_and_excludes_take_away(fhir: Client) -> None:
    await created(fhir, SYSTEM)
    hot = a_value_set(
        {"system": DRINKS, "filter": [{"property": "concept", "op": "is-a", "value": "chaud"}]}, name="chaud"
    )
    listed = a_value_set({"system": DRINKS, "concept": [{"code": "the"}, {"code": "eau"}]}, name="liste")
    await created(fhir, hot)
    await created(fhir, listed)
    both = a_value_set({"valueSet": [hot["url"], listed["url"]]})
    assert await expanded(fhir, both) == ["the"]
    assert await expanded(fhir, a_value_set({"valueSet": [hot["url"]]}, {"valueSet": [listed["url"]]})) == [
        "chaud",
        "the",
        "vert",
        "cafe",
        "eau",
    ]
    without = a_value_set({"valueSet": [hot["url"]]}, exclude=[{"valueSet": [listed["url"]]}])
    assert await expanded(fhir, without) == ["chaud", "vert", "cafe"]


async def test_value_sets_that_import_each_other_are_refused(fhir: Client) -> None:
    await created(fhir, a_value_set({"valueSet": ["http://x.test/ValueSet/b"]}, name="a"))
    await created(fhir, a_value_set({"valueSet": ["http://x.test/ValueSet/a"]}, name="b"))
    answer = await fhir.get("/ValueSet/$expand", params={"url": "http://x.test/ValueSet/a"})
    assert answer.status_code == 422
    assert "boucle" in issue(answer)["details"]["text"]


async def test_an_expansion_is_filtered_paged_and_named_in_a_language(fhir: Client) -> None:
    await created(fhir, SYSTEM)
    await created(fhir, a_value_set({"system": DRINKS}))
    url = "http://x.test/ValueSet/vs"
    assert await codes(fhir, url=url, filter="the") == ["the", "vert"]
    assert await codes(fhir, url=url, filter="VER") == ["vert"]
    assert await codes(fhir, url=url, activeOnly="true") == ["chaud", "the", "vert", "cafe", "eau"]
    assert await codes(fhir, url=url, excludeNotForUI="true") == ["the", "vert", "cafe", "eau", "cidre"]
    page = (await fhir.get("/ValueSet/$expand", params={"url": url, "count": 2, "offset": 3})).json()["expansion"]
    assert [one["code"] for one in page["contains"]] == ["cafe", "eau"]
    assert (page["total"], page["offset"]) == (6, 3)
    english = (await fhir.get("/ValueSet/$expand", params={"url": url, "displayLanguage": "en"})).json()["expansion"]
    assert [one["display"] for one in english["contains"]][:2] == ["Boisson chaude", "Tea"]
    named = (await fhir.get("/ValueSet/$expand", params={"url": url, "includeDesignations": "true"})).json()
    assert named["expansion"]["contains"][1]["designation"] == [{"language": "en", "value": "Tea"}]
    assert named["expansion"]["contains"][0]["abstract"] is True
    nested = (await fhir.get("/ValueSet/$expand", params={"url": url, "excludeNested": "false"})).json()["expansion"]
    assert [one["code"] for one in nested["contains"]] == ["chaud", "eau", "cidre"]
    assert nested["contains"][0]["contains"][0]["contains"][0]["code"] == "vert"


async def test_too_many_codes_without_paging_are_too_costly(fhir: Client) -> None:
    many = {**SYSTEM, "concept": [{"code": f"c{n}"} for n in range(10_001)]}
    await created(fhir, many)
    value_set = a_value_set({"system": DRINKS})
    answer = await fhir.post("/ValueSet/$expand", json=value_set)
    assert answer.status_code == 413
    assert issue(answer)["code"] == "too-costly"
    await created(fhir, value_set)
    assert await codes(fhir, url=value_set["url"], count="2") == ["c0", "c1"]


async def test_wrong_calls_are_refused_with_every_problem(fhir: Client) -> None:
    answer = await fhir.get("/ValueSet/$expand", params={"url": GENDER, "count": "x", "zorglub": "1"})
    assert answer.status_code == 400
    assert [one["expression"] for one in answer.json()["issue"]] == [["Parameters.count"], ["Parameters.zorglub"]]
    assert (await fhir.get("/ValueSet/$expand")).status_code == 400
    broken = await fhir.post("/ValueSet/$expand", json={"resourceType": "ValueSet", "compose": {"include": "x"}})
    assert broken.status_code == 422
    assert (await fhir.get("/ValueSet/nobody/$expand")).status_code == 404
