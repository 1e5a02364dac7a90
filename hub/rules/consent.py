"""Who may record a decision of the patient, and is it one that can be read later? (CONS-01 to CONS-03)

Any professional of the circle records it at the patient's request; the first one, who opens the dossier, has to know
the patient. It says who decided, when, and how that was known: a form, or who heard it. A decision is ended by its
status, never deleted; a new one opens what an earlier one closed.
"""

from __future__ import annotations

from common import errors
from fhir_server import access, changes, store
from fhir_server.rights import facts, sharing, standing
from hub.rules import circle, draft
from mapping import systems

Resource = draft.Resource
Written = changes.Create | changes.Update
CATEGORIES = (facts.DOSSIER, facts.MESSAGING, facts.OUTSIDE, facts.OPPOSITION, facts.EXCLUSION)
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
_COORDINATION = sharing.KINDS.index("coordination")


def rule() -> store.Rule:
    """The rule for Consents that people write."""

    async def run(wanted: list[changes.Change], caller: access.Caller, view: store.View) -> list[changes.Change]:
        room = draft.Draft(wanted, caller, view)
        for change in wanted:
            if isinstance(change, changes.Delete) and change.type == "Consent":
                raise errors.Forbidden("un consentement prend fin par son statut, il ne s'efface pas", at="Consent")
            if isinstance(change, Written) and change.type == "Consent":
                await _recorded(change, room)
        return wanted

    return store.Rule(frozenset({"Consent"}), run, of_people=True)


async def _recorded(change: Written, room: draft.Draft) -> None:
    consent = change.body
    _check(consent)
    patient = consent["patient"]["reference"]
    if not room.caller.writes >> _COORDINATION & 1:
        raise errors.Forbidden("votre profession n'écrit pas ce type de données (coordination)", at="Consent")
    bits = await room.bits(patient, room.caller.circles)
    if bits & standing.EXCLUDED or not (bits & standing.CIRCLE or await room.sees(patient)):
        raise errors.Invalid(f"{patient} : inconnu, ou vous n'y avez pas accès", at="Consent.patient.reference")
    if not bits & standing.CIRCLE and await circle.of_patient(patient, room):
        raise errors.Forbidden("réservé au cercle de soins du patient", at="Consent.patient")
    if isinstance(change, changes.Update):
        for _, before in (await room.stored([f"Consent/{change.id}"])).values():
            _ended(before, consent)
    for place, actor in enumerate(facts.actors(consent)):
        await room.find(actor, at=f"Consent.provision.actor[{place}].reference")


def _check(consent: Resource) -> None:
    """`hub-consent`, as far as R4 does not say it already."""
    provision = consent.get("provision", {})
    about = facts.categories(consent)
    problems = []
    if not facts.has_code([consent.get("scope", {})], SCOPE, "patient-privacy"):
        problems.append(("portée attendue : patient-privacy", "Consent.scope"))
    if not about & {*CATEGORIES}:
        problems.append((f"catégorie attendue : {', '.join(CATEGORIES)} ({facts.CONSENT})", "Consent.category"))
    if not str(consent.get("patient", {}).get("reference", "")).startswith("Patient/"):
        problems.append(("le consentement est celui d'un Patient", "Consent.patient"))
    if not consent.get("dateTime"):
        problems.append(("date de la décision : obligatoire", "Consent.dateTime"))
    if not consent.get("performer"):
        problems.append(("qui a décidé (le patient ou son représentant) : obligatoire", "Consent.performer"))
    if provision.get("type") not in ("permit", "deny"):
        problems.append(("la décision est permit ou deny", "Consent.provision.type"))
    if "provision" in provision:
        problems.append(("une décision par ressource : pas de décision imbriquée", "Consent.provision.provision"))
    named = provision.get("actor", ())
    if len(facts.actors(consent)) < len(named):
        problems.append(("citez chaque personne ou structure par sa référence", "Consent.provision.actor"))
    if facts.EXCLUSION in about and not named:
        problems.append(("qui le patient ne veut pas : obligatoire", "Consent.provision.actor"))
    if facts.DOSSIER in about and not _is_proven(consent):
        text = "comment le consentement a été recueilli : un écrit (source) ou qui l'a entendu (verification)"
        problems.append((text, "Consent.verification"))
    if problems:
        issues = tuple(errors.Issue(text, at, "business-rule") for text, at in problems)
        raise errors.Invalid(problems[0][0], at=problems[0][1], issues=issues)


def _is_proven(consent: Resource) -> bool:
    written = "sourceReference" in consent or "sourceAttachment" in consent
    oral = any(one.get("verified") and one.get("verificationDate") for one in consent.get("verification", ()))
    return written or oral


def _ended(before: Resource, after: Resource) -> None:
    """What was decided stays as it was said; its status and its end may change."""
    for name in ("scope", "category", "patient", "dateTime", "performer"):
        if before.get(name) != after.get(name):
            text = f"{name} : ne change pas ; enregistrez une nouvelle décision"
            raise errors.Forbidden(text, at=f"Consent.{name}")
    kept = {name: value for name, value in before.get("provision", {}).items() if name != "period"}
    if kept != {name: value for name, value in after.get("provision", {}).items() if name != "period"}:
        text = "provision : ne change pas, sauf sa période ; enregistrez une nouvelle décision"
        raise errors.Forbidden(text, at="Consent.provision")


def recorded(patient: str, *, category: str, by: str, at: str, actors: tuple[str, ...] = ()) -> Resource:
    """A decision that was heard: `patient` and `by` (who recorded it) are references, `at` a dateTime.

    A permission, or with `actors` or as an opposition a refusal.
    """
    deny = bool(actors) or category in (facts.OPPOSITION, facts.EXCLUSION)
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    provision: Resource = {"type": "deny" if deny else "permit"}
    if actors:
        provision["actor"] = [{"role": role, "reference": {"reference": one}} for one in actors]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [
            {"coding": [{"system": systems.LOINC, "code": "59284-0"}]},
            {"coding": [{"system": facts.CONSENT, "code": category}]},
        ],
        "patient": {"reference": patient},
        "dateTime": at,
        "performer": [{"reference": patient}],
        "policyRule": {"coding": [{"system": systems.ACT_CODE, "code": "OPTOUT" if deny else "OPTIN"}]},
        "verification": [{"verified": True, "verifiedWith": {"reference": patient}, "verificationDate": at}],
        "extension": [{"url": f"{systems.HUB}/StructureDefinition/recorded-by", "valueReference": {"reference": by}}],
        "provision": provision,
    }
