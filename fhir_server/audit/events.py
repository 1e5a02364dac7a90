"""How is a trace told as AuditEvent, and a write as Provenance?

National profile `tde-auditevent`: one or two agents, one subtype, a period with its start, an observer; the query as
base64 in `entity.query`. Provenance: base R4, activity from v3-DataOperation.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from fhir_server import ids
from fhir_server.audit.trace import Kept

Resource = dict[str, Any]

_TYPE = {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}
_SUBTYPE = "http://hl7.org/fhir/restful-interaction"
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SELF = {"display": "Spico Hub"}
_ACTIONS = {
    "create": "C",
    "update": "U",
    "patch": "U",
    "delete": "D",
    "transaction": "E",
    "batch": "E",
    "operation": "E",
}
_WRITES = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE"}
PREFIX = "trace-"


def id_of(chain: int, n: int) -> str:
    """The id of the AuditEvent that a trace is."""
    return f"{PREFIX}{ids.encode(chain)}-{ids.encode(n)}"


def place(id: str) -> tuple[int, int] | None:
    """The inverse, None for the id of an AuditEvent that somebody sent."""
    parts = id.removeprefix(PREFIX).split("-")
    if not id.startswith(PREFIX) or len(parts) != 2 or not all(map(ids.is_made_here, parts)):
        return None
    return ids.decode_number(parts[0]), ids.decode_number(parts[1])


def audit_event(kept: Kept) -> Resource:
    """The trace as an AuditEvent."""
    said, when = kept.values, _instant(kept.values["at"])
    code = said["what"].partition(" ")[0]
    agents: list[Resource] = [{"who": _who(said), "requestor": True, **_named(said)}]
    if said["on_behalf"]:
        agents.append({"who": {"reference": said["on_behalf"]}, "requestor": False})
    elif said["actor"] and said["client"]:
        agents.append({"who": {"display": said["client"]}, "requestor": False})
    found: Resource = {
        "resourceType": "AuditEvent",
        "id": id_of(kept.chain, kept.n),
        "type": _TYPE,
        "subtype": [{"system": _SUBTYPE, "code": code}],
        "action": _ACTIONS.get(code, "R"),
        "period": {"start": when},
        "recorded": when,
        "outcome": _outcome(said["status"]),
        "outcomeDesc": said["status"],
        "agent": agents,
        "source": {"observer": _SELF, "site": said["door"]},
    }
    if said["purpose"]:
        found["purposeOfEvent"] = [{"text": said["purpose"]}]
    if entities := _entities(said):
        found["entity"] = entities
    return found


def provenance(kept: Kept, target: str) -> Resource:
    """A write as the Provenance of one of the resources that it wrote."""
    said, when = kept.values, _instant(kept.values["at"])
    code = _WRITES.get(said["what"].partition(" ")[0], "UPDATE")
    agent: Resource = {"who": _who(said)}
    if said["on_behalf"]:
        agent["onBehalfOf"] = {"reference": said["on_behalf"]}
    return {
        "resourceType": "Provenance",
        "id": id_of(kept.chain, kept.n),
        "target": [{"reference": target}],
        "recorded": when,
        "activity": {"coding": [{"system": _OPERATION, "code": code}]},
        "agent": [agent],
    }


def is_write(kept: Kept) -> bool:
    """Did it change the record? Its row was written with the change."""
    return bool(kept.values["status"] == "done")


def _who(said: dict[str, Any]) -> Resource:
    if said["actor"]:
        return {"reference": said["actor"], **({"display": said["name"]} if said["name"] else {})}
    return {"display": said["name"] or said["client"] or "Spico Hub"}


def _named(said: dict[str, Any]) -> Resource:
    return {"name": said["name"]} if said["name"] else {}


def _outcome(status: str) -> str:
    """R4 audit-event-outcome: success, minor (refused, not found), serious (our fault)."""
    if status == "done" or status < "4":
        return "0"
    return "8" if status >= "5" else "4"


def _entities(said: dict[str, Any]) -> list[Resource]:
    found: list[Resource] = []
    for one in said["given"]:
        if one.startswith("+"):
            found.append({"description": f"et {one[1:]} autres"})
            continue
        role = "1" if one.startswith("Patient/") else "4"
        found.append({"what": {"reference": one}, "role": {"system": _ROLE, "code": role}})
    if said["query"]:
        query = base64.b64encode(said["query"].encode()).decode()
        found.append({"query": query, "role": {"system": _ROLE, "code": "24"}})
    return found


def _instant(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
