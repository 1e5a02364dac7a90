"""The operator reports on our mails, and the person who wrote reads it: real processes, real sockets (MSS-08)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import running
from tests.running import Region, resources, wait_for

DOCTOR = "paul.lefebvre@demo.mssante.fr"


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    started = running.region(tmp_path_factory.mktemp("reports"), dsn=True)
    yield started
    started.operator.stop()
    assert started.hub.stop() == 0


def deliveries(region: Region) -> list[dict[str, Any]]:
    with region.hub.client("--persona", "nadia") as client:
        params = {"code": "deliver", "owner": "PractitionerRole/lefebvre"}
        return resources(client.get("Task", params=params).raise_for_status().json(), "Task")


def states(region: Region) -> dict[str, str]:
    """The milestone of each delivery, by what it is about."""
    return {one["focus"]["reference"]: one["businessStatus"]["coding"][0]["code"]
            for one in deliveries(region) if "businessStatus" in one}  # fmt: skip


def test_what_the_operator_delivered_is_delivered(region: Region) -> None:
    wait_for(lambda: list(states(region).values()) == ["remis"], what="delivery report on the ledger")
    (task,) = deliveries(region)
    proofs = [one["type"]["text"] for one in task["output"]]
    assert sorted(proofs) == ["envoye", "remis"]
    header = task["basedOn"][0]["reference"]
    with region.hub.client("--persona", "nadia") as client:
        said = resources(client.get("Communication", params={"part-of": header}).json(), "Communication")
    assert len(said) == 1  # the report is no message
    assert "remis" in region.hub.run("mail", "status", task["id"])


def test_a_refused_mail_has_its_reason_and_is_unread_for_its_author(region: Region) -> None:
    header = deliveries(region)[0]["basedOn"][0]["reference"]
    region.operator.http.post("/api/switches", json={"mode": "refuse"}).raise_for_status()
    message = {
        "resourceType": "Communication",
        "status": "completed",
        "partOf": [{"reference": header}],
        "payload": [{"contentString": "Alors ?"}],
    }
    with region.hub.client("--persona", "nadia") as client:
        posted = client.post("Communication", json=message)
        assert posted.status_code == 201, posted.text
        about = f"Communication/{posted.json()['id']}"
        wait_for(lambda: states(region).get(about) == "echec", what="failure on the ledger")
        (task,) = [one for one in deliveries(region) if one["focus"]["reference"] == about]
        assert (task["status"], task["statusReason"]["text"]) == ("failed", "adresse inconnue")
        params = {"focus": header, "owner": "PractitionerRole/nadia", "code": "inbox"}
        (entry,) = resources(client.get("Task", params=params).json(), "Task")
    assert entry["businessStatus"]["coding"][0]["code"] == "unread"
