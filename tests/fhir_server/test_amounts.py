"""Decimals as texts in the order of the numbers, and what a written number stands for."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import amounts

NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6),
    st.integers(-20, 20).map(lambda n: Decimal(n) / 4),
    st.builds(lambda n, e: Decimal(n).scaleb(e), st.integers(-999, 999), st.integers(-400, 400)),
)


@given(NUMBERS, NUMBERS)
def test_texts_are_in_the_order_of_the_numbers(one: Decimal, other: Decimal) -> None:
    a, b = amounts.ordered(one), amounts.ordered(other)
    assert (a < b, a == b) == (one < other, one == other)
    assert a.isascii()
    assert amounts.LEAST < a < amounts.MOST


@given(NUMBERS, NUMBERS)
def test_just_below_and_just_above_lie_between_a_number_and_all_others(one: Decimal, other: Decimal) -> None:
    below, at, above = (amounts.ordered(one, n) for n in (-1, 0, 1))
    assert below < at < above
    text = amounts.ordered(other)
    if other < one:
        assert text < below
    if other > one:
        assert text > above


@pytest.mark.parametrize(
    "number", ["1E+999999999", "-1E+999999999", "1E-999999999", "-0", "9" * 5000, "0." + "1" * 5000]
)
def test_numbers_beyond_all_measure_have_short_texts(number: str) -> None:
    assert len(amounts.ordered(Decimal(number))) < 60


def test_what_is_beyond_all_measure_is_infinite_or_zero() -> None:
    assert amounts.ordered(Decimal("1E+999999999")) == amounts.MOST == amounts.ordered(Decimal("Infinity"))
    assert amounts.ordered(Decimal("-1E+999999999")) == amounts.LEAST == amounts.ordered(Decimal("-Infinity"))
    assert amounts.ordered(Decimal("1E-999999999")) == amounts.ordered(Decimal("-0")) == amounts.ZERO


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("5.4", "5.35", "5.45"),
        ("5.40", "5.395", "5.405"),
        ("100", "99.5", "100.5"),
        ("2e-3", "0.0015", "0.0025"),
        ("1.0e2", "95", "105"),
        ("-5.4", "-5.45", "-5.35"),
        ("0", "-0.5", "0.5"),
        ("+7", "6.5", "7.5"),
    ],
)
def test_the_precision_of_a_number_is_how_it_is_written(text: str, low: str, high: str) -> None:
    assert amounts.bounds("eq", amounts.written(text)) == (Fraction(low), Fraction(high))


def test_about_is_a_tenth_and_comparing_is_exact() -> None:
    assert amounts.bounds("ap", Decimal(200)) == (180, 220)
    assert amounts.bounds("ap", Decimal(-200)) == (-220, -180)
    for prefix in ("gt", "lt", "ge", "le", "sa", "eb"):
        assert amounts.bounds(prefix, Decimal("5.4")) == (Fraction("5.4"), Fraction("5.4"))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "x", "5,4", "1e", "0x10", "Infinity", "NaN", "1_000", "٣", "5.", ".5", "1" * 41])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="decimal"):
        amounts.written(text)


@pytest.mark.parametrize("text", ["1e301", "1e999", "-1e-999"])
def test_exponents_that_no_value_has_are_refused(text: str) -> None:
    with pytest.raises(OverflowError):
        amounts.written(text)


@given(st.fractions(min_value=0, max_denominator=10**6), st.fractions(min_value=0, max_denominator=10**6))
def test_quotients_keep_the_order_of_fractions(one: Fraction, other: Fraction) -> None:
    a, b = amounts.quotient(one), amounts.quotient(other)
    assert (a < b, a == b) == (one < other, one == other)
