"""What do rights cost, for somebody who is in many circles of care?

A region is written (`region.py`): for each patient a circle with consent, a conversation of twenty messages, inbox
entries; the caller takes part in one of ten. One hub process answers the caller's inbox, conversations and dossiers;
`overhead` is the time of the same searches, with the same answers, beside that of who sees everything, in turn.
`--patients 50000` is the region that the targets are about: a million messages, a caller in 5,000 circles.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from bench import load, region, report, served, targets
from bench.targets import Place, Target
from fhir_server.r4 import load as definitions
from hub import database as databases
from hub import settings, terms
from identity import tokens

CEILINGS = {"inbox_p95_ms": 100.0, "conversation_p95_ms": 100.0, "overhead": 1.5}
CONNECTIONS = 8
DISTINCT = 300
INBOX = f"/Task?owner={region.CALLER}&code=inbox&business-status=unread&_include=Task:focus&_sort=-modified&_count=50"
# What the caller and who sees everything get the same answers to.
SHARED = {
    "conversation": "/Communication?part-of=Communication/{conversation}&_sort=sent&_count=50",
    "dossier": "/Observation?patient={patient}&_sort=-date",
    "read": "/Communication/{conversation}",
}


@dataclass(slots=True)
class Run:
    """What is asked of which hub, and by whom."""

    folder: Path
    hub: Target
    token: str
    loader: served.Loader
    seconds: float

    def ask(self, name: str, urls: Sequence[str], *, system: bool = False, connections: int = 1) -> load.Result:
        """These searches again and again, as the caller or as who sees everything."""
        known = self.folder / f"{name}.json"
        load.write_urls(known, urls)
        job = load.Job(
            load.URLS, self.hub.host, self.hub.port, self.hub.base, self.hub.token if system else self.token,
            connections, self.seconds, known=str(known),
        )  # fmt: skip
        return self.loader.run(job)


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

    `database` as in `record.run`. Without `peer`: no other server has these circles and consents.
    """
    engine = "postgresql" if database else "sqlite"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-access-")))
        place = targets.prepared(stack, database, folder, "access")
        made = asyncio.run(region.fill(place.database, definitions.definitions(folder / "cache"), patients))
        print(f"bench access: {made.resources} resources, {len(made.patients)} circles", file=sys.stderr, flush=True)
        _, hub = stack.enter_context(targets.hub(place))
        loader = served.Loader()
        stack.callback(loader.stop)
        rows = _measured(Run(folder, hub, _token(place), loader, seconds), made, rounds)
    report.show("access", engine, rows)
    if json_path:
        report.write(json_path, "access", engine, rows)
    misses = report.missed(rows, {}, CEILINGS) if budget else []
    for one in misses:
        print(f"budget missed: {one}", file=sys.stderr)
    return 1 if misses else 0


def _token(place: Place) -> str:
    given = "" if place.database.startswith("sqlite") else place.database
    config, caller = settings.Settings(data=place.folder, database=given), tokens.Identity("person", region.CALLER)
    databases.acceptances_of(config).accept(caller.person, terms.text(config).version)
    return databases.kept_tokens(config).mint(replace(caller, client="web", name="Banc"), timedelta(hours=2))


def _measured(run: Run, made: region.Made, rounds: int) -> list[report.Row]:
    chance = random.Random(2)
    pick = {"conversation": made.conversations, "patient": made.patients}
    urls = {
        name: [form.format(**{key: chance.choice(some) for key, some in pick.items()}) for _ in range(DISTINCT)]
        for name, form in SHARED.items()
    }
    waits: dict[str, list[load.Result]] = {"inbox": [], "conversation": [], "mine_newest": []}
    ratios: dict[str, list[float]] = {name: [] for name in urls}
    for number in range(rounds):
        print(f"bench access: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        waits["inbox"].append(run.ask("inbox", [INBOX], connections=CONNECTIONS))
        waits["conversation"].append(run.ask("conversation", urls["conversation"], connections=CONNECTIONS))
        waits["mine_newest"].append(run.ask("newest", ["/Observation?_sort=-date&_count=20"], connections=CONNECTIONS))
        for name, some in urls.items():
            seen = run.ask(name, some).p50_ms
            ratios[name].append(seen / run.ask(name, some, system=True).p50_ms)
    rows = [
        report.row(f"{name}_p95_ms", statistics.median(one.p95_ms for one in some), None, unit="ms")
        for name, some in waits.items()
    ]
    each = {name: statistics.median(some) for name, some in ratios.items()}
    rows += [report.row(f"overhead_{name}", value, None, unit="protected/unprotected") for name, value in each.items()]
    return [*rows, report.row("overhead", max(each.values()), None, unit="protected/unprotected")]
