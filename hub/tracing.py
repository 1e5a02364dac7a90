"""`hub audit`: is the log of traces whole, and what does it say? (MODEL-08)"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from common import clock
from fhir_server import dates, index
from fhir_server.audit import events, trace, verify
from hub import database, keys, settings, upkeep
from hub.room import Room

app = typer.Typer(no_args_is_help=True, help="The traces of every access and write.")
Data = Annotated[Path | None, typer.Option("--data", help="Data folder (HUB_DATA).")]
Database = Annotated[str | None, typer.Option("--database", help="PostgreSQL URL (HUB_DATABASE); default SQLite.")]
Answer = TypeVar("Answer")
MOST_LINES = 20


@app.command("verify")
def check(data: Data = None, database_url: Database = None) -> None:
    """Walk all chains; exit code 1 and the first broken lines when one was altered, added or taken out."""

    async def ask(room: Room) -> verify.Report:
        sealing = keys.derived(room.secret, b"traces")
        return await verify.verify(room.store.traces.kept, sealing, keys.heads(room.settings.data))

    report = with_room(data, database_url, ask)
    typer.echo(f"{report.rows} lignes, {report.chains} chaînes, {report.unsealed} pas encore scellées")
    if report.without_head:
        typer.echo(f"{report.without_head} chaînes dont la fin est gardée sur une autre machine, ou ne l'est plus")
    for one in report.broken[:MOST_LINES]:
        typer.echo(one, err=True)
    raise SystemExit(1 if report.broken else 0)


@app.command()
def purge(data: Data = None, database_url: Database = None) -> None:
    """Take away the traces that are older than `HUB_TRACES_YEARS`, as the hub does every day."""
    typer.echo(f"{with_room(data, database_url, upkeep.forget)} lignes enlevées")


@app.command()
def show(
    patient: Annotated[str, typer.Option(help="Id of the patient.")],
    since: Annotated[str, typer.Option(help="Date, 2026-01-14.")] = "",
    data: Data = None,
    database_url: Database = None,
) -> None:
    """Who did what with the data of a patient, newest first: time, who, what, with which resources."""

    async def ask(room: Room) -> list[trace.Kept]:
        span = (dates.span(since)[0] if since else dates.BEGINNING, dates.END)
        key = index.address(f"Patient/{patient}")
        rows = await room.store.traces.kept.found(key, span, before=None, count=1000)
        return [trace.kept(chain, n, body) for _, chain, n, body in rows]

    for one in with_room(data, database_url, ask):
        said = one.values
        when = clock.instant(clock.from_micros(said["at"]))
        who, given = said["name"] or said["actor"] or said["client"], " ".join(said["given"])
        typer.echo(f"{when}  {who}  {said['what']}  {said['status']}  {given}  {events.id_of(one.chain, one.n)}")


def with_room(data: Path | None, url: str | None, ask: Callable[[Room], Awaitable[Answer]]) -> Answer:
    """The answer of a function that is given a hub's room, opened for it."""
    config = settings.read().with_options(data=data, database=url)
    database.prepare(config)

    async def answer() -> Answer:
        from hub import serve

        async with serve.opened(config) as room:
            return await ask(room)

    return asyncio.run(answer())
