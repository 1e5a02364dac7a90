"""Which codes does a required binding allow?

Expansion of the value sets of the R4 package (https://hl7.org/fhir/R4/valueset.html#expansion): lists of codes and
whole code systems. A value set that needs what the package does not hold (media types, units, currencies) is left out,
and its elements are then checked by their type only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Codes = dict[str, frozenset[str]]  # system -> codes
Definition = dict[str, Any]


class _Unknown(Exception):
    """The package cannot say which codes are in it."""


def expand(
    wanted: Iterable[str], value_sets: Iterable[Definition], code_systems: Iterable[Definition]
) -> dict[str, Codes]:
    """Codes by system of each wanted value set (canonical URL without version) that can be told completely."""
    sets = {one["url"]: one for one in value_sets}
    systems = {one["url"]: one for one in code_systems}
    known: dict[str, Codes] = {}
    for url in sorted(set(wanted)):
        try:
            known[url] = _expand(url, sets, systems)
        except _Unknown:
            continue
    return known


def _expand(url: str, sets: dict[str, Definition], systems: dict[str, Definition]) -> Codes:
    if url not in sets:
        raise _Unknown(url)
    compose = sets[url].get("compose", {})
    if not compose.get("include") or "exclude" in compose:
        raise _Unknown(url)
    codes: Codes = {}
    for include in compose["include"]:
        system = include.get("system", "")
        codes[system] = codes.get(system, frozenset()) | _included(include, systems)
    return codes


def _included(include: Definition, systems: dict[str, Definition]) -> frozenset[str]:
    if "filter" in include or "valueSet" in include:
        raise _Unknown(include)
    if "concept" in include:
        return frozenset(one["code"] for one in include["concept"])
    system = systems.get(include["system"])
    if system is None or system["content"] != "complete":
        raise _Unknown(include)
    return frozenset(_codes(system["concept"]))


def _codes(concepts: list[Definition]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _codes(concept.get("concept", []))
