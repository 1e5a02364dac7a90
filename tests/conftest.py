"""What every test may use: golden files to rewrite, Hypothesis profiles, a PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--golden-update` rewrites the expected files; their difference is read in review."""
    parser.addoption("--golden-update", action="store_true", help="rewrite the expected files of tests/golden")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--golden-update"):
        os.environ["GOLDEN_UPDATE"] = "1"
