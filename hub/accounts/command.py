"""`hub account`: who signs in without a card? (ACC-06)"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from common import errors
from hub import database, people, serve, settings

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


def _prepared(data: Path | None, url: str | None) -> settings.Settings:
    config = settings.read().with_options(data=data, database=url)
    database.prepare(config)
    return config


async def _is_known(config: settings.Settings, ref: str) -> bool:
    async with serve.opened(config) as room:
        try:
            await people.name(ref, room)
        except (errors.NotFound, errors.Gone):
            return False
        return True
