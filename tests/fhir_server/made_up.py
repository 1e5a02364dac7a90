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
from typing import Any, TypeVar

from hypothesis import strategies as st

from common import errors
from fhir_server import access, index, store
from fhir_server.changes import Create, Delete, Update
from fhir_server.conditions import (
    Alternative,
    Condition,
    FullText,
    Keys,
    Moment,
    Phrase,
    Present,
    Query,
    Rows,
    Sort,
    Text,
    Updated,
)
from fhir_server.rows import Memberships, Page
from tests.fhir_server import oracle, worlds
from tests.fhir_server.worlds import SYSTEM

_T = TypeVar("_T")
SIZE = 160
TYPES = ("Basic", "Other")
OTHER = 100  # a key belongs to one type: those of Other are this much higher
ORDERED_KEYS, KEYS = range(1, 5), range(1, 9)
STRINGS, DATES = (1, 2), (11, 12)
WORDS = ("a", "ab", "abc", "b", "ba", "é", "z\U0010fffe")
TEXT = ("mal", "male", "dos", "and", "é", "near", "12")
GROUPS = [f"PractitionerRole/{name}" for name in "abcde"]
NEEDLES = (b'"needle-x"', b'"needle-y"')


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
        return Rows(
            tuple(told["eq"]),
            tuple(key for key in told["eq"] if key % OTHER in ORDERED_KEYS),
            tuple((param, folded, raw) for param, folded, raw in told["strings"]),
            tuple((param, lo, hi) for param, lo, hi in told["dates"]),
            told["sort_date"],
            told["patient"],
            tuple(told["texts"]),
        )

    def patient(self, resource: dict[str, Any]) -> str | None:
        return self.rows(resource).patient

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
    dates = set()
    for param in DATES:
        for _ in range(chance.choice((0, 1, 1, 2))):
            lo = chance.randrange(6)
            dates.add((param, lo, lo + chance.randrange(4)))
    rows = {
        "eq": sorted(key + OTHER * TYPES.index(type) for key in chance.sample(KEYS, chance.randrange(6))),
        "strings": [(param, index.fold(word), word.upper()) for param, word in strings],
        "dates": sorted(dates),
        "sort_date": chance.choice((None, 0, 1, 2, 3)),
        "patient": chance.choice((None, "p1", "p2")),
        "texts": [" ".join(chance.choices((*TEXT, "·"), k=chance.choice((0, 1, 4)))) for _ in range(3)],
    }
    return {"resourceType": type, "needle": chance.choice(("needle-x", "needle-y", "none")), "rows": rows}


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
conditions: st.SearchStrategy[Condition] = st.one_of(
    st.builds(FullText, st.lists(alternatives, min_size=1, max_size=2).map(tuple), st.booleans()),
    key_conditions(),
    key_conditions(),
    st.builds(
        text_condition,
        st.sampled_from(STRINGS),
        st.sampled_from(("starts", "contains", "exact")),
        st.lists(st.sampled_from((*WORDS, "", "no\0")), min_size=1, max_size=2),
    ),
    st.builds(Moment, st.sampled_from(DATES), tests),
    st.builds(Present, st.sampled_from(STRINGS), st.just("str"), st.booleans()),
    st.builds(Present, st.sampled_from(DATES), st.just("dat"), st.booleans()),
    tests.map(updated_tests),
)
sorts = st.one_of(
    st.builds(Sort, st.sampled_from(("updated", "id", "sort_date")), st.booleans()),
    st.builds(Sort, st.just("str"), st.booleans(), st.sampled_from(STRINGS)),
    st.builds(Sort, st.just("dat"), st.booleans(), st.sampled_from(DATES)),
)


def a_query(type: str, where: list[Condition], sort: list[Sort], count: int) -> Query:
    higher = OTHER * TYPES.index(type)
    own = [
        replace(one, any_of=tuple(key + higher for key in one.any_of)) if isinstance(one, Keys) else one
        for one in where
    ]
    return Query(type, tuple(own), tuple(sort), count)


queries = st.builds(
    a_query,
    st.sampled_from(TYPES),
    st.lists(conditions, max_size=3),
    st.lists(sorts, max_size=2),
    st.integers(1, 40),
)
callers = st.one_of(st.none(), st.lists(st.sampled_from(GROUPS), max_size=3, unique=True).map(tuple))


def memberships(groups: tuple[str, ...] | None) -> Memberships:
    """The keys of some groups; None is who sees everything."""
    return None if groups is None else tuple(access.key(one) for one in groups)
