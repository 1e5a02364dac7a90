"""A mail made to keep the reader busy costs what its size costs: 2 MB of each kind, within the timeout of every test.

Each is read in seconds at most. Work that grows with the square of the size does not fit in pytest's own timeout
(pyproject.toml), so no clock is needed here. Headers are bounded by Limits.header; their readers are tried beyond it.
"""

from __future__ import annotations

import pytest

from common import errors
from mss import address, body, headers, letter
from tests.mss import mails

SIZE = 2_000_000
HEADER = 250_000  # just under Limits.header


def read(raw: bytes) -> letter.Letter | None:
    try:
        return letter.read(raw)
    except errors.HubError:
        return None


def filled(unit: str, size: int = SIZE) -> str:
    return unit * (size // len(unit.encode()))


@pytest.mark.parametrize("unit", ["QQ==\n", "QQ==", "Q=\n", "=", "\n", "QQ==!"], ids=repr)
def test_base64(unit: str) -> None:
    for kind in ("text/plain", "application/pdf; name=x.pdf"):
        read(mails.a_mail(filled(unit), headers=f"Content-Type: {kind}\nContent-Transfer-Encoding: base64"))


def test_many_padded_chunks_give_all_their_bytes() -> None:
    mail = read(mails.a_mail("QQ==\n" * 100_000, headers="Content-Transfer-Encoding: base64"))
    assert mail is not None
    assert mail.text == "A" * 100_000


HOSTILE_HEADER = pytest.mark.parametrize(
    "unit",
    ["\n a", "\n  \t", "=?utf-8?q?a?= ", "=?utf-8?q?", "?= ", "a@b.fr, ", '"x" <a@b.fr>,', "a@:", "<", "(", '"', "\\",
     ";a*", '; a="', "; ", " ", "\u0301\u0323", "=?a?b?QQ==?=\n "],
    ids=repr,
)  # fmt: skip


@HOSTILE_HEADER
@pytest.mark.parametrize("name", ["To", "Subject", "References", "Date", "Content-Type", "Content-Disposition"])
def test_a_header(name: str, unit: str) -> None:
    read(mails.a_mail(headers=f"{name}: x{filled(unit, HEADER)}"))


@HOSTILE_HEADER
def test_the_readers_of_headers_beyond_the_limit(unit: str) -> None:
    value = f"x{filled(unit, SIZE // 2)}"
    for reader in (headers.words, headers.parameters, headers.ids, headers.date, address.parse):
        reader(value)


@pytest.mark.parametrize("order", [1, -1])
def test_parameters_in_many_pieces(order: int) -> None:
    pieces = "".join(f"; name*{number}*=a''b" for number in range(99_000)[::order])
    assert len(headers.parameters(f"a/b{pieces}")[1]["name"]) > 99_000
    read(mails.a_mail(headers=f"Content-Type: application/pdf{pieces[:HEADER]}"))


@pytest.mark.parametrize("repeated", ["\u0301\u0323", "a", "x@", '"', "a."])
def test_an_address_or_a_title_alone(repeated: str) -> None:
    text = repeated * (SIZE // 2)
    assert len(address.safe(text)) <= 200
    with pytest.raises(errors.Invalid):
        address.normalise(f"{text}@x.fr")


@pytest.mark.parametrize(
    "unit",
    [">", "> ", "> x\n", ">\n", "-", "-- \n", " ", " \n", "\n", "_" * 12 + "\n", "1 ", "[cid:a", "x@", "De : a@b.fr\n",
     "Le 23/11/2026 09:12 x@y.fr\n", "Le 23/11/2026 a écrit :\n\n", "Le 23 novembre, N a écrit :\n> a\nb\n",
     f"De : {'a' * 480}\nDate : {'b' * 480}\nÀ : {'c' * 480}\n", "a écrit " * 60 + "\n", "a \n", "> a \n"],
    ids=lambda unit: repr(unit[:30]),
)  # fmt: skip
def test_a_text(unit: str) -> None:
    read(mails.a_mail(filled(unit), headers="Content-Type: text/plain; charset=utf-8"))
    body.flowed(filled(unit), delete_space=True)


@pytest.mark.parametrize("depth", [2_000])
def test_a_text_quoted_deeper_and_deeper(depth: int) -> None:
    text = "\n".join(">" * level + " a " for level in range(depth))
    read(mails.a_mail(text, headers="Content-Type: text/plain; format=flowed"))


@pytest.mark.parametrize(
    "unit",
    ["<", "<a", "<a ", '<a b="', "</html ", "<!--", "<td>a</td>", "<td>&nbsp;</td>", "<a href=http://x.fr>",
     "<blockquote>a", "<pre>\n", "<br>", "<font><p>", "&", "\u200b", "<img src='data:image/png;base64,iVBORw0KGgo='>a"],
    ids=lambda unit: repr(unit[:30]),
)  # fmt: skip
def test_an_html_body(unit: str) -> None:
    read(mails.a_mail(filled(unit), headers="Content-Type: text/html; charset=utf-8"))


@pytest.mark.parametrize("hiding", ["{}", "<!-- <x y=' -->{}'>", "<x y='{}'>", "<x y=\"'>{}", "<script>'{}", "<x '{}"])
def test_a_tag_with_very_many_attributes(hiding: str) -> None:
    tag = "<p " + " ".join(f'a{number}=">"' for number in range(SIZE // 12)) + ">reste"
    read(mails.a_mail(hiding.replace("{}", tag), headers="Content-Type: text/html; charset=utf-8"))


@pytest.mark.parametrize("boundary", ["b1", "-", "-" * 40_000, "a" * 20_000])
@pytest.mark.parametrize("unit", ["\n--{}x", "\n--{} \t", "--{}", "--{}\n", "-" * 39_000 + "\n"])
def test_look_alikes_of_a_boundary(boundary: str, unit: str) -> None:
    text = filled(unit.replace("{}", boundary))
    read(mails.a_mail(text, headers=f'Content-Type: multipart/mixed; boundary="{boundary}"'))
