"""How often may somebody guess?

Tries are counted before they are judged, so that many at once are no way around; a right one gives its try back. The
count belongs to what is guessed *and* to whence: a browser that its owner has signed in with before has a count of its
own, so that strangers who guess do not lock the owner out (OWASP, "Device Cookies").
"""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sql

from common import clock
from identity import tables
from identity.answering import answering


class Attempts:
    """At most `most` wrong tries of one thing in `seconds`. `engine` is a synchronous SQLAlchemy engine.

    All functions raise Unavailable.
    """

    def __init__(self, engine: sql.Engine, now: clock.Clock, *, most: int, seconds: int) -> None:
        self._engine = engine
        self._now = now
        self._most = most
        self._seconds = seconds

    def take(self, what: str) -> int:
        """0 when one more may be judged; else the seconds after which it may."""
        key = tables.attempt.c.digest == _digest(what)
        now = int(self._now().timestamp())
        counted = tables.attempt.update().where(key).values(tries=tables.attempt.c.tries + 1)
        first = {"digest": _digest(what), "tries": 1, "expires": now + self._seconds}
        with answering(), self._engine.begin() as connection:
            connection.execute(tables.attempt.delete().where(tables.attempt.c.expires <= now))
            if not connection.execute(counted).rowcount:
                try:
                    with connection.begin_nested():
                        connection.execute(tables.attempt.insert(), first)
                except sql.exc.IntegrityError:  # another was first
                    connection.execute(counted)
            tries, expires = connection.execute(
                sql.select(tables.attempt.c.tries, tables.attempt.c.expires).where(key)
            ).one()
        return max(1, expires - now) if tries > self._most else 0

    def forget(self, what: str) -> None:
        """It was right: what went wrong before does not count any more."""
        with answering(), self._engine.begin() as connection:
            connection.execute(tables.attempt.delete().where(tables.attempt.c.digest == _digest(what)))


def _digest(what: str) -> bytes:
    return sha256(what.encode("utf-8", "surrogatepass")).digest()
