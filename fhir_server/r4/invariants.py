"""Which rules does the R4 specification add to the tables?

The invariants of severity `error` that concern one structure alone, each under its key in the specification, written
by hand because a general FHIRPath engine costs more than the whole rest of the check. Those of contained resources
and local references need the whole resource and are in `report.py`; txt-1 and txt-2 are in `narrative.py`. Left out:
invariants for authors of profiles, test scripts and implementation guides (eld-*, sdf-*, tst-*, ig-*), and ctm-1,
which has to load another resource.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.r4 import type_rules
from fhir_server.r4.rules import Rule, Test, Value, along, apart, coded, demand, distinct, has, never, one, only, some

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"


def _allergy_status(v: Value) -> bool:
    system = _TERMINOLOGY + "allergyintolerance-verification"
    return ("clinicalStatus" in v) != coded(v.get("verificationStatus"), system, "entered-in-error")


def _condition_abated(v: Value) -> bool:
    system = _TERMINOLOGY + "condition-clinical"
    return not has(v, "abatement[x]") or coded(v.get("clinicalStatus"), system, "resolved", "remission", "inactive")


def _condition_error(v: Value) -> bool:
    system = _TERMINOLOGY + "condition-ver-status"
    return "clinicalStatus" not in v or not coded(v.get("verificationStatus"), system, "entered-in-error")


def _component_codes(v: Value) -> bool:
    if "component" not in v or not has(v, "value[x]"):
        return True
    own = v["code"].get("coding", [])
    return not any(each in own for part in v["component"] for each in part["code"].get("coding", ()))


def _descendants(value: Value, name: str, field: str) -> Iterator[str]:
    for child in value.get(name, ()):
        if field in child:
            yield child[field]
        yield from _descendants(child, name, field)


def _full_urls_once(v: Value) -> bool:
    return v.get("type") == "history" or distinct(
        (entry["fullUrl"], entry.get("resource", {}).get("meta", {}).get("versionId", ""))
        for entry in v.get("entry", ())
        if "fullUrl" in entry
    )


def _in_entries(name: str, *types: str) -> Test:
    return lambda v: all((name in entry) == (v.get("type") in types) for entry in v.get("entry", ()))


def _first_is(type: str, resource: str) -> Test:
    def holds(v: Value) -> bool:
        first: Value = next(iter(v.get("entry", ())), {})
        return v.get("type") != type or first.get("resource", {}).get("resourceType") == resource

    return holds


def _document_identified(v: Value) -> bool:
    identifier = v.get("identifier", {})
    return v.get("type") != "document" or (has(identifier, "system") and has(identifier, "value"))


def _capability_kind(v: Value) -> bool:
    software, implementation, kind = "software" in v, "implementation" in v, v.get("kind")
    if kind == "instance":
        return implementation
    if kind == "capability":
        return software and not implementation
    return kind != "requirements" or not (software or implementation)


def _one_genome(v: Value) -> bool:
    names = ("genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString")
    return has(v, "chromosome") == has(v, "genomeBuild") and sum(has(v, name) for name in names) == 1


_ANSWERED = "choice open-choice decimal integer date dateTime time string quantity".split()
_MEASURED = "boolean decimal integer string text url open-choice".split()
_NOT_AT_HOME = "une structure n'a pas de domicile : changez « use »"
_KIND = (
    "« kind » ne va pas avec « software » ou « implementation » : instance demande implementation, capability demande "
)
_KIND += "software sans implementation, requirements aucun des deux"

RULES: dict[str, tuple[Rule, ...]] = {
    "AllergyIntolerance": (
        Rule("ait-1", _allergy_status, "« clinicalStatus » est obligatoire, sauf saisie par erreur (alors interdit)"),
    ),
    "Appointment": (
        Rule("app-2", lambda v: has(v, "start") == has(v, "end"), "renseignez « start » et « end » ensemble"),
        Rule(
            "app-3",
            lambda v: has(v, "start") or v.get("status") in ("proposed", "cancelled", "waitlist"),
            "« start » et « end » ne manquent que si « status » vaut proposed, cancelled ou waitlist",
        ),
        only("app-4", "cancelationReason", "status", "no-show", "cancelled"),
    ),
    "Appointment.participant": (some("app-1", "type", "actor"),),
    "AppointmentResponse": (some("apr-1", "participantType", "actor"),),
    "AuditEvent.entity": (apart("sev-1", "name", "query"),),
    "Bundle": (
        only("bdl-1", "total", "type", "searchset", "history"),
        Rule(
            "bdl-2",
            lambda v: v.get("type") == "searchset" or not any("search" in entry for entry in v.get("entry", ())),
            "« entry.search » n'est permis que dans un searchset",
        ),
        Rule(
            "bdl-3",
            _in_entries("request", "batch", "transaction", "history"),
            "« entry.request » est obligatoire dans batch, transaction et history, interdit ailleurs",
        ),
        Rule(
            "bdl-4",
            _in_entries("response", "batch-response", "transaction-response", "history"),
            "« entry.response » est obligatoire dans une réponse et dans history, interdit ailleurs",
        ),
        Rule("bdl-7", _full_urls_once, "« entry.fullUrl » doit être unique pour une même version"),
        Rule("bdl-9", _document_identified, "un document demande « identifier.system » et « identifier.value »"),
        demand("bdl-10", "timestamp", "type", "document"),
        Rule("bdl-11", _first_is("document", "Composition"), "un document commence par une Composition"),
        Rule("bdl-12", _first_is("message", "MessageHeader"), "un message commence par un MessageHeader"),
    ),
    "Bundle.entry": (
        some("bdl-5", "resource", "request", "response"),
        Rule(
            "bdl-8",
            lambda v: "/_history/" not in v.get("fullUrl", ""),
            "« fullUrl » ne désigne pas une version : retirez /_history/…",
        ),
    ),
    "CapabilityStatement": (
        some("cpb-1", "rest", "messaging", "document"),
        some("cpb-2", "description", "software", "implementation"),
        Rule("cpb-14", _capability_kind, _KIND),
    ),
    "CarePlan.activity": (apart("cpl-3", "detail", "reference"),),
    "CodeSystem": (
        Rule("csd-1", lambda v: distinct(_descendants(v, "concept", "code")), "chaque code doit être unique"),
    ),
    "Composition.section": (some("cmp-1", "text", "entry", "section"), apart("cmp-2", "emptyReason", "entry")),
    "ConceptMap.group.element.target": (demand("cmd-1", "comment", "equivalence", "narrower", "inexact"),),
    "ConceptMap.group.unmapped": (
        demand("cmd-2", "code", "mode", "fixed"),
        demand("cmd-3", "url", "mode", "other-map"),
    ),
    "Condition": (
        Rule("con-4", _condition_abated, "« abatement[x] » demande « clinicalStatus » inactive, resolved ou remission"),
        Rule("con-5", _condition_error, "« clinicalStatus » est interdit pour une saisie par erreur"),
    ),
    "Condition.evidence": (some("con-2", "code", "detail"),),
    "Condition.stage": (some("con-1", "summary", "assessment"),),
    "Consent": (some("ppc-1", "policy", "policyRule"),),
    "CoverageEligibilityResponse.insurance.item": (one("ces-1", "category", "productOrService"),),
    "FamilyMemberHistory": (apart("fhs-1", "age[x]", "born[x]"), along("fhs-2", "estimatedAge", "age[x]")),
    "Goal.target": (along("gol-1", "detail[x]", "measure"),),
    "Group": (
        Rule("grp-1", lambda v: "member" not in v or v.get("actual") is True, "« member » demande « actual » à true"),
    ),
    "Immunization.education": (some("imm-1", "documentType", "reference"),),
    "ImmunizationRecommendation.recommendation": (some("imr-1", "vaccineCode", "targetDisease"),),
    "InsurancePlan": (some("ipn-1", "identifier", "name"),),
    "Linkage": (Rule("lnk-1", lambda v: len(v["item"]) > 1, "renseignez au moins deux « item »"),),
    "List": (
        apart("lst-1", "emptyReason", "entry"),
        Rule(
            "lst-2",
            lambda v: v.get("mode") == "changes" or not any(has(each, "deleted") for each in v.get("entry", ())),
            "« entry.deleted » n'est permis que si « mode » vaut changes",
        ),
        Rule(
            "lst-3",
            lambda v: v.get("mode") == "working" or not any(has(each, "date") for each in v.get("entry", ())),
            "« entry.date » n'est permis que si « mode » vaut working",
        ),
    ),
    "MeasureReport": (never("mrp-1", "group", "type", "data-collection"),),
    "MeasureReport.group.stratifier.stratum": (one("mrp-2", "value", "component"),),
    "MedicationAdministration.dosage": (some("mad-1", "dose", "rate[x]"),),
    "MedicationDispense": (
        Rule(
            "mdd-1",
            type_rules.ordered("whenPrepared", "whenHandedOver"),
            "la remise ne peut pas précéder la préparation",
        ),
    ),
    "MolecularSequence": (
        Rule("msq-3", lambda v: v.get("coordinateSystem") in (0, 1, None), "« coordinateSystem » vaut 0 ou 1"),
    ),
    "MolecularSequence.referenceSeq": (
        Rule("msq-6", _one_genome, "donnez une seule séquence de référence ; « chromosome » va avec « genomeBuild »"),
    ),
    "NamingSystem": (
        Rule(
            "nsd-1",
            lambda v: v.get("kind") != "root" or all(each.get("type") != "uuid" for each in v["uniqueId"]),
            "une racine n'a pas d'identifiant uuid",
        ),
        Rule(
            "nsd-2",
            lambda v: distinct(each.get("type") for each in v["uniqueId"] if each.get("preferred")),
            "un seul identifiant préféré par type",
        ),
    ),
    "Observation": (
        Rule(
            "obs-6",
            lambda v: "dataAbsentReason" not in v or not has(v, "value[x]"),
            "« dataAbsentReason » n'est permis que sans « value[x] »",
        ),
        Rule("obs-7", _component_codes, "le composant de même code répète la valeur : gardez-en une"),
    ),
    "Observation.referenceRange": (some("obs-3", "low", "high", "text"),),
    "OperationDefinition.parameter": (
        some("opd-1", "type", "part"),
        only("opd-2", "searchType", "type", "string"),
        only("opd-3", "targetProfile", "type", "Reference", "canonical"),
    ),
    "Organization": (
        some("org-1", "identifier", "name"),
        Rule("org-2", lambda v: all(each.get("use") != "home" for each in v.get("address", ())), _NOT_AT_HOME),
        Rule("org-3", lambda v: all(each.get("use") != "home" for each in v.get("telecom", ())), _NOT_AT_HOME),
    ),
    "Parameters.parameter": (one("inv-1", "value[x]", "resource", "part"),),
    "Patient.contact": (some("pat-1", "name", "telecom", "address", "organization"),),
    "Questionnaire": (
        Rule("que-2", lambda v: distinct(_descendants(v, "item", "linkId")), "chaque « linkId » doit être unique"),
    ),
    "Questionnaire.item": (
        demand("que-1", "item", "type", "group"),
        never("que-1", "item", "type", "display"),
        never("que-3", "code", "type", "display"),
        apart("que-4", "answerOption", "answerValueSet"),
        only("que-5", "answerOption", "type", *_ANSWERED),
        only("que-5", "answerValueSet", "type", *_ANSWERED),
        never("que-6", "required", "type", "display"),
        never("que-6", "repeats", "type", "display"),
        never("que-8", "initial", "type", "group", "display"),
        never("que-9", "readOnly", "type", "display"),
        only("que-10", "maxLength", "type", *_MEASURED),
        apart("que-11", "answerOption", "initial"),
        Rule(
            "que-12",  # its text says "more than one", its expression "more than two": the expression is the rule
            lambda v: len(v.get("enableWhen", ())) <= 2 or has(v, "enableBehavior"),
            "plusieurs « enableWhen » demandent « enableBehavior »",
        ),
        Rule(
            "que-13",
            lambda v: v.get("repeats") is True or len(v.get("initial", ())) <= 1,
            "plusieurs « initial » demandent « repeats » à true",
        ),
    ),
    "Questionnaire.item.enableWhen": (demand("que-7", "answerBoolean", "operator", "exists"),),
    "QuestionnaireResponse.item": (apart("qrs-1", "answer", "item"),),
    "RequestGroup.action": (one("rqg-1", "resource", "action"),),
    "RiskAssessment.prediction": (
        Rule("ras-2", lambda v: v.get("probabilityDecimal", 0) <= 100, "une probabilité ne dépasse pas 100"),
    ),
    "SearchParameter": (along("spd-1", "xpath", "xpathUsage"), only("spd-2", "chain", "type", "reference")),
    "ServiceRequest": (along("prr-1", "orderDetail", "code"),),
    "StructureDefinition": (some("sdf-6", "snapshot", "differential"),),
    "StructureDefinition.mapping": (some("sdf-2", "name", "uri"),),
    "ValueSet.compose.include": (
        some("vsd-1", "valueSet", "system"),
        along("vsd-2", "concept", "system"),
        along("vsd-2", "filter", "system"),
        apart("vsd-3", "concept", "filter"),
    ),
    "ValueSet.expansion.contains": (
        some("vsd-6", "code", "display"),
        Rule(
            "vsd-9",
            lambda v: has(v, "code") or v.get("abstract") is True,
            "sans « code », il faut « abstract » à true",
        ),
        along("vsd-10", "code", "system"),
    ),
    **type_rules.RULES,
}
