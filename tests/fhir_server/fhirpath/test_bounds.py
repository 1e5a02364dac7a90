"""What a hostile expression may cost."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhirpath import evaluate, parse
from fhir_server.r4 import load
from tests.fhir_server.fhirpath.conftest import NOW, PATIENT, Ask

COSTLY = [
    "a" * 5000,
    "(" * 200 + "1" + ")" * 200,
    ".".join(["name"] * 500),
    "1" + " + 1" * 400,
    "-" * 1000 + "1",
    "(1).repeat($this + 1)",
    "'a'.repeat($this + 'a')",
    "(1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9).aggregate($total & $total & 'aaaaaaaaaaaaaaaaaaaaaaaaaaa' & $total)"
    ".replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('(a+)+$')",
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('(a|aa)*$')",
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.replaceMatches('a*a*a*a*a*b', 'x')",
    "descendants().select('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('a*a*b'))"
    ".combine(descendants().select('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('a*a*a*b')))",
    "'aa'.matches('(a)\\\\1')",
    "'a'.matches('(')",
    "descendants().select(%resource.descendants().select(%resource.descendants().select(%resource.descendants())))",
]


@pytest.mark.parametrize("expression", COSTLY)
def test_an_expression_that_costs_too_much_is_refused_in_time(ask: Ask, expression: str) -> None:
    began = time.monotonic()
    with pytest.raises(parse.Unusable):
        ask(expression)
    assert time.monotonic() - began < evaluate.running.MOST_SECONDS + 2


def test_numbers_do_not_grow_without_end(ask: Ask) -> None:
    assert ask("(1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10).aggregate($total * $total, 10)") == []


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_refused(definitions: load.Definitions, text: str) -> None:
    try:
        evaluate.evaluate(text, PATIENT, definitions, now=NOW)
    except parse.Unusable:
        pass


WORDS = st.sampled_from(
    "name given use where ( ) ( ) . . = and or 1 2.5 'a' [ 0 ] | + - * / div is as Patient $this $index {} first() "
    "count() active birthDate 1 year @2020 @T10:00 substring(1) matches('a') in ~ select( exists() %resource "
    "multipleBirth lowBoundary() toString() toQuantity() resolve() descendants() not()".split()
)


@given(st.lists(WORDS, max_size=14))
def test_any_sequence_of_words_gives_a_list_or_is_refused(definitions: load.Definitions, words: list[str]) -> None:
    try:
        assert isinstance(evaluate.evaluate(" ".join(words), PATIENT, definitions, now=NOW), list)
    except parse.Unusable:
        pass
