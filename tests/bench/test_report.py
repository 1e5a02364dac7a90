"""What a benchmark says: a table, a file, and whether targets are met."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report

ROWS = [
    report.row("read", 4321.4, 9000.0, unit="requests/s", cpu_ms=0.12345),
    report.row("start_s", 1.2345, None, unit="s"),
]


def test_figures_are_rounded_to_what_they_are_worth() -> None:
    assert (ROWS[0].value, ROWS[0].ratio, ROWS[0].cpu_ms) == (4321.0, 0.48, 0.123)
    assert (ROWS[1].value, ROWS[1].baseline, ROWS[1].ratio) == (1.23, None, None)


def test_the_file_holds_what_scripts_rely_on(tmp_path: Path) -> None:
    report.write(tmp_path / "out.json", "record", "sqlite", ROWS)
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["name"], written["engine"]) == ("record", "sqlite")
    assert {"case", "value", "unit", "baseline", "ratio", "peer", "cpu_ms"} <= written["rows"][0].keys()


def test_a_missed_target_is_named_and_so_is_one_that_was_not_measured() -> None:
    assert report.missed(ROWS, {"read": 4000}) == []
    assert report.missed(ROWS, {"read": 5000}) == ["read: 4,321 instead of at least 5,000"]
    assert report.missed(ROWS, {"create": 400}) == ["create:  instead of at least 400"]


def test_the_table_is_plain_text_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    report.show("record", "sqlite", ROWS)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "4,321" in printed
