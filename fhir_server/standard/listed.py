"""Which operations of FHIR does this server offer by itself?"""

from __future__ import annotations

from fhir_server.operations import Operation

OPERATIONS: tuple[Operation, ...] = ()
