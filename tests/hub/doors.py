"""The FHIR API of a hub as the personas of the demo reach it: real rules, real hats, no socket."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from fhir_server import access, app
from fhir_server.jobs import runner
from fhir_server.rights import sharing
from hub import serve, signin
from hub.rights import worn
from hub.room import Room
from hub.seed import small

BASE = "http://hub.test/fhir"
Resource = dict[str, Any]


class Api:
    """`api("nadia")` is a client that acts as Nadia; `api("system")` one that sees everything."""

    def __init__(self, hub: Room, jobs: runner.Runner | None = None) -> None:
        self.hats = worn.Hats(hub.store)
        served = app.build_app(
            hub.store,
            authenticate=self._who,
            operations=serve.operations_of(hub, self.hats),
            now=hub.now,
            jobs=jobs,
        )
        if jobs is not None:
            jobs.start()
        self._transport = httpx.ASGITransport(served, raise_app_exceptions=True)

    async def _who(self, token: str) -> access.Caller:
        if token == "system":
            return access.SYSTEM
        if token in small.PERSONAS:
            return await self.hats.caller(signin.persona(token, client="web"))
        return await self.hats.caller(signin.tokens.Identity("person", f"PractitionerRole/{token}", client="web"))

    def __call__(self, name: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {name}"}
        return httpx.AsyncClient(transport=self._transport, base_url=BASE, headers=headers)


def said(answer: httpx.Response) -> str:
    """Status, then where and what of each issue: what a developer would read."""
    issues = answer.json().get("issue", ()) if answer.content else ()
    return f"{answer.status_code} " + " | ".join(
        f"{' '.join(one.get('expression', ()))}: {one['details']['text']}" for one in issues
    )


def a_consent(patient: str, category: str = "dossier", *, deny: bool = False, actors: tuple[str, ...] = ()) -> Resource:
    """A decision that was heard today."""
    at = "2026-11-01T10:00:00Z"
    provision: Resource = {"type": "deny" if deny or actors else "permit"}
    if actors:
        role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
        provision["actor"] = [{"role": role, "reference": {"reference": one}} for one in actors]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "https://spico-hub.example/fhir/CodeSystem/consent", "code": category}]}],
        "patient": {"reference": patient},
        "dateTime": at,
        "performer": [{"reference": patient}],
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "verification": [{"verified": True, "verificationDate": at}],
        "provision": provision,
    }


def a_circle(patient: str, *members: str) -> Resource:
    """A circle since the beginning of the month."""
    return {
        "resourceType": "CareTeam",
        "identifier": [{"system": "http://x.test/cercle", "value": uuid.uuid4().hex}],
        "status": "active",
        "name": "Cercle de soins",
        "subject": {"reference": patient},
        "period": {"start": "2026-11-01"},
        "participant": [{"member": {"reference": one}, "period": {"start": "2026-11-01"}} for one in members],
    }


def an_episode(patient: str) -> Resource:
    return {
        "resourceType": "EpisodeOfCare",
        "status": "active",
        "patient": {"reference": patient},
        "managingOrganization": {"reference": "Organization/dac-12"},
        "period": {"start": "2026-11-01"},
    }


def transaction(*resources: Resource) -> Resource:
    """Each posted; the first one is referred to as `urn:uuid:…` by the others (`NEW`)."""
    entries = []
    for place, one in enumerate(resources):
        url = NEW if not place else f"urn:uuid:{uuid.uuid4()}"
        entries.append({"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


NEW = "urn:uuid:6a1f6a34-0b7d-4b3a-9d5c-3a5f0b1c2d3e"


async def dossier(api: Api, *members: str, by: str = "claire") -> str:
    """A patient with a dossier that `by` opened: `Patient/x`."""
    patient = {"resourceType": "Patient", "name": [{"family": "TEST"}], "birthDate": "1950-01-01"}
    bundle = transaction(patient, a_consent(NEW), a_circle(NEW, *members), an_episode(NEW))
    async with api(by) as client:
        answer = await client.post("", json=bundle)
    assert answer.status_code == 200, said(answer)
    return "Patient/" + answer.json()["entry"][0]["response"]["location"].split("/Patient/")[1].split("/")[0]


async def post(api: Api, who: str, body: Resource) -> httpx.Response:
    """A create as that persona."""
    async with api(who) as client:
        return await client.post(f"/{body['resourceType']}", json=body)


async def status(api: Api, who: str, url: str) -> int:
    """What a GET answers to that persona."""
    async with api(who) as client:
        return (await client.get(url)).status_code


async def total(api: Api, who: str, url: str) -> int:
    """How many a search finds for that persona."""
    async with api(who) as client:
        return int((await client.get(f"{url}&_total=accurate")).json()["total"])


def labelled(body: Resource, level: str) -> Resource:
    """With a sharing label."""
    return {**body, "meta": {"security": [{"system": sharing.LEVEL, "code": level}]}}


def a_note(patient: str, text: str = "RAS") -> Resource:
    """Something that a circle shares."""
    return {"resourceType": "Condition", "subject": {"reference": patient}, "code": {"text": text}}
