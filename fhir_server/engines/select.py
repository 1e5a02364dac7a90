"""What SQL does a Query become, once it is known which table drives?

The shapes are the same on both engines; a `Dialect` says how each writes them. The driver is the engine's choice
(`sqlite_search`, `postgres_search`):

- *collect*: take all rows of one condition, filter, sort;
- *walk*: follow an index that already has the order of the first sort (`hot` for an equality key by date, the type's
  index by date or by update, a range table by its values) until the page is full.

All other conditions are probes on full keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fhir_server.access import Sight
from fhir_server.conditions import (
    Addresses,
    Amount,
    Condition,
    Driving,
    Either,
    Extent,
    FullText,
    Ids,
    Keys,
    Mine,
    Moment,
    Near,
    Or,
    Present,
    Query,
    Sort,
    Text,
    Updated,
)
from fhir_server.engines import joined, mine, searching, values
from fhir_server.engines.searching import Cursor, Key, Statement
from fhir_server.rows import Memberships
from fhir_server.tables import NO_DATE

_ENDLESS = 2**62
_COLUMNS = "r.type, r.fid, r.version, r.updated, r.body, r.method"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an engine writes the shapes. `row` names a row; `hint` and `unused` steer SQLite's choice of indexes.

    `among` follows a column that is one of some numbers, perhaps of many.
    """

    mark: str
    row: tuple[str, ...]
    join: str
    hint: str
    unused: str
    exists: str
    missing: str
    contains: str
    needle: str
    readers: Callable[[Sight, Statement, tuple[str, ...]], str]
    keys: Callable[[Keys, Statement], str]
    among: Callable[[Sequence[int], Statement], str]
    xor: str
    fulltext: Callable[[FullText, Statement], str]
    found_by_readers: Callable[[tuple[int, ...], tuple[str, ...], Statement], str]
    found_by_words: Callable[[FullText, Statement], str] | None = None

    def tie(self, one: str, other: str) -> str:
        """The same resource in two tables."""
        return " AND ".join(f"{one}.{name} = {other}.{name}" for name in self.row)

    def columns(self, table: str) -> str:
        """What names a row, from `table`."""
        return ", ".join(f"{table}.{name}" for name in self.row)

    def all_of_type(self, index: str) -> str:
        """The table of resources, read along `index`."""
        return f"resource r{self.hint.format(index)}"


@dataclass(frozen=True, slots=True)
class Driver:
    """Which rows are read first: those of `condition` (None: of the type), walked in order or collected.

    `also`: further single keys of the ordered table, joined to a walk along the first.
    """

    walks: bool
    condition: Driving | None = None
    also: tuple[Keys, ...] = ()


@dataclass(slots=True)
class _Source:
    """FROM and its own predicates, the columns that lead the order, and the conditions that it meets by itself.

    `is_in_order`: its rows come in the order of the search already.
    """

    tables: str
    where: list[str] = field(default_factory=list)
    rid: str = "r.rid"
    first: Key | None = None
    is_in_order: bool = False
    met: tuple[Condition, ...] = ()


class Select:
    """One statement of a search.

    `stage` 1 gives the rows without a value for the first sort; `parts` are all those where rows may be, when known.
    """

    def __init__(
        self,
        dialect: Dialect,
        query: Query,
        memberships: Memberships,
        driver: Driver,
        *,
        stage: int = 0,
        parts: Sequence[int] = (),
    ) -> None:
        self.statement = Statement(dialect.mark, memberships)
        self._dialect = dialect
        self._query = query
        self._memberships = memberships
        self._driver = driver
        self._stage = stage
        self._parts = parts
        self._sorts = searching.order(query)

    def page(self, at: Cursor | None, limit: int) -> str:
        """The rows of a page: resource columns, sort values, rid."""
        driven = self._driver.condition
        names = ", ".join(f"r.{name} AS row_{name}" for name in self._dialect.row)
        # One walk for each key or type, merged: the rows of one are in order, those of several are not.
        if self._driver.walks and isinstance(driven, Keys) and len(driven.any_of) > 1 and self._by_date():
            walks = [self._ordered(self._key_walk(key, driven), at, limit, names) for key in driven.any_of]
        elif self._driver.walks and driven is None and len(self._query.types) > 1:
            types = self._query.types
            walks = [self._ordered(self._source(), at, limit, names, types=(one,)) for one in types]
        elif driven is not None and not self._driver.walks:
            if isinstance(driven, Keys) and self._is_newest_first() and _is_in_hot(driven, self._dialect):
                return self._ordered(self._newest(driven), at, limit, _COLUMNS)
            walks = [self._ordered(self._source(), at, limit, names)]  # bodies are read for the page alone
        else:
            return self._ordered(self._source(), at, limit, _COLUMNS)
        shape = self._row_keys(self._sorts[self._stage :], Statement(self._dialect.mark))
        keys = [Key(f"u.k{n}", key.descending, key.nullable) for n, key in enumerate(shape)]
        rid = Key("u.row_rid", self._sorts[0].descending)
        columns = ", ".join([_COLUMNS, *(key.expression for key in keys), rid.expression])
        union = " UNION ".join(f"SELECT * FROM ({walk}) w{n}" for n, walk in enumerate(walks))
        tie = " AND ".join(f"r.{name} = u.row_{name}" for name in self._dialect.row)
        order = ", ".join(key.order() for key in [*keys, rid])
        return (
            f"SELECT {columns} FROM ({union}) u {self._dialect.join} resource r ON {tie} ORDER BY {order} LIMIT {limit}"
        )

    def total(self) -> str:
        """How many match."""
        where = self._query.where
        if self._memberships is None and len(where) == 1 and _is_counted_by_key(where[0], self._dialect):
            return f"SELECT COUNT(*) FROM ({found_by(where[0], self._dialect, (), self.statement)}) c"
        source = self._collected()
        return f"SELECT COUNT(*) FROM {source.tables} WHERE {' AND '.join([*source.where, *self._filters(source)])}"

    def _by_date(self) -> bool:
        return self._sorts[0].by == "sort_date"

    def _is_newest_first(self) -> bool:
        return len(self._sorts) == 1 and self._by_date() and self._sorts[0].descending

    def _tie(self, table: str) -> str:
        return self._dialect.tie(table, "r")

    def _row_keys(self, sorts: Sequence[Sort], statement: Statement) -> list[Key]:
        return searching.row_keys(sorts, statement, join=self._tie("x"), unused=self._dialect.unused)

    def _ordered(
        self, source: _Source, at: Cursor | None, limit: int, columns: str, *, types: tuple[str, ...] = ()
    ) -> str:
        keys = self._row_keys(self._sorts[1:], self.statement)
        if not self._stage:
            first = source.first or self._row_keys(self._sorts[:1], self.statement)[0]
            keys = [first, *keys]
        rid = Key(source.rid, self._sorts[0].descending)
        where = [*source.where, *self._filters(source, types)]
        if at:
            where.append(searching.after(keys, rid, at.within(self._stage), self.statement))
        named = [f"{key.expression} AS k{n}" for n, key in enumerate(keys)]
        order = [key.order(f"k{n}" if key.expression.startswith("(") else None) for n, key in enumerate(keys)]
        last = [rid.expression] if columns == _COLUMNS else []
        sorted_by = "" if source.is_in_order else f"ORDER BY {', '.join([*order, rid.order()])} "
        return (
            f"SELECT {', '.join([columns, *named, *last])} FROM {source.tables} WHERE {' AND '.join(where)} "
            f"{sorted_by}LIMIT {limit}"
        )

    def _source(self) -> _Source:
        first = self._sorts[0]
        if not self._driver.walks:
            return self._collected()
        if first.by in searching.RANGES:
            return self._range_walk(first)
        if not self._by_date():
            index = self._dialect.all_of_type("resource_by_update")
            return _Source(index, first=Key("r.updated", first.descending))
        if isinstance(self._driver.condition, Keys):
            return self._key_walk(self._driver.condition.any_of[0], self._driver.condition)
        return self._dated(_Source(self._dialect.all_of_type("resource_by_date")), "r.sort_date")

    def _key_walk(self, key: int, condition: Keys) -> _Source:
        tables = ["hot h"]
        for n, one in enumerate(self._driver.also):
            same = f"o{n}.hash = {self.statement.arg(one.any_of[0])} AND o{n}.sort_date = h.sort_date"
            tables.append(f"hot o{n} ON {same} AND {self._dialect.tie(f'o{n}', 'h')}")
        tables.append(f"resource r ON {self._tie('h')}")
        where = [f"h.hash = {self.statement.arg(key)}"]
        met = (condition, *self._driver.also)
        return self._dated(_Source(f" {self._dialect.join} ".join(tables), where, "h.rid", met=met), "h.sort_date")

    def _newest(self, condition: Keys) -> _Source:
        """The rows of many keys, newest first: sorted where the dates are, before any row is looked at."""
        among = self._dialect.among(condition.any_of, self.statement)
        names = f"{self._dialect.columns('h')}, h.sort_date"
        # SQLite keeps the order of a subquery that has a limit, and would sort again, all of it, if it were told to.
        rows = f"SELECT DISTINCT {names} FROM hot h WHERE h.hash {among} ORDER BY h.sort_date DESC, h.rid DESC"
        tables = f"({rows} LIMIT {_ENDLESS}) c {self._dialect.join} resource r ON {self._tie('c')}"
        in_order = self._dialect.row == ("rid",)
        return _Source(tables, [], "c.rid", Key("c.sort_date", True), is_in_order=in_order, met=(condition,))

    def _dated(self, source: _Source, date: str) -> _Source:
        source.first = Key(date, self._sorts[0].descending)
        if not self._sorts[0].descending:
            source.where.append(f"{date} {'=' if self._stage else '>'} {NO_DATE}")
        return source

    def _range_walk(self, first: Sort) -> _Source:
        param = self.statement.equal(first.param)
        if self._stage:
            rows = f"{first.by} x WHERE {self._tie('x')} AND {searching.of_param(first, 'x', param)}"
            none = self._dialect.missing.format(rows)
            return _Source(self._dialect.all_of_type("resource_by_date"), [none])
        lead, tie = searching.best_value(first)
        better = f"({self._dialect.unused}b.{lead}, b.{tie}) {'>' if first.descending else '<'} (w.{lead}, w.{tie})"
        # Of several values of one resource only the best one counts.
        same = "b.param = w.param" + (" AND b.unit = w.unit" if first.by == "num" else "")
        best = f"{first.by} b WHERE {self._dialect.tie('b', 'w')} AND {same} AND {better}"
        return _Source(
            f"{first.by} w {self._dialect.join} resource r ON {self._tie('w')}",
            [searching.of_param(first, "w", param), self._dialect.missing.format(best)],
            "w.rid",
            Key(f"w.{lead}", first.descending),
        )

    def _collected(self) -> _Source:
        condition = self._driver.condition
        if condition is None:
            return _Source(self._dialect.all_of_type("resource_by_date"))
        if isinstance(condition, Addresses):
            these = test(condition, self._dialect, self.statement)
            return _Source(self._dialect.all_of_type("resource_by_address"), [these], met=(condition,))
        rows = found_by(condition, self._dialect, self._query.all_types, self.statement)
        met = () if isinstance(condition, (Either, Mine)) else (condition,)
        return _Source(
            f"(SELECT DISTINCT * FROM ({rows}) c) c {self._dialect.join} resource r ON {self._tie('c')}", met=met
        )

    def _filters(self, source: _Source, types: tuple[str, ...] = ()) -> list[str]:
        found = [f"r.type {self.statement.equal(*(types or self._query.all_types))}", "r.deleted = 0"]
        found += [f"r.part IN ({_marks(self._parts, self.statement)})"] if self._parts else []
        if self._memberships is not None:
            found.append(self._dialect.readers(self._memberships, self.statement, types or self._query.all_types))
        met = {id(one) for one in source.met}
        for one in self._query.where:
            if id(one) not in met:
                found.append(test(one, self._dialect, self.statement))
            elif isinstance(one, Keys) and one.needles:
                found.append(_has_needle(one, self._dialect, self.statement))
        return found


def _is_in_hot(condition: Keys, dialect: Dialect) -> bool:
    return not condition.is_told if dialect.row == ("rid",) else condition.ordered


def _is_counted_by_key(condition: Condition, dialect: Dialect) -> bool:
    if not isinstance(condition, Keys) or len(condition.any_of) != 1 or condition.negated or condition.needles:
        return False
    return _is_in_hot(condition, dialect)


def found_by(condition: Driving, dialect: Dialect, types: tuple[str, ...], statement: Statement) -> str:
    """The rows of a condition that can drive, some of them more than once."""
    if isinstance(condition, Keys) and _is_in_hot(condition, dialect):
        return f"SELECT {dialect.columns('h')} FROM hot h WHERE h.hash {dialect.among(condition.any_of, statement)}"
    if isinstance(condition, Text):
        tests = searching.texts(condition, statement, dialect.contains)
        params = statement.equal(condition.param, *condition.also)
        return f"SELECT {dialect.columns('s')} FROM str s WHERE s.param {params} AND {tests}"
    if isinstance(condition, Moment):
        tests = searching.moments(condition.tests, "d.lo", "d.hi", statement)
        params = statement.equal(condition.param, *condition.also)
        return f"SELECT {dialect.columns('d')} FROM dat d WHERE d.param {params} AND {tests}"
    if isinstance(condition, Amount):
        # One index range for each test, not one scan for all.
        rows = f"SELECT {dialect.columns('d')} FROM num d WHERE d.param = {statement.arg(condition.param)} AND "
        return " UNION ALL ".join(rows + values.amount(one, "d", statement) for one in condition.tests)
    if isinstance(condition, (Extent, Near)):
        table, tests = values.measured(condition, "d", statement)
        return (
            f"SELECT {dialect.columns('d')} FROM {table} d WHERE d.param = {statement.arg(condition.param)} AND {tests}"
        )
    if isinstance(condition, Either):
        leading = (next(filter(_leads, way)) for way in condition.ways)
        return " UNION ALL ".join(
            f"SELECT * FROM ({found_by(one, dialect, types, statement)}) e{n}" for n, one in enumerate(leading)
        )
    if isinstance(condition, Mine):
        return mine.found_by(condition, dialect, types, statement)
    if isinstance(condition, FullText) and dialect.found_by_words:
        return dialect.found_by_words(condition, statement)
    table = dialect.all_of_type("resource_by_address") if isinstance(condition, Addresses) else "resource r"
    if isinstance(condition, Or):
        return " UNION ALL ".join(found_by(one, dialect, types, statement) for one in condition.of)
    alive = f"SELECT {dialect.columns('r')} FROM {table} WHERE r.type {statement.equal(*types)} AND r.deleted = 0"
    return f"{alive} AND {test(condition, dialect, statement)}"


def test(condition: Condition, dialect: Dialect, statement: Statement) -> str:
    """The condition as a predicate on the row `r`."""
    if isinstance(condition, Keys):
        found = dialect.keys(condition, statement)
        return f"({found} AND {_has_needle(condition, dialect, statement)})" if condition.needles else found
    if isinstance(condition, joined.JOINED):
        return joined.test(condition, dialect, statement, test)
    if isinstance(condition, Ids):
        return f"r.fid IN ({_marks(condition.ids, statement)})"
    if isinstance(condition, FullText):
        return dialect.fulltext(condition, statement)
    if isinstance(condition, Updated):
        return searching.moments(condition.tests, "r.updated", "r.updated", statement)
    if isinstance(condition, Present):
        params = statement.equal(condition.param, *condition.also)
        found = f"{condition.table} x WHERE {dialect.tie('x', 'r')} AND x.param {params}"
        return (dialect.exists if condition.present else dialect.missing).format(found)
    if isinstance(condition, Either):
        ways = [" AND ".join(test(one, dialect, statement) for one in way) or "1 = 1" for way in condition.ways]
        some = " OR ".join(f"({way})" for way in ways) or "1 = 0"
        return f"NOT COALESCE(({some}), FALSE)" if condition.negated else f"({some})"
    params = statement.equal(condition.param, *(condition.also if isinstance(condition, (Text, Moment)) else ()))
    # SQLite is kept off the value-led indexes: the row is known, its primary key leads to its few values.
    if isinstance(condition, Moment):
        table, tests = (
            "dat",
            searching.moments(condition.tests, f"{dialect.unused}x.lo", f"{dialect.unused}x.hi", statement),
        )
    elif isinstance(condition, Text):
        table, tests = "str", searching.texts(condition, statement, dialect.contains, table="x", unused=dialect.unused)
    else:
        table, tests = values.measured(condition, "x", statement, unused=dialect.unused)
    return dialect.exists.format(f"{table} x WHERE {dialect.tie('x', 'r')} AND x.param {params} AND {tests}")


def _has_needle(condition: Keys, dialect: Dialect, statement: Statement) -> str:
    return f"({' OR '.join(dialect.needle.format(statement.arg(one)) for one in condition.needles)})"


def is_range(condition: Condition) -> bool:
    """Can its rows be read along the index of a range table?"""
    if isinstance(condition, Text):
        return condition.mode not in ("contains", "ends")
    if isinstance(condition, Either):
        ways = condition.ways if not condition.negated else ()
        return bool(ways) and all(any(map(_leads, way)) for way in ways)
    return isinstance(condition, (Moment, Amount, Extent, Near))


def ways_to_drive(condition: Condition) -> list[Condition]:
    """The same condition in forms that are driven by different rows: an Either by its keys, or by its ranges."""
    if not isinstance(condition, Either):
        return [condition]
    by_range = tuple(tuple(sorted(way, key=lambda one: not is_range(one))) for way in condition.ways)
    by_key = tuple(tuple(sorted(way, key=lambda one: is_range(one))) for way in condition.ways)
    return [Either(ways) for ways in dict.fromkeys((by_range, by_key))]


def _leads(condition: Condition) -> bool:
    """Can it stand for the others of one way of an Either?"""
    return is_range(condition) or (isinstance(condition, Keys) and condition.ordered and not condition.negated)


def _marks(values: Sequence[object], statement: Statement) -> str:
    """The inside of IN (...); NULL for none, which nothing equals."""
    return ", ".join(map(statement.arg, values)) or "NULL"
