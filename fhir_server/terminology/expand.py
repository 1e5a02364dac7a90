"""Which codes are in a value set?

ValueSet.compose (https://hl7.org/fhir/R4/valueset.html#compositions): an include is a code system, narrowed by a list
of concepts or by filters, and by the value sets it imports; excludes are taken away at the end. What no code system
here can tell is refused aloud, never left out in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from common import errors
from fhir_server.terminology import filters
from fhir_server.terminology.library import Library
from fhir_server.terminology.systems import Concept, System

Resource = dict[str, Any]
DEEPEST = 20  # value sets that import each other
MOST_CODES = 10_000  # without paging, and for anything that needs all codes at once
_MOST_HELD = 500_000
Pair = tuple[str, str]


@dataclass(slots=True)
class Member:
    """One code of a value set. `concept` is what its code system says, None when nothing does."""

    system: str
    version: str
    code: str
    display: str
    designations: list[Resource]
    concept: Concept | None = None

    @property
    def is_inactive(self) -> bool:
        """No longer in use."""
        return self.concept is not None and self.concept.is_inactive


Members = dict[Pair, Member]


@dataclass(slots=True)
class Expansion:
    """All codes by system and code, in the order of the definition, and the versions of the systems that were used.

    `is_open`: a code system of which only a part is known took part.
    """

    members: Members = field(default_factory=dict)
    versions: dict[str, None] = field(default_factory=dict)
    is_open: bool = False


async def expand(library: Library, value_set: Resource) -> Expansion:
    """Everything that is in it.

    Raises Invalid: a system whose codes are not known here, an import that does not exist or leads in a circle, a
    filter that cannot be applied; TooLarge when it holds more than this server lists.
    """
    done = Expansion()
    done.members = await _members(library, value_set, done, ())
    return done


async def _members(library: Library, value_set: Resource, done: Expansion, above: tuple[str, ...]) -> Members:
    compose = value_set.get("compose")
    if compose is None:
        return _listed(value_set)
    found: Members = {}
    for include in compose.get("include", ()):
        found.update((key, one) for key, one in (await _included(library, include, done, above)).items())
        if len(found) > _MOST_HELD:
            raise too_costly(_MOST_HELD)
    for exclude in compose.get("exclude", ()):
        for key in await _included(library, exclude, done, above):
            found.pop(key, None)
    if compose.get("inactive") is False:
        found = {key: one for key, one in found.items() if not one.is_inactive}
    return found


def _listed(value_set: Resource) -> Members:
    """Of a value set that is only its own expansion."""
    found: Members = {}
    waiting = list(value_set.get("expansion", {}).get("contains", ()))
    if "expansion" not in value_set:
        raise _refused("le jeu de valeurs n'a ni compose ni expansion", "ValueSet.compose", "invalid")
    while waiting:
        one = waiting.pop(0)
        waiting = [*one.get("contains", ()), *waiting]
        if "code" in one and not one.get("abstract"):
            key = one.get("system", ""), one["code"]
            found[key] = Member(*key[:1], one.get("version", ""), key[1], one.get("display", ""), [])
    return found


async def _included(library: Library, include: Resource, done: Expansion, above: tuple[str, ...]) -> Members:
    found: Members | None = None
    if "system" in include:
        found = await _of_system(library, include, done)
    for canonical in include.get("valueSet", ()):
        other = await imported(library, canonical, above)
        theirs = await _members(library, other, done, (*above, canonical.partition("|")[0]))
        found = theirs if found is None else {key: one for key, one in found.items() if key in theirs}
    return found or {}


async def imported(library: Library, canonical: str, above: tuple[str, ...]) -> Resource:
    """The value set that another one imports. Raises Invalid when there is none, or when it imports itself."""
    if canonical.partition("|")[0] in above or len(above) > DEEPEST:
        raise _refused(
            f"les jeux de valeurs s'incluent en boucle : {canonical[:200]}", "ValueSet.compose", "processing"
        )
    other = await library.value_set(canonical)
    if other is None:
        raise _refused(f"jeu de valeurs inclus inconnu : {canonical[:200]}", "ValueSet.compose", "not-found")
    return other


async def _of_system(library: Library, include: Resource, done: Expansion) -> Members:
    url, version = include["system"], include.get("version", "")
    system = await library.system(f"{url}|{version}" if version else url)
    if system and system.version:
        done.versions[f"{url}|{system.version}"] = None
    if "concept" in include:
        return _named(url, version, include["concept"], system)
    if system is None or not system.concepts or not (system.is_whole or system.resource.get("content") == "fragment"):
        raise unknown_content(url)
    done.is_open = done.is_open or not system.is_whole
    chosen: Iterable[Concept] = system.concepts.values()
    if "filter" in include:
        chosen = await asyncio.to_thread(filters.passing, system, include["filter"])  # patterns may take a while
    return {
        (url, one.code): Member(url, system.version, one.code, one.display, one.designations, one) for one in chosen
    }


def _named(url: str, version: str, concepts: Iterable[Resource], system: System | None) -> Members:
    """Listed codes are taken as they are; their names are those of the list, else of the code system."""
    found: Members = {}
    for one in concepts:
        known = system.find(one["code"]) if system else None
        display = one.get("display") or (known.display if known else "")
        designations = [*one.get("designation", ()), *(known.designations if known else ())]
        stated = version or (system.version if system else "")
        found[url, one["code"]] = Member(url, stated, one["code"], display, designations, known)
    return found


def unknown_content(url: str) -> errors.Invalid:
    """The refusal when a system's codes are not known here."""
    text = f"les codes du système {url[:200]} ne sont pas connus de ce serveur : chargez son CodeSystem"
    return _refused(text, "ValueSet.compose.include.system", "not-found")


def too_costly(most: int = MOST_CODES) -> errors.TooLarge:
    """The refusal of more codes than can be told at once."""
    text = f"Plus de {most} codes : précisez filter, ou demandez page par page avec count et offset"
    return errors.TooLarge(text, issues=(errors.Issue(text, "ValueSet", "too-costly"),))


def _refused(text: str, at: str, code: str) -> errors.Invalid:
    return errors.Invalid(text, at=at, issues=(errors.Issue(text, at, code),))
