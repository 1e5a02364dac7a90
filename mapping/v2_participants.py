"""Who sends this document, who receives it by mail, and where do answers go? PRT after the document's OBX.

Profile "Transmission de documents CDA-R2 en HL7v2" 2.1, PRT (borrowed from HL7 2.9). Samples leave the label of PRT-4
empty, shift PRT-15 by one and write `ASIP-SANTE- PS`: the role is PRT-4.1, the address is where the `@` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapping import er7, systems, v2_types
from mapping.tolerance import Tolerance, note

PATIENT_MAIL = "@patient.mssante.fr"


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a mail. `kind`: professional, patient, organization, device, unknown.

    `identifier` is the person's number as it came (IDNPS `8` + RPPS; INS for a patient), `organization_id` the
    structure's (IDNST, FINESS); `mssante` the mail address in lower case, "" when there is none.
    """

    kind: str
    family: str
    given: str
    identifier: str
    identifier_type: str
    organization: str
    organization_id: str
    organization_type: str
    mssante: str

    @property
    def rpps(self) -> str:
        """The 11 digits of the RPPS number: alone, or after the 8 of a national identifier, whatever its label says."""
        digits = self.identifier if self.identifier.isascii() and self.identifier.isdigit() else ""
        if len(digits) == 12 and digits[0] == "8":
            return digits[1:]
        return digits if len(digits) == 11 and self.kind == "professional" else ""


@dataclass(frozen=True, slots=True)
class Participants:
    """The people of one document."""

    sender: Party | None
    recipients: tuple[Party, ...]
    reply_to: tuple[Party, ...]
    tolerances: tuple[Tolerance, ...]


def read(segments: Sequence[er7.Segment]) -> Participants:
    """From the PRT that follow the OBX of the document."""
    notes: list[Tolerance] = []
    found: dict[str, list[Party]] = {"SB": [], "RCT": [], "REPLY": []}
    for prt in segments:
        role = prt.text(4).upper()
        if role in found:
            found[role].append(_party(prt, notes))
        else:
            notes.append(note("participation-unknown", prt.at(4)))
    sender = found["SB"][0] if found["SB"] else None
    return Participants(sender, tuple(found["RCT"]), tuple(found["REPLY"]), tuple(notes))


def _party(prt: er7.Segment, notes: list[Tolerance]) -> Party:
    person = v2_types.person(prt.first(5))
    place = v2_types.organization(prt.first(8))
    device = prt.text(10)
    mail = _mail(prt, notes)
    return Party(
        kind=_kind(person, place, device, mail),
        family=person.family,
        given=person.given,
        identifier=person.id,
        identifier_type=person.type,
        organization=place.name or device,
        organization_id=place.id,
        organization_type=place.type,
        mssante=mail,
    )


def _kind(person: v2_types.Person, place: v2_types.Organization, device: str, mail: str) -> str:
    if mail.endswith(PATIENT_MAIL) or person.type == "INS" or person.authority.oid in systems.INS_ALL:
        return "patient"
    if person.id or person.family:
        return "professional"
    if place.id or place.name:
        return "organization"
    return "device" if device else "unknown"


def _mail(prt: er7.Segment, notes: list[Tolerance]) -> str:
    """The address of PRT-15, or of a neighbour in messages that shift it."""
    for field in (15, 14, 16):
        for value in prt.repetitions(field):
            address = next((text for part in value.components if "@" in (text := value.syntax.text(part).strip())), "")
            if address:
                if field != 15:
                    notes.append(note("participation-shifted", prt.at(field)))
                return address.lower()
    return ""
