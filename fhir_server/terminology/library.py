"""Which code system, value set or concept map does a canonical address name, for this caller?

What is stored in the record comes first, then the R4 package; `url|version` names one version, `url` alone the newest
(https://hl7.org/fhir/R4/references.html#canonical). Stored ones are searched with the caller's rights: what may not be
seen does not exist.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

from common import errors
from fhir_server import access, bodies, conditions, index
from fhir_server.changes import Stored
from fhir_server.store import Store
from fhir_server.terminology import package
from fhir_server.terminology.systems import System

Resource = dict[str, Any]
Kind = Literal["CodeSystem", "ValueSet", "ConceptMap"]
_MOST_VERSIONS = 100
_REMEMBERED = 32
_remembered: OrderedDict[tuple[str, ...], System] = OrderedDict()


@dataclass(slots=True)
class Library:
    """The terminology as one caller sees it, for the time of one request.

    `given` are resources that the request itself brought along; they come first.
    """

    store: Store
    caller: access.Caller
    given: list[Resource] = field(default_factory=list)
    _found: dict[tuple[str, str], Resource | None] = field(default_factory=dict)
    _systems: dict[str, System | None] = field(default_factory=dict)

    async def value_set(self, canonical: str) -> Resource | None:
        """A ValueSet by `url` or `url|version`, None when there is none."""
        return await self._resource("ValueSet", canonical)

    async def concept_map(self, canonical: str) -> Resource | None:
        """A ConceptMap by `url` or `url|version`, None when there is none."""
        return await self._resource("ConceptMap", canonical)

    async def system(self, canonical: str) -> System | None:
        """A code system by `url` or `url|version` with what is known of its codes, None when nothing is."""
        if canonical not in self._systems:
            resource = await self._resource("CodeSystem", canonical)
            self._systems[canonical] = await self._compiled(resource) if resource else None
        return self._systems[canonical]

    async def instance(self, kind: Kind, id: str) -> Resource:
        """A stored one by its id. Raises NotFound, Gone, Forbidden."""
        return dict(bodies.decode((await self.store.read(kind, id, caller=self.caller)).body))

    async def maps(self) -> list[Resource]:
        """Every concept map, stored ones first."""
        stored = [bodies.decode(one.body) for one in await self._search("ConceptMap", ())]
        return [*self.given, *stored, *await asyncio.to_thread(_packed_maps)]

    async def _resource(self, kind: Kind, canonical: str) -> Resource | None:
        if (kind, canonical) not in self._found:
            self._found[kind, canonical] = await self._look(kind, canonical)
        return self._found[kind, canonical]

    async def _look(self, kind: Kind, canonical: str) -> Resource | None:
        url, _, version = canonical.partition("|")
        for one in self.given:
            if one.get("resourceType") == kind and one.get("url") == url and version in ("", one.get("version")):
                return one
        wanted = (conditions.Keys((index.uri_key(kind, "url", url),)),)
        stored = [bodies.decode(one.body) for one in await self._search(kind, wanted)]
        fitting = [one for one in stored if one.get("url") == url and version in ("", one.get("version", ""))]
        if fitting:
            return max(fitting, key=_precedence)
        return await asyncio.to_thread(lambda: package.package().find(kind, url, version))

    async def _compiled(self, resource: Resource) -> System:
        """Those used last are kept, but never what a request brought along: it may say anything."""
        if any(one is resource for one in self.given):
            return System(resource)
        meta = resource.get("meta", {})
        home = id(self.store) if meta else 0
        key = (str(home), resource["url"], str(resource.get("id")), str(meta.get("lastUpdated")))
        # Thousands of concepts take a while: off the event loop.
        known = _remembered.pop(key, None)
        found = await asyncio.to_thread(System, resource) if known is None else known
        _remembered[key] = found
        while len(_remembered) > _REMEMBERED:
            _remembered.popitem(last=False)
        return found

    async def _search(self, kind: Kind, where: tuple[conditions.Condition, ...]) -> list[Stored]:
        try:
            query = conditions.Query(kind, where, (conditions.Sort("updated", True),), count=_MOST_VERSIONS)
            return (await self.store.search(query, caller=self.caller)).rows
        except errors.Forbidden:
            return []  # who may not search for them has what the standard itself defines


def _packed_maps() -> list[Resource]:
    packed = package.package()
    return [one for url in packed.maps() if (one := packed.find("ConceptMap", url))]


def _precedence(resource: Resource) -> tuple[bool, list[tuple[int, str]], str]:
    """Retired ones last, then by version (numbers as numbers), then the one changed last."""
    pieces = re.findall(r"\d+|[^\d.]+", str(resource.get("version", "")))
    numbers = [(int(one), "") if one.isascii() and one.isdigit() else (-1, one) for one in pieces]
    return resource.get("status") != "retired", numbers, str(resource.get("meta", {}).get("lastUpdated", ""))
