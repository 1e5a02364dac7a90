"""Are formats negotiated and bodies read as R4 wants, whatever is sent?"""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from fhir_server import entries, media


@pytest.mark.parametrize(
    ("accept", "asked", "kind", "content_type"),
    [
        ("", "", "json", "application/fhir+json; charset=utf-8"),
        ("*/*", "", "json", "application/fhir+json; charset=utf-8"),
        ("application/*", "", "json", "application/fhir+json; charset=utf-8"),
        ("application/json", "", "json", "application/json; charset=utf-8"),
        ("text/json", "", "json", "text/json; charset=utf-8"),
        ("text/*", "", "json", "text/json; charset=utf-8"),
        ("application/fhir+xml", "", "xml", "application/fhir+xml; charset=utf-8"),
        ("text/xml", "", "xml", "text/xml; charset=utf-8"),
        ("application/fhir+json;fhirVersion=4.0", "", "json", "application/fhir+json; charset=utf-8; fhirVersion=4.0"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "", "json", "application/fhir+json; charset=utf-8"),
        ("application/fhir+json;q=0.5, application/fhir+xml", "", "xml", "application/fhir+xml; charset=utf-8"),
        ("application/fhir+json;q=0, application/fhir+xml;q=0.1", "", "xml", "application/fhir+xml; charset=utf-8"),
        ("application/pdf", "json", "json", "application/fhir+json; charset=utf-8"),
        ("application/fhir+json", "xml", "xml", "application/fhir+xml; charset=utf-8"),
        ("", "application/fhir+xml", "xml", "application/fhir+xml; charset=utf-8"),
        ("", "application/fhir xml", "xml", "application/fhir+xml; charset=utf-8"),
    ],
)
def test_the_format_that_the_client_asks_for_is_found(accept: str, asked: str, kind: str, content_type: str) -> None:
    found = media.negotiate(accept.encode(), asked)
    assert (found.kind, found.content_type.decode()) == (kind, content_type)


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("image/png", ""),
        ("application/fhir+json;fhirVersion=5.0", ""),
        ("application/fhir+json;q=0", ""),
        ("application/fhir+json;q=much", ""),
        ("", "html"),
        ("", "*/*"),
    ],
)
def test_a_format_that_is_not_served_is_refused(accept: str, asked: str) -> None:
    with pytest.raises(errors.NotAcceptable):
        media.negotiate(accept.encode(), asked)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/fhir+json", "json"),
        ("Application/FHIR+JSON; charset=UTF-8", "json"),
        ("application/json;fhirVersion=4.0", "json"),
        ('text/json; charset="utf-8"', "json"),
        ("application/fhir+xml", "xml"),
        ("application/x-www-form-urlencoded", "form"),
        ("application/pdf", "other"),
        ("", "other"),
        (";;;=", "other"),
    ],
)
def test_a_content_type_says_how_the_body_is_read(content_type: str, kind: str) -> None:
    assert media.content_kind(content_type) == kind


@pytest.mark.parametrize(
    "content_type",
    ["application/fhir+json; charset=latin-1", "application/fhir+json; fhirVersion=5.0", "text/xml; charset=utf-16"],
)
def test_another_charset_or_fhir_version_is_refused(content_type: str) -> None:
    with pytest.raises(errors.UnsupportedMedia):
        media.content_kind(content_type)


def test_decimals_keep_their_digits() -> None:
    assert media.read_json(b'{"a":1.50,"b":1E3}') == {"a": Decimal("1.50"), "b": Decimal("1E3")}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"Patient"',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e99999999999999999999}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u0000"}',
        b'{"a":"\\\\\\u0000"}',
        b"{'a':1}",
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"[" * 150 + b"]" * 150 + b"}",
    ],
)
def test_a_body_that_is_no_safe_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(errors.Unreadable):
        media.read_json(body)


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    text = "[{" * 300 + '\\"' + "[[" * 100
    assert media.read_json(b'{"a":"%s","b":[]}' % text.encode())["b"] == []


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert len(media.read_json(b'{"a":[' + b",".join([b'{"b":[1]}'] * 5000) + b"]}")["a"]) == 5000


def test_a_hundred_levels_are_read_and_one_more_is_not() -> None:
    media.read_json(b'{"a":' + b"[" * 99 + b"]" * 99 + b"}")
    with pytest.raises(errors.Unreadable):
        media.read_json(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}")


def test_an_escaped_backslash_before_u0000_is_plain_text() -> None:
    assert media.read_json(b'{"a":"\\\\u0000"}') == {"a": "\\u0000"}


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b'{"a":1,"a":1}', "a"),
        (b'{"resourceType":"Patient","name":[{"family":"A"},{"given":["B"],"given":["C"]}]}', "Patient.name[1].given"),
        (b'{"a" :1,"b":2,"a":3}', "a"),
        (b'{"a"\n:1,"b":{"c":[[{"x":1,"x":2}]]}}', "b.c[0][0].x"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"a":1,"b":"\\u003ax","a":2}', "a"),
        (b'{"a":1,"b":"\\":","a":2}', "a"),
        (b'{"a\\\\":1,"a\\\\":2}', "a\\"),
        (b'{"entry":[{"resource":{"resourceType":"Patient","id":"x","id":"y"}}]}', "entry[0].resource.id"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_its_place(body: bytes, at: str) -> None:
    with pytest.raises(errors.Unreadable) as refused:
        media.read_json(body)
    assert refused.value.at == at


class _Pairs(list[tuple[str, object]]):
    """An object, written as it is: also with a key twice."""


_TEXTS = st.text(alphabet='a":\\ \n:é', max_size=4)
_VALUES = st.recursive(
    st.none() | st.integers(-(10**30), 10**30) | st.decimals(allow_nan=False, allow_infinity=False, places=3) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(_TEXTS, inner), max_size=3).map(_Pairs),
    max_leaves=12,
)


def _written(value: object, blank: str, ascii: bool) -> str:
    if isinstance(value, _Pairs):
        pairs = (f"{json.dumps(name, ensure_ascii=ascii)}{blank}:{_written(one, blank, ascii)}" for name, one in value)
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(one, blank, ascii) for one in value) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=ascii)


def _has_twice(value: object) -> bool:
    if isinstance(value, _Pairs):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(_has_twice(one) for _, one in value)
    return isinstance(value, list) and any(map(_has_twice, value))


@given(value=_VALUES, blank=st.sampled_from(["", " ", "\n "]), ascii=st.booleans())
def test_repeated_keys_are_found_and_nothing_else_is(value: object, blank: str, ascii: bool) -> None:
    body = _written(_Pairs([("a", value)]), blank, ascii)
    if _has_twice(_Pairs([("a", value)])):
        with pytest.raises(errors.Unreadable):
            media.read_json(body.encode())
    else:
        media.read_json(body.encode())


def test_parameters_are_decoded_once() -> None:
    assert media.parameters(b"name=a%2Cb&code=%257C&empty=") == [("name", "a,b"), ("code", "%7C"), ("empty", "")]


@pytest.mark.parametrize("query", [b"name=%ff", b"name=\xff", b"name=%00", b"&".join([b"a=b"] * 501)])
def test_parameters_that_cannot_be_meant_are_refused(query: bytes) -> None:
    with pytest.raises(errors.Unreadable):
        media.parameters(query)


@pytest.mark.parametrize(
    ("header", "returns", "lenient"),
    [
        (b"return=minimal", "minimal", False),
        (b'return="representation"; handling=lenient', "representation", True),
        (b"handling=strict, return=OperationOutcome", "OperationOutcome", False),
        (b"return=everything, respond-async", "", False),
        (b"\xff=,,;;", "", False),
    ],
)
def test_preferences_are_understood_or_ignored(header: bytes, returns: str, lenient: bool) -> None:
    found = media.prefer(header)
    assert (found.returns, found.lenient) == (returns, lenient)


def test_pretty_json_keeps_the_digits() -> None:
    assert media.indented(b'{"a":1.50}') == b'{\n  "a": 1.50\n}'


@given(
    st.lists(st.sampled_from(["a", "=", "&", "+", "%", "2", "%20", "%C3%A9", "%E9", "|", ";", "é", "%26"]), max_size=9)
)
def test_parameters_are_read_as_the_standard_library_reads_a_form(pieces: list[str]) -> None:
    raw = "".join(pieces)
    try:
        expected = parse_qsl(raw, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        with pytest.raises(errors.Unreadable):
            media.parameters(raw.encode())
    else:
        assert media.parameters(raw.encode()) == expected


@given(st.text(alphabet="aZé|&=+ %:/,.-_~€😀\"'\\<", max_size=8))
def test_links_are_escaped_as_the_standard_library_escapes(value: str) -> None:
    assert entries.link("x", [("n", value)]) == f"x?n={quote(value, safe=':/,')}"
