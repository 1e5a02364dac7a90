"""Every way in which somebody can ask for a thing, and what it says: the set of things that it shows.

A door answers for one person about all things at once: `Type/id` of what was shown, and of which things it could have
shown at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from fhir_server import access, store
from tests.fhir_server.http import bulk
from tests.fhir_server.rights.facts import Region

TYPES = ("Patient", "Communication", "Task", "CareTeam", "Consent", "DocumentReference", "Observation", "Condition",
         "MedicationStatement", "CarePlan", "QuestionnaireResponse")  # fmt: skip
IN_COMPARTMENT = frozenset(TYPES) - {"Task"}
# What belongs to no door's answer for these facts: ledger lines, which nobody reached by mail has here.
Judged = tuple[str, frozenset[str], frozenset[str]]  # the door, what it could show, what it showed


async def judged(
    client: httpx.AsyncClient, region: Region, who: access.Caller, record: store.Store
) -> AsyncIterator[Judged]:
    """Every door, asked by this caller."""
    everything = frozenset(region.things)
    for name, asked in DOORS.items():
        async for could, showed in asked(client, region):
            yield name, frozenset(could), frozenset(showed) & everything
    async for could, showed in _live(region, who, record):
        yield "live", frozenset(could), frozenset(showed)


async def _single(client: httpx.AsyncClient, region: Region, tail: str) -> AsyncIterator[tuple[set[str], set[str]]]:
    for ref in region.things:
        answer = await client.get(f"/{ref}{tail}", headers={"Accept": "application/fhir+json"})
        assert answer.status_code in (200, 404), answer.text
        yield {ref}, {ref} if answer.status_code == 200 else set()


def _read(client: httpx.AsyncClient, region: Region) -> Any:
    return _single(client, region, "")


def _version(client: httpx.AsyncClient, region: Region) -> Any:
    return _single(client, region, "/_history/1")


def _versions(client: httpx.AsyncClient, region: Region) -> Any:
    return _single(client, region, "/_history")


async def _search(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    for type in TYPES:
        found = await _pages(client, f"/{type}?_count=37&_total=accurate")
        yield _of(region, type), {one for one in found if one.startswith(f"{type}/")}


async def _counts(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    """A total tells of each thing: asked one by one, and all together."""
    for type in TYPES:
        whole = (await client.get(f"/{type}?_summary=count")).json()["total"]
        some = set()
        for ref in _of(region, type):
            if (await client.get(f"/{type}?_id={ref.partition('/')[2]}&_summary=count")).json()["total"]:
                some.add(ref)
        assert whole == len(some), (type, whole, some)
        yield _of(region, type), some


async def _history(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    for type in TYPES:
        yield _of(region, type), await _pages(client, f"/{type}/_history?_count=50")
    yield set(region.things), await _pages(client, "/_history?_count=100")


async def _together(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    yield (
        {one for type in TYPES for one in _of(region, type)},
        await _pages(client, f"/?_type={','.join(TYPES)}&_count=40"),
    )


async def _compartment(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    for patient in region.patients:
        mine = {ref for ref, one in region.things.items() if one.patient == patient}
        answer = await client.get(f"/{patient}/$everything?_count=1000")
        yield {patient}, {patient} if answer.status_code == 200 else set()
        if answer.status_code == 200:
            # R4 has no Task in a patient's compartment; what lies around it (Binary) comes along.
            could = {one for one in mine if one.partition("/")[0] in IN_COMPARTMENT}
            yield could, {one for one in _refs(answer) if one.partition("/")[0] in IN_COMPARTMENT}
        for type in ("Observation", "DocumentReference"):
            yield mine & _of(region, type), await _pages(client, f"/{patient}/{type}")


async def _included(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    """Behind a reference: shown when both ends are."""
    found = await _pages(
        client, "/Patient?_revinclude=Observation:patient&_revinclude=Communication:subject&_count=100"
    )
    seen = {one for one in found if one.startswith("Patient/")}
    could = {
        ref
        for ref, one in region.things.items()
        if one.patient in seen and ref.split("/")[0] in ("Observation", "Communication")
    }
    yield could, {one for one in found if not one.startswith("Patient/")}
    back = await _pages(client, "/DocumentReference?_include=DocumentReference:patient&_count=100")
    yield set(), {one for one in back if one.startswith("Patient/") and one not in seen}


async def _chained(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    """Through a reference: found when both ends are seen."""
    seen = await _pages(client, "/Patient?_count=100")
    for patient in region.patients:
        id, mine = patient.partition("/")[2], {ref for ref, one in region.things.items() if one.patient == patient}
        for type in ("Observation", "DocumentReference", "Communication"):
            found = await _pages(client, f"/{type}?subject:Patient._id={id}&_count=100")
            if patient in seen:
                yield mine & _of(region, type), found
            else:
                yield set(), found
        for ref in mine & _of(region, "Observation") if patient in seen else set():
            asked = await _pages(client, f"/Patient?_has:Observation:patient:_id={ref.partition('/')[2]}")
            yield {ref}, {ref} if patient in asked else set()


async def _exported(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    manifest = await bulk.exported(client)
    found = set()
    for file in manifest["output"]:
        for line in (await client.get(file["url"])).text.splitlines():
            one = httpx.Response(200, text=line).json()
            found.add(f"{one['resourceType']}/{one['id']}")
    yield set(region.things), found


async def _graphql(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    for type in ("Observation", "DocumentReference", "Communication", "Patient"):
        answer = await client.post("/$graphql", json={"query": f"{{ {type}List(_count: 500) {{ id }} }}"})
        yield _of(region, type), {f"{type}/{one['id']}" for one in answer.json()["data"][f"{type}List"]}


async def _dossier(client: httpx.AsyncClient, region: Region) -> AsyncIterator[tuple[set[str], set[str]]]:
    for patient in region.patients:
        answer = await client.get(f"/{patient}/$dossier")
        parts = ("Consent", "DocumentReference", "CarePlan", "QuestionnaireResponse")
        mine = {ref for ref, one in region.things.items() if one.patient == patient and ref.split("/")[0] in parts}
        if answer.status_code == 200:
            yield mine, {one for one in _refs(answer) if one.split("/")[0] in parts}


async def _live(region: Region, who: access.Caller, record: store.Store) -> AsyncIterator[tuple[set[str], set[str]]]:
    """What an open page would hear of."""
    rows, found = await record.rows(region.things), set()
    for ref, row in rows.items():
        event = store.Event(1, row.type, row.fid, row.version, "PUT", row.readers, row.patient, row.sharing, row.body)
        if await record.shows(event, who):
            found.add(ref)
    yield set(rows), found


Door = Callable[[httpx.AsyncClient, Region], AsyncIterator[tuple[set[str], set[str]]]]
DOORS: dict[str, Door] = {
    "read": _read, "vread": _version, "history": _versions, "search": _search, "counts": _counts,
    "histories": _history, "several types": _together, "compartment": _compartment, "includes": _included,
    "chains": _chained, "export": _exported, "graphql": _graphql, "dossier": _dossier,
}  # fmt: skip


def _of(region: Region, type: str) -> set[str]:
    return {ref for ref in region.things if ref.startswith(f"{type}/")}


async def _pages(client: httpx.AsyncClient, url: str) -> set[str]:
    found: set[str] = set()
    while url:
        answer = await client.get(url)
        assert answer.status_code == 200, (url, answer.text)
        found |= set(_refs(answer))
        url = next((one["url"] for one in answer.json().get("link", ()) if one["relation"] == "next"), "")
    return found


def _refs(answer: httpx.Response) -> list[str]:
    entries = answer.json().get("entry", ())
    return [f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in entries if "resource" in one]
