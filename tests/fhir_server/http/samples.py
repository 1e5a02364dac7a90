"""Small resources and readings that the HTTP tests share."""

from __future__ import annotations

from typing import Any

import httpx

BASE = "http://hub.test/fhir"


def a_patient(**more: Any) -> dict[str, Any]:
    """An invented patient."""
    return {
        "resourceType": "Patient",
        "active": True,
        "name": [{"family": "Pat-Trois", "given": ["Dominique"]}],
        **more,
    }


def an_observation(subject: str | None = None, **more: Any) -> dict[str, Any]:
    """A temperature, of a patient when `subject` is given."""
    coding = {"system": "http://loinc.org", "code": "8310-5"}
    found = {"resourceType": "Observation", "status": "final", "code": {"coding": [coding]}, **more}
    return found if subject is None else {**found, "subject": {"reference": subject}}


def identified(value: str, system: str = "http://x.test/ipp") -> list[dict[str, str]]:
    """One identifier."""
    return [{"system": system, "value": value}]


def issue(answer: httpx.Response) -> dict[str, Any]:
    """The first issue of an OperationOutcome."""
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome", outcome
    found: dict[str, Any] = outcome["issue"][0]
    return found


def entries(bundle: dict[str, Any], mode: str = "match") -> list[dict[str, Any]]:
    """The resources of a searchset with one search mode."""
    return [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == mode]


def link(bundle: dict[str, Any], relation: str) -> str | None:
    """The address of one link of a Bundle."""
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


def entry(method: str, url: str, resource: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A bundle entry; `full_url` becomes fullUrl, the rest goes into the request."""
    full_url = more.pop("full_url", None)
    found: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    if resource is not None:
        found["resource"] = resource
    if full_url is not None:
        found["fullUrl"] = full_url
    return found


def bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    """A transaction or batch."""
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
