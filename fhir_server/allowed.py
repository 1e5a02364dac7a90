"""What of a search may this caller ask?

A right to search a type is needed for every type that a search looks at: those it finds, and those behind its chains
and `_has`, which would tell of them otherwise. Which resources of these types are seen is the store's predicate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common import errors
from fhir_server import access
from fhir_server.conditions import And, Condition, Linked, LinkedFrom, Not, Or, Query


def query(asked: Query, caller: access.Caller) -> Query:
    """The query, its chains without the types that the caller may not search. Raises Forbidden when nothing is left.

    A type that is searched, or that a chain or `_has` names alone, is refused; of several types behind a reference
    those that are allowed stay.
    """
    for type in asked.all_types:
        access.may(caller, "s", type)
    if caller.memberships is None and not caller.scopes:
        return asked
    where = tuple(_condition(one, caller) for one in asked.where)
    return asked if where == asked.where else replace(asked, where=where)


def types(some: Sequence[str], caller: access.Caller) -> tuple[str, ...]:
    """Those of the types that the caller may search."""
    return tuple(one for one in some if _may(caller, one))


def _condition(condition: Condition, caller: access.Caller) -> Condition:
    match condition:
        case And(of) | Or(of):
            return replace(condition, of=tuple(_condition(one, caller) for one in of))
        case Not(of):
            return Not(_condition(of, caller))
        case Linked(types=wanted):
            left = types(wanted, caller)
            if not left:
                access.may(caller, "s", wanted[0])
            return replace(condition, types=left, where=tuple(_condition(one, caller) for one in condition.where))
        case LinkedFrom(type):
            access.may(caller, "s", type)
            return replace(condition, where=tuple(_condition(one, caller) for one in condition.where))
    return condition


def _may(caller: access.Caller, type: str) -> bool:
    try:
        access.may(caller, "s", type)
    except errors.Forbidden:
        return False
    return True
