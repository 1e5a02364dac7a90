"""What SQL finds the resources of a compartment, whatever their types?

The ordered table gives the rows with one of the compartment's reference keys; the caller's rights and the other
conditions are tested on the row. Bodies are fetched last, and only as many as the answer may carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_server.around import Asked, Found
from fhir_server.changes import Stored
from fhir_server.engines import searching
from fhir_server.engines.searching import Statement
from fhir_server.engines.select import Dialect
from fhir_server.rows import Memberships


def select(dialect: Dialect, asked: Asked, memberships: Memberships) -> tuple[str, list[object]]:
    """The statement and its arguments: type, id, version, updated, body, method, rid, and how many were found."""
    statement = Statement(dialect.mark)
    keys = ", ".join(map(statement.arg, asked.keys)) or "NULL"
    rows = f"SELECT DISTINCT {dialect.columns('h')} FROM hot h WHERE h.hash IN ({keys})"
    where = [f"r.rid > {statement.arg(asked.after)}", *_filters(dialect, asked, statement)]
    if memberships is not None:
        where.append(dialect.readers(memberships, statement, asked.types))
    columns = f"{dialect.columns('r')}, r.type, r.fid, r.version, r.updated, r.method, length(r.body) AS size"
    found = (
        f"SELECT {columns} FROM ({rows}) c {dialect.join} resource r ON {dialect.tie('r', 'c')} "
        f"WHERE {' AND '.join(where)} ORDER BY r.rid LIMIT {asked.count + 1}"
    )
    over = "OVER (ORDER BY rid)"
    sized = f"SELECT w.*, SUM(size) {over} AS total, ROW_NUMBER() {over} AS place, COUNT(*) OVER () AS found"
    sql = (
        f"SELECT k.type, k.fid, k.version, k.updated, r.body, k.method, k.rid, k.found FROM ({sized} FROM ({found}) w) "
        f"k {dialect.join} resource r ON {dialect.tie('r', 'k')} "
        f"WHERE k.total <= {statement.arg(asked.room)} OR k.place = 1 ORDER BY k.rid"
    )
    return sql, statement.args


def page(asked: Asked, rows: Sequence[Sequence[Any]]) -> Found:
    """The page that the rows of a statement are."""
    shown = rows[: asked.count]
    is_last = not shown or shown[-1][7] <= len(shown)
    return Found([Stored(*row[:6]) for row in shown], None if is_last else shown[-1][6])


def _filters(dialect: Dialect, asked: Asked, statement: Statement) -> list[str]:
    types = ", ".join(map(statement.arg, asked.types)) or "NULL"
    found = ["r.deleted = 0", f"r.type IN ({types})"]
    if asked.since is not None:
        found.append(f"r.updated >= {statement.arg(asked.since)}")
    if asked.span is not None and asked.dated:
        params = ", ".join(map(statement.arg, asked.dated))
        dates = f"dat x WHERE {dialect.tie('x', 'r')} AND x.param IN ({params})"
        inside = searching.moments((("ap", *asked.span),), "x.lo", "x.hi", statement)
        missing, exists = dialect.missing.format(dates), dialect.exists.format(f"{dates} AND {inside}")
        found.append(f"({missing} OR {exists})")
    return found
