"""How many processes does `hub serve` run, and what when one of them ends?

One does everything. With more HTTP workers (PostgreSQL only) the first also opens the mail and hospital doors; all of
them listen on one port, which the kernel shares out. The first starts the others again when they end, and they end with
it, however it ends: an old one that stayed would go on answering beside the new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from common import errors
from common.events import Events, configure, emit
from fhir_server.r4 import load
from hub import database, serve, settings, tls

RESTART_SECONDS = 1.0


def run(config: settings.Settings, *, ports_file: Path | None = None, worker: int = 0) -> int:
    """Serve until told to stop; the exit code. Raises Unreadable for settings that cannot work together."""
    if config.workers > 1 and not config.database:
        raise errors.Unreadable("workers : plusieurs processus demandent PostgreSQL", at="workers")
    configure(json=config.log_json)
    if worker == 0:
        database.prepare(config)
        load.prepare(config.data / "cache")
        tls.prepare(config)
    try:
        import uvloop

        uvloop.run(_run(config, ports_file, worker))
    except ImportError:  # no uvloop on this platform
        asyncio.run(_run(config, ports_file, worker))
    return 0


async def _run(config: settings.Settings, ports_file: Path | None, worker: int) -> None:
    if worker or config.workers == 1:
        await serve.run(config, ports_file=ports_file, worker=worker)
        return
    if config.port == 0:
        raise errors.Unreadable("port : plusieurs processus demandent un port fixe", at="port")
    others = [asyncio.create_task(_kept_alive(config, number)) for number in range(1, config.workers)]
    try:
        await serve.run(config, ports_file=ports_file)
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _kept_alive(config: settings.Settings, number: int) -> None:
    """One more HTTP worker, started again when it ends by itself."""
    command = [sys.executable, "-m", "hub.cli", "serve", "--worker", str(number), "--data", str(config.data)]
    command += ["--database", config.database, "--host", config.host, "--port", str(config.port)]
    command += ["--workers", str(config.workers)]
    while True:
        # Nothing is ever written to it: that it closes tells the worker that this process is gone.
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        emit(Events.HUB_005, worker=number, code=code)
        await asyncio.sleep(RESTART_SECONDS)
