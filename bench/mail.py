"""How fast is the mail bridge?

One hub on a new database with the small region, and a mail server of our own that only stores (`mailed.py`).
`in_plain`: answers of a doctor come over 1 and 8 connections, each posted and on disk when it gets its 250; beside it
the same mails into the server that only stores. `in_xdm`: the same over 8 connections, each mail with a health package
of about a megabyte. `seen_p95_s`: from handing in one answer until the nurse's search finds it. `out`: messages of the
nurse, until the last one is at the operator; beside it as many mails with nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import smtplib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench import mailed, mailed_packages, report, served, targets
from bench.targets import Target
from common import errors
from hub import conversations
from hub.flows import deliver
from mss import compose, send

CONNECTIONS = (1, 8)
EACH = 20  # mails in one conversation: fewer than the hub takes of one sender in ten minutes
PACKAGES, PACKAGE_BYTES = 40, 750_000  # the file is a megabyte once in the CDA
SINGLE = 40  # answers whose waiting time is measured
DOCTOR, MAILBOX = "paul.lefebvre@demo.mssante.fr", "conv@hub.demo.mssante.fr"
TEXT = "Bonjour,\n\nPlaie propre, berges nettes ; on continue le pansement un jour sur deux.\n\nCordialement,\n"
# On a machine with two cores that does nothing else.
FLOORS = {"in_plain": 40.0, "in_xdm": 10.0, "out": 25.0}
CEILINGS = {"seen_p95_s": 0.5}


@dataclass(slots=True)
class Run:
    """What one run needs: the hub's doors, the server that only stores, clients of the nurse and of everybody."""

    hub: Target
    smtp: int
    operator: int
    told: httpx.Client
    nurse: httpx.Client
    system: httpx.Client
    mails: int


def run(
    *,
    database: str | None = None,
    json_path: Path | None = None,
    peer: str | None = None,
    budget: bool = False,
    patients: int = 2000,
    seconds: float = 1.0,
    rounds: int = 3,
) -> int:
    """Measure, print a table, write `json_path`; the exit code, 1 when `budget` is asked for and missed.

    `database` as in `record.run`; `patients` stands for the size: one mail for every ten. Without `peer` and `seconds`.
    """
    engine = "postgresql" if database else "sqlite"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-mail-")))
        operator = served.Server(mailed.command(folder), folder / mailed.PORTS, mailed.HEALTH, folder / "mailed.log")
        stack.callback(operator.stop)
        ports = json.loads((folder / mailed.PORTS).read_text())
        os.environ["HUB_MAIL_SMTP_PORT"] = str(ports["smtp"])
        os.environ["HUB_DEMO"] = "true"  # the INS of the small region are of the test domain
        place = targets.prepared(stack, database, folder, "mail")
        targets.command("seed", *place.options())
        _, hub = stack.enter_context(targets.hub(place))
        base = f"http://{hub.host}:{hub.port}{hub.base}"

        def client(token: str) -> httpx.Client:
            headers = {"Authorization": f"Bearer {token}"}
            return stack.enter_context(httpx.Client(base_url=base, headers=headers, timeout=60.0))

        nurse = client(targets.command("token", "--persona", "nadia", *place.options()))
        told = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{ports['http']}"))
        smtp = json.loads((place.folder / "ports.json").read_text())["smtp"]
        made = Run(hub, smtp, ports["smtp"], told, nurse, client(hub.token), max(patients // 10, EACH))
        rows = [_in_plain(made, rounds), _in_xdm(made, rounds), _seen(made), _out(made, rounds)]
    report.show("mail", engine, rows)
    if json_path:
        report.write(json_path, "mail", engine, rows)
    misses = report.missed(rows, FLOORS, CEILINGS) if budget else []
    for one in misses:
        print(f"budget missed: {one}", file=sys.stderr)
    return 1 if misses else 0


def _in_plain(run: Run, rounds: int) -> report.Row:
    figures: dict[int, list[dict[str, float]]] = {count: [] for count in CONNECTIONS}
    bare: dict[int, list[float]] = {count: [] for count in CONNECTIONS}
    for number in range(rounds):
        for count in CONNECTIONS:
            _progress(f"round {number + 1} of {rounds}: in, {count} connections")
            mails = _answers(run)
            before, cpu = time.monotonic(), run.hub.cpu()
            waits = sorted(_handed_in(run.smtp, mails, count))
            figures[count].append(
                {
                    "value": len(mails) / (time.monotonic() - before),
                    "p50_ms": statistics.median(waits) * 1000,
                    "p95_ms": waits[int(len(waits) * 0.95)] * 1000,
                    "cpu_ms": (run.hub.cpu() - cpu) / len(mails) * 1000,
                }
            )
            before = time.monotonic()
            _handed_in(run.operator, mails, count)
            bare[count].append(len(mails) / (time.monotonic() - before))
    return _row("in_plain", figures, bare)


def _in_xdm(run: Run, rounds: int) -> report.Row:
    figures, bare = [], []
    for number in range(rounds):
        _progress(f"round {number + 1} of {rounds}: packages")
        addresses = [_opened(run, mailed_packages.PATIENT)[1] for _ in range(-(-PACKAGES // EACH))]
        mails = []
        for one in range(PACKAGES):
            id = uuid.uuid4().int % 10**30
            to = addresses[one % len(addresses)]
            raw = mailed_packages.mail(id, PACKAGE_BYTES, sender=DOCTOR, mailbox=MAILBOX, tag="")
            mails.append((to, raw))
        before, cpu = time.monotonic(), run.hub.cpu()
        _handed_in(run.smtp, mails, max(CONNECTIONS))
        figures.append(
            {"value": PACKAGES / (time.monotonic() - before), "cpu_ms": (run.hub.cpu() - cpu) / PACKAGES * 1000}
        )
        before = time.monotonic()
        _handed_in(run.operator, mails, max(CONNECTIONS))
        bare.append(PACKAGES / (time.monotonic() - before))
    params = {"patient": mailed_packages.PATIENT, "_summary": "count"}
    filed = run.nurse.get("/DocumentReference", params=params).raise_for_status().json()["total"]
    if filed < PACKAGES * rounds:
        raise errors.Conflict(f"packages were held: {filed} documents of {PACKAGES * rounds}")
    median = {name: statistics.median(one[name] for one in figures) for name in figures[0]}
    return report.row("in_xdm", median["value"], statistics.median(bare), unit="mails/s", cpu_ms=median["cpu_ms"])


def _row(case: str, figures: dict[int, list[dict[str, float]]], bare: dict[int, list[float]]) -> report.Row:
    medians = {
        count: {name: statistics.median(one[name] for one in some) for name in some[0]}
        for count, some in figures.items()
    }
    best = max(medians, key=lambda count: medians[count]["value"])
    row = report.row(
        case, medians[best]["value"], statistics.median(bare[best]), unit="mails/s", cpu_ms=medians[best]["cpu_ms"]
    )
    return replace(row, by_connections=medians)


def _seen(run: Run) -> report.Row:
    _progress("seen")
    waits = []
    for number in range(SINGLE):
        if number % EACH == 0:
            header, to = _opened(run)
        mark = uuid.uuid4().hex
        before = time.monotonic()
        _handed_in(run.smtp, [(to, _answer(to, mark))], 1)
        _found(run, header, mark)
        waits.append(time.monotonic() - before)
    return report.row("seen_p95_s", sorted(waits)[int(len(waits) * 0.95)], None, unit="s")


def _found(run: Run, header: str, mark: str) -> None:
    """Ask as the nurse until an answer with this mark is in the conversation."""
    params = {"part-of": header, "_sort": "-_lastUpdated", "_count": "1"}
    served.until(lambda: mark in run.nurse.get("/Communication", params=params).text)


def _out(run: Run, rounds: int) -> report.Row:
    """The writing is in it: the messages are posted one after the other while the first ones already leave."""
    served.until(lambda: not run.system.get("/Task", params=_WAITING).json().get("entry"))  # the region's own story
    figures, bare = [], []
    for number in range(rounds):
        _progress(f"round {number + 1} of {rounds}: out")
        headers = [_opened(run)[0] for _ in range(max(run.mails // EACH, 1))] * EACH
        run.told.get("/arrivals")
        before, cpu = time.monotonic(), run.hub.cpu()
        for header in headers:
            run.nurse.post("/Communication", json=_message(header)).raise_for_status()
        last = max(served.arrived(run.told, len(headers)))
        figures.append({"value": len(headers) / (last - before), "cpu_ms": (run.hub.cpu() - cpu) / len(headers) * 1000})
        before = time.monotonic()
        asyncio.run(_sent(run, len(headers)))
        bare.append(len(headers) / (time.monotonic() - before))
    median = {name: statistics.median(one[name] for one in figures) for name in figures[0]}
    return report.row("out", median["value"], statistics.median(bare), unit="mails/s", cpu_ms=median["cpu_ms"])


_WAITING = {"code": "deliver", "status": "requested"}


def _opened(run: Run, patient: str | None = None) -> tuple[str, str]:
    """A new conversation of the nurse and the doctor, and the doctor's reply address."""
    members = ["PractitionerRole/nadia", "PractitionerRole/lefebvre"]
    category = "patient" if patient else "group"
    body = conversations.header("Suivi", patient=patient, members=members, category=category)
    made = run.nurse.post("/Communication", json=body).raise_for_status().json()
    header = f"Communication/{made['id']}"
    params = {"focus": header, "owner": members[1], "code": "inbox"}
    (entry,) = run.system.get("/Task", params=params).raise_for_status().json()["entry"]
    return header, MAILBOX.replace("@", f"+{entry['resource']['identifier'][0]['value']}@")


def _message(header: str) -> dict[str, Any]:
    return {
        "resourceType": "Communication",
        "status": "completed",
        "partOf": [{"reference": header}],
        "payload": [{"contentString": TEXT}],
    }


def _answers(run: Run) -> list[tuple[str, bytes]]:
    """Answers to `run.mails` questions, with the addresses that they go to; each in its own words."""
    addresses = [_opened(run)[1] for _ in range(max(run.mails // EACH, 1))]
    return [(to, _answer(to, uuid.uuid4().hex)) for _ in range(EACH) for to in addresses]


def _answer(to: str, mark: str) -> bytes:
    quoted = "".join(f"> {line}\r\n" for line in TEXT.split("\n"))
    text = f"{TEXT}{mark}\n\nLe 23/11/2026 09:12, Nadia Roux <{MAILBOX}> a écrit :\n".replace("\n", "\r\n") + quoted
    return (
        f"From: Paul Lefebvre <{DOCTOR}>\r\nTo: {to}\r\nSubject: Re: Suivi\r\nMessage-ID: <{mark}@demo.mssante.fr>\r\n"
        f"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: 8bit\r\n\r\n{text}"
    ).encode()


def _handed_in(port: int, mails: Sequence[tuple[str, bytes]], connections: int) -> list[float]:
    """Send these over so many kept connections; how long each took until its 250."""

    def line(part: Sequence[tuple[str, bytes]]) -> list[float]:
        waits = []
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            for to, raw in part:
                before = time.monotonic()
                client.sendmail(DOCTOR, [to], raw)
                waits.append(time.monotonic() - before)
        return waits

    with ThreadPoolExecutor(connections) as pool:
        parts = [mails[n::connections] for n in range(connections)]
        return [wait for waits in pool.map(line, filter(None, parts)) for wait in waits]


async def _sent(run: Run, count: int) -> None:
    """As many mails as the hub would send, by the same code, as many at once."""
    smtp, free = send.Smtp(port=run.operator), asyncio.Semaphore(deliver.AT_ONCE)
    now = datetime.now(UTC)

    async def one(number: int) -> None:
        async with free:
            mail = compose.mail(
                compose.Outgoing(
                    delivery=f"bench-{number}", mailbox=MAILBOX, author="Nadia Roux", recipient=DOCTOR,
                    subject="Suivi", tag="K7F2Q", text=TEXT, date=now, reply_to=MAILBOX,
                )
            )  # fmt: skip
            outcome = await send.send(smtp, mail, sender=MAILBOX, recipient=DOCTOR, envid=str(number))
            if not outcome.accepted:
                raise errors.Unavailable(outcome.text)

    await asyncio.gather(*map(one, range(count)))
    served.arrived(run.told, count)


def _progress(text: str) -> None:
    print(f"bench mail: {text}", file=sys.stderr, flush=True)
