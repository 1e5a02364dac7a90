"""Which operations of FHIR does this server offer by itself?"""

from __future__ import annotations

from fhir_server.operations import Operation
from fhir_server.standard import expand, lookup, subsumes, translate, validate_code

OPERATIONS: tuple[Operation, ...] = (
    *expand.OPERATIONS,
    *lookup.OPERATIONS,
    *subsumes.OPERATIONS,
    *translate.OPERATIONS,
    *validate_code.OPERATIONS,
)
