"""What do a circle of care, a consent and an emergency say of how people stand towards a patient?

Each resource gives its own `Standing` rows, from itself alone: they are an index like any other, written with the
version that says so and gone with it. A patient's circle is a CareTeam (DOS-03), a decision of the patient a Consent
(fhir-profiles "hub-consent": CONS-01 to CONS-03), an emergency a Task (CONS-08).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir_server import access, dates, keys
from fhir_server.rights import sharing, standing
from fhir_server.rights.standing import ANYONE, Standing

Resource = Mapping[str, Any]

TYPES = frozenset({"CareTeam", "Consent", "Task"})

CONSENT = f"{sharing.HUB}/CodeSystem/consent"
DOSSIER, MESSAGING, OUTSIDE = "dossier", "messagerie", "partage-hors-equipe"
OPPOSITION, EXCLUSION = "opposition", "exclusion-professionnel"

_ENDED = frozenset({"inactive", "rejected"})  # withdrawn, refused; entered-in-error never was


def of(resource: Resource, base: str = "") -> tuple[Standing, ...]:
    """The rows of one resource version; none of a type that says nothing. `base`: our own FHIR address."""
    match resource["resourceType"]:
        case "CareTeam":
            return tuple(_circle(resource, base))
        case "Consent":
            return tuple(_consent(resource, base))
        case "Task":
            return tuple(_emergency(resource, base))
    return ()


def is_circle(team: Resource) -> bool:
    """Is it a patient's circle of care?"""
    return "subject" in team and not sharing.is_conversation(team)


def present(teams: Iterable[Resource], now: int) -> list[str]:
    """The professionals (PractitionerRole references, each once) who are in one of these circles at `now`.

    The members of conversations are no circle.
    """
    found = []
    for team in teams:
        first, last = _span(team.get("period"))
        for one in team.get("participant", ()) if is_circle(team) and team.get("status") == "active" else ():
            lo, hi = _span(one.get("period"))
            if max(lo, first) <= now <= min(hi, last):
                found.append(str(one.get("member", {}).get("reference", "")))
    return [one for one in dict.fromkeys(found) if one.startswith("PractitionerRole/")]


def has_code(concepts: Any, system: str, code: str) -> bool:
    """Has one of the CodeableConcepts this coding?"""
    return any(
        (coding.get("system"), coding.get("code")) == (system, code)
        for one in concepts
        for coding in one.get("coding", ())
    )


def categories(consent: Resource) -> frozenset[str]:
    """What a Consent is about, of our own codes."""
    codings = (coding for one in consent.get("category", ()) for coding in one.get("coding", ()))
    return frozenset(str(one.get("code")) for one in codings if one.get("system") == CONSENT)


def actors(consent: Resource) -> list[str]:
    """Whom the decision names: `Type/id`."""
    found = (one.get("reference", {}).get("reference") for one in consent.get("provision", {}).get("actor", ()))
    return [one for one in found if one]


def _circle(team: Resource, base: str) -> Iterator[Standing]:
    patient = _patient(team.get("subject"), base)
    if patient is None or team.get("status") != "active" or not is_circle(team):
        return
    first, last = _span(team.get("period"))
    for one in team.get("participant", ()):
        member = _local(one.get("member"), base)
        lo, hi = _span(one.get("period"))
        if member and max(lo, first) <= min(hi, last):
            yield Standing(patient, access.key(member), standing.CIRCLE, max(lo, first), min(hi, last))


def _consent(consent: Resource, base: str) -> Iterator[Standing]:
    patient = _patient(consent.get("patient"), base)
    if patient is None:
        return
    about, provision = categories(consent), consent.get("provision", {})
    status, is_deny = consent.get("status"), provision.get("type") == "deny"
    if DOSSIER in about and not is_deny:
        if status == "active":
            lo, hi = _span(provision.get("period") or {"start": consent.get("dateTime")})
            yield Standing(patient, ANYONE, standing.OPEN, lo, hi)
        elif status in _ENDED:
            yield Standing(patient, ANYONE, standing.WITHDRAWN)
    if status != "active" or not is_deny:
        return
    lo, hi = _span(provision.get("period"))
    whom = [_local(one.get("reference"), base) for one in provision.get("actor", ())]
    for one in whom:
        if one:
            yield Standing(patient, access.key(one), standing.EXCLUDED, lo, hi)
    if not whom:
        only_outside = bool(about & {MESSAGING, OUTSIDE}) and not about & {DOSSIER, OPPOSITION}
        yield Standing(patient, ANYONE, standing.KEPT_IN if only_outside else standing.OPPOSED, lo, hi)


def _emergency(task: Resource, base: str) -> Iterator[Standing]:
    """Its time is the review's to shorten (status), never the person's to prolong: both ends must be said."""
    if not has_code([task.get("code", {})], sharing.TASK, sharing.EMERGENCY) or task.get("status") != "in-progress":
        return
    patient, owner = _patient(task.get("for"), base), _local(task.get("owner"), base)
    period = task.get("restriction", {}).get("period", {})
    if patient is not None and owner and "start" in period and "end" in period:
        lo, hi = _span(period)
        yield Standing(patient, access.key(owner), standing.EMERGENCY, lo, hi)


def _span(period: Any) -> tuple[int, int]:
    period = period or {}
    return dates.period(period.get("start"), period.get("end"))


def _local(reference: Any, base: str) -> str:
    text = str((reference or {}).get("reference", ""))
    return text.removeprefix(f"{base}/") if base else text


def _patient(reference: Any, base: str) -> int | None:
    text = _local(reference, base)
    return keys.key(text) if text.startswith("Patient/") else None
