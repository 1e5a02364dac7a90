"""Who may act for whom? (ACC-14)

A professional lets somebody they work with prepare and send in their name, until a date. What the delegate does so
carries both names, and ends at once when the professional ends it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sql

from common import clock, errors
from identity import tables
from identity.answering import answering

LONGEST = timedelta(days=366)
MOST = 20  # of one hat


@dataclass(frozen=True, slots=True)
class Delegation:
    """`delegate` acts for `giver`, both `PractitionerRole/x`; times in microseconds since 1970."""

    id: str
    giver: str
    delegate: str
    created: int
    expires: int


class Delegations:
    """In the hub's database, a synchronous SQLAlchemy engine. All functions raise Unavailable."""

    def __init__(self, engine: sql.Engine, now: clock.Clock) -> None:
        self._engine = engine
        self._now = now

    def give(self, giver: str, delegate: str, lasts: timedelta) -> Delegation:
        """Let `delegate` act for `giver`. Raises Invalid for oneself, for too long a time, and for one too many."""
        if giver == delegate or not timedelta() < lasts <= LONGEST:
            raise errors.Invalid("délégation : à une autre personne, pour un an au plus")
        if len(self.given(giver)) >= MOST:
            raise errors.Invalid(f"{MOST} délégations au plus : terminez-en une d'abord")
        now = self._now()
        made = Delegation(secrets.token_urlsafe(9), giver, delegate, clock.micros(now), clock.micros(now + lasts))
        row = {name: getattr(made, name) for name in ("id", "giver", "delegate", "created", "expires")}
        with answering(), self._engine.begin() as connection:
            connection.execute(tables.delegation.insert(), row)
        return made

    def given(self, giver: str) -> list[Delegation]:
        """By this hat, in force."""
        return self._where(tables.delegation.c.giver == giver)

    def received(self, delegate: str) -> list[Delegation]:
        """To this hat, in force."""
        return self._where(tables.delegation.c.delegate == delegate)

    def end(self, giver: str, id: str) -> None:
        """One that this hat gave ends now, and every session under it. Raises NotFound."""
        columns, acting = tables.delegation.c, tables.token.c
        mine = (columns.id == id) & (columns.giver == giver)
        with answering(), self._engine.begin() as connection:
            delegate = connection.execute(sql.select(columns.delegate).where(mine)).scalar()
            if delegate is None:
                raise errors.NotFound("cette délégation n'est pas, ou plus, la vôtre")
            connection.execute(tables.delegation.delete().where(mine))
            theirs = acting.delegate.startswith(f"{delegate} ", autoescape=True)
            connection.execute(tables.token.delete().where(acting.actor == giver, theirs))

    def _where(self, *which: sql.ColumnElement[bool]) -> list[Delegation]:
        columns = tables.delegation.c
        live = columns.expires > clock.micros(self._now())
        query = tables.delegation.select().where(live, *which).order_by(columns.created)
        with answering(), self._engine.connect() as connection:
            return [Delegation(**row) for row in connection.execute(query).mappings()]
