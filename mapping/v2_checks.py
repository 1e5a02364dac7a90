"""Does this document belong to this patient, and may it go where the sender wants?

Judgements apart from reading, so that a refused message can still be shown. Profile 2.1, error codes 904 and 906. Of
the routing rules only those that protect somebody are enforced: official examples break the published table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mapping import refusals, systems, tolerance, v2_document
from mapping.v2_participants import Party


@dataclass(frozen=True, slots=True)
class Mailing:
    """Who gets a mail: an address without its DESTMSSANTEPS or DESTMSSANTEPAT gets none."""

    professionals: tuple[Party, ...]
    patients: tuple[Party, ...]
    tolerances: tuple[tolerance.Tolerance, ...] = ()


def identity(document: v2_document.Document) -> None:
    """Raises PatientMismatch when the message and its CDA cannot be about the same person.

    Numbers of a same authority must meet (test and demonstration INS count as INS; a NIA is another number than the
    NIR that follows it); without any common authority, two full birth dates must be equal.
    Sample: fr-lps/v1.0_lps_mdm_doc_base64.hl7, whose CDA is about another INS.
    """
    if document.header is None:
        return
    said = _by_authority(document.patient.numbers)
    held = _by_authority((id.root, id.extension) for id in document.header.patient.ids)
    common = said.keys() & held.keys()
    if any(said[authority].isdisjoint(held[authority]) for authority in common):
        raise refusals.PatientMismatch("l'identifiant du patient diffère entre le message et le CDA", at="PID-3")
    dates = document.patient.birth_date, document.header.patient.birth_date
    if not common and all(len(date) == 10 for date in dates) and dates[0] != dates[1]:
        raise refusals.PatientMismatch("la date de naissance diffère entre le message et le CDA", at="PID-7")


def mailing(document: v2_document.Document, *, profile: str = "") -> Mailing:
    """The mail recipients. Raises RoutingForbidden when a label forbids them or nobody can be reached.

    The first profiles (MSH-21 `1.2`) leave the recipients to the gateway: a message without any RCT is accepted there.
    """
    professionals = tuple(party for party in document.recipients if party.mssante and party.kind != "patient")
    patients = tuple(party for party in document.recipients if party.mssante and party.kind == "patient")
    to_professionals = "DESTMSSANTEPS" in document.routes
    to_patient = "DESTMSSANTEPAT" in document.routes
    if to_professionals and "MASQUE_PS" in document.labels:
        raise refusals.RoutingForbidden("document masqué aux professionnels : envoi interdit", at="OBX-5")
    if to_patient and "INVISIBLE_PATIENT" in document.labels:
        raise refusals.RoutingForbidden("document non visible du patient : envoi au patient interdit", at="OBX-5")
    if to_professionals and not document.recipients and profile.startswith("1."):
        return Mailing((), (), (tolerance.note("no-recipient", "PRT-15"),))
    if to_professionals and not professionals:
        raise refusals.RoutingForbidden("aucune adresse MSSanté de professionnel (PRT RCT)", at="PRT-15")
    if to_patient and not patients:
        raise refusals.RoutingForbidden("aucune adresse MSSanté de patient (PRT RCT)", at="PRT-15")
    return Mailing(professionals if to_professionals else (), patients if to_patient else ())


def _by_authority(numbers: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for authority, value in numbers:
        if value:
            is_ins = authority in systems.INS_ALL and authority != systems.INS_NIA
            found.setdefault("INS" if is_ins else authority, set()).add(value)
    return found
