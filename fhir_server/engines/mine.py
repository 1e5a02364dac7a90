"""When does it pay to begin with what somebody may see, rather than with what they ask for?

Somebody in few circles of care who looks at a whole type (the newest observations of their patients) would walk past
everything that is not theirs. What leads to theirs is little: the patients of their circles, and what names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_server.conditions import Ids, Mine, Query
from fhir_server.engines.searching import Statement
from fhir_server.rights import standing
from fhir_server.rows import Memberships

if TYPE_CHECKING:
    from fhir_server.engines.select import Dialect

MOST_CIRCLES = 64
_BITS = (standing.CIRCLE, standing.EMERGENCY)


def of(query: Query, memberships: Memberships) -> Mine | None:
    """What leads to all that they see of the types of a query; None where it cannot help, or need not."""
    if memberships is None or not memberships.circles:
        return None
    types = query.all_types
    if not query.masks and types != ("Patient",):
        return None
    if any(isinstance(one, Ids) for one in query.where):
        return None
    readers = (*memberships.keys, memberships.structure)
    return Mine(memberships.circles, readers, query.masks, "Patient" in types)


def circles(mine: Mine, statement: Statement) -> str:
    """How many circles there are, counted up to a bound."""
    rows = f"SELECT 1 FROM standing s WHERE {_theirs(mine, statement)} LIMIT {MOST_CIRCLES + 1}"
    return f"SELECT COUNT(*) FROM ({rows}) c"


def found_by(mine: Mine, dialect: Dialect, types: tuple[str, ...], statement: Statement) -> str:
    """Its rows, some of them more than once."""
    arms = [dialect.found_by_readers(mine.readers, types, statement)]
    for mask in mine.masks:
        key = dialect.xor.format("s.patient", statement.arg(mask))
        rows = f"standing s {dialect.join} hot h ON h.hash = {key}"
        arms.append(f"SELECT {dialect.columns('h')} FROM {rows} WHERE {_theirs(mine, statement)}")
    if mine.patients:
        table = dialect.all_of_type("resource_by_address")
        rows = f"standing s {dialect.join} {table} ON r.address = s.patient"
        arms.append(f"SELECT {dialect.columns('r')} FROM {rows} WHERE {_theirs(mine, statement)}")
    return " UNION ALL ".join(arms)


def _theirs(mine: Mine, statement: Statement) -> str:
    bits = ", ".join(map(str, _BITS))
    return f"s.who IN ({', '.join(map(statement.arg, mine.who))}) AND s.bit IN ({bits})"
