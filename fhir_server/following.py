"""Which references does a search ask to follow, besides finding its matches?

R4 search.html#include and #revinclude: `Type:param`, `Type:param:TargetType`, wildcards, `:iterate`. Pure; what comes
of it is in `includes.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.criteria import refusal
from fhir_server.r4.search_params import Param, SearchTables

ANYTHING = "*"


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`: follow `param` of resources of `type`, to `target` only when it is set.

    `type` and `param` are ANYTHING for an iterating `*`, which follows whatever comes.
    """

    type: str
    param: str
    target: str | None = None
    iterate: bool = False


def included(tables: SearchTables, types: Sequence[str], name: str, value: str) -> list[Include]:
    """What `_include` means in a search on `types`. Raises errors.Unreadable when it could never bring anything."""
    iterate = _iterates(name)
    if value == ANYTHING and iterate:
        return [Include(ANYTHING, ANYTHING, None, iterate=True)]
    if value == ANYTHING:
        params = [one for type in types for one in followed(tables, name, type, ANYTHING)]
        return [Include(one.type, one.code) for one in params]
    source, param, target = _parts(tables, name, value)
    if source not in types and not iterate:
        raise refusal(f"{name} : {source} n'est pas le type cherché ({_named(types)}), rien ne serait inclus", name)
    params = [one for one in followed(tables, name, source, param) if target is None or one.may_be(target)]
    if not params:
        raise refusal(f"{name} : {source}:{param} ne désigne jamais {target}", name)
    return [Include(source, one.code, target, iterate) for one in params]


def referring(tables: SearchTables, types: Sequence[str], name: str, value: str) -> list[Include]:
    """What `_revinclude` means in a search on `types`. Raises errors.Unreadable when it could never bring anything."""
    iterate = _iterates(name)
    if value == ANYTHING:
        params = [one for type in tables.types for one in followed(tables, name, type, ANYTHING)]
        return [Include(one.type, one.code, None, iterate) for one in params if iterate or any(map(one.may_be, types))]
    source, param, target = _parts(tables, name, value)
    wanted = [target] if target else list(types)
    params = [one for one in followed(tables, name, source, param) if iterate or any(map(one.may_be, wanted))]
    if target and not iterate and target not in types:
        params = []
    if not params:
        raise refusal(f"{name} : {value} ne désigne jamais {_named(types)}", name)
    return [Include(source, one.code, target, iterate) for one in params]


def followed(tables: SearchTables, name: str, source: str, code: str) -> list[Param]:
    """The reference parameters that `source:code` names. Raises errors.Unreadable for one that is no reference."""
    if code == ANYTHING:
        return [one for one in tables.searchable(source) if one.kind == "reference"]
    param = tables.param(source, code)
    if param is None or param.kind != "reference" or param.refusal:
        raise refusal(f"{name} : {source} n'a pas de paramètre référence « {code[:64]} »", name)
    return [param]


def _iterates(name: str) -> bool:
    code, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise refusal(f"{code} : le modificateur « {modifier[:64]} » n'existe pas", name, "not-supported")
    return bool(modifier)


def _parts(tables: SearchTables, name: str, value: str) -> tuple[str, str, str | None]:
    parts = value.split(":")
    types = tables.by_type
    if len(parts) not in (2, 3) or parts[0] not in types or (len(parts) == 3 and parts[2] not in types):
        raise refusal(f"{name} : attendu Type:paramètre ou Type:paramètre:TypeDésigné", name)
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None


def _named(types: Sequence[str]) -> str:
    return ", ".join(types[:3]) + ("…" if len(types) > 3 else "")
