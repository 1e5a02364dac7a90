"""Does a search for words find what people read in a resource, and nothing else?

R4 search.html#content and the modifier `:text`; on both engines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.conftest import Client
from tests.fhir_server.http.samples import a_patient, an_observation, entries, issue

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


def narrative(text: str) -> dict[str, str]:
    return {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'}


async def created(fhir: Client, resource: dict[str, Any]) -> str:
    answer = await fhir.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def found(client: Client, url: str, **params: str) -> set[str]:
    answer = await client.get(url, params=params)
    assert answer.status_code == 200, answer.text
    return {one["id"] for one in entries(answer.json())}


async def test_words_of_the_narrative_and_words_of_everything(fhir: Client) -> None:
    note = [{"text": "Toux sèche depuis l'été"}]
    one = await created(fhir, an_observation(text=narrative("Fièvre &amp; mal de <b>dos</b>"), note=note))
    two = await created(fhir, an_observation(text=narrative("Mal au genou"), note=[{"text": "fièvre"}]))
    for asked, expected in (
        ("fievre", {one}),
        ("FIÈVRE", {one}),
        ("mal", {one, two}),
        ("mal dos", {one}),
        ('"mal de dos"', {one}),
        ('"de mal"', set()),
        ("mal -genou", {one}),
        ("genou OR dos", {one, two}),
        ("genou,dos", {one, two}),
        ("gen*", {two}),
        ("gen", set()),
        ("toux", set()),
        ("b", set()),
    ):
        assert await found(fhir, "/Observation", _text=asked) == expected, asked
    for asked, expected in (
        ("fievre", {one, two}),
        ('"seche depuis l ete"', {one}),
        ('"dos toux"', set()),
        ("toux dos", {one}),
        ("final genou", {two}),
        ("8310-5 toux", {one}),
        ("loinc", set()),
    ):
        assert await found(fhir, "/Observation", _content=asked) == expected, asked


async def test_words_join_with_other_conditions_totals_and_pages(fhir: Client) -> None:
    ids = [await created(fhir, an_observation(note=[{"text": "suivi du poids"}], status="final")) for _ in range(5)]
    await created(fhir, an_observation(note=[{"text": "suivi du poids"}], status="amended"))
    url: str | None = "/Observation?_content=poids&status=final&_count=2&_total=accurate"
    seen: list[str] = []
    while url:
        bundle = (await fhir.get(url)).json()
        assert bundle.get("total", 5) == 5
        seen += [one["id"] for one in entries(bundle)]
        url = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), None)
    assert sorted(seen) == sorted(ids)


async def test_what_changed_is_found_by_its_new_words_alone_and_what_is_deleted_by_none(fhir: Client) -> None:
    id = await created(fhir, an_observation(note=[{"text": "avant"}]))
    assert await found(fhir, "/Observation", _content="avant") == {id}
    await fhir.put(f"/Observation/{id}", json={**an_observation(note=[{"text": "après"}]), "id": id})
    assert await found(fhir, "/Observation", _content="avant") == set()
    assert await found(fhir, "/Observation", _content="apres") == {id}
    await fhir.put(f"/Observation/{id}", json={**an_observation(note=[{"text": "enfin"}]), "id": id})
    await fhir.delete(f"/Observation/{id}")
    assert await found(fhir, "/Observation", _content="enfin OR apres") == set()


async def test_words_are_found_only_by_who_may_read_them(as_: Callable[[str], Client]) -> None:
    id = await created(as_("nadia"), an_observation(note=[{"text": "confidentiel"}]))
    assert await found(as_("nadia"), "/Observation", _content="confidentiel") == {id}
    assert await found(as_("paul"), "/Observation", _content="confidentiel") == set()
    assert (await as_("paul").get("/Observation?_content=confidentiel&_summary=count")).json()["total"] == 0


@pytest.mark.parametrize(
    "asked",
    [
        'x" OR "y',
        "narrative:x",
        "x NEAR y",
        "a AND NOT b",
        "(x",
        "x*)",
        "'; --",
        "x:*A",
        "a & !b",
        "{content}: x",
        "^x",
    ],
)
async def test_no_sign_of_a_query_language_gets_through(fhir: Client, asked: str) -> None:
    await created(fhir, an_observation(note=[{"text": "rien"}]))
    answer = await fhir.get("/Observation", params={"_content": asked})
    assert answer.status_code in (200, 400)
    assert not answer.json().get("total")


async def test_text_of_a_code_an_identifier_and_a_reference(fhir: Client) -> None:
    code = {"coding": [{"code": "x", "display": "Poids du corps"}], "text": "Pesée à jeun"}
    subject = {"display": "Dominique Pat-Trois"}
    one = await created(fhir, {"resourceType": "Observation", "status": "final", "code": code, "subject": subject})
    identifier = [{"value": "1", "type": {"text": "Numéro local"}}]
    patient = await created(fhir, a_patient(identifier=identifier))
    for asked, expected in (
        ("poids", {one}),
        ("poids du", {one}),
        ("cor", {one}),
        ("PESEE", {one}),
        ("poids jeun", set()),
        ("corps pesée", set()),
        ("oids", set()),
        ("rien,jeun", {one}),
    ):
        assert await found(fhir, "/Observation", **{"code:text": asked}) == expected, asked
    assert await found(fhir, "/Observation", **{"category:text": "poids"}) == set()
    assert await found(fhir, "/Observation", **{"subject:text": "pat trois"}) == {one}
    assert await found(fhir, "/Patient", **{"identifier:text": "numero"}) == {patient}


async def test_a_search_without_any_word_is_refused(fhir: Client) -> None:
    for asked in ("_content=-", "_text=-fièvre", "_content=%22x", "code:text=!"):
        answer = await fhir.get(f"/Observation?{asked}")
        assert answer.status_code == 400, asked
        assert issue(answer)["expression"] == [f"http.{asked.partition('=')[0]}"]


async def test_a_filter_asks_for_words_by_co_alone(fhir: Client) -> None:
    one = await created(fhir, an_observation(text=narrative("Fièvre")))
    two = await created(fhir, an_observation(text=narrative("Toux"), note=[{"text": "une fièvre"}]))
    assert await found(fhir, "/Observation", _filter="_text co fievre") == {one}
    assert await found(fhir, "/Observation", _filter='_content co "une fievre" or _text co fievre') == {one, two}
    assert await found(fhir, "/Observation", _filter="not (_text co fievre)") == {two}
    for wrong in ("_text eq fievre", "_text sw fie", "_content pr true", "_text ne x"):
        answer = await fhir.get("/Observation", params={"_filter": wrong})
        assert (answer.status_code, issue(answer)["expression"]) == (400, ["http._filter"]), wrong
