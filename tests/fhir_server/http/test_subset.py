"""Parts of resources: `_elements` and `_summary`, R4 search.html#elements and #summary."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server import media, subset
from fhir_server.r4 import load, validate
from tests.fhir_server import filled
from tests.fhir_server.http.samples import a_patient, an_observation, entries, issue

Client = httpx.AsyncClient
Json = dict[str, Any]
NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Dominique</div>'}


@pytest.fixture
async def patient(fhir: Client) -> Json:
    resource = a_patient(
        text=NARRATIVE,
        birthDate="1980-05-11",
        _birthDate={"extension": [{"url": "http://x.test/time", "valueTime": "10:00:00"}]},
        contact=[{"name": {"family": "Proche"}}],
        photo=[{"contentType": "image/png", "data": "AAAA"}],
        meta={"tag": [{"system": "http://x.test", "code": "t"}]},
    )
    found: Json = (await fhir.post("/Patient", json=resource)).json()
    return found


def kept(resource: Json) -> set[str]:
    """The elements of a copy, which says that it is one."""
    assert resource["meta"]["tag"][-1] == subset.TAG
    return set(resource) - {"resourceType", "id", "meta"}


async def test_elements_names_what_is_kept_and_adds_what_no_copy_may_lack(fhir: Client, patient: Json) -> None:
    url = f"/Patient/{patient['id']}"
    for place in (url, f"{url}/_history/1"):
        copy = (await fhir.get(f"{place}?_elements=birthDate,name")).json()
        assert kept(copy) == {"name", "birthDate", "_birthDate", "active"}  # active: a modifier element
        assert (copy["name"], copy["_birthDate"]) == (patient["name"], patient["_birthDate"])
        assert copy["meta"]["tag"] == [*patient["meta"]["tag"], subset.TAG]
    assert (await fhir.get(url)).json() == patient
    (found,) = entries((await fhir.get("/Patient?_elements=gender")).json())
    assert kept(found) == {"active"}


async def test_elements_of_an_observation_keep_status_and_code(fhir: Client) -> None:
    quantity = {"value": 1.50, "unit": "kg"}
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}'
    headers = {"Content-Type": "application/fhir+json"}
    made = (await fhir.post("/Observation", content=body, headers=headers)).json()
    copy = await fhir.get(f"/Observation/{made['id']}?_elements=value")
    assert kept(copy.json()) == {"status", "code", "valueQuantity"}
    assert b'"value":1.50' in copy.content
    assert kept((await fhir.get(f"/Observation/{made['id']}?_elements=subject")).json()) == {"status", "code"}
    assert quantity["value"] == copy.json()["valueQuantity"]["value"]


async def test_each_summary_keeps_its_own_parts(fhir: Client, patient: Json) -> None:
    url = f"/Patient/{patient['id']}"
    expected = {
        "true": {"active", "name", "birthDate", "_birthDate"},
        "text": {"text"},
        "data": {"active", "name", "birthDate", "_birthDate", "contact", "photo"},
    }
    for form, names in expected.items():
        assert kept((await fhir.get(f"{url}?_summary={form}")).json()) == names
        (found,) = entries((await fhir.get(f"/Patient?_summary={form}")).json())
        assert kept(found) == names
        (past,) = (await fhir.get(f"/Patient/_history?_summary={form}")).json()["entry"]
        assert kept(past["resource"]) == names
    assert (await fhir.get(f"{url}?_summary=false")).json() == patient


async def test_a_summary_goes_inside_what_it_keeps(fhir: Client) -> None:
    attachment = {"contentType": "text/plain", "data": "QUFB", "title": "Lettre"}
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": attachment, "format": {"code": "x"}}],
        "context": {"facilityType": {"text": "Cabinet"}},
    }
    made = (await fhir.post("/DocumentReference", json=document)).json()
    copy = (await fhir.get(f"/DocumentReference/{made['id']}?_summary=true")).json()
    assert kept(copy) == {"status", "content"}
    assert copy["content"] == [
        {"attachment": {"contentType": "text/plain", "title": "Lettre"}, "format": {"code": "x"}}
    ]


async def test_included_resources_have_their_own_elements(fhir: Client, patient: Json) -> None:
    await fhir.post("/Observation", json=an_observation(f"Patient/{patient['id']}"))
    include = "/Observation?_include=Observation:subject"
    bundle = (await fhir.get(f"{include}&_elements=subject")).json()
    assert (kept(entries(bundle)[0]), entries(bundle, "include")) == ({"subject", "status", "code"}, [patient])
    bundle = (await fhir.get(f"{include}&_elements=subject,Patient.name")).json()
    assert kept(entries(bundle, "include")[0]) == {"name", "active"}
    bundle = (await fhir.get(f"{include}&_summary=true")).json()
    assert "contact" not in kept(entries(bundle, "include")[0])
    assert (await fhir.get(f"{include}&_summary=text")).status_code == 400


@pytest.mark.parametrize(
    "query",
    ["_elements=nom", "_elements=Nothing.name", "_summary=some", "_summary=true&_elements=name", "_summary=count&x=y"],
)
async def test_what_is_not_understood_is_refused(fhir: Client, patient: Json, query: str) -> None:
    url = f"/Patient/{patient['id']}"
    for place in (url, f"{url}/_history", "/Patient", "/Patient/_history"):
        answer = await fhir.get(f"{place}?{query}")
        assert (answer.status_code, issue(answer)["severity"]) == (400, "error"), place


async def test_a_copy_can_be_had_as_xml_and_by_head(fhir: Client, patient: Json) -> None:
    place = f"/Patient/{patient['id']}?_summary=text&_format=xml"
    got, head = await fhir.get(place), await fhir.head(place)
    assert "SUBSETTED" in got.text
    assert "Pat-Trois" not in got.text
    assert (head.content, head.headers["content-length"]) == (b"", str(len(got.content)))


@pytest.mark.parametrize("summary", ["true", "text", "data", ""])
def test_a_copy_of_any_resource_breaks_no_rule_that_the_whole_keeps(
    definitions: load.Definitions, summary: subset.Summary
) -> None:
    subsets, validator = subset.Subsets(definitions.elements), validate.Validator(definitions)
    for type in definitions.types:
        whole = filled.resource(definitions, type)
        names = [one for one in ("language", "data") if not summary and subsets.has(type, one)][:1]
        wish = subset.make(subsets, summary, names, (type,))
        assert wish is not None
        copy = media.read_json(wish.body(type, media.encode(whole)))
        known = {one.expression for one in validator.check(whole)}
        # An invariant may speak of what was left out: a narrative, a contained resource.
        found = [one for one in validator.check(copy) if one.code != "invariant" and one.expression not in known]
        assert not found, (type, found)
