"""What may happen once, and what has ended: remembered in the database until it cannot matter any more."""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sql

from common import clock
from identity import tables
from identity.answering import answering

_MARGIN_SECONDS = 10


class Used:
    """Digests of what was used, each until a moment in seconds since 1970. All functions raise Unavailable."""

    def __init__(self, engine: sql.Engine, now: clock.Clock) -> None:
        self._engine = engine
        self._now = now

    def once(self, what: str, until: int) -> bool:
        """Is this the first time? Then it was the last, until that moment."""
        row = {"digest": _digest(what), "expires": until}
        over = int(self._now().timestamp()) - _MARGIN_SECONDS
        try:
            with answering(), self._engine.begin() as connection:
                connection.execute(tables.used.delete().where(tables.used.c.expires < over))
                connection.execute(tables.used.insert(), row)
        except sql.exc.IntegrityError:
            return False
        return True

    def mark(self, what: str, until: int) -> None:
        """Remember it until then, also when it is remembered already."""
        key = tables.used.c.digest == _digest(what)
        if not self.once(what, until):
            with answering(), self._engine.begin() as connection:
                connection.execute(tables.used.update().where(key).values(expires=until))

    def until(self, what: str) -> int:
        """Until when it is remembered; 0 when it is not."""
        query = sql.select(tables.used.c.expires).where(tables.used.c.digest == _digest(what))
        with answering(), self._engine.connect() as connection:
            return connection.execute(query).scalar() or 0


def _digest(what: str) -> bytes:
    return sha256(what.encode("utf-8", "surrogatepass")).digest()
