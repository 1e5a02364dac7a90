"""By which parameters can each resource type be searched, and where are their values?

Compiled once from the SearchParameters and CompartmentDefinitions of the R4 package; kept as plain data, so that it
loads in milliseconds. https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Literal

import msgspec

from fhir_server.r4 import composites, elements, search_paths, value_sets
from fhir_server.r4.search_paths import Path

Raw = dict[str, Any]

Kind = Literal["token", "reference", "string", "date", "uri", "number", "quantity", "composite", "special"]

# What each kind of parameter reads; other types at the end of a path are no values of it (an Age under a date).
VALUE_TYPES: dict[Kind, frozenset[str]] = {
    "token": frozenset("Coding CodeableConcept Identifier ContactPoint boolean code id string uri Deceased".split()),
    "reference": frozenset("Reference canonical uri Resource".split()),
    "string": frozenset("string markdown HumanName Address".split()),
    "date": frozenset("date dateTime instant Period Timing".split()),
    "uri": frozenset("uri url canonical oid".split()),
    "number": frozenset("decimal integer positiveInt unsignedInt Range".split()),
    "quantity": frozenset("Quantity Age Duration Count Distance Money SimpleQuantity MoneyQuantity Range".split()),
    "composite": frozenset(),
    "special": frozenset(("Position",)),
}
PRIMITIVE_TOKENS = frozenset("boolean code id string uri Deceased".split())

_REFUSALS: dict[str, str] = {
    "special": "cette recherche particulière n'est pas encore disponible",
}
_OWN_REFUSALS = {
    "_query": "les requêtes nommées ne sont pas encore disponibles",
    "_filter": "une expression de filtre s'emploie seule, ni derrière un chaînage ni derrière _has",
}
_NO_VALUES = "les définitions R4 ne disent pas où lire ce paramètre"

# Written by hand: the expression computes instead of pointing (true when there is a date or a true boolean).
_BY_HAND = {
    ("Patient", "deceased"): Path((), "Deceased"),
    # Published without an expression; its description names the element.
    ("Patient", "birthOrderBoolean"): Path((("get", "multipleBirthBoolean"),), "boolean"),
    ("Location", "near"): Path((("get", "position"),), "Position"),
}

# Parameters that find what one of several others finds: asked as those, so that nothing is kept twice.
_UNIONS = {
    ("Observation", "combo-value-quantity"): ("value-quantity", "component-value-quantity"),
    ("Observation", "combo-code-value-quantity"): ("code-value-quantity", "component-code-value-quantity"),
    ("Observation", "combo-code-value-concept"): ("code-value-concept", "component-code-value-concept"),
}

# Columns of the store, not index values.
_COLUMNS = ("_id", "_lastUpdated")
# Not values of elements but words of the whole (`fulltext.py`).
FULL_TEXT = ("_text", "_content")
_WITHOUT_PATHS = (*_COLUMNS, *FULL_TEXT)

# The clinical dates of a type: of its date parameters, these, in this order. The first is the main one.
# Birth, death and expiry dates are no clinical moments. A prescription's `date` is when to take it, so it stays out.
_CLINICAL_DATES = (
    "date sent received modified authored-on authored authoredon occurrence onset-date recorded-date effective-time "
    "effective started start start-date period whenhandedover whenprepared collected identified recorded when issued "
    "created timestamp datetime datewritten entered-date onset"
).split()
_OWN_CLINICAL_DATES = {"MedicationRequest": ("authoredon",)}

# Up to so many target types, `subject=123` is asked as one typed key each; above, the id alone is a key of its own.
FEW_TARGETS = 4
ANY = ("Resource",)


class Param(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One search parameter of one type.

    `targets` are the types a reference may have (`Resource`: any), `refusal` says in French why it cannot be searched
    yet (empty: it can). `number` is stable and below 2**31: the parameter's name in the range tables. `name` is the
    prefix of its equality keys. `ordered` puts its keys into the ordered table of PostgreSQL. `plain`: a token without
    system in the JSON (one key is enough), `system` is then the code system it implies. `contact`: phone numbers and
    mail addresses. `union`: the parameters of which it is the sum; `parts`: those that a composite combines, in order,
    within each element at `paths` (without paths: within the resource).
    """

    type: str
    code: str
    kind: Kind
    url: str
    expression: str
    targets: tuple[str, ...]
    refusal: str
    paths: tuple[Path, ...]
    number: int
    name: str
    ordered: bool
    plain: bool
    system: str | None
    contact: bool
    union: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return self.number

    @property
    def few_targets(self) -> bool:
        """An id alone is looked up as a typed reference to each target."""
        return 0 < len(self.targets) <= FEW_TARGETS and self.targets != ANY

    def may_be(self, type: str) -> bool:
        """A reference that may be to a resource of `type`."""
        return type in self.targets or self.targets == ANY

    @property
    def modifiers(self) -> tuple[str, ...]:
        """What may follow the name, for documentation. `:Type` of references is not listed."""
        if self.code in FULL_TEXT:
            return ()
        if self.is_phonetic:
            return ("missing",)
        own = {
            "token": ("not",), "string": ("exact", "contains"), "reference": ("identifier", "text"),
            "uri": ("above", "below"),
        }  # fmt: skip
        types = {path.type for path in self.paths} if self.kind == "token" else frozenset[str]()
        named = ("text",) if types & {"Coding", "CodeableConcept", "Identifier"} else ()
        coded = ("in", "not-in", "above", "below") if types & {"Coding", "CodeableConcept", "code"} else ()
        more = ("of-type",) if self.has_identifiers else ()
        return ("missing", *own.get(self.kind, ()), *named, *coded, *more)

    @property
    def has_identifiers(self) -> bool:
        """A token that is an Identifier: `:of-type` is possible."""
        return self.kind == "token" and any(path.type == "Identifier" for path in self.paths)

    @property
    def is_phonetic(self) -> bool:
        """Names that are compared by how they sound."""
        return self.code == "phonetic"


class SearchTables(msgspec.Struct, frozen=True, array_like=True):
    """What is known about searching, for every type: parameters by type and code, compartments by code and type."""

    by_type: dict[str, dict[str, Param]]
    compartments: dict[str, dict[str, tuple[str, ...]]]

    @property
    def types(self) -> tuple[str, ...]:
        """The concrete resource types."""
        return tuple(self.by_type)

    def param(self, type: str, code: str) -> Param | None:
        """A parameter by name, the common ones (`_tag`, …) included; None when R4 has no such parameter."""
        return self.by_type[type].get(code)

    def params(self, type: str) -> tuple[Param, ...]:
        """All parameters of a type, by name."""
        return tuple(self.by_type[type].values())

    def searchable(self, type: str) -> tuple[Param, ...]:
        """The parameters that a search may use today: what the CapabilityStatement lists."""
        return tuple(param for param in self.params(type) if not param.refusal)

    def compartment(self, code: str, type: str) -> tuple[str, ...]:
        """The parameters that put a resource of `type` into a compartment (`Patient`, `Encounter`, …)."""
        return self.compartments.get(code, {}).get(type, ())

    def patient_params(self, type: str) -> tuple[str, ...]:
        """Where the patient of a resource is looked for: `patient`, `subject`, then the rest of the compartment."""
        codes = dict.fromkeys(("patient", "subject", *self.compartment("Patient", type)))
        found = (self.param(type, code) for code in codes)
        return tuple(param.code for param in found if param and param.may_be("Patient"))

    def sort_date(self, type: str) -> tuple[str, ...]:
        """The date parameters that say when something happened, the main one first; empty when a type has none."""
        if type in _OWN_CLINICAL_DATES:
            return _OWN_CLINICAL_DATES[type]
        mine = self.by_type[type]
        return tuple(code for code in _CLINICAL_DATES if code in mine and mine[code].kind == "date")


def compile(
    search_parameters: Iterable[Raw],
    compartments: Iterable[Raw],
    structures: elements.Structures,
    value_sets: Mapping[str, value_sets.Codes],
) -> SearchTables:
    """The tables for every concrete resource type of `structures`.

    `value_sets` tell which code system a `code` element implies. Raises search_paths.Unsupported for an expression that
    cannot be compiled, ValueError when two parameters would share a number.
    """
    systems = {url: next(iter(codes)) for url, codes in value_sets.items() if len(codes) == 1}
    world = search_paths.World(structures, systems)
    # The registry carries samples of the SearchParameter type itself that redefine real parameters.
    real = [one for one in search_parameters if not one["id"].startswith("example")]
    by_type = {}
    for type in sorted(name for name, structure in structures.items() if structure.kind == "resource"):
        mine = (one for one in real if not {type, *_EVERY_TYPE}.isdisjoint(one.get("base", ())))
        by_type[type] = _params(sorted(mine, key=itemgetter("code")), type, world)
    _check_numbers(param for params in by_type.values() for param in params.values())
    return SearchTables(by_type, _compartments(compartments))


_EVERY_TYPE = ("Resource", "DomainResource")


def _params(definitions: list[Raw], type: str, world: search_paths.World) -> dict[str, Param]:
    """The parameters of a type; composites last, because they are made of others."""
    simple = [one for one in definitions if one["type"] != "composite"]
    found = {one["code"]: _param(one, type, world) for one in simple}
    by_url = {param.url: param for param in found.values()}
    found |= {
        one["code"]: composites.param(_param(one, type, world), one, by_url, world)
        for one in definitions
        if one["type"] == "composite"
    }
    return {one["code"]: found[one["code"]] for one in definitions}


def _param(definition: Raw, type: str, world: search_paths.World) -> Param:
    kind, code, name = definition["type"], definition["code"], f"{type}.{definition['code']}"
    paths = () if code in _COLUMNS else _paths(definition, type, world)
    systems = {path.system for path in paths}
    plain = len(systems) <= 1 and all(path.type in PRIMITIVE_TOKENS for path in paths)
    return Param(
        type=type,
        code=code,
        kind=kind,
        url=definition["url"],
        expression=definition.get("expression", ""),
        targets=_targets(definition, paths),
        refusal=_refusal(kind, code, paths),
        paths=paths,
        number=_number(name),
        name=name,
        ordered=kind == "reference" or code in ("identifier", "code"),
        plain=plain,
        system=next(iter(systems), None) if plain else None,
        contact=bool(paths) and all(path.type == "ContactPoint" for path in paths),
        union=_UNIONS.get((type, code), ()),
    )


def _refusal(kind: Kind, code: str, paths: tuple[Path, ...]) -> str:
    if code in _OWN_REFUSALS:
        return _OWN_REFUSALS[code]
    if paths or code in _WITHOUT_PATHS or kind == "composite":
        return ""
    return _REFUSALS.get(kind, _NO_VALUES)


def _paths(definition: Raw, type: str, world: search_paths.World) -> tuple[Path, ...]:
    if by_hand := _BY_HAND.get((type, definition["code"])):
        return (by_hand,)
    expression = definition.get("expression", "")
    found = search_paths.paths(expression, type, world) if expression else []
    return tuple(dict.fromkeys(path for path in found if path.type in VALUE_TYPES[definition["type"]]))


def _targets(definition: Raw, paths: tuple[Path, ...]) -> tuple[str, ...]:
    """The expression's own `resolve() is X` is narrower than the list, which is shared by many base types."""
    if definition["type"] != "reference":
        return ()
    named = {step[1] for path in paths for step in path.steps if step[0] == "is"}
    if named and all(any(step[0] == "is" for step in path.steps) for path in paths):
        return tuple(sorted(named))
    listed = definition.get("target", ())
    return ANY if not listed or len(listed) > 100 else tuple(listed)


def _number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") & 0x7FFFFFFF


def _compartments(definitions: Iterable[Raw]) -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        one["code"]: {
            resource["code"]: tuple(resource["param"]) for resource in one["resource"] if resource.get("param")
        }
        for one in definitions
        if "example" not in one["id"]
    }


def _check_numbers(params: Iterable[Param]) -> None:
    seen: dict[int, str] = {}
    for param in params:
        if seen.setdefault(param.number, param.name) != param.name:
            raise ValueError(f"{param.name} and {seen[param.number]} share a number; rename one")
