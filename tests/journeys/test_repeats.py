"""What comes twice is kept once, even at the same instant or by another route."""

from __future__ import annotations

import asyncio
import smtplib
from collections import Counter

from connectors.hospital import mllp
from tests import builders_hl7
from tests.running import Region, resources

DOCTOR = "paul.lefebvre@demo.mssante.fr"


def test_one_message_on_ten_connections_at_once_is_one_document_with_one_answer(region: Region) -> None:
    message = builders_hl7.an_mdm(control_id="TWIN")

    async def storm() -> list[bytes]:
        port = region.hub.ports["mllp"]
        return await asyncio.gather(*(mllp.send("127.0.0.1", port, message, timeout=30.0) for _ in range(10)))

    answers = Counter(asyncio.run(storm()))
    assert len(answers) == 1
    assert b"MSA|AA|TWIN" in next(iter(answers))
    with region.hub.client("--system") as client:
        found = client.get("DocumentReference", params={"_count": "100"}).json()
        kept = [one for one in resources(found, "DocumentReference") if "DOC-TWIN" in str(one["masterIdentifier"])]
    assert len(kept) == 1


def test_ten_letters_about_one_newcomer_at_once_make_one_patient_and_one_conversation(region: Region) -> None:
    person = builders_hl7.Person(family="NOUVEAU", given="LOUISE", ins="", local="IPP777777")
    letters = [builders_hl7.an_mdm(control_id=f"NEW{number}", person=person) for number in range(10)]

    async def storm() -> list[bytes]:
        port = region.hub.ports["mllp"]
        return await asyncio.gather(*(mllp.send("127.0.0.1", port, one, timeout=30.0) for one in letters))

    assert all(b"MSA|AA|" in answer for answer in asyncio.run(storm()))
    with region.hub.client("--system") as client:
        patients = resources(client.get("Patient", params={"family": "nouveau"}).json(), "Patient")
        assert len(patients) == 1
        params = {"patient": patients[0]["id"], "part-of:missing": "true"}
        assert len(resources(client.get("Communication", params=params).json(), "Communication")) == 1
        params = {"patient": patients[0]["id"], "part-of:missing": "false"}
        assert len(resources(client.get("Communication", params=params).json(), "Communication")) == 10


def test_the_same_mail_by_two_routes_is_one_message(region: Region) -> None:
    with region.hub.client("--system") as client:
        tasks = resources(
            client.get("Task", params={"code": "inbox", "owner": "PractitionerRole/lefebvre"}).json(), "Task"
        )
        task = tasks[0]
        to = f"conv+{task['identifier'][0]['value']}@hub.demo.mssante.fr"
        for route in ("un", "deux"):
            head = f"Received: from {route}\r\nFrom: {DOCTOR}\r\nTo: {to}\r\nMessage-ID: <routes@demo.mssante.fr>\r\n"
            with smtplib.SMTP("127.0.0.1", region.hub.ports["smtp"]) as smtp:
                smtp.sendmail(DOCTOR, [to], f"{head}Subject: Re: suivi\r\n\r\nPar deux routes.\r\n".encode())
        found = client.get("Communication", params={"part-of": task["focus"]["reference"], "_count": "100"}).json()
        assert str(resources(found, "Communication")).count("Par deux routes.") == 1
