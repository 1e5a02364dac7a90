"""A citizen's mailbox is built from a qualified INS and from nothing else (MSS-11)."""

from __future__ import annotations

from typing import Any

import pytest

from common import errors
from hub import people
from mapping import systems

INS = "248051220200170"


def a_patient(status: str = "VALI", *numbers: str, system: str = f"urn:oid:{systems.INS_TEST}") -> dict[str, Any]:
    coding = {"system": systems.FR_RELIABILITY, "code": status}
    reliability = {
        "url": systems.FR_IDENTITY_RELIABILITY,
        "extension": [{"url": "identityStatus", "valueCoding": coding}],
    }
    identifiers = [{"system": system, "value": one} for one in numbers or (INS,)]
    return {"resourceType": "Patient", "extension": [reliability] if status else [], "identifier": identifiers}


def test_a_qualified_ins_makes_the_address() -> None:
    assert people.citizen_mailbox(a_patient()) == f"{INS}@patient.mssante.fr"


@pytest.mark.parametrize(
    "patient",
    [
        a_patient("PROV"),
        a_patient(""),
        a_patient("VALI", INS, "148051220200222"),
        a_patient("VALI", "248051220200171"),
        a_patient(system="urn:oid:1.2.3"),
    ],
    ids=["provisional", "nothing said", "two numbers", "wrong key", "a local number"],
)
def test_anything_else_makes_none(patient: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid):
        people.citizen_mailbox(patient)
