"""Searches that look through references, over several types, or into compartments: what they find and never tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import BASE, a_patient, bundle, entries, entry, identified, issue, link

Client = httpx.AsyncClient

pytestmark = pytest.mark.parametrize("database", ENGINES, indirect=True)


async def put(fhir: Client, *resources: dict[str, Any]) -> None:
    for resource in resources:
        answer = await fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
        assert answer.status_code in (200, 201), answer.text


def to(reference: str) -> dict[str, str]:
    return {"reference": reference}


def coded(code: str, system: str = "http://loinc.org") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def seen(id: str, subject: str, code: str = "8480-6", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "id": id, "status": "final", "code": coded(code), "subject": to(subject), **more,
    }  # fmt: skip


@pytest.fixture
async def world(fhir: Client) -> None:
    """Two organizations one in the other, two patients and a group, what was seen and found of them."""
    await put(
        fhir,
        {"resourceType": "Organization", "id": "top", "name": "Région du Test"},
        {"resourceType": "Organization", "id": "o1", "name": "Maison de santé", "partOf": to("Organization/top")},
        {"resourceType": "Organization", "id": "o2", "name": "Clinique"},
        {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Medecin"}], "identifier": identified("d1")},
        a_patient(
            id="p1", name=[{"family": "Alpha"}], gender="female", birthDate="1980-05-11",
            managingOrganization=to("Organization/o1"), generalPractitioner=[to("Practitioner/d1")],
        ),
        a_patient(
            id="p2", name=[{"family": "Beta"}], gender="male", birthDate="1990-01-01",
            managingOrganization=to("Organization/o2"), meta={"tag": [{"system": "s", "code": "vip"}]},
        ),
        {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "identifier": identified("g1")},
        seen("ob1", "Patient/p1", effectiveDateTime="2026-01-01", performer=[to("Practitioner/d1")]),
        seen("ob2", "Patient/p2", effectiveDateTime="2026-01-02"),
        seen("ob3", "Patient/p1", "8867-4", effectiveDateTime="2026-01-03", encounter=to("Encounter/e1")),
        seen("ob4", "Group/g1"),
        seen("ob5", "Patient/gone"),
        {"resourceType": "Condition", "id": "c1", "code": coded("I10"), "subject": to("Patient/p1")},
        {"resourceType": "Condition", "id": "c2", "code": coded("E11"), "subject": to("Patient/p2")},
        {
            "resourceType": "Encounter", "id": "e1", "status": "finished", "subject": to("Patient/p1"),
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        },
        {
            "resourceType": "List", "id": "l1", "status": "current", "mode": "working",
            "entry": [{"item": to("Patient/p2")}, {"item": to("Observation/ob3")}, {"item": to("Patient/gone")}],
        },
    )  # fmt: skip


async def found(fhir: Client, query: str) -> set[str]:
    answer = await fhir.get(query)
    assert answer.status_code == 200, answer.text
    counted = (await fhir.get(f"{query}{'&' if '?' in query else '?'}_summary=count")).json()["total"]
    matches = {one["id"] for one in entries(answer.json())}
    assert counted == len(matches), query
    return matches


CHAINS = [
    ("/Observation?subject:Patient.family=alpha", "ob1 ob3"),
    ("/Observation?subject.family=alpha", "ob1 ob3"),
    ("/Observation?patient.family=alpha,beta", "ob1 ob2 ob3"),
    ("/Observation?patient.family:exact=alpha", ""),
    ("/Observation?patient.family:exact=Alpha", "ob1 ob3"),
    ("/Observation?patient.family:contains=lph", "ob1 ob3"),
    ("/Observation?patient.gender:not=male", "ob1 ob3"),
    ("/Observation?patient.birthdate=lt1985", "ob1 ob3"),
    ("/Observation?patient.birthdate:missing=false", "ob1 ob2 ob3"),
    ("/Observation?patient.general-practitioner:missing=true", "ob2"),
    ("/Observation?patient.organization.name=maison", "ob1 ob3"),
    ("/Observation?patient.organization.partof.name=région", "ob1 ob3"),
    ("/Observation?patient:Patient.organization:Organization.partof:Organization.name=région", "ob1 ob3"),
    ("/Observation?subject.identifier=http://x.test/ipp|g1", "ob4"),
    ("/Observation?subject.identifier=g1", "ob4"),
    ("/Observation?performer.identifier=d1", "ob1"),
    ("/Observation?subject._id=p1,g1", "ob1 ob3 ob4"),
    ("/Observation?subject:Patient._id=p1,g1", "ob1 ob3"),
    ("/Observation?patient._lastUpdated=gt2020", "ob1 ob2 ob3"),
    ("/Observation?patient._tag=s|vip", "ob2"),
    ("/Observation?patient._tag:not=s|vip", "ob1 ob3"),
    ("/Observation?patient._list=l1", "ob2"),
    ("/Observation?patient.general-practitioner=Practitioner/d1", "ob1 ob3"),
    ("/Observation?patient.family=alpha&patient.gender=male", ""),
    ("/Observation?patient.family=alpha&code=8867-4", "ob3"),
    ("/Observation?patient.family=alpha&_sort=date", "ob1 ob3"),
    ("/Observation?patient._has:Condition:patient:code=I10", "ob1 ob3"),
    ("/Observation?encounter.patient.family=alpha", "ob3"),
    ("/Condition?subject.name=nobody", ""),
    ("/Patient?_has:Condition:patient:code=I10", "p1"),
    ("/Patient?_has:Condition:patient:code=I10,E11", "p1 p2"),
    ("/Patient?_has:Observation:patient:code=8480-6", "p1 p2"),
    ("/Patient?_has:Observation:subject:code:not=8480-6", "p1"),
    ("/Patient?_has:Observation:patient:code=8480-6&_has:Observation:patient:code=8867-4", "p1"),
    ("/Patient?_has:Observation:patient:date=ge2026-01-02", "p1 p2"),
    ("/Patient?_has:Observation:patient:performer.family=medecin", "p1"),
    ("/Patient?_has:Observation:patient:_id=ob2", "p2"),
    ("/Patient?_has:Condition:patient:code=nothing", ""),
    ("/Organization?_has:Patient:organization:_has:Condition:patient:code=E11", "o2"),
    ("/Organization?_has:Organization:partof:_has:Patient:organization:family=alpha", "top"),
    ("/Practitioner?_has:Patient:general-practitioner:organization.name=maison", "d1"),
    ("/Encounter?_has:Observation:encounter:code=8867-4", "e1"),
    ("/Group?_has:Observation:subject:code=8480-6", "g1"),
    ("/Patient?_list=l1", "p2"),
    ("/Observation?_list=l1", "ob3"),
    ("/Patient?_list=nothing", ""),
]


@pytest.mark.usefixtures("world")
async def test_chains_and_has_find_through_references(fhir: Client) -> None:
    for query, expected in CHAINS:
        assert await found(fhir, query) == set(expected.split()), query


@pytest.mark.usefixtures("world")
async def test_two_parameters_of_one_chain_may_be_met_by_different_resources(fhir: Client) -> None:
    """The reference repeats: one performer has the name, the other the identifier."""
    await put(
        fhir,
        {"resourceType": "Practitioner", "id": "d2", "name": [{"family": "Autre"}], "identifier": identified("d2")},
        seen("ob6", "Patient/p1", performer=[to("Practitioner/d1"), to("Practitioner/d2")]),
    )
    assert await found(fhir, "/Observation?performer.family=medecin&performer.identifier=d2") == {"ob6"}


@pytest.mark.usefixtures("world")
async def test_a_chain_ends_where_the_linked_resource_was_deleted_or_changed(fhir: Client) -> None:
    await put(fhir, a_patient(id="p2", name=[{"family": "Gamma"}]))
    assert await found(fhir, "/Observation?patient.family=beta") == set()
    assert await found(fhir, "/Observation?patient.family=gamma") == {"ob2"}
    await put(fhir, seen("ob2", "Patient/p1"))
    assert await found(fhir, "/Observation?patient.family=gamma") == set()
    assert await found(fhir, "/Patient?_has:Observation:patient:_id=ob2") == {"p1"}
    await fhir.delete("/Patient/p1")
    assert await found(fhir, "/Observation?patient.family=alpha") == set()
    await fhir.delete("/Condition/c2")
    assert await found(fhir, "/Patient?_has:Condition:patient:code=E11") == set()


@pytest.mark.usefixtures("world")
async def test_what_a_caller_does_not_see_is_not_told_by_links(fhir: Client, as_: Callable[..., Client]) -> None:
    """Nadia's own observation refers to a patient whom she may not see, and whose condition she may not see."""
    nadia = as_("nadia")
    mine = seen("x", "Patient/p1", "8867-4")
    own = (await nadia.post("/Observation", json={**mine, "hasMember": [to("Observation/ob1")]})).json()["id"]
    assert await found(nadia, "/Observation?code=8867-4") == {own}
    for query in (
        "/Observation?patient.family=alpha",
        "/Observation?patient.gender:not=male",
        "/Observation?patient.family:missing=false",
        "/Observation?patient.organization.name=maison",
        "/Observation?patient._id=p1",
        "/Observation?has-member.code=8480-6",
        "/Observation?patient._has:Condition:patient:code=I10",
        "/Observation?_list=l1",
        "/Patient?_has:Observation:patient:code=8867-4",
        "/Observation?_filter=patient.family eq alpha",
        "/Observation?_filter=not (patient.family ne alpha) and patient.gender eq female",
        "/Patient/p1/Condition",
        "/?_type=Patient,Condition",
    ):
        assert await found(nadia, query) == set(), query
    # Nothing depends on whether what she cannot see is there.
    for ask in ("/Observation?_filter=not (patient.family eq {})", "/Observation?patient.family={}"):
        assert (await nadia.get(ask.format("alpha"))).json().get("entry") == (
            await nadia.get(ask.format("nobody"))
        ).json().get("entry")
    assert await found(nadia, "/Patient/p1/Observation") == {own}
    assert await found(nadia, "/?_type=Observation,Patient") == {own}
    await nadia.post("/Patient", json=a_patient(name=[{"family": "Alpha"}]))
    assert await found(nadia, "/Observation?patient.family=alpha") == set()


@pytest.mark.usefixtures("world")
async def test_a_type_that_the_scopes_leave_out_is_not_looked_at(fhir: Client, as_: Callable[..., Client]) -> None:
    patients = as_("patients")
    for query in (
        "/Patient?organization.name=maison",
        "/Patient?_has:Observation:patient:code=8480-6",
        "/Patient?general-practitioner:Practitioner.family=medecin",
        "/Patient?link.organization.name=x",
        "/Patient?_filter=not (organization.name eq x)",
        "/Patient?_list=l1",
        "/Patient/p1/Observation",
        "/?_type=Patient,Observation",
    ):
        answer = await patients.get(query)
        assert (answer.status_code, issue(answer)["code"]) == (403, "forbidden"), query
    own = (await patients.post("/Patient", json=a_patient())).json()["id"]
    assert await found(patients, "/") == {own}
    assert (await as_("software").get("/Organization?_has:Patient:organization:family=alpha")).status_code == 403
    assert (await as_("launched").get("/")).status_code == 403


@pytest.mark.usefixtures("world")
async def test_the_whole_server_is_searched_by_what_the_types_share(fhir: Client) -> None:
    everything = await found(fhir, "/")
    assert everything >= {"top", "d1", "p1", "g1", "ob1", "c1", "e1", "l1"}
    assert await found(fhir, "/?_type=Patient,Condition") == {"p1", "p2", "c1", "c2"}
    assert await found(fhir, "/?_type=Patient&_type=Patient,Condition") == {"p1", "p2"}
    assert await found(fhir, "/?_id=p1,c2") == {"p1", "c2"}
    assert await found(fhir, "/?_tag=s|vip") == {"p2"}
    assert await found(fhir, "/?_type=Observation,Condition&patient=p1") == {"ob1", "ob3", "c1"}
    assert await found(fhir, "/?_type=Observation,Condition&patient.family=beta") == {"ob2", "c2"}
    assert await found(fhir, "/?_type=Observation,Condition&code=I10,8867-4") == {"ob3", "c1"}
    assert await found(fhir, "/?_type=Patient,Encounter&_has:Observation:subject:code=8867-4") == {"p1"}
    assert await found(fhir, "/?_lastUpdated=lt2000") == set()
    assert await found(fhir, "/?_list=l1") == {"p2", "ob3"}
    posted = await fhir.post("/_search", data={"_type": "Patient,Group", "_count": "5"})
    assert {one["id"] for one in entries(posted.json())} == {"p1", "p2", "g1"}
    assert link(posted.json(), "self") == f"{BASE}?_type=Patient,Group&_count=5"
    for query in (
        "/?_type=Nope",
        "/?family=alpha",
        "/?_type=Patient&_type=Group",
        "/?_type=Patient,Group&_sort=family",
    ):
        assert (await fhir.get(query)).status_code == 400, query


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("sort", ["", "_sort=_lastUpdated", "_sort=-_lastUpdated,_id", "_sort=_id", "_sort=date"])
async def test_pages_over_several_types_hold_each_resource_once(fhir: Client, sort: str) -> None:
    types = "Observation,Condition,Encounter" if "=date" not in sort else "Observation,Encounter,List"
    seen: list[str] = []
    place = f"/?_type={types}&_count=2&{sort}"
    while place:
        page = (await fhir.get(place)).json()
        seen += [one["id"] for one in entries(page)]
        place = (link(page, "next") or "").replace(BASE, "")
    assert len(seen) == len(set(seen))
    assert set(seen) == await found(fhir, f"/?_type={types}")
    if sort == "_sort=_id":
        assert seen == sorted(seen)
    if sort == "_sort=date":
        assert seen[:3] == ["ob1", "ob2", "ob3"]


@pytest.mark.usefixtures("world")
async def test_a_compartment_holds_what_its_definition_names(fhir: Client) -> None:
    assert await found(fhir, "/Patient/p1/Observation") == {"ob1", "ob3"}
    assert await found(fhir, "/Patient/p1/Observation?code=8867-4") == {"ob3"}
    # In R4 a Patient is in a compartment only by Patient.link: not in its own.
    assert await found(fhir, "/Patient/p1/*") == {"ob1", "ob3", "c1", "e1"}
    assert await found(fhir, "/Patient/p1/*?_type=Condition,Encounter") == {"c1", "e1"}
    assert await found(fhir, "/Encounter/e1/*") == {"e1", "ob3"}
    assert await found(fhir, "/Encounter/e1/Encounter") == {"e1"}
    assert await found(fhir, "/Practitioner/d1/Observation") == {"ob1"}
    assert await found(fhir, "/Practitioner/d1/Patient") == {"p1"}
    assert await found(fhir, "/RelatedPerson/r/*") == set()
    assert await found(fhir, "/Device/d/Observation") == set()
    assert await found(fhir, "/Patient/nobody/*") == set()
    page = (await fhir.get("/Patient/p1/Observation?_count=1")).json()
    assert link(page, "self") == f"{BASE}/Patient/p1/Observation?_count=1"
    second = (await fhir.get((link(page, "next") or "").replace(BASE, ""))).json()
    assert {one["id"] for one in entries(page) + entries(second)} == {"ob1", "ob3"}
    posted = await fhir.post("/Patient/p1/Observation/_search", data={"code": "8867-4"})
    assert {one["id"] for one in entries(posted.json())} == {"ob3"}
    for path in ("/Patient/p1/Organization", "/Organization/o1/Patient", "/Organization/o1/*", "/Patient/p1/Nope"):
        assert (await fhir.get(path)).status_code == 404, path


@pytest.mark.usefixtures("world")
async def test_wildcards_follow_every_reference_in_both_directions(fhir: Client) -> None:
    async def brought(query: str) -> set[str]:
        answer = await fhir.get(query)
        assert answer.status_code == 200, answer.text
        return {one["id"] for one in entries(answer.json(), "include")}

    assert await brought("/Observation?_id=ob1&_include=*") == {"p1", "d1"}
    assert await brought("/Observation?_id=ob1&_include=*&_include:iterate=*") == {"p1", "d1", "o1", "top"}
    assert await brought("/Observation?_id=ob1&_include=Observation:*:Practitioner") == {"d1"}
    assert await brought("/Patient?_id=p1&_revinclude=*") == {"ob1", "ob3", "c1", "e1"}
    assert await brought("/Patient?_id=p2&_revinclude=*") == {"ob2", "c2", "l1"}
    assert await brought("/Patient?_id=p1&_revinclude=Observation:*") == {"ob1", "ob3"}
    assert await brought("/Organization?_id=o1&_revinclude=Patient:*&_revinclude:iterate=Condition:*") == {"p1", "c1"}
    iterated = "/Observation?_id=ob1&_include=Observation:subject&_include:iterate=Patient:organization:Organization"
    assert await brought(iterated) == {"p1", "o1"}


async def test_canonical_references_bring_what_states_that_address(fhir: Client) -> None:
    for id, version in (("q1", "1.0"), ("q2", "2.0")):
        await put(
            fhir,
            {
                "resourceType": "Questionnaire",
                "id": id,
                "url": "http://x.test/q",
                "version": version,
                "status": "draft",
            },
        )
    answers = [("any", "http://x.test/q"), ("one", "http://x.test/q|1.0"), ("none", "http://x.test/q|3.0")]
    for id, canonical in answers:
        form = {"resourceType": "QuestionnaireResponse", "id": id, "status": "completed", "questionnaire": canonical}
        await put(fhir, form)
    for id, expected in (("any", {"q1", "q2"}), ("one", {"q1"}), ("none", set())):
        query = f"/QuestionnaireResponse?_id={id}&_include=QuestionnaireResponse:questionnaire"
        assert {one["id"] for one in entries((await fhir.get(query)).json(), "include")} == expected, id
    for back in ("QuestionnaireResponse:questionnaire", "QuestionnaireResponse:questionnaire:Questionnaire", "*"):
        for id, expected in (("q1", {"any", "one"}), ("q2", {"any"})):
            found = (await fhir.get(f"/Questionnaire?_id={id}&_revinclude={back}")).json()
            assert {one["id"] for one in entries(found, "include")} == expected, (back, id)
    for query in ("questionnaire.title=x", "_has:PlanDefinition:definition:title=x"):
        assert (await fhir.get(f"/QuestionnaireResponse?{query}")).status_code == 400


LIMITS = [
    "/Patient?" + "link." * 12 + "name=x",
    "/Patient?" + "_has:Patient:link:" * 12 + "name=x",
    "/Patient?" + "&".join("name=x" for _ in range(201)),
    "/Patient?_filter=" + "(" * 20 + "name eq x" + ")" * 20,
    "/Patient?_filter=" + " and ".join(["name eq x"] * 51),
    "/Patient?_filter=name eq " + "x" * 4000,
]


async def test_searches_beyond_their_limits_are_too_costly(fhir: Client) -> None:
    for query in LIMITS:
        answer = await fhir.get(query)
        assert (answer.status_code, issue(answer)["code"]) == (400, "too-costly"), query[:60]


async def test_the_widest_chains_are_answered_all_the_same(fhir: Client) -> None:
    for query in (
        "/Task?focus.focus.focus.focus.identifier=x",
        "/Task?focus.subject.name=x",
        "/Provenance?target._has:Provenance:target:target._id=x",
        "/Task?focus.date=2026&focus.status:not=x&focus._tag:not=y",
    ):
        answer = await fhir.get(query)
        assert answer.status_code == 200, answer.text


async def test_a_long_chain_through_many_resources_is_answered_or_refused_but_never_an_outage(fhir: Client) -> None:
    names = [f"urn:uuid:00000000-0000-4000-8000-{n:012d}" for n in range(530)]  # more than are asked for first
    made = [
        {"resourceType": "Observation", "status": "final", "code": coded("a"), "hasMember": [to(one)]} for one in names
    ]
    sent = [entry("POST", "Observation", one, full_url=name) for one, name in zip(made, names, strict=True)]
    assert (await fhir.post("", json=bundle("transaction", *sent))).status_code == 200
    for chain in ("has-member." * 7, "_has:Observation:has-member:" * 7):
        answer = await fhir.get(f"/Observation?{chain}code=a&_count=1")
        if answer.status_code != 200:
            assert (answer.status_code, issue(answer)["code"]) == (400, "too-costly")
