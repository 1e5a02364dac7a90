"""Which rules does the R4 specification add to the data types?

As `invariants.py`, for the structures that stand inside many resources: https://hl7.org/fhir/R4/datatypes.html.
"""

from __future__ import annotations

from datetime import datetime

from fhir_server.r4.rules import Rule, Test, Value, along, apart, demand, has, one, some

UCUM = "http://unitsofmeasure.org"


def not_after(start: str, end: str) -> bool:
    """Whether a date or dateTime is not certainly after another, at the precision that both have."""
    if len(start) > 10 and len(end) > 10:
        return _moment(start) <= _moment(end)
    shared = min(len(start), len(end), 10)
    return start[:shared] <= end[:shared]


def _moment(text: str) -> datetime:
    # A leap second is the end of its minute; Python knows no second 60.
    return datetime.fromisoformat(text[:17] + "59" + text[19:] if text[17:19] == "60" else text)


def ordered(first: str, second: str) -> Test:
    """Whether the first date does not follow the second, when both are there."""
    return lambda v: first not in v or second not in v or not_after(v[first], v[second])


def _ucum_quantity(v: Value) -> bool:
    return ("value" not in v or has(v, "code")) and v.get("system", UCUM) == UCUM


def _age(v: Value) -> bool:
    return _ucum_quantity(v) and ("value" not in v or v["value"] > 0)


def _count(v: Value) -> bool:
    return _ucum_quantity(v) and v.get("code", "1") == "1" and ("value" not in v or v["value"] == int(v["value"]))


def _duration(v: Value) -> bool:
    return not has(v, "code") or (v.get("system") == UCUM and has(v, "value"))


def _range(v: Value) -> bool:
    low, high = v.get("low", {}), v.get("high", {})
    if "value" not in low or "value" not in high:
        return True
    other_unit = low.get("code", low.get("unit")) != high.get("code", high.get("unit"))
    return other_unit or bool(low["value"] <= high["value"])


def _ratio(v: Value) -> bool:
    return ("numerator" in v) == ("denominator" in v) and ("numerator" in v or "extension" in v)


def _positive(name: str) -> Test:
    return lambda v: name not in v or v[name] >= 0


def _offset(v: Value) -> bool:
    return not has(v, "offset") or ("when" in v and not {"C", "CM", "CD", "CV"} & set(v["when"]))


_QUANTITY = along("qty-3", "code", "system")

RULES: dict[str, tuple[Rule, ...]] = {
    "Age": (_QUANTITY, Rule("age-1", _age, "un âge est positif et porte un code d'unité UCUM")),
    "Attachment": (along("att-1", "data", "contentType"),),
    "ContactPoint": (along("cpt-2", "value", "system"),),
    "Count": (_QUANTITY, Rule("cnt-3", _count, "un dénombrement est entier, avec le code UCUM « 1 »")),
    "DataRequirement.codeFilter": (one("drq-1", "path", "searchParam"),),
    "DataRequirement.dateFilter": (one("drq-2", "path", "searchParam"),),
    "Distance": (_QUANTITY, Rule("dis-1", _ucum_quantity, "une distance porte un code d'unité UCUM")),
    "Duration": (_QUANTITY, Rule("drt-1", _duration, "le code d'une durée demande une valeur et le système UCUM")),
    "Expression": (some("exp-1", "expression", "reference"),),
    "Extension": (one("ext-1", "value[x]", "extension"),),
    "MoneyQuantity": (_QUANTITY,),
    "Period": (Rule("per-1", ordered("start", "end"), "« start » ne peut pas suivre « end »"),),
    "Quantity": (_QUANTITY,),
    "Range": (Rule("rng-2", _range, "« low » ne peut pas dépasser « high »"),),
    "Ratio": (Rule("rat-1", _ratio, "renseignez « numerator » et « denominator » ensemble"),),
    "SimpleQuantity": (_QUANTITY,),
    "Timing.repeat": (
        along("tim-1", "duration", "durationUnit"),
        along("tim-2", "period", "periodUnit"),
        Rule("tim-4", _positive("duration"), "« duration » ne peut pas être négatif"),
        Rule("tim-5", _positive("period"), "« period » ne peut pas être négatif"),
        along("tim-6", "periodMax", "period"),
        along("tim-7", "durationMax", "duration"),
        along("tim-8", "countMax", "count"),
        Rule("tim-9", _offset, "« offset » demande « when », autre que C, CM, CD ou CV"),
        apart("tim-10", "timeOfDay", "when"),
    ),
    "TriggerDefinition": (
        apart("trd-1", "data", "timing[x]"),
        along("trd-2", "condition", "data"),
        demand("trd-3", "name", "type", "named-event"),
        demand("trd-3", "timing[x]", "type", "periodic"),
        demand("trd-3", "data", "type", "data-changed", "data-added", "data-modified", "data-removed", "data-accessed"),
    ),
}
