"""Headers as real programs write them."""

from __future__ import annotations

from datetime import UTC, datetime
from email.header import Header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss import charsets, headers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bonjour", "Bonjour"),
        ("=?utf-8?Q?Plaie_du_talon?=", "Plaie du talon"),
        ("=?UTF-8?B?w6l0w6k=?= chaud", "été chaud"),
        ("=?iso-8859-1?Q?=E9t=E9?=\t=?iso-8859-1?Q?_chaud?=", "été chaud"),
        # A UTF-8 character cut in two words: wrong, and common.
        ("=?utf-8?B?w6k=?= =?utf-8?B?dMM=?= =?utf-8?B?qQ==?=", "été"),
        ("=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "é"),
        ("=?windows-1252?Q?=80_et_=92?=", "€ et ’"),
        ("=?utf-8*fr?Q?=C3=A9?=", "é"),
        ("=?inconnu?Q?abc?=", "abc"),
        ("=?utf-8?B?w6k?=", "é"),
        ("=?utf-8?B?!!!?=", ""),
        ("=?utf-8?Q?sans fin", "=?utf-8?Q?sans fin"),
        ("RE: [#K7F2Q]", "RE: [#K7F2Q]"),
    ],
)
def test_encoded_words_are_read(value: str, expected: str) -> None:
    assert headers.words(value) == expected


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=80))
def test_what_the_standard_library_encodes_is_read_back(text: str) -> None:
    encoded = Header(" ".join(text.split()), "utf-8").encode().replace("\n", "")
    assert headers.words(encoded) == " ".join(text.split())


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ('application/pdf; name="a b.pdf"', "name", "a b.pdf"),
        ("application/pdf; name=a.pdf; x=y", "name", "a.pdf"),
        ("attachment; filename*=utf-8''%C3%A9t%C3%A9.pdf", "filename", "été.pdf"),
        ("attachment; filename*=UTF-8'fr'%e2%82%ac.pdf", "filename", "€.pdf"),
        ("attachment; filename*0*=utf-8''%C3%A9; filename*1=t%C3; filename*2*=%A9.pdf", "filename", "ét%C3\ufffd.pdf"),
        ('attachment; filename*0="long"; filename*1="ue.pdf"', "filename", "longue.pdf"),
        ('attachment; filename="=?iso-8859-1?Q?=E9t=E9.pdf?="', "filename", "été.pdf"),
        ("attachment; filename=plain.pdf; filename*=utf-8''vrai.pdf", "filename", "vrai.pdf"),
        ('attachment; filename="guillemet \\" dedans.pdf"', "filename", 'guillemet " dedans.pdf'),
        ('attachment; filename="sans fin.pdf', "filename", "sans fin.pdf"),
        ("attachment; FILENAME=Été.pdf", "filename", "Été.pdf"),
    ],
)
def test_parameters_are_read_in_all_their_forms(value: str, name: str, expected: str) -> None:
    found = headers.parameters(value)[1].get(name, "")
    if "ufffd" in ascii(expected):
        assert found.startswith("ét%C3")
    else:
        assert found == expected


def test_message_ids_lose_their_brackets_and_keep_their_order() -> None:
    assert headers.ids("<a@b>\r\n <C@d> <a@b>") == ("a@b", "C@d")
    assert headers.ids("nu@domaine") == ("nu@domaine",)
    assert headers.ids("Votre message du 3 mars <x@y>") == ("x@y",)
    assert headers.ids("rien") == ()
    assert headers.ids(None) == ()


def test_dates_are_in_utc_and_impossible_ones_are_none() -> None:
    assert headers.date("Mon, 23 Nov 2026 09:12:00 +0100") == datetime(2026, 11, 23, 8, 12, tzinfo=UTC)
    assert headers.date("Mon, 23 Nov 2026 09:12:00 -0000") == datetime(2026, 11, 23, 9, 12, tzinfo=UTC)
    for wrong in (None, "", "demain", "Mon, 99 Nov 2026 09:12:00 +0100", "Fri, 31 Dec 9999 23:00:00 -2300", "9" * 5000):
        assert headers.date(wrong) is None


def test_fields_end_at_the_first_line_that_is_none() -> None:
    fields, at = headers.fields(b"A: 1\r\nB: 2\r\n suite\r\nsans deux-points\r\n\r\ncorps")
    assert fields == (("A", "1"), ("B", "2 suite"))
    assert at == len(b"A: 1\r\nB: 2\r\n suite\r\n")
    assert headers.fields(b"From x@y Mon Nov 23\nA: 1\n\nz")[0] == (("A", "1"),)


def test_raw_eight_bit_headers_are_read_in_utf_8_or_windows_1252() -> None:
    assert headers.fields("Subject: été\n\n".encode())[0] == (("Subject", "été"),)
    assert headers.fields("Subject: été\n\n".encode("cp1252"))[0] == (("Subject", "été"),)


@given(st.binary())
def test_any_bytes_can_be_read_as_fields(block: bytes) -> None:
    fields, at = headers.fields(block)
    assert 0 <= at <= len(block)
    for _, value in fields:
        headers.words(value)
        headers.parameters(value)
        headers.ids(value)
        headers.date(value)


@pytest.mark.parametrize(
    ("text", "written", "declared"),
    [
        ("été œuvre €", "cp1252", "windows-1252"),
        ("été œuvre € ’", "cp1252", "iso-8859-1"),
        ("été œuvre €", "iso-8859-15", "ISO-8859-15"),
        ("été", "utf-8", "us-ascii"),
        ("été", "cp1252", "us-ascii"),
        ("été", "cp1252", "utf-8"),
        ("été", "utf-8", "iso-8859-1"),
        ("été", "utf-8", "inconnu-42"),
        ("été", "utf-16", "utf-16"),
        ("été", "mac_roman", "macintosh"),
        ("été", "utf-8", '"UTF-8"'),
        ("Łódź", "iso-8859-2", "iso-8859-2"),
    ],
)
def test_the_wrong_character_set_is_seen_through(text: str, written: str, declared: str) -> None:
    assert charsets.text(text.encode(written), declared) == text


def test_a_footer_in_another_character_set_is_read_too() -> None:
    assert charsets.text("été ".encode() + "français".encode("cp1252"), "utf-8") == "été français"


@pytest.mark.parametrize(
    ("data", "charset"), [(b"\x81\x8d\xff", "utf-8"), (b"a\0b\0c\0" * 50, "utf-8"), (b"\xff", "gb18030")]
)
def test_noise_is_refused_rather_than_shown(data: bytes, charset: str) -> None:
    with pytest.raises(charsets.Undecodable):
        charsets.text(data, charset)


@given(
    st.binary(max_size=200),
    st.sampled_from(["idna", "punycode", "unicode_escape", "utf-7", "hex", "rot13", "a\0b", ""]),
)
def test_no_character_set_name_breaks_the_reader(data: bytes, charset: str) -> None:
    charsets.lenient(data, charset).encode()
