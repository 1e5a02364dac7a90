"""A region for the benchmark of rights: people, circles with consent, conversations with messages and inbox entries.

Invented, the same for the same size; written by the store as the hub would have written it, with its readers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_server import access, changes, store
from fhir_server.r4 import load
from fhir_server.rights import facts
from hub import conversations
from hub.rules import consent
from mapping import systems

Resource = dict[str, Any]
BEGIN = datetime(2026, 1, 1, 8, tzinfo=UTC)
CALLER = "PractitionerRole/a0"
MEMBERS, MESSAGES, OBSERVATIONS = 4, 20, 4
ONE_ACCOUNT_FOR = 6  # conversations
CALLERS_SHARE = 10  # the caller is in one circle of so many, and in as many conversations
_AT_ONCE = 400


@dataclass(slots=True)
class Made:
    """What the caller may ask for: their conversations and their patients, by id."""

    conversations: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    resources: int = 0


async def fill(url: str, definitions: load.Definitions, size: int) -> Made:
    """A region of `size` patients, with a circle and a conversation each. Raises Unavailable."""
    record, made = await store.Store.open(url, definitions, worker=127), Made()
    chance, some = random.Random(1), list[changes.Change]()
    try:
        for resource, readers in _all(record, size, chance, made):
            made.resources += 1
            some.append(changes.Create(resource["resourceType"], resource["id"], resource, frozenset(readers)))
            if len(some) >= _AT_ONCE:
                await record.commit(some, caller=access.SYSTEM, cause="bench")
                some = []
        await record.commit(some, caller=access.SYSTEM, cause="bench")
    finally:
        await record.close()
    return made


Written = tuple[Resource, list[str]]


def _all(record: store.Store, size: int, chance: random.Random, made: Made) -> Iterator[Written]:
    accounts = max(MEMBERS + 1, size // ONE_ACCOUNT_FOR)
    for n in range(accounts):
        yield _role(n), []
    for n in range(size):
        others = [f"PractitionerRole/a{one}" for one in chance.sample(range(1, accounts), MEMBERS)]
        mine = n % CALLERS_SHARE == 0
        members = [CALLER, *others[1:]] if mine else others
        patient = f"x{n}"
        yield {"resourceType": "Patient", "id": patient, "name": [{"family": f"NOM{n}"}]}, members
        yield from _dossier(record, patient, members, chance)
        header, written = _conversation(record, patient, members, chance)
        yield from written
        if mine:
            made.patients.append(patient)
            made.conversations.append(header)


def _role(n: int) -> Resource:
    profession = {"coding": [{"system": systems.PROFESSION, "code": ("60", "10")[n % 2]}]}
    return {
        "resourceType": "PractitionerRole",
        "id": f"a{n}",
        "active": True,
        "organization": {"reference": f"Organization/s{n % 554}"},
        "code": [profession],
    }


def _dossier(record: store.Store, patient: str, members: list[str], chance: random.Random) -> Iterator[Written]:
    ref = f"Patient/{patient}"
    said = consent.recorded(ref, category=facts.DOSSIER, by=members[0], at="2026-01-01T08:00:00Z")
    yield {**said, "id": record.new_id("Consent", said)}, []
    team: Resource = {
        "resourceType": "CareTeam",
        "status": "active",
        "subject": {"reference": ref},
        "participant": [{"member": {"reference": one}, "period": {"start": "2026-01-01"}} for one in members],
    }
    yield {**team, "id": record.new_id("CareTeam", team)}, []
    for _ in range(OBSERVATIONS):
        code = {"coding": [{"system": "http://loinc.org", "code": f"{chance.randrange(50)}-1"}]}
        when = (BEGIN + timedelta(minutes=chance.randrange(400_000))).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: Resource = {"resourceType": "Observation", "status": "final", "code": code, "subject": {"reference": ref}}
        body["effectiveDateTime"] = when
        yield {**body, "id": record.new_id("Observation", body)}, []


def _conversation(
    record: store.Store, patient: str, members: list[str], chance: random.Random
) -> tuple[str, list[Written]]:
    ref, begin = f"Patient/{patient}", BEGIN + timedelta(minutes=chance.randrange(400_000))
    head = conversations.header("Suivi", patient=ref, members=members, category="patient")
    head["id"] = record.new_id("Communication", head)
    header = f"Communication/{head['id']}"
    written: list[Written] = [(head, members)]
    for n in range(MESSAGES):
        sent = begin + timedelta(minutes=7 * n)
        text = f"Message {n} : pansement refait, pas de fièvre, à revoir dans deux jours."
        one = conversations.message(
            header, sender=members[n % MEMBERS], sent=sent, text=text, documents=[], medium="app"
        )
        one["subject"], one["recipient"] = {"reference": ref}, [{"reference": who} for who in members]
        one["id"] = record.new_id("Communication", one)
        written.append((one, members))
    for who in members:
        about, read = {"reference": ref}, chance.random() < 0.8
        task = conversations.inbox_entry(header, who, patient=about, read=read, token="t", now=begin)
        written.append(({**task, "id": record.new_id("Task", task)}, [who]))
    return str(head["id"]), written
