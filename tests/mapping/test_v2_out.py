"""Is every answer a valid acknowledgement that the sender can read?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from mapping import er7, refusals, v2_out
from tests.builders_hl7 import Header, an_mdm

NOW = datetime(2026, 11, 20, 13, 40, tzinfo=UTC)


def answer(error: errors.HubError | None = None, raw: bytes = b"") -> bytes:
    message = er7.read(raw or an_mdm("M1"))
    code = v2_out.code_for(error) if error else "AA"
    return v2_out.ack(message, code, error=error, control_id="A1", now=NOW)


REFUSALS = [
    refusals.Missing("vide", at="OBX[2]-5"),
    refusals.MissingSegment("absent", at="PID"),
    refusals.Incoherent("contredit | ^ ~ \\ & « é »", at="ORC-1"),
    refusals.UnsupportedEvent("événement", at="MSH-9.2"),
    errors.UnknownPatient("inconnu", at="PID-3(2).1"),
    errors.Unavailable("plus tard"),
    errors.Invalid("deux", issues=(errors.Issue("un", "Patient.gender"), errors.Issue("deux", "PID-8"))),
    errors.TooLarge("trop", at="MSH"),
]


@pytest.mark.parametrize("error", [None, *REFUSALS], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("trigger", ["T02", "T10", "T04"])
def test_an_answer_passes_the_second_opinion(error: errors.HubError | None, trigger: str) -> None:
    raw = an_mdm("M1", parent_id="D0", header=Header(trigger=trigger))
    text = answer(error, raw).decode()
    read = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT)
    assert read.validate()
    assert read.msh.msh_9.to_er7() == f"ACK^{trigger}^ACK"


def test_sender_and_receiver_are_swapped_and_the_rest_is_kept() -> None:
    read = er7.read(answer())
    assert (read.sending_application, read.sending_facility) == ("SPICO-HUB", "REGION")
    assert (read.receiving_application, read.receiving_facility) == ("DPI-DEMO", "CH-DEMO")
    assert (read.control_id, read.processing, read.version, read.charset) == ("A1", "P", "2.6", "UNICODE UTF-8")
    assert (read.text("MSA-1"), read.text("MSA-2"), read.sent) == ("AA", "M1", "20261120144000+0100")
    assert read.segment("ERR") is None


def test_a_refusal_says_where_what_and_why() -> None:
    err = er7.read(answer(errors.UnknownPatient("patient inconnu", at="PID-3(2).1"))).segments("ERR")[0]
    assert err.raw(2) == b"PID^1^3^2^1"
    assert err.raw(3) == b"207^Application internal error^HL70357"
    assert err.text(4) == "E"
    assert err.raw(5) == b"902^Identifiant patient inconnu^HL70533"
    assert err.text(8) == "patient inconnu"


def test_the_application_code_goes_only_with_207() -> None:
    err = er7.read(answer(refusals.Missing("vide", at="OBX[2]-5"))).segments("ERR")[0]
    assert (err.raw(2), err.text(3), err.raw(5)) == (b"OBX^2^5^1", "101", b"")


def test_each_issue_has_its_segment_and_a_foreign_place_stays_text() -> None:
    error = errors.Invalid("x", issues=tuple(errors.Issue("genre", "Patient.gender") for _ in range(30)))
    found = er7.read(answer(error)).segments("ERR")
    assert len(found) == 20
    assert (found[0].raw(2), found[0].text(8)) == (b"", "genre (Patient.gender)")


def test_text_is_escaped_and_comes_back() -> None:
    err = er7.read(answer(refusals.Incoherent("a|b^c~d&e\\f\r\ng\x0b\x1c", at="ORC-1"))).segments("ERR")[0]
    assert err.text(8) == "a|b^c~d&e\\f\ng"


def test_an_answer_is_written_in_the_charset_of_the_message() -> None:
    raw = an_mdm("M1", header=Header(charset="8859/15", encoding="iso8859-15"))
    out = answer(refusals.Missing("événement à 5 €", at="OBX-5"), raw)
    assert "événement à 5 €".encode("iso8859-15") in out
    assert er7.read(out).charset == "8859/15"


def test_other_separators_of_the_sender_are_not_kept() -> None:
    raw = b"MSH$*~\\&$APP*1.2.3*ISO$FAC$HUB$REG$2026$$MDM*T02$7$P$2.6\r"
    read = er7.read(answer(raw=raw))
    assert read.all[0].raw(5) == b"APP^1.2.3^ISO"
    assert read.text("MSA-2") == "7"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusals.Missing("x"), "AE"),
        (errors.UnknownPatient("x"), "AE"),
        (er7.Malformed("x"), "AE"),
        (errors.Unavailable("x"), "AR"),
        (errors.TooLarge("x"), "AR"),
        (refusals.UnsupportedType("x"), "AR"),
        (refusals.UnsupportedVersion("x"), "AR"),
        (er7.NotEr7("x"), "AR"),
    ],
)
def test_ae_is_for_the_content_and_ar_for_the_circumstances(error: errors.HubError, code: str) -> None:
    assert v2_out.code_for(error) == code


@pytest.mark.parametrize(
    ("raw", "control_id"),
    [
        (b"", ""),
        (b"garbage", ""),
        (b"\xff\xfe\x00MSH", ""),
        (b"PID|||1\rMSH|^~\\&|A|B|C|D|2026||MDM^T02|77|P|2.6\r", "77"),
        (an_mdm("M9").replace(b"DELMAS", b"DELM\xe9S"), "M9"),
    ],
)
def test_what_cannot_be_read_is_answered_as_well_as_its_header_allows(raw: bytes, control_id: str) -> None:
    out = v2_out.nack(raw, er7.Malformed("illisible", at="ligne 2"), code="AE", control_id="A1", now=NOW)
    read = er7.read(out)
    assert (read.type, read.structure, read.text("MSA-1"), read.text("MSA-2")) == ("ACK", "ACK", "AE", control_id)
    assert read.text("ERR-8") == "illisible (ligne 2)"


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"MSH|^~\\&|" + tail))
def test_any_bytes_get_an_answer_that_can_be_framed_and_read(raw: bytes) -> None:
    out = v2_out.nack(raw, er7.Malformed("illisible"), control_id="A1", now=NOW)
    assert er7.read(out).text("MSA-1") == "AR"
    assert b"\x0b" not in out
    assert b"\x1c" not in out
