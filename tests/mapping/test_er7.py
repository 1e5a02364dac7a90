"""Is every HL7 v2 message read without loss, and everything else refused with a place?"""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import errors
from mapping import er7
from tests import builders_hl7

HEAD = b"MSH|^~\\&|A|B|C|D|20261120||ADT^A01^ADT_A01|1|P|2.5|||||FRA|"


def a_message(*segments: str, charset: str = "UNICODE UTF-8", encoding: str = "utf-8") -> er7.Message:
    lines = [HEAD.decode() + charset, *segments]
    return er7.read(b"".join(line.encode(encoding) + b"\r" for line in lines))


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\n\n", b"\n\r"])
def test_every_line_end_ends_a_segment_and_cr_is_written(end: bytes) -> None:
    raw = end.join([HEAD, b"PID|||1", b"PV1|1|I"]) + end
    assert er7.write(er7.read(raw)) == HEAD + b"\rPID|||1\rPV1|1|I\r"


def test_mixed_line_ends_are_read() -> None:
    assert [one.name for one in er7.read(HEAD + b"\nPID|||1\r\nPV1|1\rOBX|1").all] == ["MSH", "PID", "PV1", "OBX"]


def test_a_byte_order_mark_is_dropped_and_counted() -> None:
    message = er7.read(b"\xef\xbb\xbf" + HEAD + b"UNICODE UTF-8\r")
    assert message.control_id == "1"
    assert [note.code for note in message.tolerances] == ["byte-order-mark"]


def test_the_header_is_read_by_name() -> None:
    message = er7.read(builders_hl7.an_mdm("X1"))
    assert (message.type, message.trigger, message.structure) == ("MDM", "T02", "MDM_T02")
    assert message.key == ("DPI-DEMO", "CH-DEMO", "X1")
    assert (message.version, message.processing, message.charset) == ("2.6", "P", "UNICODE UTF-8")
    assert message.profile == "2.1^CISIS_CDA_HL7_V2"
    assert (message.receiving_application, message.receiving_facility) == ("SPICO-HUB", "REGION")


def test_a_type_written_twice_is_read_by_its_first_two_components() -> None:
    raw = HEAD.replace(b"ADT^A01^ADT_A01", b"MDM^T02^MDM^T02^MDM_T02")
    assert (er7.read(raw).type, er7.read(raw).trigger, er7.read(raw).structure) == ("MDM", "T02", "MDM_T02")


def test_a_path_reaches_segments_repetitions_components_and_sub_components() -> None:
    message = a_message("OBX|1|CE|a", "OBX|2|CE|b^c&d~e^f&g")
    assert message.get("OBX-1") == "1"
    assert message.get("OBX[2]-3.2") == "c&d"
    assert message.get("OBX[2]-3(2).2.2") == "g"
    assert message.get("OBX[3]-1") is message.get("OBX-40") is message.get("OBX[2]-3(9)") is None


@pytest.mark.parametrize("path", ["PID", "PID-", "pid-3", "PID-3.x", "PID-3.1.1.1", ""])
def test_a_wrong_path_is_a_bug_of_ours(path: str) -> None:
    with pytest.raises(ValueError, match="not an HL7 v2 path"):
        a_message().get(path)


def test_two_quotes_mean_delete_and_nothing_means_nothing() -> None:
    message = a_message('PID|||1||DUPONT^""||')
    assert message.get("PID-5.2") is er7.DELETE
    assert message.get("PID-5.3") is None
    assert message.text("PID-5.2") == ""


def test_place_names_count_segments_and_repetitions() -> None:
    first, second = a_message("OBX|1", "OBX|2").segments("OBX")
    assert (first.at(5), second.at(5, 4), second.at(3, repetition=2)) == ("OBX-5", "OBX[2]-5.4", "OBX[2]-3(2)")


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"a\F\b\S\c\R\d\T\e\E\f", "a|b^c~d&e\\f"),
        (r"ligne 1\.br\ligne 2", "ligne 1\nligne 2"),
        (r"\H\gras\N\ fin", "gras fin"),
        (r"caf\XC3A9\ ", "café"),
        (r"C:\dossier\x.pdf", r"C:\dossier\x.pdf"),
        (r"fin \ seule", r"fin \ seule"),
        (r"\.in+4\retrait\.sp2\suite", "retrait\nsuite"),
        (r"\Xzz\ \Z9\ ", r"\Xzz\ \Z9\ ".strip()),
    ],
)
def test_escapes_are_undone_in_text(escaped: str, plain: str) -> None:
    assert a_message(f"NTE|1||{escaped}").text("NTE-3") == plain


def test_escapes_are_kept_in_raw_bytes() -> None:
    assert a_message(r"OBX|1|ED|||^^^Base64^QQ\E\==").segments("OBX")[0].first(5).raw(5) == rb"QQ\E\=="


def test_repetition_may_be_a_character_of_two_bytes() -> None:
    raw = HEAD.replace(b"^~\\&", "^˜\\&".encode()) + "UNICODE UTF-8\rPID|||1˜2˜3 ~ 4\r".encode()
    assert [value.text() for value in er7.read(raw).segments("PID")[0].repetitions(3)] == ["1", "2", "3 ~ 4"]
    assert er7.write(er7.read(raw)) == raw


def test_a_doubled_escape_character_counts_once() -> None:
    message = er7.read(HEAD.replace(b"^~\\&", b"^~\\\\&") + b"UNICODE UTF-8\rPID|||a\\T\\b&c\r")
    assert message.get("PID-3.1.1") == "a&b"
    assert message.get("PID-3.1.2") == "c"
    assert [note.code for note in message.tolerances] == ["separator-doubled"]


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("8859/15", "iso8859-15"),
        ("UNICODE UTF-8", "utf-8"),
        ("unicode utf-8", "utf-8"),
        ("", "iso8859-15"),
        ("", "utf-8"),
    ],
)
def test_the_euro_and_the_oe_survive_every_charset(charset: str, encoding: str) -> None:
    message = a_message("PID|||1||CŒUR^ŒDIPE|||||||5 €", charset=charset, encoding=encoding)
    assert (message.text("PID-5.1"), message.text("PID-12")) == ("CŒUR", "5 €")
    assert er7.write(message).endswith("5 €\r".encode(encoding))


def test_8859_1_is_what_it_says() -> None:
    assert a_message("PID|||1||É", charset="8859/1", encoding="latin-1").text("PID-5") == "É"


@pytest.mark.parametrize(("charset", "note"), [("", "charset-missing"), ("KLINGON", "charset-unknown")])
def test_a_charset_that_says_nothing_is_counted(charset: str, note: str) -> None:
    assert [found.code for found in a_message("PID|||1", charset=charset).tolerances] == [note]


def test_bytes_that_contradict_utf_8_are_refused_at_msh_18() -> None:
    with pytest.raises(er7.Malformed) as refused:
        er7.read(HEAD + b"UNICODE UTF-8\rPID|||1||DELM\xe9S\r")
    assert refused.value.at == "MSH-18"


@pytest.mark.parametrize(
    ("raw", "at"),
    [
        (b"", "MSH-1"),
        (b"\r\n\r\n", "MSH-1"),
        (b"this is not HL7", "MSH-1"),
        (b"PID|||1\rMSH|^~\\&|A", "MSH-1"),
        (b"MSH", "MSH-1"),
        (b"MSHAAAA", "MSH-1"),
        (b"MSH|", "MSH-2"),
        (b"MSH||A", "MSH-2"),
        (b"MSH|^~^&|A", "MSH-2"),
        (b"MSH|a~\\&|A", "MSH-2"),
        (b"MSH|^~\\&|A\rpid|1", "ligne 2"),
        (b"MSH|^~\\&|A\rPI", "ligne 2"),
        (b"MSH|^~\\&|A\rPID^1", "ligne 2"),
        (b"MSH|^~\\&|A\rMSH|^~\\&|B", "ligne 2"),
    ],
)
def test_what_is_no_message_is_malformed_with_its_place(raw: bytes, at: str) -> None:
    with pytest.raises(er7.Malformed) as refused:
        er7.read(raw)
    assert refused.value.at == at


@pytest.mark.parametrize(
    "raw", [b"<?xml version='1.0'?><ADT_A01/>", b"FHS|^~\\&|", b"BHS|^~\\&|", "MSH|^~\\&|A".encode("utf-16")]
)
def test_other_encodings_of_hl7_are_named(raw: bytes) -> None:
    with pytest.raises(er7.NotEr7) as refused:
        er7.read(raw)
    assert refused.value.hl7 == "203"


@pytest.mark.parametrize("mark", [b"|", b"^", b"~", b"&", b"\n"])
def test_a_flood_of_separators_is_refused_before_it_becomes_objects(mark: bytes) -> None:
    with pytest.raises(er7.Malformed):
        er7.read(HEAD + b"UNICODE UTF-8\rPID|" + mark * 600_000)


def test_the_header_of_a_broken_message_is_still_found() -> None:
    found = er7.head(b"garbage\x0b" + HEAD + b"UNICODE UTF-8\rpid|broken\xff")
    assert found is not None
    assert found.control_id == "1"
    assert er7.head(b"nothing here") is er7.head(b"\xff\xfe\x00MSH") is None


def test_a_field_of_20_mb_is_read_whole() -> None:
    data = b"QUJD" * 5_000_000
    raw = HEAD + b"UNICODE UTF-8\rOBX|1|ED|x||^text^XML^Base64^" + data + b"||||||F\r"
    message = er7.read(raw)
    assert message.segments("OBX")[0].first(5).raw(5) == data
    assert er7.write(message) == raw


text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
plain = st.text(string.ascii_letters + string.digits + " éèœ€'./-", max_size=12)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Messages with any separators, any shape and any text in a charset that holds it."""
    field, *marks = draw(st.permutations("|^~\\&#!$%;").map(lambda found: found[:5]))
    component, repetition, _, sub = marks
    charset, encoding = draw(st.sampled_from([("UNICODE UTF-8", "utf-8"), ("8859/15", "iso8859-15"), ("", "utf-8")]))
    alphabet = "".join(c for c in string.ascii_letters + '0123456789 éœ€.<>"' if c not in (field, *marks))
    part = st.text(alphabet, max_size=8)
    structure = st.lists(part, min_size=1, max_size=3).map(sub.join)
    value = st.lists(st.lists(structure, max_size=3).map(component.join), max_size=3).map(repetition.join)
    lines = draw(st.lists(st.lists(value, max_size=6), max_size=6))
    header = [
        "MSH",
        "".join(marks),
        "A",
        "B",
        "C",
        "D",
        "2026",
        "",
        "ADT",
        "1",
        "P",
        "2.5",
        "",
        "",
        "",
        "",
        "",
        charset,
    ]
    names = draw(st.lists(st.sampled_from(["PID", "PV1", "OBX", "ZZ9"]), min_size=len(lines), max_size=len(lines)))
    segments = [header, *([name, *line] for name, line in zip(names, lines, strict=True))]
    ends = draw(st.lists(st.sampled_from(["\r", "\n", "\r\n"]), min_size=len(segments), max_size=len(segments)))
    return "".join(field.join(one) + end for one, end in zip(segments, ends, strict=True)).encode(encoding)


@given(messages())
def test_writing_gives_back_what_was_read(raw: bytes) -> None:
    message = er7.read(raw)
    assert er7.write(message) == b"".join(line + b"\r" for line in raw.splitlines() if line.strip())
    assert er7.write(er7.read(er7.write(message))) == er7.write(message)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n")))
def test_escaped_text_comes_back(value: str) -> None:
    syntax = er7.Syntax()
    assert syntax.text(syntax.raw(value)) == value


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: HEAD + tail))
@settings(max_examples=300)
def test_any_bytes_are_a_message_or_an_expected_refusal(raw: bytes) -> None:
    try:
        message = er7.read(raw)
    except errors.HubError:
        return
    for segment in message.all:
        for number in range(len(segment.fields)):
            for value in segment.repetitions(number):
                value.get(1, 1)
                value.text(2)
    _ = (message.key, message.profile, message.structure, message.version)
