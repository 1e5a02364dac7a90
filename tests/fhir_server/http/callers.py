"""Who asks in the HTTP tests, and the operations that the server under test offers."""

from __future__ import annotations

from typing import Any

import pytest

from common import errors
from fhir_server import access, operations

# For the modules whose behaviour rests on the engine: `pytest.mark.parametrize("database", ENGINES, indirect=True)`.
ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)]

CALLERS = {
    "system": access.SYSTEM,
    "nadia": access.person("PractitionerRole/nadia"),
    "paul": access.person("PractitionerRole/paul"),
    "software": access.Caller(actor=None, client="lgc"),
    "reader": access.Caller(actor=None, client="reader", memberships=None, scopes=("system/*.rs",)),
    "launched": access.person("PractitionerRole/nadia", scopes=("patient/*.cruds", "patient/Patient.read", "openid")),
    "mixed": access.person("PractitionerRole/nadia", scopes=("patient/*.cruds", "user/Observation.rs")),
    "patients": access.person("PractitionerRole/nadia", scopes=("user/Patient.cruds",)),
}


async def authenticate(token: str) -> access.Caller:
    """A token is the name of a caller."""
    if token not in CALLERS:
        raise errors.Unauthenticated("Jeton inconnu ou expiré", at="http.Authorization")
    return CALLERS[token]


async def double(call: operations.OperationRequest) -> dict[str, Any]:
    """An operation that says what it was called with."""
    words = [f"{name}={value}" for name, value in call.params] + [str(call.type), str(call.id), call.base]
    sent = [str(call.body["resourceType"])] if call.body else []
    return {"resourceType": "Parameters", "parameter": [{"name": "seen", "valueString": " ".join(words + sent)}]}


async def explode(call: operations.OperationRequest) -> None:
    """A bug that knows a secret."""
    raise RuntimeError("select secret from patients")


OPERATIONS = (
    operations.Operation(
        "instance", "Patient", "double", double, definition="http://x.test/OperationDefinition/double"
    ),
    operations.Operation("type", "Patient", "double", double, definition="http://x.test/OperationDefinition/double"),
    operations.Operation("system", None, "double", double, definition="http://x.test/OperationDefinition/double"),
    operations.Operation("type", None, "touch", double, action="u"),
    operations.Operation("system", None, "explode", explode),
)
