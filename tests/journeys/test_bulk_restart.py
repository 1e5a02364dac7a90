"""A real hub is killed in the middle of an import, then of an export, and both come to their end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import running

PATIENTS = 4000


def a_line(number: int) -> bytes:
    patient = {"resourceType": "Patient", "id": f"bulk-{number}", "name": [{"family": f"Lot{number}"}]}
    return json.dumps(patient).encode() + b"\n"


def told(client: httpx.Client, place: str) -> httpx.Response | None:
    """The answer of a job that has ended."""
    answer = client.get(place)
    return None if answer.status_code == 202 else answer


@pytest.mark.timeout(300)
def test_a_killed_hub_goes_on_with_its_jobs(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "all.ndjson").write_bytes(b"".join(map(a_line, range(PATIENTS))) + b"not json\n")
    hub = running.Hub(tmp_path / "hub", import_dir=str(folder), export_file_bytes="20000")
    try:
        parts = [{"name": "url", "valueString": "all.ndjson"}, {"name": "type", "valueCode": "Patient"}]
        asked: dict[str, Any] = {
            "resourceType": "Parameters",
            "parameter": [{"name": "inputFormat", "valueCode": "ndjson"}, {"name": "input", "part": parts}],
        }
        with hub.client("--system") as client:
            started = client.post("/$import", json=asked, headers={"Prefer": "respond-async"})
            assert started.status_code == 202, started.text
            time.sleep(0.2)  # some of it is in, and not all
            hub.kill()
            hub.start()
            place = started.headers["content-location"]
            answer = running.wait_for(lambda: told(client, place), seconds=120, what="the import")
            assert (answer.json()["output"][0]["count"], answer.json()["error"][0]["count"]) == (PATIENTS, 1)
            started = client.get("/Patient/$export", params={"_type": "Patient"}, headers={"Prefer": "respond-async"})
            hub.kill()
            hub.start()
            place = started.headers["content-location"]
            answer = running.wait_for(lambda: told(client, place), seconds=120, what="the export")
            lines = [line for one in answer.json()["output"] for line in client.get(one["url"]).content.splitlines()]
            ids = [json.loads(line)["id"] for line in lines]
            assert len(ids) == len(set(ids))
            assert {f"bulk-{number}" for number in range(PATIENTS)} <= set(ids)
    finally:
        hub.stop()


def test_a_persona_exports_only_what_they_see(tmp_path: Path) -> None:
    hub = running.Hub(tmp_path / "hub")
    try:
        with hub.client("--persona", "nadia") as nadia, hub.client("--system") as system:
            counts = []
            for client in (nadia, system):
                started = client.get("/$export", headers={"Prefer": "respond-async"})
                place = started.headers["content-location"]
                answer = running.wait_for(lambda client=client, place=place: told(client, place), what="the export")
                lines = [
                    one for file in answer.json()["output"] for one in client.get(file["url"]).content.splitlines()
                ]
                counts.append(len(lines))
                for line in lines:
                    found = json.loads(line)
                    seen = nadia.get(f"/{found['resourceType']}/{found['id']}").status_code == 200
                    assert seen or client is system
            assert 0 < counts[0] <= counts[1]
    finally:
        hub.stop()


def test_the_command_line_loads_files_and_says_what_is_wrong(tmp_path: Path) -> None:
    file, wrong = tmp_path / "p.ndjson", tmp_path / "wrong.ndjson"
    file.write_bytes(b"".join(map(a_line, range(100))))
    hub = running.Hub(tmp_path / "hub")
    try:
        hub.run("import", str(file))
        file.write_bytes(a_line(1) + b"{}\n")
        with pytest.raises(AssertionError, match="2: resourceType"):
            hub.run("import", str(file), "--errors-file", str(wrong))
        assert json.loads(wrong.read_bytes())["issue"][0]["diagnostics"].endswith("line 2")
        with hub.client("--system") as client:
            assert client.get("/Patient/bulk-99").status_code == 200
    finally:
        hub.stop()
