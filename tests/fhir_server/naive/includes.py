"""What do `_include` and `_revinclude` bring along for the matches of one page? By https://hl7.org/fhir/R4/search.html#include."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.fhir_server.naive import values
from tests.fhir_server.naive.search import Naive
from tests.fhir_server.naive.values import Resource


class Wish(NamedTuple):
    """One parameter: `back` for `_revinclude`."""

    back: bool
    iterates: bool
    type: str
    code: str
    target: str


def wishes(params: Sequence[tuple[str, str]]) -> list[Wish]:
    """Those of a search."""
    found = []
    for name, value in params:
        first, _, modifier = name.partition(":")
        if first in ("_include", "_revinclude"):
            type, code, target = (*value.split(":"), "")[:3]
            found.append(Wish(first == "_revinclude", modifier == "iterate", type, code, target))
    return found


def included(naive: Naive, wanted: Iterable[Wish], matches: list[Resource]) -> set[str]:
    """The names of what comes along; not the matches themselves."""
    seen = {_name(one) for one in matches}
    result: set[str] = set()
    some, fresh = list(wanted), matches
    while fresh:
        found = {_name(one): one for wish in some for one in _one(naive, wish, fresh)}
        fresh = [one for name, one in found.items() if name not in seen]
        seen.update(map(_name, fresh))
        result.update(map(_name, fresh))
        some = [wish for wish in some if wish.iterates]
    return result


def _one(naive: Naive, wish: Wish, from_: list[Resource]) -> list[Resource]:
    """What one parameter adds to these resources."""
    if wish.back:
        pointing = [one for one in naive.resources if one["resourceType"] == wish.type]
        wished = [one for one in from_ if wish.target in ("", one["resourceType"])]
        return [one for one in pointing for code in _codes(wish) for to in naive.pointed_at(one, code) if to in wished]
    mine = [one for one in from_ if one["resourceType"] == wish.type]
    all_ = [to for one in mine for code in _codes(wish) for to in naive.pointed_at(one, code)]
    return [to for to in all_ if wish.target in ("", to["resourceType"])]


def _codes(wish: Wish) -> list[str]:
    """The parameters that are followed."""
    if wish.code != "*":
        return [wish.code]
    known = values.published()[0]
    return [code for (type, code), one in known.items() if type == wish.type and one.kind == "reference"]


def _name(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"
