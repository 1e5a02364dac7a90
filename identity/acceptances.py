"""Has this person accepted the terms of use in force? (ACC-08)

Every acceptance stays, with its version and its time: it is the signed record of what somebody agreed to.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sql

from common import clock
from identity import tables
from identity.answering import answering


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A version that was accepted, and when (microseconds since 1970)."""

    version: str
    at: int


class Acceptances:
    """By person (`Practitioner/x`). `engine` is a synchronous SQLAlchemy engine; all functions raise Unavailable."""

    def __init__(self, engine: sql.Engine, now: clock.Clock) -> None:
        self._engine = engine
        self._now = now

    def accept(self, person: str, version: str) -> None:
        """Write it down; once is enough."""
        row = {"person": person, "version": version, "at": clock.micros(self._now())}
        try:
            with answering(), self._engine.begin() as connection:
                connection.execute(tables.acceptance.insert(), row)
        except sql.exc.IntegrityError:
            pass

    def of(self, person: str) -> list[Acceptance]:
        """All that this person accepted, the latest first."""
        columns = tables.acceptance.c
        query = sql.select(columns.version, columns.at).where(columns.person == person).order_by(columns.at.desc())
        with answering(), self._engine.connect() as connection:
            return [Acceptance(version, at) for version, at in connection.execute(query)]

    def has(self, person: str, version: str) -> bool:
        """This one?"""
        columns = tables.acceptance.c
        query = sql.select(columns.at).where(columns.person == person, columns.version == version)
        with answering(), self._engine.connect() as connection:
            return connection.execute(query).first() is not None
