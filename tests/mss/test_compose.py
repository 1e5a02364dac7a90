"""The mail that leaves: readable everywhere, the same bytes at each try, and nothing injected."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import errors
from mss import compose, letter, mime, reply_text

OUTGOING = compose.Outgoing(
    delivery="0jx4zsw3v2k8c-0000000000001",
    mailbox="conv@hub.example",
    author="Nadia Roux, infirmière",
    recipient="paul.lefebvre@demo.mssante.fr",
    recipient_name="Dr Paul Lefebvre, généraliste",
    subject="Plaie du talon – suivi",
    tag="K7F2Q",
    text="Bonjour,\n\nTempérature ?\nTension ?",
    date=datetime(2026, 11, 23, 8, 12, tzinfo=UTC),
    reply_to="conv+abcdefgh23456722@hub.example",
    in_reply_to="b@hub.example",
    references=("a@hub.example", "b@hub.example"),
    product="DEV000001",
)
PDF = compose.file("Compte rendu d’été.pdf", "application/pdf", b"%PDF-1.4 essai")


def standard(raw: bytes) -> EmailMessage:
    """A second opinion."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_the_headers_are_those_of_a_message_in_a_thread() -> None:
    message = standard(compose.mail(OUTGOING))
    assert message["From"].addresses[0].display_name == "Nadia Roux, infirmière (via Spico Hub)"
    assert message["From"].addresses[0].addr_spec == "conv@hub.example"
    assert message["To"].addresses[0].display_name == "Dr Paul Lefebvre, généraliste"
    assert message["Reply-To"].addresses[0].addr_spec == "conv+abcdefgh23456722@hub.example"
    assert message["Subject"] == "Plaie du talon – suivi [#K7F2Q]"
    assert message["Message-ID"] == "<0jx4zsw3v2k8c-0000000000001@hub.example>"
    assert message["In-Reply-To"] == "<b@hub.example>"
    assert message["References"].split() == ["<a@hub.example>", "<b@hub.example>"]
    assert message["Date"].datetime == OUTGOING.date
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "OOF, AutoReply"
    assert message["X-MSS-NIL"] == "DEV000001"
    assert message["Disposition-Notification-To"] is None
    assert message.get_all("MIME-Version") == ["1.0"]


def test_the_text_and_its_html_say_the_same() -> None:
    message = standard(compose.mail(OUTGOING))
    text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    html = message.get_body(("html",)).get_content()  # type: ignore[union-attr]
    for words in (
        reply_text.SEPARATOR,
        "Nadia Roux, infirmière",
        "Température ?",
        "répondez à ce courriel",
        "[#K7F2Q]",
    ):
        assert words in text
        assert words in html
    assert "http" not in html.replace("http-equiv", "")


def test_the_same_delivery_is_the_same_mail_to_the_byte() -> None:
    assert compose.mail(OUTGOING) == compose.mail(replace(OUTGOING))
    assert compose.mail(OUTGOING) != compose.mail(replace(OUTGOING, delivery="autre"))


def test_without_a_reply_address_nobody_is_asked_to_reply() -> None:
    raw = compose.mail(replace(OUTGOING, reply_to=None))
    text = standard(raw).get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "Reply-To" not in standard(raw)
    assert "répondez à ce courriel" not in text
    assert reply_text.SEPARATOR not in text


def test_what_we_send_is_what_we_read() -> None:
    mail = letter.read(compose.mail(replace(OUTGOING, attachments=(PDF,), receipt_to="conv@hub.example")))
    assert (mail.message_id, mail.in_reply_to, mail.references) == (
        compose.message_id(OUTGOING.delivery, OUTGOING.mailbox),
        ("b@hub.example",),
        ("a@hub.example", "b@hub.example"),
    )
    assert (mail.subject, mail.tag) == ("Plaie du talon – suivi [#K7F2Q]", "K7F2Q")
    assert OUTGOING.text in mail.text
    assert [(one.filename, one.data) for one in mail.attachments] == [(PDF.filename, PDF.data)]
    assert (mail.auto_submitted, mail.is_report) == ("auto-generated", False)
    assert mail.header("Disposition-Notification-To") == "<conv@hub.example>"


def test_files_keep_their_bytes_and_their_names() -> None:
    names = ["simple.pdf", "Compte rendu d’été.pdf", 'a"b;c.pdf', "x" * 90 + ".pdf", "日本.pdf"]
    files = tuple(compose.file(name, "application/pdf", name.encode() * 100) for name in names)
    found = letter.read(compose.mail(replace(OUTGOING, attachments=files))).attachments
    assert [(one.filename, one.data) for one in found] == [(one.filename, one.data) for one in files]
    attached = [
        part.get_filename() for part in standard(compose.mail(replace(OUTGOING, attachments=files))).iter_attachments()
    ]
    assert attached == names


def test_a_mail_attached_to_a_message_is_a_file() -> None:
    file = compose.file("original.eml", "message/rfc822", b"From: a@b.fr\r\n\r\nx\r\n")
    (found,) = letter.read(compose.mail(replace(OUTGOING, attachments=(file,)))).attachments
    assert (found.filename, found.data) == (file.filename, file.data)


@pytest.mark.parametrize("field", ["author", "subject", "recipient_name", "service", "product"])
def test_no_header_can_be_injected(field: str) -> None:
    evil = "x\r\nBcc: espion@x.fr\r\n\r\ncorps\u2028\x00"
    raw = compose.mail(replace(OUTGOING, **{field: evil}))
    assert "Bcc" not in standard(raw)
    assert letter.read(raw).header("bcc") is None


def test_a_file_name_cannot_inject_a_header_either() -> None:
    file = compose.file("a\r\nX-Evil: 1\r\n\r\n.pdf", "application/pdf\r\nX-Evil: 2", b"x")
    raw = compose.mail(replace(OUTGOING, attachments=(file,)))
    assert b"\nX-Evil" not in raw


@pytest.mark.parametrize("field", ["recipient", "mailbox", "reply_to", "receipt_to"])
def test_an_impossible_address_is_refused(field: str) -> None:
    with pytest.raises(errors.Invalid):
        compose.mail(replace(OUTGOING, **{field: "a@b.fr\r\nBcc: x@y.fr"}))


def test_a_foreign_message_id_cannot_break_the_thread_headers() -> None:
    mail = letter.read(compose.mail(replace(OUTGOING, in_reply_to="x> \r\nBcc: y@z.fr", references=("a b", "ok@x.fr"))))
    assert mail.references == ("ok@x.fr",)
    assert mail.in_reply_to == ()
    assert mail.header("bcc") is None


def test_a_long_thread_keeps_its_first_and_last_references() -> None:
    ids = tuple(f"{n}@hub.example" for n in range(60))
    found = letter.read(compose.mail(replace(OUTGOING, references=ids, in_reply_to=ids[-1]))).references
    assert found[0] == ids[0]
    assert found[-1] == ids[-1]
    assert len(found) == 20


def test_a_long_text_travels_whole_as_a_file() -> None:
    text = "".join(f"Ligne {n} : é\n" for n in range(20_000))
    mail = letter.read(compose.mail(replace(OUTGOING, text=text)))
    assert [one.filename for one in mail.attachments] == ["message-complet.txt"]
    assert mail.attachments[0].data.decode("utf-8-sig") == text
    assert "texte complet est dans la pièce jointe" in mail.text
    assert len(mail.text) < 5000


def test_every_line_on_the_wire_fits_the_protocol() -> None:
    names = tuple(compose.file("é" * 100 + f"{n}.pdf", "application/pdf", b"x") for n in range(2))
    raw = compose.mail(replace(OUTGOING, text="mot " * 5000, subject="é" * 400, author="ü" * 300, attachments=names))
    assert raw.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.text(max_size=60), st.text(max_size=60))
def test_any_message_can_be_sent_and_read_back(text: str, subject: str, author: str) -> None:
    raw = compose.mail(replace(OUTGOING, text=text, subject=subject, author=author))
    mail = letter.read(raw)
    assert mail.tag == "K7F2Q" or "[#" in subject
    assert mail.sender.address == "conv@hub.example"
    kept = "".join(char for char in text if char.isprintable())
    assert "".join(kept.split()) in "".join("".join(char for char in mail.text if char.isprintable()).split())


def test_a_message_id_has_no_machine_name_and_only_safe_characters() -> None:
    assert compose.message_id("a b/é<c>", "conv@Hub.Example") == "a-b---c-@hub.example"


def test_the_parts_are_alternative_inside_mixed() -> None:
    tree = mime.split(compose.mail(replace(OUTGOING, attachments=(PDF,))), mime.Limits())
    assert tree.media_type == "multipart/mixed"
    assert [child.media_type for child in tree.children] == ["multipart/alternative", "application/pdf"]
    assert [child.media_type for child in tree.children[0].children] == ["text/plain", "text/html"]


PACKAGE = compose.Package(
    labels=("CR d'examens de radiologie, avec un libellé qui est beaucoup trop long",),
    codes=("18748-4",),
    birth_name="Pât-Trois",
    given="Dominiqué",
    born=date(2010, 8, 7),
    qualified=True,
)


def test_a_mail_with_a_package_has_the_prescribed_subject_and_headers_and_others_have_none() -> None:
    message = standard(compose.mail(replace(OUTGOING, package=PACKAGE)))
    assert message["Subject"] == "XDM/1.0/DDM+CR d'examens de radiologie, avec un libe PAT-TROIS DOMINIQUE 07/08/2010"
    assert (message["X-MSS-CODECDA"], message["X-MSS-INS"], message["X-MSS-NIL"]) == ("18748-4", "O", "DEV000001")
    assert message["Reply-To"] and message["References"]
    plain = standard(compose.mail(OUTGOING))
    assert plain["X-MSS-CODECDA"] is plain["X-MSS-INS"] is plain["X-MSS-MES"] is None


def test_several_documents_are_counted_in_the_subject_and_their_codes_listed() -> None:
    several = replace(PACKAGE, labels=("a", "b"), codes=("11490-0", "11488-4"), born=None, qualified=False)
    message = standard(compose.mail(replace(OUTGOING, package=several)))
    assert message["Subject"] == "XDM/1.0/DDM+2 documents PAT-TROIS DOMINIQUE"
    assert (message["X-MSS-CODECDA"], message["X-MSS-INS"]) == ("11490-0,11488-4", "N")


@pytest.mark.parametrize(
    ("recipient", "reply_to", "closed"),
    [
        ("279035121518989@patient.mssante.fr", None, "FIN"),
        ("279035121518989@patient.mssante.fr", OUTGOING.reply_to, None),
        (OUTGOING.recipient, None, None),
    ],
)
def test_only_a_citizen_is_told_that_the_exchange_is_closed(
    recipient: str, reply_to: str | None, closed: str | None
) -> None:
    message = standard(compose.mail(replace(OUTGOING, recipient=recipient, reply_to=reply_to)))
    assert message["X-MSS-MES"] == closed
