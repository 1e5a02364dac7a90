"""Does this resource keep to FHIR R4?

Structure, cardinality, types, choices, dates of the calendar, codes of required bindings, references and their targets,
contained resources, narrative, and the invariants of the specification (https://hl7.org/fhir/R4/validation.html).
Profiles are not looked at here.
"""

from __future__ import annotations

from typing import Any

from common import errors
from fhir_server.r4 import load
from fhir_server.r4.bindings import Bindings
from fhir_server.r4.quick import Quick
from fhir_server.r4.report import Report


class Validator:
    """The checks of all R4 types, compiled from the definitions when a type is first met. Serves all threads."""

    def __init__(self, definitions: load.Definitions) -> None:
        self._types = frozenset(definitions.types)
        self._shapes = definitions.shapes
        self._bindings = Bindings(definitions.value_sets)
        self._quick = Quick(self._types, self._shapes, self._bindings)

    def check(self, resource: Any) -> list[errors.Issue]:
        """All problems of a decoded JSON resource; empty when it is valid.

        Numbers are `int` or `decimal.Decimal` as the codec gives them: a `float` has lost its digits and is refused.
        Each issue has a FHIRPath `expression` such as `Patient.name[0].given[1]` and a French `text`; its `code` is
        structure, required, value, code-invalid or invariant. At most `report.MAX_ISSUES` are given.
        """
        if self._quick.accepts(resource):
            return []
        return Report(self._types, self._shapes, self._bindings).run(resource)
