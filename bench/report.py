"""What was measured, for a person and for a script?

A table on standard output, a JSON file when asked for, and whether stated targets are met.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One case. `value`, `baseline` and `peer` come from the same run, in `unit`; `ratio` is value / baseline; `cpu_ms`
    is the server's processor time for one unit. None where it makes no sense. `by_connections` has the values and
    waiting times behind `value`, for each number of connections.
    """

    case: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    peer: float | None = None
    cpu_ms: float | None = None
    by_connections: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


def row(
    case: str,
    value: float,
    baseline: float | None,
    *,
    unit: str,
    cpu_ms: float | None = None,
    peer: float | None = None,
) -> Row:
    """A row with its ratio, every figure rounded to what it is worth."""
    ratio = value / baseline if baseline else None
    return Row(
        case,
        _rounded(value),
        unit,
        baseline=_maybe(baseline),
        ratio=_maybe(ratio),
        peer=_maybe(peer),
        cpu_ms=_maybe(cpu_ms),
    )


def show(name: str, engine: str, rows: Sequence[Row]) -> None:
    """Print the table."""
    counts = sorted({count for one in rows for count in one.by_connections})
    table = Table(title=f"{name}, {engine}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in ("case", "unit", "value", "baseline", "ratio", *(["peer"] if any(one.peer for one in rows) else [])):
        table.add_column(head, justify="left" if head in ("case", "unit") else "right")
    for head in (*(f"at {count}" for count in counts), "p50 ms", "p95 ms", "cpu ms"):
        table.add_column(head, justify="right")
    for one in rows:
        best = _best(one)
        cells = [one.case, one.unit, _text(one.value), _text(one.baseline), _text(one.ratio)]
        cells += [_text(one.peer)] if any(other.peer for other in rows) else []
        cells += [_text(one.by_connections.get(count, {}).get("value")) for count in counts]
        cells += [_text(best.get("p50_ms")), _text(best.get("p95_ms")), _text(one.cpu_ms)]
        table.add_row(*cells)
    # Wide enough for every column: piped output has no terminal to fit.
    Console(width=160, highlight=False).print(table)


def write(path: Path, name: str, engine: str, rows: Sequence[Row]) -> None:
    """Keep the figures as JSON."""
    content = {"name": name, "engine": engine, "rows": [asdict(one) for one in rows]}
    path.write_text(json.dumps(content, indent=2) + "\n")


def missed(rows: Sequence[Row], floors: Mapping[str, float], ceilings: Mapping[str, float] | None = None) -> list[str]:
    """The stated targets that were not met, one sentence each. A target that was not measured is missed."""
    values = {one.case: one.value for one in rows}
    low = [
        f"{case}: {_text(values.get(case))} instead of at least {_text(floor)}"
        for case, floor in floors.items()
        if values.get(case, 0.0) < floor
    ]
    high = [
        f"{case}: {_text(values.get(case))} instead of at most {_text(ceiling)}"
        for case, ceiling in (ceilings or {}).items()
        if values.get(case, ceiling * 2) > ceiling
    ]
    return low + high


def _best(one: Row) -> Mapping[str, float]:
    return max(one.by_connections.values(), key=lambda figures: figures["value"], default={})


def _rounded(value: float) -> float:
    """Three significant digits, or whole numbers from a thousand up: more would be noise."""
    return float(round(value)) if abs(value) >= 1000 else float(f"{value:.3g}")


def _maybe(value: float | None) -> float | None:
    return None if value is None else _rounded(value)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
