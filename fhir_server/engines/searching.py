"""What do both engines share when they turn a Query into SQL?

The order of a search, its paging by key, and the tests on ranges (search.html#date). SQL is put together from fixed
pieces only; every value travels as an argument.

Paging. A page ends with a cursor: the last row's sort values and its rid. The next page starts strictly after it, so
rows written meanwhile shift nothing and rows with equal values are told apart by rid. Rows without a value come last,
in both directions. A walk along an index first gives the rows that have a value (stage 0), then those that have none
(stage 1). The cursor knows nothing of walks: the next page may be found another way.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fhir_server import access, cursors, index
from fhir_server.changes import Stored
from fhir_server.conditions import Condition, Either, Prefix, Query, Sort, Text
from fhir_server.rows import Memberships, Page
from fhir_server.tables import NO_DATE

T = TypeVar("T", int, str)
RANGES = ("dat", "str", "num")  # tables in which a sort may look
NEWEST_FIRST = (Sort("sort_date", descending=True),)
_LAST_CHARACTER = "\U0010ffff"
_INT64 = 2**63


class Statement:
    """SQL under construction: `mark` is `?` or `$`, both engines take numbered arguments.

    `memberships` are those of who asks, for the resources that it looks at by the way; nobody unless they are given.
    """

    def __init__(self, mark: str, memberships: Memberships = access.NOBODY) -> None:
        self.args: list[object] = []
        self.memberships = memberships
        self._mark = mark

    def arg(self, value: object) -> str:
        """The placeholder that stands for `value`."""
        self.args.append(value)
        return f"{self._mark}{len(self.args)}"

    def take(self, values: Sequence[object]) -> int:
        """Several at once: the number of the first one's placeholder, the others follow."""
        self.args += values
        return len(self.args) - len(values) + 1

    def equal(self, *values: object) -> str:
        """`= …` or `IN (…)`."""
        return f"= {self.arg(values[0])}" if len(values) == 1 else f"IN ({', '.join(map(self.arg, values))})"


@dataclass(frozen=True, slots=True)
class Key:
    """One column of the order. `nullable` rows without the value come last."""

    expression: str
    descending: bool
    nullable: bool = False

    def order(self, alias: str | None = None) -> str:
        """Its part of ORDER BY. NULLS LAST only where it matters: elsewhere it would hide an index."""
        down, last = " DESC" if self.descending else "", " NULLS LAST" if self.nullable else ""
        return f"{alias or self.expression}{down}{last}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the page before ended."""

    values: tuple[int | str | None, ...]
    rid: int

    def encode(self) -> str:
        """URL-safe text without padding. The store seals it (`cursors.py`) before a client sees it."""
        plain = json.dumps([self.values, self.rid], ensure_ascii=False, separators=(",", ":"))
        return urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    def within(self, stage: int) -> Cursor:
        """As the statement of a stage sees it: the second one does not order by the first sort."""
        return Cursor(self.values[1:], self.rid) if stage else self


def cursor(query: Query) -> Cursor | None:
    """The cursor of a query, None for a first page. Raises Unreadable when it is not one that we gave."""
    if query.after is None:
        return None
    try:
        plain = urlsafe_b64decode(query.after.encode("ascii") + b"=" * (-len(query.after) % 4))
        values, rid = json.loads(plain)
        found = Cursor(tuple(values), rid)
    except (ValueError, TypeError, UnicodeError, binascii.Error, RecursionError) as problem:
        raise cursors.not_ours() from problem
    sorts = order(query)
    fits = len(found.values) == len(sorts) and all(map(_fits, sorts, found.values))
    if not _is_number(rid) or not fits:
        raise cursors.not_ours()
    return found


def order(query: Query) -> tuple[Sort, ...]:
    """The sort keys in force: newest first when the client asked for none."""
    return query.sort or NEWEST_FIRST


def page(query: Query, rows: Sequence[tuple[Any, ...]], total: int | None) -> Page:
    """A page from at most `count` + 1 rows: type, id, version, updated, body, method, the sort values, rid."""
    found = [Stored(*row[:6]) for row in rows[: query.count]]
    if len(rows) <= query.count or not query.count:
        return Page(found, None, total)
    *values, rid = rows[query.count - 1][6:]
    return Page(found, Cursor(tuple(values), rid).encode(), total)


def best_value(sort: Sort) -> tuple[str, str]:
    """The columns of a range table by which a resource's best value for a sort is told: the value, then the tie."""
    if sort.by == "str":
        return "folded", "n"
    return ("hi", "lo") if sort.descending else ("lo", "hi")


def of_param(sort: Sort, table: str, params: str) -> str:
    """The rows of a range table with the values of a sort; of a quantity those in the unit that was written.

    `params` is what must be true of the column, as `Statement.equal` writes it.
    """
    return f"{table}.param {params}{f' AND {table}.unit = 0' if sort.by == 'num' else ''}"


def _fits(sort: Sort, value: object) -> bool:
    if sort.by in ("id", "str", "num", "body"):
        return (isinstance(value, str) and "\0" not in value) or (value is None and sort.by != "id")
    return _is_number(value) or (value is None and sort.by in ("dat", "sort_date"))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def after(keys: Sequence[Key], rid: Key, at: Cursor, statement: Statement) -> str:
    """The predicate of the rows that come after the cursor in the order `keys`, then `rid`.

    One key without gaps that runs with the rid is a row comparison, which an index on both answers as a range.
    """
    values = [*at.values, at.rid]
    if len(keys) == 1 and not keys[0].nullable and keys[0].descending == rid.descending:
        less = "<" if rid.descending else ">"
        marks = ", ".join(map(statement.arg, values))
        return f"({keys[0].expression}, {rid.expression}) {less} ({marks})"
    columns = [*keys, rid]
    ways = []
    for last in range(len(columns)):
        if values[last] is None:
            continue  # nothing comes after the rows without a value
        same = [_same(key, value, statement) for key, value in zip(columns[:last], values[:last], strict=True)]
        ways.append(" AND ".join([*same, _further(columns[last], values[last], statement)]))
    found = "(" + " OR ".join(f"({way})" for way in ways) + ")"
    if keys and not keys[0].nullable:  # a bound that an index on the first key can use
        found += f" AND {keys[0].expression} {'<=' if keys[0].descending else '>='} {statement.arg(values[0])}"
    return found


def _same(key: Key, value: object, statement: Statement) -> str:
    return f"{key.expression} IS NULL" if value is None else f"{key.expression} = {statement.arg(value)}"


def _further(key: Key, value: object, statement: Statement) -> str:
    beyond = f"{key.expression} {'<' if key.descending else '>'} {statement.arg(value)}"
    return f"({beyond} OR {key.expression} IS NULL)" if key.nullable else beyond


def moments(tests: Sequence[tuple[Prefix, T, T]], lo: str, hi: str, statement: Statement) -> str:
    """Does the stored range (`lo`, `hi`, both ends included) meet one of the tests?"""
    return "(" + " OR ".join(_moment(test, lo, hi, statement) for test in tests) + ")"


def _moment(test: tuple[Prefix, T, T], lo: str, hi: str, statement: Statement) -> str:
    prefix, start, end = test
    if prefix in ("gt", "sa"):
        return f"{hi if prefix == 'gt' else lo} > {statement.arg(end)}"
    if prefix in ("lt", "eb"):
        return f"{lo if prefix == 'lt' else hi} < {statement.arg(start)}"
    low, high = statement.arg(start), statement.arg(end)
    if prefix == "ap":
        return f"({lo} <= {high} AND {hi} >= {low})"
    inside = f"({lo} >= {low} AND {hi} <= {high})"
    if prefix == "ne":
        return f"NOT {inside}"
    # What follows from the test anyway, said aloud, lets an index on one end answer.
    if prefix == "eq":
        return f"({inside} AND {lo} <= {high} AND {hi} >= {low})"
    if prefix == "ge":
        return f"({hi} >= {low} AND ({hi} > {high} OR {inside}))"
    return f"({lo} <= {high} AND ({lo} < {low} OR {inside}))"


def texts(condition: Text, statement: Statement, contains: str, *, table: str = "s", unused: str = "") -> str:
    """Does a row of the string `table` meet the condition?

    `contains` is the engine's predicate; `unused` goes before a column whose index is not wanted.
    """
    folded = f"{unused}{table}.folded"
    found = []
    for value in condition.values:
        if "\0" in value:  # no stored text has it
            found.append("1 = 0")
        elif condition.mode == "below":
            found.append(_below(folded, value, statement))
        elif condition.mode == "contains":
            found.append(contains.format(text=f"{table}.folded", part=statement.arg(value)))
        elif condition.mode == "equals":
            found.append(f"{folded} = {statement.arg(value[: index.LONGEST])}")
        elif condition.mode == "ends":
            end = statement.arg(value)
            found.append(f"substr({table}.folded, length({table}.folded) - length({end}) + 1) = {end}")
        elif condition.mode == "starts":
            start = value[: index.LONGEST]
            low, high = statement.arg(start), statement.arg(start + _LAST_CHARACTER)
            found.append(f"({folded} >= {low} AND {folded} < {high})")
        else:
            same, raw = index.fold(value)[: index.LONGEST], value[: index.LONGEST]
            found.append(f"({folded} = {statement.arg(same)} AND {table}.raw = {statement.arg(raw)})")
    return "(" + " OR ".join(found or ["1 = 0"]) + ")"


def _below(column: str, value: str, statement: Statement) -> str:
    """The value itself or what goes on after it: a segment of the path or a version, of a version its next part."""
    ways = [f"{column} = {statement.arg(value)}"]
    for sign in "." if "|" in value else "/|":
        low, high = statement.arg(value + sign), statement.arg(value + chr(ord(sign) + 1))
        ways.append(f"({column} >= {low} AND {column} < {high})")
    return f"({' OR '.join(ways)})"


def flat(query: Query) -> Query:
    """The query without an Either that leaves no choice: its conditions can drive, each by itself."""
    if not any(isinstance(one, Either) for one in query.where):
        return query
    where: list[Condition] = []
    for one in query.where:
        where += one.ways[0] if isinstance(one, Either) and len(one.ways) == 1 and not one.negated else (one,)
    return replace(query, where=tuple(where))


def stages(query: Query, at: Cursor | None, *, walks: bool) -> range:
    """The statements of a page: two where a walk keeps rows without a value for the first sort apart."""
    if not query.count:
        return range(0)
    first = order(query)[0]
    in_two = walks and (first.by in RANGES or (first.by == "sort_date" and not first.descending))
    begun = 1 if in_two and at and at.values[0] is None else 0
    return range(begun, 2 if in_two else 1)


def row_keys(sorts: Sequence[Sort], statement: Statement, *, join: str, unused: str) -> list[Key]:
    """Sort keys as expressions on the row `r`; `join` ties a range table `x` to it, `unused` as in `texts`."""
    return [_row_key(sort, statement, join, unused) for sort in sorts]


def _row_key(sort: Sort, statement: Statement, join: str, unused: str) -> Key:
    if sort.by == "updated":
        return Key("r.updated", sort.descending)
    if sort.by == "id":
        return Key("r.fid", sort.descending)
    if sort.by == "sort_date":
        # Descending, NO_DATE is last by itself and the index serves; ascending it has to be told.
        if sort.descending:
            return Key("r.sort_date", True)
        return Key(f"(NULLIF(r.sort_date, {NO_DATE}))", False, nullable=True)
    lead, _tie = best_value(sort)
    best = f"{'MAX' if sort.descending else 'MIN'}({unused}x.{lead})"
    rows = f"{sort.by} x WHERE {join} AND {of_param(sort, 'x', statement.equal(sort.param, *sort.also))}"
    return Key(f"(SELECT {best} FROM {rows})", sort.descending, nullable=True)
