"""What French mail programs send back: one mail each, written by hand after the real ones, with invented people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mss import html_text, letter, mime, reply_text
from tests.mss import mails

MAILS = sorted(mails.CLIENTS.glob("*.eml"))


def raw(name: str) -> bytes:
    """As it travels: with CRLF."""
    return (mails.CLIENTS / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")


def squeezed(text: str) -> str:
    """Words only: HTML and text differ in blank lines."""
    return " ".join(text.split())


def html_of(part: mime.Part) -> str:
    if part.children:
        return "<br>".join(filter(None, map(html_of, part.children)))
    return mime.text(part) if part.media_type == "text/html" else ""


def test_there_are_twelve_clients() -> None:
    assert len(MAILS) == 12


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_the_reply_is_what_its_author_wrote(path: Path, newline: bytes) -> None:
    mail = letter.read(path.read_bytes().replace(b"\n", newline))
    assert mail.reply == path.with_suffix(".reply.txt").read_text("utf-8").rstrip("\n")
    assert mail.sender.address == "paul.lefebvre@demo.mssante.fr"
    assert not mail.is_report
    assert mail.auto_submitted == ""


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_every_line_of_the_mail_is_still_in_one_of_the_three_parts(path: Path) -> None:
    mail = letter.read(path.read_bytes())
    kept = [line for line in mail.text.split("\n") if line.strip()]
    parts = "\n".join((mail.cut.reply, mail.cut.quoted, mail.cut.signature)).split("\n")
    assert sorted(kept) == sorted(line for line in parts if line.strip())


@pytest.mark.parametrize(
    "path", [path for path in MAILS if b"text/html" in path.read_bytes()], ids=lambda path: path.stem
)
def test_the_html_of_a_mail_gives_the_same_reply_as_its_text(path: Path) -> None:
    found = reply_text.cut("", html_of(mime.split(path.read_bytes(), mime.Limits()))).reply
    expected = re.sub(r"\[.*?\]", "", path.with_suffix(".reply.txt").read_text("utf-8"))
    assert squeezed(found) == squeezed(expected)
    assert "Répondez au-dessus" not in found


def test_questions_and_answers_written_between_the_lines_stay_together() -> None:
    mail = letter.read(raw("entrelace"))
    assert mail.cut.interleaved
    assert "> Température ?\n38,4\n> Tension ?\n12/8, stable." in mail.reply
    assert mail.cut.signature == "-- \nDr Paul Lefebvre"


def test_a_logo_is_left_out_and_the_prescription_is_kept() -> None:
    mail = letter.read(raw("outlook-fr"))
    assert [found.filename for found in mail.attachments] == ["Ordonnance à délivrer.pdf"]
    assert mail.left_out == ("image001.png",)


def test_a_photograph_in_the_text_is_kept() -> None:
    assert [found.filename for found in letter.read(raw("ios")).attachments] == ["IMG_0412.jpeg"]


def test_a_pdf_inside_the_alternative_of_apple_mail_is_kept_with_its_accents() -> None:
    found = letter.read(raw("apple-mail-fr")).attachments
    assert [(one.filename, one.media_type) for one in found] == [("Compte rendu opératoire.pdf", "application/pdf")]


def test_the_thread_can_be_found_by_headers_and_by_tag() -> None:
    mail = letter.read(raw("zimbra"))
    assert mail.in_reply_to == ("0jx4zsw3v2k8c@hub.example",)
    assert mail.references == ("0jx4zsv9q1m2d@hub.example", "0jx4zsw3v2k8c@hub.example")
    assert mail.tag == "K7F2Q"
    assert mail.to[0].address == "conv+abcdefgh23456722@hub.example"


def test_a_program_that_drops_everything_leaves_no_trace_of_the_thread() -> None:
    mail = letter.read(raw("sans-en-tetes"))
    assert (mail.in_reply_to, mail.references, mail.tag) == ((), (), None)
    assert mail.reply.startswith("Bonjour, la patiente va mieux")


def test_characters_of_the_western_euro_set_are_read() -> None:
    assert "L'œdème a diminué, je réévalue dans 8 jours (coût : 25 €)." in letter.read(raw("webmail-operateur")).reply


def test_a_line_that_starts_with_greater_than_by_hand_is_not_a_quotation() -> None:
    assert "> 38,5 °C : paracétamol 1 g" in letter.read(raw("gmail-fr")).reply


def test_embedded_picture_marks_never_reach_the_text() -> None:
    assert not html_text.IMAGE_MARK.search(letter.read(raw("outlook-fr")).text)
