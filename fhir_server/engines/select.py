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

from fhir_server.conditions import Condition, FullText, Ids, Keys, Moment, Present, Query, Sort, Text, Updated
from fhir_server.engines import searching
from fhir_server.engines.searching import Cursor, Key, Statement
from fhir_server.rows import Memberships
from fhir_server.tables import NO_DATE

_COLUMNS = "r.type, r.fid, r.version, r.updated, r.body, r.method"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an engine writes the shapes. `row` names a row; `hint` and `unused` steer SQLite's choice of indexes."""

    mark: str
    row: tuple[str, ...]
    join: str
    hint: str
    unused: str
    exists: str
    missing: str
    contains: str
    needle: str
    readers: Callable[[Sequence[int], Statement], str]
    keys: Callable[[Keys, Statement], str]
    fulltext: Callable[[FullText, Statement], str]
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
    condition: Condition | None = None
    also: tuple[Keys, ...] = ()


@dataclass(slots=True)
class _Source:
    """FROM and its own predicates, the columns that lead the order, and the conditions that it meets by itself."""

    tables: str
    where: list[str] = field(default_factory=list)
    rid: str = "r.rid"
    first: Key | None = None
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
        self.statement = Statement(dialect.mark)
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
        if not (self._driver.walks and isinstance(driven, Keys) and len(driven.any_of) > 1 and self._by_date()):
            return self._ordered(self._source(), at, limit, _COLUMNS)
        # One walk for each key, merged: the rows of one key are in order, those of several are not.
        names = ", ".join(f"r.{name} AS row_{name}" for name in self._dialect.row)
        walks = [self._ordered(self._key_walk(key, driven), at, limit, names) for key in driven.any_of]
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
            return f"SELECT COUNT(*) FROM ({found_by(where[0], self._dialect, '', self.statement)}) c"
        source = self._collected()
        return f"SELECT COUNT(*) FROM {source.tables} WHERE {' AND '.join([*source.where, *self._filters(source)])}"

    def _by_date(self) -> bool:
        return self._sorts[0].by == "sort_date"

    def _tie(self, table: str) -> str:
        return self._dialect.tie(table, "r")

    def _row_keys(self, sorts: Sequence[Sort], statement: Statement) -> list[Key]:
        return searching.row_keys(sorts, statement, join=self._tie("x"), unused=self._dialect.unused)

    def _ordered(self, source: _Source, at: Cursor | None, limit: int, columns: str) -> str:
        keys = self._row_keys(self._sorts[1:], self.statement)
        if not self._stage:
            first = source.first or self._row_keys(self._sorts[:1], self.statement)[0]
            keys = [first, *keys]
        rid = Key(source.rid, self._sorts[0].descending)
        where = [*source.where, *self._filters(source)]
        if at:
            where.append(searching.after(keys, rid, at.within(self._stage), self.statement))
        named = [f"{key.expression} AS k{n}" for n, key in enumerate(keys)]
        order = [key.order(f"k{n}" if key.expression.startswith("(") else None) for n, key in enumerate(keys)]
        last = [rid.expression] if columns == _COLUMNS else []
        return (
            f"SELECT {', '.join([columns, *named, *last])} FROM {source.tables} WHERE {' AND '.join(where)} "
            f"ORDER BY {', '.join([*order, rid.order()])} LIMIT {limit}"
        )

    def _source(self) -> _Source:
        first = self._sorts[0]
        if not self._driver.walks:
            return self._collected()
        if first.by in ("dat", "str"):
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
        met = tuple(one for one in (condition, *self._driver.also) if not one.needles)
        return self._dated(_Source(f" {self._dialect.join} ".join(tables), where, "h.rid", met=met), "h.sort_date")

    def _dated(self, source: _Source, date: str) -> _Source:
        source.first = Key(date, self._sorts[0].descending)
        if not self._sorts[0].descending:
            source.where.append(f"{date} {'=' if self._stage else '>'} {NO_DATE}")
        return source

    def _range_walk(self, first: Sort) -> _Source:
        param = self.statement.arg(first.param)
        if self._stage:
            none = self._dialect.missing.format(f"{first.by} x WHERE {self._tie('x')} AND x.param = {param}")
            return _Source(self._dialect.all_of_type("resource_by_date"), [none])
        lead, tie = searching.best_value(first)
        better = f"(b.{lead}, b.{tie}) {'>' if first.descending else '<'} (w.{lead}, w.{tie})"
        # Of several values of one resource only the best one counts.
        best = f"{first.by} b WHERE {self._dialect.tie('b', 'w')} AND b.param = w.param AND {better}"
        return _Source(
            f"{first.by} w {self._dialect.join} resource r ON {self._tie('w')}",
            [f"w.param = {param}", self._dialect.missing.format(best)],
            "w.rid",
            Key(f"w.{lead}", first.descending),
        )

    def _collected(self) -> _Source:
        condition = self._driver.condition
        if condition is None:
            return _Source(self._dialect.all_of_type("resource_by_date"))
        rows = found_by(condition, self._dialect, self._query.type, self.statement)
        met = () if isinstance(condition, Keys) and condition.needles else (condition,)
        return _Source(
            f"(SELECT DISTINCT * FROM ({rows}) c) c {self._dialect.join} resource r ON {self._tie('c')}", met=met
        )

    def _filters(self, source: _Source) -> list[str]:
        found = [f"r.type = {self.statement.arg(self._query.type)}", "r.deleted = 0"]
        if self._parts:
            found.append(f"r.part IN ({_marks(self._parts, self.statement)})")
        if self._memberships is not None:
            found.append(self._dialect.readers(self._memberships, self.statement))
        met = {id(one) for one in source.met}
        return found + [test(one, self._dialect, self.statement) for one in self._query.where if id(one) not in met]


def _is_counted_by_key(condition: Condition, dialect: Dialect) -> bool:
    if not isinstance(condition, Keys) or len(condition.any_of) != 1 or condition.negated or condition.needles:
        return False
    return condition.ordered or dialect.row == ("rid",)


def found_by(condition: Condition, dialect: Dialect, type: str, statement: Statement) -> str:
    """The rows of a condition that can drive, some of them more than once."""
    if isinstance(condition, Keys):
        return f"SELECT {dialect.columns('h')} FROM hot h WHERE h.hash IN ({_marks(condition.any_of, statement)})"
    if isinstance(condition, Text):
        tests = searching.texts(condition, statement, dialect.contains)
        return f"SELECT {dialect.columns('s')} FROM str s WHERE s.param = {statement.arg(condition.param)} AND {tests}"
    if isinstance(condition, Moment):
        tests = searching.moments(condition.tests, "d.lo", "d.hi", statement)
        return f"SELECT {dialect.columns('d')} FROM dat d WHERE d.param = {statement.arg(condition.param)} AND {tests}"
    if isinstance(condition, FullText) and dialect.found_by_words:
        return dialect.found_by_words(condition, statement)
    alive = f"SELECT {dialect.columns('r')} FROM resource r WHERE r.type = {statement.arg(type)} AND r.deleted = 0"
    return f"{alive} AND {test(condition, dialect, statement)}"


def test(condition: Condition, dialect: Dialect, statement: Statement) -> str:
    """The condition as a predicate on the row `r`."""
    if isinstance(condition, Keys):
        found = dialect.keys(condition, statement)
        needles = [dialect.needle.format(statement.arg(one)) for one in condition.needles]
        return f"({found} AND ({' OR '.join(needles)}))" if needles else found
    if isinstance(condition, Ids):
        return f"r.fid IN ({_marks(condition.ids, statement)})"
    if isinstance(condition, FullText):
        return dialect.fulltext(condition, statement)
    if isinstance(condition, Updated):
        return searching.moments(condition.tests, "r.updated", "r.updated", statement)
    if isinstance(condition, Present):
        values = f"{condition.table} x WHERE {dialect.tie('x', 'r')} AND x.param = {statement.arg(condition.param)}"
        return (dialect.exists if condition.present else dialect.missing).format(values)
    # SQLite is kept off the value-led indexes: the row is known, its primary key leads to its few values.
    if isinstance(condition, Moment):
        table, tests = (
            "dat",
            searching.moments(condition.tests, f"{dialect.unused}x.lo", f"{dialect.unused}x.hi", statement),
        )
    else:
        table, tests = "str", searching.texts(condition, statement, dialect.contains, table="x", unused=dialect.unused)
    return dialect.exists.format(
        f"{table} x WHERE {dialect.tie('x', 'r')} AND x.param = {statement.arg(condition.param)} AND {tests}"
    )


def _marks(values: Sequence[object], statement: Statement) -> str:
    """The inside of IN (...); NULL for none, which nothing equals."""
    return ", ".join(map(statement.arg, values)) or "NULL"
