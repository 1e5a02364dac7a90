"""Which codes do `:in`, `:not-in`, `:above` and `:below` of a search mean?

https://hl7.org/fhir/R4/search.html#token. Asked before the search is read, with the rights of who searches; the search
then looks for these codes like any others.
"""

from __future__ import annotations

from collections.abc import Iterable

from common import errors
from fhir_server import access
from fhir_server.criteria import Codes, split, unescape
from fhir_server.store import Store
from fhir_server.terminology import expand
from fhir_server.terminology.library import Library

MODIFIERS = frozenset(("in", "not-in", "above", "below"))
_MOST_ASKED = 20  # value sets and codes in one search


async def resolve(store: Store, caller: access.Caller, params: Iterable[tuple[str, str]]) -> Codes:
    """The codes by modifier and value; what could not be resolved is the refusal to raise where it is used."""
    asked = [(name.rpartition(":")[2], value) for name, value in params if ":" in name]
    wanted = [one for one in dict.fromkeys(asked) if one[0] in MODIFIERS]
    found: dict[tuple[str, str], frozenset[tuple[str, str]] | errors.HubError] = {}
    library = Library(store, caller)
    for modifier, value in wanted[:_MOST_ASKED]:
        try:
            found[modifier, value] = frozenset(await _codes(library, modifier, value))
        except errors.Unavailable:
            raise
        except errors.HubError as problem:
            found[modifier, value] = problem
    return found


async def _codes(library: Library, modifier: str, value: str) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for one in split(value, ","):
        if modifier in ("in", "not-in"):
            found |= await _members(library, unescape(one))
        else:
            found |= await _subsumed(library, modifier, one)
        if len(found) > expand.MOST_CODES:
            raise expand.too_costly()
    return found


async def _members(library: Library, name: str) -> set[tuple[str, str]]:
    """Of a value set by `url`, `url|version` or `ValueSet/id`."""
    type, _, id = name.rpartition("/")
    if type == "ValueSet":
        value_set = await library.instance("ValueSet", id)
    elif (known := await library.value_set(name)) is not None:
        value_set = known
    else:
        raise errors.NotFound(f"jeu de valeurs inconnu : {name[:200]}")
    return set((await expand.expand(library, value_set)).members)


async def _subsumed(library: Library, modifier: str, text: str) -> set[tuple[str, str]]:
    url, *rest = (unescape(one) for one in split(text, "|"))
    if not url or not rest:
        raise errors.Unreadable("attendu système|code")
    system = await library.system(url)
    concept = system.find("|".join(rest)) if system else None
    if system is None or concept is None:
        raise errors.NotFound(f"code inconnu ici : {text[:200]}")
    reached = system.below(concept.code) if modifier == "below" else system.above(concept.code)
    return {(url, one) for one in reached}
