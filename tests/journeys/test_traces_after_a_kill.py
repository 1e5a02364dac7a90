"""A hub that is killed keeps the trace of every write, and of the reads but those of the last second (MODEL-08).

The same hub takes a letter from a hospital and shows its PDF to software and in the app: each door leaves its trace.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from importlib import resources as files
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.hospital import mllp
from tests import running
from tests.running import resources, wait_for

NADIA = "PractitionerRole/nadia"
LETTER = files.files("hub.seed").joinpath("samples", "lettre-de-sortie.hl7").read_bytes().replace(b"\n", b"\r")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[running.Hub]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    started = running.Hub(tmp_path / "hub", database=url)
    yield started
    assert started.stop() == 0


def traced(hub: running.Hub, **params: str) -> list[dict[str, Any]]:
    """The AuditEvents that the operator's own token finds, newest first."""
    found: list[dict[str, Any]] = []
    params = {"date": "ge2020-01-01", "_count": "200", **params}
    with hub.client("--system") as client:
        url = f"/AuditEvent?{'&'.join(f'{name}={value}' for name, value in params.items())}"
        while url:
            page = client.get(url).raise_for_status().json()
            found += resources(page, "AuditEvent")
            url = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")
    return found


def entities(event: dict[str, Any]) -> list[str]:
    return [one["what"]["reference"].partition("/_history")[0] for one in event.get("entity", ()) if "what" in one]


@pytest.mark.timeout(180)
def test_a_kill_loses_no_trace_of_a_write_and_none_of_a_read_older_than_a_second(hub: running.Hub) -> None:
    with hub.client("--persona", "nadia") as client:
        found = client.get("/Communication", params={"part-of:missing": "true"}).raise_for_status().json()
        (header, *_) = resources(found, "Communication")
        body = {"resourceType": "Communication", "status": "completed", "payload": [{"contentString": "essai"}]}
        body["partOf"] = [{"reference": f"Communication/{header['id']}"}]
        old = [client.get("/Practitioner/claire").raise_for_status() for _ in range(40)]
        time.sleep(1.0)
        written = []
        for _ in range(40):
            made = client.post("/Communication", json=body)
            assert made.status_code == 201, made.text
            written.append(f"Communication/{made.json()['id']}")
            client.get("/Practitioner/claire").raise_for_status()
    hub.kill()
    hub.start()
    found = traced(hub, agent=NADIA)
    assert set(written) <= {ref for one in found if one["subtype"][0]["code"] == "create" for ref in entities(one)}
    reads = [one for one in found if entities(one) == ["Practitioner/claire"]]
    assert len(reads) >= len(old)
    assert "lignes" in hub.run("audit", "verify")


@pytest.mark.timeout(180)
def test_a_document_leaves_the_same_trace_through_the_app_and_the_api(hub: running.Hub) -> None:
    answer = asyncio.run(mllp.send("127.0.0.1", hub.ports["mllp"], LETTER, timeout=30.0))
    assert b"MSA|AA|" in answer
    with hub.client("--persona", "nadia") as client:
        (document,) = resources(client.get("/DocumentReference").raise_for_status().json(), "DocumentReference")
        pdf = re.sub(r"^.*/fhir/", "", document["content"][0]["attachment"]["url"])
        assert client.get(f"/{pdf}", headers={"Accept": "application/pdf"}).content.startswith(b"%PDF")
        token = client.headers["authorization"].removeprefix("Bearer ")
    site = f"http://127.0.0.1:{hub.ports['http']}"
    with httpx.Client(base_url=site, cookies={"hub_session": token}, timeout=30.0) as browser:
        page = browser.get(f"/documents/{pdf.partition('/')[2]}")
        assert page.content.startswith(b"%PDF")
    patient = document["subject"]["reference"]

    def both() -> list[dict[str, Any]]:
        return [one for one in traced(hub, patient=patient) if entities(one) == [pdf] and one["action"] == "R"]

    wait_for(lambda: len(both()) == 2, what="the traces of both reads")
    of_app, of_api = both()
    for one in (of_app, of_api):
        assert one["agent"][0]["who"]["reference"] == NADIA
        assert one["subtype"][0]["code"] == "read"
    assert of_app["entity"][0] == of_api["entity"][0]
    of_hospital = [one for one in traced(hub, patient=patient) if one["action"] in ("C", "E")]
    assert [one["source"]["site"] for one in of_hospital if pdf in entities(one)] == ["hospital"]
    log = hub.log.read_text()
    assert "DELMAS" not in log
    assert patient.partition("/")[2] not in log
