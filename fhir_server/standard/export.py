"""How is a bulk export asked for?

`[base]/$export`, `[base]/Patient/$export`, `[base]/Group/[id]/$export`: FHIR Bulk Data Access 2.0,
https://hl7.org/fhir/uv/bulkdata/STU2/export.html (endpoints, query parameters). Everything is checked here, before the
202; the work is `jobs/exporting.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from common import errors
from fhir_server import access, criteria, dates, entries
from fhir_server.exchange import Answer, Params
from fhir_server.jobs import door, exporting
from fhir_server.operations import Operation, OperationRequest
from fhir_server.terminology import in_search

_FORMATS = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
_LISTS = frozenset({"_type", "_typeFilter", "patient"})
_KNOWN = frozenset({"_outputFormat", "_since", "_until", *_LISTS})
_NOT_YET = {
    "_elements": "l'export d'une partie des éléments",
    "includeAssociatedData": "l'export de données associées",
    "organizeOutputBy": "le regroupement des fichiers",
    "allowPartialManifests": "le manifeste partiel",
}
_FILTER = re.compile(r",(?=[A-Z][A-Za-z]+\?)")
# Instances of these make no sense elsewhere, and none of them is ever stored.
_NEVER = frozenset({"Parameters", "OperationOutcome"})


async def run(call: OperationRequest) -> Answer:
    """The kick-off: 202 and where to ask.

    Raises Unreadable with every parameter that cannot be followed, Forbidden for a type, NotFound for a group or a
    patient.
    """
    door.check_async(call.http, "$export")
    given, problems = _read(call)
    asked = {"base": call.base, "level": call.type.lower() if call.type else "system", "group": call.id}
    checks: tuple[Callable[..., Any], ...] = (_since, _until, _types, _patients)
    for check in checks:
        try:
            asked |= check(call, given)
        except errors.Unreadable as problem:
            problems += problem.issues
    try:
        asked |= await in_search.reading(call.store, call.caller, partial(_filters, call, given))
    except errors.Unreadable as problem:
        problems += problem.issues
    if problems:
        raise errors.Unreadable("$export : paramètres refusés", issues=tuple(problems))
    await _see(call, asked)
    place = "/".join((call.base, *call.http.segments))
    asked["url"] = entries.link(place, call.params)
    return await door.begin(call.server, call.http, "export", asked)


def _read(call: OperationRequest) -> tuple[dict[str, list[str]], list[errors.Issue]]:
    given: dict[str, list[str]] = {}
    problems: list[errors.Issue] = []
    for name, value in [*call.params, *_posted(call)]:
        if name in _NOT_YET:
            problems.append(_issue(f"{name} : {_NOT_YET[name]} n'est pas disponible", name))
        elif name not in _KNOWN:
            if not call.http.prefer.lenient:
                problems.append(_issue(f"{name[:60]} : paramètre de $export inconnu", name[:60]))
        elif name in given and name not in _LISTS:
            problems.append(_issue(f"{name} : une seule valeur", name, "invalid"))
        else:
            given.setdefault(name, []).append(value)
    wanted = given.get("_outputFormat", ["ndjson"])[0].replace(" ", "+")  # an unescaped + of the media type
    if wanted not in _FORMATS:
        problems.append(_issue("_outputFormat : application/fhir+ndjson attendu", "_outputFormat"))
    return given, problems


def _posted(call: OperationRequest) -> Params:
    """The parameters of a posted Parameters resource; a value of whatever type is read as text."""
    if call.body is None:
        return []
    if call.body.get("resourceType") != "Parameters":
        raise errors.Unreadable("$export : une ressource Parameters est attendue", at="Parameters")
    return list(posted(call.body))


def posted(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of a Parameters resource. Raises Unreadable for what has no single value."""
    parameters = body.get("parameter", [])
    for n, one in enumerate(parameters if isinstance(parameters, list) else [None]):
        at = f"Parameters.parameter[{n}]"
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise errors.Unreadable("paramètre sans nom", at=at)
        value = next((value for key, value in one.items() if key.startswith("value")), None)
        if isinstance(value, dict):
            value = value.get("reference")
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str):
            raise errors.Unreadable(f"{one['name'][:60]} : une valeur simple est attendue", at=at)
        yield one["name"], value


def _since(call: OperationRequest, given: dict[str, list[str]]) -> dict[str, Any]:
    return {"since": _moment(given, "_since")}


def _until(call: OperationRequest, given: dict[str, list[str]]) -> dict[str, Any]:
    return {"until": _moment(given, "_until")}


def _moment(given: dict[str, list[str]], name: str) -> int | None:
    if name not in given:
        return None
    try:
        return dates.asked(given[name][0])[0]
    except ValueError:
        text = f"{name} : un instant est attendu, par exemple 2026-01-31T08:00:00Z"
        raise _refused(text, name, "invalid") from None


def _types(call: OperationRequest, given: dict[str, list[str]]) -> dict[str, Any]:
    named = list(dict.fromkeys(one for text in given.get("_type", ()) for one in text.split(",")))
    if unknown := [one for one in named if one not in call.server.types]:
        raise _refused(f"_type : type inconnu, {unknown[0][:60]}", "_type", "invalid")
    possible = [one for one in sorted(call.server.types - _NEVER) if _fits(call, one)]
    if misplaced := [one for one in named if one not in possible]:
        raise _refused(f"_type : {misplaced[0]} n'est pas dans le dossier d'un patient", "_type", "invalid")
    for one in named:
        _may_export(call.caller, one)
    types = named or [one for one in possible if _is_allowed(call.caller, one)]
    if not types:
        raise errors.Forbidden("Aucun type de ressource ne vous est ouvert à l'export")
    return {"types": types}


def _fits(call: OperationRequest, type: str) -> bool:
    """At the level of patients: in their compartment."""
    return call.type is None or type == "Patient" or bool(exporting.compartment(call.server, type))


def _may_export(caller: access.Caller, type: str) -> None:
    access.may(caller, "r", type)
    access.may(caller, "s", type)


def _is_allowed(caller: access.Caller, type: str) -> bool:
    try:
        _may_export(caller, type)
    except errors.Forbidden:
        return False
    return True


def _filters(call: OperationRequest, given: dict[str, list[str]], codes: criteria.Codes) -> dict[str, Any]:
    found = []
    named = {one for text in given.get("_type", ()) for one in text.split(",")}
    for text in (one for value in given.get("_typeFilter", ()) for one in _FILTER.split(value)):
        type, _, wanted = text.partition("?")
        if type not in call.server.types or not wanted or (named and type not in named):
            raise _refused(f"_typeFilter : attendu Type?recherche, d'un type exporté ({text[:60]})", "_typeFilter")
        try:
            exporting.filtering(call.server, type, wanted, codes, base=call.base)
        except errors.Unreadable as problem:
            raise _refused(f"_typeFilter : {problem.message}", "_typeFilter") from None
        found.append((type, wanted))
    return {"filters": found}


def _patients(call: OperationRequest, given: dict[str, list[str]]) -> dict[str, Any]:
    named = [one for text in given.get("patient", ()) for one in text.split(",")]
    if not named:
        return {"patients": None}
    if call.type is None:
        raise _refused("patient : seulement pour Patient/$export et Group/[id]/$export", "patient")
    found = [one.removeprefix(f"{call.base}/").removeprefix("Patient/") for one in named]
    if wrong := [one for one in found if "/" in one or not one]:
        raise _refused(f"patient : attendu Patient/id ({wrong[0][:60]})", "patient", "invalid")
    return {"patients": list(dict.fromkeys(found))}


async def _see(call: OperationRequest, asked: dict[str, Any]) -> None:
    """The group and the patients that the request names are there, for this caller. Raises NotFound."""
    if call.id is not None:
        await call.store.read("Group", call.id, caller=call.caller)
    if asked["patients"]:
        there = await call.store.many((f"Patient/{id}" for id in asked["patients"]), caller=call.caller)
        if missing := [id for id in asked["patients"] if f"Patient/{id}" not in there]:
            raise errors.NotFound(f"Patient/{missing[0][:80]} n'existe pas", at="http.patient")


def _issue(text: str, name: str, code: str = "not-supported") -> errors.Issue:
    return errors.Issue(text, f"http.{name}", code)


def _refused(text: str, name: str, code: str = "not-supported") -> errors.Unreadable:
    return errors.Unreadable(text, issues=(_issue(text, name, code),))


_DEFINITION = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{}"

OPERATIONS = (
    Operation("system", None, "export", run, definition=_DEFINITION.format("export")),
    Operation("type", "Patient", "export", run, definition=_DEFINITION.format("patient-export")),
    Operation("instance", "Group", "export", run, definition=_DEFINITION.format("group-export")),
)
