"""Is this code one that a required binding allows?

https://hl7.org/fhir/R4/terminologies.html#required. A binding whose value set cannot be expanded allows everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.r4 import value_sets


class Bindings:
    """The required bindings, by the URL of their value set."""

    def __init__(self, sets: Mapping[str, value_sets.Codes]) -> None:
        self._codes = {url: frozenset().union(*systems.values()) for url, systems in sets.items()}
        self._pairs = {
            url: frozenset((system, code) for system, codes in systems.items() for code in codes)
            for url, systems in sets.items()
        }

    def codes(self, url: str) -> frozenset[str] | None:
        """The codes that an element of type `code` may have, None for any."""
        return self._codes.get(url)

    def allows(self, url: str, concept: Mapping[str, Any]) -> bool:
        """Whether a CodeableConcept has at least one coding of the value set. Text alone is not enough."""
        pairs = self._pairs.get(url)
        return pairs is None or any((one.get("system"), one.get("code")) in pairs for one in concept.get("coding", ()))
