"""Which table drives a search on SQLite?

SQLite keeps the join order it is given (CROSS JOIN) and has no statistics of ours, so the choice is made here, by
counting up to a bound: few rows are collected, many are walked (`select.py`). Long walks are the caller's concern
(`sqlite.py` moves them to a thread).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from fhir_server import ids
from fhir_server.conditions import Condition, FullText, Ids, Keys, Moment, Query, Text, Updated
from fhir_server.engines import searching, select, words
from fhir_server.engines.searching import Statement
from fhir_server.engines.select import Dialect, Driver, Select
from fhir_server.rows import Memberships, Page

FEW = 2000  # rows that are quicker to collect and sort than to walk
_VERY_FEW = 64
_MANY_KEYS = 32  # beyond, one walk for each key costs more than collecting them all


def packed(keys: Sequence[int]) -> bytes:
    """Keys as the BLOB that a row keeps."""
    return struct.pack(f"<{len(keys)}q", *keys)


def unpacked(blob: bytes) -> tuple[int, ...]:
    """The inverse of `packed`."""
    return struct.unpack(f"<{len(blob) // 8}q", blob)


@lru_cache(maxsize=65536)
def reader_key(type: str, reader: int) -> int:
    """The key in `hot` of the resources of a type that a reader may see."""
    return ids.hash64(f"{type}<{reader}")


def visible(memberships: Sequence[int], statement: Statement) -> str:
    """One of the memberships is among the readers of `r`, on a key's boundary."""
    marks = [f"instr(r.readers, {statement.arg(packed((one,)))}) % 8 = 1" for one in memberships]
    return f"({' OR '.join(marks or ['1 = 0'])})"


def _has_key(condition: Keys, statement: Statement) -> str:
    marks = ", ".join(map(statement.arg, condition.any_of))
    same = "k.sort_date = r.sort_date AND k.rid = r.rid"
    return f"{'NOT ' if condition.negated else ''}EXISTS (SELECT 1 FROM hot k WHERE k.hash IN ({marks}) AND {same})"


def _has_words(condition: FullText, statement: Statement) -> str:
    wanted = statement.arg(words.match(condition))
    return f"EXISTS (SELECT 1 FROM fulltext f WHERE f.fulltext MATCH {wanted} AND f.rowid = r.rid)"


def _found_by_words(condition: FullText, statement: Statement) -> str:
    return f"SELECT f.rowid AS rid FROM fulltext f WHERE f.fulltext MATCH {statement.arg(words.match(condition))}"


DIALECT = Dialect(
    mark="?",
    row=("rid",),
    join="CROSS JOIN",
    hint=" INDEXED BY {}",
    unused="+",
    exists="EXISTS (SELECT 1 FROM {})",
    missing="NOT EXISTS (SELECT 1 FROM {})",
    contains="instr({text}, {part}) > 0",
    needle="instr(r.body, {}) > 0",
    readers=visible,
    keys=_has_key,
    fulltext=_has_words,
    found_by_words=_found_by_words,
)


def _among_words(condition: FullText, statement: Statement) -> str:
    return f"r.rid IN ({_found_by_words(condition, statement)})"


# A look into the index of words for one row takes half a millisecond where words are common: enough for a few rows. Who
# walks through many has the matches listed once.
WALKING = replace(DIALECT, fulltext=_among_words)


def asks_for_words(where: object) -> bool:
    """Is there a FullText among these conditions, or in what they hold?"""
    if isinstance(where, tuple):
        return any(map(asks_for_words, where))
    if isinstance(where, FullText):
        return True
    if isinstance(where, (Keys, Text, Moment, Ids)) or not is_dataclass(where):
        return False
    return any(asks_for_words(getattr(where, one.name)) for one in fields(where))


def search(connection: sqlite3.Connection, query: Query, memberships: Memberships, *, few: int = FEW) -> Page:
    """One page of a query as these memberships see it; up to `few` rows are collected, more are walked.

    Raises Unreadable for a foreign cursor.
    """
    at = searching.cursor(query)
    driver = _choose(connection, query, memberships, few=few)
    rows: list[tuple[Any, ...]] = []
    for turn, stage in enumerate(searching.stages(query, at, walks=driver.walks)):
        page = Select(WALKING if driver.walks else DIALECT, query, memberships, driver, stage=stage)
        sql = page.page(None if turn else at, query.count + 1 - len(rows))
        found = connection.execute(sql, page.statement.args).fetchall()
        rows += [(*row[:6], None, *row[6:]) for row in found] if stage else found
        if len(rows) > query.count:
            break
    total = None
    if query.count and query.after is None and len(rows) <= query.count:
        total = len(rows)  # the only page: free
    elif query.total or not query.count:
        count = Select(WALKING if driver.walks else DIALECT, query, memberships, Driver(False, driver.condition))
        total = int(connection.execute(count.total(), count.statement.args).fetchone()[0])
    return searching.page(query, rows, total)


def _choose(connection: sqlite3.Connection, query: Query, memberships: Memberships, *, few: int) -> Driver:
    first = searching.order(query)[0].by
    able = [one for one in query.where if _can_drive(one)]
    if memberships is not None:
        # What the caller may see drives as well: often it is far less than what a condition finds.
        able.append(Keys(tuple(reader_key(query.type, one) for one in memberships)))
    if len(able) == 1 and first == "sort_date" and isinstance(able[0], Keys):
        return _over_keys(able[0])
    best = _small(connection, able, query.type, few=few)
    if best:
        return _over_keys(best) if first == "sort_date" and isinstance(best, Keys) else Driver(False, best)
    keys = next((one for one in able if isinstance(one, Keys)), None)
    return _over_keys(keys) if keys and first == "sort_date" else Driver(first != "id", keys)


def _small(connection: sqlite3.Connection, able: Sequence[Condition], type: str, *, few: int) -> Condition | None:
    """A condition that finds fewer rows than `few`, and not many more than another would."""
    for bound in sorted({min(_VERY_FEW, few), min(_VERY_FEW * 6, few), few}):
        for one in able:
            if _at_most(bound, connection, one, type) < bound:
                return one
    return None


def _over_keys(condition: Keys) -> Driver:
    return Driver(0 < len(condition.any_of) <= _MANY_KEYS, condition)


def _can_drive(condition: Condition) -> bool:
    if isinstance(condition, Keys):
        return not condition.negated
    if isinstance(condition, Text):
        return condition.mode != "contains"
    return isinstance(condition, (Moment, Ids, Updated, FullText))


def _at_most(bound: int, connection: sqlite3.Connection, condition: Condition, type: str) -> int:
    statement = Statement(DIALECT.mark)
    rows = select.found_by(condition, DIALECT, type, statement)
    return int(connection.execute(f"SELECT COUNT(*) FROM ({rows} LIMIT {bound})", statement.args).fetchone()[0])
