"""The record: resources, their versions and index rows, events, outbox, journal.

A picture of `fhir_server/tables.py` as it was first installed; it stays as it is when that file moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
_WORDS = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_KEYS = sa.LargeBinary().with_variant(ARRAY(sa.BigInteger), "postgresql")
_BYTES = sa.LargeBinary()
_ALIVE = sa.text("deleted = 0")
_GONE = sa.text("deleted = 1")
_WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    """Create everything."""
    spread = op.get_bind().dialect.name == "postgresql"
    _resource(spread)
    _search(spread)
    _queues(spread)
    _journal(spread)
    _secret()
    _job()
    _notices()
    if not spread:
        # Words come folded and separated by spaces; nothing is ranked, so that their number is not kept.
        columns = "narrative, displays, content, tokenize = 'ascii', columnsize = 0"
        op.execute(f"CREATE VIRTUAL TABLE fulltext USING fts5 ({columns})")
        words = [_column(name, _WORDS) for name in ("narrative", "displays", "content")]
        _table("words_waiting", _column("rid", _BIG), _column("again", _SMALL), *words, _key(spread, "rid"))
    if spread:
        _locator()
        # The planner needs more than the hundred commonest keys to tell a rare one from a frequent one.
        op.execute("ALTER TABLE resource ALTER COLUMN eq SET STATISTICS 1000")
        op.execute("ALTER TABLE hot ALTER COLUMN hash SET STATISTICS 1000")
        op.execute("ALTER TABLE num ALTER COLUMN unit SET STATISTICS 1000")


def downgrade() -> None:
    """Drop everything."""
    names = "resource version hot str dat num link event outbox unique_key journal secret job".split()
    names += ["subscriber", "notice", "follower"]
    spread = op.get_bind().dialect.name == "postgresql"
    for name in [*names, *(["locator"] if spread else ["fulltext", "words_waiting"])]:
        op.drop_table(name)


def _column(name: str, kind: object, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=null, autoincrement=False)  # type: ignore[arg-type]


def _table(name: str, *parts: sa.schema.SchemaItem, rowid: bool = True) -> None:
    op.create_table(name, *parts, sqlite_strict=True, sqlite_with_rowid=rowid)


def _index(name: str, table: str, *columns: str, where: sa.TextClause | None = None) -> None:
    op.create_index(name, table, list(columns), postgresql_where=where, sqlite_where=where)


def _key(spread: bool, *names: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*(("part", *names) if spread else names))


def _part(spread: bool) -> list[sa.Column[object]]:
    return [_column("part", _BIG)] if spread else []


def _resource(spread: bool) -> None:
    _table(
        "resource",
        _column("part", _BIG),
        _column("rid", _BIG),
        _column("type", _WORDS),
        _column("fid", _WORDS),
        _column("address", _BIG),
        _column("version", sa.Integer()),
        _column("updated", _BIG),
        _column("deleted", _SMALL),
        _column("sort_date", _BIG),
        _column("method", _WORDS),
        _column("generation", sa.Integer()),
        _column("readers", _KEYS),
        _column("eq", _KEYS),
        *([_column("words", TSVECTOR)] if spread else []),
        _column("body", _BYTES),
        _key(spread, "rid"),
        sa.UniqueConstraint(*(("part", "type", "fid") if spread else ("type", "fid")), name="resource_id"),
    )
    _index("resource_by_date", "resource", "type", "sort_date", "rid", where=_ALIVE)
    _index("resource_by_update", "resource", "type", "updated", "rid")
    _index("resource_by_generation", "resource", "generation", "rid", where=_ALIVE)
    _index("resource_by_address", "resource", "address")
    _index("resource_gone", "resource", "type", "updated", "rid", where=_GONE)
    if spread:
        op.create_index(
            "resource_keys",
            "resource",
            ["eq", "readers"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
        op.create_index("resource_words", "resource", ["words"], postgresql_using="gin")
    _table(
        "version",
        *_part(spread),
        _column("rid", _BIG),
        _column("version", sa.Integer()),
        _column("type", _WORDS),
        _column("fid", _WORDS),
        _column("updated", _BIG),
        _column("method", _WORDS),
        _column("body", _BYTES),
        _key(spread, "rid", "version"),
    )
    _index("version_by_update", "version", "type", "updated", "rid", "version")


def _search(spread: bool) -> None:
    part = ["part"] if spread else []
    _table(
        "hot",
        *_part(spread),
        _column("hash", _BIG),
        _column("sort_date", _BIG),
        _column("rid", _BIG),
        _key(spread, "hash", "sort_date", "rid"),
        rowid=False,
    )
    if spread:
        _index("hot_by_hash", "hot", "hash", "sort_date", "rid", "part")
    _table(
        "str",
        *_part(spread),
        _column("rid", _BIG),
        _column("param", sa.Integer()),
        _column("n", _SMALL),
        _column("folded", _WORDS),
        _column("raw", _WORDS),
        _key(spread, "rid", "param", "n"),
        rowid=False,
    )
    _index("str_by_value", "str", "param", "folded", "rid", *part)
    _table(
        "dat",
        *_part(spread),
        _column("rid", _BIG),
        _column("param", sa.Integer()),
        _column("lo", _BIG),
        _column("hi", _BIG),
        _key(spread, "rid", "param", "lo", "hi"),
        rowid=False,
    )
    _index("dat_by_start", "dat", "param", "lo", "rid", "hi", *part)
    _index("dat_by_end", "dat", "param", "hi", "rid", "lo", *part)
    _numbers(spread, part)
    _table(
        "link",
        *_part(spread),
        _column("rid", _BIG),
        _column("param", sa.Integer()),
        _column("address", _BIG),
        _key(spread, "rid", "param", "address"),
        rowid=False,
    )


def _numbers(spread: bool, part: list[str]) -> None:
    _table(
        "num",
        *_part(spread),
        _column("rid", _BIG),
        _column("param", sa.Integer()),
        _column("unit", _BIG),
        _column("lo", _WORDS),
        _column("hi", _WORDS),
        _key(spread, "rid", "param", "unit", "lo", "hi"),
        rowid=False,
    )
    _index("num_by_low", "num", "param", "unit", "lo", "rid", "hi", *part)
    _index("num_by_high", "num", "param", "unit", "hi", "rid", "lo", *part)


def _queues(spread: bool) -> None:
    key = ("lane", "seq") if spread else ("seq",)
    _table(
        "event",
        _column("part", _BIG),
        _column("lane", _SMALL),
        _column("seq", _BIG),
        _column("type", _WORDS),
        _column("fid", _WORDS),
        _column("version", sa.Integer()),
        _column("method", _WORDS),
        _column("updated", _BIG),
        _column("actor", _WORDS),
        _column("cause", _WORDS),
        *([_column("tx", _BIG)] if spread else []),
        _key(spread, *key),
    )
    if spread:
        _index("event_by_tx", "event", "tx")
    _table(
        "outbox",
        _column("part", _BIG),
        _column("lane", _SMALL),
        _column("seq", _BIG),
        _column("consumer", _WORDS),
        _column("type", _WORDS),
        _column("fid", _WORDS),
        _column("due", _BIG),
        _column("attempts", sa.Integer()),
        _column("leased_until", _BIG),
        _column("state", _WORDS),
        _column("error", _WORDS),
        _key(spread, *key),
    )
    _index("outbox_waiting", "outbox", "consumer", "lane", "due", where=_WAITING)
    _index("outbox_order", "outbox", "consumer", "lane", "type", "fid", "seq", where=_WAITING)
    _table(
        "unique_key",
        _column("part", _BIG),
        _column("key", _WORDS),
        _column("type", _WORDS),
        _column("fid", _WORDS),
        sa.PrimaryKeyConstraint("part", "key"),
        rowid=False,
    )


def _journal(spread: bool) -> None:
    _table(
        "journal",
        _column("part", _BIG),
        _column("seq", _BIG),
        _column("door", _WORDS),
        _column("key", _WORDS),
        _column("at", _BIG),
        _column("state", _WORDS),
        _column("settled", _BIG, null=True),
        _column("cause", _WORDS),
        _column("meta", _WORDS),
        _column("answer", _BYTES),
        _column("raw", _BYTES),
        _key(spread, "seq"),
    )
    _index("journal_by_key", "journal", "door", "key")
    _index("journal_by_state", "journal", "state", "at")
    _index("journal_by_time", "journal", "at")


def _secret() -> None:
    _table(
        "secret",
        _column("part", _BIG),
        _column("name", _WORDS),
        _column("value", _BYTES),
        sa.PrimaryKeyConstraint("part", "name"),
    )


def _job() -> None:
    _table(
        "job",
        _column("part", _BIG),
        _column("id", _WORDS),
        _column("kind", _WORDS),
        _column("owner", _WORDS),
        _column("caller", _WORDS),
        _column("request", _WORDS),
        _column("state", _WORDS),
        _column("progress", _WORDS),
        _column("created", _BIG),
        _column("expires", _BIG),
        _column("leased_until", _BIG),
        _column("holder", _SMALL),
        _column("attempts", sa.Integer()),
        sa.PrimaryKeyConstraint("part", "id"),
    )
    _index("job_by_state", "job", "state", "created")


def _notices() -> None:
    _table(
        "subscriber",
        _column("part", _BIG),
        _column("fid", _WORDS),
        _column("owner", _WORDS),
        _column("secrets", _WORDS),
        _column("state", _WORDS),
        _column("since", _BIG),
        _column("last", _BIG),
        _column("sent", _BIG),
        _column("due", _BIG),
        _column("attempts", sa.Integer()),
        _column("failing", _BIG),
        _column("error", _WORDS),
        sa.PrimaryKeyConstraint("part", "fid"),
        rowid=False,
    )
    _table(
        "notice",
        _column("part", _BIG),
        _column("fid", _WORDS),
        _column("number", _BIG),
        _column("seq", _BIG),
        _column("focus_type", _WORDS),
        _column("focus_id", _WORDS),
        _column("version", sa.Integer()),
        _column("method", _WORDS),
        _column("at", _BIG),
        sa.PrimaryKeyConstraint("part", "fid", "number"),
        rowid=False,
    )
    _table(
        "follower",
        _column("part", _BIG),
        _column("name", _WORDS),
        _column("tx", _BIG),
        _column("seq", _BIG),
        _column("holder", _WORDS),
        _column("held_until", _BIG),
        sa.PrimaryKeyConstraint("part", "name"),
        rowid=False,
    )


def _locator() -> None:
    _table(
        "locator",
        _column("part", _BIG),
        _column("type", _WORDS),
        _column("fid", _WORDS),
        _column("home", _BIG),
        sa.PrimaryKeyConstraint("part", "type", "fid"),
    )
