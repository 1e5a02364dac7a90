"""With whom is a resource shared, beside its author and those it names? (MODEL-07, fhir-profiles "Sharing level")

`code` is a small number that the row keeps: its kind of data in the low four bits, its masks above them. A label in
`meta.security` says the level; without one, `kinds.csv` says what that kind of resource is for: what only a dossier
holds is shared with the circle, a document or a message is not until somebody says so.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from common import errors

Resource = Mapping[str, Any]

HUB = "https://spico-hub.example/fhir"
LEVEL = f"{HUB}/CodeSystem/partage"
TASK = f"{HUB}/CodeSystem/task"
CARE_TEAM = f"{HUB}/CodeSystem/care-team"
CONVERSATION = "conversation"
EMERGENCY = "emergency-access"  # the Task that declares one (CONS-08)
_OF_THE_CIRCLE = frozenset({EMERGENCY, "emergency-review"})
PRIVATE, STRUCTURE, SHARED, PUBLIC = "prive", "structure", "partage", "public"
LEVELS = (PRIVATE, STRUCTURE, SHARED, PUBLIC)

VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
LIAISON_NOTE = "https://mos.esante.gouv.fr/NOS/TRE_R234-TypeNote/FHIR/TRE-R234-TypeNote"
_NATIONAL_SHARING = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-"

# The kinds of data of the profession matrix (ACC-12), by number; 14 and 15 are not kinds.
KINDS = ("", "identite", "coordination", "liaison", "medical", "traitement", "biologie", "social", "formulaire")
OF_STRUCTURE, OF_EVERYONE = 14, 15
_KIND_BITS = 4
KIND = (1 << _KIND_BITS) - 1
# Who is meant by a mask; the first two are the professions' own (JDV_J110), then other members of a circle.
HEALTH, SOCIAL, THIRD, PATIENT = 1, 2, 4, 8
_MASKS = {"MASQUE_PS": HEALTH, "MASQUE_PSOCIAL": SOCIAL, "MASQUE_PT": THIRD, "INVISIBLE_PATIENT": PATIENT}

ALL_KINDS = sum(1 << n for n in range(1, len(KINDS))) | 1 << OF_EVERYONE


@dataclass(frozen=True, slots=True)
class Kept:
    """How resources of one type are shared: their `kind`, and the `level` of those without a label."""

    kind: str
    level: str


@cache
def types() -> Mapping[str, Kept]:
    """The types that a circle may share, from `kinds.csv`; those of other types reach only who is named."""
    text = resources.files("fhir_server.rights").joinpath("kinds.csv").read_text("utf-8")
    return {row["type"]: Kept(row["kind"], row["level"]) for row in csv.DictReader(text.splitlines())}


def level(resource: Resource) -> str:
    """`prive`, `structure`, `partage` or `public`. Several labels: the narrowest."""
    said = {one.get("code") for one in resource.get("meta", {}).get("security", ()) if one.get("system") == LEVEL}
    for one in LEVELS:
        if one in said:
            return one
    kept = types().get(resource["resourceType"])
    if kept is None:
        return PRIVATE
    if resource["resourceType"] == "DocumentReference":
        return SHARED if _is_note(resource) or _is_national(resource) else PRIVATE
    if resource["resourceType"] == "Task" and _is_between_people(resource):
        return PRIVATE
    if resource["resourceType"] == "CareTeam" and is_conversation(resource):
        return PRIVATE
    return kept.level


def is_conversation(team: Resource) -> bool:
    """Is the CareTeam the members of a conversation (MODEL-05), and not a circle of care?"""
    codings = (coding for one in team.get("category", ()) for coding in one.get("coding", ()))
    return any((one.get("system"), one.get("code")) == (CARE_TEAM, CONVERSATION) for one in codings)


def check(resource: Resource) -> None:
    """Raises Invalid for a label of ours that means nothing: it would be read as none."""
    for place, one in enumerate(resource.get("meta", {}).get("security", ())):
        if one.get("system") == LEVEL and one.get("code") not in LEVELS:
            at = f"{resource['resourceType']}.meta.security[{place}].code"
            raise errors.Invalid(f"niveau de partage attendu : {', '.join(LEVELS)}", at=at)


def kind(resource: Resource) -> str:
    """The kind of data, "" for what no circle shares."""
    kept = types().get(resource["resourceType"])
    if kept is None:
        return ""
    if resource["resourceType"] == "DocumentReference":
        return "liaison" if _is_note(resource) else _of_document(resource, kept.kind)
    if resource["resourceType"] == "Observation":
        return _of_observation(resource, kept.kind)
    return kept.kind


def masks(resource: Resource) -> int:
    """Who is not to see it although the level would let them (bits of HEALTH, SOCIAL, THIRD, PATIENT)."""
    found = 0
    for label in resource.get("securityLabel", ()) if resource["resourceType"] == "DocumentReference" else ():
        for coding in label.get("coding", ()):
            if coding.get("system") == VISIBILITY:
                found |= _MASKS.get(coding.get("code", ""), 0)
    return found


def code(resource: Resource) -> int:
    """The number that the row keeps; 0 when nobody sees it but its author and those it names."""
    return coded(level(resource), kind(resource), masks(resource))


def coded(level: str, kind: str, masks: int) -> int:
    """The same of its parts."""
    if not kind or level == PRIVATE:
        return 0
    low = {STRUCTURE: OF_STRUCTURE, PUBLIC: OF_EVERYONE}.get(level, 0) or KINDS.index(kind)
    return low | masks << _KIND_BITS


def reaches(code: int, kinds: int, corps: int) -> bool:
    """Does the sharing of a row reach a member of the circle who may see `kinds` and is of `corps`?

    The engines ask the same in SQL.
    """
    return bool(kinds >> (code & KIND) & 1 and not code >> _KIND_BITS & corps)


def _is_note(resource: Resource) -> bool:
    return any(one.get("system") == LIAISON_NOTE for one in resource.get("type", {}).get("coding", ()))


def _is_national(resource: Resource) -> bool:
    """Sent by the national guide for sharing documents (PDSm), whose purpose is to share them."""
    return any(str(one).startswith(_NATIONAL_SHARING) for one in resource.get("meta", {}).get("profile", ()))


def _is_between_people(task: Resource) -> bool:
    """An inbox entry, a delivery, a request: it concerns those it names."""
    coded = (one for one in task.get("code", {}).get("coding", ()) if one.get("system") == TASK)
    return any(one.get("code") not in _OF_THE_CIRCLE for one in coded)


def _of_document(resource: Resource, otherwise: str) -> str:
    for one in resource.get("category", ()):
        for coding in one.get("coding", ()):
            if coding.get("system") == f"{HUB}/CodeSystem/classe" and coding.get("code") in KINDS:
                return str(coding["code"])
    return otherwise


def _of_observation(resource: Resource, otherwise: str) -> str:
    codes = {coding.get("code") for one in resource.get("category", ()) for coding in one.get("coding", ())}
    if "laboratory" in codes:
        return "biologie"
    return "social" if "social-history" in codes else otherwise
