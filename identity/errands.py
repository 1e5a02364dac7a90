"""What does a browser carry from one place to another that may be used once?

A code (RFC 6749 section 4.1) that becomes a token, a `launch` that becomes a context. The browser has a random text;
what it stands for is kept here under its digest, for any process of the hub. Whoever comes a second time gets nothing,
and the token that the first one got is taken back (RFC 6749 section 10.5).
"""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sql

from common import clock
from identity import tables
from identity.answering import answering

# A used one is remembered for as long as a token that it gave may live.
_REMEMBERED_SECONDS = 2 * 3600
_errand = tables.errand
_columns = tables.errand.c


class Errands:
    """In the hub's database, a synchronous SQLAlchemy engine. All functions raise Unavailable."""

    def __init__(self, engine: sql.Engine, now: clock.Clock) -> None:
        self._engine = engine
        self._now = now

    def keep(self, kind: str, content: dict[str, Any], lifetime: timedelta) -> str:
        """The text that stands for this content."""
        text = secrets.token_urlsafe(32)
        seconds = int(self._now().timestamp())
        row = {
            "digest": digest(text),
            "kind": kind,
            "content": json.dumps(content),
            "expires": seconds + int(lifetime.total_seconds()),
            "state": "waiting",
            "token": b"",
        }
        over = _columns.expires < seconds - _REMEMBERED_SECONDS
        with answering(), self._engine.begin() as connection:
            connection.execute(_errand.delete().where(over))
            connection.execute(_errand.insert(), row)
        return text

    def look(self, kind: str, text: str) -> dict[str, Any] | None:
        """What it stands for, while it is good; it stays so."""
        query = sql.select(_columns.content).where(*self._good(kind, text))
        with answering(), self._engine.connect() as connection:
            found = connection.execute(query).scalar()
        content: dict[str, Any] | None = json.loads(found) if found else None
        return content

    def take(self, kind: str, text: str) -> bool:
        """Is it good, and this the first time? Then it was the last."""
        query = _errand.update().where(*self._good(kind, text)).values(state="used")
        with answering(), self._engine.begin() as connection:
            return connection.execute(query).rowcount == 1

    def gave(self, text: str, token: str) -> bool:
        """Say which token it was good for. False when somebody came a second time meanwhile: take the token back."""
        query = _errand.update().where(_columns.digest == digest(text), _columns.state == "used")
        with answering(), self._engine.begin() as connection:
            return connection.execute(query.values(token=digest(token))).rowcount == 1

    def repeated(self, kind: str, text: str) -> None:
        """Somebody came a second time: the token that the first one got is taken back. Of others nothing is done."""
        mine = (_columns.kind == kind, _columns.digest == digest(text), _columns.state != "waiting")
        with answering(), self._engine.begin() as connection:
            connection.execute(_errand.update().where(*mine).values(state="repeated"))
            token = connection.execute(sql.select(_columns.token).where(*mine)).scalar()
            if token:
                connection.execute(tables.token.delete().where(tables.token.c.digest == token))

    def _good(self, kind: str, text: str) -> tuple[sql.ColumnElement[bool], ...]:
        now = int(self._now().timestamp())
        return (
            _columns.digest == digest(text),
            _columns.kind == kind,
            _columns.state == "waiting",
            _columns.expires > now,
        )


def digest(text: str) -> bytes:
    """What is kept of a text that opens something; the same as `tokens` keep."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
