"""Is a time of HL7 the same moment in FHIR, with the precision that was given?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping import times


@pytest.mark.parametrize(
    ("hl7", "fhir"),
    [
        ("2026", "2026"),
        ("202611", "2026-11"),
        ("20261120", "2026-11-20"),
        ("2026112014", "2026-11-20T14:00:00+01:00"),
        ("202607201435", "2026-07-20T14:35:00+02:00"),
        ("20261120143500+0000", "2026-11-20T14:35:00+00:00"),
        ("20210409094914.827+0100", "2021-04-09T09:49:14.827+01:00"),
        ("200801311600+0215", "2008-01-31T16:00:00+02:15"),
        ("20261120143560", "2026-11-20T14:35:59+01:00"),
        ("18900512", "1890-05-12"),
        ("189005120800", "1890-05-12T08:00:00+00:09"),
        (" 20261120 ", "2026-11-20"),
    ],
)
def test_a_readable_time_keeps_its_precision_and_offset(hl7: str, fhir: str) -> None:
    assert times.date_time(hl7) == fhir


@pytest.mark.parametrize(
    "hl7",
    ["", "202", "20261", "20261320", "20260230", "20261120+100", "0000", "20261120143500+2400", "hier", "２０２６"],
)
def test_an_unreadable_time_is_unknown(hl7: str) -> None:
    assert times.date_time(hl7) == ""


def test_a_date_leaves_the_time_of_day_out() -> None:
    assert times.date("197903281015") == "1979-03-28"


@pytest.mark.parametrize(
    ("date_time", "instant"),
    [
        ("", ""),
        ("2026", "2026-01-01T00:00:00+01:00"),
        ("2026-07", "2026-07-01T00:00:00+02:00"),
        ("2026-11-20T14:35:00+01:00", "2026-11-20T14:35:00+01:00"),
    ],
)
def test_an_instant_is_the_first_moment_of_a_period(date_time: str, instant: str) -> None:
    assert times.instant(date_time) == instant


def test_a_moment_is_written_in_french_legal_time() -> None:
    assert times.write(datetime(2026, 7, 20, 12, 0, 5, tzinfo=UTC)) == "20260720140005+0200"


@given(st.integers(-1_800_000_000, 7_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)))
def test_what_is_written_is_read_as_the_same_moment(moment: datetime) -> None:
    read = datetime.fromisoformat(times.date_time(times.write(moment)))
    assert read == moment


@given(st.text("0123456789+-.", max_size=24))
def test_any_digits_are_a_time_or_unknown(text: str) -> None:
    found = times.date_time(text)
    if "T" in found:
        assert datetime.fromisoformat(found).tzinfo
