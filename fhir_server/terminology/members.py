"""Is this code in this value set: yes, no, or nobody here can tell?

Asks each part of the definition for one code instead of listing all of them, so that a value set over a system whose
codes are not known here (LOINC, UCUM) can still say yes or no where it lists codes itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from common import errors
from fhir_server.terminology import expand, filters, grammars
from fhir_server.terminology.library import Library

Resource = dict[str, Any]
Answer = bool | None  # None: unknown


@dataclass(slots=True)
class Members:
    """Asks value sets about codes, for one request. `unknown` are the systems whose codes nobody here knows."""

    library: Library
    unknown: dict[str, None] = field(default_factory=dict)

    async def has(self, value_set: Resource, system: str | None, code: str) -> Answer:
        """Whether `code` is in it; `system` None means whichever system of the value set has it."""
        return await self._has(value_set, system, code, ())

    async def _has(self, value_set: Resource, system: str | None, code: str, above: tuple[str, ...]) -> Answer:
        compose = value_set.get("compose")
        if compose is None:
            listed = (await expand.expand(self.library, value_set)).members
            return (system, code) in listed if system is not None else any(one == code for _, one in listed)
        found = _any([await self._included(one, system, code, above) for one in compose.get("include", ())])
        if found is False:
            return False
        excluded = _any([await self._included(one, system, code, above) for one in compose.get("exclude", ())])
        if excluded:
            return False
        if compose.get("inactive") is False and await self._is_inactive(system, code):
            return False
        return None if excluded is None else found

    async def _included(self, include: Resource, system: str | None, code: str, above: tuple[str, ...]) -> Answer:
        answers: list[Answer] = []
        if "system" in include:
            if system not in (None, include["system"]):
                return False
            answers.append(await self._of_system(include, code))
        for canonical in include.get("valueSet", ()):
            try:
                other = await expand.imported(self.library, canonical, above)
            except errors.Invalid as problem:
                if problem.issues[0].code != "not-found":
                    raise
                self.unknown[canonical] = None
                answers.append(None)
                continue
            answers.append(await self._has(other, system, code, (*above, canonical.partition("|")[0])))
        if False in answers or not answers:
            return False
        return None if None in answers else True

    async def _of_system(self, include: Resource, code: str) -> Answer:
        url, version = include["system"], include.get("version", "")
        canonical = f"{url}|{version}" if version else url
        if "concept" in include:
            if any(one["code"] == code for one in include["concept"]):
                return True
            known = await self.library.system(canonical)
            same = known.find(code) if known else None
            return same is not None and any(one["code"] == same.code for one in include["concept"])
        answer = await self.in_system(canonical, code)
        if not answer or "filter" not in include:
            return answer
        known = await self.library.system(canonical)
        concept = known.find(code) if known else None
        if known is None or concept is None:
            return None
        return concept in await asyncio.to_thread(filters.passing, known, include["filter"])

    async def in_system(self, canonical: str, code: str) -> Answer:
        """Whether a code system (`url` or `url|version`) has the code."""
        url = canonical.partition("|")[0]
        known = await self.library.system(canonical)
        if known is not None and known.find(code):
            return True
        if known is not None and known.is_whole:
            return False
        answer = grammars.is_well_formed(url, code)
        if answer is None:
            self.unknown[url] = None
        return answer

    async def _is_inactive(self, system: str | None, code: str) -> bool:
        known = await self.library.system(system) if system else None
        concept = known.find(code) if known else None
        return concept is not None and concept.is_inactive


def _any(answers: list[Answer]) -> Answer:
    if True in answers:
        return True
    return None if None in answers else False


async def check(library: Library, canonical: str, system: str | None, code: str) -> Answer:
    """Is this code in the value set at `canonical` (`url` or `url|version`)? For bindings: None when nobody can tell.

    Never raises for a value set that is unknown or cannot be read; Unavailable from the store passes.
    """
    value_set = await library.value_set(canonical)
    if value_set is None:
        return None
    try:
        return await Members(library).has(value_set, system, code)
    except errors.Unavailable:
        raise
    except errors.HubError:
        return None
