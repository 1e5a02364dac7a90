"""Which codes do `:in`, `:not-in`, `:above` and `:below` of a search mean?

https://hl7.org/fhir/R4/search.html#token. What a search names is looked up with the rights of who searches, and the
search is then read with these codes: it looks for them like for any others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from common import errors
from fhir_server import access
from fhir_server.criteria import Codes, split, unescape
from fhir_server.store import Store
from fhir_server.terminology import expand
from fhir_server.terminology.library import Library

T = TypeVar("T")
Question = tuple[str, str]  # a modifier and its value

_MOST_ASKED = 20  # value sets and codes in one request


class _Asked(dict[Question, frozenset[tuple[str, str]]]):
    """Knows no codes yet, and keeps what it is asked for."""

    def __missing__(self, question: Question) -> frozenset[tuple[str, str]]:
        self[question] = frozenset()
        return self[question]


async def reading(store: Store, caller: access.Caller, read: Callable[[Codes], T]) -> T:
    """What `read` makes of a request: with the codes that it asked for when it did, which costs a second reading.

    So the codes are found wherever they are named: behind a chain or `_has`, in `_filter`, in an entry of a bundle.
    Raises what `read` raises, also for what could not be resolved; Unavailable.
    """
    asked = _Asked()
    try:
        found = read(asked)
    except errors.HubError:
        if not asked:
            raise
    else:
        if not asked:
            return found
    return read(await _resolve(store, caller, list(asked)))


async def _resolve(store: Store, caller: access.Caller, wanted: Sequence[Question]) -> Codes:
    """The codes by modifier and value; what could not be resolved is the refusal to raise where it is used."""
    found: dict[Question, frozenset[tuple[str, str]] | errors.HubError] = {}
    library = Library(store, caller)
    for modifier, value in wanted[:_MOST_ASKED]:
        try:
            found[modifier, value] = frozenset(await _codes(library, modifier, value))
        except errors.Unavailable:
            raise
        except errors.HubError as problem:
            found[modifier, value] = problem
    too_many = errors.Unreadable(f"au plus {_MOST_ASKED} jeux de valeurs et codes par demande")
    return found | dict.fromkeys(wanted[_MOST_ASKED:], too_many)


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
