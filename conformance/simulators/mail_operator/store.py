"""Where does the operator keep mailboxes, mails and what is still to be sent?

One SQLite file, committed before any acknowledgement (synchronous=FULL): the simulator may be killed at any time.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
create table if not exists mailbox (address text primary key, name text not null);
create table if not exists message (
    id integer primary key, mailbox text not null, folder text not null, message_id text not null,
    correspondent text not null, subject text not null, at real not null, seen integer not null default 0,
    attachments integer not null, raw blob not null
);
create index if not exists message_of on message (mailbox, folder, id);
create index if not exists message_known on message (mailbox, folder, message_id);
create table if not exists queue (
    id integer primary key, message integer, sender text not null, recipient text not null, raw blob not null,
    due real not null, attempts integer not null default 0, state text not null, answer text not null default ''
);
create index if not exists queue_due on queue (state, due);
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a mail looks like in a list. `at` in seconds since 1970."""

    message_id: str
    correspondent: str
    subject: str
    at: float
    attachments: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One mail in a mailbox."""

    id: int
    mailbox: str
    folder: str
    summary: Summary
    seen: bool
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Queued:
    """One mail for one recipient elsewhere. `state`: waiting, delivered, refused."""

    id: int
    message: int | None
    sender: str
    recipient: str
    raw: bytes
    attempts: int
    state: str
    answer: str


class Store:
    """The only code here that speaks SQL. Calls are short and run in the event loop."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "mail.sqlite", isolation_level=None)
        self._db.executescript("pragma journal_mode=wal; pragma synchronous=full;" + _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def open_mailbox(self, address: str, name: str = "") -> None:
        """Create a mailbox; a name given later replaces an empty one."""
        self._db.execute(
            "insert into mailbox values (?1, ?2) on conflict do update set name = ?2 where ?2 <> ''", (address, name)
        )

    def mailboxes(self) -> list[tuple[str, str, int]]:
        """(address, name, unread mails) of each mailbox."""
        return self._db.execute(
            "select address, name, (select count(*) from message where mailbox = address and folder = 'inbox'"
            " and seen = 0) from mailbox order by address"
        ).fetchall()

    def name_of(self, address: str) -> str | None:
        """The name of a mailbox; None when it does not exist."""
        row = self._db.execute("select name from mailbox where address = ?", (address,)).fetchone()
        return None if row is None else str(row[0])

    def keep(self, mailbox: str, folder: str, raw: bytes, summary: Summary, *, twice: bool = False) -> int | None:
        """Keep a mail; None when this Message-ID is there already (unless `twice`)."""
        if not twice and summary.message_id:
            key = (mailbox, folder, summary.message_id)
            known = "select 1 from message where mailbox = ? and folder = ? and message_id = ?"
            if self._db.execute(known, key).fetchone():
                return None
        return self._db.execute(
            "insert into message (mailbox, folder, message_id, correspondent, subject, at, attachments, raw)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                mailbox,
                folder,
                summary.message_id,
                summary.correspondent,
                summary.subject,
                summary.at,
                summary.attachments,
                raw,
            ),
        ).lastrowid

    def messages(self, mailbox: str, folder: str) -> list[Kept]:
        """A folder, newest first, without the raw mails."""
        rows = self._db.execute(
            "select id, mailbox, folder, message_id, correspondent, subject, at, attachments, seen, x'' from message"
            " where mailbox = ? and folder = ? order by id desc limit 500",
            (mailbox, folder),
        )
        return [_kept(row) for row in rows]

    def message(self, mailbox: str, id: int) -> Kept | None:
        """One mail of a mailbox, with its raw bytes."""
        row = self._db.execute(
            "select id, mailbox, folder, message_id, correspondent, subject, at, attachments, seen, raw from message"
            " where mailbox = ? and id = ?",
            (mailbox, id),
        ).fetchone()
        return _kept(row) if row else None

    def mark_seen(self, id: int) -> None:
        self._db.execute("update message set seen = 1 where id = ?", (id,))

    def enqueue(self, message: int | None, sender: str, recipient: str, raw: bytes) -> int:
        """Put a mail for one recipient in the queue, due now."""
        return int(
            self._db.execute(
                "insert into queue (message, sender, recipient, raw, due, state) values (?, ?, ?, ?, ?, 'waiting')",
                (message, sender, recipient, raw, time.time()),
            ).lastrowid
            or 0
        )

    def due(self, now: float, count: int = 20) -> list[Queued]:
        """The waiting mails whose time has come."""
        return self._queue("where state = 'waiting' and due <= ? order by due limit ?", (now, count))

    def queue(self) -> list[Queued]:
        """The last mails of the queue, sent ones too."""
        return self._queue("order by id desc limit ?", (200,))

    def states(self, message: int) -> list[Queued]:
        """Where the copies of a sent mail are."""
        return self._queue("where message = ? order by id", (message,))

    def settle(self, id: int, *, state: str, answer: str, due: float = 0.0) -> None:
        """Write down what became of one try."""
        self._db.execute(
            "update queue set state = ?, answer = ?, due = ?, attempts = attempts + 1 where id = ?",
            (state, answer, due, id),
        )

    def _queue(self, where: str, values: tuple[object, ...]) -> list[Queued]:
        columns = "id, message, sender, recipient, raw, attempts, state, answer"
        return [Queued(*row) for row in self._db.execute(f"select {columns} from queue {where}", values)]


def _kept(row: tuple[object, ...]) -> Kept:
    id, mailbox, folder, message_id, correspondent, subject, at, attachments, seen, raw = row
    summary = Summary(str(message_id), str(correspondent), str(subject), float(str(at)), int(str(attachments)))
    return Kept(int(str(id)), str(mailbox), str(folder), summary, bool(seen), raw if isinstance(raw, bytes) else b"")
