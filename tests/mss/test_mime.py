"""The structure of a mail, compared with the standard library's parser on what both understand."""

from __future__ import annotations

import time
from email import message_from_bytes, policy
from email.message import Message

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import errors
from mss import mime
from tests.mss import mails

LIMITS = mime.Limits()


def leaves(part: mime.Part) -> list[tuple[str, bytes]]:
    if part.media_type.startswith("multipart/"):
        return [leaf for child in part.children for leaf in leaves(child)]
    return [(part.media_type, mime.content(part))]


def kinds(part: mime.Part) -> list[str]:
    return [kind for child in part.children for kind in kinds(child)] if part.children else [part.media_type]


def standard_leaves(message: Message) -> list[tuple[str, bytes]]:
    if message.get_content_maintype() == "multipart":
        children = message.get_payload()
        assert isinstance(children, list)
        return [leaf for child in children for leaf in standard_leaves(child)]
    if message.get_content_type() == "message/rfc822":
        inner = message.get_payload(0)
        return [("message/rfc822", inner.as_bytes(policy=policy.compat32.clone(linesep="\r\n", max_line_length=None)))]
    data = None if message.is_multipart() else message.get_payload(decode=True)
    return [(message.get_content_type(), data if isinstance(data, bytes) else b"")]


@pytest.mark.parametrize("path", sorted(mails.CLIENTS.glob("*.eml")), ids=lambda path: path.stem)
def test_the_clients_mails_have_the_parts_that_the_standard_parser_finds(path: object) -> None:
    raw = path.read_bytes().replace(b"\n", b"\r\n")  # type: ignore[attr-defined]
    assert leaves(mime.split(raw, LIMITS)) == standard_leaves(message_from_bytes(raw))


@pytest.mark.parametrize("path", sorted(mails.SHARED.glob("*.txt")), ids=lambda path: path.stem)
def test_mails_of_other_countries_health_systems_are_split_as_well(path: object) -> None:
    raw = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")  # type: ignore[attr-defined]
    assert kinds(mime.split(raw, LIMITS)) == [kind for kind, _ in standard_leaves(message_from_bytes(raw))]


@st.composite
def trees(draw: st.DrawFn, depth: int = 0) -> bytes:
    """A well-formed part: random bytes in base64, or a multipart of others with a boundary of its own."""
    if depth > 3 or draw(st.booleans()):
        return mails.a_part(draw(st.binary(max_size=200)), draw(st.sampled_from(["text/plain", "application/pdf"])))
    children = draw(st.lists(trees(depth=depth + 1), min_size=1, max_size=4))
    return mails.nested(*children, kind="mixed", boundary=f"b{depth}{draw(st.integers(0, 99))}")


@settings(max_examples=150, deadline=None)
@given(trees())
def test_any_well_formed_mail_has_the_same_parts_as_in_the_standard_parser(tree: bytes) -> None:
    raw = (b"From: a@b.fr\n" + tree).replace(b"\n", b"\r\n")
    assert leaves(mime.split(raw, LIMITS)) == standard_leaves(message_from_bytes(raw))


def test_a_boundary_that_is_the_start_of_another_does_not_confuse() -> None:
    inner = mails.nested(mails.words("dedans"), kind="alternative", boundary="b1x")
    assert [data for _, data in leaves(mime.split(mails.a_multipart(inner, mails.words("dehors")), LIMITS))] == [
        b"dedans",
        b"dehors",
    ]


def test_a_missing_closing_line_loses_nothing() -> None:
    raw = mails.a_multipart(mails.words("un"), mails.words("deux")).replace(b"--b1--\r\n", b"")
    assert [data for _, data in leaves(mime.split(raw, LIMITS))] == [b"un", b"deux"]


@pytest.mark.parametrize(
    "raw",
    [
        mails.a_mail("texte", headers="Content-Type: multipart/mixed; boundary=absent"),
        mails.a_mail("texte", headers="Content-Type: multipart/mixed"),
        mails.a_mail("texte", headers='Content-Type: multipart/mixed; boundary=""'),
    ],
)
def test_announced_parts_that_are_not_there_are_refused(raw: bytes) -> None:
    with pytest.raises(mime.Unparsable, match="introuvables"):
        mime.split(raw, LIMITS)


@pytest.mark.parametrize("data", [b"QUJ", b"QUJD", b"QU JD\r\n", b"QQ==QQ==", b"QUI=\r\n-- \r\nliste@x.fr\r\n", b""])
def test_base64_as_it_comes_is_read(data: bytes) -> None:
    part = mime.split(mails.a_mail(data, headers="Content-Transfer-Encoding: BASE64"), LIMITS)
    assert mime.content(part) in (b"AB", b"ABC", b"AA", b"")


@pytest.mark.parametrize("data", [b"Q", b"QUJD!", b"QUJDR", "QUJDé".encode()])
def test_damaged_base64_is_refused_with_the_name_of_the_file(data: bytes) -> None:
    part = mime.split(
        mails.a_mail(data, headers="Content-Transfer-Encoding: base64\nContent-Type: a/b; name=x.pdf"), LIMITS
    )
    with pytest.raises(mime.Unparsable, match=r"x\.pdf"):
        mime.content(part)


def test_an_unknown_transfer_encoding_is_refused() -> None:
    with pytest.raises(mime.Unparsable, match="x-uuencode"):
        mime.content(mime.split(mails.a_mail("x", headers="Content-Transfer-Encoding: x-uuencode"), LIMITS))


def test_too_many_parts_or_levels_are_refused() -> None:
    many = mails.a_multipart(*[mails.words("x")] * 300)
    deep = mails.words("x")
    for level in range(20):
        deep = mails.nested(deep, kind="mixed", boundary=f"level{level}x")
    for raw in (many, mails.a_multipart(deep)):
        with pytest.raises(mime.Unparsable, match="trop de parties"):
            mime.split(raw, LIMITS)


def test_a_mail_or_header_over_the_limit_is_too_large() -> None:
    with pytest.raises(errors.TooLarge):
        mime.split(b"From: a@b.fr\r\n\r\n" + b"x" * 100, mime.Limits(raw=100))
    with pytest.raises(errors.TooLarge, match="en-tête"):
        mime.split(b"A: b\r\n" * 60_000, LIMITS)


@pytest.mark.parametrize(
    "body",
    [b"--\r\n" * 2_000_000, b"-" * 10_000_000, b"--b1\r\n" * 1_000_000, b"\r\n--b1 " + b" " * 5_000_000 + b"x"],
    ids=["dashes", "one line", "only boundaries", "blanks"],
)
def test_a_hostile_structure_costs_little_time(body: bytes) -> None:
    raw = b'From: a@b.fr\r\nContent-Type: multipart/mixed; boundary="b1"\r\n\r\n' + body
    start = time.process_time()
    with pytest.raises(errors.HubError):
        mime.split(raw, LIMITS)
    assert time.process_time() - start < 2


def test_a_large_attachment_is_found_without_reading_it_line_by_line() -> None:
    raw = mails.a_multipart(mails.words("x"), mails.a_part(b"\0" * 15_000_000, "application/pdf"))
    start = time.process_time()
    assert len(leaves(mime.split(raw, LIMITS))[1][1]) == 15_000_000
    assert time.process_time() - start < 2
