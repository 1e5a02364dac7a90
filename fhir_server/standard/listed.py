"""Which operations of FHIR does this server offer by itself?"""

from __future__ import annotations

from fhir_server.operations import Operation
from fhir_server.standard import (
    diff,
    everything,
    expand,
    export,
    graphql,
    import_,
    lookup,
    meta,
    subsumes,
    translate,
    validate,
    validate_code,
    view,
)

OPERATIONS: tuple[Operation, ...] = (
    *diff.OPERATIONS,
    *everything.OPERATIONS,
    *expand.OPERATIONS,
    *export.OPERATIONS,
    *graphql.operations,
    *import_.OPERATIONS,
    *lookup.OPERATIONS,
    *meta.OPERATIONS,
    *subsumes.OPERATIONS,
    *translate.OPERATIONS,
    *validate.operations,
    *validate_code.OPERATIONS,
    *view.operations,
)
