"""Numbers and names of resources."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import ids

NUMBERS = st.integers(-(2**63), 2**63 - 1)


@given(NUMBERS)
def test_a_number_comes_back_from_its_thirteen_characters(number: int) -> None:
    text = ids.encode(number)
    assert len(text) == 13
    assert ids.decode_number(text) == number


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_names_sort_like_their_numbers(one: int, other: int) -> None:
    assert (ids.encode(one) < ids.encode(other)) == (one < other)


def test_numbers_rise_when_the_clock_stands_still_or_goes_back() -> None:
    times = iter([1_800_000_000_000] * 40_000 + [1_700_000_000_000] * 10)
    maker = ids.Maker(3, lambda: next(times))
    made = [maker.next() for _ in range(40_010)]
    assert made == sorted(set(made))


def test_workers_never_make_the_same_number() -> None:
    makers = [ids.Maker(worker, lambda: 1_800_000_000_000) for worker in range(4)]
    made = [maker.next() for _ in range(1000) for maker in makers]
    assert len(set(made)) == len(made)
    assert {ids.worker(number) for number in made} == {0, 1, 2, 3}


def test_a_restart_on_an_older_clock_goes_on_after_the_highest_number() -> None:
    before = ids.Maker(0, lambda: 1_800_000_000_000)
    highest = [before.next() for _ in range(5)][-1]
    assert ids.Maker(0, lambda: 1_700_000_000_000, after=highest).next() > highest


def test_a_worker_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        ids.Maker(256, lambda: 0)


def test_a_number_tells_when_it_was_made() -> None:
    assert ids.milliseconds(ids.Maker(7, lambda: 1_800_000_000_123).next()) == 1_800_000_000_123


@given(st.integers(1, 2**63 - 1), st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True))
def test_an_id_made_for_a_patient_tells_the_part_of_that_patient(rid: int, patient: str) -> None:
    made = ids.fhir_id(rid, "Observation", patient)
    assert ids.is_made_here(made)
    assert ids.guess_part("Observation", made) == ids.part_of("Observation", made, patient)
    assert ids.guess_part("Observation", made) == ids.part_of("Patient", patient, None)


@given(st.integers(1, 2**63 - 1))
def test_an_id_made_without_a_patient_is_its_own_part(rid: int) -> None:
    for type, patient in (("Organization", None), ("Patient", None), ("Patient", "other")):
        made = ids.fhir_id(rid, type, patient)
        assert ids.guess_part(type, made) == ids.part_of(type, made, patient)


@pytest.mark.parametrize(
    "id", ["nadia", "1", "0123456789abc-", "zzzzzzzzzzzzz", "0123456789ABC", "0" * 13 + "-" + "z" * 13]
)
def test_an_id_of_another_form_is_a_clients(id: str) -> None:
    assert not ids.is_made_here(id)
    assert ids.guess_part("Patient", id) == ids.hash64(f"Patient/{id}")


@given(NUMBERS)
def test_a_lane_is_one_of_sixty_four(part: int) -> None:
    assert 0 <= ids.lane(part) < ids.LANES
