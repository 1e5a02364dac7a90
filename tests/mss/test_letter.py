"""One mail read: who, what, in which thread, and what is not a person's mail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common import errors
from mss import letter
from tests.mss import mails


def test_a_plain_mail_is_read() -> None:
    more = "Date: Mon, 23 Nov 2026 09:12:00 +0100\nCc: Anne <anne@demo.mssante.fr>\nReply-To: accueil@demo.mssante.fr"
    mail = letter.read(mails.a_mail("Bonjour\n\nÀ demain", headers=more, sender="Paul L. <Paul@Demo.MSSante.fr>"))
    assert (mail.sender.address, mail.sender.name) == ("paul@demo.mssante.fr", "Paul L.")
    assert mail.message_id == "m1@demo.mssante.fr"
    assert mail.text == mail.reply == "Bonjour\n\nÀ demain"
    assert mail.date == datetime(2026, 11, 23, 8, 12, tzinfo=UTC)
    assert [box.address for box in mail.cc] == ["anne@demo.mssante.fr"]
    assert [box.address for box in mail.reply_to] == ["accueil@demo.mssante.fr"]
    assert mail.header("subject") == "Essai"
    assert mail.attachments == mail.parts == ()


def test_names_with_accents_and_commas_do_not_change_the_address() -> None:
    name = "=?utf-8?Q?Roux=2C_Nad=C3=A8ge_=3Cintrus=40x=2Efr=3E?="
    mail = letter.read(mails.a_mail(sender=f"{name} <nadege@demo.mssante.fr>"))
    assert mail.sender.address == "nadege@demo.mssante.fr"
    assert mail.sender.name == "Roux, Nadège <intrus@x.fr>"


def test_the_subject_tag_is_found_whatever_the_program_did_around_it() -> None:
    raw = mails.a_mail().replace(b"Subject: Essai", b"Subject: =?utf-8?Q?Re:_[SPAM?]_plaie_[#k7f2q]?=")
    assert letter.read(raw).tag == "K7F2Q"
    assert letter.read(mails.a_mail()).tag is None


@pytest.mark.parametrize("sender", ["", "personne", "<>", "undisclosed:;"])
def test_a_mail_without_a_sender_is_refused(sender: str) -> None:
    with pytest.raises(letter.Unparsable, match="expéditeur") as refusal:
        letter.read(mails.a_mail(sender=sender))
    assert refusal.value.smtp == "554 5.6.0"


@pytest.mark.parametrize(
    "sender",
    [
        "Paul <paul@demo.mssante.fr>\nFrom: Anne <anne@demo.mssante.fr>",
        "Paul <paul@demo.mssante.fr>\nfrom: paul@demo.mssante.fr",
        "Paul <paul@demo.mssante.fr>\nFROM : illisible",
        "illisible\nFrom: Paul <paul@demo.mssante.fr>",
        "Paul <paul@demo.mssante.fr>, anne@demo.mssante.fr",
        "Equipe: paul@demo.mssante.fr, anne@demo.mssante.fr;",
    ],
)
def test_a_mail_with_several_senders_is_refused(sender: str) -> None:
    with pytest.raises(letter.Unparsable, match="plusieurs expéditeurs") as refusal:
        letter.read(mails.a_mail(sender=sender))
    assert refusal.value.smtp == "554 5.6.0"


def test_a_comma_in_the_senders_name_is_not_a_second_sender() -> None:
    for name in ('"Lefebvre, Paul"', "Lefebvre, Paul", "=?utf-8?Q?Lefebvre=2C_Paul?="):
        assert letter.read(mails.a_mail(sender=f"{name} <paul@x.fr>")).sender.address == "paul@x.fr"


def test_flowed_text_is_joined_and_its_signature_is_not() -> None:
    body = "Une ligne \ncoupée.\n> citée \n> aussi\n-- \nDr X"
    mail = letter.read(mails.a_mail(body, headers="Content-Type: text/plain; format=flowed; charset=utf-8"))
    assert mail.text == "Une ligne coupée.\n> citée aussi\n-- \nDr X"


def test_flowed_text_with_delsp_is_joined_without_a_blank() -> None:
    mail = letter.read(mails.a_mail("anti \nbiotique", headers="Content-Type: text/plain; format=flowed; delsp=yes"))
    assert mail.text == "antibiotique"


def test_a_stub_text_does_not_hide_the_html() -> None:
    html = mails.a_part(f"<p>{'mot ' * 60}38,4</p>".encode(), "text/html; charset=utf-8")
    stub = mails.words("Votre logiciel n'affiche pas le HTML.")
    assert "38,4" in letter.read(mails.a_multipart(stub, html, kind="alternative")).text


def test_the_plain_text_is_preferred_to_the_html() -> None:
    html = mails.a_part(b"<p>en html</p>", "text/html")
    assert letter.read(mails.a_multipart(mails.words("en texte"), html, kind="alternative")).text == "en texte"
    assert letter.read(mails.a_multipart(mails.words(" \n"), html, kind="alternative")).text == "en html"


def test_texts_before_and_after_an_attachment_are_both_read() -> None:
    raw = mails.a_multipart(mails.words("avant"), mails.a_part(b"%PDF-", "application/pdf"), mails.words("après"))
    assert letter.read(raw).text == "avant\n\naprès"


def test_a_text_file_is_an_attachment_and_not_the_message() -> None:
    note = mails.a_part(b"note", 'text/plain; name="note.txt"', headers="Content-Disposition: attachment")
    mail = letter.read(mails.a_multipart(mails.words("message"), note))
    assert (mail.text, [one.filename for one in mail.attachments]) == ("message", ["note.txt"])


def test_a_forwarded_mail_stays_whole_as_a_file() -> None:
    inner = mails.a_mail("dedans")
    part = b'Content-Type: message/rfc822; name="original.eml"\n\n' + inner.replace(b"\r\n", b"\n")
    (found,) = letter.read(mails.a_multipart(mails.words("pour avis"), part)).attachments
    assert (found.filename, found.media_type, found.data) == ("original.eml", "message/rfc822", inner.rstrip(b"\r\n"))


def test_outlooks_winmail_dat_stays_an_attachment() -> None:
    part = mails.a_part(b"\x78\x9f\x3e\x22", 'application/ms-tnef; name="winmail.dat"')
    assert letter.read(mails.a_multipart(mails.words("x"), part)).attachments[0].filename == "winmail.dat"


def test_outlooks_forward_keeps_the_text_below_its_header_block() -> None:
    body = "Pour avis\n\nDe : Labo <l@x.fr>\nEnvoyé : lundi 09:12\nÀ : Paul\nObjet : INR\n\nINR 2,4"
    raw = mails.a_mail(body, headers="Content-Type: text/plain; charset=utf-8")
    assert "INR 2,4" not in letter.read(raw).reply
    forwarded = letter.read(raw.replace(b"Subject: Essai", b"Subject: TR: INR"))
    assert forwarded.cut.forwarded
    assert "INR 2,4" in forwarded.reply


@pytest.mark.parametrize(
    ("headers", "automatic", "report"),
    [
        ("", "", ""),
        ("Auto-Submitted: no", "", ""),
        ("Auto-Submitted: auto-generated", "auto-generated", ""),
        ("Auto-Submitted: auto-replied (vacation)", "auto-replied", "auto-reply"),
        ("Auto-Submitted: auto-replied; owner-email=x", "auto-replied", "auto-reply"),
        ("Precedence: bulk", "auto-generated", ""),
        ("Precedence: auto_reply", "auto-replied", "auto-reply"),
        ("X-Autoreply: yes", "auto-replied", "auto-reply"),
        ("X-MS-Exchange-Inbox-Rules-Loop: paul@demo.mssante.fr", "auto-replied", "auto-reply"),
    ],
)
def test_machines_are_told_from_people(headers: str, automatic: str, report: str) -> None:
    mail = letter.read(mails.a_mail(headers=headers))
    assert (mail.auto_submitted, mail.report, mail.is_report) == (automatic, report, bool(report))


@pytest.mark.parametrize(
    ("subject", "report"),
    [
        ("Réponse automatique : Plaie du talon", "auto-reply"),
        ("Absence du bureau : congés", "auto-reply"),
        ("Automatic reply: x", "auto-reply"),
        ("[KO Intégration système !][902] XDM/1.0/DDM+CR", "integration"),
        ("[Erreur d'intégration !] x", "integration"),
        ("Absences répétées de la patiente", ""),
        ("Re: réponse automatique", ""),
    ],
)
def test_notices_known_by_their_subject_only_are_recognised(subject: str, report: str) -> None:
    raw = mails.a_mail().replace(b"Subject: Essai", b"Subject: " + subject.encode())
    assert letter.read(raw).report == report


@pytest.mark.parametrize(
    ("kind", "report"), [("delivery-status", "delivery"), ("disposition-notification", "disposition")]
)
def test_delivery_reports_and_receipts_are_reports(kind: str, report: str) -> None:
    machine = f"Content-Type: message/{kind}\n\nFinal-Recipient: rfc822; x@y.fr\n".encode()
    raw = mails.a_multipart(mails.words("avis"), machine, kind=f'report; report-type="{kind}"')
    assert letter.read(raw).report == report


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("direct_DSNMessage", "delivery"),
        ("direct_MDNMessage", "disposition"),
        ("direct_gateway_MDNDispatchedMessage", "disposition"),
        ("direct_MessageWithAttachment", ""),
    ],
)
def test_reports_of_another_countrys_network_are_recognised(name: str, report: str) -> None:
    path = mails.SHARED / f"{name}.txt"
    if not path.exists():
        pytest.skip("shared samples are not here")
    assert letter.read(path.read_bytes()).report == report


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (mails.a_mail("x", headers="Content-Type: application/pkcs7-mime; smime-type=enveloped-data"), "chiffré"),
        (mails.a_multipart(mails.words("x"), kind="encrypted"), "chiffré"),
        (mails.a_mail("x", headers="Content-Type: message/partial; id=1; number=1"), "fragment"),
        (mails.a_mail(b"\x81\x8d", headers="Content-Type: text/plain; charset=utf-8"), "jeu de caractères"),
        (mails.a_mail("!!", headers="Content-Transfer-Encoding: base64"), "abîmée"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_cause_a_person_can_act_on(raw: bytes, cause: str) -> None:
    with pytest.raises(letter.Unparsable, match=cause) as refusal:
        letter.read(raw)
    assert refusal.value.smtp == "554 5.6.0"


def test_a_text_over_the_limit_is_refused_and_never_cut() -> None:
    with pytest.raises(errors.TooLarge, match="trop long"):
        letter.read(mails.a_mail("x" * 2000), limits=letter.Limits(text=1000))
