"""Expected results kept as files, read in review: `compare` checks a value against one, or rewrites it when asked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent / "golden"


def is_update() -> bool:
    """Whether GOLDEN_UPDATE=1 asks for the files to be rewritten."""
    return os.environ.get("GOLDEN_UPDATE") == "1"


def compare(path: Path, value: Any, *, update: bool | None = None) -> None:
    """Fail when the JSON file does not hold this value; with `update` (default: is_update()) write it there."""
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    if is_update() if update is None else update:
        path.write_text(text, encoding="utf-8")
        return
    assert path.exists(), f"{path} is missing: run once with GOLDEN_UPDATE=1 and read what it writes"
    assert json.loads(text) == json.loads(path.read_text(encoding="utf-8")), f"{path} is different"


def cases(prefix: str) -> list[Path]:
    """The folders of the cases whose name begins so."""
    return sorted(path for path in ROOT.glob(f"{prefix}*") if path.is_dir())
