"""FHIRPath N1 section by section, on data of our own: each line is an expression and what it gives on the patient."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhirpath import parse
from tests.fhir_server.fhirpath.conftest import OBSERVATION, Ask

D = Decimal

CASES: dict[str, list[tuple[str, list[Any]]]] = {
    "path selection": [
        ("Patient.name.given", ["Ana", "Lou", "Nana"]),
        ("name.family", ["PAT-UN"]),
        ("Observation.status", []),
        ("Resource.id", ["essai"]),
        ("DomainResource.contained.name", ["Clinique des Essais"]),
        ("name[1].use", ["usual"]),
        ("name[7]", []),
        ("name.`use`", ["official", "usual"]),
        ("$this.gender", ["female"]),
        ("unknownElement", []),
        ("name.given[1].extension.value", ["second"]),
        ("birthDate.extension('http://x.test/time').value", ["1980-05-11T10:00:00+02:00"]),
        ("deceased", [False]),
        ("multipleBirth", [2]),
        ("deceasedBoolean", []),
        ("%resource.id = %context.id and %rootResource.id = id", [True]),
    ],
    "literals": [
        ("'it\\'s \\u0041\\n'", ["it's A\n"]),
        ("true", [True]),
        ("{}", []),
        ("12", [12]),
        ("1.50", [D("1.50")]),
        ("@2020-02-29", ["2020-02-29"]),
        ("@2020-02-29T12:30:00.5+02:00", ["2020-02-29T12:30:00.5+02:00"]),
        ("@2020T", ["2020"]),
        ("@T07:05", ["07:05"]),
        ("4 days", [{"value": D(4), "unit": "day"}]),
        ("1.5 'mg'", [{"value": D("1.5"), "unit": "mg"}]),
        ("%ucum", ["http://unitsofmeasure.org"]),
        ("%`vs-a-b`", ["http://hl7.org/fhir/ValueSet/a-b"]),
        ("1 // a comment\n + /* and */ 1", [2]),
    ],
    "existence": [
        ("name.empty()", [False]),
        ("photo.empty()", [True]),
        ("name.exists(use = 'usual')", [True]),
        ("name.exists(use = 'old')", [False]),
        ("telecom.all(rank > 0)", [True]),
        ("photo.all(false)", [True]),
        ("(true | false).allTrue()", [False]),
        ("(true | false).anyTrue()", [True]),
        ("(true | false).allFalse()", [False]),
        ("(true | false).anyFalse()", [True]),
        ("{}.allTrue()", [True]),
        ("name.given.count()", [3]),
        ("(1 | 2).subsetOf(1 | 2 | 3)", [True]),
        ("(1 | 2).supersetOf(1 | 2 | 3)", [False]),
        ("(1).combine(1).distinct()", [1]),
        ("(1).combine(1).isDistinct()", [False]),
        ("active.hasValue()", [True]),
        ("name.hasValue()", [False]),
    ],
    "filtering and projection": [
        ("name.where(use = 'official').given", ["Ana", "Lou"]),
        ("name.where(given.count() > 1 and $this.family.exists()).use", ["official"]),
        ("name.select(given.first())", ["Ana", "Nana"]),
        ("name.given.where($index = 2)", ["Nana"]),
        ("name.select($this.given[0] & '.')", ["Ana.", "Nana."]),
        ("repeat(contained).name", ["Clinique des Essais"]),
        ("(1).repeat(iif($this < 5, $this + 1, {}))", [2, 3, 4, 5]),
        ("children().ofType(HumanName).count()", [2]),
        ("descendants().ofType(ContactPoint).rank", [2, 1]),
        ("multipleBirth.ofType(integer)", [2]),
        ("multipleBirth.ofType(boolean)", []),
    ],
    "subsetting": [
        ("name.given.first()", ["Ana"]),
        ("name.given.last()", ["Nana"]),
        ("name.given.tail()", ["Lou", "Nana"]),
        ("name.given.skip(2)", ["Nana"]),
        ("name.given.take(2)", ["Ana", "Lou"]),
        ("name.given.take(0)", []),
        ("name.given.skip(-1).count()", [3]),
        ("name.first().single().use", ["official"]),
        ("(1 | 2 | 3).intersect(2 | 3 | 4)", [2, 3]),
        ("(1 | 2 | 3).exclude(2)", [1, 3]),
        ("(3 | 1 | 2).sort()", [1, 2, 3]),
        ("('a' | 'c' | 'b').sort(-$this)", ["c", "b", "a"]),
        ("telecom.sort(rank).system", ["email", "phone"]),
        ("name.sort(family, -use).use", ["usual", "official"]),
    ],
    "combining": [
        ("(1 | 2) | (2 | 3)", [1, 2, 3]),
        ("(1).union(1)", [1]),
        ("(1).combine(1)", [1, 1]),
        ("name.select(use | family)", ["official", "PAT-UN", "usual"]),
    ],
    "conversion": [
        ("iif(active, 'oui', 'non')", ["oui"]),
        ("iif({}, 1)", []),
        ("'t'.toBoolean()", [True]),
        ("'peut-être'.toBoolean()", []),
        ("'12'.toInteger()", [12]),
        ("'1.2'.toInteger()", []),
        ("true.toDecimal()", [D(1)]),
        ("'-1.50'.toDecimal()", [D("-1.50")]),
        ("'2020-02'.toDate()", ["2020-02"]),
        ("'2020-02-30'.convertsToDate()", [False]),
        ("@2020-02-03T10:00:00Z.toDate()", ["2020-02-03"]),
        ("'2020-02-03T10'.convertsToDateTime()", [True]),
        ("'14:30'.toTime()", ["14:30"]),
        ("'25:00'.convertsToTime()", [False]),
        ("'4 days'.toQuantity()", [{"value": D(4), "unit": "day"}]),
        ("'1.5 \\'kg\\''.toQuantity('g')", [{"value": D("1500"), "unit": "g"}]),
        ("1.0.toString()", ["1.0"]),
        ("(1 'mg').toString()", ["1 'mg'"]),
        ("name.convertsToString()", "several"),
    ],
    "strings": [
        ("'abcd'.indexOf('c')", [2]),
        ("'abcd'.indexOf('z')", [-1]),
        ("'abcb'.lastIndexOf('b')", [3]),
        ("'abcd'.substring(1)", ["bcd"]),
        ("'abcd'.substring(1, 2)", ["bc"]),
        ("'abcd'.substring(9)", []),
        ("'abcd'.startsWith('ab') and 'abcd'.endsWith('cd') and 'abcd'.contains('bc')", [True]),
        ("'Été'.upper()", ["ÉTÉ"]),
        ("'ABC'.lower()", ["abc"]),
        ("'a.b.c'.replace('.', '/')", ["a/b/c"]),
        ("'abc'.replace('', 'x')", ["xaxbxcx"]),
        ("'2026-11'.matches('^[0-9]{4}-[0-9]{2}$')", [True]),
        ("'x2026'.matchesFull('[0-9]+')", [False]),
        ("'11/25/2026'.replaceMatches('([0-9]+)/([0-9]+)/([0-9]+)', '$2.$1.$3')", ["25.11.2026"]),
        ("'abc'.length()", [3]),
        ("'abc'.toChars()", ["a", "b", "c"]),
        ("'  a '.trim()", ["a"]),
        ("'a,b'.split(',')", ["a", "b"]),
        ("name.given.join('+')", ["Ana+Lou+Nana"]),
        ("'é'.encode('base64').decode('base64')", ["é"]),
        ("'é'.encode('hex')", ["c3a9"]),
        ("'<a>'.escape('html')", ["&lt;a&gt;"]),
        ("'\"'.escape('json').unescape('json')", ['"']),
        ("{}.upper()", []),
        ("'a'.startsWith({})", []),
    ],
    "numbers": [
        ("(-5).abs()", [5]),
        ("1.1.ceiling()", [2]),
        ("(-1.1).floor()", [-2]),
        ("(-1.9).truncate()", [-1]),
        ("3.14159.round(2)", [D("3.14")]),
        ("2.5.round()", [3]),
        ("2.power(10)", [1024]),
        ("(-1).power(0.5)", []),
        ("9.sqrt()", [3]),
        ("(-1).sqrt()", []),
        ("0.exp()", [1]),
        ("1.ln()", [0]),
        ("16.log(2)", [4]),
        ("1.587.precision()", [3]),
        ("@2020-02.precision()", [6]),
    ],
    "boundaries": [
        ("1.5.lowBoundary(2)", [D("1.45")]),
        ("1.5.highBoundary(2)", [D("1.55")]),
        ("@2020.lowBoundary()", ["2020-01-01"]),
        ("@2020-02.highBoundary()", ["2020-02-29"]),
        ("@2020-02T.highBoundary(17)", ["2020-02-29T23:59:59.999-12:00"]),
        ("@2020-01-01T08:05+01:00.lowBoundary(17)", ["2020-01-01T08:05:00.000+01:00"]),
        ("@T10:30.highBoundary()", ["10:30:59.999"]),
    ],
    "equality": [
        ("1 = 1.0", [True]),
        ("'a' = 'A'", [False]),
        ("'a' ~ 'A'", [True]),
        ("(1 | 2) = (2 | 1)", [False]),
        ("(1 | 2) ~ (2 | 1)", [True]),
        ("1 = {}", []),
        ("1 != {}", []),
        ("{} ~ {}", [True]),
        ("{} !~ 1", [True]),
        ("1.2 ~ 1.24", [True]),
        ("name[0] = name[0]", [True]),
        ("name[0] != name[1]", [True]),
        ("@2020 = @2020-01", []),
        ("@2020 ~ @2020-01", [False]),
        ("@2020-01-01T10:00:00+01:00 = @2020-01-01T09:00:00Z", [True]),
        ("@2020-01-01T10:00:00 = @2020-01-01T10:00:00Z", []),
        ("@T10:00:00 = @T10:00:00.000", [True]),
        ("1 'kg' = 1000 'g'", [True]),
        ("1 'kg' = 1 'm'", []),
        ("7 days = 1 week", [True]),
        ("1 year = 1 'a'", []),
        ("1 'cm'.comparable(1 '[in_i]')", [True]),
        ("1 'cm'.comparable(1 's')", [False]),
        ("1 year ~ 1 'a'", [True]),
        ("birthDate = @1980-05-11", [True]),
        ("1 = 'a'", [False]),
    ],
    "comparison": [
        ("1 < 1.5", [True]),
        ("'a' < 'b'", [True]),
        ("birthDate < @1981", [True]),
        ("birthDate <= @1980", []),
        ("@T10:00 >= @T09:59", [True]),
        ("500 'g' <= 1 'kg'", [True]),
        ("1 > {}", []),
        ("now() > birthDate", [True]),
        ("today()", ["2026-11-25"]),
        ("now()", ["2026-11-25T10:30:15.250Z"]),
        ("timeOfDay()", ["10:30:15.250"]),
    ],
    "types": [
        ("$this is Patient", [True]),
        ("$this is DomainResource and $this is Resource", [True]),
        ("$this is Observation", [False]),
        ("gender is code and gender is string", [True]),
        ("gender.is(FHIR.code)", [True]),
        ("active is System.Boolean", [False]),
        ("1 is Integer and 1.0 is Decimal and 'a' is System.String", [True]),
        ("@2020 is Date and @2020T is DateTime and @T10 is Time", [True]),
        ("multipleBirth as integer", [2]),
        ("(multipleBirth as boolean).empty()", [True]),
        ("birthDate.type().name", ["date"]),
        ("contact is BackboneElement", []),
        ("gender.ofType(string)", []),
        ("gender.as(code)", ["female"]),
        ("1 > 2 is Boolean", [True]),
        ("1 | 1 is Integer", [True]),
        ("$this is System.Patient", [False]),
    ],
    "membership": [
        ("'Ana' in name.given", [True]),
        ("name.given contains 'Zoé'", [False]),
        ("{} in name.given", []),
        ("'a' in {}", [False]),
    ],
    "booleans": [
        ("true and {}", []),
        ("false and {}", [False]),
        ("{} and false", [False]),
        ("true or {}", [True]),
        ("{} or false", []),
        ("true xor false", [True]),
        ("true xor {}", []),
        ("false implies {}", [True]),
        ("{} implies true", [True]),
        ("true implies {}", []),
        ("true implies false", [False]),
        ("{}.not()", []),
        ("active.not()", [False]),
    ],
    "arithmetic": [
        ("1 + 2 * 3", [7]),
        ("(1 + 2) * 3", [9]),
        ("7 div 2", [3]),
        ("-7 div 2", [-3]),
        ("7 mod 4", [3]),
        ("1 / 4", [D("0.25")]),
        ("1 / 0", []),
        ("1 mod 0", []),
        ("'a' + 'b'", ["ab"]),
        ("'a' + {}", []),
        ("'a' & {} & 'b'", ["ab"]),
        ("1 'mg' + 2 'mg'", [{"value": D(3), "unit": "mg"}]),
        ("2 * 3 'mg'", [{"value": D(6), "unit": "mg"}]),
        ("6 'km' / 2 'h'", [{"value": D(3), "unit": "km/h"}]),
        ("9223372036854775807 + 1", []),
        ("-multipleBirth", [-2]),
        ("-2.abs()", [-2]),
    ],
    "dates": [
        ("@2020-01-31 + 1 month", ["2020-02-29"]),
        ("@2020-02-29 + 1 year", ["2021-02-28"]),
        ("@2020-03-01 - 1 day", ["2020-02-29"]),
        ("@2020 + 365 days", ["2021"]),
        ("@2020-01-01T23:30:00Z + 45 minutes", ["2020-01-02T00:15:00Z"]),
        ("@2020-01-01T00:00:10.5 - 11 seconds", ["2019-12-31T23:59:59.5"]),
        ("@T23:30 + 45 minutes", ["00:15"]),
        ("@9999-12-31 + 1 day", []),
        ("@2020-01-01 + 7.7 days", ["2020-01-08"]),
        ("@2020-01-01T00:00:00Z + 0.5 's'", ["2020-01-01T00:00:00Z"]),
        ("birthDate + 1 week", ["1980-05-18"]),
    ],
    "aggregates and variables": [
        ("(1 | 2 | 3).aggregate($this + $total, 0)", [6]),
        ("(3 | 1 | 2).aggregate(iif($total.empty() or $this < $total, $this, $total))", [1]),
        ("name.given.trace('prénoms').count()", [3]),
    ],
    "references": [
        ("managingOrganization.resolve().name", ["Clinique des Essais"]),
        ("managingOrganization.resolve() is Organization", [True]),
        ("generalPractitioner.resolve()", []),
        ("conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", [True]),
        ("conformsTo('http://hl7.org/fhir/StructureDefinition/Group')", [False]),
        ("getResourceKey()", ["essai"]),
        ("generalPractitioner.getReferenceKey()", ["abc", "def"]),
        ("generalPractitioner.getReferenceKey(PractitionerRole)", ["def"]),
    ],
}  # fmt: skip

TABLE = [(section, *case) for section, cases in CASES.items() for case in cases if case[1] != "several"]


@pytest.mark.parametrize(("section", "expression", "expected"), TABLE)
def test_an_expression_gives_what_the_specification_says(
    ask: Ask, section: str, expression: str, expected: list[Any]
) -> None:
    found = ask(expression)
    assert found == expected
    if section != "numbers":  # there 1 and 1.0 may both be right
        assert [type(one) for one in found] == [type(one) for one in expected]


ON_AN_OBSERVATION: list[tuple[str, list[Any]]] = [
    ("Observation.value > 70 'kg'", [True]),
    ("value < 73000 'g'", [True]),
    ("value.value", [D("72.50")]),
    ("value.is(Quantity)", [True]),
    ("component.value.ofType(string)", ["deux"]),
    ("component.where(value is Quantity).value.code", ["g"]),
    ("component.value.where($this is integer)", [1]),
    ("effective > @2026-03-01T06:59:59Z", [True]),
    ("code.coding.where(system = %loinc).code", ["29463-7"]),
    ("subject.reference.startsWith('Patient/')", [True]),
]


@pytest.mark.parametrize(("expression", "expected"), ON_AN_OBSERVATION)
def test_choices_and_quantities_are_seen_by_their_type(ask: Ask, expression: str, expected: list[Any]) -> None:
    assert ask(expression, OBSERVATION) == expected


WRONG = [
    "", "name.", "name[", "name.given(", "(1", "1 +", "'open", "@2020-13", "@2020-02-30", "name given", "a..b", "£",
    "name.nothing()", "name.where()", "substring(1, 2, 3)", "%unknown", "1 is Nothing", "true.and(false)",
]  # fmt: skip


@pytest.mark.parametrize("expression", WRONG)
def test_what_cannot_be_read_is_refused_in_french(ask: Ask, expression: str) -> None:
    with pytest.raises(parse.Unusable, match="FHIRPath : "):
        ask(expression)


MISFITS = [
    "name.given.upper()", "name.single()", "'a' < 1", "name < name", "1 + 'a'", "active + 1",
    "(1 | 2).not()", "'a'.substring('b')", "name.is(HumanName)", "-'a'", "1.round(-1)", "('a').allTrue()",
    "@2020-01-01 + 1 'cm'", "@2020-01-01 + 1 'mo'", "name.iif(true, 1)", "name.as(HumanName)",
    "1.comparable(2)",
]  # fmt: skip


@pytest.mark.parametrize("expression", MISFITS)
def test_what_does_not_fit_the_values_is_refused(ask: Ask, expression: str) -> None:
    with pytest.raises(parse.Unusable):
        ask(expression)


def test_a_reference_from_outside_is_resolved_by_whoever_asks(ask: Ask) -> None:
    known = {"Practitioner/abc": {"resourceType": "Practitioner", "id": "abc", "gender": "male"}}
    assert ask("generalPractitioner.resolve().gender", resolve=known.get) == ["male"]


def test_variables_of_the_caller_are_seen(ask: Ask) -> None:
    assert ask("name.where(use = %wanted).given", variables={"wanted": "usual"}) == ["Nana"]


def test_a_reference_inside_a_bundle_is_resolved_by_its_full_url(ask: Ask) -> None:
    entries = [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "gender": "other"}},
        {"resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:1"}}},
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert ask("entry.resource.ofType(Observation).subject.resolve().gender", bundle) == ["other"]
