"""Which operations of FHIR does this server offer by itself?"""

from __future__ import annotations

from fhir_server.operations import Operation
from fhir_server.standard import graphql, validate, view

OPERATIONS: tuple[Operation, ...] = (*graphql.operations, *validate.operations, *view.operations)

# Those that choose the form of their answer themselves, not between JSON and XML.
OWN_FORMATS = frozenset({"$graphql", "$run", "$viewdefinition-run"})
