"""Whatever arrives, the reader answers with a Letter or with a refusal of ours."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from common import errors
from mss import letter
from tests.mss import mails

SEEDS = [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(mails.CLIENTS.glob("*.eml"))]
PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b"--", b"=?utf-8?q?=C3?=", b"=?x?b?!!?=", b'boundary="', b";", b'"', b"<", b">", b"(",
    b"charset=utf-16", b'charset="unicode_escape"', b"charset=idna", b"charset=utf-7", b"charset=hex", b"\xff\xfe",
    b"Content-Transfer-Encoding: base64\r\n", b"filename*0*=utf-8''%FF%00", b"\xed\xa0\x80", b"multipart/mixed",
    b"message/rfc822", b"Content-Type: ", b"<blockquote>", b"Le 23/11/2026 09:12 x@y.fr a \xe9crit :", b"> ",
    b"PK\x03\x04",
]  # fmt: skip


def read(raw: bytes) -> None:
    """Any other exception fails the test; what is read can be stored (no lone surrogate)."""
    try:
        mail = letter.read(raw)
    except errors.HubError as error:
        refusal = error
    else:
        shown = [mail.text, mail.reply, mail.subject, mail.sender.name, *(one.filename for one in mail.attachments)]
        "".join(shown).encode()
        return
    assert refusal.message
    assert refusal.smtp[:3] in ("552", "554")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    read(data)
    read(b"From: a@b.fr\r\n" + data)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(SEEDS), st.integers(1, 12))
def test_damaged_mails_are_read_or_refused(chance: random.Random, seed: bytes, times: int) -> None:
    raw = bytearray(seed)
    for _ in range(times):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(4):
            case 0:
                raw[at:at] = chance.choice(PIECES)
            case 1:
                del raw[at : at + chance.randint(1, 60)]
            case 2:
                raw[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                raw[at:at] = raw[at : at + chance.randint(1, 300)]
    read(bytes(raw))


HEADERS = st.sampled_from(
    ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "From", "To", "Subject", "Date", "References"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(HEADERS, st.text(max_size=60)), max_size=6), st.text(max_size=200))
def test_any_header_values_are_read_or_refused(fields: list[tuple[str, str]], body: str) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    read(f"From: a@b.fr\r\n{head}\r\n{body}".encode("utf-8", "surrogatepass"))
