"""What does the sender want done with the document? The OBX after it: labels, routes, receipts, mail bodies.

Profile "Transmission de documents CDA-R2 en HL7v2" 2.1 (MetaDMPMSS) and "Transmission au LPS" 1.1 (the mail as the
second ED). Codes and their older names: tables/metadata.csv. A label decides who may read: anything but Y or N there
is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common import errors
from mapping import codes, er7, refusals, v2_content
from mapping.tolerance import Tolerance, note


@dataclass(frozen=True, slots=True)
class Mail:
    """The letter that goes, or came, with the document. Subject and Message-ID only from the "LPS" profile."""

    text: str = ""
    patient_text: str = ""
    subject: str = ""
    message_id: str = ""
    patient_may_reply: bool = True


@dataclass(frozen=True, slots=True)
class Wishes:
    """Codes whose value is Y, by kind, under their current names."""

    labels: frozenset[str]
    routes: frozenset[str]
    acks: frozenset[str]
    mail: Mail
    tolerances: tuple[Tolerance, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """An OBX with the PRT and NTE that follow it; `code` is OBX-3.1 without the blanks of the guide's own tables."""

    obx: er7.Segment
    code: str
    followers: tuple[er7.Segment, ...]

    @property
    def is_file(self) -> bool:
        """An ED that is no mail body of the metadata."""
        return self.obx.text(2) == "ED" and codes.find("metadata", self.code) is None


def observations(message: er7.Message) -> list[Observation]:
    """Every OBX in order."""
    found: list[tuple[er7.Segment, list[er7.Segment]]] = []
    for segment in message.all:
        if segment.name == "OBX":
            found.append((segment, []))
        elif found and segment.name in ("PRT", "NTE"):
            found[-1][1].append(segment)
    return [Observation(obx, "".join(obx.text(3).split()), tuple(followers)) for obx, followers in found]


def read(others: Sequence[Observation]) -> Wishes:
    """From the observations after the document. Raises errors.Invalid and Missing for a value that is not Y or N."""
    notes: list[Tolerance] = []
    wanted: dict[str, set[str]] = {"label": set(), "route": set(), "ack": set()}
    bodies: dict[str, str] = {}
    subject = message_id = ""
    may_reply = True
    for one in others:
        row = codes.find("metadata", one.code)
        if row is None:
            if one.is_file and not message_id:
                bodies.setdefault("professional", _body(one, notes))
                message_id, subject = one.obx.text(3, 1), one.obx.text(3, 2)
            elif one.obx.text(3, 3) == "MetaDMPMSS":
                notes.append(note("metadata-unknown", one.obx.at(3)))
        elif row.target_system == "body":
            bodies[row.target_code] = _body(one, notes)
        elif row.target_system in wanted and _is_yes(one.obx):
            wanted[row.target_system].add(row.target_code)
            may_reply = may_reply and not _ends_exchange(row.target_code, one)
    mail = Mail(bodies.get("professional", ""), bodies.get("patient", ""), subject, message_id, may_reply)
    labels, routes, acks = (frozenset(wanted[kind]) for kind in ("label", "route", "ack"))
    return Wishes(labels, routes, acks, mail, tuple(notes))


def _body(one: Observation, notes: list[Tolerance]) -> str:
    text, found = v2_content.text(one.obx)
    notes.extend(found)
    return text


def _is_yes(obx: er7.Segment) -> bool:
    value = obx.text(5).upper()
    if not value:
        raise refusals.Missing("la métadonnée n'a pas de valeur : Y ou N attendu", at=obx.at(5))
    if value not in ("Y", "N"):
        raise errors.Invalid("la métadonnée doit valoir Y ou N", at=obx.at(5))
    return value == "Y"


def _ends_exchange(code: str, one: Observation) -> bool:
    """NTE-4 `FIN` after DESTMSSANTEPAT: the patient is asked not to answer (mail header X-MSS-MES)."""
    notes = (segment for segment in one.followers if segment.name == "NTE")
    return code == "DESTMSSANTEPAT" and any(nte.text(4).upper() == "FIN" for nte in notes)
