"""Which resources does a FHIR search find, and in which order? The plainest reading of R4, for comparing servers with.

All resources are looked at, one after the other: no index, no SQL, no hashes. https://hl7.org/fhir/R4/search.html.
Values come from the expressions of the R4 package (`values.py`), are compared by `texts.py` and `ranges.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cmp_to_key
from typing import Any

from fhir_server.r4 import load
from tests.fhir_server.naive import filters, ranges, texts, values
from tests.fhir_server.naive.values import Parameter, Resource, Value

Params = Sequence[tuple[str, str]]

# Parameters that are no criteria.
OF_THE_ANSWER = frozenset(("_sort", "_count", "_total", "_include", "_revinclude", "_type"))


class Naive:
    """Some resources, in the order of their creation, that can be searched."""

    def __init__(self, resources: Sequence[Resource], definitions: load.Definitions, *, base: str) -> None:
        self.resources = resources
        self._by_name = {f"{one['resourceType']}/{one['id']}": one for one in resources}
        self._reader = values.Reader(definitions)
        self._types = frozenset(definitions.types)
        self._base = base

    def search(self, path: str, params: Params, now: datetime) -> list[str]:
        """The ids that match all parameters, sorted; those that are equal by creation, last first when descending.

        `path` is a type, empty with `_type` among the parameters, or a compartment (`Patient/1/Observation`).
        """
        criteria = [pair for pair in params if pair[0].partition(":")[0] not in OF_THE_ANSWER]
        found = [one for one in self._of_path(path, params) if all(self.meets(one, *pair, now) for pair in criteria)]
        keys = dict(params).get("_sort", "").split(",")
        if keys == [""]:
            return [one["id"] for one in found]
        if keys[0].startswith("-"):
            found.reverse()
        for key in reversed(keys):
            found = self._sorted(found, key.removeprefix("-"), descending=key.startswith("-"))
        return [one["id"] for one in found]

    def meets(self, resource: Resource, name: str, wanted: str, now: datetime) -> bool:
        """One parameter, chains, `_has` and `_filter` included."""
        if name == "_filter":
            return filters.test(self, wanted, now)(resource)
        if name.startswith("_has:"):
            return self._is_pointed_at(resource, name, wanted, now)
        first, dot, rest = name.partition(".")
        if dot:
            return any(
                self.meets(one, rest, wanted, now)
                for one in self.pointed_at(resource, first)
                if self._knows(one["resourceType"], rest)
            )
        code, _, modifier = name.partition(":")
        return self._simple(resource, code, modifier, wanted, now)

    # ---- one parameter of the resource itself ------------------------------------------------------------------------

    def _simple(self, resource: Resource, code: str, modifier: str, wanted: str, now: datetime) -> bool:
        alternatives = texts.split(wanted, ",")
        if code == "_id":
            return resource["id"] in map(texts.plain, alternatives)
        found = values.parameter(resource["resourceType"], code)
        assert found, code
        if modifier == "missing":
            return self.is_there(resource, found) == (wanted == "false")
        if modifier == "not":
            return not any(self._any(resource, found, "", one, now) for one in alternatives)
        return any(self._any(resource, found, modifier, one, now) for one in alternatives)

    def _any(self, resource: Resource, found: Parameter, modifier: str, wanted: str, now: datetime) -> bool:
        if found.kind == "composite":
            return self._composite(resource, found, wanted, now)
        mine = self.values(resource, found)
        return any(self._one(resource, found, one, modifier, wanted, now) for one in mine)

    def _composite(self, resource: Resource, found: Parameter, wanted: str, now: datetime) -> bool:
        """All parts from the same element."""
        pieces = texts.split(wanted, "$")
        parts = [values.component(definition) for definition, _ in found.components]
        return any(
            all(
                any(self._one(resource, part, one, "", piece, now) for one in mine)
                for part, piece, mine in zip(parts, pieces, element, strict=True)
            )
            for element in self._reader.composite(resource, found)
        )

    def _one(
        self, resource: Resource, found: Parameter, value: Value, modifier: str, wanted: str, now: datetime
    ) -> bool:
        if value.json is None or value.type not in READ[found.kind]:
            return False
        match found.kind:
            case "token" | "reference" if modifier == "text":
                return texts.text(value, wanted)
            case "token":
                same = texts.of_type if modifier == "of-type" else None
                return same(value, wanted) if same else texts.token(resource["resourceType"], value, wanted)
            case "string":
                return texts.string(value, modifier, wanted)
            case "date":
                return ranges.date(value, wanted, now)
            case "number":
                return ranges.number(value, wanted)
            case "quantity":
                return ranges.quantity(value, wanted)
            case "uri":
                return texts.uri(value, modifier, wanted)
            case "reference" if modifier == "identifier":
                own = value.json.get("identifier") if value.type == "Reference" else None
                return own is not None and texts.token("", Value("Identifier", own, ""), wanted)
            case "reference":
                return texts.reference(value, modifier, wanted, base=self._base, targets=found.targets)
        raise AssertionError(found.kind)

    def values(self, resource: Resource, found: Parameter) -> list[Value]:
        """What a parameter points to in a resource."""
        return self._reader.values(resource, found.expression)

    def is_there(self, resource: Resource, found: Parameter) -> bool:
        """`:missing=false`."""
        if found.kind == "composite":
            parts = [values.component(definition) for definition, _ in found.components]
            return any(
                all(_exist(part, mine) for part, mine in zip(parts, element, strict=True))
                for element in self._reader.composite(resource, found)
            )
        return _exist(found, self.values(resource, found))

    # ---- through references ------------------------------------------------------------------------------------------

    def _of_path(self, path: str, params: Params) -> list[Resource]:
        """What a search looks through."""
        *inside, type = path.split("/")
        types = dict(params)["_type"].split(",") if "_type" in dict(params) else [type]
        mine = [one for one in self.resources if one["resourceType"] in types or "*" in types]
        return [one for one in mine if self._is_within(one, *inside)] if inside else mine

    def _is_within(self, resource: Resource, type: str, id: str) -> bool:
        """In the compartment of `type/id`."""
        codes = values.compartments().get((type, resource["resourceType"]), ())
        itself = "{def}" in codes and (resource["resourceType"], resource["id"]) == (type, id)
        found = [values.parameter(resource["resourceType"], code) for code in codes]
        return itself or any(
            texts.target(value, self._base) == f"{type}/{id}"
            for one in found
            if one
            for value in self.values(resource, one)
            if value.type == "Reference"
        )

    def _of_type(self, type: str) -> list[Resource]:
        return [one for one in self.resources if one["resourceType"] == type]

    def pointed_at(self, resource: Resource, name: str) -> Iterator[Resource]:
        """The resources here that a reference parameter (`subject`, `subject:Patient`) points to."""
        code, _, type = name.partition(":")
        found = values.parameter(resource["resourceType"], code)
        for one in self.values(resource, found) if found and found.kind == "reference" else ():
            target = self._by_name.get(texts.target(one, self._base) or "")
            if target and (not type or target["resourceType"] == type) and target["resourceType"] in found.targets:
                yield target

    def _knows(self, type: str, name: str) -> bool:
        """Whether a parameter, or a whole chain, makes sense for a type."""
        code = name.partition(".")[0].partition(":")[0]
        return name.startswith("_has:") or code == "_id" or values.parameter(type, code) is not None

    def _is_pointed_at(self, resource: Resource, name: str, wanted: str, now: datetime) -> bool:
        """`_has:Type:parameter:…`: some resource of that type points here, and meets the rest."""
        _, type, code, rest = name.split(":", 3)
        return any(
            resource in self.pointed_at(one, code) and self.meets(one, rest, wanted, now) for one in self._of_type(type)
        )

    # ---- order -------------------------------------------------------------------------------------------------------

    def _sorted(self, found: list[Resource], code: str, *, descending: bool) -> list[Resource]:
        """Stable; those without a value last."""
        best = max if descending else min
        keyed = [(best(self._keys(one, code, descending), key=ORDER, default=None), one) for one in found]
        having = [pair for pair in keyed if pair[0] is not None]
        having.sort(key=lambda pair: ORDER(pair[0]), reverse=descending)
        return [one for _, one in having] + [one for key, one in keyed if key is None]

    def _keys(self, resource: Resource, code: str, descending: bool) -> list[Any]:
        if code == "_id":
            return [resource["id"]]
        found = values.parameter(resource["resourceType"], code)
        assert found, code
        mine = [one for one in self.values(resource, found) if one.json is not None and one.type in READ[found.kind]]
        if MAIN_DATES.get(resource["resourceType"]) == code:
            return [_start(range) for one in mine for range in ranges.moments(one)]
        return [key for one in mine for key in self._sort_keys(resource["resourceType"], found.kind, one, descending)]

    def _sort_keys(self, type: str, kind: str, value: Value, descending: bool) -> list[Any]:
        match kind:
            case "token":
                pairs = texts.tokens(
                    type, value._replace(type="Identifier" if value.type == "ContactPoint" else value.type)
                )
                return [code for _, code in pairs if code]
            case "string":
                return [texts.normal(one) for one in texts.strings(value)]
            case "date":
                return [Low(one.high if descending else one.low, descending) for one in ranges.moments(value)]
            case "number" | "quantity":
                amount = ranges.amount(value)
                if amount is None:
                    return []
                # An end that does not belong to it lies beyond the number itself: > 5 comes after 5.
                low, high = (
                    Low(amount.low, False, int(amount.without_low)),
                    Low(amount.high, True, -amount.without_high),
                )
                return [high if descending else low]
            case "uri":
                return [value.json, value.json.rpartition("|")[0] or value.json]
            case "reference":
                own = value.json.get("identifier", {}).get("value") if value.type == "Reference" else None
                return [one for one in (texts.target(value, self._base) or own,) if one]
        raise AssertionError(kind)


def _start(range: ranges.Range) -> Low:
    """The main date of a type is its start in both directions, its end when it has no start."""
    return Low(range.high if range.low is None else range.low, is_last=True)


class Low:
    """An end of a range in an order: open ends come before, or after, everything, `beyond` is 1 just above it."""

    def __init__(self, end: Any, is_last: bool, beyond: int = 0) -> None:
        self.end, self.is_last, self.beyond = end, is_last, beyond


def _compared(one: Any, other: Any) -> int:
    if isinstance(one, Low):
        if one.end is None or other.end is None:
            rank = 1 if one.is_last else -1
            return rank * ((one.end is None) - (other.end is None))
        one, other = (one.end, one.beyond), (other.end, other.beyond)
    return bool(one > other) - bool(one < other)


ORDER = cmp_to_key(_compared)

# The date by which the resources of a type are shown, newest first: R4 does not say how ranges are sorted.
MAIN_DATES = {
    "Observation": "date", "Encounter": "date", "Condition": "onset-date", "MedicationRequest": "authoredon",
    "ValueSet": "date", "RiskAssessment": "date", "ChargeItem": "occurrence",
}  # fmt: skip

# Which types of elements are values of which kind of parameter: the tables of the search page.
READ = {
    "token": {"Coding", "CodeableConcept", "Identifier", "ContactPoint", "boolean", "code", "id", "string", "uri"},
    "string": {"string", "markdown", "HumanName", "Address"},
    "date": {"date", "dateTime", "instant", "Period", "Timing"},
    "number": {"decimal", "integer", "positiveInt", "unsignedInt", "Range"},
    "quantity": {
        "Quantity", "SimpleQuantity", "Age", "Duration", "Count", "Distance", "Money", "MoneyQuantity", "Range"
    },
    "uri": {"uri", "url", "canonical", "oid"},
    "reference": {"Reference", "canonical", "uri"},
}  # fmt: skip


def _exist(found: Parameter, mine: list[Value]) -> bool:
    """Whether some value is one that can be searched for."""
    return any(_has_content(found.kind, one) for one in mine if one.json is not None and one.type in READ[found.kind])


def _has_content(kind: str, value: Value) -> bool:
    match kind:
        case "date":
            return any(True for _ in ranges.moments(value))
        case "number" | "quantity":
            return ranges.amount(value) is not None
        case "string":
            return bool(texts.strings(value))
        case "token" if value.type == "CodeableConcept":
            return bool(value.json.get("coding") or value.json.get("text"))
    return True
