"""What SQL do conditions become that join others: and, or, not, and through references?

A chain follows `link` from the row to what it refers to, `_has` follows the reference's key in `hot` from the row to
what refers to it (R4 search.html#chaining, #has). What lies behind a reference is looked at as the caller may see it,
like any match. Each predicate speaks of a row `r`; inside, `r` is the linked one and hides the outer one.

What lies behind a reference is asked first and alone when it is little (`settle`): its keys then drive the search, as
any other key does. Otherwise the predicate is probed, row by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from fhir_server.conditions import Addresses, And, Condition, Keys, Linked, LinkedFrom, Moment, Not, Or, Text, Types
from fhir_server.engines.searching import Statement
from fhir_server.rows import Memberships

if TYPE_CHECKING:
    from fhir_server.engines.select import Dialect

    Joined = Types | Addresses | And | Or | Not | Linked | LinkedFrom

JOINED = (Types, Addresses, And, Or, Not, Linked, LinkedFrom)
FEW = 512  # linked rows that are quicker to collect than to probe for
_MOST_KEYS = 4096
_MANY_TIMES = 4  # estimates err: what is expected to be so many times too much is left alone

Test = Callable[[Condition, "Dialect", Statement], str]


def test(condition: Joined, dialect: Dialect, statement: Statement, test: Test) -> str:
    """The condition as a predicate on the row `r`; `test` makes those inside it."""
    match condition:
        case Types(types):
            return f"r.type {statement.equal(*types)}"
        case Addresses(()):
            return "1 = 0"  # SQLite refuses to go along an index with `IN ()`
        case Addresses(any_of):
            return f"r.address {dialect.among(any_of, statement)}"
        case And(of) | Or(of):
            sign = " AND " if isinstance(condition, And) else " OR "
            return f"({sign.join(test(one, dialect, statement) for one in of)})" if of else _nothing(condition)
        case Not(of):
            # A probe that finds nothing gives NULL on PostgreSQL.
            return f"(({test(of, dialect, statement)}) IS NOT TRUE)"
        case Linked():
            params = statement.equal(*condition.params)
            behind = _linked("r.address = x.address", condition.types, condition.where, (dialect, statement, test))
            return dialect.exists.format(f"link x WHERE {dialect.tie('x', 'r')} AND x.param {params} AND {behind}")
        case LinkedFrom():
            key = dialect.xor.format("r.address", statement.arg(condition.mask))
            source = (condition.type,)
            behind = _linked(dialect.tie("r", "y"), source, condition.where, (dialect, statement, test))
            return dialect.exists.format(f"hot y WHERE y.hash = {key} AND {behind}")


def _nothing(condition: And | Or) -> str:
    return "1 = 1" if isinstance(condition, And) else "1 = 0"


def _linked(
    tie: str, types: tuple[str, ...], where: Sequence[Condition], making: tuple[Dialect, Statement, Test]
) -> str:
    """There is a row tied so, of these types, alive, seen by the caller, that meets `where`."""
    dialect, statement, test = making
    table = dialect.all_of_type("resource_by_address") if tie.startswith("r.address") else "resource r"
    found = " AND ".join([tie, *_seen(types, statement, dialect), *(test(one, dialect, statement) for one in where)])
    return dialect.exists.format(f"{table} WHERE {found}")


def _seen(types: tuple[str, ...], statement: Statement, dialect: Dialect) -> list[str]:
    found = [f"r.type {statement.equal(*types)}" if types else "1 = 0", "r.deleted = 0"]
    if statement.memberships is not None:
        found.append(dialect.readers(statement.memberships, statement, types))
    return found


# ---- asked first ---------------------------------------------------------------------------------------------------

# A statement with its arguments goes out, its rows come back: each engine asks in its own way.
_T = TypeVar("_T")
Asked = Generator[tuple[str, list[object]], Sequence[Sequence[Any]], _T]
Asking = Asked[Condition]


@dataclass(frozen=True, slots=True)
class Asker:
    """What `settle` needs to know of an engine: its dialect, who asks, and what else may lead to rows of some types."""

    dialect: Dialect
    memberships: Memberships
    found_by: Callable[[Condition, Dialect, tuple[str, ...], Statement], str]
    test: Test
    also: Callable[[tuple[str, ...]], Sequence[Condition]]
    few: int = FEW

    def statement(self) -> Statement:
        """An empty one, for the same caller."""
        return Statement(self.dialect.mark, self.memberships)


def has_links(where: Sequence[Condition]) -> bool:
    """Is there anything to ask first?"""
    return any(isinstance(one, (Linked, LinkedFrom, And, Or, Not)) for one in where)


def finds_nothing(where: Sequence[Condition]) -> bool:
    """Did a condition that was asked first find nothing?"""
    return any(
        (isinstance(one, Addresses) and not one.any_of)
        or (isinstance(one, Keys) and not one.any_of and not one.negated)
        for one in where
    )


def settle(condition: Condition, asker: Asker) -> Asking:
    """The condition with plain keys in place of every reference behind which few rows are found."""
    match condition:
        case And(of) | Or(of):
            inner = []
            for one in of:
                inner.append((yield from settle(one, asker)))
            return replace(condition, of=tuple(inner))
        case Not(of):
            return Not((yield from settle(of, asker)))
        case Linked() | LinkedFrom():
            inner = []
            for one in condition.where:
                inner.append((yield from settle(one, asker)))
            return (yield from _reach(replace(condition, where=tuple(inner)), asker))
    return condition


def _reach(condition: Linked | LinkedFrom, asker: Asker) -> Asking:
    types = condition.types if isinstance(condition, Linked) else (condition.type,)
    if not types or finds_nothing(condition.where):
        return _known(condition, ())
    for lead in (*condition.where, *asker.also(types)):
        if not _can_lead(lead) or (yield from _is_frequent(lead, asker)):
            continue
        found = yield from (_in_two if asker.dialect.row == ("rid",) else _in_one)(condition, lead, types, asker)
        if found is not None:
            return _known(condition, found)
    return condition


def _is_frequent(lead: Condition, asker: Asker) -> Asked[bool]:
    """Where only an estimate is cheap (the arrays of keys on PostgreSQL): does the planner expect too many rows?"""
    if asker.dialect.row == ("rid",) or not isinstance(lead, Keys) or lead.ordered:
        return False
    statement = asker.statement()
    test = asker.test(replace(lead, needles=()), asker.dialect, statement)
    # Keys are of one type; told the type as well, the planner would count that twice.
    plan = yield f"EXPLAIN (FORMAT JSON) SELECT 1 FROM resource r WHERE {test}", statement.args
    return int(json.loads(plan[0][0])[0]["Plan"]["Plan Rows"]) > _MANY_TIMES * asker.few


def _in_two(
    condition: Linked | LinkedFrom, lead: Condition, types: tuple[str, ...], asker: Asker
) -> Asked[list[int] | None]:
    """Count first, which costs next to nothing inside the process; None for too many."""
    count, statement = asker.statement(), asker.statement()
    rows = asker.found_by(lead, asker.dialect, types, count)
    found = yield f"SELECT COUNT(*) FROM ({rows} LIMIT {asker.few + 1}) n", count.args
    if found[0][0] > asker.few:
        return None
    rows = asker.found_by(lead, asker.dialect, types, statement)
    told = yield _addresses(condition, lead, f"({rows})", asker=asker, statement=statement), statement.args
    return [row[0] for row in told]


def _in_one(
    condition: Linked | LinkedFrom, lead: Condition, types: tuple[str, ...], asker: Asker
) -> Asked[list[int] | None]:
    """Count and tell in one round trip; None for too many."""
    statement = asker.statement()
    rows = asker.found_by(lead, asker.dialect, types, statement)
    told = _addresses(condition, lead, "few", asker=asker, statement=statement)
    count = f"(SELECT COUNT(*) FROM few) <= {asker.few}"
    sql = f"WITH few AS MATERIALIZED ({rows} LIMIT {asker.few + 1}) SELECT CASE WHEN {count} THEN ARRAY({told}) END"
    found = yield sql, statement.args
    addresses: list[int] | None = found[0][0]
    return addresses


def _addresses(
    condition: Linked | LinkedFrom, lead: Condition, rows: str, *, asker: Asker, statement: Statement
) -> str:
    """Of the rows that meet everything: their own addresses, or for LinkedFrom those of what they refer to."""
    dialect = asker.dialect
    types = condition.types if isinstance(condition, Linked) else (condition.type,)
    tables = f"(SELECT DISTINCT * FROM {rows} c) c {dialect.join} resource r ON {dialect.tie('c', 'r')}"
    column = "r.address"
    if isinstance(condition, LinkedFrom):
        param = statement.arg(condition.param)
        tables += f" {dialect.join} link x ON {dialect.tie('x', 'r')} AND x.param = {param}"
        column = "x.address"
    tests = (asker.test(one, dialect, statement) for one in condition.where if one is not lead or _is_inexact(one))
    where = " AND ".join([*_seen(types, statement, dialect), *tests])
    return f"SELECT DISTINCT {column} FROM {tables} WHERE {where} LIMIT {FEW + 1}"


def _can_lead(condition: Condition) -> bool:
    if isinstance(condition, Keys):
        return not condition.negated
    return isinstance(condition, (Text, Moment, Addresses))


def _is_inexact(lead: Condition) -> bool:
    return isinstance(lead, Keys) and bool(lead.needles)


def _known(condition: Linked | LinkedFrom, addresses: Sequence[int]) -> Condition:
    if len(addresses) > FEW:
        return condition
    if isinstance(condition, LinkedFrom):
        return Addresses(tuple(addresses))
    keys = tuple(mask ^ one for mask in condition.masks for one in addresses)
    links = (condition.params, tuple(addresses))
    return Keys(keys, ordered=True, links=links) if len(keys) <= _MOST_KEYS else condition
