"""A record in memory that answers what the pages ask: enough FHIR to test the pages alone, fast and without a database.

It is a stand-in for the neighbour, not a second record: no versions, no validation; the journeys run on the real one.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common import clock, errors
from fhir_server import access
from web import names

Resource = dict[str, Any]
NOW = datetime(2026, 11, 23, 13, 5, tzinfo=UTC)  # 14:05 in Paris, a Monday


@dataclass(frozen=True, slots=True)
class Change:
    seq: int
    type: str
    id: str
    conversation: str | None


@dataclass
class Record:
    """Resources by reference; `asked` every request; `failing` statuses to answer next instead of working."""

    held: dict[str, Resource] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    failing: list[int] = field(default_factory=list)
    listeners: list[asyncio.Queue[Change]] = field(default_factory=list)
    counter: Any = field(default_factory=lambda: itertools.count(1))
    now: datetime = NOW

    # -- what tests do

    def put(self, resource: Resource) -> Resource:
        """Store a resource under its id (made when absent), and tell the listeners."""
        number = next(self.counter)
        resource.setdefault("id", f"id{number}")
        ref = f"{resource['resourceType']}/{resource['id']}"
        resource["meta"] = {"versionId": str(number), "lastUpdated": clock.instant(self.now)}
        self.held[ref] = resource
        self._publish(number, resource)
        return resource

    def person(
        self, name: str, given: str, family: str, profession: str, *, title: str = "", mail: bool = False
    ) -> str:
        practitioner = {"given": [given], "family": family, "suffix": [title] if title else []}
        self.put({"resourceType": "Practitioner", "id": name, "name": [practitioner]})
        telecom = [{"system": "email", "value": f"{name}@demo.mssante.fr", "extension": [MSSANTE]}] if mail else []
        role: Resource = {"resourceType": "PractitionerRole", "id": name, "code": [{"text": profession}]}
        self.put({**role, "practitioner": {"reference": f"Practitioner/{name}"}, "telecom": telecom})
        self.tokens[f"jeton-{name}"] = f"PractitionerRole/{name}"
        return f"PractitionerRole/{name}"

    def conversation(self, title: str, *members: str, patient: str = "", **more: Any) -> str:
        header: Resource = {"resourceType": "Communication", "status": "in-progress", "topic": {"text": title}, **more}
        header["recipient"] = [{"reference": one} for one in members]
        if patient:
            header["subject"] = {"reference": patient}
        return f"Communication/{self.put(header)['id']}"

    def message(
        self, header: str, sender: str, text: str = "", *, ago: timedelta = timedelta(), **more: Any
    ) -> Resource:
        """A message as any door would post it."""
        payload = more.pop("payload", [{"contentString": text}])
        message = {"resourceType": "Communication", "status": "completed", "partOf": [{"reference": header}]}
        sent = clock.instant(self.now - ago)
        return self.post({**message, "sender": {"reference": sender}, "sent": sent, "payload": payload, **more})

    def post(self, message: Resource) -> Resource:
        """Store a message; every member's inbox entry follows, as the record's rules would do."""
        header = self.held[message["partOf"][0]["reference"]]
        stored = self.put(message)
        for member in (one["reference"] for one in header["recipient"]):
            self._entry(header, member, message)
        return stored

    def task(self, header: str, member: str) -> Resource:
        return self.held[f"Task/{_entry_id(header, member)}"]

    # -- the feed

    async def subscribe(self, caller: access.Caller) -> AsyncIterator[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self.listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.listeners.remove(queue)

    # -- the sign-in

    ways: ClassVar[Any] = SimpleNamespace(national=None, enter=SimpleNamespace(host=""))

    async def check(self, token: str) -> access.Caller:
        if token == "jeton-logiciel":
            return access.Caller(None, "logiciel")
        if token not in self.tokens:
            raise errors.Unauthenticated("jeton inconnu")
        actor = self.tokens[token]
        role = self.held[actor]
        name = self.held[role["practitioner"]["reference"]]["name"][0]
        return access.person(actor, client="web", name=f"{name['given'][0]} {name['family']}")

    async def persona(self, name: str) -> str:
        token = f"jeton-{name}"
        if token in self.ended:
            self.tokens[token] = self.ended.pop(token)
        if token not in self.tokens:
            raise errors.NotFound("persona inconnu")
        return token

    async def forget(self, token: str) -> None:
        self.ended[token] = self.tokens.pop(token)

    async def accepted(self, token: str) -> list[tuple[str, str]]:
        return []

    async def sessions(self, token: str) -> list[Any]:
        return []

    async def end_session(self, token: str, id: str) -> None:
        self.ended[token] = id

    # -- what the pages ask

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/fhir{path:path}", self._answer, methods=["GET", "POST", "PUT"])])

    async def _answer(self, request: Request) -> Response:
        path = request.path_params["path"].strip("/")
        self.asked.append((request.method, f"{path}?{request.url.query}" if request.url.query else path))
        if self.failing:
            return _outcome(self.failing.pop(0), "panne demandée par le test")
        actor = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if actor is None:
            return _outcome(401, "jeton inconnu")
        body = json.loads(await request.body() or b"{}")
        match request.method, path.split("/"):
            case "GET", [type]:
                return self._search(type, request.url.query, actor)
            case "GET", [type, id]:
                found = self.held.get(f"{type}/{id}")
                return _json(found) if found and self._sees(actor, found) else _outcome(404, "inconnu")
            case "POST", [""]:
                return self._transaction(body)
            case "POST", [_]:
                condition = request.headers.get("if-none-exist", "")
                known = self._existing(condition)
                return _json(known or self._create(body), 200 if known else 201)
            case "PUT", [type, id]:
                return self._update(f"{type}/{id}", body, request.headers.get("if-match", ""))
        return _outcome(405, "non")

    def _update(self, ref: str, body: Resource, match: str) -> Response:
        if match != f'W/"{self.held[ref]["meta"]["versionId"]}"':
            return _outcome(412, "une autre version existe")
        return _json(self.put(body))

    def _create(self, body: Resource) -> Resource:
        return self.post(body) if body["resourceType"] == "Communication" else self.put(body)

    def _transaction(self, bundle: Resource) -> Response:
        ids = {one["fullUrl"]: f"{one['resource']['resourceType']}/t{next(self.counter)}" for one in bundle["entry"]}
        answers = []
        for entry in bundle["entry"]:
            known = self._existing(entry["request"].get("ifNoneExist", ""))
            if known is None:
                text = re.sub(r'"urn:uuid:[^"]+"', lambda m: _quoted(ids, m[0]), json.dumps(entry["resource"]))
                known = self._create({**json.loads(text), "id": ids[entry["fullUrl"]].partition("/")[2]})
            location = f"http://x/fhir/{known['resourceType']}/{known['id']}/_history/1"
            answers.append({"response": {"status": "201", "location": location}})
        return _json({"resourceType": "Bundle", "type": "transaction-response", "entry": answers})

    def _existing(self, condition: str) -> Resource | None:
        if not condition:
            return None
        value = condition.rpartition("|")[2]
        return next((one for one in self.held.values() if _identified(one, value)), None)

    def _search(self, type: str, query: str, actor: str) -> Response:
        params = parse_qsl(query)
        rows = [one for ref, one in self.held.items() if ref.startswith(f"{type}/") and self._sees(actor, one)]
        for name, value in params:
            if not name.startswith("_") or name == "_id":
                rows = [one for one in rows if _meets(one, name, value.split(","))]
        options = dict(params)
        if options.get("_summary") == "count":
            return _json({"resourceType": "Bundle", "total": len(rows)})
        key = {"-sent": "sent", "-modified": "lastModified"}.get(options.get("_sort", ""), "")
        rows.sort(key=lambda one: (str(one.get(key, "")), int(one["meta"]["versionId"])), reverse=bool(key))
        start, count = int(options.get("_after", 0)), int(options.get("_count", 20))
        page, link = rows[start : start + count], []
        if start + count < len(rows):
            again = [pair for pair in params if pair[0] != "_after"] + [("_after", str(start + count))]
            link = [{"relation": "next", "url": f"http://x/fhir/{type}?{urlencode(again)}"}]
        included = [ref for name, value in params if name == "_include" for ref in _pointed(page, value)]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in page]
        seen = [self.held[ref] for ref in dict.fromkeys(included) if ref in self.held]
        entries += [{"resource": one, "search": {"mode": "include"}} for one in seen]
        return _json({"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entries})

    def _sees(self, actor: str, resource: Resource) -> bool:
        if resource["resourceType"] == "Task" and names.code(resource["code"], names.TASK) == "inbox":
            return bool(resource["owner"]["reference"] == actor)
        if resource["resourceType"] != "Communication":
            return True
        header = self.held[resource["partOf"][0]["reference"]] if "partOf" in resource else resource
        return any(one["reference"] == actor for one in header["recipient"])

    def _entry(self, header: Resource, member: str, message: Resource) -> None:
        own = message.get("sender", {}).get("reference") == member
        ref = f"Communication/{header['id']}"
        task = self.held.get(f"Task/{_entry_id(ref, member)}") or {
            "resourceType": "Task",
            "id": _entry_id(ref, member),
            "status": "requested",
            "intent": "order",
            "code": names.concept(names.TASK, "inbox"),
            "focus": {"reference": ref},
            "owner": {"reference": member},
            "businessStatus": names.concept(names.INBOX_STATUS, "read"),
            **({"for": header["subject"]} if "subject" in header else {}),
        }
        status = task["businessStatus"] if own else names.concept(names.INBOX_STATUS, "unread")
        self.put({**task, "lastModified": message["sent"], "businessStatus": status})

    def _publish(self, number: int, resource: Resource) -> None:
        parts = resource.get("partOf") or ([resource["focus"]] if "focus" in resource else [])
        ref = parts[0]["reference"] if parts else ""
        own = resource["id"] if resource["resourceType"] == "Communication" else None
        change = Change(number, resource["resourceType"], resource["id"], ref.partition("/")[2] or own)
        for queue in self.listeners:
            queue.put_nowait(change)


def delivery(message: Resource, member: str, status: str, code: str, proof: str = "") -> Resource:
    """A line of the delivery ledger."""
    return {
        "resourceType": "Task",
        "status": status,
        "intent": "order",
        "code": names.concept(names.TASK, "deliver"),
        "businessStatus": names.concept(names.DELIVERY_STATUS, code),
        "focus": {"reference": f"Communication/{message['id']}"},
        "owner": {"reference": member},
        "lastModified": message["sent"],
        "output": [{"type": {"text": code}, "valueString": f"{message['sent']} {proof}"}] if proof else [],
    }


def document(record: Record, title: str, content: bytes, kind: str = "application/pdf") -> Resource:
    """A stored document; returns the payload part that cites it."""
    binary = record.put({"resourceType": "Binary", "contentType": kind, "data": base64.b64encode(content).decode()})
    attachment = {"contentType": kind, "url": f"Binary/{binary['id']}", "size": len(content), "title": title}
    resource = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]}
    return {"contentReference": {"reference": f"DocumentReference/{record.put(resource)['id']}"}}


MSSANTE = {
    "url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-contact-point-email-type",
    "valueCoding": {"code": "MSSANTE"},
}
_PLACES = {"owner": "owner", "focus": "focus", "part-of": "partOf", "patient": "for"}
_CODED = {"code": "code", "business-status": "businessStatus"}


def _meets(resource: Resource, name: str, values: list[str]) -> bool:
    if name == "_id":
        return resource["id"] in values
    if name == "status":
        return resource["status"] in values
    if name == "identifier":
        return any(_identified(resource, value.rpartition("|")[2]) for value in values)
    if name in _CODED:
        codings = resource.get(_CODED[name], {}).get("coding", ())
        return any(f"{one['system']}|{one['code']}" in values for one in codings)
    found = resource.get(_PLACES[name], [])
    return any(one["reference"] in values for one in (found if isinstance(found, list) else [found]))


def _pointed(page: list[Resource], include: str) -> list[str]:
    place = {"focus": "focus", "patient": "for", "practitioner": "practitioner", "organization": "organization"}
    name = place[include.partition(":")[2]]
    return [one[name]["reference"] for one in page if name in one]


def _identified(resource: Resource, value: str) -> bool:
    return any(one.get("value") == value for one in resource.get("identifier", ()))


def _quoted(ids: dict[str, str], text: str) -> str:
    return json.dumps(ids.get(json.loads(text), json.loads(text)))


def _entry_id(header: str, member: str) -> str:
    return f"{header}-{member}".replace("/", "-")


def _json(body: Resource, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/fhir+json")


def _outcome(status: int, text: str) -> Response:
    issue = {"severity": "error", "code": "processing", "details": {"text": text}}
    return _json({"resourceType": "OperationOutcome", "issue": [issue]}, status)
