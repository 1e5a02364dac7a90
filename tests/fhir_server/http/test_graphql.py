"""What GraphQL queries give, and what they refuse. R4 graphql.html."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from random import Random
from typing import Any

import httpx
import msgspec
import pytest

from tests.fhir_server.http.callers import ENGINES
from tests.fhir_server.http.samples import an_observation

Client = httpx.AsyncClient

NAMES = [
    {"use": "official", "family": "Pat-Un", "given": ["Ana", "Lou"]},
    {"use": "usual", "given": ["Nana"]},
    {"use": "maiden", "family": "Pat-Zero", "given": ["Ana"]},
]
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "active": True,
    "name": NAMES,
    "identifier": [{"system": "http://x.test/ipp", "value": "1"}],
    "telecom": [{"system": "phone", "value": "01", "rank": 1}, {"system": "email", "value": "a@x.test", "rank": 2}],
    "birthDate": "1980-05-11",
    "_birthDate": {"extension": [{"url": "http://x.test/t", "valueDateTime": "1980-05-11T10:00:00Z"}]},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinique"}],
    "managingOrganization": {"reference": "#o"},
}


async def data(fhir: Client, query: str, place: str = "", **variables: Any) -> Any:
    answer = await fhir.post(f"{place}/$graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert list(answer.json()) == ["data"]
    return answer.json()["data"]


async def error(fhir: Client, query: str, place: str = "", **variables: Any) -> tuple[int, dict[str, Any]]:
    answer = await fhir.post(f"{place}/$graphql", json={"query": query, "variables": variables})
    assert answer.json()["data"] is None, answer.text
    [found] = answer.json()["errors"]
    assert found["extensions"]["resource"]["resourceType"] == "OperationOutcome"
    return answer.status_code, found


async def create(fhir: Client, resource: dict[str, Any]) -> str:
    answer = await fhir.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_resource_is_read_by_its_id_with_the_fields_that_are_named(fhir: Client) -> None:
    id = await create(fhir, PATIENT)
    query = "query ($id: ID) { Patient(id: $id) { id active resourceType __typename name { text family } } }"
    found = await data(fhir, query, id=id)
    assert found == {
        "Patient": {
            "id": id, "active": True, "resourceType": "Patient", "__typename": "Patient",
            "name": [{"family": "Pat-Un"}, {}, {"family": "Pat-Zero"}],
        }
    }  # fmt: skip


async def test_the_root_of_an_instance_is_the_resource(fhir: Client) -> None:
    id = await create(fhir, PATIENT)
    found = await data(fhir, "{ birthDate _birthDate { extension { valueDateTime } } }", f"/Patient/{id}")
    assert found == {
        "birthDate": "1980-05-11",
        "_birthDate": {"extension": [{"valueDateTime": "1980-05-11T10:00:00Z"}]},
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('{ name(fhirpath: "family.exists()") { use } }', {"name": [{"use": "official"}, {"use": "maiden"}]}),
        ('{ name(fhirpath: "$index = 1") { use } }', {"name": [{"use": "usual"}]}),
        ("{ name(use: usual) { given } }", {"name": [{"given": ["Nana"]}]}),
        ("{ telecom(rank: 2) { value } }", {"telecom": [{"value": "a@x.test"}]}),
        ("{ name(_offset: 1, _count: 1) { use } }", {"name": [{"use": "usual"}]}),
        ("{ name @first { use } }", {"name": {"use": "official"}}),
        ("{ main: name(use: official) { first: given } }", {"main": [{"first": ["Ana", "Lou"]}]}),
        ("{ photo { url } maritalStatus { text } gender }", {}),
        ("{ contained { ... on Organization { name } } }", {"contained": [{"name": "Clinique"}]}),
        ("{ managingOrganization { resource { ... on Organization { name } } } }", {
            "managingOrganization": {"resource": {"name": "Clinique"}}
        }),
        ("{ ... on Patient { active } ... on Group { code { text } } }", {"active": True}),
        ("{ ...f } fragment f on Resource { id @include(if: false) active @skip(if: true) birthDate }", {
            "birthDate": "1980-05-11"
        }),
    ],
)  # fmt: skip
async def test_lists_are_navigated_and_types_distinguished(fhir: Client, query: str, expected: Any) -> None:
    id = await create(fhir, PATIENT)
    assert await data(fhir, query, f"/Patient/{id}") == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "{ identifier @flatten { system value } active name @flatten { text given family } }",
            {
                "system": ["http://x.test/ipp"], "value": ["1"], "active": True,
                "given": ["Ana", "Lou", "Nana", "Ana"], "family": ["Pat-Un", "Pat-Zero"],
            },
        ),
        ("{ name @flatten { given @first } }", {"given": ["Ana", "Nana", "Ana"]}),
        (
            "{ name @flatten @first { given family @singleton } }",
            {"given": ["Ana", "Lou"], "family": "Pat-Un"},
        ),
        (
            '{ name @flatten @slice(path: "use") { given family @singleton } }',
            {
                "given.official": ["Ana", "Lou"], "family.official": "Pat-Un", "given.usual": ["Nana"],
                "given.maiden": ["Ana"], "family.maiden": "Pat-Zero",
            },
        ),
        (
            '{ name @flatten @slice(path: "$index") { given @first @singleton } }',
            {"given.0": "Ana", "given.1": "Nana", "given.2": "Ana"},
        ),
        (
            '{ telecom @slice(fhirpath: "system") @singleton { value } }',
            {"telecom.phone": {"value": "01"}, "telecom.email": {"value": "a@x.test"}},
        ),
    ],
)  # fmt: skip
async def test_the_answer_is_reorganised_as_the_directives_say(fhir: Client, query: str, expected: Any) -> None:
    id = await create(fhir, PATIENT)
    assert await data(fhir, query, f"/Patient/{id}") == expected


@pytest.mark.parametrize("database", ENGINES, indirect=True)
async def test_references_lead_to_resources_and_back(fhir: Client) -> None:
    id = await create(fhir, PATIENT)
    other = await create(fhir, PATIENT)
    for patient, text in ((id, "a"), (id, "b"), (other, "c")):
        await create(fhir, an_observation(f"Patient/{patient}", code={"text": text}))
    found = await data(
        fhir,
        "query ($id: ID) { Patient(id: $id) { "
        'ObservationList(_reference: patient, status: final, _sort: "_id") { code { text } '
        "subject { reference resource { ... on Patient { birthDate } } } } } }",
        id=id,
    )
    listed = found["Patient"]["ObservationList"]
    assert sorted(one["code"]["text"] for one in listed) == ["a", "b"]
    assert listed[0]["subject"] == {"reference": f"Patient/{id}", "resource": {"birthDate": "1980-05-11"}}


async def test_a_reference_of_another_type_or_one_that_leads_nowhere_can_be_accepted(fhir: Client) -> None:
    patient = await create(fhir, PATIENT)
    id = await create(fhir, an_observation(f"Patient/{patient}", performer=[{"reference": "Practitioner/none"}]))
    place = f"/Observation/{id}"
    found = await data(fhir, "{ subject { display resource(type: Group) { id } } }", place)
    assert found == {"subject": {}}
    found = await data(fhir, "{ performer { reference resource(optional: true) { id } } }", place)
    assert found == {"performer": [{"reference": "Practitioner/none"}]}
    status, problem = await error(fhir, "{ performer { resource { id } } }", place)
    assert (status, problem["extensions"]["resource"]["issue"][0]["code"]) == (400, "not-found")


async def test_lists_are_searches_with_underscores_and_alternatives(fhir: Client) -> None:
    for code in ("a", "b", "c"):
        await create(fhir, {"resourceType": "Flag", "status": "active", "code": {"text": code},
                            "identifier": [{"value": code}], "subject": {"reference": "Patient/x"}})  # fmt: skip
    found = await data(fhir, '{ FlagList(identifier: [a, b], _sort: "_id") { code { text } } }')
    assert sorted(one["code"]["text"] for one in found["FlagList"]) == ["a", "b"]
    found = await data(fhir, 'query q($x: String = "b") { FlagList(identifier: $x) { code { text } } }', x="c")
    assert found == {"FlagList": [{"code": {"text": "c"}}]}
    found = await data(fhir, "{ FlagList(fhirpath: \"code.text = 'b'\") { code { text } } }")
    assert found == {"FlagList": [{"code": {"text": "b"}}]}
    found = await data(fhir, "{ FlagList(_count: 2) { id } none: FlagList(identifier: z) { id } }")
    assert (len(found["FlagList"]), found["none"]) == (2, [])
    assert await data(fhir, "{ ConditionList(clinical_status: active) { id } }") == {"ConditionList": []}


@pytest.mark.parametrize("database", ENGINES, indirect=True)
async def test_a_connection_is_read_page_by_page_with_its_cursors(fhir: Client) -> None:
    ids = {await create(fhir, PATIENT) for _ in range(5)}
    fields = "{ count offset pagesize first next previous last edges { mode resource { id } } }"
    page = (await data(fhir, f"{{ PatientConnection(family: pat, _count: 2) {fields} }}"))["PatientConnection"]
    assert (page["count"], page["offset"], page["pagesize"], page["previous"]) == (5, 0, 2, None)
    seen = []
    while True:
        assert {one["mode"] for one in page["edges"]} == {"match"}
        seen += [one["resource"]["id"] for one in page["edges"]]
        if page["next"] is None:
            break
        query = f"query ($next: String) {{ PatientConnection(_cursor: $next) {fields} }}"
        page = (await data(fhir, query, next=page["next"]))["PatientConnection"]
        assert page["offset"] == len(seen)
    assert len(seen) == 5 and set(seen) == ids


@pytest.mark.parametrize("numbers", [(-1, 0), (1001, 0), (2**62, 0), (5, -1)])
async def test_a_cursor_that_nobody_gave_is_refused(fhir: Client, numbers: tuple[int, int]) -> None:
    forged = urlsafe_b64encode(msgspec.msgpack.encode(["Patient", [], *numbers, None])).decode()
    status, _ = await error(fhir, f'{{ PatientConnection(_cursor: "{forged}") {{ count }} }}')
    assert status == 400


async def test_a_query_can_be_sent_in_three_ways(fhir: Client) -> None:
    id = await create(fhir, PATIENT)
    place, query, expected = f"/Patient/{id}/$graphql", "{ active }", {"data": {"active": True}}
    assert (await fhir.get(place, params={"query": query})).json() == expected
    headers = {"content-type": "application/graphql"}
    assert (await fhir.post(place, content=query, headers=headers)).json() == expected
    body = {"query": "query a { active } query b { id }", "operationName": "a"}
    assert (await fhir.post(place, json=body)).json() == expected


async def test_everybody_gets_only_what_they_may_see(as_: Any) -> None:
    id = await create(as_("nadia"), PATIENT)
    mine = await create(as_("paul"), {**PATIENT, "birthDate": "1990-01-01"})
    observation = await create(as_("paul"), an_observation(f"Patient/{id}"))
    paul = as_("paul")
    assert (await error(paul, "query ($id: ID) { Patient(id: $id) { id } }", id=id))[0] == 404
    assert await data(paul, "{ PatientList { id } }") == {"PatientList": [{"id": mine}]}
    found = await data(paul, "{ PatientConnection { count edges { resource { id } } } }")
    assert found["PatientConnection"]["count"] == 1
    found = await data(paul, "{ subject { resource(optional: true) { id } } }", f"/Observation/{observation}")
    assert found == {"subject": {}}
    query = "query ($id: ID) { Patient(id: $id) { ObservationList(_reference: patient) { id } } }"
    assert await data(as_("nadia"), query, id=id) == {"Patient": {"ObservationList": []}}
    assert (await paul.post(f"/Patient/{id}/$graphql", json={"query": "{ id }"})).status_code == 404
    assert (await error(as_("software"), "{ PatientList { id } }"))[0] == 403
    assert (await error(as_("launched"), "{ PatientConnection { count } }"))[0] == 403


WRONG = [
    "{ nickname }", "{ name }", "{ birthDate { x } }", "{ birthDate(x: 1) }", "{ name(colour: red) { use } }",
    "{ ObservationList { id } }", "{ ObservationList(_reference: nothing) { id } }", "{ id ", "{ ...f }",
    "{ ...f } fragment f on Patient { ...f }", "mutation { id }", "{ id @nothing }", "{ id @include }", "{ id(x: $y) }",
    '{ name(fhirpath: "(") { use } }', "{ name(_count: -1) { use } }", "{ name @flatten { family @singleton } }",
    "{ ... on Nothing { id } }", "{ photo { nothing } }", "{ birthDate @flatten }", "query a { id } query b { id }",
    "{ ObservationList(_reference: patient, _include: x) { id } }", "type X { y: Int }", "{ name @slice { use } }",
    "{ ObservationConnection(_reference: patient) { nothing } }", "{ __schema { types { name } } }",
    "query ($x: Int!) { id }", "{ ObservationList(_reference: patient, status: {a: 1}) { id } }", "{ }",
]  # fmt: skip


@pytest.mark.parametrize("query", WRONG)
async def test_what_is_not_valid_is_an_error_also_without_data(fhir: Client, query: str) -> None:
    id = await create(fhir, PATIENT)
    status, problem = await error(fhir, query, f"/Patient/{id}")
    assert status == 400 and problem["message"]


@pytest.mark.parametrize(
    "query",
    ["{ Nothing(id: 1) { id } }", "{ Patient { id } }", "{ PatientList(_reference: x) { id } }", "{ id }",
     '{ PatientConnection(_cursor: "x") { count } }', "{ PatientList(nothing: x) { id } }",
     "{ PatientList(birthdate: x) { id } }", "{ PatientConnection(_offset: 3) { count } }"],
)  # fmt: skip
async def test_a_query_at_the_root_must_select_resources(fhir: Client, query: str) -> None:
    assert (await error(fhir, query))[0] == 400


async def test_an_error_says_where_it_is(fhir: Client) -> None:
    _, problem = await error(fhir, "{\n  PatientList { nothing }\n}")
    assert problem["locations"] == [{"line": 2, "column": 17}]


async def test_transport_errors_are_outcomes_as_everywhere(fhir: Client) -> None:
    for content, content_type, status in (
        (b"{", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"query": 1}', "application/json", 400),
        (b'{"query": "{ id }", "colour": 1}', "application/json", 400),
        (b"\xff", "application/graphql", 400),
        (b"x", "text/plain", 415),
    ):
        answer = await fhir.post("/$graphql", content=content, headers={"content-type": content_type})
        assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome"), content
    assert (await fhir.get("/$graphql")).status_code == 400
    assert (await fhir.get("/$graphql?query={}&colour=x")).status_code == 400


async def test_fragments_and_levels_do_not_grow_without_end(fhir: Client) -> None:
    doubling = " ".join(f"fragment f{n} on Patient {{ ...f{n + 1} ...f{n + 1} }}" for n in range(30))
    status, problem = await error(fhir, f"{{ PatientList {{ ...f0 }} }} {doubling} fragment f30 on Patient {{ id }}")
    assert (status, problem["extensions"]["resource"]["issue"][0]["code"]) == (400, "too-costly")
    deep = "{ PatientList " + "{ extension " * 40 + "{ url }" + " }" * 41
    assert (await error(fhir, deep))[0] == 400
    assert (await error(fhir, "{" + "[" * 20_000))[0] == 400


async def test_too_many_results_are_refused_and_not_cut(fhir: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.graphql.lookups.MOST_OF_A_LIST", 2)
    await asyncio.gather(*(create(fhir, PATIENT) for _ in range(3)))
    status, problem = await error(fhir, "{ PatientList { id } }")
    assert status == 400 and "PatientConnection" in problem["message"]


async def test_an_answer_that_is_no_resource_goes_into_no_bundle(fhir: Client) -> None:
    entry = {"request": {"method": "GET", "url": "$graphql?query=%7BPatientList%7Bid%7D%7D"}}
    answer = await fhir.post("", json={"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert answer.json()["entry"][0]["response"]["status"].startswith("400")


WORDS = (
    '{ } { } id name family ( ) : use official "x" 1 @flatten @first @slice(path: "use") ... on Patient Resource '
    'PatientList PatientConnection edges resource subject reference _count fhirpath "$this" [ ] $x query fragment f'
).split()


async def test_no_sequence_of_words_is_a_bug(fhir: Client) -> None:
    id = await create(fhir, PATIENT)
    for seed in range(150):
        random = Random(seed)
        query = "{ " + " ".join(random.choices(WORDS, k=random.randrange(1, 14))) + " }"
        for place in ("", f"/Patient/{id}"):
            answer = await fhir.post(f"{place}/$graphql", json={"query": query})
            assert answer.status_code in (200, 400, 404), (query, answer.text)
