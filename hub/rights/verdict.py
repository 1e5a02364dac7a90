"""Why does somebody see a patient's data, or not? (CONS-06)

The verdict is the record's own: the bits that it keeps for this person, its tables, its test of the sharing. The
reasons say where each bit comes from (a circle, a consent, an emergency), in words for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from common import clock
from fhir_server import access, query, store
from fhir_server.rights import facts, sharing, standing
from fhir_server.rows import Row

Resource = dict[str, Any]
_decode = msgspec.json.Decoder().decode

_WORDS = {
    standing.CIRCLE: ("cercle", "fait partie du cercle de soins"),
    standing.OPEN: ("consentement", "le patient consent au partage de son dossier"),
    standing.WITHDRAWN: ("retrait", "le patient a retiré ou refusé son consentement"),
    standing.OPPOSED: ("opposition", "le patient s'oppose à tout partage"),
    standing.EXCLUDED: ("exclusion", "le patient s'est opposé à cette personne ou à sa structure"),
    standing.EMERGENCY: ("urgence", "un accès en urgence est ouvert"),
    standing.KEPT_IN: ("sortie", "le patient ne veut pas que ses données sortent de la plateforme"),
}
_MISSING = {
    standing.CIRCLE: "ne fait pas partie du cercle de soins en ce moment",
    standing.OPEN: "aucun consentement au partage n'est en cours",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule: `holds` for this person now, in words, and the resource that says so ("" for none)."""

    rule: str
    holds: bool
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Is it seen, and why."""

    sees: bool
    reasons: tuple[Reason, ...]


async def bits_and_reasons(patient: str, caller: access.Caller, record: store.Store) -> tuple[int, list[Reason]]:
    """How the caller stands towards `Patient/x` now, and what says so."""
    bits = await record.bits(patient, caller.circles)
    reasons = []
    for ref, row in await _rows(patient, caller, record):
        rule, text = _WORDS[row.bit]
        reasons.append(Reason(rule, True, text, ref))
    missing = [(bit, text) for bit, text in _MISSING.items() if not bits & bit]
    return bits, [*reasons, *(Reason(_WORDS[bit][0], False, text) for bit, text in missing)]


async def of_row(row: Row, patient: str, caller: access.Caller, record: store.Store) -> Verdict:
    """Does the caller see this row of `Patient/x`?"""
    bits, reasons = await bits_and_reasons(patient, caller, record)
    seen = record.sight(caller)
    table = access.way(seen, row)
    return Verdict(standing.opens(table, bits), (_how(row, table, caller), *reasons))


def of_shared(code: int, bits: int, caller: access.Caller) -> bool:
    """Would the caller see what is shared so?"""
    return sharing.reaches(code, caller.kinds, caller.corps) and standing.opens(standing.SHARED, bits)


def _how(row: Row, table: int, caller: access.Caller) -> Reason:
    """The way in which the row reaches the caller, or why it does not."""
    if table == standing.AUTHORED:
        return Reason("auteur", True, "en est l'auteur")
    if table == standing.NAMED:
        of_structure = row.sharing & sharing.KIND == sharing.OF_STRUCTURE
        text = "partagé avec sa structure, ou adressé nommément" if of_structure else "adressé nommément"
        return Reason("destinataire", True, text)
    if table == standing.SHARED:
        return Reason("partage", True, "partagé avec le cercle de soins, et ouvert à sa profession")
    if not row.sharing:
        return Reason("partage", False, "privé : réservé à son auteur et à ses destinataires")
    if row.sharing >> 4 & caller.corps:
        return Reason("masque", False, "masqué à sa profession")
    if row.sharing & sharing.KIND == sharing.OF_STRUCTURE:
        return Reason("structure", False, "réservé à la structure de son auteur")
    return Reason("profession", False, "sa profession ne lit pas ce type de données")


async def _rows(patient: str, caller: access.Caller, record: store.Store) -> list[tuple[str, standing.Standing]]:
    """What holds now for this person or for everybody, with the resource that says so."""
    now, who = clock.micros(record.now()), (standing.ANYONE, *caller.circles)
    found = []
    for resource in await telling(patient, record, sorted(facts.TYPES)):
        ref = f"{resource['resourceType']}/{resource['id']}"
        for row in dict.fromkeys(facts.of(resource)):
            if row.who in who and row.lo <= now <= row.hi:
                found.append((ref, row))
    return found


async def telling(patient: str, record: store.Store, types: Iterable[str]) -> list[Resource]:
    """The circles, consents and emergencies of `Patient/x`: those of these types, whoever asks."""
    found: list[Resource] = []
    for type in types:
        params = [("patient", patient), ("_count", "500")]
        if type == "Task":
            params.append(("code", f"{sharing.TASK}|{sharing.EMERGENCY}"))
        asked = query.parse(type, params, record.definitions.search, now=record.now())
        found += [_decode(one.body) for one in (await record.search(asked.query, caller=access.SYSTEM)).rows]
    return found
