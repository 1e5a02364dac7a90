"""How is a trace told as AuditEvent?

National profile `tde-auditevent`: one or two agents, one subtype, a period with its start, an observer; the query as
base64 in `entity.query`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fhir_server import ids
from fhir_server.audit import trace
from fhir_server.audit.trace import Kept

Resource = dict[str, Any]

_TYPE = {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}
_SUBTYPE = "http://hl7.org/fhir/restful-interaction"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SELF = {"type": "Device", "display": "Spico Hub"}
_ACTIONS = {
    "create": "C",
    "update": "U",
    "patch": "U",
    "delete": "D",
    "transaction": "E",
    "batch": "E",
    "operation": "E",
}
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
    said, when = kept.values, instant(kept.values["at"])
    code = said["what"].partition(" ")[0]
    agents: list[Resource] = [{"who": who(said), "requestor": True, **_named(said)}]
    if said["on_behalf"]:
        agents.append({"who": {"reference": said["on_behalf"]}, "requestor": False})
    elif said["actor"] and said["client"]:
        agents.append({"who": {"display": said["client"]}, "requestor": False})
    found: Resource = {
        "resourceType": "AuditEvent",
        "id": id_of(kept.chain, kept.n),
        "type": _TYPE,
        **({"subtype": [{"system": _SUBTYPE, "code": code}]} if code else {}),  # FHIR has no word for every address
        "action": _ACTIONS.get(code, "R"),
        "period": {"start": when},
        "recorded": when,
        "outcome": _outcome(said["status"]),
        "outcomeDesc": said["status"],
        "agent": agents,
        "source": {"observer": _SELF, "site": said["door"]},
    }
    if said["purpose"]:
        found["purposeOfEvent"] = [{"coding": [{"system": _REASON, "code": said["purpose"]}]}]
    if entities := _entities(said):
        found["entity"] = entities
    return found


def is_write(kept: Kept) -> bool:
    """Did it change the record? Its row was written with the change."""
    return bool(kept.values["status"] == trace.WRITTEN)


def who(said: Mapping[str, Any]) -> Resource:
    """The hat, a structure, or a software on its own."""
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
    names = said["given"]
    if len(names) > trace.MOST_NAMED + 1:  # written together; each has its Provenance
        names = [*names[: trace.MOST_NAMED], f"+{len(names) - trace.MOST_NAMED}"]
    for one in names:
        if one.startswith("+"):
            found.append({"description": f"et {one[1:]} autres"})
            continue
        role = "1" if one.startswith("Patient/") else "4"
        found.append({"what": {"reference": one}, "role": {"system": _ROLE, "code": role}})
    if said["query"]:
        query = base64.b64encode(said["query"].encode()).decode()
        found.append({"query": query, "role": {"system": _ROLE, "code": "24"}})
    return found


def instant(micros: int) -> str:
    """As FHIR says it, to the millisecond."""
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
