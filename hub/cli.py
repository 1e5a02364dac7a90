"""What can be done from the shell?

`hub COMMAND --help` says it. Results go to standard output, everything else to standard error; exit code 0 done, 1
refused or failed, 2 wrong use.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from common import errors
from common.events import configure
from connectors.hospital import mllp
from fhir_server import scopes as smart
from fhir_server import store
from hub import allowlist, database, mail_command, personas, settings, terms, tracing
from hub.accounts import command as accounts
from hub.rights import command as rights
from identity import tokens

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
send_app = typer.Typer(no_args_is_help=True, help="Send a file to a running hub, as an outside party would.")
journal_app = typer.Typer(no_args_is_help=True, help="Raw messages as they came, with what became of them.")
db_app = typer.Typer(no_args_is_help=True, help="What an operator does to the database.")
client_app = typer.Typer(no_args_is_help=True, help="Softwares that sign in by themselves.")
outbox_app = typer.Typer(no_args_is_help=True, help="Work that gave up after its last try.")
app.add_typer(send_app, name="send")
app.add_typer(journal_app, name="journal")
app.add_typer(outbox_app, name="outbox")
app.add_typer(db_app, name="db")
app.add_typer(client_app, name="client")
app.add_typer(rights.app, name="rights")
app.add_typer(tracing.app, name="audit")
app.add_typer(accounts.app, name="account")
app.add_typer(allowlist.app, name="allowlist")
app.add_typer(mail_command.app, name="mail")

Data = Annotated[Path | None, typer.Option("--data", help="Data folder (HUB_DATA).")]
Database = Annotated[str | None, typer.Option("--database", help="PostgreSQL URL (HUB_DATABASE); default SQLite.")]
Result = TypeVar("Result")


def main() -> None:
    """The console script. An expected refusal is one line and exit code 1, never a stack trace."""
    configure(json=False)  # standard output is for results; who serves chooses again
    try:
        app()
    except errors.HubError as error:
        typer.echo(f"{error.code}: {error.message}" + (f" ({error.at})" if error.at else ""), err=True)
        raise SystemExit(1) from None


@app.command()
def serve(
    data: Data = None,
    database_url: Database = None,
    host: str | None = None,
    port: int | None = None,
    mllp_port: int | None = None,
    smtp_port: int | None = None,
    lmtp_port: int | None = None,
    workers: int | None = None,
    ports_file: Path | None = None,
    worker: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Run the hub: FHIR API, pages, mail and hospital doors, delivery. Stops cleanly on SIGTERM or Ctrl-C."""
    config = _settings(data, database_url).with_options(
        host=host, port=port, mllp_port=mllp_port, smtp_port=smtp_port, lmtp_port=lmtp_port, workers=workers
    )
    from hub import processes

    raise SystemExit(processes.run(config, ports_file=ports_file, worker=worker))


@app.command()
def demo(
    data: Path = Path(".demo"), port: int = 8000, once: Annotated[bool, typer.Option(hidden=True)] = False
) -> None:
    """Run the small demo region with a simulated mail operator; prints the addresses and who is who."""
    from hub import demonstration

    raise SystemExit(demonstration.run(data, port, once=once))


@app.command()
def migrate(data: Data = None, database_url: Database = None) -> None:
    """Bring the database schema up to date."""
    database.prepare(_settings(data, database_url))


@app.command()
def seed(data: Data = None, database_url: Database = None) -> None:
    """Put the small demo region into the record, once."""
    from common import clock
    from hub import serve as serving
    from hub.seed import small

    async def fill(config: settings.Settings) -> bool:
        async with serving.opened(config) as room:
            return await small.fill(room.store, clock.system())

    config = _settings(data, database_url)
    database.prepare(config)
    typer.echo("seeded" if _run(fill(config)) else "already there", err=True)


@app.command(name="import")
def import_(
    files: list[Path], errors_file: Path | None = None, data: Data = None, database_url: Database = None
) -> None:
    """Load NDJSON files (one resource per line, with ids) into the record; exit code 1 when a line was refused.

    --errors-file gets an OperationOutcome for each refused line.
    """
    from hub import loading

    config = _settings(data, database_url)
    database.prepare(config)
    raise SystemExit(0 if _run(loading.run(config, files, errors_file)) else 1)


@app.command()
def reindex(data: Data = None, database_url: Database = None) -> None:
    """Index again what an older version stored, so that every search finds it. A running hub does it by itself."""
    made = _with_record(_settings(data, database_url), lambda record: record.reindex())
    typer.echo(f"{made.done} indexed again, {made.failed} could not be read", err=True)
    raise SystemExit(1 if made.failed else 0)


@db_app.command("distribute")
def db_distribute(database_url: Database = None) -> None:
    """Spread the tables of an installed PostgreSQL database over the nodes of its Citus cluster; hubs must be stopped.

    Prints one line for each table; what is distributed already stays as it is.
    """
    from fhir_server.engines import citus

    config = _settings(None, database_url)
    if not config.database:
        raise errors.Unreadable("SQLite est un seul fichier ; indiquez une base PostgreSQL", at="--database")
    for line in _run(citus.distribute(config.database)):
        typer.echo(line)


@app.command()
def token(
    persona: str | None = None,
    client: str | None = None,
    scope: str = "",
    system: bool = False,
    data: Data = None,
    database_url: Database = None,
) -> None:
    """Print a bearer token: for a persona, a software (alone or for a persona), or the machine's operator.

    --persona nadia; --client "Mon LGC" --scope "user/*.cruds" --persona lgc; --system (every right, one hour).
    """
    if not (persona or client or system):
        raise typer.BadParameter("say --persona, --client or --system")
    lifetime: timedelta = personas.PERSON_LIFETIME
    if system:
        identity, lifetime = tokens.Identity("system", client="shell", name="system"), personas.SYSTEM_LIFETIME
    elif persona:
        identity = personas.persona(persona, client=client or "", scopes=tuple(scope.split()))
    else:
        identity = tokens.Identity("client", client=client or "", scopes=tuple(scope.split()), name=client or "")
    config = _settings(data, database_url)
    database.prepare(config)
    if persona:  # a made-up person accepts the terms by being used
        database.acceptances_of(config).accept(identity.person, terms.text(config).version)
    typer.echo(database.kept_tokens(config).mint(identity, lifetime))


@client_app.command("add")
def client_add(
    name: str,
    scope: str = "system/*.rs",
    jwks_url: Annotated[str, typer.Option(help="Where its public keys are (preferred).")] = "",
    jwks: Annotated[Path | None, typer.Option(help="A file with its public keys.")] = None,
    psc_client: Annotated[list[str] | None, typer.Option(help="Its client_id at Pro Santé Connect.")] = None,
    certificate_subject: Annotated[str, typer.Option(help="Subject of its certificate, CN=…,OU=…,O=…,C=FR.")] = "",
    certificate_dns: Annotated[str, typer.Option(help="Or the machine that its certificate names.")] = "",
    bound: Annotated[bool, typer.Option("--bound", help="Its tokens go with a certificate also with a key.")] = False,
    redirect_uri: Annotated[list[str] | None, typer.Option(help="Where people who open it are sent back to.")] = None,
    data: Data = None,
    database_url: Database = None,
) -> None:
    """Let a software sign in by a key (SMART Backend Services), a certificate, or either; prints its client_id.

    --scope is the widest that it may be given. Alone it reads no patient data, whatever its scopes. For people it acts
    by tokens that Pro Santé Connect gave to --psc-client, or by their consent when they open it (--redirect-uri); both
    may be repeated. An app that can keep no key is registered with --redirect-uri alone.
    """
    from fhir_server import limits
    from fhir_server.r4 import load
    from hub import launch

    scopes = tuple(scope.split())
    if wrong := [one for one in scopes if one != launch.OPEN and not smart.read(one)]:
        raise errors.Unreadable(f"scope inconnu : {wrong[0]} ; par exemple system/*.rs", at="--scope")
    config = _settings(data, database_url)
    database.prepare(config)
    for one in (found for text in scopes if (found := smart.read(text)) and found.query):
        limits.Limits(load.definitions(config.data / "cache").search).way(one.query, one.type)
    keys = jwks.read_text() if jwks else ""
    made = database.softwares(config).register(
        name,
        scopes,
        jwks_url=jwks_url,
        jwks=keys,
        psc_clients=tuple(psc_client or ()),
        certificate_subject=certificate_subject,
        certificate_dns=certificate_dns,
        bound=bound,
        redirect_uris=tuple(redirect_uri or ()),
    )
    typer.echo(made.id)


@client_app.command("list")
def client_list(data: Data = None, database_url: Database = None) -> None:
    """The registered softwares: client_id, name, scopes, where their keys are, what their certificates say."""
    config = _settings(data, database_url)
    database.prepare(config)
    for one in database.softwares(config).all():
        known = [one.jwks_url or (one.jwks and "keys in the registration"), one.certificate_subject]
        known += [one.certificate_dns and f"DNS:{one.certificate_dns}", "bound" if one.bound else ""]
        known += ["no keys"] if one.is_public else []
        typer.echo("  ".join([one.id, one.name, " ".join(one.scopes), *filter(None, known), *one.redirect_uris]))


@client_app.command("remove")
def client_remove(id: str, data: Data = None, database_url: Database = None) -> None:
    """Forget a software: its tokens open nothing any more, within seconds."""
    config = _settings(data, database_url)
    database.prepare(config)
    database.softwares(config).remove(id)


@send_app.command("mllp")
def send_mllp(file: Path, host: str = "127.0.0.1", port: int = 2575, timeout: float = 30.0) -> None:
    """Send one HL7 v2 message over MLLP and print the acknowledgement; exit code 0 when it says AA."""
    answer = _run(
        mllp.send(host, port, file.read_bytes().replace(b"\r\n", b"\r").replace(b"\n", b"\r"), timeout=timeout)
    )
    typer.echo(answer.decode("utf-8", "replace").replace("\r", "\n").strip())
    raise SystemExit(0 if b"MSA|AA|" in answer else 1)


@journal_app.command("list")
def journal_list(limit: int = 50, state: str | None = None, data: Data = None, database_url: Database = None) -> None:
    """The latest raw messages: when, door, state, cause. No content."""
    for entry in _with_record(_settings(data, database_url), lambda record: record.journal_list(limit, state)):
        typer.echo(f"{entry.id}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.door:5} {entry.state:9} {entry.cause}")


@journal_app.command("show")
def journal_show(id: str, data: Data = None, database_url: Database = None) -> None:
    """One raw message exactly as it came, on standard output: it holds health data."""
    entry = _with_record(_settings(data, database_url), lambda record: record.journal_read(id))
    typer.get_binary_stream("stdout").write(entry.raw)


@outbox_app.command("list")
def outbox_list(limit: int = 100, data: Data = None, database_url: Database = None) -> None:
    """Deliveries that gave up: since when, which Task, why."""
    for parked in _with_record(_settings(data, database_url), lambda record: record.parked(limit)):
        work = parked.work
        typer.echo(f"{parked.since:%Y-%m-%d %H:%M:%S}  {work.consumer:5} {work.type}/{work.id}  {parked.error}")


@app.command()
def bench(
    name: Annotated[str, typer.Argument()] = "record",
    json: Path | None = None,
    database_url: Database = None,
    peer: str | None = None,
    budget: Annotated[bool, typer.Option("--budget", help="Exit 1 when a stated target is missed.")] = False,
    patients: int = 2000,
    seconds: float = 1.0,
    rounds: int = 3,
) -> None:
    """Measure one path against a bare baseline of the same run and print a table."""
    module = importlib.import_module(f"bench.{name}")
    options = {"patients": patients, "seconds": seconds, "rounds": rounds}
    raise SystemExit(module.run(database=database_url, json_path=json, peer=peer, budget=budget, **options))


@app.command()
def docs(folder: Path = Path("docs")) -> None:
    """Write the reference pages that are made from the code: errors, events, settings."""
    from hub import reference

    for path in reference.write(folder):
        typer.echo(f"written: {path}", err=True)


def _settings(data: Path | None, database_url: str | None) -> settings.Settings:
    return settings.read().with_options(data=data, database=database_url)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(work)


def _with_record(config: settings.Settings, ask: Any) -> Any:
    async def answer() -> Any:
        from hub import serve as serving

        async with serving.opened(config) as room:
            record: store.Store = room.store
            return await ask(record)

    database.prepare(config)
    return _run(answer())


if __name__ == "__main__":
    main()
