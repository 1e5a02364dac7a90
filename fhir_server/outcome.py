"""How does a refusal become an OperationOutcome?

R4 operationoutcome.html and http.html#Status-Codes. One shape for every error of the FHIR surface: French text for
people, an issue-type code for programs, our own stable code (docs/errors.md), the place, and the correlation id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from common import errors
from fhir_server.changes import Resource

# Where the stable codes of common/errors.py are listed for editors.
CODE_SYSTEM = "https://spico-hub.example/fhir/CodeSystem/error"

# A bundle of 10,000 bad entries must not answer with megabytes of issues.
MOST_ISSUES = 200

# What neither FHIR strings nor XML may hold; an echoed name or path could.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_encode = msgspec.json.Encoder().encode


def resource(issues: Iterable[errors.Issue], *, code: str = "", request_id: str = "") -> Resource:
    """An OperationOutcome with one issue per problem; `code` is ours, `request_id` helps to find the log line."""
    shown = list(issues)
    lines = [_issue(one, code, request_id) for one in shown[:MOST_ISSUES]]
    if len(shown) > MOST_ISSUES:
        rest = errors.Issue(f"{len(shown) - MOST_ISSUES} autres anomalies ne sont pas listées", "", "too-long")
        lines.append(_issue(rest, code, request_id))
    return {"resourceType": "OperationOutcome", "issue": lines}


def of(error: errors.HubError, request_id: str = "") -> Resource:
    """The outcome of an expected refusal."""
    return resource(error.issues, code=error.code, request_id=request_id)


def unexpected(request_id: str) -> Resource:
    """The outcome of a bug: says nothing of what happened inside."""
    text = "Erreur interne. Réessayez ; si elle persiste, transmettez l'identifiant de requête à l'assistance"
    return resource([errors.Issue(text, "", "exception", "fatal")], code="internal", request_id=request_id)


def information(text: str, request_id: str = "") -> Resource:
    """What `Prefer: return=OperationOutcome` receives after a success."""
    return resource([errors.Issue(text, "", "informational", "information")], request_id=request_id)


def encode(outcome: Resource) -> bytes:
    """The JSON of an outcome."""
    return _encode(outcome)


def _issue(issue: errors.Issue, code: str, request_id: str) -> Resource:
    details: Resource = {"coding": [{"system": CODE_SYSTEM, "code": code}]} if code else {}
    details["text"] = _ILLEGAL.sub("\ufffd", issue.text)
    line: Resource = {"severity": issue.severity, "code": issue.code, "details": details}
    if request_id:
        line["diagnostics"] = f"X-Request-Id: {request_id}"
    if issue.expression:
        line["expression"] = [_ILLEGAL.sub("\ufffd", issue.expression)]
    return line
