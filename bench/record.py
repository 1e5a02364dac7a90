"""How fast is the record, through its FHIR door?

One hub process is started on a new database, loaded with an invented population, and asked and written to over 1, 8 and
32 connections by a load process of its own, in several rounds of which the median counts. Reads and searches stand
beside a bare ASGI application that sends the same bytes (`bare.py`), writes beside raw inserts of the same rows
(`raw_rows.py`), on the same machine in the same run. The value of a case is its best median over the connections.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import bulk, load, raw_rows, report, served, targets, workload
from bench.targets import Place, Target

CONNECTIONS = (1, 8, 32)
SEARCHING = (
    "search_identifier", "search_patient_newest", "search_code_newest", "search_name", "include", "chain", "has",
)  # fmt: skip
ASKING = ("read", *SEARCHING)
WRITING = ("create", "update", "transaction_50")
# What `--budget` holds, on a machine with two cores that does nothing else: least values, and at most.
FLOORS = {
    "read": 10_000.0,
    "search_identifier": 6000.0,
    "search_patient_newest": 4000.0,
    "search_code_newest": 4000.0,
    "search_name": 3000.0,
    "include": 2000.0,
    "chain": 2000.0,
    "has": 1500.0,
    "create": 1500.0,
    "update": 1200.0,
    "transaction_50": 3500.0,
    "bulk_load": 6000.0,
}
CEILINGS = {"search_p99_ms": 15.0, "start_s": 1.5, "memory_mib": 200.0}

LOADING_CONNECTIONS = 4
DISTINCT_READS = 500
# Calls made ready for each second of a writing case: more than any server here answers.
READY = {"create": 6000, "update": 6000, "transaction_50": 200}
# Resources that the raw inserts write for each measurement, by connections: each takes about as long.
RAW = {1: 400, 8: 2000, 32: 4000}
RAW_BULK = 500
STARTS = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement, or the medians of several: units per second, waiting times, server milliseconds per unit."""

    value: float
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: float = 0.0


@dataclass(slots=True)
class Run:
    """What one run needs and what it has measured so far, by case, target and connections."""

    folder: Path
    patients: int
    seconds: float
    rounds: int
    loader: served.Loader
    figures: dict[tuple[str, str, int], list[Figure]] = field(default_factory=lambda: defaultdict(list))

    def median(self, case: str, target: str, connections: int) -> Figure | None:
        """The median of a measurement over the rounds, None when it was not made."""
        made = self.figures.get((case, target, connections))
        if not made:
            return None
        return Figure(
            value=statistics.median(one.value for one in made),
            p50_ms=statistics.median(one.p50_ms for one in made),
            p95_ms=statistics.median(one.p95_ms for one in made),
            p99_ms=statistics.median(one.p99_ms for one in made),
            cpu_ms=statistics.median(one.cpu_ms for one in made),
        )


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

    `database` None is SQLite; `postgresql` starts a server for the run; a URL names a server on which databases are
    made and dropped. `peer` is the base URL of another FHIR server without sign-in: it gets the same data and calls.
    """
    engine = "postgresql" if database else "sqlite"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-record-")))
        loader = served.Loader()
        stack.callback(loader.stop)
        place = _places(stack, database, folder)
        rows = _measure(Run(folder, patients, seconds, rounds, loader), place("hub"), place("raw"), peer)
    report.show("record", engine, rows)
    if json_path:
        report.write(json_path, "record", engine, rows)
    misses = report.missed(rows, FLOORS, CEILINGS) if budget else []
    for one in misses:
        print(f"budget missed: {one}", file=sys.stderr)
    return 1 if misses else 0


def _places(stack: contextlib.ExitStack, database: str | None, folder: Path) -> Callable[[str], Place]:
    """Makes places of this run by name: a folder each, with its file or with a database on the server."""
    server = stack.enter_context(served.postgres(database)) if database else None

    def place(name: str) -> Place:
        own = folder / name
        own.mkdir()
        if server is None:
            made = Place(own, f"sqlite:///{own / 'hub.sqlite'}")
        else:
            url = stack.enter_context(served.scratch_database(server, f"bench_{name}_{os.getpid()}"))
            made = Place(own, url)
        targets.migrate(made)
        return made

    return place


def _measure(run: Run, place: Place, raw: Place, peer: str | None) -> list[report.Row]:
    with targets.hub(place) as (server, hub):
        asked = [hub, targets.peer(peer, run.folder)] if peer else [hub]
        loaded = {target.name: _load(run, target) for target in asked}
        known = workload.Known.read(hub.known)
        calls = {call.target for case in ASKING for call in workload.calls(case, known, count=DISTINCT_READS, seed=0)}
        with targets.plain(run.folder, hub, sorted(calls)) as (plain, bare):
            for number in range(run.rounds):
                _round(run, ASKING, [*asked, bare], number)
            least_memory = plain.memory_mib()
        for number in range(run.rounds):
            _round(run, WRITING, asked, number)
        memory = server.memory_mib()
        _progress("bulk load and export")
        into, out = bulk.load(hub, run.patients), bulk.export(hub)
    starts = [_start_seconds(run, place) for _ in range(STARTS)]
    rows, of_peer = _raw(run, place, raw), loaded.get("peer")
    return [
        *(_row(run, case) for case in (*ASKING, *WRITING)),
        _slowest(run),
        report.row(
            "bulk_load",
            into.value,
            rows,
            unit="resources/s",
            cpu_ms=into.cpu_ms,
            peer=of_peer.value if of_peer else None,
        ),
        report.row("bulk_export", out.value, None, unit="resources/s", cpu_ms=out.cpu_ms),
        report.row("start_s", *(statistics.median(one) for one in zip(*starts, strict=True)), unit="s"),
        report.row("memory_mib", memory, least_memory, unit="MiB"),
    ]


def _load(run: Run, target: Target) -> Figure:
    """Load the population through transactions and remember the ids that the server chose."""
    _progress(f"loading {run.patients} patients into {target.name}")
    answers = run.folder / f"{target.name}-answers"
    job = load.Job("bulk_load", target.host, target.port, target.base, target.token, LOADING_CONNECTIONS, 3600)
    before = target.cpu()
    result = run.loader.run(replace(job, patients=run.patients, keep=str(answers)))
    spent = target.cpu() - before
    bundles = [json.loads(line) for line in answers.read_bytes().splitlines()]
    workload.known(run.patients, bundles).write(target.known)
    resources = sum(len(one["entry"]) for one in bundles)
    waits = result.p50_ms, result.p95_ms, result.p99_ms
    return Figure(resources / result.seconds, *waits, spent / resources * 1000)


def _round(run: Run, cases: tuple[str, ...], asked: list[Target], number: int) -> None:
    """Every case over every number of connections, the targets in turn; a warm-up of each before the first round."""
    for case in cases:
        _progress(f"round {number + 1} of {run.rounds}: {case}")
        for connections in CONNECTIONS:
            for target in asked:
                if number == 0:
                    _one(run, case, target, connections=connections, seed=-connections)
                figure = _one(run, case, target, connections=connections, seed=number * 100 + connections)
                run.figures[case, target.name, connections].append(figure)


def _one(run: Run, case: str, target: Target, *, connections: int, seed: int) -> Figure:
    job = load.Job(case, target.host, target.port, target.base, target.token, connections, run.seconds)
    if case in ASKING:  # the calls whose answers the bare application knows
        job = replace(job, known=str(target.known), count=DISTINCT_READS, seed=0)
    else:  # new ones each time
        job = replace(job, known=str(target.known), count=int(READY[case] * run.seconds), seed=seed)
    before = target.cpu()
    result = run.loader.run(job)
    spent = target.cpu() - before
    units = result.answered * (workload.BUNDLE if case == "transaction_50" else 1)
    waits = result.p50_ms, result.p95_ms, result.p99_ms
    return Figure(units / result.seconds, *waits, spent / units * 1000)


def _start_seconds(run: Run, place: Place) -> tuple[float, float]:
    """How long the hub takes to be ready on the loaded database, and a bare application to answer."""
    _progress("starting again")
    with targets.started(place) as hub, targets.nothing(run.folder, {}) as bare:
        return hub.start_seconds, bare.start_seconds


def _raw(run: Run, written: Place, raw: Place) -> float:
    """Measure raw inserts; returns the resources a second of a bulk load, with RAW_BULK resources in a transaction."""
    source, target = raw_rows.connect(written.database), raw_rows.connect(raw.database)
    try:
        taken = raw_rows.take(source, max(RAW.values()))
        count, figures = len(taken.resources), []
        for number in range(run.rounds):
            _progress(f"round {number + 1} of {run.rounds}: raw rows")
            for connections, most in RAW.items():
                _raw_round(run, target, taken, connections=connections, count=min(most, count))
            raw_rows.empty(target, taken)
            figures.append(count / target.write(raw_rows.inserts(target, taken, count, RAW_BULK)))
        return statistics.median(figures)
    finally:
        source.close()
        target.close()


def _raw_round(run: Run, target: raw_rows.Database, taken: raw_rows.Taken, *, connections: int, count: int) -> None:
    """Transactions, creates, then updates of what these created, as if `connections` commits were always grouped."""
    group, whole = workload.BUNDLE * connections, len(taken.resources)
    raw_rows.empty(target, taken)
    seconds = target.write(raw_rows.inserts(target, taken, whole, group))
    run.figures["transaction_50", "bare", connections].append(Figure(whole / seconds))
    raw_rows.empty(target, taken)
    for case, made in (("create", raw_rows.inserts), ("update", raw_rows.updates)):
        seconds = target.write(made(target, taken, count, connections))
        run.figures[case, "bare", connections].append(Figure(count / seconds))


def _row(run: Run, case: str) -> report.Row:
    medians = {count: figure for count in CONNECTIONS if (figure := run.median(case, "hub", count))}
    best = max(medians, key=lambda count: medians[count].value)
    bare, peer = run.median(case, "bare", best), run.median(case, "peer", best)
    made = report.row(
        case,
        medians[best].value,
        bare.value if bare else None,
        unit="resources/s" if case == "transaction_50" else "requests/s",
        cpu_ms=medians[best].cpu_ms,
        peer=peer.value if peer else None,
    )
    detail = {
        count: {name: round(figure, 3) for name, figure in dataclasses.asdict(one).items()}
        for count, one in medians.items()
    }
    return replace(made, by_connections=detail)


def _slowest(run: Run) -> report.Row:
    """The slowest hundredth of each kind of search over 8 connections: the worst of them counts."""
    waits = {case: figure.p99_ms for case in SEARCHING if (figure := run.median(case, "hub", 8))}
    worst = max(waits, key=lambda case: waits[case])
    bare = run.median(worst, "bare", 8)
    return report.row("search_p99_ms", waits[worst], bare.p99_ms if bare else None, unit=f"ms ({worst}, 8 clients)")


def _progress(text: str) -> None:
    print(f"bench record: {text}", file=sys.stderr, flush=True)
