"""Searches by number and by quantity: the worked examples, and exact fractions as the second opinion."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from tests.fhir_server.searching import UCUM, a_quantity, finds, measured, parse

# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "stored", "match"),
    [
        ("5.4", "5.36", True), ("5.4", "5.35", True), ("5.4", "5.45", False), ("5.4", "5.449999999999999", True),
        ("5.40", "5.36", False), ("5.40", "5.404", True), ("100", "99.5", True), ("100", "100.5", False),
        ("100", "99.49", False), ("2e-3", "0.0015", True), ("2e-3", "0.0025", False), ("2e-3", "0.00249", True),
        ("ne5.4", "5.36", False), ("ne5.4", "5.45", True), ("eq5.4", "5.36", True), ("gt5.4", "5.4", False),
        ("gt5.4", "5.40000000000000001", True), ("ge5.4", "5.4", True), ("ge5.4", "5.400", True),
        ("lt5.4", "5.4", False),
        ("lt5.4", "5.39999999999999999", True), ("le5.4", "5.4", True), ("sa5.4", "5.41", True),
        ("sa5.4", "5.4", False),
        ("eb5.4", "5.39", True), ("eb5.4", "5.4", False), ("ap100", "90", True), ("ap100", "110", True),
        ("ap100", "89.9", False), ("ap100", "110.1", False), ("0.1,0.3", "0.3", True), ("-5", "-5.2", True),
        ("gt-5", "-4.9", True), ("gt0", "0", False), ("ge0", "0.0", True), ("1e2", "120", True), ("1e2", "150", False),
    ],
)  # fmt: skip
def test_numbers(asked: str, stored: str, match: bool) -> None:
    assert finds(f"RiskAssessment?probability={asked}", prediction=[{"probabilityDecimal": Decimal(stored)}]) == match


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("ge0.3", True), ("gt0.5", False), ("lt0.2", False), ("lt0.3", True), ("sa0.1", True), ("sa0.2", False),
        ("eb0.6", True), ("eb0.5", False), ("0.3", False), ("ne0.3", True), ("ap0.3", True), ("le0.2", False),
        ("gt0.4", True),
    ],
)  # fmt: skip
def test_a_range_of_numbers_is_compared_as_a_range(asked: str, match: bool) -> None:
    prediction = [{"probabilityRange": {"low": {"value": Decimal("0.2")}, "high": {"value": Decimal("0.5")}}}]
    assert finds(f"RiskAssessment?probability={asked}", prediction=prediction) == match


@pytest.mark.parametrize("asked", ["", "x", "gt", "5,4x", "1e999", "5|s|c", "xx5", "1" * 60])
def test_what_is_no_number_is_refused_in_words(asked: str) -> None:
    with pytest.raises(errors.Unreadable, match="probability : ") as caught:
        parse(f"RiskAssessment?probability={asked}")
    assert caught.value.at == "probability"


# ---- quantities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("5.4", True), (f"5.4|{UCUM}|mg", True), ("5.4||mg", True), ("5.4||milligramme", True), ("5.4||g", False),
        (f"5.4|{UCUM}|g", False), (f"0.0054|{UCUM}|g", True), ("5400||ug", True), ("5.4e-6||kg", True),
        ("gt5.3||mg", True), ("gt5.4||mg", False), ("gt0.005||g", True), ("lt0.005||g", False), ("ge5.4||mg", True),
        ("5.4|urn:other|mg", False), ("5.4||ml", False), ("ap5||mg", True), ("ap4||mg", False), ("ne5.4||mg", False),
        ("ne5.4||g", True), ("ne5.4||mL", False), ("1||g,5.4||mg", True), ("5.4||MG", False), ("6", False),
        (f"5|{UCUM}|mg", True), (f"5.0|{UCUM}|mg", False),
    ],
)  # fmt: skip
def test_the_unit_of_a_quantity_is_part_of_the_condition(asked: str, match: bool) -> None:
    assert finds(f"Observation?value-quantity={asked}", **measured("5.4", unit="milligramme")) == match


def test_what_is_stored_in_one_unit_is_found_in_another() -> None:
    assert finds("Observation?value-quantity=5.4||g", **measured(5400))
    assert not finds("Observation?value-quantity=5.4||mg", **measured("5.4", "g"))
    assert finds("Observation?value-quantity=98.6||[degF]", **measured(37, "Cel"))
    assert finds("Observation?value-quantity=gt100||[degF]", **measured(39, "Cel"))
    assert finds("Observation?value-quantity=ge72||/min", **measured(72, "{beats}/min"))
    assert finds("Observation?value-quantity=eq60||/min", **measured(3600, "/h"))
    assert finds("Observation?value-quantity=ge60||/min&value-quantity=le60||/min", **measured(3600, "/h"))


@pytest.mark.parametrize(
    ("asked", "match"),
    [("5", True), ("5||{score}", True), (f"5|{UCUM}|{{score}}", True), ("5||{points}", False), ("5||1", False)],
)
def test_a_unit_without_base_units_is_compared_by_its_code(asked: str, match: bool) -> None:
    assert finds(f"Observation?value-quantity={asked}", **measured(5, "{score}")) == match


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("5", True),
        ("5||cp", True),
        ("5||comprimé", True),
        ("5|urn:x|cp", True),
        (f"5|{UCUM}|cp", False),
        ("5||g", False),
    ],
)
def test_units_of_other_systems_are_compared_by_their_code(asked: str, match: bool) -> None:
    quantity = {"value": 5, "system": "urn:x", "code": "cp", "unit": "comprimé"}
    assert finds(f"Observation?value-quantity={asked}", valueQuantity=quantity) == match


def test_a_unit_that_is_only_written_is_found_as_it_is_written() -> None:
    assert finds("Observation?value-quantity=5||mg", valueQuantity={"value": 5, "unit": "mg"})
    assert not finds("Observation?value-quantity=0.005||g", valueQuantity={"value": 5, "unit": "mg"})
    assert not finds(f"Observation?value-quantity=5|{UCUM}|mg", valueQuantity={"value": 5, "unit": "mg"})
    assert finds("Observation?value-quantity=5", valueQuantity={"value": 5})
    assert finds("Observation?value-quantity=5||a\\|b", valueQuantity={"value": 5, "unit": "a|b"})


@pytest.mark.parametrize(
    ("comparator", "asked", "match"),
    [
        ("<", "lt5||mg", True), ("<", "lt1||mg", True), ("<", "gt4.99||mg", True), ("<", "gt5||mg", False),
        ("<", "ge5||mg", False), ("<", "eb5||mg", True), ("<", "eb4.999||mg", False), ("<", "5||mg", False),
        ("<", "ne5||mg", True), ("<=", "eb5||mg", False), ("<=", "gt4.9||mg", True), (">", "gt100||mg", True),
        (">", "sa5||mg", True), (">=", "sa5||mg", False), (">=", "ge5||mg", True), (">", "lt5||mg", False),
        (">", "lt0.006||g", True), ("<", "eb0.005||g", True),
    ],
)  # fmt: skip
def test_a_stored_comparator_is_a_range(comparator: str, asked: str, match: bool) -> None:
    assert finds(f"Observation?value-quantity={asked}", **measured(5, comparator=comparator)) == match


def test_ranges_and_money_are_quantities() -> None:
    age = {"low": a_quantity(3, "a"), "high": a_quantity(5, "a")}
    assert finds("Condition?onset-age=ge4||a", onsetRange=age)
    assert finds("Condition?onset-age=lt48||mo", onsetRange=age)
    assert not finds("Condition?onset-age=gt5||a", onsetRange=age)
    assert finds("Condition?onset-age=ap4||a", onsetRange=age)
    assert finds("Condition?onset-age=3||a", onsetAge=a_quantity(3, "a"))
    money = {"value": Decimal("12.50"), "currency": "EUR"}
    for asked in ("12.5", "12.50||EUR", "12.50|urn:iso:std:iso:4217|EUR", "gt12||EUR"):
        assert finds(f"Invoice?totalnet={asked}", totalNet=money), asked
    assert not finds("Invoice?totalnet=12.50||USD", totalNet=money)
    assert not finds("Invoice?totalnet=12.51||EUR", totalNet=money)


def test_a_hundred_alternatives_are_enough() -> None:
    for asked in ("value-quantity={}||g", "code-value-quantity=c${}||g", "combo-value-quantity={}"):
        name, _, value = asked.partition("=")
        parse(f"Observation?{name}={','.join(value.format(n) for n in range(100))}")
        with pytest.raises(errors.Unreadable, match="au plus 100"):
            parse(f"Observation?{name}={','.join(value.format(n) for n in range(101))}")


@pytest.mark.parametrize("asked", ["", "x||g", "5|g", "5|s|", "5||", "5|a|b|c", "|s|g", "1e400||g", "gt||g"])
def test_what_is_no_quantity_is_refused_in_words(asked: str) -> None:
    with pytest.raises(errors.Unreadable, match="value-quantity : "):
        parse(f"Observation?value-quantity={asked}")


@pytest.mark.parametrize("value", ["1E+99999999", "-1E+99999999", "1E-99999999", "9" * 3000, "0." + "9" * 3000])
@pytest.mark.parametrize("code", ["mg", "Cel", "{x}"])
def test_stored_numbers_beyond_all_measure_do_no_harm(value: str, code: str) -> None:
    assert finds("Observation?value-quantity:missing=false", **measured(value, code))
    large = not value.startswith("-") and "E-" not in value and value[:2] != "0."
    assert finds(f"Observation?value-quantity=gt1e299||{code}", **measured(value, code)) == large


def test_missing_of_numbers_and_quantities() -> None:
    one = measured(5)
    assert finds("Observation?value-quantity:missing=false", **one)
    assert finds("Observation?combo-value-quantity:missing=false", **one)
    assert finds("Observation?component-value-quantity:missing=true", **one)
    assert finds("Observation?combo-value-quantity:missing=true")
    assert finds("RiskAssessment?probability:missing=true")
    component = {"component": [{"code": {}, **one}]}
    assert finds("Observation?value-quantity:missing=true&combo-value-quantity:missing=false", **component)


SMALL = st.builds(lambda n, e: Decimal(n).scaleb(e), st.integers(-60, 600), st.integers(-3, 1))
UNITS = {"ug": Fraction(1, 10**6), "mg": Fraction(1, 1000), "g": Fraction(1), "kg": Fraction(1000)}


@given(SMALL, st.sampled_from(sorted(UNITS)), SMALL, st.sampled_from(sorted(UNITS)), st.sampled_from((
    "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")))  # fmt: skip
def test_quantities_compare_as_exact_fractions_of_the_same_unit(
    stored: Decimal, stored_unit: str, asked: Decimal, asked_unit: str, prefix: str
) -> None:
    s, q = Fraction(stored) * UNITS[stored_unit], Fraction(asked) * UNITS[asked_unit]
    half = Fraction(10) ** int(asked.as_tuple().exponent) / 2 * UNITS[asked_unit]
    inside = q - half <= s < q + half
    expected = {
        "": inside, "eq": inside, "ne": not inside, "gt": s > q, "sa": s > q, "lt": s < q, "eb": s < q,
        "ge": s >= q, "le": s <= q, "ap": abs(s - q) <= abs(q) / 10,
    }[prefix]  # fmt: skip
    assert (
        finds(f"Observation?value-quantity={prefix}{asked}||{asked_unit}", **measured(stored, stored_unit)) == expected
    )
