"""A hospital letter and a doctor's mail become one conversation that software can read.

The main journey, each step through its door: MLLP, SMTP, FHIR. The steps share one region and build on each other.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from importlib import resources as files
from typing import Any

import pytest

from connectors.hospital import mllp
from tests.running import Region, resources, wait_for

DOCTOR = "paul.lefebvre@demo.mssante.fr"
LETTER = files.files("hub.seed").joinpath("samples", "lettre-de-sortie.hl7")
TITLE = "Jeanne DELMAS"
PACKAGE = "XDM/1.0/DDM+"  # how the subject of a mail with a health package begins


def send(region: Region, message: bytes) -> bytes:
    return asyncio.run(mllp.send("127.0.0.1", region.hub.ports["mllp"], message, timeout=30.0))


def letter() -> bytes:
    return LETTER.read_bytes().replace(b"\n", b"\r")


def mail_about(region: Region, words: str) -> dict[str, Any]:
    """The doctor's mail whose subject or text holds these words, once it has come."""

    def look() -> dict[str, Any] | None:
        for one in region.operator.mails(DOCTOR):
            mail = region.operator.read(DOCTOR, one["id"])
            if words in mail["subject"] or words in mail["text"]:
                return mail
        return None

    found: dict[str, Any] = wait_for(look, what=f"mail with {words!r}")
    return found


def conversation(region: Region, persona: str) -> dict[str, Any]:
    with region.hub.client("--persona", persona) as client:
        found = client.get(
            "Communication", params={"part-of:missing": "true", "recipient": f"PractitionerRole/{persona}"}
        )
        headers = [one for one in resources(found.json(), "Communication") if TITLE in one["topic"]["text"]]
    assert len(headers) == 1
    return headers[0]


def messages(region: Region, persona: str) -> list[dict[str, Any]]:
    with region.hub.client("--persona", persona) as client:
        params = {"part-of": f"Communication/{conversation(region, persona)['id']}", "_sort": "sent"}
        return resources(client.get("Communication", params=params).raise_for_status().json(), "Communication")


@pytest.fixture(scope="module", autouse=True)
def acknowledged(region: Region) -> bytes:
    return send(region, letter())


def test_the_hospital_is_told_that_its_letter_is_kept(acknowledged: bytes) -> None:
    assert b"MSA|AA|" in acknowledged


def test_the_letter_is_in_the_patients_conversation_with_its_pdf(region: Region) -> None:
    first = messages(region, "nadia")[0]
    document = next(one["contentReference"]["reference"] for one in first["payload"] if "contentReference" in one)
    with region.hub.client("--persona", "nadia") as client:
        content = client.get(document).raise_for_status().json()["content"]
        pdf = client.get(content[0]["attachment"]["url"], headers={"Accept": "application/pdf"}).raise_for_status()
    assert content[0]["attachment"]["contentType"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    assert [one["attachment"]["contentType"] for one in content] == ["application/pdf", "text/xml"]


def test_the_same_letter_again_gets_the_same_answer_and_changes_nothing(region: Region, acknowledged: bytes) -> None:
    before = messages(region, "nadia")
    assert send(region, letter()) == acknowledged
    assert messages(region, "nadia") == before


def test_the_doctor_who_has_only_a_mailbox_gets_the_letter_by_mail(region: Region) -> None:
    mail = mail_about(region, PACKAGE)
    assert "DELMAS" in mail["subject"]
    names = [one["filename"] for one in mail["attachments"]]
    assert names[0] == "IHE_XDM.zip"
    assert [name.endswith(".pdf") for name in names[1:]] == [True], "the copy that people read"


def test_the_doctors_plain_reply_lands_in_the_conversation(region: Region) -> None:
    mail = mail_about(region, PACKAGE)
    prescription = {"filename": "ordonnance.pdf", "media_type": "application/pdf"}
    prescription["base64"] = b64encode(b"%PDF-1.4 ordonnance").decode()
    text = "Bien reçu, je passe demain.\nJe joins l'ordonnance."
    region.operator.reply(DOCTOR, mail["id"], text, style="outlook", attachments=[prescription])
    posted = wait_for(
        lambda: [one for one in messages(region, "nadia") if "je passe demain" in str(one)], what="reply"
    )[0]
    assert posted["payload"][0]["contentString"].strip() == text
    assert posted["sender"]["reference"] == "PractitionerRole/lefebvre"
    assert posted["medium"][0]["coding"][0]["code"] == "mssante"
    with region.hub.client("--persona", "nadia") as client:
        document = client.get(posted["payload"][1]["contentReference"]["reference"]).raise_for_status().json()
        url = document["content"][0]["attachment"]["url"]
        assert client.get(url, headers={"Accept": "application/pdf"}).content == b"%PDF-1.4 ordonnance"


def test_a_doctors_software_reads_its_inbox_in_one_query_and_answers(region: Region) -> None:
    header = f"Communication/{conversation(region, 'lgc')['id']}"
    with region.hub.client("--client", "Mon LGC", "--persona", "lgc", "--scope", "user/*.cruds") as client:
        inbox = client.get(
            "Task",
            params={
                "owner": "PractitionerRole/lgc",
                "code": "inbox",
                "business-status": "unread",
                "_include": "Task:focus",
            },
        ).raise_for_status()
        assert header in [f"Communication/{one['id']}" for one in resources(inbox.json(), "Communication")]
        answer = {
            "resourceType": "Communication",
            "status": "completed",
            "partOf": [{"reference": header}],
            "payload": [{"contentString": "Vu au cabinet : je renouvelle le traitement."}],
        }
        posted = client.post("Communication", json=answer)
        assert posted.status_code == 201, posted.text
    assert "renouvelle le traitement" in mail_about(region, "renouvelle le traitement")["text"]


def test_every_member_has_one_inbox_entry_and_what_they_did_not_read_is_unread(region: Region) -> None:
    header = f"Communication/{conversation(region, 'nadia')['id']}"
    with region.hub.client("--system") as client:
        entries = resources(client.get("Task", params={"focus": header, "code": "inbox"}).json(), "Task")
    states = {one["owner"]["reference"]: one["businessStatus"]["coding"][0]["code"] for one in entries}
    assert len(entries) == len(states)
    assert states == {f"PractitionerRole/{name}": "unread" for name in ("nadia", "lefebvre", "claire", "lgc")}


def test_somebody_else_sees_nothing_of_it(region: Region) -> None:
    header = conversation(region, "nadia")["id"]
    with region.hub.client("--persona", "karim") as client:
        assert client.get(f"Communication/{header}").status_code == 404
        assert client.get(f"Communication/{header}/_history").status_code == 404
        found = client.get("Communication", params={"part-of": f"Communication/{header}", "_total": "accurate"}).json()
        assert (found.get("entry", []), found["total"]) == ([], 0)


def test_a_software_without_a_person_reads_the_directory_and_no_patient(region: Region) -> None:
    with region.hub.client("--client", "Annuaire", "--scope", "system/*.rs") as client:
        assert client.get("PractitionerRole").status_code == 200
        assert client.get("Patient").status_code == 403
        assert client.get("Communication").status_code == 403


def test_the_dossier_shows_each_caller_their_own_part(region: Region) -> None:
    patient = conversation(region, "nadia")["subject"]["reference"]
    with region.hub.client("--persona", "nadia") as client:
        mine = client.get(f"{patient}/$dossier").raise_for_status().json()
    with region.hub.client("--persona", "karim") as client:
        assert client.get(f"{patient}/$dossier").status_code == 404
    assert {"Patient", "Communication", "DocumentReference", "Task"} <= {
        one["resource"]["resourceType"] for one in mine["entry"]
    }


def writer(region: Region, ref: str) -> tuple[str, str, set[str]]:
    """Who the trace says wrote a resource, by which door, and what else was written with it."""
    with region.hub.client("--system") as client:
        (written,) = resources(client.get(f"Provenance?target={ref}").json(), "Provenance")
        event = client.get(f"AuditEvent/{written['id'].rpartition('-')[0]}").raise_for_status().json()
    who = event["agent"][0]["who"]["reference"]
    assert written["agent"][0]["who"]["reference"] == who
    assert event["outcome"] == "0"
    types = {one["what"]["reference"].partition("/")[0] for one in event["entity"] if "what" in one}
    return who, event["source"]["site"], types


def test_the_hospitals_letter_leaves_the_trace_of_the_hospital(region: Region) -> None:
    first = messages(region, "nadia")[0]
    document = next(one["contentReference"]["reference"] for one in first["payload"] if "contentReference" in one)
    who, door, types = writer(region, document)
    assert (who, door) == ("Organization/hopital", "hospital")
    assert {"DocumentReference", "Binary", "Communication"} <= types


def test_the_doctors_mail_leaves_the_trace_of_the_doctor(region: Region) -> None:
    (posted,) = [one for one in messages(region, "nadia") if "je passe demain" in str(one)]
    who, door, types = writer(region, f"Communication/{posted['id']}")
    assert (who, door) == ("PractitionerRole/lefebvre", "mssante")
    assert {"Communication", "DocumentReference", "Binary"} <= types
    with region.hub.client("--persona", "nadia") as client:
        lines = client.get(f"{posted['subject']['reference']}/$who-looked").raise_for_status().json()["parameter"]
    texts = [part["valueString"] for one in lines for part in one["part"] if part["name"] == "text"]
    assert any("Lefebvre" in one and one.endswith("par MSSanté") for one in texts), texts


def test_health_and_metadata_need_no_token_and_everything_else_does(region: Region) -> None:
    import httpx

    with httpx.Client(base_url=f"http://127.0.0.1:{region.hub.ports['http']}") as client:
        assert client.get("/health/ready").status_code == 200
        assert client.get("/fhir/metadata").json()["fhirVersion"] == "4.0.1"
        refused = client.get("/fhir/Patient")
    assert refused.status_code == 401
    assert refused.json()["resourceType"] == "OperationOutcome"
    assert refused.headers["www-authenticate"].startswith("Bearer")
