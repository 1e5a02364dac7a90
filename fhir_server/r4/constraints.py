"""Which invariants and extensible bindings do the R4 definitions state?

https://hl7.org/fhir/R4/conformance-rules.html#constraints. Only `$validate` needs them: they have a cache of their own,
read when first asked for, so that the start of the server does not pay for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.r4 import elements, load, value_sets

Definition = dict[str, Any]

# Every element repeats these two in its snapshot; the validator knows them by hand.
_EVERYWHERE = frozenset({"ele-1", "ext-1"})
# Expressions of 4.0.1 that do not say what their text says (they compare a CodeableConcept with a string, or name a
# system `something`), corrected as later versions of FHIR did. ppc-2 to ppc-5 are empty for every resource as they are.
_CORRECTED = {
    "con-3": "clinicalStatus.exists() or verificationStatus.coding.where("
    "system = 'http://terminology.hl7.org/CodeSystem/condition-ver-status' and code = 'entered-in-error').exists() "
    "or category.coding.where(code = 'problem-list-item').empty()",
}


class Constraint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One invariant: its key, whether it is an error or a warning, its English text and its FHIRPath."""

    key: str
    is_error: bool
    human: str
    expression: str


class Rules(msgspec.Struct, frozen=True, array_like=True):
    """What is stated besides the tables.

    `constraints` by structure (`Period`, `Patient.contact`) or by element (`Organization.address`); `loose` the value
    set of each element whose binding is extensible, `codes` their codes by system where they can be told.
    """

    constraints: dict[str, tuple[Constraint, ...]]
    loose: dict[str, str]
    codes: dict[str, value_sets.Codes]


@lru_cache(maxsize=4)
def rules(cache_dir: Path | None = None) -> Rules:
    """The rules: from the cache, else built in a second and cached. Call it in a thread."""
    return load.kept("r4-constraints", Rules, _build, cache_dir)


def compile(definitions: Iterable[Definition]) -> dict[str, tuple[Constraint, ...]]:
    """The invariants of every R4 type, by the structure or the element that they look at."""
    found: dict[str, tuple[Constraint, ...]] = {}
    for definition in definitions:
        if elements.is_table(definition):
            for path, row in _rows(definition):
                stated = [one for one in row.get("constraint", ()) if one["key"] not in _EVERYWHERE]
                if made := tuple(_constraint(one) for one in stated if one.get("expression")):
                    found[path] = made
    for name in ("SimpleQuantity", "MoneyQuantity"):  # types of their own in the tables, profiles in the package
        own = {one.key: one for one in (*found["Quantity"], *found.get(name, ()))}
        found[name] = tuple(own.values())
    return found


def _build(raw: dict[str, list[Definition]]) -> Rules:
    loose: dict[str, str] = {}
    for definition in raw["StructureDefinition"]:
        if elements.is_table(definition):
            for path, row in _rows(definition):
                binding = row.get("binding", {})
                if binding.get("strength") == "extensible" and "valueSet" in binding:
                    loose[path] = binding["valueSet"].partition("|")[0]
    codes = value_sets.expand(loose.values(), raw["ValueSet"], raw["CodeSystem"])
    known = {path: url for path, url in loose.items() if url in codes}
    return Rules(compile(raw["StructureDefinition"]), known, codes)


def _rows(definition: Definition) -> Iterable[tuple[str, Definition]]:
    """Each row of the snapshot with its path, the type's own name first (SimpleQuantity, not Quantity)."""
    root, *rows = definition["snapshot"]["element"]
    name, prefix = definition["name"], root["path"] + "."
    yield name, root
    for row in rows:
        yield f"{name}.{row['path'].removeprefix(prefix).removesuffix('[x]')}", row


def _constraint(stated: Definition) -> Constraint:
    key = stated["key"]
    expression = _CORRECTED.get(key) or str(stated["expression"])
    return Constraint(key, stated["severity"] == "error", stated["human"], expression)
