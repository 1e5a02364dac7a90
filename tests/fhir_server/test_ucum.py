"""UCUM codes in base units: exact factors, and what has none. The library `ucumvert` is the second opinion."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import ucum


@pytest.mark.parametrize(
    ("code", "base", "factor"),
    [
        ("g", "g1", "1"),
        ("mg", "g1", "1/1000"),
        ("kg/m2", "g1.m-2", "1000"),
        ("mm[Hg]", "g1.m-1.s-2", "133322"),
        ("/min", "s-1", "1/60"),
        ("{beats}/min", "s-1", "1/60"),
        ("10*9/L", "m-3", "1000000000000"),
        ("10^9/L", "m-3", "1000000000000"),
        ("mmol/L", "m-3.mol1", "1"),
        ("mg/dL", "g1.m-3", "10"),
        ("%", "1", "1/100"),
        ("[in_i]", "m1", "127/5000"),
        ("m[iU]/L", "[iU]1.m-3", "1"),
        ("mL/min/{1.73_m2}", "m3.s-1", "1/60000000"),
        ("ug/kg/h", "s-1", "1/3600000000000"),
        ("g/(8.h)", "g1.s-1", "1/28800"),
        ("a", "s1", "31557600"),
        ("cm[H2O]", "g1.m-1.s-2", "196133/2"),
        ("m/s2", "m1.s-2", "1"),
        ("m.s-2", "m1.s-2", "1"),
        ("1", "1", "1"),
    ],
)
def test_units_in_base_units(code: str, base: str, factor: str) -> None:
    found = ucum.unit(code)
    assert found is not None
    assert (found.base, found.factor, found.offset) == (base, Fraction(factor), 0)


def test_temperatures_have_a_zero_of_their_own() -> None:
    celsius, fahrenheit, kelvin = (ucum.unit(code) for code in ("Cel", "[degF]", "K"))
    assert celsius
    assert fahrenheit
    assert kelvin
    assert celsius.base == fahrenheit.base == kelvin.base == "K1"
    assert celsius.canonical(Fraction("37")) == fahrenheit.canonical(Fraction("98.6")) == Fraction("310.15")


@pytest.mark.parametrize(
    "code",
    ["", "mmHg", "nope", "{score}", "[pH]", "dB", "B[V]", "g.", "/", "m999", "m25", "(m", "m)", "((((((((((m))))))))))",
     "g" * 65, "é", "mg dL", "10*99", "m//s", "-m", "{a}{b}{"],
)  # fmt: skip
def test_what_has_no_base_units_is_compared_by_its_code(code: str) -> None:
    assert ucum.unit(code) is None


def test_a_mole_is_no_number() -> None:
    mole, number = ucum.unit("mmol/L"), ucum.unit("10*9/L")
    assert mole
    assert number
    assert mole.base != number.base


@given(st.text(st.sampled_from("mgkLd/.*^10()[]{}-+ inHl°"), max_size=70))
def test_any_text_is_a_unit_or_none(code: str) -> None:
    found = ucum.unit(code)
    assert found is None or found.factor > 0 or "0" in code


COMPARED = (
    "mg ug ng pg kg g [lb_av] [oz_av] m cm mm um km [in_i] [ft_i] L mL dL uL fL s min h d wk mo a Hz Pa kPa mm[Hg] "
    "mg/dL g/L ug/mL mL/min L/min m/s cm/s kg/m2 J kJ cal kcal W N V mV A K deg rad /min /d /uL 10*3/uL 10*12/L % "
    "mL/kg ug/kg/min kcal/d [pt_us] [gal_us] cm[H2O] bar atm Gy Sv Bq g/m2 mg/(kg.d)"
).split()


def test_factors_agree_with_another_implementation() -> None:
    pint_ucum = pytest.importorskip("ucumvert")
    registry = pint_ucum.PintUcumRegistry()
    for code in COMPARED:
        mine = ucum.unit(code)
        theirs = registry.from_ucum(code).to_base_units()
        assert mine, code
        grams = {"kilogram": 1000}
        scale = 1.0
        for name, power in theirs.unit_items():
            scale *= grams.get(name, 1) ** power
        assert float(mine.factor) == pytest.approx(float(theirs.magnitude) * scale, rel=1e-4), code
