"""`hub account`: who signs in without a card? (ACC-06)"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from common import clock, errors
from hub import database, settings
from identity import accounts

app = typer.Typer(no_args_is_help=True, help="People who sign in without a card.")
Data = Annotated[Path | None, typer.Option("--data", help="Data folder (HUB_DATA).")]
Database = Annotated[str | None, typer.Option("--database", help="PostgreSQL URL (HUB_DATABASE); default SQLite.")]
Who = Annotated[str, typer.Option("--practitioner", help="Id of the Practitioner in the directory.")]


@app.command()
def invite(practitioner: Who, mail: str, data: Data = None, database_url: Database = None) -> None:
    """Print the path of a link by which somebody sets how they sign in, good once, for seven days.

    Who has an account already sets it again: for a lost telephone, once you know that it is them.
    """
    config = _prepared(data, database_url)
    ref = f"Practitioner/{practitioner.removeprefix('Practitioner/')}"
    if not asyncio.run(_is_known(config, ref)):
        raise errors.NotFound(f"{ref} n'est pas dans l'annuaire", at="--practitioner")
    typer.echo(f"/compte/activer/{database.accounts_of(config).invite(ref, mail)}")


@app.command()
def close(practitioner: Who, data: Data = None, database_url: Database = None) -> None:
    """Take away every means of signing in and every session; the directory and what they wrote stay."""
    ref = f"Practitioner/{practitioner.removeprefix('Practitioner/')}"
    database.accounts_of(_prepared(data, database_url)).close(ref)


@app.command()
def inactive(
    now: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As if today were that day.")] = None,
    data: Data = None,
    database_url: Database = None,
) -> None:
    """Warn whoever has not signed in for months, close what was warned of long ago; print the list as CSV.

    A hub that runs does it once a day.
    """
    config = _prepared(data, database_url)
    typer.echo(asyncio.run(_inactive(config, now and now.replace(tzinfo=UTC))), nl=False)


async def _inactive(config: settings.Settings, now: datetime | None) -> str:
    from hub import serve
    from hub.joining import inactivity

    async with serve.opened(config) as room:
        at = replace(room, now=lambda: now or clock.system())
        kept = accounts.Accounts(database.engine(config), at.now)
        warned, closed = await inactivity.look(at, kept)
        typer.echo(f"{warned} warned, {closed} closed", err=True)
        return await inactivity.recap(at, kept)


def _prepared(data: Path | None, url: str | None) -> settings.Settings:
    config = settings.read().with_options(data=data, database=url)
    database.prepare(config)
    return config


async def _is_known(config: settings.Settings, ref: str) -> bool:
    from hub import people, serve

    async with serve.opened(config) as room:
        try:
            await people.name(ref, room)
        except (errors.NotFound, errors.Gone):
            return False
        return True
