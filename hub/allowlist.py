"""Whom may a mail go to and come from? The white list of the trust space, kept on disk (`hub allowlist`).

Without an address of the list (`HUB_MAIL_ALLOWLIST_URL`) and without a copy, nobody is refused: that is the demo. A
copy that was once taken counts, and the last good one is kept whatever the server sends later.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import httpx
import typer

from common import errors
from common.events import Events, emit
from hub import settings
from mss import allowlist

OUTSIDE = "retenu : domaine hors espace de confiance"
STALE = "liste blanche MSSanté trop ancienne : hub allowlist refresh"
SECONDS = 60.0
MOST_LINES = 50

app = typer.Typer(no_args_is_help=True, help="The white list of the MSSanté trust space.")
Data = Annotated[Path | None, typer.Option("--data", help="Data folder (HUB_DATA).")]


class Kept:
    """The last good copy; what another process took is seen."""

    def __init__(self, config: settings.Settings) -> None:
        self._config = config
        self._path = config.data / "allowlist.xml"

    @property
    def fetched(self) -> datetime | None:
        """When the copy was taken or last confirmed by the server; None without one."""
        return datetime.fromtimestamp(self._path.stat().st_mtime, UTC) if self._path.exists() else None

    def held(self) -> allowlist.AllowList | None:
        """The copy; None without one."""
        return _parsed(self._path, self._path.stat().st_mtime_ns) if self._path.exists() else None

    def problem(self, mail_address: str, now: datetime) -> str:
        """Why nothing may be exchanged with this mailbox; empty when it may.

        Raises Unavailable when nobody can tell: there never was a copy, or it is too old to keep somebody out.
        """
        known, fetched = self.held(), self.fetched
        if known is None or fetched is None:
            if self._config.mail_allowlist_url:
                raise errors.Unavailable("la liste blanche MSSanté n'a encore jamais été lue", at="allowlist")
            return ""
        if mail_address in known:
            return ""
        if allowlist.is_stale(fetched, now, self._config.mail_allowlist_days):
            raise errors.Unavailable(STALE, at="allowlist")
        return OUTSIDE

    def take(self, raw: bytes, *, confirmed: bool = False) -> allowlist.Difference:
        """Make this list the copy. Raises Conflict when it looks wrong (`allowlist.check`), Unreadable, Invalid."""
        new = allowlist.read(raw)
        changed = allowlist.check(new, self.held(), confirmed=confirmed)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".tmp")
        draft.write_bytes(raw)
        draft.replace(self._path)
        emit(Events.MSS_018, entries=new.entries, added=len(changed.added), removed=len(changed.removed))
        return changed

    async def fetch(self) -> bytes:
        """The list as its server has it now. Raises Unavailable."""
        url, chain = self._config.mail_allowlist_url, self._config.mail_allowlist_ca
        if not url.startswith("https://"):
            raise errors.Unavailable("HUB_MAIL_ALLOWLIST_URL : une adresse https est attendue", at="allowlist")
        try:
            # The server's certificate is the only seal of the list: it must come from the health authority's chain.
            trusted = ssl.create_default_context(cafile=chain)
            async with httpx.AsyncClient(timeout=SECONDS, verify=trusted, follow_redirects=False) as client:
                answer = await client.get(url)
            answer.raise_for_status()
        except (httpx.HTTPError, OSError) as problem:
            raise errors.Unavailable(
                f"liste blanche injoignable ({type(problem).__name__})", at="allowlist"
            ) from problem
        return answer.content


@lru_cache(maxsize=4)
def _parsed(path: Path, _written: int) -> allowlist.AllowList:
    return allowlist.read(path.read_bytes())


async def run(kept: Kept, hours: float) -> None:
    """Refresh for ever. What goes wrong is an event; the copy stays."""
    while True:
        try:
            kept.take(await kept.fetch())
        except errors.HubError as problem:
            emit(Events.MSS_019, error=problem.code)
        await asyncio.sleep(hours * 3600)


@app.command()
def refresh(
    file: Annotated[Path | None, typer.Option(help="Take this file instead of asking the server.")] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Also when it is older or much smaller.")] = False,
    data: Data = None,
) -> None:
    """Fetch the list now and say what changed; exit code 1 and the old copy when it looks wrong."""
    kept = _kept(data)
    changed = kept.take(file.read_bytes() if file else asyncio.run(kept.fetch()), confirmed=confirm)
    known = kept.held()
    typer.echo(f"{known.entries if known else 0} entrées, {len(changed.added)} ajouts, {len(changed.removed)} retraits")
    for mark, names in (("+", changed.added), ("-", changed.removed)):
        for name in names[:MOST_LINES]:
            typer.echo(f"{mark} {name}")


@app.command()
def show(domain: str = "", data: Data = None) -> None:
    """When the copy was generated and taken, how many domains; with --domain its operators' certificates."""
    kept = _kept(data)
    known = kept.held()
    if known is None:
        raise errors.NotFound("aucune liste blanche n'est gardée ici", at="--data")
    typer.echo(
        f"générée {known.made or 'sans date'}, prise {kept.fetched:%Y-%m-%d %H:%M}, {len(known.operators)} domaines"
    )
    for name in known.operators.get(domain.strip().lower(), ()):
        typer.echo(name)


@app.command()
def check(address: str, data: Data = None) -> None:
    """May a mail go to this address? Exit code 1 and the reason when it may not."""
    if problem := _kept(data).problem(address, datetime.now(UTC)):
        typer.echo(problem, err=True)
        raise SystemExit(1)
    typer.echo("dans l'espace de confiance")


def _kept(data: Path | None) -> Kept:
    return Kept(settings.read().with_options(data=data))
