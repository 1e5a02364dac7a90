"""What does each golden HL7 message become? Input, expected resources and acknowledgement side by side."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common import errors
from mapping import er7, systems, v2_checks, v2_document, v2_identity, v2_out
from tests import golden_files

NOW = datetime(2026, 11, 20, 13, 40, tzinfo=UTC)


@pytest.mark.parametrize("case", golden_files.cases("mdm_"), ids=lambda path: path.name)
def test_a_golden_message_becomes_what_its_folder_says(case: Path) -> None:
    golden_files.compare(case / "expected.json", outcome((case / "input.hl7").read_bytes()))


@pytest.mark.parametrize("case", golden_files.cases(""), ids=lambda path: path.name)
def test_every_golden_case_says_what_it_stands_for(case: Path) -> None:
    assert (case / "why.txt").read_text(encoding="utf-8").strip()


def outcome(raw: bytes) -> dict[str, Any]:
    """Everything that mapping makes of a message, files replaced by their digest."""
    message = er7.read(raw)
    try:
        document = v2_document.read(message, ins_authorities=systems.INS_WITH_TEST)
    except errors.HubError as error:
        code = v2_out.code_for(error)
        answer = v2_out.ack(message, code, error=error, control_id="A1", now=NOW)
        return {"refused": type(error).__name__, "at": error.at, "ack": segments(answer)}
    return {
        "operation": document.operation,
        "tolerances": [f"{found.code} {found.at}" for found in document.tolerances],
        "labels": sorted(document.labels),
        "routes": sorted(document.routes),
        "acks": sorted(document.acks),
        "sender": party(document.sender),
        "recipients": [party(found) for found in document.recipients],
        "reply_to": [party(found) for found in document.reply_to],
        "mail": [document.mail.text, document.mail.subject, document.mail.message_id],
        "mailing": mailing(document),
        "patient": v2_identity.to_fhir(document.patient),
        "resources": resources(document),
        "ack": segments(v2_out.ack(message, "AA", control_id="A1", now=NOW)),
    }


def resources(document: v2_document.Document) -> list[Any]:
    if document.operation == "delete":
        return []
    numbers = iter(range(1, 100))
    filed = v2_document.to_fhir(
        document,
        patient="Patient/p",
        conversation="Communication/c",
        new_id=lambda type, body: f"{type.lower()}-{next(numbers)}",
        now=NOW,
    )
    for _, _, body in filed:
        if "data" in body:
            body["data"] = f"sha1 {hashlib.sha1(base64.b64decode(body['data'])).hexdigest()}"
    return [body | {"id": id} for _, id, body in filed]


def mailing(document: v2_document.Document) -> Any:
    try:
        found = v2_checks.mailing(document)
    except errors.HubError as error:
        return error.message
    return [[one.mssante for one in found.professionals], [one.mssante for one in found.patients]]


def party(found: v2_document.Party | None) -> str:
    if found is None:
        return ""
    who = f"{found.family} {found.given} {found.identifier}".strip() or f"{found.organization} {found.organization_id}"
    return f"{found.kind}: {who.strip()} <{found.mssante}>"


def segments(answer: bytes) -> list[str]:
    return answer.decode("iso8859-15" if b"8859/15" in answer else "utf-8").rstrip("\r").split("\r")
