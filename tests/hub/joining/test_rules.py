"""Numbers, days, checks and claims: what is pure about an account."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.joining import checks, claimed, numbers, request, working_days

NOW = datetime(2026, 11, 23, 13, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "person", "structure"),
    [
        ("99700000018", "https://rpps.esante.gouv.fr|99700000018", ""),
        ("8 997 0000 0018", "urn:oid:1.2.250.1.71.4.2.1|899700000018", ""),
        ("129900016", "urn:oid:1.2.250.1.71.4.2.1|0129900016", "https://finess.esante.gouv.fr|129900016"),
        ("2a0000014", "urn:oid:1.2.250.1.71.4.2.1|02A0000014", "urn:oid:1.2.250.1.71.4.2.2|12A0000014"),
        ("0129900016", "urn:oid:1.2.250.1.71.4.2.1|0129900016", ""),
        ("1129900016", "", "https://finess.esante.gouv.fr|129900016"),
        ("12345678900011", "", "https://sirene.fr|12345678900011"),
    ],
)
def test_a_number_is_looked_for_where_it_may_be(text: str, person: str, structure: str) -> None:
    found = numbers.read(text)
    assert found
    assert (person in found.person) == bool(person)
    assert bool(found.person) == bool(person)
    assert (structure in found.structure) == bool(structure)
    assert bool(found.structure) == bool(structure)


@pytest.mark.parametrize("text", ["", "12", "abc", "9970000001", "1234567890123456", "٩٩٧٠٠٠٠٠٠١٨", "99700000018,x"])
def test_another_form_is_no_number(text: str) -> None:
    assert numbers.read(text) is None


def test_only_numbers_of_the_register_prove_a_registration() -> None:
    given_there = ["899700000018", "0129900016", "99700000018", "3129900016", "1129900016", "x", ""]
    assert [numbers.is_registration(one) for one in given_there] == [True, True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ("2026-11-23T09:30", "2026-11-24T09:30"),  # Monday
        ("2026-11-27T16:00", "2026-11-30T16:00"),  # Friday
        ("2026-11-28T16:00", "2026-12-01T08:00"),  # Saturday: as if it came on Monday at eight
        ("2026-12-24T10:00", "2026-12-28T10:00"),  # Christmas on a Friday
        ("2027-03-26T10:00", "2027-03-30T10:00"),  # before Easter Monday
        ("2026-10-23T10:00", "2026-10-26T10:00"),  # the same hour after the clocks changed
    ],
)
def test_one_working_day_later(asked: str, due: str) -> None:
    came = datetime.fromisoformat(asked).replace(tzinfo=working_days.FRANCE)
    answered = working_days.one_later(came.astimezone(UTC)).astimezone(working_days.FRANCE)
    assert answered.isoformat()[:16] == due


def test_public_holidays_of_a_year() -> None:
    days = (date(2026, 1, 1) + timedelta(days=n) for n in range(365))
    off = {one.isoformat()[5:] for one in days if one.weekday() < 5 and not working_days.is_working(one)}
    assert off == {"01-01", "04-06", "05-01", "05-08", "05-14", "05-25", "07-14", "11-11", "12-25"}


TEXTS = st.text(max_size=20)
CHECKS = st.builds(
    checks.Check,
    st.sampled_from(checks.CODES),
    st.sampled_from([checks.PASSED, checks.FAILED, checks.TODO, checks.TO_CORRECT]),
    TEXTS,
    st.just("2026-11-23T13:05:00.000Z"),
    TEXTS,
    TEXTS,
)


@given(st.lists(CHECKS, max_size=8))
def test_checks_come_back_from_the_task_as_they_went(wanted: list[checks.Check]) -> None:
    latest = {one.code: one for one in wanted}
    task = request.checked({"resourceType": "Task"}, wanted)
    assert {one.code: one for one in checks.of_task(task)} == latest
    settled = {one.code for one in latest.values() if one.result in (checks.PASSED, checks.TO_CORRECT)}
    assert set(checks.missing(checks.of_task(task))) == set(checks.CODES) - settled


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = "codeProfession codeCategorieProfessionnelle codeSavoirFaire nomDexercice activities numeroFinessSite".split()


@given(st.fixed_dictionaries({}, optional={"SubjectNameID": JSON, "SubjectRefPro": JSON, "family_name": JSON}) | JSON)
def test_claims_of_any_form_are_read_or_left_aside(given_claims: Any) -> None:
    claimed.read(given_claims if isinstance(given_claims, dict) else {"SubjectRefPro": given_claims})


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6), max_size=4))
def test_exercises_of_any_form_too(exercises: list[Any]) -> None:
    said = claimed.read({"SubjectNameID": "899700000018", "SubjectRefPro": {"exercices": exercises}})
    assert len(said.works) == len(set(said.works)) <= 20
    for work in said.works:
        assert work.profession


def test_a_stage_moves_the_status_and_the_due_date() -> None:
    task = request.made(request.Typed(mail="a@b.fr"), "Practitioner/x", checks.of_directory(None, NOW), NOW)
    assert (task["status"], request.stage(task), "restriction" in task) == ("requested", request.MAIL, False)
    task = request.moved(task, request.REVIEW, NOW)
    assert task["restriction"]["period"]["end"] == "2026-11-24T13:05:00.000Z"
    task = request.moved(task, request.REFUSED, NOW + timedelta(hours=2), because="non", by="PractitionerRole/claire")
    assert (task["status"], task["statusReason"]["text"]) == ("rejected", "non")
    assert task["executionPeriod"] == {"start": "2026-11-23T13:05:00.000Z", "end": "2026-11-23T15:05:00.000Z"}
