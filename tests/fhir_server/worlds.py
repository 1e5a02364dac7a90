"""A small world for the store's tests: resources with sane defaults, callers, and a clock that is told the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from fhir_server import access, query, store
from fhir_server.changes import Create, Stored, Update
from fhir_server.r4 import load

NADIA = access.person("PractitionerRole/nadia")
PAUL = access.person("PractitionerRole/paul")
SYSTEM = access.SYSTEM
START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
Resource = dict[str, Any]


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


def a_patient(family: str = "Test", *, birth: str = "1980-05-11", **more: Any) -> Resource:
    return {"resourceType": "Patient", "name": [{"family": family}], "birthDate": birth, **more}


def an_observation(
    patient: str | None = None, *, code: str = "weight", when: str | None = None, **more: Any
) -> Resource:
    resource: Resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        **more,
    }
    if patient:
        resource["subject"] = {"reference": f"Patient/{patient}"}
    if when:
        resource["effectiveDateTime"] = when
    return resource


def a_task(patient: str | None = None, **more: Any) -> Resource:
    resource: Resource = {"resourceType": "Task", "status": "requested", "intent": "order", **more}
    if patient:
        resource["for"] = {"reference": f"Patient/{patient}"}
    return resource


def a_role(**more: Any) -> Resource:
    return {"resourceType": "PractitionerRole", "active": True, **more}


async def create(
    record: store.Store, resource: Resource, *readers: str, caller: access.Caller = SYSTEM, id: str | None = None
) -> Stored:
    """Create one resource, under an id of ours unless one is given."""
    type = resource["resourceType"]
    change = Create(type, id or record.new_id(type, resource), resource, frozenset(readers))
    return (await record.commit([change], caller=caller))[0]


async def update(
    record: store.Store, stored: Stored, *, caller: access.Caller = SYSTEM, version: int | None = None, **elements: Any
) -> Stored:
    """Change some elements of a resource."""
    body = msgspec.json.decode(stored.body) | elements
    return (await record.commit([Update(stored.type, stored.id, body, version)], caller=caller))[0]


def ask(url: str, definitions: load.Definitions, **options: Any) -> query.conditions.Query:
    """`Type?a=b&c=d`, already decoded, as a query."""
    type, _, rest = url.partition("?")
    params = [(name, value) for name, _, value in (one.partition("=") for one in rest.split("&") if one)]
    return query.parse(type, params, definitions.search, now=START, **options).query


def body(stored: Stored) -> Resource:
    found: Resource = msgspec.json.decode(stored.body)
    return found
