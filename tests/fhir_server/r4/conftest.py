"""The compiled R4 definitions, once for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.r4 import load, validate


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r4-cache")


@pytest.fixture(scope="session")
def definitions(cache: Path) -> load.Definitions:
    return load.definitions(cache)


@pytest.fixture(scope="session")
def validator(definitions: load.Definitions) -> validate.Validator:
    return validate.Validator(definitions)
