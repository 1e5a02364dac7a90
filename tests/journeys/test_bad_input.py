"""What cannot be used gets a clear refusal in its own protocol and a journal line with the cause; others go on."""

from __future__ import annotations

import asyncio
import smtplib
import socket
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from connectors.hospital import mllp
from tests import builders_hl7
from tests.running import Region, wait_for

THIRTY_MB = 30 * 1024 * 1024


def send(region: Region, message: bytes) -> str:
    answer = asyncio.run(mllp.send("127.0.0.1", region.hub.ports["mllp"], message, timeout=60.0))
    return answer.decode("utf-8", "replace")


def journal(region: Region) -> str:
    return region.hub.run("journal", "list", "--state", "refused", "--limit", "500")


def mail(to: str, text: str = "Bonjour", *, sender: str = "paul.lefebvre@demo.mssante.fr") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, "Re: suivi"
    message["Message-ID"] = f"<{abs(hash((to, text, sender)))}@demo.mssante.fr>"
    message.set_content(text)
    return message


@pytest.fixture
def smtp(region: Region) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", region.hub.ports["smtp"], timeout=60) as connection:
        yield connection


@pytest.fixture(autouse=True)
def alive(region: Region) -> Iterator[None]:
    yield
    assert region.hub.process.poll() is None
    with region.hub.client("--system") as client:
        assert client.get("Patient", params={"_count": "1"}).status_code == 200


@pytest.mark.parametrize(
    "message",
    [b"this is not HL7", b"MSH|^~\\&|A|B", b"PID|||1\rMSH|^~\\&|A|B|C|D|2026||MDM^T02|1|P|2.6\r", b"\xff\xfe\x00MSH"],
)
def test_malformed_hl7_is_answered_with_an_error_segment_and_journaled(region: Region, message: bytes) -> None:
    lines = len(journal(region).splitlines())
    answer = send(region, message)
    assert "MSA|AE|" in answer or "MSA|AR|" in answer
    assert "\rERR|" in answer
    assert len(journal(region).splitlines()) == lines + 1


def test_a_charset_that_does_not_hold_is_refused_at_msh_18(region: Region) -> None:
    message = builders_hl7.an_mdm(control_id="CHARSET").replace(b"DELMAS", b"DELM\xe9S")
    answer = send(region, message)
    assert "MSA|AE|CHARSET" in answer or "MSA|AR|CHARSET" in answer


def test_a_cda_with_a_doctype_is_refused_at_obx_5(region: Region) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><ClinicalDocument xmlns="urn:hl7-org:v3">&a;</ClinicalDocument>'
    answer = send(region, builders_hl7.an_mdm(control_id="DTD", content=bomb))
    assert "MSA|AE|DTD" in answer
    assert "OBX" in answer.split("\rERR|")[1]


def test_a_truncated_frame_is_journaled_and_the_next_message_passes(region: Region) -> None:
    with socket.create_connection(("127.0.0.1", region.hub.ports["mllp"])) as connection:
        connection.sendall(b"\x0bMSH|^~\\&|HALF|WAY")
    wait_for(lambda: "truncated" in journal(region), what="journal line of the broken frame")
    assert "MSA|AA|AFTER" in send(region, builders_hl7.an_mdm(control_id="AFTER"))


def test_an_hl7_message_of_30_mb_is_refused_and_does_not_fill_the_memory(region: Region) -> None:
    answer = send(region, builders_hl7.an_mdm(control_id="BIG") + b"ZZZ|" + b"A" * THIRTY_MB)
    assert "MSA|A" in answer
    assert "\rERR|" in answer
    assert "AA|BIG" not in answer


def test_a_fhir_body_of_30_mb_is_refused_with_413(region: Region) -> None:
    with region.hub.client("--persona", "nadia") as client:
        answer = client.post("Binary", content=b"A" * THIRTY_MB, headers={"Content-Type": "application/pdf"})
    assert answer.status_code == 413
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_mail_of_30_mb_is_refused_with_552(region: Region, smtp: smtplib.SMTP) -> None:
    with pytest.raises(
        (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, smtplib.SMTPServerDisconnected)
    ) as refused:
        smtp.send_message(_big())
    assert "552" in str(refused.value)


def _big() -> EmailMessage:
    message = mail("conv@hub.demo.mssante.fr")
    message.add_attachment(b"A" * (THIRTY_MB * 3 // 4), maintype="application", subtype="pdf", filename="gros.pdf")
    return message


def test_an_unknown_reply_address_is_refused_with_the_reason(region: Region, smtp: smtplib.SMTP) -> None:
    lines = len(journal(region).splitlines())
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        smtp.send_message(mail("conv+abcdefghijklmnop@hub.demo.mssante.fr"))
    assert refused.value.smtp_code == 550
    assert b"adresse de reponse inconnue" in refused.value.smtp_error
    assert len(journal(region).splitlines()) == lines + 1


def test_a_mail_that_is_no_mail_is_refused_with_554(region: Region, smtp: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refused:
        smtp.sendmail("a@demo.mssante.fr", ["conv@hub.demo.mssante.fr"], b"\x00\x01\x02 no header at all")
    assert refused.value.smtp_code == 554


def test_a_mail_for_a_foreign_domain_is_not_relayed(smtp: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        smtp.send_message(mail("quelquun@ailleurs.example"))
    assert refused.value.recipients["quelquun@ailleurs.example"][0] == 550


def test_a_stranger_with_a_right_address_does_not_reach_the_members(region: Region, smtp: smtplib.SMTP) -> None:
    with region.hub.client("--system") as client:
        tasks = client.get("Task", params={"code": "inbox", "owner": "PractitionerRole/lefebvre"}).json()["entry"]
    token = tasks[0]["resource"]["identifier"][0]["value"]
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        smtp.send_message(mail(f"conv+{token}@hub.demo.mssante.fr", sender="inconnu@demo.mssante.fr"))
    assert refused.value.smtp_code == 550


def test_invalid_fhir_names_every_element(region: Region) -> None:
    wrong = {"resourceType": "Patient", "gender": "robot", "birthDate": "2026-02-30", "unknown": 1}
    with region.hub.client("--persona", "nadia") as client:
        answer = client.post("Patient", json=wrong)
    assert answer.status_code == 422
    places = {one["expression"][0] for one in answer.json()["issue"]}
    assert {"Patient.gender", "Patient.birthDate"} <= places
    assert any("unknown" in place for place in places)
