"""What tables hold the work around the record: its events, queues, raw messages, jobs and subscribers?

They follow the rules of `tables.py`: `part` leads, or a lane; times are microseconds since 1970 in UTC.
"""

from __future__ import annotations

from sqlalchemy import Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, text

from fhir_server.columns import BIG, SMALL, WORDS, column, primary


def add(metadata: MetaData, spread: bool) -> None:
    """Add them to the schema; `spread`: as PostgreSQL keeps them."""
    _event(metadata, spread)
    _outbox(metadata, spread)
    _journal(metadata, spread)
    _secret(metadata)
    _job(metadata)
    _subscriber(metadata)
    _notices(metadata)
    _traces(metadata, spread)


def _event(metadata: MetaData, spread: bool) -> None:
    Table(
        "event",
        metadata,
        column("part", BIG),
        column("lane", SMALL),
        column("seq", BIG),
        column("type", WORDS),
        column("fid", WORDS),
        column("version", Integer),
        column("method", WORDS),
        column("updated", BIG),
        column("actor", WORDS),
        column("cause", WORDS),
        # The transaction. Whoever follows the log reads by it: a seq may be committed after a higher one.
        *([column("tx", BIG), Index("event_by_tx", "tx")] if spread else []),
        primary(spread, *(("lane", "seq") if spread else ("seq",))),
        sqlite_strict=True,
    )


def _outbox(metadata: MetaData, spread: bool) -> None:
    waiting = text("state = 'waiting'")
    Table(
        "outbox",
        metadata,
        column("part", BIG),
        column("lane", SMALL),
        column("seq", BIG),
        column("consumer", WORDS),
        column("type", WORDS),
        column("fid", WORDS),
        column("due", BIG),
        column("attempts", Integer),
        column("leased_until", BIG),
        column("state", WORDS),
        column("error", WORDS),
        primary(spread, *(("lane", "seq") if spread else ("seq",))),
        Index("outbox_waiting", "consumer", "lane", "due", postgresql_where=waiting, sqlite_where=waiting),
        Index("outbox_order", "consumer", "lane", "type", "fid", "seq", postgresql_where=waiting, sqlite_where=waiting),
        sqlite_strict=True,
        # Whoever takes work locks rows of one lane, of whatever patients.
        info={"spread_by": "lane"},
    )


def _journal(metadata: MetaData, spread: bool) -> None:
    Table(
        "journal",
        metadata,
        column("part", BIG),
        column("seq", BIG),
        column("door", WORDS),
        column("key", WORDS),
        column("at", BIG),
        column("state", WORDS),
        column("settled", BIG, null=True),
        column("cause", WORDS),
        column("meta", WORDS),
        column("answer", LargeBinary),
        column("raw", LargeBinary),
        primary(spread, "seq"),
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
        column("part", BIG),
        column("name", WORDS),
        column("value", LargeBinary),
        PrimaryKeyConstraint("part", "name"),
        sqlite_strict=True,
    )


def _job(metadata: MetaData) -> None:
    Table(
        "job",
        metadata,
        column("part", BIG),  # the hash of its id
        column("id", WORDS),
        column("kind", WORDS),
        column("owner", WORDS),
        column("caller", WORDS),
        column("request", WORDS),
        column("state", WORDS),
        column("progress", WORDS),
        column("created", BIG),
        column("expires", BIG),
        column("leased_until", BIG),
        column("holder", SMALL),
        column("attempts", Integer),
        PrimaryKeyConstraint("part", "id"),
        Index("job_by_state", "state", "created"),
        sqlite_strict=True,
    )


def _subscriber(metadata: MetaData) -> None:
    """What is kept beside a Subscription; `part` is the hash of its id."""
    Table(
        "subscriber",
        metadata,
        column("part", BIG),
        column("fid", WORDS),
        column("owner", WORDS),
        column("secrets", WORDS),
        column("state", WORDS),
        column("since", BIG),
        column("last", BIG),
        column("sent", BIG),
        column("due", BIG),
        column("attempts", Integer),
        column("failing", BIG),
        column("error", WORDS),
        PrimaryKeyConstraint("part", "fid"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _notices(metadata: MetaData) -> None:
    """Events of Subscriptions, and who follows the log (`part` is the hash of its name)."""
    Table(
        "notice",
        metadata,
        column("part", BIG),
        column("fid", WORDS),
        column("number", BIG),
        column("seq", BIG),
        column("focus_type", WORDS),
        column("focus_id", WORDS),
        column("version", Integer),
        column("method", WORDS),
        column("at", BIG),
        PrimaryKeyConstraint("part", "fid", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    Table(
        "follower",
        metadata,
        column("part", BIG),
        column("name", WORDS),
        column("tx", BIG),
        column("seq", BIG),
        column("holder", WORDS),
        column("held_until", BIG),
        PrimaryKeyConstraint("part", "name"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _traces(metadata: MetaData, spread: bool) -> None:
    """What was done with whose data (`audit/`), by chain: one for each process and start.

    On one machine `part` is the chain. Where rows are spread it is that of the resource that was written, so that both
    go in with one statement; no key holds then, since it would have to begin with `part`: numbers are used once.
    """
    chain = ("chain",) if spread else ()
    by = "chain" if spread else "part"
    Table(
        "trace",
        metadata,
        *(column(name, BIG) for name in ("part", *chain, "n", "at")),
        column("body", LargeBinary),
        column("mac", LargeBinary),
        column("keys", LargeBinary),
        Index("trace_by_chain", "chain", "n") if spread else PrimaryKeyConstraint("part", "n"),
        Index("trace_by_time", "at", by, "n"),
        sqlite_strict=True,
    )
    of_key = ("key", "at", by, "n")
    Table(
        "trace_of",
        metadata,
        *(column(name, BIG) for name in ("part", "key", "at", *chain, "n")),
        Index("trace_of_by_key", *of_key) if spread else PrimaryKeyConstraint(*of_key),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    Table(
        "seal",
        metadata,
        *(column(name, BIG) for name in ("part", "k", "at")),
        column("numbers", LargeBinary),
        column("mac", LargeBinary),
        PrimaryKeyConstraint("part", "k"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
