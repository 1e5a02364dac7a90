"""The command line: `python -m conformance.simulators.mail_operator --data DIR`."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from conformance.simulators.mail_operator import app, switches


def _arguments() -> app.Settings:
    parser = argparse.ArgumentParser(prog="mail_operator", description="Opérateur MSSanté simulé (données fictives)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--smtp-port", type=int, default=18025, help="0 : un port libre")
    parser.add_argument("--http-port", type=int, default=18080, help="0 : un port libre")
    parser.add_argument(
        "--deliver-to", default="127.0.0.1:2525", help="hôte:port du hub, pour les courriels qui sortent"
    )
    parser.add_argument("--domain", default="demo.mssante.fr")
    parser.add_argument("--data", type=Path, required=True, help="dossier du fichier SQLite")
    parser.add_argument("--mailbox", action="append", default=[], metavar="ADRESSE=NOM")
    parser.add_argument("--strict", action="store_true", help="refuser les boîtes non déclarées")
    parser.add_argument("--dsn", action="store_true", help="annoncer DSN et envoyer des avis de remise")
    parser.add_argument(
        "--outside", action="store_true", help="ouvrir aussi des boîtes d'autres domaines (adresses privées)"
    )
    parser.add_argument("--switch", choices=tuple(switches.MODES), default="normal")
    parser.add_argument("--ports-file", type=Path)
    given = parser.parse_args()
    host, _, port = given.deliver_to.rpartition(":")
    return app.Settings(
        data=given.data,
        host=given.host,
        smtp_port=given.smtp_port,
        http_port=given.http_port,
        deliver_to=(host or "127.0.0.1", int(port)),
        domain=given.domain,
        mailboxes=dict(_named(one) for one in given.mailbox),
        strict=given.strict,
        dsn=given.dsn,
        outside=given.outside,
        mode=given.switch,
        ports_file=given.ports_file,
    )


def _named(text: str) -> tuple[str, str]:
    address, _, name = text.partition("=")
    return address, name


async def _serve(settings: app.Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    running = await app.start(settings)
    boxes = f"http://{settings.host}:{running.http_port}/"
    print(f"Opérateur {settings.domain} : boîtes sur {boxes}, SMTP sur le port {running.smtp_port}", flush=True)
    await stop.wait()
    await running.close()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
