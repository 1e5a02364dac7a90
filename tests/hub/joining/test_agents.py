"""An office is worn with one's own hat, and not lent."""

from __future__ import annotations

from fhir_server import access
from hub.joining import notices, request
from hub.rights import worn
from identity import tokens


def test_a_delegate_does_not_decide_on_accounts() -> None:
    hat = worn.Hat("Organization/dac-12", "330", (request.AGENT,))
    mine = tokens.Identity("person", "PractitionerRole/claire", ("Practitioner/claire",))
    lent = tokens.Identity(
        "person",
        "PractitionerRole/claire",
        ("Practitioner/claire",),
        delegate="PractitionerRole/karim Practitioner/karim",
    )
    key = access.key(notices.AGENTS)
    assert key in (worn.caller(mine, hat).memberships or ())
    assert key not in (worn.caller(lent, hat, worn.Hat("Organization/dac-12", "41")).memberships or ())
