"""What tables does the record have?

The schema once, for both engines, in SQLAlchemy Core: migrations, administration and the console read it; the FHIR path
does not (its SQL is in `engines/`).

The two engines differ where their indexes differ, and only there:

- PostgreSQL keeps every equality key of a resource in an array on its row (GIN) and the keys that drive most searches
  in `hot` as well. Every table starts with `part` (`ids.py`), first column of its primary key and of each unique key,
  so that Citus can spread the schema without changing it; an id chosen by a client is found through `locator`.
- SQLite is one file on one machine: a rid is enough to find a row, (type, fid) is unique by itself, and `hot`,
  clustered by hash, holds the equality keys that lead to rows and one key for each reader. Arrays are packed
  little-endian 64-bit integers.

Times are microseconds since 1970 in UTC. A resource without a clinical date has `sort_date` = NO_DATE.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

NO_DATE = -(2**63) + 1  # the lowest number that both engines read back from SQL text


# STRICT tables of SQLite know INTEGER only; byte order ("C") makes both engines sort texts alike.
BIG = BigInteger().with_variant(Integer(), "sqlite")
SMALL = SmallInteger().with_variant(Integer(), "sqlite")
WORDS = Text().with_variant(Text(collation="C"), "postgresql")
KEYS = LargeBinary().with_variant(ARRAY(BigInteger), "postgresql")


def schema(dialect: str) -> MetaData:
    """All tables of the record for `dialect`, "sqlite" or "postgresql"."""
    metadata = MetaData()
    spread = dialect == "postgresql"
    _resource(metadata, spread)
    _version(metadata, spread)
    _hot(metadata, spread)
    _ranges(metadata, spread)
    _link(metadata, spread)
    _event(metadata, spread)
    _outbox(metadata, spread)
    _unique_key(metadata)
    _journal(metadata, spread)
    _secret(metadata)
    _job(metadata)
    _subscriber(metadata)
    _notices(metadata)
    if spread:
        _locator(metadata)
    return metadata


def _column(name: str, kind: object, *, null: bool = False) -> Column[object]:
    return Column(name, kind, nullable=null, autoincrement=False)  # type: ignore[arg-type]


def _part(spread: bool) -> list[Column[object]]:
    return [_column("part", BIG)] if spread else []


def _primary(spread: bool, *names: str) -> PrimaryKeyConstraint:
    return PrimaryKeyConstraint(*(("part", *names) if spread else names))


def _resource(metadata: MetaData, spread: bool) -> None:
    Table(
        "resource",
        metadata,
        _column("part", BIG),
        _column("rid", BIG),
        _column("type", WORDS),
        _column("fid", WORDS),
        _column("address", BIG),  # the hash of "type/fid"
        _column("version", Integer),
        _column("updated", BIG),
        _column("deleted", SMALL),
        _column("sort_date", BIG),
        _column("method", WORDS),
        _column("generation", Integer),
        _column("readers", KEYS),
        _column("eq", KEYS),
        # Last, so that SQLite finds all else on the row's first page.
        _column("body", LargeBinary),
        _primary(spread, "rid"),
        UniqueConstraint(*(("part", "type", "fid") if spread else ("type", "fid")), name="resource_id"),
        *_row_indexes(spread),
        sqlite_strict=True,
    )


def _version(metadata: MetaData, spread: bool) -> None:
    Table(
        "version",
        metadata,
        *_part(spread),
        _column("rid", BIG),
        _column("version", Integer),
        _column("type", WORDS),
        _column("fid", WORDS),
        _column("updated", BIG),
        _column("method", WORDS),
        _column("body", LargeBinary),
        _primary(spread, "rid", "version"),
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
        # What an export since a moment has to tell of: the tombstones.
        Index("resource_gone", "type", "updated", "rid", postgresql_where=gone, sqlite_where=gone),
        *([_keys_index()] if spread else []),
    ]


def _keys_index() -> Index:
    # No pending list: searches would read it each time, and inserts take as long either way.
    return Index("resource_keys", "eq", "readers", postgresql_using="gin", postgresql_with={"fastupdate": "off"})


def _hot(metadata: MetaData, spread: bool) -> None:
    Table(
        "hot",
        metadata,
        *_part(spread),
        _column("hash", BIG),
        _column("sort_date", BIG),
        _column("rid", BIG),
        _primary(spread, "hash", "sort_date", "rid"),
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
        *_part(spread),
        _column("rid", BIG),
        _column("param", Integer),
        _column("n", SMALL),
        _column("folded", WORDS),
        _column("raw", WORDS),
        _primary(spread, "rid", "param", "n"),
        Index("str_by_value", "param", "folded", "rid", *part),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    Table(
        "dat",
        metadata,
        *_part(spread),
        _column("rid", BIG),
        _column("param", Integer),
        _column("lo", BIG),
        _column("hi", BIG),
        _primary(spread, "rid", "param", "lo", "hi"),
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
        *_part(spread),
        _column("rid", BIG),
        _column("param", Integer),
        _column("unit", BIG),
        _column("lo", WORDS),
        _column("hi", WORDS),
        _primary(spread, "rid", "param", "unit", "lo", "hi"),
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
        *_part(spread),
        _column("rid", BIG),
        _column("param", Integer),
        _column("address", BIG),
        _primary(spread, "rid", "param", "address"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _event(metadata: MetaData, spread: bool) -> None:
    Table(
        "event",
        metadata,
        _column("part", BIG),
        _column("lane", SMALL),
        _column("seq", BIG),
        _column("type", WORDS),
        _column("fid", WORDS),
        _column("version", Integer),
        _column("method", WORDS),
        _column("updated", BIG),
        _column("actor", WORDS),
        _column("cause", WORDS),
        # The transaction. Whoever follows the log reads by it: a seq may be committed after a higher one.
        *([_column("tx", BIG), Index("event_by_tx", "tx")] if spread else []),
        _primary(spread, *(("lane", "seq") if spread else ("seq",))),
        sqlite_strict=True,
    )


def _outbox(metadata: MetaData, spread: bool) -> None:
    waiting = text("state = 'waiting'")
    Table(
        "outbox",
        metadata,
        _column("part", BIG),
        _column("lane", SMALL),
        _column("seq", BIG),
        _column("consumer", WORDS),
        _column("type", WORDS),
        _column("fid", WORDS),
        _column("due", BIG),
        _column("attempts", Integer),
        _column("leased_until", BIG),
        _column("state", WORDS),
        _column("error", WORDS),
        _primary(spread, *(("lane", "seq") if spread else ("seq",))),
        Index("outbox_waiting", "consumer", "lane", "due", postgresql_where=waiting, sqlite_where=waiting),
        Index("outbox_order", "consumer", "lane", "type", "fid", "seq", postgresql_where=waiting, sqlite_where=waiting),
        sqlite_strict=True,
    )


def _unique_key(metadata: MetaData) -> None:
    Table(
        "unique_key",
        metadata,
        _column("part", BIG),
        _column("key", WORDS),
        _column("type", WORDS),
        _column("fid", WORDS),
        PrimaryKeyConstraint("part", "key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _journal(metadata: MetaData, spread: bool) -> None:
    Table(
        "journal",
        metadata,
        _column("part", BIG),
        _column("seq", BIG),
        _column("door", WORDS),
        _column("key", WORDS),
        _column("at", BIG),
        _column("state", WORDS),
        _column("settled", BIG, null=True),
        _column("cause", WORDS),
        _column("meta", WORDS),
        _column("answer", LargeBinary),
        _column("raw", LargeBinary),
        _primary(spread, "seq"),
        Index("journal_by_key", "door", "key"),
        Index("journal_by_state", "state", "at"),
        Index("journal_by_time", "at"),
        sqlite_strict=True,
    )


def _secret(metadata: MetaData) -> None:
    """What the processes on this database share and nobody else knows (`cursors.py`)."""
    Table(
        "secret",
        metadata,
        _column("part", BIG),
        _column("name", WORDS),
        _column("value", LargeBinary),
        PrimaryKeyConstraint("part", "name"),
        sqlite_strict=True,
    )


def _job(metadata: MetaData) -> None:
    Table(
        "job",
        metadata,
        _column("part", BIG),  # the hash of its id
        _column("id", WORDS),
        _column("kind", WORDS),
        _column("owner", WORDS),
        _column("caller", WORDS),
        _column("request", WORDS),
        _column("state", WORDS),
        _column("progress", WORDS),
        _column("created", BIG),
        _column("expires", BIG),
        _column("leased_until", BIG),
        _column("holder", SMALL),
        _column("attempts", Integer),
        PrimaryKeyConstraint("part", "id"),
        Index("job_by_state", "state", "created"),
        sqlite_strict=True,
    )


def _subscriber(metadata: MetaData) -> None:
    """What is kept beside a Subscription; `part` is the hash of its id."""
    Table(
        "subscriber",
        metadata,
        _column("part", BIG),
        _column("fid", WORDS),
        _column("owner", WORDS),
        _column("secrets", WORDS),
        _column("state", WORDS),
        _column("since", BIG),
        _column("last", BIG),
        _column("sent", BIG),
        _column("due", BIG),
        _column("attempts", Integer),
        _column("failing", BIG),
        _column("error", WORDS),
        PrimaryKeyConstraint("part", "fid"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _notices(metadata: MetaData) -> None:
    """Events of Subscriptions, and who follows the log (`part` is the hash of its name)."""
    Table(
        "notice",
        metadata,
        _column("part", BIG),
        _column("fid", WORDS),
        _column("number", BIG),
        _column("seq", BIG),
        _column("focus_type", WORDS),
        _column("focus_id", WORDS),
        _column("version", Integer),
        _column("method", WORDS),
        _column("at", BIG),
        PrimaryKeyConstraint("part", "fid", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    Table(
        "follower",
        metadata,
        _column("part", BIG),
        _column("name", WORDS),
        _column("tx", BIG),
        _column("seq", BIG),
        _column("holder", WORDS),
        _column("held_until", BIG),
        PrimaryKeyConstraint("part", "name"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _locator(metadata: MetaData) -> None:
    Table(
        "locator",
        metadata,
        _column("part", BIG),  # the hash of "type/fid", not where the resource lives: that is `home`
        _column("type", WORDS),
        _column("fid", WORDS),
        _column("home", BIG),
        PrimaryKeyConstraint("part", "type", "fid"),
    )
