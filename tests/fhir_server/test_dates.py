"""Dates as ranges: precision, time zones, and the prefixes against stored ranges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import clock
from fhir_server import dates

SECOND = 1_000_000


def utc(text: str) -> int:
    return clock.micros(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        ("1980", "1979-12-31T23:00:00+00:00", "1980-12-31T22:59:59.999999+00:00"),
        ("1980-05", "1980-04-30T22:00:00+00:00", "1980-05-31T21:59:59.999999+00:00"),
        ("1980-12", "1980-11-30T23:00:00+00:00", "1980-12-31T22:59:59.999999+00:00"),
        ("2024-02", "2024-01-31T23:00:00+00:00", "2024-02-29T22:59:59.999999+00:00"),
        ("1980-05-11", "1980-05-10T22:00:00+00:00", "1980-05-11T21:59:59.999999+00:00"),
        ("2026-03-29", "2026-03-28T23:00:00+00:00", "2026-03-29T21:59:59.999999+00:00"),  # 23 hours
        ("1980-05-11T16:32Z", "1980-05-11T16:32:00+00:00", "1980-05-11T16:32:59.999999+00:00"),
        ("1980-05-11T16:32:15Z", "1980-05-11T16:32:15+00:00", "1980-05-11T16:32:15.999999+00:00"),
        ("1980-05-11T16:32:15+05:30", "1980-05-11T11:02:15+00:00", "1980-05-11T11:02:15.999999+00:00"),
        ("1980-05-11T16:32:15-02:00", "1980-05-11T18:32:15+00:00", "1980-05-11T18:32:15.999999+00:00"),
        ("1980-05-11T16:32:15", "1980-05-11T14:32:15+00:00", "1980-05-11T14:32:15.999999+00:00"),
        ("1980-05-11T16:32:15.12Z", "1980-05-11T16:32:15.120000+00:00", "1980-05-11T16:32:15.129999+00:00"),
        ("1980-05-11T16:32:15.1234567Z", "1980-05-11T16:32:15.123456+00:00", "1980-05-11T16:32:15.123456+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00", "2017-01-01T00:00:00.999999+00:00"),
    ],
)
def test_a_date_covers_what_its_precision_leaves_open(written, first, last):
    assert dates.span(written) == (utc(first), utc(last))


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_the_first_and_the_last_year_have_ranges_inside_the_open_ends(year):
    lo, hi = dates.span(year)
    assert dates.BEGINNING < lo < hi < dates.END
    assert dates.span(f"{year}-12-31")[1] == hi


@pytest.mark.parametrize(
    "written",
    [
        "", "80", "1980-5", "1980-13", "1980-00", "1980-02-30", "0000", "1980-05-11T16", "1980-05-11T24:00:00Z",
        "1980-05-11T16:60Z", "1980-05-11T16:32:61Z", "1980-05-11 16:32", "1980-05-11T16:32:15+15:00", "1980-05-11Z",
        "1980-05-11T16:32:15.Z", "1980-05-11\n", "١٩٨٠", "today",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(written):
    with pytest.raises(ValueError, match=r"."):
        dates.span(written)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_is_the_first_of_its_range(moment):
    lo, hi = dates.span(moment.isoformat(timespec="microseconds").replace("+00:00", "Z"))
    assert lo == hi == clock.micros(moment)


@given(st.dates())
def test_days_follow_each_other_without_gap(day):
    if day != day.max:
        assert dates.span(day.isoformat())[1] + 1 == dates.span((day + timedelta(days=1)).isoformat())[0]


STORED = {
    "A": dates.span("1979-12-31"),
    "B": dates.span("1980"),
    "C": dates.span("1980-05"),
    "D": dates.span("1980-05-11"),
    "E": dates.span("1980-05-11T16:32:15Z"),
    "F": dates.period("1980-05-16", "1980-05-17"),
    "G": dates.span("1981-01-01"),
}


@pytest.mark.parametrize(
    ("prefix", "written", "found"),
    [
        ("eq", "1980", "BCDEF"),
        ("eq", "1980-05-11", "DE"),
        ("eq", "1980-05-10", ""),
        ("ne", "1980-05-11", "ABCFG"),
        ("gt", "1980-05-11", "BCFG"),
        ("ge", "1980-05-11", "BCDEFG"),
        ("lt", "1980-05-11", "ABC"),
        ("le", "1980-05-11", "ABCDE"),
        ("sa", "1980-05-11", "FG"),
        ("eb", "1980-05-11", "A"),
        ("ap", "1980-05-11", "BCDE"),
    ],
)
def test_each_prefix_compares_ranges(prefix, written, found):
    wanted = dates.span(written)
    assert "".join(name for name, stored in STORED.items() if dates.matches(prefix, wanted, stored)) == found


SPANS = st.tuples(st.integers(-50, 50), st.integers(0, 30)).map(lambda one: (one[0], one[0] + one[1]))


@given(SPANS, SPANS)
def test_prefixes_agree_with_each_other(wanted, stored):
    def holds(prefix):
        return dates.matches(prefix, wanted, stored)

    assert holds("ne") != holds("eq")
    assert holds("ge") == (holds("gt") or holds("eq"))
    assert holds("le") == (holds("lt") or holds("eq"))
    assert holds("ap") != (holds("sa") or holds("eb"))
    assert not holds("sa") or holds("gt")
    assert not holds("eb") or holds("lt")


def test_about_a_date_is_a_tenth_of_its_distance_from_now():
    assert dates.widened((100, 200), now=1200) == (0, 300)
    assert dates.widened((1200, 1300), now=200) == (1100, 1400)
    assert dates.widened((100, 200), now=150) == (100, 200)
