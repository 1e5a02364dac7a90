"""Where are the public HL7 and CDA samples, when this machine has them? Tests that use them are skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "../shared/data"


def files(pattern: str) -> list[Path]:
    """The samples of a pattern under the data folder, in order; none on another machine."""
    return sorted(ROOT.glob(pattern))


def read(name: str) -> bytes:
    """One sample; skips the test when it is absent."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"sample {name} is not on this machine")
    return path.read_bytes()
