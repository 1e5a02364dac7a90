"""`_filter`: its grammar, what each operator means, and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from fhir_server import conditions, filters
from fhir_server.criteria import Setting
from tests.fhir_server.searching import TABLES, found, parse

PEOPLE: list[dict[str, Any]] = [
    {
        "resourceType": "Patient", "id": "a", "name": [{"family": "Alpha", "given": ["Peter"]}], "gender": "male",
        "birthDate": "2014-10-10", "managingOrganization": {"reference": "Organization/o1"},
        "identifier": [{"system": "http://x.test/s", "value": "1"}],
    },
    {
        "resourceType": "Patient", "id": "b", "name": [{"family": "Beta Gamma", "given": ["Ève"]}], "gender": "female",
        "birthDate": "1980-05-11", "managingOrganization": {"reference": "Organization/o2"},
    },
    {"resourceType": "Patient", "id": "c", "gender": "unknown", "link": [{"other": {"reference": "Patient/a"}}]},
    {"resourceType": "Organization", "id": "o1", "name": "Maison", "active": True},
    {"resourceType": "Organization", "id": "o2", "name": "Clinique"},
    {"resourceType": "Observation", "id": "x", "subject": {"reference": "Patient/a"}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("family eq alpha", "a"),
        ('family eq "Beta Gamma"', "b"),
        ("family eq beta", ""),
        ("family sw beta", "b"),
        ("family ew GAMMA", "b"),
        ("family co lph", "a"),
        ("given eq eve", "b"),
        ("family ne alpha", "b c"),
        ("gender eq male", "a"),
        ("gender ne male", "b c"),
        ("identifier eq http://x.test/s|1", "a"),
        ("birthdate eq 2014-10-10", "a"),
        ("birthdate ne 2014-10-10", "b"),
        ("birthdate ge 2014", "a"),
        ("birthdate lt 2014-10-10", "b"),
        ("birthdate sa 1990", "a"),
        ("birthdate eb 1990", "b"),
        ("birthdate po 1980", "b"),
        ("birthdate pr true", "a b"),
        ("birthdate pr false", "c"),
        ("name pr false", "c"),
        ("organization re Organization/o1", "a"),
        ("organization eq Organization/o2", "b"),
        ("given eq peter and birthdate ge 2014-10-10", "a"),
        ("gender eq male or gender eq female", "a b"),
        ("gender eq male or gender eq female and family eq nobody", "a"),
        ("(gender eq male or gender eq female) and family eq nobody", ""),
        ("not (gender eq male)", "b c"),
        ("not (gender eq male or gender eq female)", "c"),
        ("not (not (gender eq male))", "a"),
        ("organization.name eq maison", "a"),
        ("organization.name sw cli or gender eq unknown", "b c"),
        ("not (organization.name eq maison)", "b c"),
        ("organization[active eq true].name co ais", "a"),
        ("organization[active eq true].name co cli", ""),
        ("link.organization.name eq maison", "c"),
        ("link:Patient.family eq alpha", "c"),
        ("_id eq a", "a"),
        ("_lastUpdated gt 2020", "a b c"),
    ],
)
def test_a_filter_finds(asked: str, expected: str) -> None:
    assert set(found(f"Patient?_filter={asked}", *PEOPLE)) == set(expected.split())


def test_filters_are_taken_together_with_other_parameters() -> None:
    assert found("Patient?_filter=gender ne unknown&family=alpha", *PEOPLE) == ["a"]
    assert found("Patient?_filter=gender eq male&_filter=family eq beta", *PEOPLE) == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("", "un paramètre est attendu"),
        ("name", "opérateur est attendu"),
        ("name eq", "valeur est attendue"),
        ("name is x", "n'existe pas"),
        ("name gt x", "ne s'applique pas"),
        ("gender co x", "ne s'applique pas"),
        ("gender po 2020", "ne s'applique pas"),
        ("phonetic sw x", "ne s'applique pas"),
        ("_text eq x", "ne s'applique pas"),
        ("birthdate co 2020", "ne s'applique pas"),
        ("birthdate eq hier", "date attendue"),
        ("gender pr maybe", "true ou false"),
        ("nope eq x", "inconnu"),
        ("name.family eq x", "n'est pas une référence"),
        ("name eq x and", "un paramètre est attendu"),
        ("name eq x family eq y", "de trop"),
        ("(name eq x", "attendu"),
        ("name eq x)", "de trop"),
        ("not name eq x", "n'existe pas|de trop|attendu"),
        ('name eq "x', "signe inattendu"),
        (r'name eq "\x"', "mal écrit"),
        ("organization[name eq x] eq y", "un point"),
        ("organization[name eq x]name eq y", "un point"),
        ("name[family eq x].given eq y", "n'est pas une référence"),
        ('name eq "\\u0000"', "interdit"),
        ('name eq ""', "vide"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(asked: str, words: str) -> None:
    with pytest.raises(errors.Unreadable, match=words) as caught:
        parse(f"Patient?_filter={asked}")
    assert caught.value.at == "_filter"


WORDS = st.sampled_from(
    ["name", "gender", "organization", "birthdate", "link.name", "eq", "ne", "co", "pr", "re", "po", "and", "or", "not",
     "(", ")", "[", "].", "]", "true", "2026", '"a b"', '"', "\\", ",", "|", "$", ".", "nope", "organization[", "é"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=14).map(" ".join))
def test_whatever_is_asked_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(errors.Unreadable):
        filters.condition(("Patient",), text, Setting(TABLES, "", 0))


trees = st.recursive(
    st.sampled_from(["gender eq male", "family sw b", "birthdate ge 2000", "organization.name eq maison"]),
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) and ({two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) or ({two[1]})"),
    ),
    max_leaves=8,
)


@given(trees, trees)
def test_the_laws_of_logic_hold(one: str, other: str) -> None:
    def of(text: str) -> set[str]:
        return set(found(f"Patient?_filter={text}", *PEOPLE))

    assert of(f"not ({one})") == {"a", "b", "c"} - of(one)
    assert of(f"({one}) and ({other})") == of(one) & of(other)
    assert of(f"({one}) or ({other})") == of(one) | of(other)


def test_a_wide_chain_is_one_condition_for_each_step() -> None:
    """No branch for each combination of types: what is built grows with the steps, not with the types."""

    def size(condition: conditions.Condition) -> int:
        match condition:
            case conditions.And(of) | conditions.Or(of):
                return 1 + sum(map(size, of))
            case conditions.Linked() | conditions.LinkedFrom():
                return 1 + sum(map(size, condition.where))
        return 1

    sizes = [size(parse(f"Task?{'focus.' * deep}identifier=x").query.where[0]) for deep in (1, 2, 3, 6)]
    assert sizes == [2, 3, 4, 7]
