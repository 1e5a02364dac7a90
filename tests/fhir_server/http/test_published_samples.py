"""Do the published examples of the French guides go in and come out unchanged, as JSON and as XML?"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fhir_server.http.samples import BASE, a_patient, identified

Client = httpx.AsyncClient

SHARED = Path(__file__).parents[3] / "../shared/data"
EXAMPLES = sorted((SHARED / "fhir/examples").glob("*.json"))
LOT = SHARED / "dmp/pdsm4dmp-td2-iti65.json"


def content(text: str) -> dict[str, Any]:
    """What the client wrote: without what the server sets."""
    found: dict[str, Any] = json.loads(text, parse_float=Decimal)
    meta = {name: value for name, value in found.pop("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    del found["id"]
    return {**found, "meta": meta}


@pytest.mark.skipif(not EXAMPLES, reason="the samples are not on this machine")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
async def test_an_example_is_kept_as_it_was_written(fhir: Client, path: Path) -> None:
    text = path.read_text()
    type = json.loads(text)["resourceType"]
    headers = {"Content-Type": "application/fhir+json"}
    created = await fhir.post(f"/{type}", content=text.encode(), headers=headers)
    assert created.status_code == 201, created.text
    assert content(created.text) == content(text)
    url = created.headers["location"].partition("/_history")[0]
    as_xml = await fhir.get(url, headers={"Accept": "application/fhir+xml"})
    again = await fhir.post(f"/{type}", content=as_xml.content, headers={"Content-Type": "application/fhir+xml"})
    assert again.status_code == 201, again.text
    assert content(again.text) == content(text)


@pytest.mark.skipif(not LOT.exists(), reason="the samples are not on this machine")
async def test_a_published_submission_is_one_transaction_whose_parts_find_each_other(fhir: Client) -> None:
    # The submission names its patient by a search, so that one has to be there.
    ins = identified("123456789012345", "urn:oid:1.2.250.1.213.1.4.8")
    await fhir.put("/Patient/known", json=a_patient(id="known", identifier=ins))
    answer = await fhir.post("", content=LOT.read_bytes(), headers={"Content-Type": "application/fhir+json"})
    assert answer.status_code == 200, answer.text
    assert {one["response"]["status"] for one in answer.json()["entry"]} == {"201 Created"}
    stored = ""
    for one in answer.json()["entry"]:
        url = one["response"]["location"].removeprefix(BASE).partition("/_history")[0]
        stored += (await fhir.get(url, headers={"Accept": "application/fhir+json"})).text
    assert "urn:uuid:aaaaaaaa" not in stored
    assert '"reference":"Patient/known"' in stored
