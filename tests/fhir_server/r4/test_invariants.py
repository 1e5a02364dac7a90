"""Every invariant that we check holds on a right example and is broken by a wrong one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.r4 import invariants, type_rules
from fhir_server.r4.validate import Validator
from tests.fhir_server.r4.samples import a_bundle, a_patient, an_observation

UCUM = "http://unitsofmeasure.org"
CODING = {"system": "http://loinc.org", "code": "1"}
TEXT = {"text": "x"}


def status(name: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{name}", "code": code}]}


ERROR = status("allergyintolerance-verification", "entered-in-error")
CONDITION_ERROR = status("condition-ver-status", "entered-in-error")
ENTRY: dict[str, Any] = {"resource": {"resourceType": "Patient"}}

# key -> structure, what breaks the rule, what keeps it
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "age-1": ("Age", {"value": 0, "code": "a"}, {"value": 3, "system": UCUM, "code": "a"}),
    "ait-1": ("AllergyIntolerance", {}, {"verificationStatus": ERROR}),
    "app-1": ("Appointment.participant", {"required": "required"}, {"actor": {"reference": "Patient/1"}}),
    "app-2": ("Appointment", {"start": "2026-01-31T08:05:00Z", "status": "proposed"}, {"status": "proposed"}),
    "app-3": ("Appointment", {"status": "booked"}, {"status": "waitlist"}),
    "app-4": ("Appointment", {"cancelationReason": TEXT, "status": "booked"}, {"status": "cancelled"}),
    "apr-1": ("AppointmentResponse", {}, {"participantType": [TEXT]}),
    "att-1": ("Attachment", {"data": "QUJD"}, {"data": "QUJD", "contentType": "text/plain"}),
    "bdl-1": ("Bundle", {"type": "batch", "total": 1}, {"type": "searchset", "total": 1}),
    "bdl-2": ("Bundle", {"type": "batch", "entry": [{"search": {}}]}, {"type": "searchset", "entry": [{"search": {}}]}),
    "bdl-3": ("Bundle", {"type": "batch", "entry": [ENTRY]}, {"type": "collection", "entry": [ENTRY]}),
    "bdl-4": ("Bundle", {"type": "batch-response", "entry": [ENTRY]}, {"type": "collection", "entry": [ENTRY]}),
    "bdl-5": ("Bundle.entry", {"fullUrl": "http://a.test"}, ENTRY),
    "bdl-7": (
        "Bundle",
        {"type": "batch", "entry": [{"fullUrl": "a"}] * 2},
        {"type": "history", "entry": [{"fullUrl": "a"}] * 2},
    ),
    "bdl-8": (
        "Bundle.entry",
        {"fullUrl": "http://a.test/Patient/1/_history/2", **ENTRY},
        {"fullUrl": "urn:oid:1", **ENTRY},
    ),
    "bdl-9": (
        "Bundle",
        {"type": "document", "identifier": {"value": "1"}},
        {"type": "document", "identifier": {"system": "a", "value": "1"}},
    ),
    "bdl-10": ("Bundle", {"type": "document"}, {"type": "document", "timestamp": "2026-01-31T08:05:00Z"}),
    "bdl-11": (
        "Bundle",
        {"type": "document", "entry": [ENTRY]},
        {"type": "document", "entry": [{"resource": {"resourceType": "Composition"}}]},
    ),
    "bdl-12": (
        "Bundle",
        {"type": "message"},
        {"type": "message", "entry": [{"resource": {"resourceType": "MessageHeader"}}]},
    ),
    "ces-1": ("CoverageEligibilityResponse.insurance.item", {}, {"category": TEXT}),
    "cmd-1": (
        "ConceptMap.group.element.target",
        {"equivalence": "narrower"},
        {"equivalence": "narrower", "comment": "x"},
    ),
    "cmd-2": ("ConceptMap.group.unmapped", {"mode": "fixed"}, {"mode": "fixed", "code": "x"}),
    "cmd-3": ("ConceptMap.group.unmapped", {"mode": "other-map"}, {"mode": "provided"}),
    "cmp-1": ("Composition.section", {"title": "x"}, {"section": [TEXT]}),
    "cmp-2": ("Composition.section", {"emptyReason": TEXT, "entry": []}, {"emptyReason": TEXT, "text": {}}),
    "cnt-3": ("Count", {"value": Decimal("1.5"), "code": "1"}, {"value": Decimal("2.0"), "code": "1", "system": UCUM}),
    "con-1": ("Condition.stage", {"type": TEXT}, {"summary": TEXT}),
    "con-2": ("Condition.evidence", {"id": "a"}, {"code": [TEXT]}),
    "con-4": (
        "Condition",
        {"abatementString": "x"},
        {"_abatementString": {}, "clinicalStatus": status("condition-clinical", "resolved")},
    ),
    "con-5": (
        "Condition",
        {"clinicalStatus": TEXT, "verificationStatus": CONDITION_ERROR},
        {"verificationStatus": CONDITION_ERROR},
    ),
    "cpb-1": ("CapabilityStatement", {"kind": "instance"}, {"rest": [{}]}),
    "cpb-2": ("CapabilityStatement", {"kind": "x"}, {"description": "x"}),
    "cpb-14": (
        "CapabilityStatement",
        {"kind": "capability", "implementation": {}},
        {"kind": "instance", "implementation": {}},
    ),
    "cpl-3": ("CarePlan.activity", {"detail": {}, "reference": {}}, {"detail": {}}),
    "cpt-2": ("ContactPoint", {"value": "1"}, {"value": "1", "system": "phone"}),
    "csd-1": (
        "CodeSystem",
        {"concept": [{"code": "a", "concept": [{"code": "a"}]}]},
        {"concept": [{"code": "a"}, {"code": "b"}]},
    ),
    "dis-1": ("Distance", {"value": 1}, {"value": 1, "code": "m"}),
    "drq-1": ("DataRequirement.codeFilter", {}, {"path": "x"}),
    "drq-2": ("DataRequirement.dateFilter", {"path": "x", "searchParam": "x"}, {"searchParam": "x"}),
    "drt-1": ("Duration", {"code": "h"}, {"value": 1, "system": UCUM, "code": "h"}),
    "exp-1": ("Expression", {"language": "text/cql"}, {"reference": "http://a.test"}),
    "ext-1": ("Extension", {"url": "a", "valueCode": "a", "extension": []}, {"url": "a", "_valueCode": {}}),
    "fhs-1": ("FamilyMemberHistory", {"ageString": "x", "bornDate": "2000"}, {"bornDate": "2000"}),
    "fhs-2": ("FamilyMemberHistory", {"estimatedAge": True}, {"estimatedAge": True, "ageString": "x"}),
    "gol-1": ("Goal.target", {"detailString": "x"}, {"detailString": "x", "measure": TEXT}),
    "grp-1": ("Group", {"actual": False, "member": []}, {"actual": True, "member": []}),
    "imm-1": ("Immunization.education", {}, {"reference": "http://a.test"}),
    "imr-1": ("ImmunizationRecommendation.recommendation", {}, {"targetDisease": TEXT}),
    "inv-1": ("Parameters.parameter", {"name": "x"}, {"name": "x", "valueString": "y"}),
    "ipn-1": ("InsurancePlan", {}, {"name": "x"}),
    "lnk-1": ("Linkage", {"item": [{}]}, {"item": [{}, {}]}),
    "lst-1": ("List", {"emptyReason": TEXT, "entry": []}, {"emptyReason": TEXT}),
    "lst-2": (
        "List",
        {"mode": "working", "entry": [{"deleted": True}]},
        {"mode": "changes", "entry": [{"deleted": True}]},
    ),
    "lst-3": (
        "List",
        {"mode": "changes", "entry": [{"date": "2026"}]},
        {"mode": "working", "entry": [{"date": "2026"}]},
    ),
    "mad-1": ("MedicationAdministration.dosage", {"text": "x"}, {"rateQuantity": {}}),
    "mdd-1": (
        "MedicationDispense",
        {"whenPrepared": "2026-02", "whenHandedOver": "2026-01"},
        {"whenPrepared": "2026-01", "whenHandedOver": "2026"},
    ),
    "mrp-1": ("MeasureReport", {"type": "data-collection", "group": []}, {"type": "summary", "group": []}),
    "mrp-2": ("MeasureReport.group.stratifier.stratum", {}, {"value": TEXT}),
    "msq-3": ("MolecularSequence", {"coordinateSystem": 2}, {"coordinateSystem": 0}),
    "msq-6": (
        "MolecularSequence.referenceSeq",
        {"chromosome": TEXT, "referenceSeqString": "A"},
        {"referenceSeqString": "A"},
    ),
    "nsd-1": (
        "NamingSystem",
        {"kind": "root", "uniqueId": [{"type": "uuid"}]},
        {"kind": "root", "uniqueId": [{"type": "oid"}]},
    ),
    "nsd-2": (
        "NamingSystem",
        {"uniqueId": [{"type": "oid", "preferred": True}] * 2},
        {"uniqueId": [{"type": "oid"}] * 2},
    ),
    "obs-3": ("Observation.referenceRange", {"appliesTo": [TEXT]}, {"low": {}}),
    "obs-6": ("Observation", {"dataAbsentReason": TEXT, "valueInteger": 1}, {"dataAbsentReason": TEXT}),
    "obs-7": (
        "Observation",
        {"code": {"coding": [CODING]}, "valueInteger": 1, "component": [{"code": {"coding": [CODING]}}]},
        {"code": {"coding": [CODING]}, "component": [{"code": {"coding": [CODING]}}]},
    ),
    "opd-1": ("OperationDefinition.parameter", {"name": "x"}, {"part": []}),
    "opd-2": (
        "OperationDefinition.parameter",
        {"type": "code", "searchType": "token"},
        {"type": "string", "searchType": "token"},
    ),
    "opd-3": (
        "OperationDefinition.parameter",
        {"type": "code", "targetProfile": []},
        {"type": "Reference", "targetProfile": []},
    ),
    "org-1": ("Organization", {"active": True}, {"_name": {}}),
    "org-2": ("Organization", {"name": "x", "address": [{"use": "home"}]}, {"name": "x", "address": [{"use": "work"}]}),
    "org-3": ("Organization", {"name": "x", "telecom": [{"use": "home"}]}, {"name": "x", "telecom": [{}]}),
    "pat-1": ("Patient.contact", {"gender": "male"}, {"organization": {}}),
    "per-1": ("Period", {"start": "2026-01-02", "end": "2026-01-01"}, {"start": "2026-01-01", "end": "2026"}),
    "ppc-1": ("Consent", {"status": "active"}, {"policyRule": TEXT}),
    "prr-1": ("ServiceRequest", {"orderDetail": []}, {"orderDetail": [], "code": TEXT}),
    "qrs-1": ("QuestionnaireResponse.item", {"answer": [], "item": []}, {"item": []}),
    "qty-3": ("Quantity", {"code": "kg"}, {"code": "kg", "system": UCUM}),
    "que-1": ("Questionnaire.item", {"type": "group"}, {"type": "group", "item": []}),
    "que-2": (
        "Questionnaire",
        {"item": [{"linkId": "1", "item": [{"linkId": "1"}]}]},
        {"item": [{"linkId": "1"}, {"linkId": "2"}]},
    ),
    "que-3": ("Questionnaire.item", {"type": "display", "code": []}, {"type": "string", "code": []}),
    "que-4": (
        "Questionnaire.item",
        {"answerOption": [], "answerValueSet": "x", "type": "choice"},
        {"answerOption": [], "type": "choice"},
    ),
    "que-5": ("Questionnaire.item", {"answerOption": [], "type": "boolean"}, {"answerOption": [], "type": "choice"}),
    "que-6": ("Questionnaire.item", {"required": True, "type": "display"}, {"required": True, "type": "string"}),
    "que-7": (
        "Questionnaire.item.enableWhen",
        {"operator": "exists", "answerString": "x"},
        {"operator": "exists", "answerBoolean": True},
    ),
    "que-8": ("Questionnaire.item", {"initial": [{}], "type": "display"}, {"initial": [{}], "type": "string"}),
    "que-9": ("Questionnaire.item", {"readOnly": True, "type": "display"}, {"readOnly": True, "type": "string"}),
    "que-10": ("Questionnaire.item", {"maxLength": 1, "type": "date"}, {"maxLength": 1, "type": "text"}),
    "que-11": (
        "Questionnaire.item",
        {"answerOption": [], "initial": [{}], "type": "choice"},
        {"initial": [{}], "type": "choice"},
    ),
    "que-12": ("Questionnaire.item", {"enableWhen": [{}] * 3}, {"enableWhen": [{}] * 3, "enableBehavior": "all"}),
    "que-13": ("Questionnaire.item", {"initial": [{}] * 2}, {"initial": [{}] * 2, "repeats": True}),
    "ras-2": ("RiskAssessment.prediction", {"probabilityDecimal": Decimal("100.1")}, {"probabilityDecimal": 100}),
    "rat-1": ("Ratio", {"numerator": {}}, {"numerator": {}, "denominator": {}}),
    "rng-2": (
        "Range",
        {"low": {"value": 2}, "high": {"value": 1}},
        {"low": {"value": 2, "unit": "g"}, "high": {"value": 1, "unit": "kg"}},
    ),
    "rqg-1": ("RequestGroup.action", {"resource": {}, "action": []}, {"resource": {}}),
    "sdf-2": ("StructureDefinition.mapping", {"identity": "x"}, {"uri": "http://a.test"}),
    "sdf-6": ("StructureDefinition", {"kind": "resource"}, {"differential": {}}),
    "sev-1": ("AuditEvent.entity", {"name": "x", "query": "QQ=="}, {"query": "QQ=="}),
    "spd-1": ("SearchParameter", {"xpath": "x"}, {"xpath": "x", "xpathUsage": "normal"}),
    "spd-2": ("SearchParameter", {"type": "token", "chain": ["a"]}, {"type": "reference", "chain": ["a"]}),
    "tim-1": ("Timing.repeat", {"duration": 1}, {"duration": 1, "durationUnit": "h"}),
    "tim-2": ("Timing.repeat", {"period": 1}, {"period": 1, "periodUnit": "h"}),
    "tim-4": ("Timing.repeat", {"duration": -1, "durationUnit": "h"}, {"duration": 0, "durationUnit": "h"}),
    "tim-5": ("Timing.repeat", {"period": -1, "periodUnit": "h"}, {"period": 1, "periodUnit": "h"}),
    "tim-6": ("Timing.repeat", {"periodMax": 1}, {"periodMax": 2, "period": 1, "periodUnit": "h"}),
    "tim-7": ("Timing.repeat", {"durationMax": 1}, {"durationMax": 2, "duration": 1, "durationUnit": "h"}),
    "tim-8": ("Timing.repeat", {"countMax": 1}, {"countMax": 2, "count": 1}),
    "tim-9": ("Timing.repeat", {"offset": 1, "when": ["C"]}, {"offset": 1, "when": ["AC"]}),
    "tim-10": ("Timing.repeat", {"timeOfDay": ["08:00:00"], "when": ["C"]}, {"timeOfDay": ["08:00:00"]}),
    "trd-1": ("TriggerDefinition", {"data": [], "timingDate": "2026"}, {"data": []}),
    "trd-2": ("TriggerDefinition", {"condition": {}}, {"condition": {}, "data": []}),
    "trd-3": ("TriggerDefinition", {"type": "periodic"}, {"type": "periodic", "timingDate": "2026"}),
    "vsd-1": ("ValueSet.compose.include", {"version": "1"}, {"valueSet": ["http://a.test"]}),
    "vsd-2": (
        "ValueSet.compose.include",
        {"concept": [], "valueSet": ["http://a.test"]},
        {"concept": [], "system": "a"},
    ),
    "vsd-3": ("ValueSet.compose.include", {"concept": [], "filter": [], "system": "a"}, {"filter": [], "system": "a"}),
    "vsd-6": ("ValueSet.expansion.contains", {"abstract": True}, {"display": "x", "abstract": True}),
    "vsd-9": ("ValueSet.expansion.contains", {"display": "x"}, {"display": "x", "abstract": True}),
    "vsd-10": ("ValueSet.expansion.contains", {"code": "x"}, {"code": "x", "system": "a"}),
}


def broken(structure: str, value: dict[str, Any]) -> set[str]:
    return {rule.key for rule in invariants.RULES[structure] if not rule.holds(value)}


@pytest.mark.parametrize("key", CASES)
def test_a_rule_tells_right_from_wrong(key: str) -> None:
    structure, wrong, right = CASES[key]
    assert key in broken(structure, wrong)
    assert key not in broken(structure, right)


def test_every_rule_has_its_case_and_a_text() -> None:
    rules = [rule for listed in invariants.RULES.values() for rule in listed]
    assert {rule.key for rule in rules} == CASES.keys()
    assert all(len(rule.text) > 15 for rule in rules)


def test_every_rule_is_on_a_structure_that_exists(validator: Validator, definitions: Any) -> None:
    assert invariants.RULES.keys() <= definitions.elements.keys()


@pytest.mark.parametrize(
    ("start", "end", "holds"),
    [
        ("2026", "2026-01-01", True),
        ("2026-01-02", "2026-01", True),
        ("2026-02", "2026-01-31", False),
        ("2026-01-31T23:30:00Z", "2026-02-01T00:00:00+01:00", False),
        ("2026-01-31T22:30:00Z", "2026-02-01T00:00:00+01:00", True),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", True),
        ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:58Z", False),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-13:00", True),
        ("2026-01-31T08:05:00Z", "2026-01-31", True),
    ],
)
def test_dates_are_compared_at_the_precision_that_both_have(start: str, end: str, holds: bool) -> None:
    assert type_rules.not_after(start, end) is holds


def test_the_issue_names_the_rule_and_what_to_do(validator: Validator) -> None:
    [issue] = validator.check(an_observation(dataAbsentReason=TEXT))
    assert (issue.code, issue.expression) == ("invariant", "Observation")
    assert issue.text == "obs-6 : « dataAbsentReason » n'est permis que sans « value[x] »"
    [issue] = validator.check(a_patient(contact=[{"gender": "male"}]))
    assert issue.text == "pat-1 : renseignez « name » ou « telecom » ou « address » ou « organization »"


def test_rules_wait_until_the_parts_are_sound(validator: Validator) -> None:
    """A rule reads its structure as if it were right, so it does not run on a broken one."""
    period = {"start": 12, "end": ["x"]}
    issues = validator.check(a_patient(name=[{"period": period}]))
    assert [issue.code for issue in issues] == ["structure", "structure"]
    bundle = a_bundle(entry="x")
    del bundle["type"]
    assert {issue.code for issue in validator.check(bundle)} == {"structure", "required"}
