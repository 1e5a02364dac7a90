"""`$validate`: would this resource be accepted, and what is wrong with it?

https://hl7.org/fhir/R4/resource-operation-validate.html, at type and instance level. The answer is 200 with everything
that was found: structure, cardinality, codes, all invariants of R4, extensible value sets (as warnings). Profiles other
than the types of R4 themselves are refused aloud. The write rules of the hub are not run: they need the write itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from common import errors
from fhir_server import access, bodies, outcome
from fhir_server.changes import Resource
from fhir_server.fhirpath import invariants
from fhir_server.operations import Operation, OperationRequest
from fhir_server.r4 import bindings, constraints, elements, load, report

_MODES = ("create", "update", "delete", "profile")
_NAMES = frozenset({"resource", "mode", "profile"})
_RANKS = {"warning": 1, "information": 2}
_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-validate"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be checked: `resource` None means the one that is stored."""

    resource: Resource | None
    mode: str
    profiles: tuple[str, ...]


async def run(request: OperationRequest) -> Resource:
    """`POST [base]/Type[/id]/$validate` with a resource or Parameters; `GET …/id/$validate` for the stored one.

    An OperationOutcome. Raises Unreadable for a request that asks nothing checkable, NotFound for an unseen resource.
    """
    asked = _asked(request)
    issues = await _mode_issues(request, asked)
    if asked.mode != "delete":
        resource = asked.resource if asked.resource is not None else await _stored(request)
        issues += _profile_issues(request, resource, asked.profiles)
        if isinstance(resource.get("resourceType"), str) and resource["resourceType"] != request.type:
            text = f"cette adresse vérifie des ressources {request.type}"
            issues.append(errors.Issue(text, f"{request.type}.resourceType", "structure"))
        issues += await asyncio.to_thread(_content_issues, resource, request.server.definitions)
    if not any(one.severity in ("error", "fatal", "warning") for one in issues):
        issues.append(errors.Issue("Aucun problème trouvé", "", "informational", "information"))
    return outcome.resource(_worst_first(issues), request_id=request.request_id)


def _worst_first(issues: list[errors.Issue]) -> list[errors.Issue]:
    """As many as one outcome lists; what is left out is never worse than what is shown."""
    if len(issues) <= outcome.MOST_ISSUES:
        return issues
    ranked = sorted(issues, key=lambda one: _RANKS.get(one.severity, 0))
    shown, rest = ranked[: outcome.MOST_ISSUES - 1], ranked[outcome.MOST_ISSUES - 1 :]
    text = f"{len(rest)} autres remarques ne sont pas listées"
    return [*shown, errors.Issue(text, "", "too-long", rest[0].severity)]


def _asked(request: OperationRequest) -> _Asked:
    given: dict[str, list[Any]] = {name: [] for name in _NAMES}
    for name, value in request.params:
        if name not in given or name == "resource":
            raise _unreadable(f"{name[:60]} : paramètre inconnu de $validate", f"http.{name[:60]}")
        given[name].append(value)
    body = request.body
    if body is not None and _is_wrapper(body, request.type):
        for one in body["parameter"]:
            name, value = _parameter(one)
            given[name].append(value)
    elif body is not None:
        given["resource"].append(body)
    if len(given["resource"]) > 1 or len(given["mode"]) > 1:
        raise _unreadable("« resource » et « mode » ne se donnent qu'une fois", "Parameters.parameter")
    mode = given["mode"][0] if given["mode"] else ""
    if mode not in ("", *_MODES):
        raise _unreadable(f"mode : attendu {', '.join(_MODES)}", "mode")
    if mode == "delete" and request.id is None:
        raise _unreadable("mode=delete demande l'adresse d'une ressource : Type/id/$validate", "mode")
    if mode == "profile" and not given["profile"]:
        raise _unreadable("mode=profile demande « profile »", "profile")
    resource = given["resource"][0] if given["resource"] else None
    if resource is None and request.id is None:
        raise _unreadable("« resource » manque : envoyez la ressource à vérifier", "resource")
    return _Asked(resource, mode, tuple(given["profile"]))


def _is_wrapper(body: Resource, type: str | None) -> bool:
    """Whether a body is the parameters of the operation; a Parameters may also be what is to be checked."""
    if body.get("resourceType") != "Parameters" or not isinstance(body.get("parameter"), list):
        return False
    names = {one.get("name") for one in body["parameter"] if isinstance(one, dict)}
    return type != "Parameters" or ("resource" in names and names <= _NAMES)


def _parameter(one: Any) -> tuple[str, Any]:
    name = one.get("name") if isinstance(one, dict) else None
    if name not in _NAMES:
        raise _unreadable(f"{str(name)[:60]} : paramètre inconnu de $validate", "Parameters.parameter")
    keys = ("resource",) if name == "resource" else ("valueCode", "valueUri", "valueCanonical", "valueString")
    value = next((one[key] for key in keys if key in one), None)
    if not isinstance(value, dict if name == "resource" else str):
        raise _unreadable(f"« {name} » : valeur absente ou d'un autre type", f"Parameters.parameter.{keys[0]}")
    return name, value


async def _stored(request: OperationRequest) -> Resource:
    assert request.type is not None and request.id is not None
    found = await request.store.read(request.type, request.id, caller=request.caller)
    return bodies.decode(found.body)


async def _mode_issues(request: OperationRequest, asked: _Asked) -> list[errors.Issue]:
    """What stands in the way of the write itself: rights, the id, whether it exists."""
    letter = {"create": "c", "update": "u", "delete": "d"}.get(asked.mode)
    if letter is None:
        return []
    type = request.type or ""
    issues: list[errors.Issue] = []
    try:
        access.may(request.caller, letter, type)
    except errors.Forbidden as problem:
        issues.append(errors.Issue(problem.message, type, "forbidden"))
    if asked.mode == "create":
        return issues
    sent = asked.resource.get("id") if asked.resource is not None else request.id
    id = request.id or (sent if isinstance(sent, str) else "")
    if (asked.mode == "update" and sent != id) or not id:
        issues.append(errors.Issue("id : absent du contenu ou différent de l'adresse", f"{type}.id", "value"))
    if id and f"{type}/{id}" not in await request.store.many([f"{type}/{id}"], caller=request.caller):
        issues.append(errors.Issue(f"{type}/{id[:64]} n'existe pas", f"{type}.id", "not-found"))
    return issues


def _profile_issues(request: OperationRequest, resource: Resource, profiles: tuple[str, ...]) -> list[errors.Issue]:
    """A type of R4 is a profile that can be checked; those named in `meta` without being asked for give a warning."""
    tables = request.server.definitions.elements
    type = resource.get("resourceType")
    issues = []
    for url in profiles:
        name = _core_type(url)
        if name is None or name not in tables:
            text = f"profil non pris en charge : {url[:200]}"
            issues.append(errors.Issue(text, "profile", "not-supported"))
        elif name not in (type, "Resource") and not (name == "DomainResource" and _is_domain(str(type))):
            issues.append(errors.Issue(f"la ressource n'est pas de type {name}", str(request.type), "structure"))
    meta = resource.get("meta")
    declared = meta.get("profile", ()) if isinstance(meta, dict) else ()
    for index, url in enumerate(declared if isinstance(declared, list) else ()):
        if isinstance(url, str) and url not in profiles and _core_type(url) not in tables:
            text = f"profil déclaré, non vérifié ici : {url[:200]}"
            place = f"{request.type}.meta.profile[{index}]"
            issues.append(errors.Issue(text, place, "not-supported", "warning"))
    return issues


def _core_type(url: str) -> str | None:
    plain, _, version = url.partition("|")
    if not plain.startswith(elements.SPECIFICATION) or version not in ("", "4.0", "4.0.1"):
        return None
    return plain.removeprefix(elements.SPECIFICATION)


def _is_domain(type: str) -> bool:
    return type not in ("Bundle", "Binary", "Parameters")


def _content_issues(resource: Resource, definitions: load.Definitions) -> list[errors.Issue]:
    """What is wrong with the content itself, in a thread: the invariants may take seconds."""
    found = report.Report(frozenset(definitions.types), definitions.shapes, bindings.Bindings(definitions.value_sets))
    issues = found.run(resource)
    if any(one.code == "structure" for one in issues):
        return issues  # invariants read a structure that is sound
    seen = {(_key(one), one.expression) for one in issues}
    stated = invariants.broken(resource, definitions, constraints.rules())
    return issues + [one for one in stated if (_key(one), one.expression) not in seen]


def _key(issue: errors.Issue) -> str:
    return issue.text.partition(" : ")[0]


def _unreadable(text: str, at: str) -> errors.Unreadable:
    return errors.Unreadable(f"$validate : {text}", at=at)


operations = (
    Operation("type", None, "validate", run, definition=_DEFINITION),
    Operation("instance", None, "validate", run, definition=_DEFINITION),
)
