"""Over which types does a search go that names none in its path?

`GET [base]?_type=A,B&…` (R4 http.html#search, search.html#all) and compartments, `Patient/1/Condition?…` and
`Patient/1/*` (R4 compartmentdefinition.html): there, what refers to the resource by a parameter that the definition of
the compartment names. The resource itself belongs to its compartment only where the definition says so (`{def}`):
`Encounter/1/*` holds Encounter/1, `Patient/1/*` holds other Patients that link to it, not Patient/1. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server import access, allowed, conditions, index
from fhir_server.criteria import refusal
from fhir_server.exchange import Params
from fhir_server.r4.search_params import SearchTables


def types(params: Params, tables: SearchTables, caller: access.Caller) -> tuple[str, ...]:
    """Those named by `_type`, or all that the caller may search. Raises errors.Unreadable for an unknown name."""
    given = [value for name, value in params if name == "_type"]
    if not given:
        return allowed.types(tables.types, caller)
    named = [set(value.split(",")) for value in given]
    for one in set.union(*named) - set(tables.types):
        raise refusal(f"_type : le type « {one[:64]} » n'existe pas", "_type")
    found = tuple(one for one in tables.types if all(one in some for some in named))
    if not found:
        raise refusal("_type est donné deux fois sans type commun", "_type")
    return found


def members(compartment: str, tables: SearchTables) -> tuple[str, ...]:
    """The types that may be in a compartment of this kind; none when there is no such compartment in R4."""
    return tuple(one for one in tables.types if tables.compartment(compartment, one))


def within(compartment: str, id: str, some: Sequence[str], tables: SearchTables) -> conditions.Condition:
    """Of resources of these types, those in the compartment of `compartment/id`."""
    itself = f"{compartment}/{id}"
    keys: dict[int, None] = {}
    own = False
    for type in some:
        for code in tables.compartment(compartment, type):
            param = tables.param(type, code)
            own = own or code == _ITSELF
            if param and param.may_be(compartment) and not param.refusal:
                keys[index.reference_key(type, code, itself)] = None
    referring = conditions.Keys(tuple(keys), ordered=True)
    if not own:
        return referring
    address = conditions.Addresses((index.address(itself),))
    return conditions.Or((referring, address)) if keys else address


_ITSELF = "{def}"
