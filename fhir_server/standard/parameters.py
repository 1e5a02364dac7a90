"""What was an operation called with, and in which form does it answer?

R4 operations.html#request, #response: by GET simple values stand in the query string, by POST everything is in a
Parameters resource (or the single resource parameter is the body itself).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from common import errors
from fhir_server import dates
from fhir_server.changes import Resource
from fhir_server.operations import OperationRequest

Values = dict[str, list[Any]]


def inputs(call: OperationRequest, known: Iterable[str]) -> Values:
    """The parameters by name, from the query string and from a Parameters body. Raises Unreadable for unknown ones."""
    found: Values = {}
    for name, value in call.params:
        found.setdefault(name, []).append(value)
    body = call.body or {"resourceType": "Parameters"}
    if body["resourceType"] != "Parameters":
        raise errors.Unreadable("Cette opération se demande par une ressource Parameters", at="Parameters")
    for one in body.get("parameter", ()):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise errors.Unreadable("Parameters.parameter.name est obligatoire", at="Parameters.parameter")
        values = [value for name, value in one.items() if name.startswith("value") or name == "resource"]
        if len(values) != 1:
            raise errors.Unreadable(f"{one['name'][:60]} : une valeur est attendue", at="Parameters.parameter.value")
        found.setdefault(one["name"], []).append(values[0])
    unknown = sorted(set(found) - set(known))
    together(*(partial(_refuse, name) for name in unknown))
    return found


def _refuse(name: str) -> None:
    raise errors.Unreadable(f"{name[:60]} : paramètre inconnu ici", at=f"http.{name[:60]}")


def together(*reads: Callable[[], Any]) -> list[Any]:
    """What each of the reads gives. Raises Unreadable with what is wrong in any of them."""
    found: list[Any] = []
    issues: list[errors.Issue] = []
    for read in reads:
        try:
            found.append(read())
        except errors.Unreadable as problem:
            issues += problem.issues
    if issues:
        raise errors.Unreadable(issues[0].text, at=issues[0].expression, issues=tuple(issues))
    return found


def one(values: Values, name: str) -> Any:
    """The value of a parameter that comes once, None without one. Raises Unreadable."""
    found = values.get(name, [])
    if len(found) > 1:
        raise errors.Unreadable(f"{name} est donné deux fois", at=f"http.{name}")
    return found[0] if found else None


def text(values: Values, name: str) -> str:
    """One value as text, "" without one. Raises Unreadable."""
    found = one(values, name)
    if isinstance(found, dict):
        raise errors.Unreadable(f"{name} : une valeur simple est attendue", at=f"http.{name}")
    return "" if found is None else str(found)


def span(values: Values, name: str) -> dates.Span | None:
    """One date as its range in microseconds. Raises Unreadable."""
    if not (found := text(values, name)):
        return None
    try:
        return dates.asked(found)
    except ValueError:
        raise errors.Unreadable(f"{name} : une date est attendue, par exemple 2026-11-23", at=f"http.{name}") from None


def number(values: Values, name: str) -> int | None:
    """One positive whole number. Raises Unreadable."""
    if not (found := text(values, name)):
        return None
    if not (found.isascii() and found.isdigit() and 0 < len(found) < 10 and int(found)):
        raise errors.Unreadable(f"{name} : un nombre entier positif est attendu", at=f"http.{name}")
    return int(found)


def answer(*parameters: Resource) -> Resource:
    """A Parameters resource."""
    return {"resourceType": "Parameters", "parameter": list(parameters)}
