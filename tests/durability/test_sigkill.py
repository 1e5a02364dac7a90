"""What was acknowledged is there once, whatever instant the hub is killed at.

500 exchanges through three doors (MLLP, SMTP, FHIR) while the process is killed 20 times. Senders behave as real ones:
what was not acknowledged is sent again, byte for byte. At the end everything acknowledged is counted, through FHIR and
in the doctor's mailbox.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import re
import smtplib
import threading
import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable
from importlib import resources as files
from pathlib import Path
from typing import Any

import httpx
import pytest

from common import errors
from connectors.hospital import mllp
from tests import running

pytestmark = [pytest.mark.durability, pytest.mark.timeout(1800)]

EXCHANGES = int(os.environ.get("HUB_TEST_EXCHANGES", "500"))
KILLS = int(os.environ.get("HUB_TEST_KILLS", "20"))
SENDERS = 6
DOCTOR = "paul.lefebvre@demo.mssante.fr"
LETTER = files.files("hub.seed").joinpath("samples", "lettre-de-sortie.hl7").read_bytes().replace(b"\n", b"\r")


def a_letter(number: int) -> bytes:
    """The sample letter as another document: its own message id, document id and content."""
    fields = re.search(rb"\^Base64\^([A-Za-z0-9+/=]+)", LETTER)
    assert fields
    cda = b64decode(fields[1]).replace(b"LL2026000117", b"DUR%08d" % number)
    return (
        LETTER.replace(fields[1], b64encode(cda))
        .replace(b"LL2026000117-1", b"DUR%08d" % number)
        .replace(b"LL2026000117", b"DUR%08d" % number)
    )


class Traffic:
    """Senders that repeat until they are acknowledged, and what they were promised."""

    def __init__(self, region: running.Region) -> None:
        self.region = region
        self.waiting: queue.Queue[int] = queue.Queue()
        self.acknowledged: set[int] = set()
        self.tries: Counter[str] = Counter()
        self.token = region.hub.run("token", "--persona", "nadia")
        self.header, self.reply_to = self._conversation()

    def _conversation(self) -> tuple[str, str]:
        with self.region.hub.client("--system") as client:
            tasks = client.get("Task", params={"code": "inbox", "owner": "PractitionerRole/lefebvre"}).json()["entry"]
        task = tasks[0]["resource"]
        return task["focus"]["reference"], f"conv+{task['identifier'][0]['value']}@hub.demo.mssante.fr"

    def run(self) -> None:
        for number in range(EXCHANGES):
            self.waiting.put(number)
        threads = [threading.Thread(target=self._sender, daemon=True) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        self._kills()
        for thread in threads:
            thread.join(timeout=600)
        assert len(self.acknowledged) == EXCHANGES

    def _kills(self) -> None:
        for count in range(1, KILLS + 1):
            due = EXCHANGES * count // (KILLS + 1)
            running.wait_for(lambda due=due: len(self.acknowledged) >= due, seconds=300, what=f"{due} exchanges")
            time.sleep(random.uniform(0, 0.3))
            self.region.hub.kill()
            self.region.hub.start()

    def _sender(self) -> None:
        doors = (self._hospital, self._mail, self._software)
        while True:
            try:
                number = self.waiting.get_nowait()
            except queue.Empty:
                return
            door = doors[number % 3]
            while not self._tried(door, number):
                self.tries[f"{door.__name__} again"] += 1
                time.sleep(0.1)
            self.acknowledged.add(number)

    def _tried(self, door: Callable[[int], bool], number: int) -> bool:
        try:
            return door(number)
        except (OSError, errors.Unavailable, httpx.HTTPError, smtplib.SMTPException):
            return False

    def _hospital(self, number: int) -> bool:
        answer = asyncio.run(mllp.send("127.0.0.1", self.region.hub.ports["mllp"], a_letter(number), timeout=10.0))
        if b"MSA|AA|" in answer:
            return True
        assert b"MSA|AR|" in answer, answer
        return False

    def _mail(self, number: int) -> bool:
        text = (
            f"From: {DOCTOR}\r\nTo: {self.reply_to}\r\nSubject: Re: suivi\r\nMessage-ID: <{number}@dur.example>\r\n\r\n"
        )
        with smtplib.SMTP("127.0.0.1", self.region.hub.ports["smtp"], timeout=10) as smtp:
            smtp.sendmail(DOCTOR, [self.reply_to], f"{text}courriel {number} fin\r\n".encode())
        return True

    def _software(self, number: int) -> bool:
        body = {
            "resourceType": "Communication",
            "identifier": [{"system": "urn:test", "value": str(number)}],
            "status": "completed",
            "partOf": [{"reference": self.header}],
            "payload": [{"contentString": f"logiciel {number} fin"}],
        }
        headers = {"Authorization": f"Bearer {self.token}", "If-None-Exist": f"identifier=urn:test|{number}"}
        url = f"http://127.0.0.1:{self.region.hub.ports['http']}/fhir/Communication"
        answer = httpx.post(url, json=body, headers=headers, timeout=10)
        assert answer.status_code in (200, 201, 409, 503), answer.text
        return answer.status_code < 400


def everything(client: httpx.Client, type: str, params: dict[str, str]) -> list[dict[str, Any]]:
    """All pages of a search."""
    found: list[dict[str, Any]] = []
    answer = client.get(type, params={**params, "_count": "500"}).raise_for_status().json()
    while True:
        found += running.resources(answer, type)
        following = [link["url"] for link in answer["link"] if link["relation"] == "next"]
        if not following:
            return found
        answer = client.get(following[0]).raise_for_status().json()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def region(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    database = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    started = running.region(tmp_path, database=database, mail_pace="0")  # faster than people type
    yield started
    started.operator.stop()
    started.hub.stop()


def test_twenty_kills_lose_nothing_and_double_nothing(region: running.Region) -> None:
    traffic = Traffic(region)
    traffic.run()
    with region.hub.client("--system") as client:
        messages = everything(client, "Communication", {"part-of:missing": "false"})
        documents = everything(client, "DocumentReference", {})
        deliveries = everything(client, "Task", {"code": "deliver"})
        texts = Counter(re.findall(r"(?:courriel|logiciel) \d+ fin", " ".join(str(one["payload"]) for one in messages)))
        letters = Counter(one["masterIdentifier"]["value"] for one in documents if "masterIdentifier" in one)
        kinds = ("hospital", "courriel", "logiciel")
        expected = {f"{kinds[number % 3]} {number} fin" for number in range(EXCHANGES) if number % 3}
        assert set(texts) == expected
        assert set(texts.values()) == {1}
        assert len(letters) == len([number for number in range(EXCHANGES) if number % 3 == 0])
        assert set(letters.values()) == {1}
        running.wait_for(lambda: _all_sent(client), seconds=300, what="every delivery done")
    held = [region.operator.read(DOCTOR, one["id"])["message_id"] for one in region.operator.mails(DOCTOR)]
    assert Counter(held).most_common(1)[0][1] == 1
    assert {one["id"] for one in deliveries} <= {one.strip("<>").partition("@")[0] for one in held}
    print(  # noqa: T201 - the figures of the run, for whoever asked for it with -s
        f"\n{EXCHANGES} exchanges, {KILLS} kills, repeats {dict(traffic.tries)}, {len(held)} mails delivered once"
    )


def _all_sent(client: httpx.Client) -> bool:
    return all(one["status"] == "completed" for one in everything(client, "Task", {"code": "deliver"}))
