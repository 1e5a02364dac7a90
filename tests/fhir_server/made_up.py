"""A world of resources with made-up index rows, and queries on it: small values, many ties.

Nothing here is FHIR: the rows are told by the resource itself, so that the engines alone are under test.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import strategies as st

from common import errors
from fhir_server import access, amounts, index, places, store
from fhir_server.changes import Create, Delete, Update
from fhir_server.conditions import (
    Addresses,
    Alternative,
    Amount,
    And,
    Condition,
    Either,
    Extent,
    FullText,
    Keys,
    Linked,
    LinkedFrom,
    Moment,
    Not,
    Or,
    Phrase,
    Present,
    Query,
    Rows,
    Sort,
    Text,
    Types,
    Updated,
)
from fhir_server.rows import Memberships, Page
from tests.fhir_server import oracle, worlds
from tests.fhir_server.worlds import SYSTEM

_T = TypeVar("_T")
SIZE = 160
TYPES = ("Basic", "Other")
OTHER = 100  # a key belongs to one type: those of Other are this much higher
FIRST = 0x5A5B5C5D5E5F6001  # no byte like another: keys stand side by side in a BLOB
ORDERED_KEYS, KEYS = range(FIRST, FIRST + 4), range(FIRST, FIRST + 8)
STRINGS, DATES = (1, 2), (11, 12)
REFERENCES = {21: "Basic", 22: "Basic", 23: "Other"}  # which type has them
MASKS = {param: index.reference_mask(type, str(param)) for param, type in REFERENCES.items()}
WORDS = ("a", "ab", "abc", "b", "ba", "é", "z\U0010fffe")
ADDRESS = 3  # a uri, kept as it is
ADDRESSES = ("a", "a/b", "a/b/c", "a|1", "a|1.2", "a|12", "ab/c")
TEXT = ("mal", "male", "dos", "and", "é", "near", "12")
GROUPS = [f"PractitionerRole/{name}" for name in "abcde"]
AMOUNTS, UNITS = (21, 22), (0, 5, -6)
NUMBERS = tuple(amounts.ordered(Decimal(n) / 2) for n in range(-4, 9))
PLACES = 31  # latitude and longitude in billionths of a degree: towns, a pole, both sides of the line of the date
POINTS = tuple(
    (round(lat * 10**9), round(lon * 10**9))
    for lat, lon in (
        (48.85, 2.35),
        (48.86, 2.34),
        (43.3, 5.4),
        (-17.5, 179.9),
        (-17.6, -179.8),
        (89.9, 10),
        (89.8, -120),
    )
)
NEEDLES = (b'"needle-x"', b'"needle-y"')


def needle(body: bytes) -> str | None:
    """A value that only the body has."""
    return next((one.decode() for one in NEEDLES if one in body), None)


class Loop:
    """An event loop in a thread of its own, for tests that are not async themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Told:
    """An indexer that is told the rows by the resource, and a validator that takes anything."""

    def rows(self, resource: dict[str, Any]) -> Rows:
        told = resource["rows"]
        links = tuple((param, index.address(to)) for param, to in told["links"])
        references = tuple(MASKS[param] ^ address for param, address in links)
        return Rows(
            (*told["eq"], *references),
            (*(key for key in told["eq"] if (key - FIRST) % OTHER < len(ORDERED_KEYS)), *references),
            tuple((param, folded, raw) for param, folded, raw in told["strings"]),
            tuple((param, lo, hi) for param, lo, hi in told["dates"]),
            told["sort_date"],
            told["patient"],
            tuple((param, unit, lo, hi) for param, unit, lo, hi in told["amounts"]),
            links,
            tuple(told["texts"]),
        )

    def patient(self, resource: dict[str, Any]) -> str | None:
        return self.rows(resource).patient

    def patient_masks(self, types: tuple[str, ...]) -> tuple[int, ...]:
        return ()

    def check(self, resource: dict[str, Any]) -> list[errors.Issue]:
        return []


@dataclass(frozen=True)
class World:
    """What is stored, as the oracle sees it, and a way to ask the engine. `readers` by id."""

    resources: tuple[oracle.Indexed, ...]
    readers: dict[str, frozenset[str]]
    ask: Callable[[Query, Memberships, int], Page]
    record: store.Store
    loop: Loop

    def seen_by(self, groups: tuple[str, ...] | None) -> list[oracle.Indexed]:
        return [one for one in self.resources if groups is None or self.readers[one.id] & set(groups)]


def a_resource(chance: random.Random, type: str) -> dict[str, Any]:
    """Index rows with few different values."""
    strings = {(param, word): None for param in STRINGS for word in chance.sample(WORDS, chance.choice((0, 0, 1, 2)))}
    addresses = chance.sample(ADDRESSES, chance.choice((0, 0, 1, 2)))
    dates = set()
    for param in DATES:
        for _ in range(chance.choice((0, 1, 1, 2))):
            lo = chance.randrange(6)
            dates.add((param, lo, lo + chance.randrange(4)))
    targets = [f"{chance.choice(TYPES)}/r{chance.randrange(SIZE)}" for _ in range(chance.randrange(4))]
    own = [param for param, its in REFERENCES.items() if its == type]
    rows = {
        "links": sorted({(chance.choice(own), to) for to in targets}),
        "eq": sorted(key + OTHER * TYPES.index(type) for key in chance.sample(KEYS, chance.randrange(6))),
        "strings": [(param, index.fold(word), word.upper()) for param, word in strings]
        + [(ADDRESS, one, "") for one in addresses],
        "dates": sorted(dates),
        "sort_date": chance.choice((None, 0, 1, 2, 3)),
        "patient": chance.choice((None, "p1", "p2")),
        "amounts": sorted(some_amounts(chance)),
        "texts": [" ".join(chance.choices((*TEXT, "·"), k=chance.choice((0, 1, 4)))) for _ in range(3)],
    }
    rows["dates"] += [(PLACES, *chance.choice(POINTS)) for _ in range(chance.randrange(2))]
    return {"resourceType": type, "needle": chance.choice(("needle-x", "needle-y", "none")), "rows": rows}


def some_amounts(chance: random.Random) -> set[tuple[int, int, str, str]]:
    """Points and ranges, some of them open, in a few units; one value of each unit and parameter at most."""
    found = {}
    for param in AMOUNTS:
        for unit in chance.sample(UNITS, chance.choice((0, 1, 2))):
            lo, hi = sorted(chance.choices(NUMBERS, k=2))
            found[param, unit] = chance.choice(((lo, lo), (lo, lo), (lo, hi), (amounts.LEAST, hi), (lo, amounts.MOST)))
    return {(*key, *span) for key, span in found.items()}


async def fill(record: store.Store, hands: worlds.Hands, chance: random.Random) -> dict[str, frozenset[str]]:
    """Create, and then update some, delete some. The readers of what is left, by id."""
    readers: dict[str, frozenset[str]] = {}
    for n in range(SIZE):
        if not n % 20:
            hands.forward(milliseconds=1)
        type = chance.choice(TYPES)
        body = a_resource(chance, type)
        id = f"r{n}" if n % 3 else record.new_id(type, body)
        readers[id] = frozenset(chance.sample(GROUPS, chance.randrange(4)))
        await record.commit([Create(type, id, body, readers[id])], caller=SYSTEM)
        if n % 5 == 0:
            await record.commit([Update(type, id, a_resource(chance, type))], caller=SYSTEM)
        if n % 11 == 0:
            await record.commit([Delete(type, id)], caller=SYSTEM)
            del readers[id]
    # The tests ask the engine below the store: words that wait are taken in by the first search for words.
    await record.search(Query("Basic", (FullText((Alternative((Phrase(("x",)),)),)),)), caller=SYSTEM)
    return readers


async def indexed(record: store.Store, readers: dict[str, frozenset[str]]) -> tuple[oracle.Indexed, ...]:
    found = []
    for n, id in enumerate(readers):
        stored = await record.many([f"{type}/{id}" for type in TYPES], caller=SYSTEM)
        (one,) = stored.values()
        rows = Told().rows(json.loads(one.body))
        found.append(oracle.Indexed(one.type, id, n, one.updated, one.body, rows))
    return tuple(found)


spans = st.tuples(st.integers(-1, 9), st.integers(0, 3)).map(lambda one: (one[0], one[0] + one[1]))
prefixes = st.sampled_from(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))
tests = st.lists(st.tuples(prefixes, spans).map(lambda one: (one[0], *one[1])), min_size=1, max_size=2).map(tuple)
START = 1_795_420_800_000_000 + 1000


@st.composite
def key_conditions(draw: st.DrawFn) -> Keys:
    keys = tuple(draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True)))
    negated = draw(st.booleans()) and draw(st.booleans())
    needles = draw(st.lists(st.sampled_from(NEEDLES), max_size=2, unique=True)) if not negated else []
    return Keys(keys, negated, all(key in ORDERED_KEYS for key in keys), tuple(needles))


def text_condition(param: int, mode: Any, words: list[str]) -> Text:
    return Text(param, mode, tuple(word.upper() if mode == "exact" else index.fold(word) for word in words))


def updated_tests(some: tuple[Any, ...]) -> Updated:
    return Updated(tuple((prefix, START + lo * 1000, START + hi * 1000) for prefix, lo, hi in some))


phrases = st.builds(Phrase, st.lists(st.sampled_from((*TEXT, "ma")), min_size=1, max_size=2).map(tuple), st.booleans())
several = st.lists(phrases, min_size=1, max_size=2).map(tuple)
alternatives = st.builds(Alternative, several, st.one_of(st.just(()), several))
measures = st.tuples(st.sampled_from(UNITS), prefixes, st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)).map(
    lambda one: (*one[:2], *sorted(one[2:]))
)
boxed = st.builds(
    lambda place, metres: places.near(PLACES, [*(str(one / 1e9) for one in place), str(metres), "m"]),
    st.sampled_from(POINTS),
    st.sampled_from((0, 1000, 200_000, 9_000_000, 30_000_000)),
)
simple: st.SearchStrategy[Condition] = st.one_of(
    st.builds(FullText, st.lists(alternatives, min_size=1, max_size=2).map(tuple), st.booleans()),
    key_conditions(),
    key_conditions(),
    st.builds(
        text_condition,
        st.sampled_from(STRINGS),
        st.sampled_from(("starts", "contains", "exact", "equals", "ends")),
        st.lists(st.sampled_from((*WORDS, "", "no\0")), min_size=1, max_size=2),
    ),
    st.builds(Text, st.just(ADDRESS), st.just("below"), st.lists(st.sampled_from(ADDRESSES), min_size=1).map(tuple)),
    st.builds(Moment, st.sampled_from(DATES), tests),
    st.builds(Present, st.sampled_from(STRINGS), st.just("str"), st.booleans()),
    st.builds(Present, st.sampled_from(DATES), st.just("dat"), st.booleans()),
    tests.map(updated_tests),
    st.builds(Amount, st.sampled_from(AMOUNTS), st.lists(measures, min_size=1, max_size=3).map(tuple)),
    st.builds(Present, st.sampled_from(AMOUNTS), st.just("num"), st.booleans()),
    st.builds(
        Extent, st.sampled_from(AMOUNTS), st.lists(st.sampled_from(UNITS), max_size=2).map(tuple), measures, measures
    ),
    boxed,
)
conditions: st.SearchStrategy[Condition] = st.one_of(
    simple,
    simple,
    st.builds(Either, st.lists(st.lists(simple, max_size=2).map(tuple), max_size=2).map(tuple), st.booleans()),
)
sorts = st.one_of(
    st.builds(Sort, st.sampled_from(("updated", "id", "sort_date")), st.booleans()),
    st.builds(Sort, st.just("str"), st.booleans(), st.sampled_from((*STRINGS, ADDRESS))),
    st.builds(Sort, st.just("dat"), st.booleans(), st.sampled_from(DATES)),
    st.builds(Sort, st.just("num"), st.booleans(), st.sampled_from(AMOUNTS)),
    st.builds(Sort, st.just("body"), st.booleans(), st.just(0), st.just(needle)),
)


def owned(condition: Condition, types: tuple[str, ...]) -> Condition:
    """The condition with the keys of these types: a key belongs to one type."""
    match condition:
        case Keys(any_of):
            keys = tuple(key + OTHER * TYPES.index(type) for key in any_of for type in types)
            return replace(condition, any_of=keys)
        case Either(ways):
            return replace(condition, ways=tuple(tuple(owned(one, types) for one in way) for way in ways))
        case And(of) | Or(of):
            return replace(condition, of=tuple(owned(one, types) for one in of))
        case Not(of):
            return Not(owned(of, types))
        case Linked(types=inner):
            return replace(condition, where=tuple(owned(one, inner) for one in condition.where))
        case LinkedFrom(type):
            return replace(condition, where=tuple(owned(one, (type,)) for one in condition.where))
    return condition


def a_query(types: tuple[str, ...], where: list[Condition], sort: list[Sort], count: int) -> Query:
    several = types if len(types) > 1 else ()
    return Query(types[0], tuple(owned(one, types) for one in where), tuple(sort), count, types=several)


def chained(params: list[int], types: list[str], where: list[Condition]) -> Linked:
    return Linked(tuple(params), tuple(MASKS[one] for one in params), tuple(types), tuple(where))


def has(param: int, where: list[Condition]) -> LinkedFrom:
    return LinkedFrom(REFERENCES[param], param, MASKS[param], tuple(where))


def joined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    some, params = st.lists(inner, max_size=2), st.sampled_from(list(REFERENCES))
    types = st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True)
    chains = st.builds(chained, st.lists(params, min_size=1, max_size=3, unique=True), types, some)
    return st.one_of(
        chains, chains, st.builds(has, params, some), st.builds(has, params, some), inner.map(Not),
        some.map(tuple).map(And), some.map(tuple).map(Or),
    )  # fmt: skip


def an_address(number: int) -> int:
    return index.address(f"{TYPES[number % 2]}/r{number}")


nested = st.recursive(
    st.one_of(
        conditions,
        conditions,
        st.lists(st.sampled_from(TYPES), min_size=1, max_size=2).map(tuple).map(Types),
        st.lists(st.integers(0, SIZE), max_size=9).map(lambda some: Addresses(tuple(map(an_address, some)))),
    ),
    joined,
    max_leaves=3,
)
queries = st.builds(
    a_query,
    st.sampled_from([(TYPES[0],), (TYPES[1],), TYPES]),
    st.lists(nested, max_size=3),
    st.lists(sorts, max_size=2),
    st.integers(1, 40),
)
callers = st.one_of(st.none(), st.lists(st.sampled_from(GROUPS), max_size=3, unique=True).map(tuple))


def memberships(groups: tuple[str, ...] | None) -> Memberships:
    """The keys of some groups; None is who sees everything."""
    if groups is None:
        return None
    return access.Sight(tuple(access.key(one) for one in groups), 0, (), 0, 0, 0, 0)
