"""Search URLs: order, pages, includes, and what is refused and how."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import errors
from fhir_server import conditions, query
from tests.fhir_server import oracle
from tests.fhir_server.searching import NOW, OF_MODIFIERS, TABLES, found, indexed, parse, sensible

# ---- order and pages -----------------------------------------------------------------------------------------------


def test_sorting_by_several_keys():
    param = TABLES.param
    assert parse("Patient?_sort=family,-birthdate,_lastUpdated,-_id").query.sort == (
        conditions.Sort("str", False, param("Patient", "family").number),
        conditions.Sort("dat", True, param("Patient", "birthdate").number),
        conditions.Sort("updated"),
        conditions.Sort("id", True),
    )
    assert parse("Encounter?_sort=-date").query.sort[0].by == "sort_date"
    assert parse("Communication?_sort=-sent").query.sort[0].by == "sort_date"
    assert parse("Communication?_sort=-received").query.sort[0].by == "dat"


def test_who_has_no_value_comes_last_in_both_directions():
    people = [
        {"resourceType": "Patient", "id": "none"},
        {"resourceType": "Patient", "id": "b", "name": [{"family": "B"}, {"family": "Y"}]},
        {"resourceType": "Patient", "id": "a", "name": [{"family": "À"}]},
    ]
    assert found("Patient?_sort=family", *people) == ["a", "b", "none"]
    assert found("Patient?_sort=-family", *people) == ["b", "a", "none"]
    assert found("Patient?_sort=-_lastUpdated", *people) == ["a", "b", "none"]


@pytest.mark.parametrize("key", ["near", "phonetic", "nme", "", "-", "family:exact"])
def test_sorting_by_anything_else_is_refused(key):
    with pytest.raises(errors.Unreadable) as caught:
        parse(f"Patient?_sort={key}")
    assert caught.value.at == "_sort"


def test_pages_have_a_size_between_one_and_a_thousand():
    assert parse("Patient?").query.count == query.DEFAULT_COUNT
    assert parse("Patient?_count=7").query.count == 7
    assert parse("Patient?_count=5000").query.count == 1000
    assert parse("Patient?_count=5000").applied == [("_count", "1000")]


@pytest.mark.parametrize("url", ["Patient?_count=0", "Patient?_summary=count", "Patient?_count=5&_summary=count"])
def test_counting_only(url):
    asked = parse(url)
    assert asked.summary_count
    assert asked.query.total
    assert asked.query.count == 0


def test_totals_are_counted_when_asked_for():
    assert not parse("Patient?").query.total
    assert not parse("Patient?_total=none").query.total
    assert parse("Patient?_total=accurate").query.total
    assert parse("Patient?_total=estimate").query.total


def test_the_self_link_says_what_was_applied():
    asked = parse("Patient?family=x&_after=abc&_total=none&_total=none&nme=y&_elements=name,birthDate", lenient=True)
    assert asked.applied == [
        ("family", "x"), ("_total", "none"), ("_elements", "name,birthDate"), ("_count", "20"),
    ]  # fmt: skip
    assert asked.ignored == ["nme"]
    assert asked.query.after == "abc"
    assert asked.elements == ("name", "birthDate")
    assert parse(f"Patient?{'&'.join('='.join(one) for one in asked.applied)}").applied == asked.applied


def test_format_and_pretty_are_passed_on():
    asked = parse("Patient?_format=application/fhir+json&_pretty=true")
    assert (asked.format, asked.pretty) == ("application/fhir+json", True)
    assert (parse("Patient?").format, parse("Patient?").pretty) == (None, None)


# ---- includes ------------------------------------------------------------------------------------------------------


def test_includes_name_what_to_follow():
    assert parse("Encounter?_include=Encounter:subject:Group").includes == (
        query.Include("Encounter", "subject", "Group"),
    )
    assert parse("Patient?_revinclude=Observation:subject").revincludes == (query.Include("Observation", "subject"),)
    assert parse("Patient?_include=Patient:link&_include=Patient:link").includes == (query.Include("Patient", "link"),)


def test_wildcards_are_unfolded():
    everything = parse("Encounter?_include=*").includes
    assert everything == parse("Encounter?_include=Encounter:*").includes
    assert query.Include("Encounter", "location") in everything
    organisations = parse("Encounter?_include=Encounter:*:Organization").includes
    assert {one.param for one in organisations} == {"service-provider"}
    back = {one.param for one in parse("Encounter?_revinclude=Observation:*").revincludes}
    assert "encounter" in back
    assert "patient" not in back


def test_iterating_is_for_those_who_follow_it():
    url = "Encounter?_include=Encounter:location&_include:iterate=Location:partof"
    with pytest.raises(errors.Unreadable):
        parse(url)
    assert parse(url, iterate=True).includes[1] == query.Include("Location", "partof", None, iterate=True)


@pytest.mark.parametrize(
    "asked",
    [
        "_include=Observation:subject", "_include=Encounter:date", "_include=Encounter:nope", "_include=Encounter",
        "_include=Encounter:subject:Nope", "_include=Encounter:subject:Organization", "_include=Nope:x", "_include=",
        "_include:exact=Encounter:subject", "_revinclude=Patient:link", "_revinclude=a:b:c:d",
        "_revinclude=Observation:code",
    ],
)  # fmt: skip
def test_includes_that_lead_nowhere_are_refused(asked):
    with pytest.raises(errors.Unreadable) as caught:
        parse(f"Encounter?{asked}")
    assert caught.value.at == asked.partition("=")[0]


def test_what_refers_to_a_page_is_one_search():
    asked = query.referring([query.Include("Observation", "subject")], ["Patient/1", "Patient/2"], count=50)
    observations = [
        indexed({"resourceType": "Observation", "subject": {"reference": f"Patient/{n}"}}, n) for n in range(4)
    ]
    assert {one.rid for one in oracle.matching(asked, observations)} == {1, 2}
    assert asked.count == 50
    assert oracle.matching(query.referring([query.Include("Observation", "subject")], [], count=1), observations) == []


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("nme=x", "voulez-vous dire name"),
        ("xyzzy=1", "inconnu pour Patient"),
        ("phonetic=王", "lettres latines"),
        ("phonetic:exact=x", "possibles : :missing"),
        ("age=3", "ne disent pas où lire"),
        ("_has:Observation:patient=x", "attendu _has"),
        ("_has:Observation:patient:=x", "attendu _has"),
        ("_has:Observation:code:code=x", "pas de paramètre référence"),
        ("_has:Observation:encounter:code=x", "ne désigne jamais Patient"),
        ("_has:Nope:patient:code=x", "n'existe pas"),
        ("_has:Observation:patient:nope=x", "inconnu pour Observation"),
        ("_list=$current-allergies", "fonctionnelles"),
        ("_contained=true", "contenue"),
        ("_containedType=container", "contenue"),
        ("_type=Patient", "racine"),
        ("general-practitioner.nope=x", "inconnu pour Practitioner"),
        ("general-practitioner:Group.name=x", "ne désigne jamais Group"),
        ("general-practitioner:Nope.name=x", "n'existe pas"),
        ("general-practitioner.name:sounds=x", "modificateur"),
        ("general-practitioner.name=", "vide"),
        ("name.family=x", "n'est pas une référence"),
        ("nope.family=x", "inconnu pour Patient"),
        (".family=x", "inconnu"),
        ("link." * 9 + "name=x", "au plus 8 étapes"),
        ("_has:Patient:link:" * 9 + "name=x", "au plus 8 étapes"),
        ("_text=-x", "au moins un mot"),
        ('_content="x', "guillemet"),
        ("_content=!", "au moins un mot"),
        ("_content=" + " ".join(["x"] * 65), "au plus 64"),
        ("name:text=x", "possibles : :missing :exact :contains"),
        ("gender:in=x", "pas disponible à cet endroit"),
        ("identifier:in=x", "possibles : :missing :not :text"),
        ("birthdate:exact=2000", "modificateur"),
        ("_id:not=x", "modificateur"),
        ("_count:x=1", "pas de modificateur"),
        ("general-practitioner:Group=x", "ne désigne jamais Group"),
        ("general-practitioner:Nope=x", "modificateur « Nope »"),
        ("name:missing=yes", "true ou false"),
        ("name=", "vide"),
        ("name=a,,b", "vide"),
        ("name=́", "vide"),
        ("identifier=|", "ni système ni code"),
        ("birthdate=hier", "date attendue"),
        ("birthdate=gt", "date attendue"),
        ("birthdate=xx2000", "date attendue"),
        ("_lastUpdated=2026-13", "date attendue"),
        ("_count=-1", "nombre entier"),
        ("_count=1&_count=2", "deux fois"),
        ("_summary=all", "attendu true, text, data, count ou false"),
        ("_total=yes", "attendu none"),
        ("_pretty=1", "true ou false"),
        ("_after=", "lien next"),
        ("name=" + ",".join(str(one) for one in range(1001)), "au plus 1000"),
        ("name=a\0b", "interdits"),
        ("name=\ud800", "interdits"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_in_words(asked, words):
    with pytest.raises(errors.Unreadable, match=words) as caught:
        parse(f"Patient?{asked}")
    assert caught.value.status == 400


def test_lenient_handling_ignores_names_but_not_wrong_values():
    assert parse("Patient?name=&nme=x&family=y", lenient=True).ignored == ["name", "nme"]
    with pytest.raises(errors.Unreadable):
        parse("Patient?birthdate=hier", lenient=True)
    with pytest.raises(errors.Unreadable):
        parse("Patient?gender:in=x", lenient=True)


def test_every_declared_parameter_can_be_asked():
    for type in TABLES.types:
        for param in TABLES.searchable(type):
            parse(f"{type}?{param.code}={sensible(param)}")
            for modifier in param.modifiers if param.paths or param.parts else ():
                if param.kind == "token" and modifier in ("in", "not-in", "above", "below"):
                    continue  # resolved by the terminology before: test_terminology_search
                parse(f"{type}?{param.code}:{modifier}={OF_MODIFIERS.get(modifier, 'x')}")
            if not (param.is_phonetic or param.kind in ("composite", "special")):
                parse(f"{type}?_sort={param.code},-{param.code}")


# ---- properties ----------------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            param.code
            for type in ("Patient", "Task", "Observation", "MolecularSequence")
            for param in TABLES.params(type)
        ]
        + ["_count", "_sort", "_include", "_revinclude", "_summary", "_after", "_total", "_elements", "_format", "_has"]
        + [":", ":not", ":missing", ":exact", ":identifier", ":Patient", ":iterate", ".", ",", "|", "\\", "$", "*", "-"]
        + [
            "ge2026-01-01",
            "ap2026",
            "true",
            "Patient/1",
            "Patient:link",
            "Task:*",
            "\0",
            "\ud800",
            "$",
            ":above",
            ":below",
            ":of-type",
        ]
    ),
)
TEXTS = st.lists(PIECES, max_size=4).map("".join)


@given(
    st.sampled_from(["Patient", "Task", "Observation", "Location", "MolecularSequence"]),
    st.lists(st.tuples(TEXTS, TEXTS), max_size=4),
    st.booleans(),
)
@example("Patient", [("name", "\\")], False)
def test_whatever_is_asked_is_understood_or_refused(type, params, lenient):
    asked = understood_or_refused(type, params, lenient=lenient)
    if isinstance(asked, errors.HubError):
        assert asked.status == 400
        assert asked.issues
    else:
        assert query.parse(type, asked.applied, TABLES, now=NOW).query.where == asked.query.where


def understood_or_refused(type: str, params: list[tuple[str, str]], *, lenient: bool) -> query.Parsed | errors.HubError:
    try:
        return query.parse(type, params, TABLES, now=NOW, lenient=lenient)
    except errors.HubError as refused:
        return refused
