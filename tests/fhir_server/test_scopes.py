"""A scope gives what it says and never more; a query narrows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from fhir_server import scopes
from fhir_server.limits import Limits
from fhir_server.r4 import load

LAB = "user/Observation.rs?category=laboratory"


@pytest.mark.parametrize(
    ("asked", "allowed", "given"),
    [
        ("user/Observation.rs", ["user/*.cruds"], ["user/Observation.rs"]),
        ("user/*.cruds", ["user/Observation.read"], ["user/Observation.rs"]),
        ("user/Observation.cruds", [LAB], [LAB]),
        (LAB, ["user/*.rs"], [LAB]),
        (LAB, ["user/Observation.r"], ["user/Observation.r?category=laboratory"]),
        (LAB, ["user/Observation.rs?code=x"], ["user/Observation.rs?category=laboratory&code=x"]),
        ("user/Observation.cud?category=laboratory", ["user/*.cruds"], []),
        ("user/*.rs?category=laboratory", ["user/*.cruds"], []),
        ("system/Observation.rs", ["user/*.cruds"], []),
        ("patient/Observation.rs", ["user/*.cruds"], []),
        ("user/Observation", ["user/*.cruds"], []),
    ],
)
def test_what_is_given_is_what_both_cover(asked: str, allowed: list[str], given: list[str]) -> None:
    assert scopes.narrowed(asked, allowed) == given


_SCOPES = st.builds(
    lambda type, letters, query: f"user/{type}.{letters}{query}",
    st.sampled_from(["*", "Observation", "Condition"]),
    st.sampled_from(["rs", "r", "s", "cruds", "cud", "read", "write"]),
    st.sampled_from(["", "?category=a", "?category=b", "?code=x"]),
)


@given(_SCOPES, st.lists(_SCOPES, max_size=4))
def test_narrowing_never_widens(asked: str, allowed: list[str]) -> None:
    for one in scopes.narrowed(asked, allowed):
        found, wanted = scopes.read(one), scopes.read(asked)
        assert found and wanted and set(found.letters) <= set(wanted.letters)
        held = [other for other in map(scopes.read, allowed) if other and set(found.letters) <= set(other.letters)]
        assert any(set(other.query.split("&")) - {""} <= set(found.query.split("&")) for other in held)
        assert set(wanted.query.split("&")) - {""} <= set(found.query.split("&"))


def test_a_query_restricts_unless_another_scope_covers_everything(definitions: load.Definitions) -> None:
    limits = Limits(definitions.search)
    (limit,) = limits.of((LAB, "user/Condition.rs"))
    assert (limit.type, len(limit.ways)) == ("Observation", 1)
    assert limits.of((LAB, "user/*.rs")) == ()
    assert limits.of((LAB, "user/Observation.r"))  # searching is still covered by the query alone
    (two,) = limits.of((LAB, "user/Observation.rs?code=http://loinc.org|718-7&status=final"))
    assert [len(way) for way in two.ways] == [1, 2]
    (nothing,) = limits.of(("user/Observation.rs?date=2026", "user/Observation.rs?no-such=x"))
    assert nothing.ways == ()


@pytest.mark.parametrize("query", ["date=2026", "code:not=x", "_text=x", "nothing", "subject.name=x", "category=", ""])
def test_a_query_asks_for_codes_and_references_alone(definitions: load.Definitions, query: str) -> None:
    with pytest.raises(errors.Unreadable):
        Limits(definitions.search).way(query, "Observation")
