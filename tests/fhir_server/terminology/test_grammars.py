"""Are units, languages and media types told from what only looks like one?"""

from __future__ import annotations

import csv
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.terminology import grammars, units


def published_units() -> list[str]:
    path = metadata.distribution("ucumvert").locate_file("ucumvert/vendor/ucum_examples.tsv")
    with open(str(path), encoding="utf-8", newline="") as file:
        return [row["UCUM_CODE"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def test_the_published_examples_are_units() -> None:
    codes = published_units()
    assert len(codes) > 500
    # One of the examples is not in the official table of atoms.
    assert [one for one in codes if not units.is_unit(one)] == ["Torr"]


@pytest.mark.parametrize(
    "code", ["", "mmHg", "zorglub", "mg//dL", "beats/min", "mg}", "{mg", "m(s)", "m s", "é", "(m", "."]
)
def test_these_are_no_units(code: str) -> None:
    assert units.is_unit(code) is False


@given(st.text("mg/.(){}[]1-+*% kPa'", max_size=60))
def test_any_text_is_judged(text: str) -> None:
    assert units.is_unit(text) in (True, False)


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        ("urn:ietf:bcp:47", "fr-FR", True),
        ("urn:ietf:bcp:47", "fr_FR", False),
        ("urn:ietf:bcp:13", "application/fhir+json", True),
        ("urn:ietf:bcp:13", "text", False),
        ("http://unitsofmeasure.org", "kg", True),
        ("http://unitsofmeasure.org", "k" * 201, False),
        ("http://loinc.org", "8310-5", None),
    ],
)
def test_each_system_has_its_grammar(system: str, code: str, expected: bool | None) -> None:
    assert grammars.is_well_formed(system, code) is expected
