"""What a machine's mail says about one of ours: reports, receipts, notices and absences, each as it is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss import receipts
from tests.mss import mails

OURS = "0jx4zsw3v2k8c-0000000000001@hub.example"
PAUL = "paul@demo.mssante.fr"
DAEMON = "Messagerie <mailer-daemon@demo.mssante.fr>"


def a_report(machine: str, *more: bytes, kind: str = "delivery-status", headers: str = "") -> bytes:
    """A multipart/report around these fields."""
    part = f"Content-Type: message/{kind}\n\n{machine.strip()}\n".encode()
    return mails.a_multipart(
        mails.words("Voici un avis."), part, *more, kind=f"report; report-type={kind}; x=y", headers=headers
    )


def one(raw: bytes, *, null_sender: bool = False) -> receipts.Receipt:
    (found,) = receipts.read(raw, null_sender=null_sender)
    return found


def a_dsn(action: str, status: str, diagnostic: str = "") -> bytes:
    more = f"\nDiagnostic-Code: smtp; {diagnostic}" if diagnostic else ""
    return a_report(
        f"Reporting-MTA: dns; demo.mssante.fr\nOriginal-Envelope-Id: 0jx4zsw3v2k8c-1\n\n"
        f"Original-Recipient: rfc822;{PAUL}\nFinal-Recipient: rfc822;{PAUL}\nAction: {action}\nStatus: {status}{more}",
        f"Content-Type: text/rfc822-headers\n\nMessage-ID: <{OURS}>\nSubject: x\n".encode(),
    )


@pytest.mark.parametrize(
    ("action", "status", "diagnostic", "outcome", "code", "reason"),
    [
        ("delivered", "2.0.0", "", receipts.DELIVERED, "2.0.0", ""),
        ("Relayed (to a server without reports)", "2.0.0", "", receipts.RELAYED, "2.0.0", "transmis à un serveur"),
        ("delayed", "4.4.1", "", receipts.DELAYED, "4.4.1", "injoignable"),
        ("failed", "5.1.1", "550 5.1.1 User unknown", receipts.FAILED, "5.1.1", "adresse inconnue"),
        ("failed", "5.2.2", "552 Quota exceeded", receipts.FAILED, "5.2.2", "boîte pleine"),
        ("failed", "5.0.0", "550 5.7.1 refused", receipts.FAILED, "5.7.1", "refusé par l'opérateur"),
        ("failed", "5.0.0", "523 message trop gros", receipts.FAILED, "523", "trop volumineux"),
        ("failed", "4.4.7", "", receipts.FAILED, "4.4.7", "délai"),
        ("failed", "5.2.9", "", receipts.FAILED, "5.2.9", "problème de la boîte"),
        ("", "5.1.1", "", receipts.FAILED, "5.1.1", "adresse inconnue"),
        ("", "", "", receipts.UNKNOWN, "", ""),
    ],
)
def test_a_delivery_report(action: str, status: str, diagnostic: str, outcome: str, code: str, reason: str) -> None:
    found = one(a_dsn(action, status, diagnostic))
    assert (found.kind, found.outcome, found.code) == ("delivery", outcome, code)
    assert reason in found.reason and bool(reason) == bool(found.reason)
    assert (found.message_ids, found.envid, found.recipients) == ((OURS,), "0jx4zsw3v2k8c-1", (PAUL,))


def test_each_recipient_of_a_report_has_a_line() -> None:
    machine = (
        "Reporting-MTA: dns; x.fr\n\nFinal-Recipient: rfc822; a@x.fr\nAction: delivered\nStatus: 2.1.5\n\n"
        "Final-Recipient: rfc822; b@x.fr\nAction: failed\nStatus: 5.1.1\n\n\n"
    )
    found = receipts.read(a_report(machine))
    assert [(line.recipients, line.outcome) for line in found] == [(("a@x.fr",), "delivered"), (("b@x.fr",), "failed")]


def test_a_report_that_forgot_the_blank_line_and_the_envelope_id_is_read() -> None:
    machine = (
        f"Reporting-MTA: dns; x.fr\nX-Original-Message-ID: <{OURS}>\nFinal-Recipient: rfc822;{PAUL}\nStatus: 5.1.1"
    )
    found = one(a_report(machine))
    assert (found.outcome, found.message_ids, found.envid) == (receipts.FAILED, (OURS,), "")


def test_a_report_in_base64_is_read() -> None:
    part = mails.a_part(
        f"Final-Recipient: rfc822;{PAUL}\nAction: failed\nStatus: 5.1.1\n".encode(), "message/delivery-status"
    )
    found = one(mails.a_multipart(mails.words("avis"), part, kind="report; report-type=delivery-status"))
    assert (found.outcome, found.recipients) == (receipts.FAILED, (PAUL,))


def test_a_report_without_its_machine_part_is_known_and_says_nothing() -> None:
    found = one(mails.a_multipart(mails.words("avis"), kind="report; report-type=delivery-status"))
    assert (found.kind, found.outcome) == ("delivery", receipts.UNKNOWN)


@pytest.mark.parametrize(
    ("lines", "outcome", "code", "reason"),
    [
        ("Disposition: manual-action/MDN-sent-manually; displayed", receipts.DISPLAYED, "", ""),
        ("disposition: Automatic-Action/mdn-sent-automatically;PROCESSED", receipts.PROCESSED, "", ""),
        ("Disposition: automatic-action/MDN-sent-automatically; dispatched", receipts.DELIVERED, "", ""),
        ("Disposition: manual-action/MDN-sent-manually; deleted", receipts.DELETED, "", "lecture inconnue"),
        ("Disposition: displayed", receipts.DISPLAYED, "", ""),
        ("X-Other: none", receipts.UNKNOWN, "", ""),
        (
            "Disposition: automatic-action/MDN-sent-automatically; processed/error\n"
            "Error: 902^Identifiant de patient inconnu^applicationErrorCondition| E^Error^errorSeverity",
            receipts.FAILED, "902", "refusé : patient inconnu (902)",
        ),
        (
            "Disposition: automatic-action/MDN-sent-automatically; processed/Error: 904^L'INS transmis ne correspond"
            "\n pas exactement^messageErrorCondition| E^Error^errorSeverity; détail",
            receipts.FAILED, "904", "INS ne correspond pas",
        ),
        (
            "Disposition: automatic-action/MDN-sent-automatically; processed\nError: inattendu",
            receipts.FAILED, "", "refusé par le logiciel du destinataire",
        ),
    ],
)  # fmt: skip
def test_a_receipt_in_both_grammars(lines: str, outcome: str, code: str, reason: str) -> None:
    machine = f"Reporting-UA: x\nFinal-Recipient: rfc822;{PAUL}\nOriginal-Message-ID: <{OURS}>\n{lines}"
    found = one(a_report(machine, kind="disposition-notification"))
    assert (found.kind, found.outcome, found.code) == ("disposition", outcome, code)
    assert reason in found.reason and bool(reason) == bool(found.reason)
    assert (found.message_ids, found.recipients) == ((OURS,), (PAUL,))


def test_a_gateways_subject_makes_an_error_of_a_receipt_that_says_processed() -> None:
    machine = f"Final-Recipient: rfc822;{PAUL}\nDisposition: automatic-action/MDN-sent-automatically; processed"
    raw = a_report(machine, kind="disposition-notification", headers=f"In-Reply-To: <{OURS}>")
    failed = raw.replace(b"Subject: Essai", "Subject: [KO Intégration système !][903] XDM/1.0/DDM+CR".encode())
    assert one(raw).outcome == receipts.PROCESSED
    assert (one(failed).outcome, one(failed).code, one(failed).message_ids) == (receipts.FAILED, "903", (OURS,))


@pytest.mark.parametrize(
    ("final", "recipients"),
    [
        ("rfc822;Dr Paul <PAUL@demo.mssante.fr>", (PAUL,)),
        ("paul@demo.mssante.fr", (PAUL,)),
        ("rfc822; pas une adresse", ()),
    ],
)
def test_the_recipient_of_a_receipt_however_it_is_written(final: str, recipients: tuple[str, ...]) -> None:
    machine = f"Final-Recipient: {final}\nDisposition: manual-action/MDN-sent-manually; displayed"
    found = one(a_report(machine, kind="disposition-notification"))
    assert found.recipients == (recipients or (PAUL,))  # who sent the receipt, when it does not say


def test_an_integration_error_in_an_ordinary_mail_is_about_the_mail_inside() -> None:
    inner = mails.a_mail("Bonjour").replace(b"<m1@demo.mssante.fr>", f"<{OURS}>".encode())
    part = b'Content-Type: message/rfc822; name="message_original.eml"\n\n' + inner.replace(b"\r\n", b"\n")
    raw = mails.a_multipart(mails.words("Erreur 902"), part)
    found = one(raw.replace(b"Subject: Essai", "Subject: [KO Intégration système !][902] Suivi".encode()))
    assert (found.kind, found.outcome, found.code) == ("integration", receipts.FAILED, "902")
    assert OURS in found.message_ids
    older = one(raw.replace(b"Subject: Essai", b"Subject: =?utf-8?q?=5BErreur_d'int=C3=A9gration_!=5D_Suivi?="))
    assert (older.code, older.reason) == ("906", "refusé par le logiciel du destinataire (906)")


@pytest.mark.parametrize(
    ("subject", "text", "outcome", "code", "reason"),
    [
        ("Undelivered Mail Returned to Sender", f"<{PAUL}>: host x said: 550 5.1.1 no", "failed", "5.1.1", "inconnue"),
        ("Message non distribué", f"Pour {PAUL} : l'espace est fermé par l'usager.", "failed", "5.2.1", "boîte fermée"),
        ("Courriel non remis", f"{PAUL} : la boîte est pleine", "failed", "5.2.2", "boîte pleine"),
        ("Non remis : suivi", f"{PAUL}\nDomaine hors de l'espace de confiance", "failed", "5.7.1", "refusé"),
        ("Remise retardée", f"{PAUL} : pas encore de réponse, nouvelle tentative dans 4 h", "delayed", "", ""),
        ("Échec de la remise", f"{PAUL}", "failed", "", ""),
        ("Information", "Maintenance prévue dimanche", "unknown", "", ""),
    ],
)  # fmt: skip
def test_a_bounce_in_plain_words(subject: str, text: str, outcome: str, code: str, reason: str) -> None:
    body = f"{text}\n\n--- Original message ---\nMessage-ID: <{OURS}>\nautre@x.fr a une boîte pleine"
    raw = mails.a_mail(body, headers="Content-Type: text/plain; charset=utf-8", sender=DAEMON)
    found = one(raw.replace(b"Subject: Essai", f"Subject: {subject}".encode()))
    assert (found.kind, found.outcome, found.code) == ("refusal", outcome, code)
    assert reason in found.reason and bool(reason) == bool(found.reason)
    assert found.message_ids == (OURS,)
    assert found.recipients == ((PAUL,) if PAUL in text else ())


def test_a_person_who_writes_about_an_undelivered_mail_is_no_machine() -> None:
    raw = mails.a_mail("Je n'ai rien reçu").replace(b"Subject: Essai", b"Subject: Courriel non remis ?")
    assert receipts.read(raw) == ()
    assert one(raw, null_sender=True).kind == "refusal"


@pytest.mark.parametrize(
    ("subject", "headers", "text", "outcome"),
    [
        ("Réponse automatique : suivi", "", "Je suis en congés jusqu'au 5.", receipts.ABSENT),
        ("Absence du bureau", "", "Retour lundi.", receipts.ABSENT),
        ("Re: suivi", "Auto-Submitted: auto-replied", "Out of office", receipts.ABSENT),
        ("Re: suivi", "Precedence: auto_reply", "Bien reçu, merci.", receipts.UNKNOWN),
        ("Re: suivi", "X-Autoreply: yes", "Je suis absente.", receipts.ABSENT),
    ],
)
def test_an_absence_is_told_from_a_machines_thanks(subject: str, headers: str, text: str, outcome: str) -> None:
    raw = mails.a_mail(text, headers=f"In-Reply-To: <{OURS}>\nContent-Type: text/plain; charset=utf-8\n{headers}")
    found = one(raw.replace(b"Subject: Essai", f"Subject: {subject}".encode()))
    assert (found.kind, found.outcome) == ("auto-reply", outcome)
    assert (found.message_ids, found.recipients, found.proof) == ((OURS,), (PAUL,), text)


def test_what_comes_without_an_envelope_sender_is_never_a_persons_mail() -> None:
    raw = mails.a_mail("Bonjour")
    assert receipts.read(raw) == ()
    assert one(raw, null_sender=True).kind == "auto-reply"


@pytest.mark.parametrize(
    ("name", "outcome", "recipient"),
    [
        ("direct_DSNMessage", receipts.FAILED, "carol@ivory.edu"),
        ("direct_MDNMessage", receipts.PROCESSED, "externuser1@starugh-stateline.com"),
        ("direct_MDNMessageNoFinalRecip", receipts.PROCESSED, "externuser1@starugh-stateline.com"),
        ("direct_MDNMessageFriendlyNameFinalRecip", receipts.PROCESSED, "externuser1@starugh-stateline.com"),
        ("direct_gateway_MDNDispatchedMessage", receipts.DELIVERED, ""),
    ],
)
def test_reports_of_another_countrys_network(name: str, outcome: str, recipient: str) -> None:
    path = mails.SHARED / f"{name}.txt"
    if not path.exists():
        pytest.skip("shared samples are not here")
    found = one(path.read_bytes())
    assert found.outcome == outcome
    assert recipient in (*found.recipients, "")


def test_every_reason_is_short_french_and_its_code_once() -> None:
    assert all(0 < len(text) < 80 for text in receipts.reasons().values())
    assert receipts.reason("4.2.3") == "courriel trop volumineux pour cette boîte"
    assert receipts.reason("2.0.0") == receipts.reason("x") == receipts.reason("") == ""


@given(machine=st.text(max_size=300), kind=st.sampled_from(["delivery-status", "disposition-notification"]))
def test_no_machine_part_is_too_strange(machine: str, kind: str) -> None:
    raw = a_report(machine.replace("--b1", ""), kind=kind)
    assert receipts.read(raw)
