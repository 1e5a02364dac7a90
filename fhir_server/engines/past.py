"""What SQL finds the versions that a history of a type, or of everything, asks for?

Current versions are in `resource`, older ones in `version`; both have an index by type and moment, so that a page is a
range of it for each type, merged. Where the caller may see few resources these are collected first instead, because a
walk would pass over everything that is hidden. Bodies are fetched last, and only as many as the answer may carry.
One statement, so that a version that is replaced meanwhile is seen exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_server.changes import Stored
from fhir_server.engines.searching import Statement
from fhir_server.engines.select import Dialect
from fhir_server.rows import Memberships
from fhir_server.timeline import Asked, Found

_ORDER = "updated DESC, rid DESC, version DESC"


class Select:
    """The statement for `asked`, as these memberships see it; `seen` is SQL for the rows they may see when few."""

    def __init__(self, dialect: Dialect, asked: Asked, memberships: Memberships, seen: str = "") -> None:
        self.statement = Statement(dialect.mark)
        self._dialect = dialect
        self._asked = asked
        self._memberships = memberships
        self._seen = seen

    def sql(self, seen_args: Sequence[object] = ()) -> str:
        """Columns: type, id, version, updated, body, method, rid, and how many versions were found in all."""
        self.statement.args += seen_args  # the placeholders of `seen` come first
        tables = ("resource", "version")
        if self._seen:
            types = ", ".join(map(self.statement.arg, self._asked.types)) or "NULL"
            arms = [self._arm(table, f"IN ({types})") for table in tables]
        else:
            marks = [self.statement.arg(type) for type in self._asked.types] or ["NULL"]
            arms = [self._arm(table, f"= {mark}") for mark in marks for table in tables]
        found = " UNION ALL ".join(f"SELECT * FROM ({arm}) a{n}" for n, arm in enumerate(arms))
        over = f"OVER (ORDER BY {_ORDER})"
        keys = f"SELECT * FROM ({found}) u ORDER BY {_ORDER} LIMIT {self._asked.count + 1}"
        sized = (
            f"SELECT w.*, SUM(size) {over} AS total, ROW_NUMBER() {over} AS place, COUNT(*) OVER () AS found "
            f"FROM ({keys}) w"
        )
        begin = f"WITH seen AS MATERIALIZED ({self._seen}) " if self._seen else ""
        tie, old = self._dialect.tie("r", "k"), self._dialect.tie("v", "k")
        return (
            f"{begin}SELECT k.type, k.fid, k.version, k.updated, COALESCE(r.body, v.body), k.method, k.rid, k.found "
            f"FROM ({sized}) k LEFT JOIN resource r ON {tie} AND r.version = k.version "
            f"LEFT JOIN version v ON {old} AND v.version = k.version "
            f"WHERE k.total <= {self.statement.arg(self._asked.room)} OR k.place = 1 "
            "ORDER BY k.updated DESC, k.rid DESC, k.version DESC"
        )

    def _arm(self, table: str, type: str) -> str:
        """The newest versions of a type (or of several) in one of the two tables."""
        one, join = table[0], self._dialect.join
        names = [*self._dialect.row, "version", "type", "fid", "updated", "method"]
        columns = ", ".join([*(f"{one}.{name}" for name in names), f"length({one}.body) AS size"])
        rows = f"{table} {one}"
        if self._memberships is not None and one == "v":
            rows = f"version v {join} resource r ON {self._dialect.tie('r', 'v')}"
        if self._seen:
            rows = f"seen s {join} resource r ON {self._dialect.tie('r', 's')}"
            rows += f" {join} version v ON {self._dialect.tie('v', 's')}" if one == "v" else ""
        where = [f"{one}.type {type}", *self._bounds(one)]
        if self._memberships is not None:
            where.append(self._dialect.readers(self._memberships, self.statement, self._asked.types))
        order = ", ".join(f"{one}.{name} DESC" for name in ("updated", "rid", "version"))
        return (
            f"SELECT {columns} FROM {rows} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT {self._asked.count + 1}"
        )

    def _bounds(self, one: str) -> list[str]:
        asked, arg = self._asked, self.statement.arg
        found = []
        if asked.after is not None:
            marks = ", ".join(map(arg, asked.after))
            found.append(f"({one}.updated, {one}.rid, {one}.version) < ({marks})")
        if asked.since is not None:
            found.append(f"{one}.updated >= {arg(asked.since)}")
        if asked.at is not None:
            start, end = map(arg, asked.at)
            found.append(f"{one}.updated <= {end} AND ({one}.method <> 'DELETE' OR {one}.updated >= {start})")
            if one == "v":
                found.append(f"{self._replaced()} > {start}")
        return found

    def _replaced(self) -> str:
        """When the version `v` stopped being the current one."""
        later = (
            f"(SELECT n.updated FROM {table} n WHERE {self._dialect.tie('n', 'v')} AND n.version = v.version + 1)"
            for table in ("version", "resource")
        )
        return f"COALESCE({', '.join(later)})"


def page(asked: Asked, rows: Sequence[Sequence[Any]]) -> Found:
    """The page that the rows of a statement are."""
    shown = rows[: asked.count]
    # A tombstone has an empty body; none at all would be a row that moved between nodes while they were read.
    stored = [Stored(*row[:6]) for row in shown if row[4] is not None]
    if not shown or shown[-1][7] <= len(shown):
        return Found(stored, None)
    last = shown[-1]
    return Found(stored, (last[3], last[6], last[2]))


# The types that there are, by leaps through an index that begins with the type.
TYPES = """
WITH RECURSIVE t(type) AS (
    SELECT MIN(type) FROM resource
    UNION ALL SELECT (SELECT MIN(r.type) FROM resource r WHERE r.type > t.type) FROM t WHERE t.type IS NOT NULL
)
SELECT type FROM t WHERE type IS NOT NULL
"""
