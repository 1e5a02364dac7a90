"""A running hub for the suites of others, and the settings and tokens that they are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import running


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Hub]:
    """With the small region in it; subscriptions may call this machine."""
    started = running.Hub(tmp_path_factory.mktemp("hub"), hooks_allow="127.0.0.0/8", sign_in_rate="0", fhir_rate="0")
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="module")
def base(hub: running.Hub) -> str:
    return f"http://127.0.0.1:{hub.ports['http']}/fhir"


@pytest.fixture(scope="module")
def token(hub: running.Hub) -> str:
    """May do everything."""
    return hub.run("token", "--system")


@pytest.fixture(scope="module")
def nadias(hub: running.Hub) -> str:
    """A token of the nurse of the demonstration."""
    return hub.run("token", "--persona", "nadia")
