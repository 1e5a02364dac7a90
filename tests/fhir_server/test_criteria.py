"""Values of search parameters: each kind's forms, prefixes and modifiers, and that what was stored is found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import conditions, criteria, dates, index, query
from tests.fhir_server import oracle
from tests.fhir_server.searching import BASE, NOW, TABLES, escaped, finds, found, indexed, parse

# ---- tokens --------------------------------------------------------------------------------------------------------

CODED = {"code": {"coding": [{"system": "s", "code": "c", "display": "d"}, {"code": "n"}], "text": "t"}}


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("code=c", True), ("code=s|c", True), ("code=|c", False), ("code=s|", True), ("code=|n", True),
        ("code=s|n", False), ("code=n", True), ("code=x,c", True), ("code=x", False), ("code=C", False),
        ("code=t", False), ("code:not=c", False), ("code:not=x", True), ("code:not=x,c", False),
        ("code:missing=false", True), ("code:missing=true", False), ("code=c&code=n", True), ("code=c&code=x", False),
        ("status:missing=true", True), ("status:not=requested", True),
    ],
)  # fmt: skip
def test_tokens(asked, match):
    assert finds(f"Task?{asked}", **CODED) == match


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("gender=female", True),
        ("gender=http://hl7.org/fhir/administrative-gender|female", True),
        ("gender=http://hl7.org/fhir/administrative-gender|", True),
        ("gender=http://loinc.org|female", False),
        ("gender=|female", False),
        ("gender:not=male", True),
        ("active=true", True),
        ("active=|true", True),
        ("deceased=false", True),
        ("deceased=true", False),
        ("deceased:missing=true", False),
    ],
)
def test_codes_imply_their_system_and_booleans_are_tokens(asked, match):
    assert finds(f"Patient?{asked}", gender="female", active=True) == match


def test_identifiers_are_asked_for_by_system_and_value():
    identifier = [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "2 80|5/é"}, {"value": "alone"}]
    for asked in ("2 80\\|5/é", "urn:oid:1.2.250.1.213.1.4.10|2 80\\|5/é", "urn:oid:1.2.250.1.213.1.4.10|2 80|5/é"):
        assert finds(f"Patient?identifier={asked}", identifier=identifier)
    assert finds("Patient?identifier=|alone", identifier=identifier)
    assert finds("Patient?identifier=x,alone", identifier=identifier)
    assert not finds("Patient?identifier=other|2 80|5/é", identifier=identifier)


def test_a_hash_collision_on_an_identifier_finds_nobody_else():
    (keys,) = parse("Patient?identifier=s|v").query.where
    assert keys.needles == (b'"v"',)
    stranger = indexed({"resourceType": "Patient", "identifier": [{"system": "s", "value": "w"}]})
    collided = oracle.Indexed("Patient", "x", 0, 0, stranger.body, conditions.Rows(keys.any_of, (), (), (), None, None))
    assert oracle.matching(parse("Patient?identifier=s|v").query, [collided]) == []
    assert parse("Patient?identifier=s|").query.where[0].needles == (b'"s"',)
    assert parse("Patient?identifier:not=s|v").query.where[0].needles == ()


def test_phone_numbers_and_addresses_are_found_however_they_are_written():
    telecom = [{"system": "phone", "value": "+33 6 12 34 56 78"}, {"system": "email", "value": "A.B@medecin.exemple"}]
    assert finds("Practitioner?phone=06.12.34.56.78", telecom=telecom)
    assert finds("Practitioner?telecom=phone|0612345678", telecom=telecom)
    assert finds("Practitioner?email=a.b@MEDECIN.exemple", telecom=telecom)


@pytest.mark.parametrize(
    ("asked", "ordered"),
    [
        ("code=s|c", True), ("code=c", True), ("code=s|", False), ("code:missing=false", False),
        ("identifier=s|c", True), ("status=requested", False), ("focus=Communication/1", True), ("focus=1", True),
        ("owner:identifier=s|v", False),
    ],
)  # fmt: skip
def test_ordered_is_said_only_of_keys_in_the_ordered_table(asked, ordered):
    assert parse(f"Task?{asked}").query.where[0].ordered == ordered


# ---- references and uris -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("subject=Patient/1", True), ("subject=1", True), ("subject=2,1", True), ("subject=2", False),
        (f"subject={BASE}/Patient/1", True), ("subject=Patient/1/_history/4", True), ("subject:Patient=1", True),
        ("subject:Patient=Patient/1", True), (f"subject:Patient={BASE}/Patient/1", True), ("subject:Group=1", False),
        ("subject:Group=Patient/1", False), ("subject=Group/1", False), ("patient=1", True),
        ("patient=Patient/1", True), ("subject=https://other.example/fhir/Patient/1", False),
        ("subject:missing=false", True), ("subject:missing=true", False), ("encounter:missing=true", True),
    ],
)  # fmt: skip
def test_references(asked, match):
    assert finds(f"Observation?{asked}", subject={"reference": "Patient/1"}) == match
    assert finds(f"Observation?{asked}", subject={"reference": f"{BASE}/Patient/1/_history/2"}) == match


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("focus=Patient/1", False), ("focus=1", False), ("focus=https://other.example/fhir/Patient/1", True),
        ("focus=https://other.example/fhir/Patient/1/_history/9", True),
        ("focus:Patient=https://other.example/fhir/Patient/1", True),
        ("focus:Group=https://other.example/fhir/Patient/1", False),
    ],
)  # fmt: skip
def test_references_to_other_servers_keep_their_address(asked, match):
    assert finds(f"Task?{asked}", focus={"reference": "https://other.example/fhir/Patient/1"}) == match


@pytest.mark.parametrize(
    ("asked", "match"),
    [("s|v", True), ("v", True), ("|v", False), ("s|", True), ("s|w", False)],
)
def test_references_by_identifier(asked, match):
    owner = {"identifier": {"system": "s", "value": "v"}}
    assert finds(f"Task?owner:identifier={asked}", owner=owner) == match


def test_canonicals_are_found_in_any_version():
    response = {"questionnaire": "https://x.example/Q|1.0"}
    assert finds("QuestionnaireResponse?questionnaire=https://x.example/Q", **response)
    assert finds("QuestionnaireResponse?questionnaire=https://x.example/Q|1.0", **response)
    assert not finds("QuestionnaireResponse?questionnaire=https://x.example/Q|2.0", **response)
    assert finds("Patient?_profile=https://x.example/P", meta={"profile": ["https://x.example/P|1"]})
    assert finds("Patient?_tag=s|t", meta={"tag": [{"system": "s", "code": "t"}]})


def test_uris_are_exact():
    assert finds("ValueSet?url=https://x.example/v", url="https://x.example/v")
    assert not finds("ValueSet?url=https://x.example/V", url="https://x.example/v")
    assert not finds("ValueSet?url=https://x.example", url="https://x.example/v")


# ---- strings -------------------------------------------------------------------------------------------------------

NAMED = {"name": [{"family": "Lefèvre-Martin", "given": ["Anne", "Zoé"]}, {"text": "Richard,Muller"}]}


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("family=lefevre", True), ("family=LEFÈVRE", True), ("family=lefèvre martin", True), ("family=martin", False),
        ("family:contains=MARTIN", True), ("family:contains=x", False), ("family:exact=Lefèvre-Martin", True),
        ("family:exact=lefèvre-martin", False), ("family:exact=Lefèvre", False), ("name=zo", True),
        ("given=anne&given=zoe", True), ("given=zoe,marie", True), ("name=Richard\\,Muller", True),
        ("name=Richard,Paul", True), ("name:exact=Richard\\,Muller", True), ("name:exact=Richard,Muller", False),
        ("family:missing=false", True), ("address:missing=true", True), ("address:missing=false", False),
    ],
)  # fmt: skip
def test_strings(asked, match):
    assert finds(f"Patient?{asked}", **NAMED) == match


def test_very_long_texts_are_compared_by_their_beginning():
    title = "é" * 600
    assert finds(f"List?title={title}", title=title)
    assert finds(f"List?title:exact={title}", title=title)


# ---- dates ---------------------------------------------------------------------------------------------------------

WORKED = [
    {"resourceType": "Procedure", "id": "A", "performedDateTime": "1979-12-31"},
    {"resourceType": "Procedure", "id": "B", "performedDateTime": "1980"},
    {"resourceType": "Procedure", "id": "C", "performedDateTime": "1980-05"},
    {"resourceType": "Procedure", "id": "D", "performedDateTime": "1980-05-11"},
    {"resourceType": "Procedure", "id": "E", "performedDateTime": "1980-05-11T16:32:15Z"},
    {"resourceType": "Procedure", "id": "F", "performedPeriod": {"start": "1980-05-16", "end": "1980-05-17"}},
    {"resourceType": "Procedure", "id": "G", "performedDateTime": "1981-01-01"},
]


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ("date=1980", "BCDEF"),
        ("date=1980-05-11", "DE"),
        ("date=eq1980-05-10", ""),
        ("date=gt1980-05-11", "BCFG"),
        ("date=ge1980-05-11", "BCDEFG"),
        ("date=lt1980-05-11", "ABC"),
        ("date=sa1980-05-11", "FG"),
        ("date=eb1980-05-11", "A"),
        ("date=ge1980-05-16&date=le1980-05-17", "BCF"),
        ("date=ne1980-05-11", "ABCFG"),
        ("date=1979-12-31,1981-01-01", "AG"),
        ("date=1980-05-11T16:32Z", "E"),
        ("date=1980-05-11T18:32:15 02:00", "E"),  # a + that nobody encoded
        ("date:missing=false", "ABCDEFG"),
        ("date:missing=true", ""),
    ],
)
def test_the_worked_examples_of_date_search(asked, ids):
    assert "".join(sorted(found(f"Procedure?{asked}", *WORKED))) == ids


def test_an_encounter_without_end_is_still_going_on():
    assert finds("Encounter?date=ge2030", period={"start": "2020-01-15"})
    assert not finds("Encounter?date=2020-01-12", period={"start": "2020-01-10", "end": "2020-01-20"})


def test_about_a_date_depends_on_today():
    (moment,) = parse("Procedure?date=ap2016-11-23").query.where
    ((prefix, lo, _),) = moment.tests
    assert prefix == "ap"
    assert dates.span("2015-11-23")[0] < lo < dates.span("2015-11-25")[0]
    assert finds("Procedure?date=ap2016", performedDateTime="2015-03")
    assert not finds("Procedure?date=ap2016", performedDateTime="2014-03")


def test_last_updated_and_ids_are_no_index_values():
    asked = parse("Patient?_lastUpdated=ge2026-11-23&_id=a,b").query
    assert asked.where == (
        conditions.Updated((("ge", *dates.span("2026-11-23")),)),
        conditions.Ids(("a", "b")),
    )
    two = ({"resourceType": "Patient", "id": "a"}, {"resourceType": "Patient", "id": "c"})
    assert found("Patient?_lastUpdated=ge2026-11-23&_id=a,b", *two) == ["a"]


# ---- properties ----------------------------------------------------------------------------------------------------


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(str.strip).filter(bool)
SYSTEMS = st.from_regex(r"[a-z]{1,4}:[!-~]{0,9}", fullmatch=True)


@given(VALUES, SYSTEMS)
def test_every_stored_token_is_found_again(value, system):
    code = {"coding": [{"system": system, "code": value}]}
    task = indexed({"resourceType": "Task", "identifier": [{"system": system, "value": value}], "code": code})
    empty = indexed({"resourceType": "Task"})
    for param in ("identifier", "code"):
        for asked in (escaped(value), f"{escaped(system)}|{escaped(value)}", f"{escaped(system)}|"):
            parsed = query.parse("Task", [(param, asked)], TABLES, now=NOW)
            assert oracle.matching(parsed.query, [task, empty]) == [task]


@given(VALUES.filter(lambda one: index.fold(one) != ""))
def test_every_stored_string_is_found_again(value):
    stored = [indexed({"resourceType": "Patient", "name": [{"family": value}]})]
    for name in ("family", "name", "family:exact", "family:contains"):
        asked = query.parse("Patient", [(name, escaped(value))], TABLES, now=NOW)
        assert oracle.matching(asked.query, stored)


@given(VALUES)
def test_escaping_is_undone_by_splitting_and_unescaping(value):
    for sign in ",|":
        assert [criteria.unescape(one) for one in criteria.split(f"{escaped(value)}{sign}b", sign)] == [value, "b"]


@given(st.dates(), st.sampled_from(["", "eq", "ge", "le", "ap"]))
def test_every_stored_day_is_found_again(day, prefix):
    assert finds(f"Patient?birthdate={prefix}{day.isoformat()}", birthDate=day.isoformat())


def test_an_address_with_a_slash_at_its_end_lies_below_the_one_without():
    resource = {"resourceType": "ValueSet", "url": "http://a.test/vs", "id": "one"}
    assert found("ValueSet?url:above=http://a.test/vs/", resource) == ["one"]
    assert found("ValueSet?url:below=http://a.test/vs/", resource) == ["one"]
