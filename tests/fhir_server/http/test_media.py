"""Are formats negotiated and bodies read as R4 wants, whatever is sent?"""

from __future__ import annotations

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
