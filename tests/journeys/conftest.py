"""One running region for all journeys of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import running


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Region]:
    started = running.region(tmp_path_factory.mktemp("region"))
    yield started
    started.operator.stop()
    assert started.hub.stop() == 0
