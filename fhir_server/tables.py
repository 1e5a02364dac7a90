"""What tables does the record have?

The schema once, for both engines, in SQLAlchemy Core: migrations, administration and the console read it; the FHIR path
does not (its SQL is in `engines/`).

The two engines differ where their indexes differ, and only there:

- PostgreSQL keeps every equality key of a resource in an array on its row (GIN) and the keys that drive most searches
  in `hot` as well. Every table starts with `part` (`ids.py`), first column of its primary key and of each unique key,
  so that Citus can spread the schema without changing it; an id chosen by a client is found through `locator`.
- SQLite is one file on one machine: a rid is enough to find a row, (type, fid) is unique by itself, and `hot`,
  clustered by hash, holds the equality keys that lead to rows and one key for each reader. Arrays are packed
  little-endian 64-bit integers. The words of full text are in `fulltext`, a virtual table (FTS5) beside this schema:
  see `VIRTUAL`. What FTS5 writes for one resource costs as much as for many, so new words wait in `words_waiting`
  until there are many, or until somebody looks for words.

Times are microseconds since 1970 in UTC. A resource without a clinical date has `sort_date` = NO_DATE.
"""

from __future__ import annotations

from sqlalchemy import Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import TSVECTOR

from fhir_server import work_tables
from fhir_server.columns import BIG, KEYS, SMALL, WORDS, column, leading_part, primary

NO_DATE = -(2**63) + 1  # the lowest number that both engines read back from SQL text

# Texts come as words that are folded and separated by spaces already. Its shadow tables start with the same name.
VIRTUAL = frozenset({"fulltext"})


def schema(dialect: str) -> MetaData:
    """All tables of the record for `dialect`, "sqlite" or "postgresql"."""
    metadata = MetaData()
    spread = dialect == "postgresql"
    _resource(metadata, spread)
    _version(metadata, spread)
    _hot(metadata, spread)
    _ranges(metadata, spread)
    _link(metadata, spread)
    _standing(metadata)
    _unique_key(metadata)
    work_tables.add(metadata, spread)
    if spread:
        _locator(metadata)
    else:
        _words_waiting(metadata)
    return metadata


def _resource(metadata: MetaData, spread: bool) -> None:
    Table(
        "resource",
        metadata,
        column("part", BIG),
        column("rid", BIG),
        column("type", WORDS),
        column("fid", WORDS),
        column("address", BIG),  # the hash of "type/fid"
        column("version", Integer),
        column("updated", BIG),
        column("deleted", SMALL),
        column("sort_date", BIG),
        column("method", WORDS),
        column("generation", Integer),
        column("readers", KEYS),
        column("patient", BIG),  # the address of whose it is, 0 for nobody's
        column("sharing", SMALL),  # with whom (`rights/sharing.py`)
        column("eq", KEYS),
        *([column("words", TSVECTOR)] if spread else []),
        column("body", LargeBinary),  # last, so that SQLite finds all else on the row's first page
        primary(spread, "rid"),
        UniqueConstraint(*(("part", "type", "fid") if spread else ("type", "fid")), name="resource_id"),
        *_row_indexes(spread),
        sqlite_strict=True,
    )


def _version(metadata: MetaData, spread: bool) -> None:
    Table(
        "version",
        metadata,
        *leading_part(spread),
        column("rid", BIG),
        column("version", Integer),
        column("type", WORDS),
        column("fid", WORDS),
        column("updated", BIG),
        column("method", WORDS),
        column("body", LargeBinary),
        primary(spread, "rid", "version"),
        Index("version_by_update", "type", "updated", "rid", "version"),
        sqlite_strict=True,
    )


def _row_indexes(spread: bool) -> list[Index]:
    alive, gone = text("deleted = 0"), text("deleted = 1")
    return [
        Index("resource_by_date", "type", "sort_date", "rid", postgresql_where=alive, sqlite_where=alive),
        # Tombstones too: histories show them.
        Index("resource_by_update", "type", "updated", "rid"),
        Index("resource_by_address", "address"),
        # What an older program indexed, once there is a newer one.
        Index("resource_by_generation", "generation", "rid", postgresql_where=alive, sqlite_where=alive),
        # What an export since a moment has to tell of: the tombstones.
        Index("resource_gone", "type", "updated", "rid", postgresql_where=gone, sqlite_where=gone),
        *(_array_indexes() if spread else []),
    ]


def _array_indexes() -> list[Index]:
    # No pending list for keys: searches would read it each time, and inserts take as long either way. Words have one:
    # there are many of each resource, and they are looked for less often.
    keys = Index("resource_keys", "eq", "readers", postgresql_using="gin", postgresql_with={"fastupdate": "off"})
    return [keys, Index("resource_words", "words", postgresql_using="gin")]


def _hot(metadata: MetaData, spread: bool) -> None:
    Table(
        "hot",
        metadata,
        *leading_part(spread),
        column("hash", BIG),
        column("sort_date", BIG),
        column("rid", BIG),
        primary(spread, "hash", "sort_date", "rid"),
        # With the part at its end the index answers alone.
        *([Index("hot_by_hash", "hash", "sort_date", "rid", "part")] if spread else []),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _ranges(metadata: MetaData, spread: bool) -> None:
    part = ["part"] if spread else []
    Table(
        "str",
        metadata,
        *leading_part(spread),
        column("rid", BIG),
        column("param", Integer),
        column("n", SMALL),
        column("folded", WORDS),
        column("raw", WORDS),
        primary(spread, "rid", "param", "n"),
        Index("str_by_value", "param", "folded", "rid", *part),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    Table(
        "dat",
        metadata,
        *leading_part(spread),
        column("rid", BIG),
        column("param", Integer),
        column("lo", BIG),
        column("hi", BIG),
        primary(spread, "rid", "param", "lo", "hi"),
        Index("dat_by_start", "param", "lo", "rid", "hi", *part),
        Index("dat_by_end", "param", "hi", "rid", "lo", *part),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    _num(metadata, spread, part)


def _num(metadata: MetaData, spread: bool, part: list[str]) -> None:
    """Numbers and quantities: lo and hi are texts in the order of the numbers (`amounts.py`), unit 0 is any unit."""
    Table(
        "num",
        metadata,
        *leading_part(spread),
        column("rid", BIG),
        column("param", Integer),
        column("unit", BIG),
        column("lo", WORDS),
        column("hi", WORDS),
        primary(spread, "rid", "param", "unit", "lo", "hi"),
        Index("num_by_low", "param", "unit", "lo", "rid", "hi", *part),
        Index("num_by_high", "param", "unit", "hi", "rid", "lo", *part),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _link(metadata: MetaData, spread: bool) -> None:
    """From a resource to what it refers to; the way back is the key of the reference in `hot`."""
    Table(
        "link",
        metadata,
        *leading_part(spread),
        column("rid", BIG),
        column("param", Integer),
        column("address", BIG),
        primary(spread, "rid", "param", "address"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _standing(metadata: MetaData) -> None:
    """How people stand towards patients (`rights/standing.py`); `source` is the row that says so.

    Asked for each row that a search looks at, of whatever patient: spread over nodes it is a copy on each.
    """
    against = text("bit IN (4, 8, 16)")
    Table(
        "standing",
        metadata,
        column("patient", BIG),
        column("who", BIG),
        column("bit", SMALL),
        column("source", BIG),
        column("lo", BIG),
        column("hi", BIG),
        PrimaryKeyConstraint("patient", "who", "bit", "source", "lo"),
        Index("standing_by_source", "source"),
        Index("standing_by_person", "who", "bit", "patient"),
        # Most patients are against nobody: then who was named needs no further look.
        Index("standing_against", "patient", postgresql_where=against, sqlite_where=against),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _unique_key(metadata: MetaData) -> None:
    Table(
        "unique_key",
        metadata,
        column("part", BIG),
        column("key", WORDS),
        column("type", WORDS),
        column("fid", WORDS),
        PrimaryKeyConstraint("part", "key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _locator(metadata: MetaData) -> None:
    Table(
        "locator",
        metadata,
        column("part", BIG),  # the hash of "type/fid", not where the resource lives: that is `home`
        column("type", WORDS),
        column("fid", WORDS),
        column("home", BIG),
        PrimaryKeyConstraint("part", "type", "fid"),
    )


def _words_waiting(metadata: MetaData) -> None:
    Table(
        "words_waiting",
        metadata,
        column("rid", BIG),
        column("again", SMALL),  # there may be words of an older version to take out
        column("narrative", WORDS),
        column("displays", WORDS),
        column("content", WORDS),
        PrimaryKeyConstraint("rid"),
        sqlite_strict=True,
    )
