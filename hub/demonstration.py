"""What does `./demo` start, and what does it say?

The hub on a small fictitious region, and beside it, as a process of its own, a simulated MSSanté operator with a web
mailbox. At first start a hospital sends a discharge letter. Everything stops together.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common import clock, errors
from connectors.hospital import mllp
from hub import database, local_authority, serve, settings, tls
from hub.seed import small

OPERATOR_SMTP, OPERATOR_HTTP, IDENTITY_HTTP = 18025, 18080, 18090
START_SECONDS = 60.0
STOP_SECONDS = 10.0
LETTER = "lettre-de-sortie.hl7"
_DEMO = {"HUB_ACCOUNTS_CONTACT": "05 65 00 00 00 (numéro fictif)"}

_console = Console(stderr=True)


def run(data: Path, port: int, *, once: bool = False) -> int:
    """Start everything, print the addresses, wait for Ctrl-C or SIGTERM, stop everything. The exit code.

    With `once` it stops as soon as everything runs and the letter was acknowledged: a smoke test.
    """
    return asyncio.run(_run(data.resolve(), port, once))


async def _run(data: Path, port: int, once: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began = time.monotonic()
    config = settings.read().with_options(data=data, port=port, demo=True)
    _console.print("Base de données et région de démonstration…")
    database.prepare(config)
    async with serve.opened(config) as room:
        new = await small.fill(room.store, clock.system())
    ports_file = data / "ports.json"
    ports_file.unlink(missing_ok=True)
    _console.print("Démarrage du hub et de l'opérateur de messagerie simulé…")
    national = _national(config)
    processes = [
        await _start(one, national) for one in (_operator(config), _provider(config), _hub(config, ports_file))
    ]
    try:
        await _listening(ports_file, processes)
        if new:
            _console.print(f"Lettre de sortie envoyée par l'hôpital : {await _letter(config)}")
        _welcome(config, time.monotonic() - began)
        if not once:
            await _until(stop, processes)
        return 1 if any(one.returncode for one in processes) else 0
    finally:
        await asyncio.gather(*map(_stop, processes))
        _console.print("Arrêté.")


def _operator(config: settings.Settings) -> list[str]:
    command = [sys.executable, "-m", "conformance.simulators.mail_operator", "--data", str(config.data / "operator")]
    command += ["--smtp-port", str(OPERATOR_SMTP), "--http-port", str(OPERATOR_HTTP)]
    command += ["--deliver-to", f"{config.host}:{config.smtp_port}", "--domain", "demo.mssante.fr", "--outside"]
    command += ["--dsn"]
    for one in small.PERSONAS.values():
        if one.mailbox:
            command += ["--mailbox", f"{one.mailbox}={one.display}"]
    return command


def _national(config: settings.Settings) -> dict[str, str]:
    """How the hub and the simulated Pro Santé Connect know each other: settings of the hub."""
    secret = config.data / "psc.secret"
    if not secret.exists():
        secret.touch(0o600)
        secret.write_text(secrets.token_urlsafe(32))
    place = f"http://127.0.0.1:{IDENTITY_HTTP}/auth/realms/esante-wallet/.well-known/wallet-openid-configuration"
    return {
        "HUB_PSC_DISCOVERY": place,
        "HUB_PSC_CLIENT_ID": "hub",
        "HUB_PSC_CLIENT_SECRET_FILE": str(secret),
    }


def _provider(config: settings.Settings) -> list[str]:
    origin = tls.origin(config, config.port)
    command = [sys.executable, "-m", "conformance.simulators.psc", "--port", str(IDENTITY_HTTP)]
    command += ["--client-secret-file", str(config.data / "psc.secret")]
    command += ["--redirect", f"{origin}/connexion/psc/retour"]
    return [*command, "--logout-url", f"{origin}/oauth/backchannel-logout"]


def _hub(config: settings.Settings, ports_file: Path) -> list[str]:
    command = [sys.executable, "-m", "hub.cli", "serve", "--data", str(config.data), "--port", str(config.port)]
    return [*command, "--ports-file", str(ports_file)]


async def _start(command: list[str], national: dict[str, str]) -> asyncio.subprocess.Process:
    environment = {"HUB_HOOKS_ALLOW": "127.0.0.0/8,::1", **_DEMO, **national, **os.environ, "HUB_DEMO": "true"}
    return await asyncio.create_subprocess_exec(*command, env=environment, start_new_session=True)


async def _listening(ports_file: Path, processes: list[asyncio.subprocess.Process]) -> None:
    until = time.monotonic() + START_SECONDS
    while not ports_file.exists():
        if any(one.returncode is not None for one in processes) or time.monotonic() > until:
            raise errors.Unavailable("le démarrage a échoué : un port est peut-être déjà pris (voir ci-dessus)")
        await asyncio.sleep(0.05)


async def _letter(config: settings.Settings) -> str:
    ports = json.loads((config.data / "ports.json").read_text())
    message = resources.files("hub.seed").joinpath("samples", LETTER).read_bytes().replace(b"\n", b"\r")
    answer = await mllp.send(config.host, ports["mllp"], message, timeout=30.0)
    return "AA (enregistrée)" if b"MSA|AA|" in answer else answer.decode("utf-8", "replace")


def _welcome(config: settings.Settings, seconds: float) -> None:
    address = tls.origin(config, config.port)
    _console.print(f"\n[bold]Spico Hub[/bold] (données fictives) est prêt en {seconds:.0f} s\n")
    places = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    places.add_row("Application", address)
    places.add_row("Messagerie simulée", f"http://127.0.0.1:{OPERATOR_HTTP}")
    places.add_row("Pro Santé Connect simulé", f"http://127.0.0.1:{IDENTITY_HTTP}   (depuis la page de connexion)")
    places.add_row("API FHIR", f"{address}/fhir/metadata")
    places.add_row("HL7 v2 (MLLP)", f"{config.host}:{config.mllp_port}   ./run send mllp FICHIER")
    places.add_row("Courriel entrant", f"SMTP {config.smtp_port}, LMTP {config.lmtp_port}")
    if tls.is_spoken(config) and not config.tls_certificate:
        places.add_row("Autorité à installer", str(local_authority.authority(config.data)))
    _console.print(places)
    cast = Table("persona", "qui", "comment", box=None, padding=(0, 2, 0, 0))
    for one in small.PERSONAS.values():
        means = {"mssante": "messagerie simulée"}.get(one.channel, "application, un geste")
        cast.add_row(one.name, f"{one.display}, {one.profession}".strip(", "), means if one.family else "HL7 v2")
    _console.print(cast)
    _console.print(f"\nJeton pour un script : ./run token --persona nadia --data {config.data}\nCtrl-C pour arrêter.\n")


async def _until(stop: asyncio.Event, processes: list[asyncio.subprocess.Process]) -> None:
    """Until told to stop, or until one of the processes ends by itself."""
    waiting = [asyncio.create_task(stop.wait()), *(asyncio.create_task(one.wait()) for one in processes)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
