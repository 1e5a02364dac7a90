"""Which operations of FHIR does this server offer by itself?"""

from __future__ import annotations

from fhir_server.operations import Operation
from fhir_server.standard import diff, everything, export, graphql, import_, meta, validate, view

OPERATIONS: tuple[Operation, ...] = (
    *diff.OPERATIONS,
    *everything.OPERATIONS,
    *export.OPERATIONS,
    *graphql.operations,
    *import_.OPERATIONS,
    *meta.OPERATIONS,
    *validate.operations,
    *view.operations,
)

# Those that choose the form of their answer themselves, not between JSON and XML.
OWN_FORMATS = frozenset({"$graphql", "$run", "$viewdefinition-run"})
