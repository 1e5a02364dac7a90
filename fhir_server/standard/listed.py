"""Which operations of FHIR does this server offer by itself?"""

from __future__ import annotations

from fhir_server.operations import Operation
from fhir_server.standard import diff, everything, meta, validate

OPERATIONS: tuple[Operation, ...] = (
    *everything.OPERATIONS,
    *meta.OPERATIONS,
    *diff.OPERATIONS,
    *validate.operations,
)
