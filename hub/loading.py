"""How does an operator load NDJSON files from the machine's own shell?

The same way as `$import` (`fhir_server/jobs/importing.py`), without a job: what was read is said as it goes, a file
that is given again changes nothing that is there already.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from common import errors
from fhir_server import access, store
from fhir_server.jobs import importing
from hub import serve, settings

_SAY_SECONDS = 5.0


async def run(config: settings.Settings, files: Sequence[Path], problems: Path | None) -> bool:
    """Load files, one after the other; `problems` gets an OperationOutcome for each refused line.

    Returns whether every line was taken. Raises NotFound for a file that cannot be read.
    """
    failed = 0
    async with serve.opened(config) as room:
        for path in files:
            failed += (await _file(room.store, path, problems)).failed
        await room.store.bulk.analyze()
    return not failed


async def _file(record: store.Store, path: Path, problems: Path | None) -> importing.Place:
    def told(lines: list[tuple[int, errors.HubError]]) -> None:
        if problems:
            with problems.open("ab") as out:
                out.writelines(importing.wrong_line(line, why, str(path)) + b"\n" for line, why in lines)
        for line, why in lines[:10]:
            typer.echo(f"{path}:{line}: {why.issues[0].expression} {why.issues[0].text}", err=True)

    begun = said = time.monotonic()
    first = place = importing.Place()
    source = importing.Source(path, url=str(path))
    places = importing.load(record, source, caller=access.SYSTEM, begin=first, told=told)
    async with contextlib.aclosing(places):
        async for place in places:
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                typer.echo(f"{path}: {place.done} resources, {place.failed} refused", err=True)
    seconds = max(time.monotonic() - begun, 0.001)
    rate = place.done / seconds
    typer.echo(f"{path}: {place.done} resources, {place.failed} refused, {rate:.0f}/s", err=True)
    return place
