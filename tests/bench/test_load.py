"""The load process and the bare server, measured against each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import bare, load, served, targets, workload
from common import errors

KNOWN = workload.Known(patients=("p1",), observations=("o1", "o2"), identifiers=("s|1",), families=("A",))
ANSWERS = {"/fhir/Observation/o1": '{"resourceType":"Observation","id":"o1"}', "/fhir/Observation/o2": '{"é":"…"}'}


@pytest.fixture
def loader() -> Iterator[served.Loader]:
    made = served.Loader()
    yield made
    made.stop()


def _job(tmp_path: Path, port: int, case: str = "read") -> load.Job:
    KNOWN.write(tmp_path / "known.json")
    known = str(tmp_path / "known.json")
    return load.Job(case, "127.0.0.1", port, "/fhir", "", 4, 0.2, count=20, known=known, keep=str(tmp_path / "kept"))


def test_every_connection_gets_whole_answers_until_the_time_is_over(tmp_path: Path, loader: served.Loader) -> None:
    with targets.nothing(tmp_path, ANSWERS) as server:
        result = loader.run(_job(tmp_path, server.port))
        assert server.cpu_seconds() > 0
        assert server.memory_mib() > 1
    assert result.answered > 20
    assert 0.1 < result.seconds < 5
    assert 0 < result.p50_ms <= result.p95_ms
    assert {line.decode() for line in (tmp_path / "kept").read_bytes().split(b"\n")} == set(ANSWERS.values())


def test_a_refused_call_stops_the_benchmark_with_its_reason(tmp_path: Path, loader: served.Loader) -> None:
    with targets.nothing(tmp_path, {}) as server, pytest.raises(errors.Unavailable, match=r"read: \d+ calls failed"):
        loader.run(_job(tmp_path, server.port))


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "bare.json").write_text("not JSON")
    command = bare.command(tmp_path / "bare.json", tmp_path / "ports.json")
    with pytest.raises(errors.Unavailable, match="JSONDecodeError"):
        served.Server(command, tmp_path / "ports.json", bare.HEALTH, tmp_path / "log")
