"""Which operations of FHIR does this server offer by itself?"""

from __future__ import annotations

from fhir_server.operations import Operation
from fhir_server.standard import export, import_

OPERATIONS: tuple[Operation, ...] = (
    *export.OPERATIONS,
    *import_.OPERATIONS,
)
