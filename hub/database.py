"""How do administration and sign-in reach the database?

A synchronous SQLAlchemy engine beside the record's own driver: for migrations, tokens and the command line, never for
FHIR.
"""

from __future__ import annotations

import sqlalchemy as sql

from common import clock
from hub import settings
from hub.migrations import run as migrations
from identity import acceptances, accounts, clients, tokens

SQLITE_WAIT_SECONDS = 30.0


def engine(config: settings.Settings) -> sql.Engine:
    """An engine on the hub's database. On SQLite it waits for the record's writer instead of failing."""
    url = sql.make_url(config.database_url)
    if url.get_backend_name() == "sqlite":
        return sql.create_engine(url, connect_args={"timeout": SQLITE_WAIT_SECONDS})
    return sql.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)


def prepare(config: settings.Settings) -> None:
    """Bring the schema up to date; the data folder is made when missing."""
    config.data.mkdir(parents=True, exist_ok=True)
    migrations.upgrade(config.database_url)


def kept_tokens(config: settings.Settings) -> tokens.Tokens:
    """The token table of this database."""
    return tokens.Tokens(engine(config), clock.system)


def softwares(config: settings.Settings) -> clients.Clients:
    """The registered softwares of this database."""
    return clients.Clients(engine(config), clock.system)


def accounts_of(config: settings.Settings) -> accounts.Accounts:
    """The accounts of people without a card in this database."""
    return accounts.Accounts(engine(config), clock.system)


def acceptances_of(config: settings.Settings) -> acceptances.Acceptances:
    """Who accepted which terms of use, in this database."""
    return acceptances.Acceptances(engine(config), clock.system)
